//! Python's properties of characters, and its changes of case.

use std::sync::OnceLock;

use regex_automata::meta::Regex;

use super::text::{Ch, is_space};

/// Returns whether a character is in a Unicode class, given as a regular expression.
fn is_of(class: &'static OnceLock<Option<Regex>>, expression: &str, c: char) -> bool {
    let regex = class.get_or_init(|| Regex::new(expression).ok());
    regex.as_ref().is_some_and(|regex| regex.is_match(c.encode_utf8(&mut [0; 4]).as_bytes()))
}

pub(super) fn is_alpha(c: char) -> bool {
    static CLASS: OnceLock<Option<Regex>> = OnceLock::new();
    if c.is_ascii() { c.is_ascii_alphabetic() } else { is_of(&CLASS, r"\p{L}", c) }
}

pub(super) fn is_decimal(c: char) -> bool {
    static CLASS: OnceLock<Option<Regex>> = OnceLock::new();
    if c.is_ascii() { c.is_ascii_digit() } else { is_of(&CLASS, r"\p{Nd}", c) }
}

/// Returns whether a character is a decimal, or another digit of Unicode such as a superscript or a circled one.
pub(super) fn is_digit(c: char) -> bool {
    const MORE: [(u32, u32); 16] = [
        (0xb2, 0xb3),
        (0xb9, 0xb9),
        (0x1369, 0x1371),
        (0x19da, 0x19da),
        (0x2070, 0x2070),
        (0x2074, 0x2079),
        (0x2080, 0x2089),
        (0x2460, 0x2468),
        (0x2474, 0x247c),
        (0x2488, 0x2490),
        (0x24ea, 0x24ea),
        (0x24f5, 0x24fd),
        (0x24ff, 0x24ff),
        (0x2776, 0x277e),
        (0x2780, 0x2788),
        (0x278a, 0x2792),
    ];
    is_decimal(c)
        || MORE.iter().any(|&(from, to)| (from..=to).contains(&(c as u32)))
        || matches!(c as u32, 0x10a40..=0x10a43 | 0x10e60..=0x10e68 | 0x11052..=0x1105a | 0x1f100..=0x1f10a)
}

/// Returns whether a character is a digit, a fraction, or a Roman or Chinese number.
pub(super) fn is_numeric(c: char) -> bool {
    const CHINESE: &str = "㐅㒃㠪㭍一七万三九二五亖亿什仟仨伍佰億兆兩八六十千卄卅卌叁参參叄四壱壹幺廾廿弌弍弎弐拾捌柒\
        漆玖百肆萬貮貳貳贰阡陆陌陸零";
    static CLASS: OnceLock<Option<Regex>> = OnceLock::new();
    if c.is_ascii() { c.is_ascii_digit() } else { is_of(&CLASS, r"\p{N}", c) || CHINESE.contains(c) }
}

/// Returns whether Python's `repr` writes a character unescaped.
pub(super) fn is_printable(c: char) -> bool {
    static CLASS: OnceLock<Option<Regex>> = OnceLock::new();
    if c.is_ascii() { (' '..='~').contains(&c) } else { !is_of(&CLASS, r"[\p{C}\p{Z}]", c) }
}

/// Returns whether a character matches `\w` of Python's regular expressions.
pub(super) fn is_word(c: char) -> bool {
    c == '_' || is_alpha(c) || is_numeric(c)
}

pub(super) fn is_identifier(text: &[Ch]) -> bool {
    let starts = |c: char| c == '_' || is_alpha(c);
    text.first().is_some_and(|c| starts(c.char()))
        && text.iter().all(|c| starts(c.char()) || is_decimal(c.char()))
}

fn is_lower(c: char) -> bool {
    c.is_lowercase()
}

/// Returns whether a letter is in title case (`ǅ`). Such a letter counts for both cases.
fn is_title_letter(c: char) -> bool {
    matches!(c, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ' | '\u{1f88}'..='\u{1f8f}' | '\u{1f98}'..='\u{1f9f}' | '\u{1fa8}'..='\u{1faf}' | 'ᾼ' | 'ῌ' | 'ῼ')
}

fn is_upper(c: char) -> bool {
    c.is_uppercase() && !is_title_letter(c)
}

fn is_cased(c: char) -> bool {
    is_lower(c) || is_upper(c) || is_title_letter(c)
}

/// Implements Python's `str.islower` and `str.isupper`: at least one cased character, and none of the other case.
pub(super) fn all_lower(text: &[Ch]) -> bool {
    let mut chars = text.iter().map(|c| c.char());
    chars.clone().any(is_lower) && !chars.any(|c| is_upper(c) || is_title_letter(c))
}

pub(super) fn all_upper(text: &[Ch]) -> bool {
    let mut chars = text.iter().map(|c| c.char());
    chars.clone().any(is_upper) && !chars.any(|c| is_lower(c) || is_title_letter(c))
}

/// Implements Python's `str.istitle`.
pub(super) fn is_title(text: &[Ch]) -> bool {
    let (mut before, mut any) = (false, false);
    for c in text.iter().map(|c| c.char()) {
        if is_upper(c) || is_title_letter(c) {
            if before {
                return false;
            }
            (before, any) = (true, true);
        } else if is_lower(c) {
            if !before {
                return false;
            }
            any = true;
        } else {
            before = false;
        }
    }
    any
}

fn extend(out: &mut Vec<Ch>, c: Ch, changed: impl Iterator<Item = char>) {
    out.extend(changed.map(|changed| c.with(changed)));
}

pub(super) fn upper(text: &[Ch]) -> Vec<Ch> {
    let mut out = Vec::with_capacity(text.len());
    text.iter().for_each(|&c| extend(&mut out, c, c.char().to_uppercase()));
    out
}

/// Appends the lower case of a character. A sigma has another letter at the end of a word.
fn push_lower(text: &[Ch], at: usize, out: &mut Vec<Ch>) {
    let c = text[at];
    if c.is('Σ') {
        let skips = |c: &&Ch| matches!(c.char(), '\'' | '.' | ':' | '\u{ad}' | '’' | '·');
        let cased = |c: Option<&Ch>| c.is_some_and(|c| is_cased(c.char()));
        let before = cased(text[..at].iter().rev().find(|c| !skips(c)));
        let after = cased(text[at + 1..].iter().find(|c| !skips(c)));
        return out.push(c.with(if before && !after { 'ς' } else { 'σ' }));
    }
    extend(out, c, c.char().to_lowercase());
}

pub(super) fn lower(text: &[Ch]) -> Vec<Ch> {
    let mut out = Vec::with_capacity(text.len());
    (0..text.len()).for_each(|at| push_lower(text, at, &mut out));
    out
}

fn push_title(c: Ch, out: &mut Vec<Ch>) {
    match c.char() {
        'Ǆ' | 'ǅ' | 'ǆ' => out.push(c.with('ǅ')),
        'Ǉ' | 'ǈ' | 'ǉ' => out.push(c.with('ǈ')),
        'Ǌ' | 'ǋ' | 'ǌ' => out.push(c.with('ǋ')),
        'Ǳ' | 'ǲ' | 'ǳ' => out.push(c.with('ǲ')),
        // Georgian has capitals, and no titles.
        georgian @ '\u{10d0}'..='\u{10ff}' => out.push(c.with(georgian)),
        other => {
            let mut before = false;
            for upper in other.to_uppercase() {
                match before {
                    true => extend(out, c, upper.to_lowercase()),
                    false => out.push(c.with(upper)),
                }
                before = is_cased(upper);
            }
        }
    }
}

/// Implements Python's `str.title`: the first letter of every run of letters becomes a capital.
pub(super) fn title(text: &[Ch]) -> Vec<Ch> {
    let mut out = Vec::with_capacity(text.len());
    let mut before = false;
    for (at, &c) in text.iter().enumerate() {
        match before {
            true => push_lower(text, at, &mut out),
            false => push_title(c, &mut out),
        }
        before = is_cased(c.char());
    }
    out
}

/// Implements Python's `str.capitalize`.
pub(super) fn capitalize(text: &[Ch]) -> Vec<Ch> {
    let mut out = Vec::with_capacity(text.len());
    for (at, &c) in text.iter().enumerate() {
        match at {
            0 => push_title(c, &mut out),
            _ => push_lower(text, at, &mut out),
        }
    }
    out
}

pub(super) fn swap(text: &[Ch]) -> Vec<Ch> {
    let mut out = Vec::with_capacity(text.len());
    for (at, &c) in text.iter().enumerate() {
        match c.char() {
            other if is_upper(other) => push_lower(text, at, &mut out),
            other if is_lower(other) => extend(&mut out, c, other.to_uppercase()),
            _ => out.push(c),
        }
    }
    out
}

/// Folds case by upper and then lower case, which differs from Unicode's folding only for the dotless i.
pub(super) fn fold(text: &[Ch]) -> Vec<Ch> {
    let mut out = Vec::with_capacity(text.len());
    for &c in text {
        match c.char() {
            'ı' => out.push(c),
            other => extend(&mut out, c, other.to_uppercase().flat_map(char::to_lowercase)),
        }
    }
    out
}

/// Implements Jinja's title filter, which cuts words differently from `str.title`.
pub(super) fn title_words(text: &[Ch]) -> Vec<Ch> {
    let mut out = Vec::with_capacity(text.len());
    let begins = |c: &Ch| is_space(*c) || matches!(c.char(), '-' | '(' | '{' | '[' | '<');
    let mut rest = text;
    while let Some(&first) = rest.first() {
        if begins(&first) {
            out.push(first);
            rest = &rest[1..];
            continue;
        }
        let (word, after) = rest.split_at(rest.iter().position(begins).unwrap_or(rest.len()));
        extend(&mut out, first, first.char().to_uppercase());
        out.extend(lower(&word[1..]));
        rest = after;
    }
    out
}
