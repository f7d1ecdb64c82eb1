//! Which bytes an id stands for: the `decoder` of `tokenizer.json`, worked out once for every token.
//!
//! The decoders of the `tokenizers` crate work on a whole list of tokens. All those of our models are in fact
//! one function of one token, plus one rule about the start of a text, so a table does it.

use serde_json::Value;

use super::Error;

/// How a token's spelling in the vocabulary becomes bytes.
#[derive(Debug, Default)]
pub(super) struct Spelling {
    steps: Vec<Step>,
    /// The first space of a text is SentencePiece's dummy prefix and is not part of it.
    pub(super) drops_first_space: bool,
}

#[derive(Debug)]
enum Step {
    /// GPT-2's alphabet of 256 printable characters, one for each byte.
    ByteLevel,
    Replace(String, String),
    /// `<0x0A>` is the byte 0x0A.
    ByteFallback,
}

impl Spelling {
    /// Reads the `decoder` of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::UnknownDecoder`] for one that no model of the family has.
    pub(super) fn from_json(decoder: &Value) -> Result<Self, Error> {
        let mut spelling = Self::default();
        let mut fused = false;
        let kind = |step: &Value| step["type"].as_str().unwrap_or("none").to_owned();
        let steps = match decoder["decoders"].as_array() {
            Some(steps) if kind(decoder) == "Sequence" => steps.as_slice(),
            _ => std::slice::from_ref(decoder),
        };
        for step in steps {
            match kind(step).as_str() {
                "ByteLevel" => spelling.steps.push(Step::ByteLevel),
                "ByteFallback" => spelling.steps.push(Step::ByteFallback),
                "Fuse" => fused = true,
                "Replace" => match (step["pattern"]["String"].as_str(), step["content"].as_str()) {
                    (Some(from), Some(to)) if !fused && !from.is_empty() => {
                        spelling.steps.push(Step::Replace(from.into(), to.into()));
                    }
                    _ => return Err(Error::UnknownDecoder("Replace by a regular expression".into())),
                },
                // Before Fuse it would strip every token; at the end of a text it cannot be streamed.
                "Strip" if fused && step["content"] == " " && step["start"] == 1 && step["stop"] == 0 => {
                    spelling.drops_first_space = true;
                }
                "Metaspace" => {
                    let from = step["replacement"].as_str().unwrap_or("▁");
                    spelling.steps.push(Step::Replace(from.into(), " ".into()));
                    spelling.drops_first_space = step["prepend_scheme"] != "never";
                }
                other => return Err(Error::UnknownDecoder(other.into())),
            }
        }
        Ok(spelling)
    }

    /// The bytes of the token `spelling`. An `added` token is not spelled in the byte-level alphabet; the
    /// `tokenizers` crate forgets that, and decodes an added `é` to the byte 0xE9.
    pub(super) fn bytes(&self, spelling: &str, added: bool) -> Vec<u8> {
        let mut text = spelling.to_owned();
        for step in &self.steps {
            match step {
                Step::Replace(from, to) => text = text.replace(from, to),
                Step::ByteFallback => {
                    if let Some(byte) = fallback_byte(&text) {
                        return vec![byte];
                    }
                }
                Step::ByteLevel if added => {}
                Step::ByteLevel => {
                    if let Some(bytes) = text.chars().map(byte_level).collect() {
                        return bytes;
                    }
                }
            }
        }
        text.into_bytes()
    }
}

/// `<0x0A>` to 0x0A.
fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let both_hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    both_hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// GPT-2's alphabet, undone: printable Latin-1 stands for itself; the other 68 bytes, in order, are U+0100 on.
/// After `bytes_to_unicode` of <https://github.com/openai/gpt-2/blob/master/src/encoder.py>.
fn byte_level(character: char) -> Option<u8> {
    let code = u32::from(character);
    let byte = match code {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => code,
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 0x7F,
        0x143 => 0xAD,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_alphabet_has_one_character_for_each_byte() {
        let theirs = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        let bytes: HashSet<u8> = theirs.iter().map(|&c| byte_level(c).unwrap()).collect();
        assert_eq!((theirs.len(), bytes.len()), (256, 256));
        assert_eq!(('\0'..='\u{FFFF}').filter(|&c| byte_level(c).is_some()).count(), 256);
        assert_eq!(['Ġ', 'Ċ', 'Ń', 'a'].map(byte_level), [b' ', b'\n', 0xAD, b'a'].map(Some));
    }

    #[test]
    fn a_byte_token_is_two_hex_digits_and_nothing_else() {
        assert_eq!(fallback_byte("<0x0A>"), Some(10));
        assert_eq!(fallback_byte("<0xfF>"), Some(255));
        for other in ["<0x+A>", "<0xA>", "<0x0A", "0x0A", "<0x0A0>", "<0xé>"] {
            assert_eq!(fallback_byte(other), None, "{other}");
        }
    }

    #[test]
    fn decoders_that_cannot_be_streamed_are_named() {
        let named = |decoder| Spelling::from_json(&decoder).unwrap_err().to_string();
        assert!(named(json!({"type": "WordPiece", "prefix": "##"})).contains("decoder WordPiece"));
        assert!(named(json!(null)).contains("decoder none"));
        let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
        assert!(named(json!({"type": "Sequence", "decoders": [strip]})).contains("decoder Strip"));
        let regex = json!({"type": "Replace", "pattern": {"Regex": "▁"}, "content": " "});
        assert!(named(regex).contains("regular expression"));
    }
}
