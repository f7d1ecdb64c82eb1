//! Names of fields and tensors in litgpt's layout.

use crate::arch::FieldNames;
use crate::checkpoint::names::Table;

/// Names of a config's fields in `model_config.yaml` and `lit_config.json`.
pub const FIELDS: FieldNames = FieldNames {
    vocabulary_size: "padded_vocab_size",
    hidden_size: "n_embd",
    intermediate_size: "intermediate_size",
    layers: "n_layer",
    query_heads: "n_head",
    key_value_heads: "n_query_groups",
    head_size: "head_size",
    context_length: "block_size",
    window: "sliding_window_size",
    experts: "n_expert",
    active_experts: "n_expert_per_token",
    norm_epsilon: "norm_eps",
    theta: "rope_base",
    factor: "rope_adjustments.factor",
    low_frequency_factor: "low_freq_factor",
    original_context: "rope_adjustments.original_max_seq_len",
};

/// Names of tensors. Queries, keys and values are fused.
pub const TENSORS: Table = Table {
    top: &[
        ("transformer.wte.weight", "model.embed_tokens.weight"),
        ("transformer.ln_f.weight", "model.norm.weight"),
        ("lm_head.weight", "lm_head.weight"),
    ],
    layers: "transformer.h.",
    layer: &[
        ("norm_1.weight", "input_layernorm.weight"),
        ("attn.qkv.weight", "self_attn.qkv_proj.weight"),
        ("attn.proj.weight", "self_attn.o_proj.weight"),
        ("norm_2.weight", "post_attention_layernorm.weight"),
        ("mlp.fc_1.weight", "mlp.gate_proj.weight"),
        ("mlp.fc_2.weight", "mlp.up_proj.weight"),
        ("mlp.proj.weight", "mlp.down_proj.weight"),
        ("mlp.gate.weight", "block_sparse_moe.gate.weight"),
    ],
    experts: &[
        ("mlp.experts.", ".fc_1.weight", "w1"),
        ("mlp.experts.", ".proj.weight", "w2"),
        ("mlp.experts.", ".fc_2.weight", "w3"),
    ],
};
