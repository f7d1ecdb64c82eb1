//! Names of fields and tensors in Mistral's layout.

use crate::arch::FieldNames;
use crate::checkpoint::names::Table;

/// Names of a config's fields in `params.json`.
pub const FIELDS: FieldNames = FieldNames {
    vocabulary_size: "vocab_size",
    hidden_size: "dim",
    intermediate_size: "hidden_dim",
    layers: "n_layers",
    query_heads: "n_heads",
    key_value_heads: "n_kv_heads",
    head_size: "head_dim",
    context_length: "max_seq_len or max_position_embeddings",
    window: "sliding_window",
    experts: "num_experts",
    active_experts: "num_experts_per_tok",
    norm_epsilon: "norm_eps",
    theta: "rope_theta",
    factor: "factor",
    low_frequency_factor: "low_freq_factor",
    original_context: "original_max_position_embeddings",
};

/// Names of tensors.
pub const TENSORS: Table = Table {
    top: &[
        ("tok_embeddings.weight", "model.embed_tokens.weight"),
        ("norm.weight", "model.norm.weight"),
        ("output.weight", "lm_head.weight"),
    ],
    layers: "layers.",
    layer: &[
        ("attention_norm.weight", "input_layernorm.weight"),
        ("attention.wq.weight", "self_attn.q_proj.weight"),
        ("attention.wk.weight", "self_attn.k_proj.weight"),
        ("attention.wv.weight", "self_attn.v_proj.weight"),
        ("attention.wo.weight", "self_attn.o_proj.weight"),
        ("ffn_norm.weight", "post_attention_layernorm.weight"),
        ("feed_forward.w1.weight", "mlp.gate_proj.weight"),
        ("feed_forward.w3.weight", "mlp.up_proj.weight"),
        ("feed_forward.w2.weight", "mlp.down_proj.weight"),
        ("feed_forward.gate.weight", "block_sparse_moe.gate.weight"),
    ],
    experts: &[
        ("feed_forward.experts.", ".w1.weight", "w1"),
        ("feed_forward.experts.", ".w2.weight", "w2"),
        ("feed_forward.experts.", ".w3.weight", "w3"),
    ],
};
