//! Python's `textwrap.wrap`, for the filter `wordwrap`.

use super::cases::is_word;
use super::failure::{Result, fail, spend_on_text};
use super::text::{Ch, split_lines};

pub(super) struct Options {
    /// The width; `None` if it is not positive, which is an error.
    pub(super) width: Option<usize>,
    /// Whether words longer than a line are broken.
    pub(super) long: bool,
    /// Whether words are broken after hyphens.
    pub(super) hyphens: bool,
}

/// Wraps each line separately, with `between` at the breaks.
///
/// # Errors
/// The width is not positive.
pub(super) fn wrapped(text: &[Ch], options: &Options, between: &[Ch]) -> Result<Vec<Ch>> {
    let Some(width) = options.width else { return fail("invalid width (must be > 0)") };
    let mut out = Vec::new();
    for (index, line) in split_lines(text, false).into_iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(between);
        }
        let lines = lines(chunks(line, options.hyphens), width, options);
        spend_on_text(lines.len().saturating_mul(between.len()))?;
        out.extend(lines.join(between));
    }
    Ok(out)
}

fn is_blank(chunk: &[Ch]) -> bool {
    chunk.iter().all(|c| is_space(c.char()))
}

/// Returns whether a character is white space for textwrap, which only knows ASCII's.
fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\x0b' | '\x0c' | '\r' | ' ')
}

/// Cuts a text into words, the white space between them, and the parts of words that break at hyphens.
fn chunks(line: &[Ch], hyphens: bool) -> Vec<&[Ch]> {
    let mut chunks = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.first() {
        let blank = is_space(first.char());
        let end = rest.iter().position(|c| is_space(c.char()) != blank).unwrap_or(rest.len());
        let word = &rest[..end];
        match hyphens && !blank {
            true => chunks.extend(parts(word)),
            false => chunks.push(word),
        }
        rest = &rest[end..];
    }
    chunks
}

/// Cuts a word after hyphens with two letters on either side, and around dashes.
fn parts(word: &[Ch]) -> Vec<&[Ch]> {
    let at = |index: usize| word.get(index).map_or(' ', |c| c.char());
    let is_letter = |c: char| is_word(c) && !c.is_numeric() && c != '_';
    let is_punctuated = |c: char| is_word(c) || matches!(c, '!' | '"' | '\'' | '&' | '.' | ',' | '?');
    let mut parts = Vec::new();
    let (mut start, mut here) = (0, 0);
    while here < word.len() {
        if at(here) != '-' {
            here += 1;
            continue;
        }
        let run = word[here..].iter().take_while(|c| c.is('-')).count();
        if run >= 2 && here > start && is_punctuated(at(here - 1)) && is_word(at(here + run)) {
            parts.push(&word[start..here]);
            parts.push(&word[here..here + run]);
            (start, here) = (here + run, here + run);
        } else if run == 1 && here >= start + 2 && is_letter(at(here - 1)) && is_letter(at(here - 2)) && {
            let (next, after) = (at(here + 1), at(here + 2));
            is_letter(next) && (is_letter(after) || after == '-' && is_letter(at(here + 3)))
        } {
            parts.push(&word[start..=here]);
            (start, here) = (here + 1, here + 1);
        } else {
            here += run;
        }
    }
    if start < word.len() {
        parts.push(&word[start..]);
    }
    parts
}

fn lines(chunks: Vec<&[Ch]>, width: usize, options: &Options) -> Vec<Vec<Ch>> {
    let mut lines: Vec<Vec<Ch>> = Vec::new();
    let mut left: std::collections::VecDeque<&[Ch]> = chunks.into();
    while !left.is_empty() {
        if !lines.is_empty() && left.front().is_some_and(|chunk| is_blank(chunk)) {
            left.pop_front();
        }
        let mut line: Vec<&[Ch]> = Vec::new();
        let mut length = 0;
        while let Some(chunk) = left.front().filter(|chunk| length + chunk.len() <= width) {
            length += chunk.len();
            line.push(chunk);
            left.pop_front();
        }
        if let Some(chunk) = left.front().copied().filter(|chunk| chunk.len() > width) {
            let space = width - length;
            if options.long {
                let mut end = space;
                if options.hyphens && chunk.len() > space {
                    let hyphen = chunk[..space].iter().rposition(|c| c.is('-'));
                    let hyphen = hyphen.filter(|at| *at > 0 && chunk[..*at].iter().any(|c| !c.is('-')));
                    end = hyphen.map_or(end, |at| at + 1);
                }
                line.push(&chunk[..end]);
                left[0] = &chunk[end..];
            } else if line.is_empty() {
                line.push(chunk);
                left.pop_front();
            }
        }
        if line.last().is_some_and(|chunk| is_blank(chunk)) {
            line.pop();
        }
        if !line.is_empty() {
            lines.push(line.concat());
        }
    }
    lines
}
