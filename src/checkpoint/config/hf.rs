//! `config.json` of Hugging Face checkpoints, in the old spelling (`rope_theta`, `rope_scaling`, `torch_dtype`)
//! and the new (`rope_parameters`, `dtype`).
//!
//! A field that is not understood is an error: it may change what the weights mean. A field that is null,
//! false or empty is off, and a short list names those that only matter to training or to other programs.

use std::path::Path;

use serde_json::Value;

use super::fields::Fields;
use super::{Architecture, Config, ExpertCount, Rope, RopeLayout, RopeScaling};
use crate::checkpoint::Error;

/// Fields that do not change what the weights compute.
const HARMLESS: [&str; 26] = [
    "_attn_implementation",
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "attn_implementation",
    "bos_token_id",
    "chunk_size_feed_forward",
    "dtype",
    "id2label",
    "initializer_range",
    "is_llama_config",
    "label2id",
    "max_window_layers",
    "model_type",
    "output_router_logits",
    "pad_token_id",
    "pretraining_tp",
    "return_dict",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
];

/// Of these, what may be large, and is passed over while it is read.
const SKIPPED: [&str; 3] = ["id2label", "label2id", "transformers.js_config"];

/// The config of a Hugging Face checkpoint, checked. `path` is what errors name.
///
/// # Errors
/// The JSON is broken, the architecture is not of this family, a field is missing, of the wrong type, beyond
/// its limits or not understood.
pub fn from_json(text: &str, path: &Path) -> Result<Config, Error> {
    let mut fields = Fields::from_json_without(&SKIPPED, text, path)?;
    let architecture = fields.architecture()?;
    let hidden_size = fields.size("hidden_size")?;
    let query_heads = fields.size("num_attention_heads")?;
    let head_size = match fields.optional_size("head_dim")? {
        Some(size) => size,
        None => hidden_size / query_heads.max(1),
    };
    let context_length = fields.size("max_position_embeddings")?;
    let config = Config {
        architecture,
        vocabulary_size: fields.size("vocab_size")?,
        hidden_size,
        intermediate_size: fields.size("intermediate_size")?,
        layers: fields.size("num_hidden_layers")?,
        query_heads,
        key_value_heads: match (fields.optional_size("num_key_value_heads")?, architecture) {
            (Some(heads), _) => heads,
            // The first Llamas had no such field, and as many of one kind as of the other.
            (None, Architecture::Llama) => query_heads,
            (None, _) => return fields.fail("num_key_value_heads is missing"),
        },
        head_size,
        norm_epsilon: fields.number("rms_norm_eps")?,
        rope: fields.rope(architecture, context_length)?,
        context_length,
        window: fields.window(architecture)?,
        experts: fields.experts(architecture)?,
        tied_head: fields.flag("tie_word_embeddings")?.unwrap_or(false),
        end_ids: fields.ids("eos_token_id")?,
    };
    fields.expect("hidden_act", &[Value::from("silu"), Value::from("swish")])?;
    fields.expect("partial_rotary_factor", &[Value::from(1.0), Value::from(1)])?;
    fields.layer_types(&config)?;
    fields.nothing_left(&HARMLESS)?;
    config.check(path)?;
    Ok(config)
}

impl Fields<'_> {
    fn architecture(&mut self) -> Result<Architecture, Error> {
        let named = self.map.get("architectures").and_then(|v| v.get(0)).and_then(Value::as_str);
        let kind = self.map.get("model_type").and_then(Value::as_str);
        match (named, kind) {
            (Some("LlamaForCausalLM"), _) | (None, Some("llama")) => Ok(Architecture::Llama),
            (Some("MistralForCausalLM"), _) | (None, Some("mistral")) => Ok(Architecture::Mistral),
            (Some("MixtralForCausalLM"), _) | (None, Some("mixtral")) => Ok(Architecture::Mixtral),
            (Some(other), _) | (None, Some(other)) => Err(Error::unsupported(
                self.path,
                format!("the architecture {other} (this program runs Llama, Mistral and Mixtral models)"),
            )),
            (None, None) => self.fail("names no architecture: neither architectures nor model_type is there"),
        }
    }

    fn window(&mut self, architecture: Architecture) -> Result<Option<usize>, Error> {
        // A field that is not there is not null: transformers fills in 4096 for a Mistral.
        let named = self.map.contains_key("sliding_window");
        let window = self.optional_size("sliding_window")?;
        let used = self.flag("use_sliding_window")?.unwrap_or(true);
        match (architecture, window) {
            (Architecture::Mistral, None) if !named => {
                self.fail("sliding_window is missing (null stands for none)")
            }
            (Architecture::Llama, Some(window)) => {
                self.fail(format!("a Llama with sliding_window {window} is not understood"))
            }
            _ => Ok(window.filter(|_| used)),
        }
    }

    fn experts(&mut self, architecture: Architecture) -> Result<Option<ExpertCount>, Error> {
        if architecture != Architecture::Mixtral {
            return Ok(None);
        }
        let (all, active) = (self.size("num_local_experts")?, self.size("num_experts_per_tok")?);
        Ok(Some(ExpertCount { all, active }))
    }

    /// `rope_parameters`, or `rope_theta` and `rope_scaling`. Both spellings at once must agree.
    fn rope(&mut self, architecture: Architecture, context_length: usize) -> Result<Rope, Error> {
        let top_theta = self.optional_number("rope_theta")?;
        let new = self.take("rope_parameters");
        let old = self.take("rope_scaling");
        let (mut theta, mut scaling) = (top_theta, RopeScaling::None);
        for value in [new, old].into_iter().flatten() {
            let Value::Object(map) = value else {
                return self.fail("the rotary settings are no JSON object");
            };
            let mut fields = Fields { map, path: self.path };
            if let Some(inner) = fields.optional_number("rope_theta")? {
                if theta.is_some_and(|theta| theta != inner) {
                    return self.fail(format!(
                        "rope_theta is given twice: {} and {inner}",
                        theta.unwrap_or_default()
                    ));
                }
                theta = Some(inner);
            }
            let found = fields.rope_scaling(context_length)?;
            if scaling != RopeScaling::None && found != scaling {
                return self.fail("rope_parameters and rope_scaling differ");
            }
            scaling = found;
            fields.expect("partial_rotary_factor", &[Value::from(1.0), Value::from(1)])?;
            fields.nothing_left(&HARMLESS)?;
        }
        self.expect("rope_interleaved", &[Value::Bool(false)])?;
        let theta = match (theta, architecture) {
            (Some(theta), _) => theta,
            // What the family began with; configs of its first members do not name it.
            (None, Architecture::Llama | Architecture::Mistral) => 10_000.0,
            (None, Architecture::Mixtral) => return self.fail("rope_theta is missing"),
        };
        Ok(Rope { theta, layout: RopeLayout::HalfSplit, scaling })
    }

    fn rope_scaling(&mut self, context_length: usize) -> Result<RopeScaling, Error> {
        let (kind, old_kind) = (self.take("rope_type"), self.take("type"));
        let kind = kind.or(old_kind).unwrap_or_else(|| Value::from("default"));
        let number = |fields: &mut Self, name: &str| match fields.optional_number(name)? {
            Some(number) => Ok(number),
            None => fields.fail(format!("{name} of rope type {kind} is missing")),
        };
        match kind.as_str() {
            Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor: number(self, "factor")? }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: number(self, "factor")?,
                low_frequency_factor: number(self, "low_freq_factor")?,
                high_frequency_factor: number(self, "high_freq_factor")?,
                original_context: self
                    .optional_number("original_max_position_embeddings")?
                    .unwrap_or(context_length as f64),
            }),
            _ => Err(Error::unsupported(
                self.path,
                format!("the rope type {kind} (default, linear and llama3 are)"),
            )),
        }
    }

    /// Newer configs repeat for each layer what `sliding_window` says for all.
    fn layer_types(&mut self, config: &Config) -> Result<(), Error> {
        let Some(types) = self.take("layer_types") else { return Ok(()) };
        let expected = if config.window.is_some() { "sliding_attention" } else { "full_attention" };
        let all_same =
            types.as_array().is_some_and(|t| t.len() == config.layers && t.iter().all(|t| t == expected));
        match all_same {
            true => Ok(()),
            false => self.fail(format!("layer_types are not {expected} throughout, which is not understood")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mixtral() -> Value {
        json!({
            "architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2,
            "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
            "max_position_embeddings": 32768, "model_type": "mixtral", "num_attention_heads": 32,
            "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8,
            "output_router_logits": false, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
            "router_aux_loss_coef": 0.02, "sliding_window": null, "tie_word_embeddings": false,
            "torch_dtype": "bfloat16", "transformers_version": "4.36.0.dev0", "use_cache": true, "vocab_size": 32000
        })
    }

    fn read(value: &Value) -> Result<Config, String> {
        from_json(&value.to_string(), Path::new("config.json")).map_err(|e| e.to_string())
    }

    #[test]
    fn the_published_mixtral_config_reads_and_counts_its_parameters() {
        let config = read(&mixtral()).unwrap();
        assert_eq!(config.parameters(), (46_702_792_704, 12_879_925_248));
        assert_eq!((config.head_size, config.window, config.rope.theta), (128, None, 1e6));
        assert_eq!(config.end_ids, [2]);
    }

    #[test]
    fn the_new_spelling_says_the_same_as_the_old() {
        let mut new = mixtral();
        new["rope_parameters"] = json!({"rope_type": "default", "rope_theta": 1e6});
        new["dtype"] = json!("bfloat16");
        let map = new.as_object_mut().unwrap();
        map.remove("rope_theta");
        map.remove("torch_dtype");
        assert_eq!(read(&new), read(&mixtral()));
    }

    fn with(name: &str, value: Value) -> Value {
        let mut config = mixtral();
        config[name] = value;
        config
    }

    #[track_caller]
    fn assert_refused(name: &str, value: Value, part: &str) {
        let error = read(&with(name, value)).unwrap_err();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        assert_refused("attention_multiplier", json!(0.5), "attention_multiplier (0.5) is not understood");
        assert_refused("quantization_config", json!({"bits": 4}), "quantization_config");
        assert_refused("attention_bias", json!(true), "attention_bias");
        assert_refused("hidden_act", json!("gelu"), "hidden_act");
        assert_refused("rope_scaling", json!({"rope_type": "yarn", "factor": 4.0}), "rope type \"yarn\"");
        assert_refused("architectures", json!(["FooForCausalLM"]), "the architecture FooForCausalLM");
        assert_refused("rope_parameters", json!({"rope_theta": 5.0}), "rope_theta is given twice");
    }

    #[test]
    fn sizes_beyond_limits_are_refused() {
        assert_refused("num_hidden_layers", json!(0), "num_hidden_layers is 0");
        assert_refused("num_key_value_heads", json!(5), "no multiple");
        assert_refused("num_experts_per_tok", json!(9), "more than num_local_experts");
        assert_refused("vocab_size", json!(1u64 << 40), "vocab_size");
        assert_refused("hidden_size", json!(-1), "hidden_size");
        assert_refused("rms_norm_eps", json!("x"), "rms_norm_eps");
        assert_refused("head_dim", json!(127), "odd");
    }

    #[test]
    fn what_has_another_default_elsewhere_must_be_there() {
        for name in ["rms_norm_eps", "rope_theta", "max_position_embeddings", "num_key_value_heads"] {
            let mut config = mixtral();
            config.as_object_mut().unwrap().remove(name);
            assert!(read(&config).unwrap_err().contains(&format!("{name} is missing")));
        }
        assert_refused("tie_word_embeddings", json!("yes"), "tie_word_embeddings is \"yes\"");
    }

    #[test]
    fn fields_that_are_off_are_as_if_not_there() {
        let mut config = mixtral();
        for name in ["attention_bias", "mlp_bias", "some_new_switch"] {
            config[name] = json!(false);
        }
        config["pruned_heads"] = json!({});
        assert_eq!(read(&config), read(&mixtral()));
    }
}
