//! Names of fields and tensors in GGUF files of the architecture `llama`.

use crate::arch::FieldNames;
use crate::checkpoint::names::Table;

/// Names of a config's fields.
pub const FIELDS: FieldNames = FieldNames {
    vocabulary_size: "the number of rows of token_embd.weight",
    hidden_size: "llama.embedding_length",
    intermediate_size: "llama.feed_forward_length",
    layers: "llama.block_count",
    query_heads: "llama.attention.head_count",
    key_value_heads: "llama.attention.head_count_kv",
    head_size: "llama.attention.key_length",
    context_length: "llama.context_length",
    window: "llama.attention.sliding_window",
    experts: "llama.expert_count",
    active_experts: "llama.expert_used_count",
    norm_epsilon: "llama.attention.layer_norm_rms_epsilon",
    theta: "llama.rope.freq_base",
    factor: "llama.rope.scaling.factor",
    low_frequency_factor: "low_freq_factor",
    original_context: "original_max_position_embeddings",
};

/// Names of tensors. Only older files have a tensor for each expert.
pub const TENSORS: Table = Table {
    top: &[
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("output.weight", "lm_head.weight"),
    ],
    layers: "blk.",
    layer: &[
        ("attn_norm.weight", "input_layernorm.weight"),
        ("attn_q.weight", "self_attn.q_proj.weight"),
        ("attn_k.weight", "self_attn.k_proj.weight"),
        ("attn_v.weight", "self_attn.v_proj.weight"),
        ("attn_output.weight", "self_attn.o_proj.weight"),
        ("ffn_norm.weight", "post_attention_layernorm.weight"),
        ("ffn_gate.weight", "mlp.gate_proj.weight"),
        ("ffn_up.weight", "mlp.up_proj.weight"),
        ("ffn_down.weight", "mlp.down_proj.weight"),
        ("ffn_gate_inp.weight", "block_sparse_moe.gate.weight"),
        ("ffn_gate_exps.weight", "block_sparse_moe.experts.w1.weight"),
        ("ffn_down_exps.weight", "block_sparse_moe.experts.w2.weight"),
        ("ffn_up_exps.weight", "block_sparse_moe.experts.w3.weight"),
    ],
    experts: &[("ffn_gate.", ".weight", "w1"), ("ffn_down.", ".weight", "w2"), ("ffn_up.", ".weight", "w3")],
};
