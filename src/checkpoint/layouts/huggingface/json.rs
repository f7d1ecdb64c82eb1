//! Writes `config.json` in the spelling of 2023 (`rope_theta`, `rope_scaling`, `torch_dtype`), which all versions of
//! transformers and other programs read.

use std::path::Path;

use serde_json::{Value, json};

use crate::arch::{Architecture, Config, RopeScaling};
use crate::checkpoint::error::Error;
use crate::quant::Scheme;

/// Returns the JSON from which [`from_json`](super::config::from_json) reads this config. `dtype` is the type of the
/// weights; errors name `path`.
///
/// # Errors
/// Each rotary frequency has a separate divisor, for which `config.json` has no field.
pub fn to_json(config: &Config, dtype: Scheme, bos: Option<u32>, path: &Path) -> Result<Value, Error> {
    let (class, kind) = match config.architecture {
        Architecture::Llama => ("LlamaForCausalLM", "llama"),
        Architecture::Mistral => ("MistralForCausalLM", "mistral"),
        Architecture::Mixtral => ("MixtralForCausalLM", "mixtral"),
    };
    let mut json = json!({
        "architectures": [class],
        "model_type": kind,
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.query_heads,
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_size,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_epsilon,
        "max_position_embeddings": config.context_length,
        "rope_theta": config.rope.theta,
        "rope_scaling": rope_scaling(config, path)?,
        "tie_word_embeddings": config.tied_head,
        "bos_token_id": bos,
        "eos_token_id": end_ids(&config.end_ids),
        "torch_dtype": match dtype {
            Scheme::F16 => "float16",
            Scheme::Bf16 => "bfloat16",
            _ => "float32",
        },
    });
    if config.architecture != Architecture::Llama {
        json["sliding_window"] = config.window.into();
    }
    if let Some(experts) = config.experts {
        json["num_local_experts"] = experts.all.into();
        json["num_experts_per_tok"] = experts.active.into();
    }
    Ok(json)
}

/// Returns an id, a list of several ids, or null.
pub fn end_ids(ids: &[u32]) -> Value {
    match ids {
        [] => Value::Null,
        [one] => (*one).into(),
        several => several.into(),
    }
}

fn rope_scaling(config: &Config, path: &Path) -> Result<Value, Error> {
    match &config.rope.scaling {
        RopeScaling::None => Ok(Value::Null),
        RopeScaling::Linear { factor } => Ok(json!({"rope_type": "linear", "factor": factor})),
        RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
            Ok(json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_frequency_factor,
                "high_freq_factor": high_frequency_factor,
                // transformers requires a whole number.
                "original_max_position_embeddings": *original_context as u64,
            }))
        }
        RopeScaling::Factors { .. } => {
            let what = "a config.json for rope_freqs.weight, which gives each frequency a separate divisor,";
            Err(Error::unsupported(path, what))
        }
    }
}
