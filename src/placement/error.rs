//! Errors in choosing and opening devices.

use std::ops::Range;

use indicatif::HumanBytes;

use super::DeviceName;
use crate::system::hinted::Hinted;
use crate::system::quote::counted;
use crate::tensor::DeviceError;

/// Why a choice of devices is invalid or impossible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Error {
    #[error("unknown device {0:?}, expected cpu, cuda:0, cuda:1, … or metal")]
    UnknownDevice(String),
    #[error("expected a number of devices or a list such as cuda:0,cpu, found {0:?}")]
    UnknownDevices(String),
    #[error("this mist was built without {0}")]
    NotBuilt(&'static str),
    #[error("this machine has no device {0}")]
    NoSuchDevice(DeviceName),
    #[error("{device} cannot be used: {reason}")]
    Unusable { device: String, reason: DeviceError },
    #[error("{asked} {} asked for, this machine has {found}", if *asked == 1 { "device was" } else { "devices were" })]
    TooFew { asked: usize, found: usize },
    #[error("{} cannot be split over {}", counted(*layers, "layer"), counted(*devices, "device"))]
    MoreDevicesThanLayers { layers: usize, devices: usize },
    #[error("--split {split} names {}, there {are} {devices}", counted(*parts, "device"), are = are(*devices))]
    SplitCount { split: String, parts: usize, devices: usize },
    #[error("--split {split} adds up to {}, the model has {layers}", counted(*sum, "layer"))]
    SplitSum { split: String, sum: usize, layers: usize },
    #[error("--split {0}: every device must have at least one layer")]
    EmptyShare(String),
    #[error("--memory {memory} names {}, there {} {}", counted(*parts, "size"), are(*devices), counted(*devices, "device"))]
    MemoryCount { memory: String, parts: usize, devices: usize },
    #[error("expected a size of memory such as 20GiB or 800MB, found {0:?}")]
    UnknownSize(String),
    #[error(
        "the model does not fit: {device} has {}, its layers {} to {} need {} in total: {} are missing",
        HumanBytes(*memory), layers.start, layers.end - 1, HumanBytes(*needed), HumanBytes(*missing)
    )]
    DoesNotFit {
        device: String,
        layers: Range<usize>,
        needed: u64,
        memory: u64,
        missing: u64,
        /// Suggested options, each of which would be enough.
        fits: Vec<String>,
    },
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Device(error.into())
    }
}

impl Hinted for Error {
    /// Returns whether the command line is wrong for the model on any machine.
    fn is_wrong_call(&self) -> bool {
        match self {
            Error::UnknownDevice(_)
            | Error::UnknownDevices(_)
            | Error::MoreDevicesThanLayers { .. }
            | Error::SplitCount { .. }
            | Error::SplitSum { .. }
            | Error::EmptyShare(_)
            | Error::MemoryCount { .. }
            | Error::UnknownSize(_) => true,
            Error::NotBuilt(_)
            | Error::NoSuchDevice(_)
            | Error::Unusable { .. }
            | Error::TooFew { .. }
            | Error::DoesNotFit { .. }
            | Error::Device(_) => false,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::NotBuilt(feature) => {
                Some(format!("--device cpu, or build it with `cargo build --release --features {feature}`"))
            }
            Error::NoSuchDevice(_) | Error::Unusable { .. } => {
                Some("--device cpu; `mist devices` lists the devices".into())
            }
            Error::MoreDevicesThanLayers { layers, .. } => Some(format!("at most --devices {layers}")),
            Error::TooFew { found, .. } => Some(format!("--devices {found}, or a list such as cuda:0,cpu")),
            Error::SplitCount { parts, .. } => Some(format!("--devices {parts}")),
            Error::MemoryCount { devices, .. } => {
                Some(format!("one size for all, or {devices} sizes separated by commas"))
            }
            Error::DoesNotFit { fits, .. } if fits.is_empty() => {
                Some("no context, quantization or number of such devices would fit".into())
            }
            Error::DoesNotFit { fits, .. } => Some(format!("it would fit with {}", either(fits))),
            Error::UnknownDevice(_) | Error::UnknownDevices(_) => {
                Some("`mist devices` lists the devices".into())
            }
            _ => None,
        }
    }
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// Joins choices: `a`, `a or b`, `a, b or c`.
fn either(choices: &[String]) -> String {
    match choices.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => choices.concat(),
    }
}
