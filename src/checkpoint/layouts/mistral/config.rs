//! Reads `params.json` of Mistral's layout, as `mistral_inference/args.py` does.

use std::path::Path;

use serde_json::Value;

use super::names;
use crate::arch::{Architecture, Config, ExpertCount, Rope, RopeScaling};
use crate::checkpoint::error::Error;
use crate::checkpoint::formats::fields::Fields;
use crate::json::shown;
use crate::kernels::pointwise::RopeLayout;
use crate::system::quote::short;

/// Fields that do not change what the weights compute.
const HARMLESS: [&str; 2] = ["dtype", "max_batch_size"];

/// Context length of a file without the field, such as the files of 2023 and 2024. The first models were made for this
/// length, and no model has a shorter one. mistral-inference stops at 128,000 for every model.
const CONTEXT: usize = 32_768;

/// Reads and checks the config of Mistral's layout. Errors name `path`.
///
/// # Errors
/// The JSON is broken, or a field is missing, of the wrong type, beyond its limits or not understood.
pub fn from_params(text: &str, path: &Path) -> Result<Config, Error> {
    let mut fields = Fields::from_json(text, path)?;
    let window = fields.window_of_all_layers()?;
    let experts = fields.moe()?;
    let context_length = fields.optional_size("max_position_embeddings")?;
    let trained_length = fields.optional_size("max_seq_len")?;
    let config = Config {
        architecture: if experts.is_some() { Architecture::Mixtral } else { Architecture::Mistral },
        vocabulary_size: fields.size("vocab_size")?,
        hidden_size: fields.size("dim")?,
        intermediate_size: fields.size("hidden_dim")?,
        layers: fields.size("n_layers")?,
        query_heads: fields.size("n_heads")?,
        key_value_heads: fields.size("n_kv_heads")?,
        head_size: fields.size("head_dim")?,
        norm_epsilon: fields.number("norm_eps")?,
        rope: Rope {
            theta: match (fields.optional_number("rope_theta")?, window) {
                (Some(theta), _) => theta,
                // The first files leave theta out. A file with a window is Mistral 7B v0.1, a file without is a later
                // model. mistral-inference distinguished them in this way until release 1.0, which dropped the first
                // case.
                (None, Some(_)) => 1e4,
                (None, None) => 1e6,
            },
            layout: RopeLayout::Interleaved,
            scaling: RopeScaling::None,
        },
        context_length: context_length.or(trained_length).unwrap_or(CONTEXT),
        window,
        experts,
        tied_head: fields.flag("tied_embeddings")?.unwrap_or(false),
        end_ids: Vec::new(),
        default_end_id: None,
    };
    fields.expect("model_type", &[Value::from("transformer")])?;
    fields.expect("activation", &["silu", "swish", "swiglu"].map(Value::from))?;
    fields.expect("causal", &[Value::Bool(true)])?;
    fields.nothing_left(|name, _| HARMLESS.contains(&name))?;
    config.check(&names::FIELDS).map_err(Error::impossible(path))?;
    Ok(config)
}

impl Fields<'_> {
    /// Reads the window: a number, or a number as text. A list with a window for each layer is an error.
    fn window_of_all_layers(&mut self) -> Result<Option<usize>, Error> {
        if self.map.contains_key("sliding_window") && self.map.contains_key("_sliding_window") {
            return self.fail("sliding_window is given twice, the second time as _sliding_window");
        }
        let Some(value) = self.take("sliding_window").or_else(|| self.take("_sliding_window")) else {
            return Ok(None);
        };
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        match number.and_then(|window| usize::try_from(window).ok()) {
            Some(window) => Ok(Some(window)),
            None => self.fail(format!(
                "sliding_window is {}, it must be one whole number for all layers",
                short(shown(&value))
            )),
        }
    }

    fn moe(&mut self) -> Result<Option<ExpertCount>, Error> {
        let Some(value) = self.take("moe") else { return Ok(None) };
        let Value::Object(map) = value else {
            return self.fail(format!("moe is {}, it must be an object", short(value)));
        };
        let mut fields = Fields { map, path: self.path };
        let experts =
            ExpertCount { all: fields.size("num_experts")?, active: fields.size("num_experts_per_tok")? };
        fields.nothing_left(|_, _| false)?;
        Ok(Some(experts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Returns the file of Mistral 7B v0.1.
    fn v01() -> Value {
        json!({"dim": 4096, "n_layers": 32, "head_dim": 128, "hidden_dim": 14336, "n_heads": 32, "n_kv_heads": 8,
            "norm_eps": 1e-05, "sliding_window": 4096, "vocab_size": 32000})
    }

    fn read(value: &Value) -> Result<Config, String> {
        from_params(&value.to_string(), Path::new("params.json")).map_err(|e| e.to_string())
    }

    fn with(name: &str, value: Value) -> Value {
        let mut params = v01();
        params[name] = value;
        params
    }

    #[track_caller]
    fn assert_refused(name: &str, value: Value, part: &str) {
        let error = read(&with(name, value)).unwrap_err();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn the_first_published_file_is_mistral_7b() {
        let config = read(&v01()).unwrap();
        assert_eq!(config.parameters(), (7_241_732_096, 7_241_732_096));
        assert_eq!((config.window, config.rope.theta, config.context_length), (Some(4096), 1e4, 32768));
        assert_eq!(config.rope.layout, RopeLayout::Interleaved);
    }

    #[test]
    fn experts_theta_and_contexts_are_read() {
        let mut params = with("moe", json!({"num_experts": 8, "num_experts_per_tok": 2}));
        params.as_object_mut().unwrap().remove("sliding_window");
        let config = read(&params).unwrap();
        assert_eq!(config.parameters(), (46_702_792_704, 12_879_925_248));
        assert_eq!((config.architecture, config.rope.theta), (Architecture::Mixtral, 1e6));
        assert_eq!(read(&with("rope_theta", json!(5e5))).unwrap().rope.theta, 5e5);
        assert_eq!(read(&with("max_seq_len", json!(65536))).unwrap().context_length, 65536);
        assert_eq!(read(&with("sliding_window", json!("4096"))), read(&v01()));
        let mut new = with("_sliding_window", json!(4096));
        new.as_object_mut().unwrap().remove("sliding_window");
        assert_eq!(read(&new), read(&v01()));
        assert!(read(&with("tied_embeddings", json!(true))).unwrap().tied_head);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        assert_refused("sliding_window", json!([4096, null]), "one whole number for all layers");
        assert_refused("_sliding_window", json!(4096), "given twice");
        assert_refused("quantization", json!({"qformat_weight": "fp8_e4m3"}), "quantization");
        assert_refused("vision_encoder", json!({"hidden_size": 1024}), "vision_encoder");
        assert_refused("multimodal", json!({"whisper_model_args": {}}), "multimodal");
        assert_refused("yarn", json!({"factor": 16}), "yarn");
        assert_refused("llama_4_scaling", json!({"beta": 0.1}), "llama_4_scaling");
        assert_refused("lora", json!({"rank": 64}), "lora");
        assert_refused("model_type", json!("mamba"), "mamba");
        assert_refused("causal", json!(false), "causal is false");
        assert_refused("use_biases", json!(true), "use_biases");
        assert_refused("q_lora_rank", json!(1536), "q_lora_rank");
        let moe = json!({"num_experts": 8, "num_experts_per_tok": 2, "num_shared_experts": 1});
        assert_refused("moe", moe, "num_shared_experts");
        assert_refused("moe", json!(8), "moe is 8");
    }

    #[test]
    fn odd_values_are_refused() {
        for name in ["dim", "n_layers", "head_dim", "hidden_dim", "n_heads", "n_kv_heads", "vocab_size"] {
            for value in [json!(0), json!(-1), json!(1.5), json!("8"), json!(1u64 << 40), json!([8])] {
                assert!(read(&with(name, value.clone())).is_err(), "{name} is {value}");
            }
            assert_refused(name, Value::Null, &format!("{name} is missing"));
        }
        assert_refused("norm_eps", json!("x"), "norm_eps");
        assert_refused("rope_theta", json!(0), "rope_theta");
        assert_refused("max_seq_len", json!(0), "max_position_embeddings is 0");
        assert_refused("n_kv_heads", json!(5), "no multiple");
    }
}
