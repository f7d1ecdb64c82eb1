//! The text defaults of a checkpoint: its tokenizer, chat format, end tokens and sampling settings.

use serde_json::{Map, Value, json};

use super::opened::end_ids;
use crate::checkpoint::open::Checkpoint;
use crate::generate::Sampling;
use crate::system::quote::quoted;
use crate::text::Tokenizer;

/// The text defaults of a model, which flags may override.
#[derive(Clone, Debug)]
pub struct Speech {
    kind: &'static str,
    vocabulary_size: usize,
    chat_format: Option<String>,
    /// Ids and names of the tokens that end a text.
    ends: Vec<(u32, String)>,
    /// Ids and names of the tokens that also end a reply in a chat.
    chat_ends: Vec<(u32, String)>,
    sampling: Sampling,
}

impl Speech {
    /// Returns the text defaults of a checkpoint with these sampling settings.
    pub fn of(checkpoint: &Checkpoint, tokenizer: &Tokenizer, sampling: Sampling) -> Self {
        let named = |ids: &[u32]| {
            ids.iter().map(|id| (*id, tokenizer.token(*id).unwrap_or_default().to_string())).collect()
        };
        let ends = end_ids(checkpoint, tokenizer);
        let chat_ends =
            tokenizer.turn_ends().iter().copied().filter(|id| !ends.contains(id)).collect::<Vec<_>>();
        Self {
            kind: tokenizer.kind(),
            vocabulary_size: tokenizer.vocabulary_size(),
            chat_format: tokenizer.chat_format(),
            ends: named(&ends),
            chat_ends: named(&chat_ends),
            sampling,
        }
    }

    /// Adds the text defaults to a JSON object.
    pub fn add_to(&self, json: &mut Map<String, Value>) {
        let tokens = |tokens: &[(u32, String)]| -> Value {
            tokens.iter().map(|(id, token)| json!({"id": id, "token": token})).collect()
        };
        json.insert("tokenizer".into(), json!({"kind": self.kind, "vocabulary_size": self.vocabulary_size}));
        json.insert("chat_format".into(), json!(self.chat_format));
        json.insert("end_tokens".into(), tokens(&self.ends));
        json.insert("chat_end_tokens".into(), tokens(&self.chat_ends));
        json.insert("sampling".into(), self.sampling.as_json());
    }

    /// Returns the text defaults as pairs of a name and a description, one per line of output.
    pub fn lines(&self) -> [(&'static str, String); 4] {
        let tokens = |tokens: &[(u32, String)]| {
            let names: Vec<String> =
                tokens.iter().map(|(id, token)| format!("{} ({id})", quoted(token))).collect();
            names.join(", ")
        };
        let ends = match (self.ends.is_empty(), self.chat_ends.is_empty()) {
            (true, true) => "none".into(),
            (false, true) => tokens(&self.ends),
            (true, false) => format!("in a chat {}", tokens(&self.chat_ends)),
            (false, false) => format!("{}, in a chat also {}", tokens(&self.ends), tokens(&self.chat_ends)),
        };
        let Sampling { temperature, top_k, top_p, min_p, repeat_penalty } = &self.sampling;
        let sampling = format!(
            "temperature {temperature}, top-k {top_k}, top-p {top_p}, min-p {min_p}, repeat-penalty {repeat_penalty}"
        );
        [
            ("tokenizer", format!("{}, {} tokens", self.kind, self.vocabulary_size)),
            ("chat format", self.chat_format.clone().unwrap_or_else(|| "none".into())),
            ("end tokens", ends),
            ("sampling", sampling),
        ]
    }
}
