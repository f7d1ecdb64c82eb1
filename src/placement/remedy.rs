//! What would fit when a model does not.

use std::fmt;

use indicatif::HumanBytes;

use crate::quant::Scheme;

/// A change with which a model that does not fit would fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The automatic split in place of the requested one.
    AutomaticSplit,
    /// A context of at most this many tokens.
    Context(usize),
    /// Quantization to this scheme.
    Quantize(Scheme),
    /// More devices like the last one.
    MoreDevices {
        /// Their number.
        count: usize,
        /// The memory limit of each, in bytes.
        memory: u64,
    },
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AutomaticSplit => f.write_str("the automatic split"),
            Self::Context(tokens) => write!(f, "a context of {tokens} tokens"),
            Self::Quantize(scheme) => write!(f, "quantization to {scheme}"),
            Self::MoreDevices { count: 1, memory } => write!(f, "one more device of {}", HumanBytes(*memory)),
            Self::MoreDevices { count, memory } => {
                write!(f, "{count} more devices of {}", HumanBytes(*memory))
            }
        }
    }
}

/// Returns the hint for a model that does not fit, such as `it would fit with a, b or c`. `describe` names a remedy.
pub fn would_fit(remedies: &[Remedy], describe: impl Fn(&Remedy) -> String) -> String {
    let choices: Vec<String> = remedies.iter().map(describe).collect();
    let choices = match choices.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => choices.concat(),
    };
    format!("it would fit with {choices}")
}
