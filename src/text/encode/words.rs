//! Cuts a text into words.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use regex_automata::meta::Regex;
use regex_automata::{Anchored, Input};

use crate::text::Error;
use crate::text::alphabet::SPACE;
use crate::text::error::one_line;
use crate::text::model::{Alphabet, Cut, Joins, Kind, Model};

/// How a model cuts a text into words.
#[derive(Debug)]
pub(in crate::text) struct Words {
    steps: Vec<Step>,
    seams: Option<Seams>,
}

#[derive(Debug)]
enum Step {
    Matches(Pattern),
    BeforeSpaces,
}

impl Words {
    /// Compiles the expressions of a model.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] for an expression that cannot be used.
    pub(in crate::text) fn new(model: &Model) -> Result<Self, Error> {
        let step = |cut: &Cut| match cut {
            Cut::Matches(expression) => Pattern::new(expression).map(Step::Matches),
            Cut::BeforeSpaces => Ok(Step::BeforeSpaces),
        };
        // Several unknown characters in a row may have to become one token, and so may a whole word; such models have no
        // seams.
        let bytes = model.kinds.iter().filter(|kind| **kind == Kind::Byte).count();
        let all_written = model.byte_fallback && bytes == 256;
        let by_characters = model.alphabet != Alphabet::Bytes && all_written && !model.whole_words;
        Ok(Self {
            steps: model.cuts.iter().map(step).collect::<Result<_, Error>>()?,
            seams: by_characters.then(|| Seams::new(model)),
        })
    }

    /// Calls `take` with every word, in order. Concatenated, the words are the text.
    ///
    /// # Errors
    /// [`Error::Encode`] where an expression takes too long.
    pub(in crate::text) fn each<'text>(
        &self,
        text: &'text str,
        take: &mut dyn FnMut(&'text str),
    ) -> Result<(), Error> {
        let deadline = Instant::now() + LONGEST + Duration::from_secs(text.len() as u64 / SLOWEST);
        self.cut(&self.steps, text, deadline, take)
    }

    fn cut<'text>(
        &self,
        steps: &[Step],
        text: &'text str,
        deadline: Instant,
        take: &mut dyn FnMut(&'text str),
    ) -> Result<(), Error> {
        match (steps.split_first(), &self.seams) {
            (Some((Step::Matches(pattern), rest)), _) => {
                pattern.cut(text, deadline, &mut |word| self.cut(rest, word, deadline, take))
            }
            (Some((Step::BeforeSpaces, rest)), _) => {
                let mut start = 0;
                for (at, _) in text.match_indices(' ').filter(|&(at, _)| at > 0) {
                    self.cut(rest, &text[start..at], deadline, take)?;
                    start = at;
                }
                self.cut(rest, &text[start..], deadline, take)
            }
            (None, Some(seams)) => {
                seams.cut(text, take);
                Ok(())
            }
            (None, None) => {
                if !text.is_empty() {
                    take(text);
                }
                Ok(())
            }
        }
    }
}

/// A regular expression. Every match is a word, and so is the text between two matches.
///
/// With `regex-automata` the time of one search is linear in the text for every expression. A clock limits the time of
/// all searches, since each may read the whole text and match one character. Apart from that, published expressions
/// need only one look-ahead, at their very end: `\s+(?!\S)|\s+`, white space without its last character if a word
/// follows. We implement it by hand:
///
/// ```text
/// "a   b"    …|\s+ alone matches "   "; a character follows, so the match is cut to "  " and " b" is next
/// "a b"      \s+ matches " ", which is not cut
/// ```
#[derive(Debug)]
enum Pattern {
    Linear {
        /// The expression as pattern 0. Pattern 1, if present, is the white space at its end.
        regex: Regex,
    },
    /// An expression with other kinds of look-around. The engine gives up after a million steps.
    Backtracking(fancy_regex::Regex),
}

/// Time limit for a text of any length, and the bytes per second beyond it: a thousandth of the rate of published
/// expressions.
const LONGEST: Duration = Duration::from_secs(5);
const SLOWEST: u64 = 20_000;

/// The look-ahead at the end of an expression.
const LOOK_AHEAD: &str = r"|\s+(?!\S)|\s+";

impl Pattern {
    fn new(expression: &str) -> Result<Self, Error> {
        let config = Regex::config().hybrid_cache_capacity(32 << 20);
        let build =
            |expressions: &[&str]| Regex::builder().configure(config.clone()).build_many(expressions).ok();
        let linear = match expression.strip_suffix(LOOK_AHEAD) {
            Some(before) => build(&[before, r"\s+"]),
            None => build(&[expression]),
        };
        if let Some(regex) = linear {
            return Ok(Self::Linear { regex });
        }
        let malformed = |error: fancy_regex::Error| {
            Error::Vocabulary(one_line(&format!(
                "the pre-tokenizer's expression {expression:?} cannot be used: {error}"
            )))
        };
        fancy_regex::Regex::new(expression).map(Self::Backtracking).map_err(malformed)
    }

    fn cut<'text>(
        &self,
        text: &'text str,
        deadline: Instant,
        take: &mut dyn FnMut(&'text str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut searches = 0u32;
        // All text before `taken` has been passed on; the next search starts at `from`.
        let (mut taken, mut from) = (0, 0);
        while from < text.len() {
            searches = searches.wrapping_add(1);
            if searches.is_multiple_of(64) && Instant::now() > deadline {
                return Err(Error::Encode("the pre-tokenizer's expression takes too long".into()));
            }
            let Some((start, end)) = self.find(text, from)? else { break };
            if start == end {
                // An empty match cuts nothing.
                from = end + text[end..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
            if taken < start {
                take(&text[taken..start])?;
            }
            take(&text[start..end])?;
            (taken, from) = (end, end);
        }
        if taken < text.len() { take(&text[taken..]) } else { Ok(()) }
    }

    /// Finds the next match: its start and end.
    fn find(&self, text: &str, from: usize) -> Result<Option<(usize, usize)>, Error> {
        match self {
            Self::Linear { regex } => {
                // Words mostly follow each other directly, and an anchored search is then enough.
                let input = Input::new(text).range(from..);
                let here = regex.find(input.clone().anchored(Anchored::Yes));
                let found = here.or_else(|| regex.find(input));
                Ok(found.map(|found| {
                    let end = match found.pattern().as_usize() {
                        1 if found.end() < text.len() => without_last(&text[found.range()], found.start()),
                        _ => found.end(),
                    };
                    (found.start(), end)
                }))
            }
            Self::Backtracking(regex) => {
                let found = regex.find_from_pos(text, from);
                let found = found.map_err(|error| Error::Encode(one_line(&error.to_string())))?;
                Ok(found.map(|found| (found.start(), found.end())))
            }
        }
    }
}

/// Returns the end of `blank`, which begins at `start`, without its last character if it has several.
fn without_last(blank: &str, start: usize) -> usize {
    match blank.char_indices().next_back() {
        Some((last, _)) if last > 0 => start + last,
        _ => start + blank.len(),
    }
}

/// Seams: positions that no merge crosses, between two characters that no token has side by side.
///
/// A merge across the position between `x` and `y` would give a token that contains `xy`. A model without a
/// pre-tokenizer would merge a whole text at once. Cut at its seams, the text is merged word by word, with the same ids
/// in linear time, and the ids of a repeated word are copied.
#[derive(Debug, Default)]
struct Seams {
    /// Pairs of ASCII characters: bit `second` of `ascii[first]`.
    ascii: Vec<u128>,
    others: HashSet<(char, char), foldhash::fast::RandomState>,
}

impl Seams {
    fn new(model: &Model) -> Self {
        let mut seams = Self { ascii: vec![0; 128], ..Self::default() };
        let mut add = |token: &str| {
            let space = |c| if c == SPACE && model.alphabet == Alphabet::Spaces { ' ' } else { c };
            let mut before = None;
            for character in token.chars().map(space) {
                match (before.replace(character), character) {
                    (None, _) => {}
                    (Some(x), y) if x.is_ascii() && y.is_ascii() => {
                        seams.ascii[x as usize & 127] |= 1 << (y as u32);
                    }
                    (Some(x), y) => drop(seams.others.insert((x, y))),
                }
            }
        };
        match &model.joins {
            Joins::Pairs(pairs) => pairs.iter().filter_map(|pair| model.token(pair[2])).for_each(add),
            Joins::Scores(_) | Joins::Ids => {
                model.all().filter(|&(id, _)| model.is_text(id)).for_each(|(_, token)| add(token));
            }
        }
        seams
    }

    fn joined(&self, x: char, y: char) -> bool {
        match x.is_ascii() && y.is_ascii() {
            true => self.ascii[x as usize & 127] >> (y as u32) & 1 == 1,
            false => self.others.contains(&(x, y)),
        }
    }

    fn cut<'text>(&self, text: &'text str, take: &mut dyn FnMut(&'text str)) {
        let mut start = 0;
        let mut before = None;
        for (at, character) in text.char_indices() {
            if before.replace(character).is_some_and(|x| !self.joined(x, character)) {
                take(&text[start..at]);
                start = at;
            }
        }
        if start < text.len() {
            take(&text[start..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(expression: &str, text: &str) -> Vec<String> {
        let model = Model { cuts: vec![Cut::Matches(expression.into())], ..Model::default() };
        let mut all = Vec::new();
        Words::new(&model).unwrap().each(text, &mut |word| all.push(word.to_owned())).unwrap();
        all
    }

    const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    #[test]
    fn white_space_before_a_word_gives_it_one_space() {
        assert_eq!(words(GPT2, "a   b\n\n c \t"), ["a", "  ", " b", "\n\n", " c", " \t"]);
        assert_eq!(words(GPT2, "a\n\nb\n"), ["a", "\n", "\n", "b", "\n"]);
    }

    #[test]
    fn what_lies_between_matches_is_a_word_and_empty_matches_cut_nothing() {
        assert_eq!(words("[0-9]", "ab12c"), ["ab", "1", "2", "c"]);
        assert_eq!(words("x*", "abxxé"), ["ab", "xx", "é"]);
        assert_eq!(words("a(?=b)", "aab"), ["a", "a", "b"]);
    }

    #[test]
    fn an_expression_that_cannot_be_used_is_an_error_and_one_that_takes_forever_too() {
        assert!(
            matches!(Pattern::new("(").unwrap_err(), Error::Vocabulary(reason) if reason.contains("\"(\""))
        );
        let model = Model { cuts: vec![Cut::Matches(r"(?:a+(?=.))+b".into())], ..Model::default() };
        let text = "a".repeat(1000) + "c";
        assert!(matches!(Words::new(&model).unwrap().each(&text, &mut |_| {}), Err(Error::Encode(_))));
        // The time of each search is linear in the text, but the total time is not.
        let pattern = Pattern::new("[^z]*z|.").unwrap();
        let late = pattern.cut(&"a".repeat(100_000), Instant::now(), &mut |_| Ok(()));
        assert!(matches!(late, Err(Error::Encode(_))));
    }

    proptest! {
        #[test]
        fn looking_ahead_by_hand_cuts_as_an_engine_that_looks_ahead(text in "[ \t\n\r\u{a0}a1'é!]{0,24}") {
            let expressions = [
                GPT2,
                r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            ];
            for expression in expressions {
                let linear = matches!(Pattern::new(expression), Ok(Pattern::Linear { .. }));
                prop_assert!(linear);
                let twin = fancy_regex::Regex::new(expression).unwrap();
                let mut theirs = Vec::new();
                Pattern::Backtracking(twin)
                    .cut(&text, Instant::now() + LONGEST, &mut |word| { theirs.push(word.to_owned()); Ok(()) })
                    .unwrap();
                prop_assert_eq!(words(expression, &text), theirs);
            }
        }
    }
}
