//! How a model is run: where, in which types, with how many threads.

use std::num::NonZeroUsize;
use std::str::FromStr;

use candle_core::DType;

use crate::cpu::pool;
use crate::kernels::attention::CacheType;
use crate::placement::{Devices, Memories};
use crate::quant::{ActivationBits, Scheme};

/// How a model is run. Each `None` is for the best choice for the model and the machine.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The devices; `None` for the best one there is.
    pub devices: Option<Devices>,
    /// Layers of each device; none for a split that loads the fullest device least.
    pub split: Vec<usize>,
    /// Memory of each device, or one size for all; `None` for what is free on accelerators, and no limit on the CPU.
    pub memory: Option<Memories>,
    /// Type of computation.
    pub dtype: Precision,
    /// Bits that activations are rounded to on the CPU, for products with quantized weights; `None` for 16 in models of fewer
    /// than 537 million parameters, else 8.
    pub activations: Option<ActivationBits>,
    /// Type of the keys and values in the cache; `None` for f16 on the CPU, f32 where computation is in f32, else the type of
    /// computation.
    pub cache: Option<CacheType>,
    /// CPU threads, of all models in the process; `None` leaves them as they are: one per core, of the fast kind.
    pub threads: Option<NonZeroUsize>,
}

impl Settings {
    /// Sets the threads, before anything is computed.
    pub fn set_threads(&self) {
        if let Some(threads) = self.threads {
            pool::set_threads(threads);
        }
    }
}

/// A type of computation. On the CPU sums are always in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// The device's own: f32 on the CPU, bf16 on an accelerator.
    #[default]
    Auto,
    /// Computes on the values that quantized weights stand for, and rounds no activations.
    F32,
    /// Half precision.
    F16,
    /// Half precision with the range of f32.
    Bf16,
}

impl Precision {
    /// The names, in their order.
    pub const NAMES: [&str; 4] = ["auto", "f32", "f16", "bf16"];
    const ALL: [Self; 4] = [Self::Auto, Self::F32, Self::F16, Self::Bf16];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The scheme of dense weights in this type, `None` for [`Precision::Auto`].
    pub fn scheme(self) -> Option<Scheme> {
        match self {
            Self::Auto => None,
            Self::F32 => Some(Scheme::F32),
            Self::F16 => Some(Scheme::F16),
            Self::Bf16 => Some(Scheme::Bf16),
        }
    }

    /// The type of tensors, `None` for the device's own.
    pub(crate) fn dtype(self) -> Option<DType> {
        match self {
            Self::Auto => None,
            Self::F32 => Some(DType::F32),
            Self::F16 => Some(DType::F16),
            Self::Bf16 => Some(DType::BF16),
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|precision| precision.name() == name);
        known.ok_or_else(|| format!("expected one of {}", Self::NAMES.join(", ")))
    }
}
