//! Entries of a GGUF file's metadata that change nothing, by their names or by their values.
//!
//! llama.cpp is the reference (`llama-arch.cpp` names all entries, `llama-model.cpp` says which are read for `llama`): it
//! ignores what it does not read for an architecture. This program refuses what would change a model of another
//! architecture, at a value at which it would.

use crate::checkpoint::formats::gguf::Value;

/// The values at which an entry changes nothing.
#[derive(Clone, Copy)]
enum Neutral {
    Any,
    Numbers(&'static [f64]),
    Flag(bool),
    Texts(&'static [&'static str]),
}

use Neutral::{Any, Flag, Numbers, Texts};

const ZERO: Neutral = Numbers(&[0.0]);
/// A factor that is not there is 0.
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
    // Every so many layers one sees everything.
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
    // 1 stands for softmax.
    ("expert_gating_func", ONE),
    ("expert_group_count", ONE),
    ("expert_group_scale", ONE),
    ("expert_group_used_count", ONE),
    ("expert_shared_count", ZERO),
    ("expert_shared_feed_forward_length", ZERO),
    // The weights of the experts of a token always sum to 1.
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
    // How a text's rows become one vector, which nobody asks for here.
    ("pooling_type", Any),
    ("rescale_every_n_layers", ZERO),
    ("residual_scale", ONE),
    ("rope.scaling.alpha", ONE),
    ("rope.scaling.yarn_attn_factor", ONE),
    // YaRN's own; of types of scaling it is none that runs.
    ("rope.scaling.yarn_beta_fast", Any),
    ("rope.scaling.yarn_beta_slow", Any),
    ("rope.scaling.yarn_ext_factor", Numbers(&[0.0, -1.0])),
    ("rope.scaling.yarn_log_multiplier", ZERO),
    ("router_logit_softcapping", ZERO),
    // Rows of queries and keys are in one order in all files of this architecture, whatever this calls it.
    ("tensor_data_layout", Any),
    ("token_shift_count", ZERO),
    ("use_parallel_residual", Flag(false)),
];

/// Whether an entry under `llama.` changes nothing with this value; a list has one for each layer.
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
