//! Reads `config.json` of Hugging Face checkpoints, in the old spelling (`rope_theta`, `rope_scaling`, `torch_dtype`)
//! and the new (`rope_parameters`, `dtype`).
//!
//! transformers is the reference. A missing field has the default of its classes (`MistralConfig` and the others,
//! version 5.24); the default end token applies only if no other file names one. Fields that the classes ignore are
//! ignored if [`harmless`](super::harmless) lists them. An unknown field is an error, since it may change what the
//! weights mean. A field that is null, false or empty is off.

use std::path::Path;

use serde_json::Value;

use super::harmless::{is_harmless, is_silu};
use crate::arch::{Architecture, Config, ExpertCount, FieldNames, Rope, RopeScaling};
use crate::checkpoint::error::Error;
use crate::checkpoint::formats::fields::Fields;
use crate::json::shown;
use crate::kernels::pointwise::RopeLayout;
use crate::system::quote::short;

/// Harmless fields that may be large and are skipped while parsing.
const SKIPPED: [&str; 3] = ["id2label", "label2id", "transformers.js_config"];

/// The names of a config's fields in `config.json`.
const FIELDS: FieldNames = FieldNames {
    vocabulary_size: "vocab_size",
    hidden_size: "hidden_size",
    intermediate_size: "intermediate_size",
    layers: "num_hidden_layers",
    query_heads: "num_attention_heads",
    key_value_heads: "num_key_value_heads",
    head_size: "head_dim",
    context_length: "max_position_embeddings",
    window: "sliding_window",
    experts: "num_local_experts",
    active_experts: "num_experts_per_tok",
    norm_epsilon: "rms_norm_eps",
    theta: "rope_theta",
    factor: "factor",
    low_frequency_factor: "low_freq_factor",
    original_context: "original_max_position_embeddings",
};

/// The defaults of an architecture, from its config class in transformers.
struct Defaults {
    intermediate_size: usize,
    /// `None` for the number of query heads.
    key_value_heads: Option<usize>,
    context_length: usize,
    norm_epsilon: f64,
    theta: f64,
    window: Option<usize>,
}

impl Defaults {
    /// Vocabulary size, hidden size, layers and query heads, the same in all three classes.
    const SIZES: [usize; 4] = [32_000, 4096, 32, 32];
    /// The experts of `MixtralConfig`.
    const EXPERTS: ExpertCount = ExpertCount { all: 8, active: 2 };
    /// `eos_token_id`, the same in all three classes.
    const END_ID: u32 = 2;

    fn of(architecture: Architecture) -> Self {
        let llama = Self {
            intermediate_size: 11_008,
            key_value_heads: None,
            context_length: 2048,
            norm_epsilon: 1e-6,
            theta: 1e4,
            window: None,
        };
        let mistral = Self {
            intermediate_size: 14_336,
            key_value_heads: Some(8),
            context_length: 131_072,
            window: Some(4096),
            ..llama
        };
        match architecture {
            Architecture::Llama => llama,
            Architecture::Mistral => mistral,
            Architecture::Mixtral => Self { norm_epsilon: 1e-5, theta: 1e6, window: None, ..mistral },
        }
    }
}

/// Reads and checks the config of a Hugging Face checkpoint. Errors name `path`.
///
/// # Errors
/// The JSON is broken, the architecture is not Llama, Mistral or Mixtral, or a field is of the wrong type, beyond its
/// limits or not understood.
pub fn from_json(text: &str, path: &Path) -> Result<Config, Error> {
    read(text, path).map(|(config, _)| config)
}

/// Reads and checks a config like [`from_json`]. Also returns the sizes that the file leaves out, for the error if
/// their defaults do not fit the weights.
pub(in crate::checkpoint) fn read(text: &str, path: &Path) -> Result<(Config, Vec<&'static str>), Error> {
    let mut fields = Fields::from_json_without(&SKIPPED, text, path)?;
    let architecture = fields.architecture()?;
    let defaults = Defaults::of(architecture);
    let mut assumed = Vec::new();
    let mut size = |fields: &mut Fields, name, default| match fields.optional_size(name)? {
        Some(size) => Ok(size),
        None => {
            assumed.push(name);
            Ok::<_, Error>(default)
        }
    };
    let [vocabulary_size, hidden_size, layers, query_heads] = Defaults::SIZES;
    let vocabulary_size = size(&mut fields, "vocab_size", vocabulary_size)?;
    let hidden_size = size(&mut fields, "hidden_size", hidden_size)?;
    let layers = size(&mut fields, "num_hidden_layers", layers)?;
    let query_heads = size(&mut fields, "num_attention_heads", query_heads)?;
    let intermediate_size = size(&mut fields, "intermediate_size", defaults.intermediate_size)?;
    let context_length = fields.context_length()?.unwrap_or(defaults.context_length);
    let window = fields.window(architecture, defaults.window)?;
    // A field that is null means no end token; the default is for a missing field.
    let default_end_id = (!fields.map.contains_key("eos_token_id")).then_some(Defaults::END_ID);
    let config = Config {
        architecture,
        vocabulary_size,
        hidden_size,
        intermediate_size,
        layers,
        query_heads,
        key_value_heads: fields.key_value_heads(query_heads, defaults.key_value_heads)?,
        head_size: fields.optional_size("head_dim")?.unwrap_or(hidden_size / query_heads.max(1)),
        norm_epsilon: fields.optional_number("rms_norm_eps")?.unwrap_or(defaults.norm_epsilon),
        rope: fields.rope(defaults.theta, context_length)?,
        context_length,
        window: fields.window_by_layer_types(architecture, layers, window)?,
        experts: fields.experts(architecture)?,
        tied_head: fields.flag("tie_word_embeddings")?.unwrap_or(false),
        end_ids: fields.ids("eos_token_id")?,
        default_end_id,
    };
    if let Some(value) = fields.take("hidden_act").filter(|value| !is_silu(value)) {
        return fields.not_understood(format!("hidden_act is {}, which", short(shown(&value))));
    }
    fields.expect("partial_rotary_factor", &[Value::from(1.0), Value::from(1)])?;
    fields.check_unquantized()?;
    fields.nothing_left(is_harmless)?;
    config.check(&FIELDS).map_err(Error::impossible(path))?;
    Ok((config, assumed))
}

/// Returns the architecture of a name in `architectures` or `model_type`.
fn architecture_of(name: &str) -> Option<Architecture> {
    match name {
        "LlamaForCausalLM" | "llama" => Some(Architecture::Llama),
        "MistralForCausalLM" | "mistral" => Some(Architecture::Mistral),
        "MixtralForCausalLM" | "mixtral" => Some(Architecture::Mixtral),
        _ => None,
    }
}

/// Returns whether a `config.json` names an architecture other than Llama, Mistral and Mixtral. Other errors are left
/// to [`from_json`].
pub fn is_of_another(config: &[u8]) -> bool {
    let Ok(config) = serde_json::from_slice::<serde_json::Map<String, Value>>(config) else { return false };
    let first = config.get("architectures").and_then(|v| v.get(0)).or_else(|| config.get("model_type"));
    first.and_then(Value::as_str).is_some_and(|name| architecture_of(name).is_none())
}

impl Fields<'_> {
    /// Reads the architecture: `model_type`, by which transformers chooses its class, or `architectures` if that is
    /// missing. An unsupported name in either field is an error.
    fn architecture(&mut self) -> Result<Architecture, Error> {
        let named = self.map.get("architectures").and_then(|v| v.get(0)).and_then(Value::as_str);
        let kind = self.map.get("model_type").filter(|kind| !kind.is_null());
        let of = |name: &str| {
            architecture_of(name).ok_or_else(|| {
                let what = "(this program runs Llama, Mistral and Mixtral models)";
                Error::unsupported_model(self.path, format!("the architecture {} {what}", short(name)))
            })
        };
        let named = named.map(of).transpose()?;
        match (kind.map(|kind| kind.as_str().ok_or(kind)), named) {
            (Some(Ok(kind)), _) => of(kind),
            (Some(Err(kind)), _) => {
                self.fail(format!("model_type is {}, it must be a name", short(shown(kind))))
            }
            (None, Some(named)) => Ok(named),
            (None, None) => self.fail("names no architecture: both architectures and model_type are missing"),
        }
    }

    /// Reads `max_position_embeddings`, which the first Llamas called `max_sequence_length`.
    fn context_length(&mut self) -> Result<Option<usize>, Error> {
        match self.optional_size("max_position_embeddings")? {
            Some(length) => Ok(Some(length)),
            None => self.optional_size("max_sequence_length"),
        }
    }

    /// Reads the number of key/value heads. Null means the number of query heads; a missing field means the default.
    fn key_value_heads(&mut self, query_heads: usize, default: Option<usize>) -> Result<usize, Error> {
        let is_null = self.map.get("num_key_value_heads").is_some_and(Value::is_null);
        let heads = self.optional_size("num_key_value_heads")?;
        Ok(heads.or(default.filter(|_| !is_null)).unwrap_or(query_heads))
    }

    /// Reads `sliding_window`; null means no window. `use_sliding_window` belongs to Qwen's classes; those of Llama,
    /// Mistral and Mixtral ignore it.
    fn window(&mut self, architecture: Architecture, default: Option<usize>) -> Result<Option<usize>, Error> {
        // A Llama's attention has no window: transformers 5.24 computes the same logits at any value. (Its KV cache
        // drops the keys before the window, so its results with and without a cache differ.)
        if architecture == Architecture::Llama {
            self.take("sliding_window");
            return Ok(None);
        }
        let is_left_out = !self.map.contains_key("sliding_window");
        Ok(self.optional_size("sliding_window")?.or(default.filter(|_| is_left_out)))
    }

    fn experts(&mut self, architecture: Architecture) -> Result<Option<ExpertCount>, Error> {
        if architecture != Architecture::Mixtral {
            return Ok(None);
        }
        // transformers treats both names as one attribute.
        let (local, all) = (self.optional_size("num_local_experts")?, self.optional_size("num_experts")?);
        if let (Some(local), Some(all)) = (local, all)
            && local != all
        {
            return self.fail(format!("num_local_experts is {local}, num_experts {all}"));
        }
        let ExpertCount { all: default, active } = Defaults::EXPERTS;
        let active = self.optional_size("num_experts_per_tok")?.unwrap_or(active);
        Ok(Some(ExpertCount { all: local.or(all).unwrap_or(default), active }))
    }

    /// Reads `rope_parameters`, or `rope_theta` and `rope_scaling`. If a file has both spellings, they must agree.
    fn rope(&mut self, default_theta: f64, context_length: usize) -> Result<Rope, Error> {
        let top_theta = self.optional_number("rope_theta")?;
        let new = self.take("rope_parameters");
        let old = self.take("rope_scaling");
        let (mut theta, mut scaling) = (top_theta, RopeScaling::None);
        for value in [new, old].into_iter().flatten() {
            let Value::Object(map) = value else {
                return self.fail("the rotary settings are not a JSON object");
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
            let is_plain = scaling == RopeScaling::None;
            fields.nothing_left(|name, value| match name {
                // The context before scaling, a note of finetuning, or a factor that changes nothing.
                "original_max_position_embeddings" | "finetuned" => true,
                "factor" | "attention_factor" => is_plain && value.as_f64() == Some(1.0),
                _ => false,
            })?;
        }
        self.expect("rope_interleaved", &[Value::Bool(false)])?;
        self.original_context(&scaling)?;
        let theta = theta.unwrap_or(default_theta);
        Ok(Rope { theta, layout: RopeLayout::HalfSplit, scaling })
    }

    /// Checks the original context length that stands outside the rotary settings. Only Llama 3's scaling uses it.
    fn original_context(&mut self, scaling: &RopeScaling) -> Result<(), Error> {
        let Some(outer) = self.optional_number("original_max_position_embeddings")? else { return Ok(()) };
        match scaling {
            RopeScaling::Llama3 { original_context, .. } if *original_context != outer => self.fail(format!(
                "original_max_position_embeddings is given twice: {original_context} and {outer}"
            )),
            _ => Ok(()),
        }
    }

    fn rope_scaling(&mut self, context_length: usize) -> Result<RopeScaling, Error> {
        let (kind, old_kind) = (self.take("rope_type"), self.take("type"));
        if let (Some(kind), Some(old_kind)) = (&kind, &old_kind)
            && kind != old_kind
        {
            return self.fail(format!(
                "the rope type is given twice: {} and {}",
                short(shown(kind)),
                short(shown(old_kind))
            ));
        }
        let kind = kind.or(old_kind).unwrap_or_else(|| Value::from("default"));
        let number = |fields: &mut Self, name: &str| match fields.optional_number(name)? {
            Some(number) => Ok(number),
            None => fields.fail(format!("{name} of rope type {} is missing", short(shown(&kind)))),
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
            _ => Err(Error::unsupported_model(
                self.path,
                format!("the rope type {} (default, linear and llama3 are)", short(shown(&kind))),
            )),
        }
    }

    /// Applies `layer_types`, the list of each layer's attention in newer configs, to the window. transformers treats a
    /// Mistral with such a list as a Ministral, whose layers follow the list. It ignores a Mixtral's list.
    fn window_by_layer_types(
        &mut self,
        architecture: Architecture,
        layers: usize,
        window: Option<usize>,
    ) -> Result<Option<usize>, Error> {
        let Some(types) = self.take("layer_types") else { return Ok(window) };
        // A Llama's attention uses neither the list nor the window.
        if architecture == Architecture::Llama {
            return Ok(None);
        }
        let all = |kind: &str| {
            types.as_array().is_some_and(|types| types.len() == layers && types.iter().all(|t| t == kind))
        };
        match (all("full_attention"), window) {
            (true, _) if architecture != Architecture::Mixtral => Ok(None),
            (true, _) => Ok(window),
            (false, Some(_)) if all("sliding_attention") => Ok(window),
            (false, Some(_)) => self.not_understood("layer_types are not of one kind throughout, which"),
            (false, None) => self.not_understood("layer_types are not full_attention throughout, which"),
        }
    }

    /// Checks that no other program has quantized the weights: such tensors have other names and meanings.
    fn check_unquantized(&mut self) -> Result<(), Error> {
        for field in ["quantization_config", "compression_config", "quantization"] {
            let is_off =
                |value: &Value| *value == false || value.as_object().is_some_and(|map| map.is_empty());
            let Some(value) = self.take(field).filter(|value| !is_off(value)) else { continue };
            let method =
                value.get("quant_method").and_then(Value::as_str).unwrap_or("another program").into();
            return Err(Error::Quantized { path: self.path.into(), field, method });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
