//! Reads the tokenizer from a GGUF file's metadata.

use super::cursor::Value;
use super::keys;
use super::read::Gguf;
use crate::checkpoint::error::Error;
use crate::text::{MOST_MERGES, MOST_TOKENS, Vocabulary};

impl Gguf {
    /// Returns the tokenizer's metadata.
    ///
    /// # Errors
    /// The file holds no tokenizer, an entry is of the wrong type, or a key is missing or misspelt.
    pub fn vocabulary(&self) -> Result<Vocabulary, Error> {
        let model = self.text("tokenizer.ggml.model")?;
        let Some(model) = model else {
            return Err(Error::vocabulary(&self.path, "holds no tokenizer: tokenizer.ggml.model is missing"));
        };
        keys::check(self, &model)?;
        let tokens = self.list("tokenizer.ggml.tokens", MOST_TOKENS, owned)?;
        // llama.cpp's defaults for SentencePiece vocabularies, for an id that is missing or beyond the tokens.
        let or_usual = |id: Option<u32>, usual: u32| match model.as_str() {
            "llama" => [id, Some(usual)].into_iter().flatten().find(|id| (*id as usize) < tokens.len()),
            _ => id,
        };
        Ok(Vocabulary {
            pre: self.text("tokenizer.ggml.pre")?,
            token_types: self
                .list("tokenizer.ggml.token_type", MOST_TOKENS, |v| v.as_i64()?.try_into().ok())?,
            scores: self.list("tokenizer.ggml.scores", MOST_TOKENS, |v| v.as_f64().map(|v| v as f32))?,
            merges: self.list("tokenizer.ggml.merges", MOST_MERGES, owned)?,
            bos: or_usual(self.id("tokenizer.ggml.bos_token_id")?, 1),
            eos: or_usual(self.id("tokenizer.ggml.eos_token_id")?, 2),
            eot: self.id("tokenizer.ggml.eot_token_id")?,
            eom: self.id("tokenizer.ggml.eom_token_id")?,
            unknown: self.id("tokenizer.ggml.unknown_token_id")?,
            add_bos: self.typed("tokenizer.ggml.add_bos_token", "true or false", Value::as_bool)?,
            add_eos: self.typed("tokenizer.ggml.add_eos_token", "true or false", Value::as_bool)?,
            add_space_prefix: self.typed(
                "tokenizer.ggml.add_space_prefix",
                "true or false",
                Value::as_bool,
            )?,
            chat_template: self.text("tokenizer.chat_template")?,
            tokens,
            model,
        })
    }

    fn text(&self, key: &str) -> Result<Option<String>, Error> {
        self.typed(key, "text", owned)
    }

    fn id(&self, key: &str) -> Result<Option<u32>, Error> {
        self.typed(key, "a token id", |v| v.as_i64().and_then(|v| v.try_into().ok()))
    }

    /// Returns a list's items, at most `most`; no items if the key is missing.
    fn list<T>(&self, key: &str, most: usize, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, Error> {
        if let Some(Value::Array(items)) = self.get(key)
            && items.len() > most
        {
            let rule = format!("{key} has {} items, at most {most} are read", items.len());
            return Err(self.unfit(key, rule));
        }
        let items = self.typed(key, "a list of the right type", |value| match value {
            Value::Array(items) => items.iter().map(|item| read(&item)).collect(),
            _ => None,
        });
        Ok(items?.unwrap_or_default())
    }
}

fn owned(value: &Value) -> Option<String> {
    value.as_text().map(|text| text.into_owned())
}
