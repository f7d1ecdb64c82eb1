//! Reads the merges of a `tokenizer.json`: `"a b"`, or in files of `tokenizers` 0.20 and later `["a", "b"]`.
//!
//! Merges may come before the vocabulary that they are looked up in, so they are kept, all in one string. As two strings
//! each they would take ten times the memory of their bytes in the file.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

use crate::system::quote::quoted;
use crate::text::MOST_MERGES;

/// Merges in their order.
#[derive(Debug, Default)]
pub(super) struct Merges {
    /// The tokens of all merges, concatenated.
    text: String,
    /// End of each merge's left token in the text, and of its right token.
    ends: Vec<[u32; 2]>,
}

impl Merges {
    /// Returns the left and right tokens.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |ends| {
            let [middle, end] = ends.map(|end| end as usize);
            let pair = (&self.text[start..middle], &self.text[middle..end]);
            start = end;
            pair
        })
    }

    fn end<E: Error>(&self) -> Result<u32, E> {
        u32::try_from(self.text.len()).map_err(|_| E::custom("the merges have more than 4294967295 bytes"))
    }
}

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(All)
    }
}

struct All;

impl<'de> Visitor<'de> for All {
    type Value = Merges;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of merges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merges, A::Error> {
        let mut merges = Merges::default();
        while list.next_element_seed(One(&mut merges))?.is_some() {
            if merges.ends.len() > MOST_MERGES {
                return Err(A::Error::custom(format_args!("has more than {MOST_MERGES} merges")));
            }
        }
        Ok(merges)
    }
}

/// Reads the next merge.
struct One<'a>(&'a mut Merges);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a merge: two tokens")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let Self(merges) = self;
        let two = text.split_once(' ').filter(|(_, right)| !right.contains(' '));
        let (left, right) =
            two.ok_or_else(|| E::custom(format_args!("the merge {} is not two tokens", quoted(text))))?;
        merges.text.push_str(left);
        let middle = merges.end()?;
        merges.text.push_str(right);
        merges.ends.push([middle, merges.end()?]);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self(merges) = self;
        let mut next = |merges: &mut Merges| match list.next_element_seed(Token(&mut merges.text))? {
            Some(()) => merges.end(),
            None => Err(A::Error::custom("a merge is not two tokens")),
        };
        let ends = [next(merges)?, next(merges)?];
        if list.next_element::<IgnoredAny>()?.is_some() {
            return Err(A::Error::custom("a merge is not two tokens"));
        }
        merges.ends.push(ends);
        Ok(())
    }
}

/// Reads a token of a merge and appends it to the others.
struct Token<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Token<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Token<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a token")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_of_both_forms_are_pairs_in_their_order() {
        let merges: Merges = serde_json::from_str(r#"["a b", ["c ", "d\n"], "é f"]"#).unwrap();
        assert!(merges.iter().eq([("a", "b"), ("c ", "d\n"), ("é", "f")]));
        for (text, part) in [
            (r#"["ab"]"#, "the merge \"ab\" is not two tokens"),
            (r#"["a b c"]"#, "not two tokens"),
            (r#"[["a"]]"#, "a merge is not two tokens"),
            (r#"[["a","b","c"]]"#, "a merge is not two tokens"),
            ("[1]", "expected a merge"),
            ("[[1,2]]", "expected a token"),
            ("{}", "expected a list of merges"),
        ] {
            let error = serde_json::from_str::<Merges>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
