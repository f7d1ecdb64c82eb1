//! Finds added tokens in a text before it is cut, like `AddedVocabulary` in
//! <https://github.com/huggingface/tokenizers/blob/main/tokenizers/src/tokenizer/added_vocabulary.rs>.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::text::Error;
use crate::text::error::one_line;
use crate::text::model::Added;

/// Finds added tokens: the leftmost first, and the longest of those that begin at one position.
#[derive(Debug)]
pub(in crate::text) struct Finder {
    automaton: AhoCorasick,
    tokens: Vec<Added>,
}

/// The kind of a stretch of text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text,
    Token(u32),
}

impl Finder {
    /// Maximum total size of a model's added tokens, in bytes. Published models have up to 560,000 (Orpheus, 28,682
    /// tokens). The automaton takes up to thirty times as much memory if no two tokens share a prefix.
    pub(in crate::text) const MOST_BYTES: usize = 1 << 20;

    /// Size in bytes above which the tokens get an automaton that takes less memory to build and a little more time to
    /// run.
    const MANY_BYTES: usize = 256 << 10;

    /// Builds a finder; `None` without tokens.
    pub(super) fn new(mut tokens: Vec<Added>) -> Result<Option<Self>, Error> {
        tokens.retain(|added| !added.content.is_empty());
        if tokens.is_empty() {
            return Ok(None);
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            // The kinds that take the least memory, because there may be many long tokens.
            .kind(Some(match bytes(&tokens) > Self::MANY_BYTES {
                true => AhoCorasickKind::NoncontiguousNFA,
                false => AhoCorasickKind::ContiguousNFA,
            }))
            .build(tokens.iter().map(|added| &added.content))
            .map_err(|error| Error::Vocabulary(one_line(&error.to_string())))?;
        Ok(Some(Self { automaton, tokens }))
    }

    /// Cuts a text into its added tokens and the stretches between them, in order.
    pub(super) fn cut(&self, text: &str) -> Vec<(Range<usize>, Part)> {
        let mut parts = Vec::new();
        let mut done = 0;
        for found in self.automaton.find_iter(text) {
            let Some(token) = self.tokens.get(found.pattern().as_usize()) else { continue };
            let (before, after) = (&text[..found.start()], &text[found.end()..]);
            let touched = before.ends_with(is_word) || after.starts_with(is_word);
            if found.start() < done || (token.single_word && touched) {
                continue;
            }
            let start = if token.takes_left { before.trim_end().len().max(done) } else { found.start() };
            let blank = if token.takes_right { after.len() - after.trim_start().len() } else { 0 };
            if done < start {
                parts.push((done..start, Part::Text));
            }
            done = found.end() + blank;
            parts.push((start..done, Part::Token(token.id)));
        }
        if done < text.len() {
            parts.push((done..text.len(), Part::Text));
        }
        parts
    }
}

/// Sums the bytes of all tokens.
pub(super) fn bytes(tokens: &[Added]) -> usize {
    tokens.iter().map(|added| added.content.len()).sum()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finder(added: Added) -> Finder {
        let other = Added { id: 2, content: "<a>b".into(), ..Added::default() };
        Finder::new(vec![added, other]).unwrap().unwrap()
    }

    fn cut(added: Added, text: &str) -> Vec<String> {
        let part = |(range, part): (Range<usize>, Part)| match part {
            Part::Text => text[range].to_owned(),
            Part::Token(id) => format!("{id}:{}", &text[range]),
        };
        finder(added).cut(text).into_iter().map(part).collect()
    }

    #[test]
    fn the_leftmost_and_there_the_longest_is_found_and_takes_what_it_says_it_takes() {
        let plain = || Added { id: 1, content: "<a>".into(), ..Added::default() };
        assert_eq!(cut(plain(), "x<a>y<a>b"), ["x", "1:<a>", "y", "2:<a>b"]);
        assert_eq!(cut(plain(), ""), Vec::<String>::new());
        assert_eq!(cut(Added { single_word: true, ..plain() }, "x<a> <a>"), ["x<a> ", "1:<a>"]);
        assert_eq!(cut(Added { takes_left: true, ..plain() }, "x \n<a> y"), ["x", "1: \n<a>", " y"]);
        assert_eq!(cut(Added { takes_right: true, ..plain() }, "x <a>\n y"), ["x ", "1:<a>\n ", "y"]);
        let both = Added { takes_left: true, takes_right: true, ..plain() };
        assert_eq!(cut(both, "<a> <a>"), ["1:<a> ", "1:<a>"]);
    }
}
