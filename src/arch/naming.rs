//! What each layout calls the sizes of a [`Config`](super::config::Config), for the messages of its check.

/// Whose names a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `config.json`.
    HuggingFace,
    /// A GGUF file of the architecture `llama`.
    Gguf,
    /// `params.json`.
    Mistral,
    /// litgpt's `model_config.yaml` and `lit_config.json`.
    LitGpt,
    /// `mist.json`.
    Mist,
}

/// In the order of [`Naming`].
const NAMES: [[&str; 5]; 16] = [
    [
        "vocab_size",
        "the number of rows of token_embd.weight",
        "vocab_size",
        "padded_vocab_size",
        "vocabulary_size",
    ],
    ["hidden_size", "llama.embedding_length", "dim", "n_embd", "hidden_size"],
    [
        "intermediate_size",
        "llama.feed_forward_length",
        "hidden_dim",
        "intermediate_size",
        "intermediate_size",
    ],
    ["num_hidden_layers", "llama.block_count", "n_layers", "n_layer", "layers"],
    ["num_attention_heads", "llama.attention.head_count", "n_heads", "n_head", "query_heads"],
    [
        "num_key_value_heads",
        "llama.attention.head_count_kv",
        "n_kv_heads",
        "n_query_groups",
        "key_value_heads",
    ],
    ["head_dim", "llama.attention.key_length", "head_dim", "head_size", "head_size"],
    [
        "max_position_embeddings",
        "llama.context_length",
        "max_seq_len or max_position_embeddings",
        "block_size",
        "context_length",
    ],
    ["sliding_window", "llama.attention.sliding_window", "sliding_window", "sliding_window_size", "window"],
    ["num_local_experts", "llama.expert_count", "num_experts", "n_expert", "experts.all"],
    [
        "num_experts_per_tok",
        "llama.expert_used_count",
        "num_experts_per_tok",
        "n_expert_per_token",
        "experts.active",
    ],
    ["rms_norm_eps", "llama.attention.layer_norm_rms_epsilon", "norm_eps", "norm_eps", "norm_epsilon"],
    ["rope_theta", "llama.rope.freq_base", "rope_theta", "rope_base", "rope.theta"],
    ["factor", "llama.rope.scaling.factor", "factor", "rope_adjustments.factor", "rope.scaling.factor"],
    ["low_freq_factor", "low_freq_factor", "low_freq_factor", "low_freq_factor", "low_frequency_factor"],
    [
        "original_max_position_embeddings",
        "original_max_position_embeddings",
        "original_max_position_embeddings",
        "rope_adjustments.original_max_seq_len",
        "original_context",
    ],
];

impl Naming {
    /// The name for one of `config.json`; one that is in no table stays as it is.
    pub fn of(self, name: &'static str) -> &'static str {
        let row = NAMES.iter().find(|[ours, ..]| *ours == name);
        row.and_then(|row| row.get(self as usize)).copied().unwrap_or(name)
    }
}
