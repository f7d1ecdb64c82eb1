//! How byte-level BPE cuts a text into words before it merges: a GGUF file only names the way
//! (`tokenizer.ggml.pre`), and the regular expressions behind the names are in llama.cpp's source
//! (`llm_tokenizer_bpe` in src/llama-vocab.cpp). Where llama.cpp wrote an expression anew for its own engine,
//! this is the original of the model's `tokenizer.json`.

use tokenizers::SplitDelimiterBehavior;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};

use super::Error;

pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What a name of `tokenizer.ggml.pre` stands for.
#[derive(Debug)]
pub(super) struct Style {
    /// Each cuts the pieces that the one before left.
    expressions: &'static [&'static str],
    /// A word that is a token is that token, whatever the merges say.
    pub(super) ignore_merges: bool,
    /// Whether BOS goes in front where the file does not say.
    pub(super) adds_bos: bool,
}

impl Style {
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
        Ok(Self { expressions, ignore_merges: llama3 || tekken, adds_bos: llama3 || tekken })
    }

    /// The name for these expressions: one of several that mean the same.
    pub(super) fn name_of(expressions: &[String], ignore_merges: bool) -> Option<&'static str> {
        let names = ["gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "tekken", "default"];
        let means = |name: &str| {
            let style = Self::named(Some(name));
            style.is_ok_and(|style| style.expressions == expressions && style.ignore_merges == ignore_merges)
        };
        names.into_iter().find(|name| means(name))
    }

    /// The expressions one after the other, then the byte-level alphabet.
    pub(super) fn pre_tokenizer(&self) -> tokenizers::Result<PreTokenizerWrapper> {
        let mut steps = Vec::new();
        for expression in self.expressions {
            let pattern = SplitPattern::Regex((*expression).to_owned());
            steps.push(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?.into());
        }
        steps.push(ByteLevel::new(false, true, false).into());
        Ok(Sequence::new(steps).into())
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _};

    use super::*;

    fn words(name: Option<&str>, text: &str) -> Vec<String> {
        let mut pieces = PreTokenizedString::from(text);
        Style::named(name).unwrap().pre_tokenizer().unwrap().pre_tokenize(&mut pieces).unwrap();
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, (start, end), _)| text[start..end].to_owned()).collect()
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
