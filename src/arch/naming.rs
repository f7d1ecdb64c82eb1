//! The names that a layout's files use for the fields of a [`Config`](super::config::Config), for error messages.

/// The names of a config's fields in the files of one layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct FieldNames {
    pub vocabulary_size: &'static str,
    pub hidden_size: &'static str,
    pub intermediate_size: &'static str,
    pub layers: &'static str,
    pub query_heads: &'static str,
    pub key_value_heads: &'static str,
    pub head_size: &'static str,
    pub context_length: &'static str,
    pub window: &'static str,
    pub experts: &'static str,
    pub active_experts: &'static str,
    pub norm_epsilon: &'static str,
    pub theta: &'static str,
    pub factor: &'static str,
    pub low_frequency_factor: &'static str,
    pub original_context: &'static str,
}
