//! Strings whose characters carry their origin.
//!
//! A template's tests see a message unchanged, so that `'</think>' in content` is true if the message has it. Yet no
//! message may spell a control token, not even in pieces, and a template may cut, join and replace text. So every
//! character carries its origin, the template or a message, and all functions on strings keep it.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::rc::Rc;

/// The origin of a character: 0 for the template, `n` for message `n - 1`.
pub(in crate::text::chat) type Origin = u16;

/// The origin of messages without their own number, since only 11 bits are left beside a character.
pub(in crate::text::chat) const SOMEONE: Origin = 0x7ff;

/// A character and its origin, compared and hashed by the character alone.
#[derive(Clone, Copy, Debug)]
pub(in crate::text::chat) struct Ch(u32);

const BITS: u32 = 21;

impl Ch {
    pub(in crate::text::chat) fn new(character: char, origin: Origin) -> Self {
        Self(character as u32 | u32::from(origin.min(SOMEONE)) << BITS)
    }

    fn code(self) -> u32 {
        self.0 & ((1 << BITS) - 1)
    }

    pub(in crate::text::chat) fn char(self) -> char {
        char::from_u32(self.code()).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    pub(in crate::text::chat) fn origin(self) -> Origin {
        (self.0 >> BITS) as Origin
    }

    /// Returns another character of the same origin.
    pub(super) fn with(self, character: char) -> Self {
        Self::new(character, self.origin())
    }

    pub(super) fn is(self, character: char) -> bool {
        self.code() == character as u32
    }
}

impl PartialEq for Ch {
    fn eq(&self, other: &Self) -> bool {
        self.code() == other.code()
    }
}

impl Eq for Ch {}

impl PartialOrd for Ch {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ch {
    fn cmp(&self, other: &Self) -> Ordering {
        self.code().cmp(&other.code())
    }
}

impl Hash for Ch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.code().hash(state);
    }
}

/// A string of a template, whose characters carry their origin.
#[derive(Clone)]
pub(in crate::text::chat) struct Text {
    chars: Rc<[Ch]>,
    /// Whether the string is markup of Python's markupsafe, which is escaped already.
    pub(super) safe: bool,
}

impl Deref for Text {
    type Target = [Ch];

    fn deref(&self) -> &[Ch] {
        &self.chars
    }
}

impl From<Vec<Ch>> for Text {
    fn from(chars: Vec<Ch>) -> Self {
        Self { chars: chars.into(), safe: false }
    }
}

impl From<&[Ch]> for Text {
    fn from(chars: &[Ch]) -> Self {
        Self { chars: chars.into(), safe: false }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::of(text, 0)
    }
}

impl Text {
    pub(in crate::text::chat) fn of(text: &str, origin: Origin) -> Self {
        Self { chars: text.chars().map(|c| Ch::new(c, origin)).collect(), safe: false }
    }

    pub(super) fn marked_safe(mut self) -> Self {
        self.safe = true;
        self
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.chars == other.chars
    }
}

/// Converts a string to a `String` without origins.
pub(in crate::text::chat) fn plain(text: &[Ch]) -> String {
    text.iter().map(|c| c.char()).collect()
}

/// Returns whether a text equals a word.
pub(super) fn is(text: &[Ch], word: &str) -> bool {
    text.iter().map(|c| c.char()).eq(word.chars())
}

pub(super) fn push(out: &mut Vec<Ch>, text: &str) {
    out.extend(text.chars().map(|c| Ch::new(c, 0)));
}

/// Returns whether Python's `str.isspace` is true of a character.
pub(super) fn is_space(c: Ch) -> bool {
    let c = c.char();
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Finds the first position of `needle` in `text`.
pub(super) fn find(text: &[Ch], needle: &[Ch]) -> Option<usize> {
    search(text.iter(), needle.len(), |at| needle[at])
}

/// Finds the last position of `needle` in `text`.
pub(super) fn rfind(text: &[Ch], needle: &[Ch]) -> Option<usize> {
    let last = needle.len().wrapping_sub(1);
    let from_end = search(text.iter().rev(), needle.len(), |at| needle[last - at])?;
    Some(text.len() - from_end - needle.len())
}

/// Searches with the algorithm of Knuth, Morris and Pratt, since templates may be made to be slow.
fn search<'t>(
    text: impl Iterator<Item = &'t Ch>,
    length: usize,
    needle: impl Fn(usize) -> Ch,
) -> Option<usize> {
    if length == 0 {
        return Some(0);
    }
    // For each matching length the longest shorter length that ends at the same position and also matches.
    let mut shorter = vec![0; length + 1];
    let step = |shorter: &[usize], matched: usize, c: Ch| {
        let mut matched = matched;
        while matched > 0 && (matched == length || needle(matched) != c) {
            matched = shorter[matched];
        }
        if needle(matched) == c { matched + 1 } else { 0 }
    };
    for at in 1..length {
        shorter[at + 1] = step(&shorter, shorter[at], needle(at));
    }
    let mut matched = 0;
    for (at, &c) in text.enumerate() {
        matched = step(&shorter, matched, c);
        if matched == length {
            return Some(at + 1 - length);
        }
    }
    None
}

/// Removes the characters at both ends for which `trims` is true.
pub(super) fn trimmed(text: &[Ch], left: bool, right: bool, trims: impl Fn(Ch) -> bool) -> &[Ch] {
    let keep = |c: &Ch| !trims(*c);
    let start = if left { text.iter().position(keep).unwrap_or(text.len()) } else { 0 };
    let end = if right { text.iter().rposition(keep).map_or(start, |at| at + 1) } else { text.len() };
    &text[start..end.max(start)]
}

/// Implements Python's `replace`: at most `count` times.
pub(super) fn replace(text: &[Ch], old: &[Ch], new: &[Ch], count: usize) -> Vec<Ch> {
    let mut out = Vec::new();
    let (mut rest, mut left) = (text, count);
    if old.is_empty() {
        for (at, &c) in text.iter().enumerate() {
            if at < count {
                out.extend_from_slice(new);
            }
            out.push(c);
        }
        if text.len() < count {
            out.extend_from_slice(new);
        }
        return out;
    }
    while left > 0 {
        let Some(at) = find(rest, old) else { break };
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(new);
        rest = &rest[at + old.len()..];
        left -= 1;
    }
    out.extend_from_slice(rest);
    out
}

/// Splits at Python's line ends, which are more than `\n`.
pub(super) fn split_lines(text: &[Ch], keep: bool) -> Vec<&[Ch]> {
    const ENDS: [char; 10] =
        ['\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}'];
    let mut lines = Vec::new();
    let (mut start, mut here) = (0, 0);
    while here < text.len() {
        if !ENDS.contains(&text[here].char()) {
            here += 1;
            continue;
        }
        let end = here;
        here += if text[here].is('\r') && text.get(here + 1).is_some_and(|c| c.is('\n')) { 2 } else { 1 };
        lines.push(&text[start..if keep { here } else { end }]);
        start = here;
    }
    if start < text.len() {
        lines.push(&text[start..]);
    }
    lines
}

/// Splits at white space as `split()` does, without empty pieces.
pub(super) fn words(text: &[Ch], most: usize) -> Vec<&[Ch]> {
    let mut words = Vec::new();
    let mut rest = trimmed(text, true, false, is_space);
    while !rest.is_empty() {
        let end = match words.len() < most {
            true => rest.iter().position(|c| is_space(*c)).unwrap_or(rest.len()),
            false => rest.len(),
        };
        words.push(&rest[..end]);
        rest = trimmed(&rest[end..], true, false, is_space);
    }
    words
}

/// Splits at white space from the right.
pub(super) fn words_from_right(text: &[Ch], most: usize) -> Vec<&[Ch]> {
    let mut words = Vec::new();
    let mut rest = trimmed(text, false, true, is_space);
    while !rest.is_empty() {
        let start = match words.len() < most {
            true => rest.iter().rposition(|c| is_space(*c)).map_or(0, |at| at + 1),
            false => 0,
        };
        words.push(&rest[start..]);
        rest = trimmed(&rest[..start], false, true, is_space);
    }
    words.reverse();
    words
}

/// Splits a text at the first `most` occurrences of a separator that is not empty.
pub(super) fn split<'t>(text: &'t [Ch], separator: &[Ch], most: usize) -> Vec<&'t [Ch]> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while pieces.len() < most {
        let Some(at) = find(rest, separator) else { break };
        pieces.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    pieces.push(rest);
    pieces
}

/// Splits at a separator from the right.
pub(super) fn split_from_right<'t>(text: &'t [Ch], separator: &[Ch], most: usize) -> Vec<&'t [Ch]> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while pieces.len() < most {
        let Some(at) = rfind(rest, separator) else { break };
        pieces.push(&rest[at + separator.len()..]);
        rest = &rest[..at];
    }
    pieces.push(rest);
    pieces.reverse();
    pieces
}
