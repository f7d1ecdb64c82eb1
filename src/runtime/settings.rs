//! Settings for running a model: devices, types and threads.

use std::num::NonZeroUsize;
use std::str::FromStr;

use candle_core::DType;

use super::error::Error;
use crate::cpu::pool;
use crate::kernels::attention::CacheType;
use crate::placement::{Devices, Memories};
use crate::quant::{ActivationBits, Scheme};

/// Maximum number of CPU threads.
pub const MAX_THREADS: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// Settings for running a model. Each `None` stands for the best value for the model and the machine.
#[derive(Clone, Debug, Default)]
pub struct ModelSettings {
    /// The devices; `None` for the first accelerator, else the CPU.
    pub devices: Option<Devices>,
    /// Number of layers of each device; empty for a split that minimizes the load of the fullest device.
    pub split: Vec<usize>,
    /// Memory limit of each device, or one limit for all; `None` for the free memory of accelerators and no limit on the
    /// CPU.
    pub memory: Option<Memories>,
    /// Type of computation.
    pub dtype: Precision,
    /// Activation bits on the CPU; `None` for 16 in models of fewer than 537 million parameters, else 8.
    pub activations: Option<ActivationBits>,
    /// Type of keys and values in the KV cache; `None` for f32 if computation is in f32, else f16 on the CPU and the type of
    /// computation on accelerators.
    pub cache: Option<CacheType>,
    /// Number of CPU threads for all models of the process; `None` keeps the current number, by default one per fast core.
    pub threads: Option<NonZeroUsize>,
}

impl ModelSettings {
    /// Sets the number of CPU threads. Returns `false` if the process has already computed something or another number was
    /// set.
    ///
    /// # Errors
    /// The number is larger than 1024 ([`Error::Threads`]).
    pub fn set_threads(&self) -> Result<bool, Error> {
        match self.threads {
            Some(asked) if asked > MAX_THREADS => {
                Err(Error::Threads { asked: asked.get(), most: MAX_THREADS.get() })
            }
            Some(threads) => Ok(pool::set_threads(threads)),
            None => Ok(true),
        }
    }
}

/// A type of computation. The CPU always sums in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// The default of the device: f32 on the CPU, bf16 on an accelerator.
    #[default]
    Auto,
    /// Single precision: dequantizes weights and does not round activations.
    F32,
    /// Half precision.
    F16,
    /// Half precision with the range of f32.
    Bf16,
}

impl Precision {
    /// The names of the types, in the order of the variants.
    pub const NAMES: [&str; 4] = ["auto", "f32", "f16", "bf16"];
    const ALL: [Self; 4] = [Self::Auto, Self::F32, Self::F16, Self::Bf16];

    /// Returns the name of the type.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Returns the scheme of dense weights in this type; `None` for [`Precision::Auto`].
    pub fn scheme(self) -> Option<Scheme> {
        match self {
            Self::Auto => None,
            Self::F32 => Some(Scheme::F32),
            Self::F16 => Some(Scheme::F16),
            Self::Bf16 => Some(Scheme::Bf16),
        }
    }

    /// Returns the type of tensors; `None` for [`Precision::Auto`].
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
