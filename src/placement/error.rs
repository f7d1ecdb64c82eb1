//! Errors in choosing and opening devices.

use std::ops::Range;

use indicatif::HumanBytes;

use super::{DeviceName, Remedy, would_fit};
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
    #[error("the split {split} names {}, there {are} {devices}", counted(*parts, "device"), are = are(*devices))]
    SplitCount { split: String, parts: usize, devices: usize },
    #[error("the split {split} adds up to {}, the model has {layers}", counted(*sum, "layer"))]
    SplitSum { split: String, sum: usize, layers: usize },
    #[error("the split {0}: every device must have at least one layer")]
    EmptyShare(String),
    #[error("the memory limits {memory} are {}, there {} {}", counted(*parts, "size"), are(*devices), counted(*devices, "device"))]
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
        /// Changes that each would be enough.
        remedies: Vec<Remedy>,
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
                Some(format!("use the CPU, or build with `cargo build --release --features {feature}`"))
            }
            Error::NoSuchDevice(_) | Error::Unusable { .. } => {
                Some("use the CPU; `mist devices` lists the devices".into())
            }
            Error::MoreDevicesThanLayers { layers, .. } => {
                Some(format!("choose at most {}", counted(*layers, "device")))
            }
            Error::TooFew { found, .. } => {
                Some(format!("choose {}, or a list such as cuda:0,cpu", counted(*found, "device")))
            }
            Error::SplitCount { parts, .. } => Some(format!("choose {}", counted(*parts, "device"))),
            Error::SplitSum { layers, .. } => Some(format!("a split's numbers add up to {layers}")),
            Error::EmptyShare(_) => Some("a split has one number, at least 1, for each device".into()),
            Error::MemoryCount { devices, .. } => {
                Some(format!("give one size for all devices, or {devices} sizes"))
            }
            Error::DoesNotFit { remedies, .. } if remedies.is_empty() => {
                Some("no context, quantization or number of such devices would fit".into())
            }
            Error::DoesNotFit { remedies, .. } => Some(would_fit(remedies, Remedy::to_string)),
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
