//! Describes a model's shape in words.

use super::config::Config;

impl Config {
    /// Returns the properties that distinguish the model, as names and values: its size, heads and experts.
    pub fn described(&self) -> Vec<(&'static str, String)> {
        let heads = format!(
            "{} of size {}, {} for keys and values",
            self.query_heads, self.head_size, self.key_value_heads
        );
        let mut lines = vec![
            ("architecture", format!("{:?}", self.architecture).to_lowercase()),
            ("layers", self.layers.to_string()),
            ("hidden size", self.hidden_size.to_string()),
            ("inner size", self.intermediate_size.to_string()),
            ("heads", heads),
            ("vocabulary", self.vocabulary_size.to_string()),
            ("context", self.context_length.to_string()),
            ("rope theta", self.rope.theta.to_string()),
        ];
        if let Some(window) = self.window {
            lines.push(("window", window.to_string()));
        }
        if let Some(experts) = self.experts {
            lines.push(("experts", format!("{}, {} active", experts.all, experts.active)));
        }
        lines
    }
}
