//! The description of a model: its sizes and settings, independent of the layout of its files.

use serde::{Deserialize, Serialize};

use super::naming::FieldNames;
use crate::kernels::attention::Heads;
use crate::kernels::pointwise::RopeLayout;

/// The error for an impossible description: the broken rule.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Impossible(String);

/// The description of a Llama, Mistral or Mixtral model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The architecture.
    pub architecture: Architecture,
    /// V, number of token ids in the embedding and the head.
    pub vocabulary_size: usize,
    /// C, width of the residual stream.
    pub hidden_size: usize,
    /// F, inner width of the feed-forward network, or of one expert.
    pub intermediate_size: usize,
    /// Number of transformer layers.
    pub layers: usize,
    /// H, number of query heads.
    pub query_heads: usize,
    /// G, number of key/value heads; divides H.
    pub key_value_heads: usize,
    /// D, size of a head; H·D need not be C.
    pub head_size: usize,
    /// Added to the mean square in RMSNorm.
    pub norm_epsilon: f64,
    /// Rotary embedding.
    pub rope: Rope,
    /// Number of positions that the model was made for.
    pub context_length: usize,
    /// W, number of keys that a token sees, including its own; `None` for all.
    pub window: Option<usize>,
    /// Numbers of experts if the feed-forward network is a mixture.
    pub experts: Option<ExpertCount>,
    /// Whether the head is the embedding.
    pub tied_head: bool,
    /// The end ids that the config lists.
    pub end_ids: Vec<u32>,
    /// The end id if no file lists one: the default of transformers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_end_id: Option<u32>,
}

/// The architecture of a model. It affects the meaning of fields, but not sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Llama: no window, no experts.
    Llama,
    /// Mistral: Llama with an optional sliding window.
    Mistral,
    /// Mixtral: Mistral with experts.
    Mixtral,
}

/// The numbers of experts of a mixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertCount {
    /// E, number of experts of a layer.
    pub all: usize,
    /// A, number of experts that a token is sent to.
    pub active: usize,
}

/// Settings of the rotary embedding. Frequency i of D/2 is theta^(-2i/D), scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// Order of rotary pairs in the weights of queries and keys.
    pub layout: RopeLayout,
    /// Scaling of the frequencies for contexts longer than the original one.
    pub scaling: RopeScaling,
}

/// A scaling of the rotary frequencies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum RopeScaling {
    /// Keeps the frequencies.
    None,
    /// Divides all frequencies by one factor (Chen et al. 2023).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// The scaling of Llama 3.1: divides the frequencies of long wavelengths by `factor`, keeps those of short
    /// wavelengths, and blends in between.
    Llama3 {
        /// The divisor for long wavelengths.
        factor: f64,
        /// Wavelengths above `original_context / low_frequency_factor` are long.
        low_frequency_factor: f64,
        /// Wavelengths below `original_context / high_frequency_factor` are short.
        high_frequency_factor: f64,
        /// The context length before scaling.
        original_context: f64,
    },
    /// Divides each of the D/2 frequencies by a separate factor, those of GGUF's `rope_freqs.weight`.
    Factors {
        /// D/2 divisors.
        factors: Vec<f32>,
    },
}

impl Rope {
    /// Returns the D/2 angular frequencies, in radians per position. They are f64, so that tables round only once.
    pub fn frequencies(&self, head_size: usize) -> Vec<f64> {
        let half = head_size / 2;
        let base = (0..half).map(|i| libm::pow(self.theta, -2.0 * i as f64 / head_size as f64));
        let scaled = |(i, frequency): (usize, f64)| match &self.scaling {
            RopeScaling::None => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::Factors { factors } => frequency / factors.get(i).copied().map_or(1.0, f64::from),
            RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
                let turns = original_context * frequency / std::f64::consts::TAU;
                let blend = (turns - low_frequency_factor) / (high_frequency_factor - low_frequency_factor);
                let blend = blend.clamp(0.0, 1.0);
                frequency * (blend + (1.0 - blend) / factor)
            }
        };
        base.enumerate().map(scaled).collect()
    }
}

/// Maximum of a size in a config: far above any model, and far too small for a product of two sizes to overflow.
const LARGEST: usize = 1 << 24;

impl Config {
    /// Returns the sizes of the attention.
    pub fn heads(&self) -> Heads {
        Heads { query: self.query_heads, key_value: self.key_value_heads, size: self.head_size }
    }

    /// Checks every size against its limits and against other sizes.
    ///
    /// # Errors
    /// A rule is broken; the message names the field by `names`.
    pub fn check(&self, names: &FieldNames) -> Result<(), Impossible> {
        let fail = |rule: String| Err(Impossible(rule));
        let sizes = [
            (names.vocabulary_size, self.vocabulary_size, LARGEST),
            (names.hidden_size, self.hidden_size, 1 << 20),
            (names.intermediate_size, self.intermediate_size, LARGEST),
            (names.layers, self.layers, 1 << 12),
            (names.query_heads, self.query_heads, 1 << 14),
            (names.key_value_heads, self.key_value_heads, 1 << 14),
            (names.head_size, self.head_size, 1 << 14),
            (names.context_length, self.context_length, 1 << 28),
            (names.window, self.window.unwrap_or(1), 1 << 28),
            (names.experts, self.experts.map_or(1, |e| e.all), 1 << 12),
            (names.active_experts, self.experts.map_or(1, |e| e.active), 1 << 12),
        ];
        for (name, value, most) in sizes {
            if value == 0 || value > most {
                return fail(format!("{name} is {value}, it must be from 1 to {most}"));
            }
        }
        if !self.query_heads.is_multiple_of(self.key_value_heads) {
            let (h, g) = (self.query_heads, self.key_value_heads);
            let rule = format!("{} {h} is no multiple of {} {g}", names.query_heads, names.key_value_heads);
            return fail(rule);
        }
        if !self.head_size.is_multiple_of(2) {
            let (name, size) = (names.head_size, self.head_size);
            return fail(format!("{name} {size} is odd: rotary positions need pairs"));
        }
        if let Some(experts) = self.experts.filter(|e| e.active > e.all) {
            let (active, all) = (names.active_experts, names.experts);
            return fail(format!("{active} {} is more than {all} {}", experts.active, experts.all));
        }
        if !(self.norm_epsilon.is_finite() && self.norm_epsilon >= 0.0 && self.norm_epsilon < 1.0) {
            let (name, epsilon) = (names.norm_epsilon, self.norm_epsilon);
            return fail(format!("{name} is {epsilon}, it must be from 0 to 1"));
        }
        self.check_rope(names)
    }

    fn check_rope(&self, names: &FieldNames) -> Result<(), Impossible> {
        let positive = |name: &'static str, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(Impossible(format!("{name} is {value}, it must be above 0"))),
        };
        positive(names.theta, self.rope.theta)?;
        match &self.rope.scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => positive(names.factor, *factor),
            RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
                positive(names.factor, *factor)?;
                positive(names.low_frequency_factor, *low_frequency_factor)?;
                positive(names.original_context, *original_context)?;
                positive("high_freq_factor - low_freq_factor", high_frequency_factor - low_frequency_factor)
            }
            RopeScaling::Factors { factors } if factors.len() == self.head_size / 2 => {
                factors.iter().try_for_each(|f| positive("rope_freqs.weight", f64::from(*f)))
            }
            RopeScaling::Factors { factors } => {
                let rule = format!(
                    "rope_freqs.weight has {} factors, {} implies {}",
                    factors.len(),
                    names.head_size,
                    self.head_size / 2
                );
                Err(Impossible(rule))
            }
        }
    }
}
