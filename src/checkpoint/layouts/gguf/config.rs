//! Reads and writes the model's description in a GGUF file's metadata, for the architecture `llama`. Mistral's and
//! Mixtral's GGUF files also have this architecture.

use super::names;
use crate::arch::{Architecture, Config, ExpertCount, Rope, RopeScaling};
use crate::checkpoint::error::Error;
use crate::checkpoint::formats::gguf::write::Entry;
use crate::checkpoint::formats::gguf::{Gguf, Value};
use crate::kernels::pointwise::RopeLayout;
use crate::system::quote::{quoted, short};

/// Entries under `llama.` that are read below, or that do not affect what the weights compute.
const UNDERSTOOD: [&str; 28] = [
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.key_length_swa",
    "attention.layer_norm_rms_epsilon",
    "attention.scale",
    "attention.sliding_window",
    "attention.value_length",
    "attention.value_length_swa",
    "block_count",
    "context_length",
    "embedding_length",
    "embedding_length_out",
    "expert_count",
    "expert_feed_forward_length",
    "expert_used_count",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.dimension_count_swa",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "vocab_size",
];

/// Reads and checks the config of a GGUF file.
///
/// # Errors
/// The architecture is not `llama`, or an entry is missing, of the wrong type, beyond its limits or not
/// understood.
pub fn from_gguf(gguf: &Gguf) -> Result<Config, Error> {
    let fields = Fields { gguf };
    match gguf.get("general.architecture").and_then(Value::as_str) {
        Some("llama") => {}
        Some(other) => {
            let what = format!(
                "the architecture {other} (of GGUF files, llama is, which covers Mistral and Mixtral)"
            );
            return Err(Error::unsupported_model(gguf.path(), what));
        }
        None => return fields.fail("general.architecture is missing"),
    }
    fields.check_unknown()?;
    let hidden_size = fields.size("embedding_length")?;
    let query_heads = fields.size("attention.head_count")?;
    let head_size = fields.optional_size("attention.key_length")?.unwrap_or(hidden_size / query_heads.max(1));
    fields.check_derived(hidden_size, head_size)?;
    let vocabulary_size = match (gguf.tensor("token_embd.weight"), fields.optional_size("vocab_size")?) {
        (Some(embedding), _) => embedding.shape.first().copied().unwrap_or(0),
        (None, Some(size)) => size,
        (None, None) => 0,
    };
    let intermediate_size = fields.size("feed_forward_length")?;
    let expert_size = fields.optional_size("expert_feed_forward_length")?;
    let is_other = |size: &usize| *size != 0 && *size != intermediate_size;
    if let (Some(size), true) =
        (expert_size.filter(is_other), fields.optional_size("expert_count")? > Some(0))
    {
        return fields.not_understood(format!(
            "llama.expert_feed_forward_length is {size} where llama.feed_forward_length is {intermediate_size}, which"
        ));
    }
    let theta = fields.optional_number("rope.freq_base")?.unwrap_or(10_000.0);
    if let Some(base) = fields.optional_number("rope.freq_base_swa")?.filter(|base| *base != theta) {
        return fields.not_understood(format!(
            "llama.rope.freq_base_swa is {base} where llama.rope.freq_base is {theta}, which"
        ));
    }
    let experts = match fields.optional_size("expert_count")?.filter(|count| *count > 0) {
        Some(all) => Some(ExpertCount { all, active: fields.size("expert_used_count")? }),
        None => None,
    };
    let window = fields.optional_size("attention.sliding_window")?.filter(|window| *window > 0);
    let config = Config {
        architecture: match (experts, window) {
            (Some(_), _) => Architecture::Mixtral,
            (None, Some(_)) => Architecture::Mistral,
            (None, None) => Architecture::Llama,
        },
        vocabulary_size,
        hidden_size,
        intermediate_size,
        layers: fields.size("block_count")?,
        query_heads,
        key_value_heads: fields.optional_size("attention.head_count_kv")?.unwrap_or(query_heads),
        head_size,
        norm_epsilon: match fields.optional_number("attention.layer_norm_rms_epsilon")? {
            // The file holds an f32, but the exact decimal is meant: 1e-5, not 9.99999974e-6.
            Some(epsilon) => (epsilon as f32).to_string().parse().unwrap_or(epsilon),
            None => return fields.fail("llama.attention.layer_norm_rms_epsilon is missing"),
        },
        rope: Rope { theta, layout: RopeLayout::Interleaved, scaling: fields.rope_scaling()? },
        context_length: fields.size("context_length")?,
        window,
        experts,
        tied_head: gguf.tensor("output.weight").is_none(),
        end_ids: Vec::new(),
        default_end_id: None,
    };
    config.check(&names::FIELDS).map_err(Error::impossible(gguf.path()))?;
    Ok(config)
}

/// Returns the entries from which [`from_gguf`] reads this config, with the types that llama.cpp requires.
pub fn entries(config: &Config) -> Vec<(String, Entry)> {
    // Sizes of a checked config are far below 2^32.
    let size = |value: usize| Entry::U32(value as u32);
    let mut entries = vec![
        ("block_count", size(config.layers)),
        ("context_length", size(config.context_length)),
        ("embedding_length", size(config.hidden_size)),
        ("feed_forward_length", size(config.intermediate_size)),
        ("attention.head_count", size(config.query_heads)),
        ("attention.head_count_kv", size(config.key_value_heads)),
        ("attention.key_length", size(config.head_size)),
        ("attention.value_length", size(config.head_size)),
        ("attention.layer_norm_rms_epsilon", Entry::F32(config.norm_epsilon as f32)),
        ("rope.dimension_count", size(config.head_size)),
        ("rope.freq_base", Entry::F32(config.rope.theta as f32)),
        ("vocab_size", size(config.vocabulary_size)),
    ];
    // llama.cpp ignores the window of architecture llama and attends to all keys; this program reads it.
    entries.extend(config.window.map(|window| ("attention.sliding_window", size(window))));
    if let Some(experts) = config.experts {
        entries.extend([("expert_count", size(experts.all)), ("expert_used_count", size(experts.active))]);
    }
    if let RopeScaling::Linear { factor } = config.rope.scaling {
        entries.push(("rope.scaling.type", Entry::Text("linear".into())));
        entries.push(("rope.scaling.factor", Entry::F32(factor as f32)));
    }
    entries.into_iter().map(|(key, entry)| (format!("llama.{key}"), entry)).collect()
}

/// Returns the divisor of each rotary frequency, for `rope_freqs.weight`; `None` if the entries describe the scaling.
pub fn rope_factors(config: &Config) -> Option<Vec<f32>> {
    match &config.rope.scaling {
        RopeScaling::None | RopeScaling::Linear { .. } => None,
        RopeScaling::Factors { factors } => Some(factors.clone()),
        RopeScaling::Llama3 { .. } => {
            let plain = Rope { scaling: RopeScaling::None, ..config.rope.clone() };
            let pairs = plain.frequencies(config.head_size).into_iter();
            let scaled = config.rope.frequencies(config.head_size);
            Some(pairs.zip(scaled).map(|(plain, scaled)| (plain / scaled) as f32).collect())
        }
    }
}

struct Fields<'a> {
    gguf: &'a Gguf,
}

impl Fields<'_> {
    fn fail<T>(&self, rule: impl Into<String>) -> Result<T, Error> {
        Err(Error::config(self.gguf.path(), rule))
    }

    fn not_understood<T>(&self, what: impl std::fmt::Display) -> Result<T, Error> {
        Err(Error::not_understood(self.gguf.path(), format!("{what} is not understood")))
    }

    /// Checks sizes and a factor that are determined by other entries.
    fn check_derived(&self, hidden_size: usize, head_size: usize) -> Result<(), Error> {
        let of_heads = [
            "attention.value_length",
            "attention.key_length_swa",
            "attention.value_length_swa",
            "rope.dimension_count",
            "rope.dimension_count_swa",
        ];
        let sizes = of_heads.map(|name| (name, "the heads' size", head_size));
        for (name, what, same) in
            sizes.into_iter().chain([("embedding_length_out", "the width", hidden_size)])
        {
            if let Some(size) = self.optional_size(name)?.filter(|size| *size != same) {
                return self.fail(format!("llama.{name} is {size}, which differs from {what} of {same}"));
            }
        }
        // The factor of attention scores; 0 means the usual one for the head size.
        let usual = 1.0 / (head_size as f64).sqrt();
        let is_usual = |scale: &f64| *scale == 0.0 || (scale - usual).abs() <= 1e-6 * usual;
        match self.optional_number("attention.scale")?.filter(|scale| !is_usual(scale)) {
            Some(scale) => {
                self.not_understood(format!("llama.attention.scale is {scale} (usual is {usual}), which"))
            }
            None => Ok(()),
        }
    }

    fn size(&self, name: &str) -> Result<usize, Error> {
        match self.optional_size(name)? {
            Some(size) => Ok(size),
            None => self.fail(format!("llama.{name} is missing")),
        }
    }

    /// Reads a whole number. Some files have a list with one number per layer; it is read if all are equal.
    fn optional_size(&self, name: &str) -> Result<Option<usize>, Error> {
        let same = |value: &Value| match value {
            Value::Array(items) => {
                let first = items.iter().next()?;
                items.iter().all(|item| item == first).then(|| first.as_usize())?
            }
            other => other.as_usize(),
        };
        self.gguf.typed(&format!("llama.{name}"), "one whole number for all layers", same)
    }

    fn optional_number(&self, name: &str) -> Result<Option<f64>, Error> {
        self.gguf.typed(&format!("llama.{name}"), "a number", Value::as_f64)
    }

    fn rope_scaling(&self) -> Result<RopeScaling, Error> {
        let kind = self.gguf.typed("llama.rope.scaling.type", "text", |v| v.as_str().map(str::to_string))?;
        let factor = match self.optional_number("rope.scaling.factor")? {
            Some(factor) => Some(factor),
            None => self.optional_number("rope.scale_linear")?,
        };
        let factors = self.gguf.tensor("rope_freqs.weight");
        if let Some(kind) = kind.as_deref().filter(|kind| !["none", "linear"].contains(kind)) {
            let what = format!("the rope type {} (none and linear are)", short(kind));
            return Err(Error::unsupported_model(self.gguf.path(), what));
        }
        if let Some(factor) = self.optional_number("rope.scaling.attn_factor")?.filter(|f| *f != 1.0) {
            return self.not_understood(format!("llama.rope.scaling.attn_factor is {factor}, which"));
        }
        match (kind.as_deref(), factor.filter(|f| *f != 1.0 && *f != 0.0), factors) {
            (_, None, None) => Ok(RopeScaling::None),
            (None | Some("linear"), Some(factor), None) => Ok(RopeScaling::Linear { factor }),
            (_, None, Some(tensor)) => match tensor.matrix(1, tensor.shape.iter().product()) {
                Some(matrix) => Ok(RopeScaling::Factors { factors: matrix.to_f32() }),
                None => self.fail("rope_freqs.weight is not a list of factors"),
            },
            (_, Some(_), Some(_)) => {
                self.fail("rope factors are given twice: one for all, and rope_freqs.weight")
            }
            (Some(kind), Some(factor), None) => {
                self.fail(format!("llama.rope.scaling.type is {}, with a factor of {factor}", short(kind)))
            }
        }
    }

    fn check_unknown(&self) -> Result<(), Error> {
        let is_dense = self.optional_size("expert_count")?.is_none_or(|count| count == 0);
        let entries =
            self.gguf.entries().filter_map(|(key, value)| Some((key.strip_prefix("llama.")?, value)));
        let mut unknown = entries.filter(|(name, value)| {
            let is_unused = is_dense && name.starts_with("expert");
            !UNDERSTOOD.contains(name) && !is_unused && !super::entries::is_neutral(name, value)
        });
        match unknown.next() {
            Some((name, value)) => {
                self.not_understood(format!("the entry llama.{}{}", short(name), shown(value)))
            }
            None => Ok(()),
        }
    }
}

/// Formats a value for a message; empty for a list.
fn shown(value: &Value) -> String {
    match value {
        Value::Text(_) => value.as_text().map_or(String::new(), |text| format!(" ({})", quoted(&text))),
        Value::Bool(flag) => format!(" ({flag})"),
        Value::Array(_) => String::new(),
        number => number.as_f64().map_or(String::new(), |number| format!(" ({number})")),
    }
}
