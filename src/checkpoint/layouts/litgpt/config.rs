//! Reads and writes litgpt's description of a model: `model_config.yaml`, until March 2024 `lit_config.json`. Both hold
//! every field of the class `Config` (`litgpt/config.py`).
//!
//! The class covers many architectures, and its defaults are not those of Llama. So the fields that make a Llama,
//! Mistral or Mixtral are required.

use std::path::Path;

use serde_json::Value;

use super::names;
use crate::arch::{Architecture, Config, ExpertCount, Rope, RopeScaling};
use crate::checkpoint::error::Error;
use crate::checkpoint::formats::fields::Fields;
use crate::checkpoint::formats::yaml;
use crate::kernels::pointwise::RopeLayout;

/// Fields that do not change what the weights compute.
const HARMLESS: [&str; 6] =
    ["gelu_approximate", "hf_config", "name", "norm_qk_type", "org", "padding_multiple"];

/// Renamed fields: old name, new name.
const RENAMED: [(&str, &str); 3] = [
    ("_norm_class", "norm_class_name"),
    ("_mlp_class", "mlp_class_name"),
    ("condense_ratio", "rope_condense_ratio"),
];

/// Reads and checks the config in a `lit_config.json`. Errors name `path`.
///
/// # Errors
/// The JSON is broken, the model is not a Llama, Mistral or Mixtral, or a field is missing, of the wrong type, beyond
/// its limits or not understood.
pub fn from_lit_json(text: &str, path: &Path) -> Result<Config, Error> {
    Fields::from_json(text, path)?.litgpt()
}

/// Reads and checks the config in a `model_config.yaml`. Errors name `path`.
///
/// # Errors
/// The YAML is broken; otherwise the cases of [`from_lit_json`].
pub fn from_lit_yaml(text: &str, path: &Path) -> Result<Config, Error> {
    Fields { map: yaml::read(text, path)?, path }.litgpt()
}

impl Fields<'_> {
    fn litgpt(mut self) -> Result<Config, Error> {
        for (old, new) in RENAMED {
            if let Some(value) = self.map.remove(old)
                && self.map.insert(new.into(), value).is_some()
            {
                return self.fail(format!("{new} is given twice, the second time as {old}"));
            }
        }
        self.require("norm_class_name", &["RMSNorm".into()])?;
        self.require("parallel_residual", &[false.into()])?;
        self.require("bias", &[false.into()])?;
        self.require("rotary_percentage", &[1.into(), 1.0.into()])?;
        self.expect("routed_scaling_factor", &[1.into(), 1.0.into()])?;
        self.expect("norm_1", &[true.into()])?;
        self.expect("norm_2", &[true.into()])?;
        // The value is not needed, since the tokenizer has the number of tokens. The field is required because it is
        // the last one in litgpt's YAML, which has no end mark: a file without the field is truncated.
        self.size("vocab_size")?;
        let (hidden_size, query_heads) = (self.size("n_embd")?, self.size("n_head")?);
        let layers = self.size("n_layer")?;
        let (window, experts) = (self.window_of_all(layers)?, self.lit_experts()?);
        let config = Config {
            architecture: match (experts, window) {
                (Some(_), _) => Architecture::Mixtral,
                (None, Some(_)) => Architecture::Mistral,
                (None, None) => Architecture::Llama,
            },
            vocabulary_size: self.size("padded_vocab_size")?,
            hidden_size,
            intermediate_size: self.size("intermediate_size")?,
            layers,
            query_heads,
            key_value_heads: self.size("n_query_groups")?,
            head_size: self.optional_size("head_size")?.unwrap_or(hidden_size / query_heads.max(1)),
            norm_epsilon: self.number("norm_eps")?,
            rope: Rope {
                theta: self.number("rope_base")?,
                layout: RopeLayout::HalfSplit,
                scaling: self.rope_adjustments()?,
            },
            context_length: self.size("block_size")?,
            window,
            experts,
            // litgpt stores a tied head like any other.
            tied_head: false,
            end_ids: Vec::new(),
            default_end_id: None,
        };
        self.nothing_left(|name, _| HARMLESS.contains(&name))?;
        config.check(&names::FIELDS).map_err(Error::impossible(self.path))?;
        Ok(config)
    }

    /// Reads the window. Either all layers have it or none.
    fn window_of_all(&mut self, layers: usize) -> Result<Option<usize>, Error> {
        let (window, flags) =
            (self.optional_size("sliding_window_size")?, self.take("sliding_window_indices"));
        let (Some(window), Some(flags)) = (window, flags) else { return Ok(window) };
        // litgpt ignores flags beyond the number of layers.
        let flags = flags.as_array().and_then(|flags| flags.get(..layers));
        match flags {
            Some(flags) if flags.iter().all(|flag| *flag == 1) => Ok(Some(window)),
            Some(flags) if flags.iter().all(|flag| *flag == 0) => Ok(None),
            _ => self.not_understood("sliding_window_indices differ between layers, which"),
        }
    }

    fn lit_experts(&mut self) -> Result<Option<ExpertCount>, Error> {
        let class = self.take("mlp_class_name");
        match class.as_ref().and_then(Value::as_str) {
            Some("LLaMAMoE") => {
                let (all, active) = (self.size("n_expert")?, self.size("n_expert_per_token")?);
                Ok(Some(ExpertCount { all, active }))
            }
            Some("LLaMAMLP") => {
                // A dense network has no experts.
                self.expect("n_expert", &[0.into()])?;
                self.expect("n_expert_per_token", &[0.into()])?;
                Ok(None)
            }
            Some(other) => {
                let what = format!("mlp_class_name {other} (LLaMAMLP and LLaMAMoE are)");
                Err(Error::unsupported_model(self.path, what))
            }
            None => self.fail("mlp_class_name is missing"),
        }
    }

    /// Reads `rope_condense_ratio`, which divides positions (this equals dividing frequencies), or `rope_adjustments`.
    fn rope_adjustments(&mut self) -> Result<RopeScaling, Error> {
        let ratio = self.optional_number("rope_condense_ratio")?.filter(|ratio| *ratio != 1.0);
        let adjustments = match (self.take("rope_adjustments"), ratio) {
            (None, None) => return Ok(RopeScaling::None),
            (None, Some(factor)) => return Ok(RopeScaling::Linear { factor }),
            (Some(_), Some(_)) => {
                return self.fail("rope_condense_ratio and rope_adjustments are both given");
            }
            (Some(adjustments), None) => adjustments,
        };
        let Value::Object(map) = adjustments else {
            return self.fail(format!("rope_adjustments is {adjustments}, it must be a mapping"));
        };
        let mut fields = Fields { map, path: self.path };
        let factor = fields.number("factor")?;
        let scaling = match fields.map.contains_key("low_freq_factor") {
            false => RopeScaling::Linear { factor },
            true => RopeScaling::Llama3 {
                factor,
                low_frequency_factor: fields.number("low_freq_factor")?,
                high_frequency_factor: fields.number("high_freq_factor")?,
                original_context: fields.number("original_max_seq_len")?,
            },
        };
        fields.nothing_left(|_, _| false)?;
        Ok(scaling)
    }
}

/// Returns the YAML from which [`from_lit_yaml`] reads this config; other fields keep litgpt's defaults. litgpt chooses
/// its prompt style by `name`; errors name `path`.
///
/// # Errors
/// Each rotary frequency has a separate divisor, for which litgpt has no field.
pub fn to_lit_yaml(config: &Config, name: &str, path: &Path) -> Result<String, Error> {
    // A quoted JSON string is valid YAML.
    let name = Value::from(name);
    let (class, experts) = match config.experts {
        Some(experts) => ("LLaMAMoE", experts),
        None => ("LLaMAMLP", ExpertCount { all: 0, active: 0 }),
    };
    let window = config.window.map_or("null".into(), |window| window.to_string());
    let lines = [
        format!("name: {name}"),
        format!("hf_config:\n  name: {name}"),
        format!("block_size: {}", config.context_length),
        format!("vocab_size: {}", config.vocabulary_size),
        format!("padded_vocab_size: {}", config.vocabulary_size),
        format!("n_layer: {}", config.layers),
        format!("n_embd: {}", config.hidden_size),
        format!("n_head: {}", config.query_heads),
        format!("head_size: {}", config.head_size),
        format!("n_query_groups: {}", config.key_value_heads),
        format!("intermediate_size: {}", config.intermediate_size),
        "norm_class_name: RMSNorm".into(),
        format!("norm_eps: {}", number(config.norm_epsilon)),
        "parallel_residual: false".into(),
        "bias: false".into(),
        format!("mlp_class_name: {class}"),
        format!("n_expert: {}", experts.all),
        format!("n_expert_per_token: {}", experts.active),
        "rotary_percentage: 1.0".into(),
        format!("rope_base: {}", number(config.rope.theta)),
        format!("rope_adjustments: {}", adjustments(config, path)?),
        format!("sliding_window_size: {window}"),
    ];
    Ok(lines.join("\n") + "\n")
}

fn adjustments(config: &Config, path: &Path) -> Result<String, Error> {
    let entries = match &config.rope.scaling {
        RopeScaling::None => return Ok("null".into()),
        RopeScaling::Linear { factor } => vec![("factor", *factor)],
        RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
            vec![
                ("factor", *factor),
                ("low_freq_factor", *low_frequency_factor),
                ("high_freq_factor", *high_frequency_factor),
                ("original_max_seq_len", *original_context),
            ]
        }
        RopeScaling::Factors { .. } => {
            let what =
                "a litgpt config for rope_freqs.weight, which gives each frequency a separate divisor,";
            return Err(Error::unsupported(path, what));
        }
    };
    let line = |(key, value): (&str, f64)| format!("\n  {key}: {}", number(value));
    Ok(entries.into_iter().map(line).collect())
}

/// Formats a number so that PyYAML reads it as one: whole if it is whole, else with a point and a signed exponent.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return format!("{value:.0}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with('-') { "" } else { "+" };
    format!("{digits}{point}e{sign}{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Returns the file that litgpt wrote for Mixtral 8x7B in February 2024.
    fn old() -> Value {
        json!({"name": "Mixtral-8x7B-v0.1", "hf_config": {"org": "mistralai", "name": "Mixtral-8x7B-v0.1"},
            "block_size": 32768, "vocab_size": 32000, "padding_multiple": 512, "padded_vocab_size": 32000, "n_layer": 32,
            "n_head": 32, "n_embd": 4096, "rotary_percentage": 1.0, "parallel_residual": false, "bias": false,
            "lm_head_bias": false, "n_query_groups": 8, "shared_attention_norm": false, "_norm_class": "RMSNorm",
            "norm_eps": 1e-05, "_mlp_class": "LLaMAMoE", "gelu_approximate": "none", "intermediate_size": 14336,
            "rope_condense_ratio": 1, "rope_base": 1000000, "n_expert": 8, "n_expert_per_token": 2})
    }

    fn read(value: &Value) -> Result<Config, String> {
        from_lit_json(&value.to_string(), Path::new("lit_config.json")).map_err(|e| e.to_string())
    }

    fn with(name: &str, value: Value) -> Value {
        let mut config = old();
        config[name] = value;
        config
    }

    #[track_caller]
    fn assert_refused(name: &str, value: Value, part: &str) {
        let error = read(&with(name, value)).unwrap_err();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn the_old_file_of_mixtral_is_mixtral() {
        let config = read(&old()).unwrap();
        assert_eq!(config.parameters(), (46_702_792_704, 12_879_925_248));
        assert_eq!((config.head_size, config.rope.theta, config.context_length), (128, 1e6, 32768));
        assert_eq!(config.rope.layout, RopeLayout::HalfSplit);
    }

    #[test]
    fn windows_and_rotary_scaling_are_read() {
        let mut windowed = with("sliding_window_size", json!(4096));
        assert_eq!(read(&windowed).unwrap().window, Some(4096));
        windowed["sliding_window_indices"] = json!(vec![1; 32]);
        assert_eq!(read(&windowed).unwrap().window, Some(4096));
        windowed["sliding_window_indices"] = json!(vec![0; 33]);
        assert_eq!(read(&windowed).unwrap().window, None);
        for indices in [json!([1, 0]), json!(vec![1; 31]), json!("1"), json!(vec![2; 32])] {
            windowed["sliding_window_indices"] = indices;
            assert!(read(&windowed).unwrap_err().contains("sliding_window_indices"));
        }
        let scaling = |name: &str, value| read(&with(name, value)).unwrap().rope.scaling;
        assert_eq!(scaling("rope_condense_ratio", json!(4)), RopeScaling::Linear { factor: 4.0 });
        assert_eq!(scaling("rope_adjustments", json!({"factor": 2.0})), RopeScaling::Linear { factor: 2.0 });
        let llama3 = json!({"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_seq_len": 8192});
        assert!(matches!(scaling("rope_adjustments", llama3), RopeScaling::Llama3 { .. }));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        assert_refused("_norm_class", json!("LayerNorm"), "norm_class_name is \"LayerNorm\"");
        assert_refused("_mlp_class", json!("GptNeoxMLP"), "mlp_class_name GptNeoxMLP");
        assert_refused("mlp_class_name", json!("LLaMAMLP"), "mlp_class_name is given twice");
        assert_refused("parallel_residual", json!(true), "parallel_residual is true");
        assert_refused("bias", json!(true), "bias is true");
        assert_refused("attn_bias", json!(true), "attn_bias");
        assert_refused("rotary_percentage", json!(0.25), "rotary_percentage is 0.25");
        assert_refused("norm_1", json!(false), "norm_1 is false");
        assert_refused("norm_qk", json!(true), "norm_qk");
        assert_refused("scale_embeddings", json!(true), "scale_embeddings");
        assert_refused("attention_logit_softcapping", json!(50.0), "attention_logit_softcapping");
        assert_refused("routed_scaling_factor", json!(2.5), "routed_scaling_factor");
        assert_refused("n_shared_expert", json!(1), "n_shared_expert");
        assert_refused("moe_intermediate_size", json!(1408), "moe_intermediate_size");
        assert_refused("latent_attention", json!({"q_lora_rank": 1}), "latent_attention");
        assert_refused("rope_interleave", json!(true), "rope_interleave");
        assert_refused("rope_local_base_freq", json!(1e4), "rope_local_base_freq");
        let yarn = json!({"factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0, "original_max_seq_len": 4096});
        assert_refused("rope_adjustments", yarn, "is not understood");
        let mut dense = with("_mlp_class", json!("LLaMAMLP"));
        assert!(read(&dense).unwrap_err().contains("n_expert is 8"));
        dense["n_expert"] = json!(0);
        dense["n_expert_per_token"] = json!(0);
        assert_eq!(read(&dense).unwrap().experts, None);
    }

    /// litgpt's defaults are LayerNorm, rotary embedding of a quarter of each head, and biases.
    #[test]
    fn what_litgpt_would_fill_in_otherwise_must_be_there() {
        for name in [
            "_norm_class",
            "_mlp_class",
            "parallel_residual",
            "bias",
            "rotary_percentage",
            "n_query_groups",
            "vocab_size",
        ] {
            let mut config = old();
            config.as_object_mut().unwrap().remove(name);
            assert!(read(&config).unwrap_err().contains("is missing"), "{name}");
        }
    }

    #[test]
    fn what_is_written_reads_as_it_was() {
        let mut config = read(&with("sliding_window_size", json!(4096))).unwrap();
        config.norm_epsilon = 1.5e-6;
        let scalings = [
            RopeScaling::None,
            RopeScaling::Linear { factor: 2.5 },
            RopeScaling::Llama3 {
                factor: 8.0,
                low_frequency_factor: 1.0,
                high_frequency_factor: 4.0,
                original_context: 8192.0,
            },
        ];
        for scaling in scalings {
            config.rope.scaling = scaling;
            let yaml = to_lit_yaml(&config, "it's: \"a\" {name}", Path::new("x")).unwrap();
            assert_eq!(from_lit_yaml(&yaml, Path::new("x")).unwrap(), config, "{yaml}");
        }
        config.rope.scaling = RopeScaling::Factors { factors: vec![1.0; 64] };
        assert!(to_lit_yaml(&config, "x", Path::new("x")).is_err());
    }

    #[test]
    fn numbers_are_those_that_pyyaml_takes_for_numbers() {
        for (value, text) in
            [(1e-5, "1.0e-5"), (2.5, "2.5e+0"), (1e6, "1000000"), (1e20, "1.0e+20"), (0.0, "0")]
        {
            assert_eq!(number(value), text);
        }
    }
}
