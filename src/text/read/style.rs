//! The regular expressions by which byte-level BPE cuts a text into words. A GGUF file only has a name for them
//! (`tokenizer.ggml.pre`); the expressions are in llama.cpp's source (`llm_tokenizer_bpe` in src/llama-vocab.cpp). Where
//! llama.cpp rewrote an expression for its own engine, this is the original of the model's `tokenizer.json`.

use super::steps::GPT2;
use crate::text::Error;

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The pre-tokenizer that a name of `tokenizer.ggml.pre` stands for.
#[derive(Debug)]
pub(in crate::text) struct Style {
    /// The expressions; each cuts the pieces of the previous one.
    pub(super) expressions: &'static [&'static str],
    /// Whether a word that is a token becomes that token, regardless of the merges.
    pub(super) whole_words: bool,
    /// Whether BOS is added at the start by default.
    pub(super) adds_bos: bool,
}

impl Style {
    /// Returns the style of the pre-tokenizer `name`, as in `tokenizer.ggml.pre`.
    ///
    /// # Errors
    /// [`Error::UnknownPreTokenizer`].
    pub(super) fn named(name: Option<&str>) -> Result<Self, Error> {
        let expressions: &[&str] = match name.unwrap_or("default") {
            "default" => &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
            "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "exaone4" => &[GPT2],
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" => {
                &[r"\p{N}", GPT2]
            }
            "llama-bpe" | "llama3" | "llama-v3" | "pixtral" | "falcon3" | "lfm2" | "dbrx" | "smaug-bpe" => {
                &[LLAMA3]
            }
            "qwen2" | "stablelm2" | "megrez" | "deepseek-r1-qwen" => &[QWEN2],
            "tekken" => &[TEKKEN],
            other => return Err(Error::UnknownPreTokenizer(other.to_owned())),
        };
        let llama3 =
            matches!(name, Some("llama-bpe" | "llama3" | "llama-v3" | "pixtral" | "falcon3" | "lfm2"));
        let tekken = name == Some("tekken");
        Ok(Self { expressions, whole_words: llama3 || tekken, adds_bos: llama3 || tekken })
    }

    /// Returns a name for these expressions, one of several that are equivalent.
    pub(in crate::text) fn name_of(expressions: &[&str], whole_words: bool) -> Option<&'static str> {
        let names = ["gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "tekken", "default"];
        let means = |name: &str| {
            let style = Self::named(Some(name));
            style.is_ok_and(|style| style.expressions == expressions && style.whole_words == whole_words)
        };
        names.into_iter().find(|name| means(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::encode::words::Words;
    use crate::text::model::{Cut, Model};

    fn words(name: Option<&str>, text: &str) -> Vec<String> {
        let style = Style::named(name).unwrap();
        let cuts = style.expressions.iter().map(|expression| Cut::Matches((*expression).into())).collect();
        let mut all = Vec::new();
        let words = Words::new(&Model { cuts, ..Model::default() }).unwrap();
        words.each(text, &mut |word| all.push(word.to_owned())).unwrap();
        all
    }

    #[test]
    fn digits_are_cut_as_each_model_cuts_them() {
        let text = "In 2024, 12345!";
        assert_eq!(words(Some("gpt-2"), text), ["In", " 2024", ",", " 12345", "!"]);
        assert_eq!(
            words(Some("smollm"), text),
            ["In", " ", "2", "0", "2", "4", ",", " ", "1", "2", "3", "4", "5", "!"]
        );
        assert_eq!(words(Some("llama-bpe"), text), ["In", " ", "202", "4", ",", " ", "123", "45", "!"]);
        assert_eq!(words(Some("tekken"), "In 20"), ["In", " ", "2", "0"]);
        assert_eq!(words(None, text), ["In", " ", "202", "4", ",", " ", "123", "45", "!"]);
    }

    #[test]
    fn tekken_cuts_between_cases() {
        assert_eq!(
            words(Some("tekken"), "camelCase HTTPServer ÉTÉété"),
            ["camel", "Case", " HTTPServer", " ÉTÉété"]
        );
    }

    #[test]
    fn white_space_before_a_word_gives_it_one_space() {
        assert_eq!(words(Some("gpt-2"), "a   b\n\n c \t"), ["a", "  ", " b", "\n\n", " c", " \t"]);
    }

    #[test]
    fn an_unknown_name_is_named() {
        let error = Style::named(Some("kimi-k9")).unwrap_err();
        assert_eq!(error.to_string(), "the pre-tokenizer \"kimi-k9\" is not supported");
    }
}
