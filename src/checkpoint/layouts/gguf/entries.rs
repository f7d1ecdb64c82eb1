//! Metadata entries of a GGUF file that do not change the model, listed by name or by value.
//!
//! llama.cpp is the reference: `llama-arch.cpp` names all entries, and `llama-model.cpp` shows which it reads for
//! `llama`. It ignores entries that it does not read for an architecture. This program refuses an entry whose value
//! would change a model of another architecture.

use crate::checkpoint::formats::gguf::Value;

/// The values of an entry that do not change the model.
#[derive(Clone, Copy)]
enum Neutral {
    Any,
    Numbers(&'static [f64]),
    Flag(bool),
    Texts(&'static [&'static str]),
}

use Neutral::{Any, Flag, Numbers, Texts};

const ZERO: Neutral = Numbers(&[0.0]);
/// The values of a factor that change nothing: 1, and 0, which counts as missing.
const ONE: Neutral = Numbers(&[0.0, 1.0]);

/// Entries under `llama.`.
const NEUTRAL: [(&str, Neutral); 56] = [
    ("activation_sparsity_scale", ZERO),
    ("attention.causal", Flag(true)),
    ("attention.clamp_kqv", ZERO),
    ("attention.group_norm_epsilon", Any),
    ("attention.group_norm_groups", Any),
    ("attention.key_length_mla", ZERO),
    ("attention.kv_lora_rank", ZERO),
    ("attention.layer_norm_epsilon", Any),
    ("attention.max_alibi_bias", ZERO),
    ("attention.output_scale", ONE),
    ("attention.q_lora_rank", ZERO),
    ("attention.relative_buckets_count", ZERO),
    ("attention.shared_kv_layers", ZERO),
    // The period, in layers, of full attention.
    ("attention.sliding_window_pattern", ONE),
    ("attention.temperature_length", Any),
    ("attention.temperature_scale", ZERO),
    ("attention.value_length_mla", ZERO),
    ("attention.value_scale", ONE),
    ("attn_logit_softcapping", ZERO),
    ("classifier.output_labels", Any),
    ("decoder_start_token_id", Any),
    ("embedding_length_per_layer_input", ZERO),
    ("embedding_scale", ONE),
    // 1 is softmax.
    ("expert_gating_func", ONE),
    ("expert_group_count", ONE),
    ("expert_group_scale", ONE),
    ("expert_group_used_count", ONE),
    ("expert_shared_count", ZERO),
    ("expert_shared_feed_forward_length", ZERO),
    // The routing weights of a token's experts always sum to 1.
    ("expert_weights_norm", Flag(true)),
    ("expert_weights_scale", ONE),
    ("experts_per_group", ZERO),
    ("final_logit_softcapping", ZERO),
    ("full_attention_interval", ONE),
    ("hash_layer_count", ZERO),
    ("hidden_activation", Texts(&["silu", "swish", "swiglu"])),
    ("interleave_moe_layer_step", ONE),
    ("leading_dense_block_count", ZERO),
    ("logit_scale", ONE),
    ("moe_every_n_layers", ONE),
    ("moe_latent_size", ZERO),
    ("n_deepstack_layers", ZERO),
    ("nextn_predict_layers", ZERO),
    // How embedding models pool a text's rows into one vector. This program has no embeddings of texts.
    ("pooling_type", Any),
    ("rescale_every_n_layers", ZERO),
    ("residual_scale", ONE),
    ("rope.scaling.alpha", ONE),
    ("rope.scaling.yarn_attn_factor", ONE),
    // Settings of YaRN, a rope type that is refused.
    ("rope.scaling.yarn_beta_fast", Any),
    ("rope.scaling.yarn_beta_slow", Any),
    ("rope.scaling.yarn_ext_factor", Numbers(&[0.0, -1.0])),
    ("rope.scaling.yarn_log_multiplier", ZERO),
    ("router_logit_softcapping", ZERO),
    // Rows of queries and keys have the same order in all files of this architecture, regardless of this entry.
    ("tensor_data_layout", Any),
    ("token_shift_count", ZERO),
    ("use_parallel_residual", Flag(false)),
];

/// Returns whether this value of an entry under `llama.` does not change the model. A list has one value per layer.
pub fn is_neutral(name: &str, value: &Value) -> bool {
    let Some((_, neutral)) = NEUTRAL.iter().find(|(known, _)| *known == name) else { return false };
    match value {
        Value::Array(items) => items.iter().all(|item| neutral.holds(&item)),
        one => neutral.holds(one),
    }
}

impl Neutral {
    fn holds(self, value: &Value) -> bool {
        match self {
            Any => true,
            Numbers(numbers) => value.as_f64().is_some_and(|number| numbers.contains(&number)),
            Flag(flag) => value.as_bool() == Some(flag),
            Texts(texts) => value.as_str().is_some_and(|text| texts.contains(&text.to_lowercase().as_str())),
        }
    }
}
