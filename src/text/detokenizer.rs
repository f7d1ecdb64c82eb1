use std::sync::Arc;

/// A table of the bytes of every id.
#[derive(Debug, Default)]
pub(super) struct ByteTable {
    bytes: Vec<u8>,
    /// End of each id's bytes, which is the start of the next id's.
    ends: Vec<usize>,
    /// See [`Model::drops_first_space`](super::model::Model).
    drops_first_space: bool,
}

impl ByteTable {
    pub(super) fn new(drops_first_space: bool) -> Self {
        Self { drops_first_space, ..Self::default() }
    }

    /// Appends the bytes of the next id.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }

    /// Returns the bytes of an id, empty for a control token and for an id that does not exist.
    fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = id.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(id).and_then(|&end| self.bytes.get(start..end)).unwrap_or_default()
    }
}

/// Turns ids into text one at a time, and returns each character once its last byte has come.
///
/// Concatenated, the texts that [`push`](Self::push) and [`flush`](Self::flush) return are what
/// [`String::from_utf8_lossy`] makes of all the bytes. The work for an id does not depend on how many came before.
///
/// ```text
/// id      bytes       returned   kept
/// 4       E2          ""         E2
/// 5       82          ""         E2 82
/// 6       AC 20       "€ "
/// 5       82          "�"                  no character begins with 82, so nothing is kept
/// ```
#[derive(Clone, Debug)]
pub struct Detokenizer {
    table: Arc<ByteTable>,
    /// Bytes of an incomplete character, at most 3 between calls.
    kept: Vec<u8>,
    text: String,
    /// Whether no id was pushed yet, so that a space is the dummy prefix.
    drop_space: bool,
}

impl Detokenizer {
    pub(super) fn new(table: Arc<ByteTable>, at_start: bool) -> Self {
        let drop_space = at_start && table.drops_first_space;
        Self { table, kept: Vec::new(), text: String::new(), drop_space }
    }

    /// Takes an id and returns the text that it completes, which may be empty. Control tokens and ids that do not exist
    /// have no text.
    pub fn push(&mut self, id: u32) -> &str {
        self.text.clear();
        let mut bytes = self.table.get(id);
        if self.drop_space && !bytes.is_empty() {
            self.drop_space = false;
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
        }
        self.kept.extend_from_slice(bytes);
        let mut rest = self.kept.as_slice();
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => {
                    self.text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => error,
            };
            let (valid, after) = rest.split_at(error.valid_up_to());
            self.text.push_str(std::str::from_utf8(valid).unwrap_or_default());
            let Some(invalid) = error.error_len() else {
                rest = after;
                break;
            };
            self.text.push(char::REPLACEMENT_CHARACTER);
            rest = &after[invalid..];
        }
        let taken = self.kept.len() - rest.len();
        self.kept.drain(..taken);
        &self.text
    }

    /// Ends the text. Returns U+FFFD if the last character is incomplete, else nothing.
    pub fn flush(&mut self) -> &str {
        self.text.clear();
        if !self.kept.is_empty() {
            self.kept.clear();
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn streamed(tokens: &[Vec<u8>], drops_first_space: bool) -> String {
        let mut table = ByteTable::new(drops_first_space);
        tokens.iter().for_each(|token| table.push(token));
        let mut detokenizer = Detokenizer::new(Arc::new(table), true);
        let mut text = String::new();
        for id in 0..tokens.len() as u32 {
            text.push_str(detokenizer.push(id));
            assert!(detokenizer.kept.len() <= 3);
        }
        text.push_str(detokenizer.flush());
        text
    }

    proptest! {
        #[test]
        fn streaming_any_bytes_gives_what_lossy_decoding_of_the_whole_gives(
            tokens in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..40)
        ) {
            let whole = tokens.concat();
            prop_assert_eq!(streamed(&tokens, false), String::from_utf8_lossy(&whole));
        }

        #[test]
        fn streaming_text_in_pieces_of_bytes_gives_the_text(text in ".{0,40}", size in 1usize..4) {
            let tokens: Vec<Vec<u8>> = text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(streamed(&tokens, false), text);
        }
    }

    #[test]
    fn a_character_comes_with_its_last_byte_and_invalid_bytes_never_stall_it() {
        let mut table = ByteTable::new(false);
        [&[0xE2][..], &[0x82], &[0xAC, b' '], &[0xFF], b"a"].iter().for_each(|token| table.push(token));
        let mut detokenizer = Detokenizer::new(Arc::new(table), false);
        let mut push = |id| detokenizer.push(id).to_owned();
        assert_eq!([push(0), push(1), push(2), push(1), push(3), push(4)], ["", "", "€ ", "�", "�", "a"]);
        assert_eq!([push(0), push(4), push(0)], ["", "�a", ""]);
        assert_eq!(detokenizer.flush(), "�");
        assert_eq!(detokenizer.flush(), "");
    }

    #[test]
    fn one_space_at_the_start_is_dropped_and_only_where_a_text_starts() {
        let tokens = [b"".to_vec(), b"  a".to_vec(), b" b".to_vec()];
        assert_eq!(streamed(&tokens, true), " a b");
        assert_eq!(streamed(&tokens, false), "  a b");
        assert_eq!(streamed(&[b"a".to_vec(), b" b".to_vec()], true), "a b");
    }

    #[test]
    fn ids_beyond_the_vocabulary_have_no_text() {
        let mut detokenizer = Detokenizer::new(Arc::new(ByteTable::new(true)), true);
        assert_eq!((detokenizer.push(0), "").1, "");
        assert_eq!(detokenizer.push(u32::MAX), "");
    }
}
