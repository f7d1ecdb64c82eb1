//! A turn of a conversation.

use serde::{Deserialize, Serialize};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
// Unknown fields are refused: a tool call or a name would be dropped silently.
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or another role that the chat template knows.
    pub role: String,
    /// The text of the turn.
    pub content: String,
    /// The ids that the model generated as this content; `None` if it did not generate it. A text can be encoded in
    /// more than one way, so a reply keeps the ids that the model generated, which the cache holds.
    #[serde(skip)]
    pub ids: Vec<u32>,
}

impl Message {
    /// Returns a message that no model generated.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), ids: Vec::new() }
    }
}
