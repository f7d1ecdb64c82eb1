//! What can be wrong with a choice of devices.

/// A rule that a choice of devices breaks.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{0:?} is no device: there are cpu, cuda:0, cuda:1, … and metal")]
    UnknownDevice(String),
    #[error("{0:?} is no number of devices and no list of them")]
    UnknownDevices(String),
    #[error("this mist was built without {0}")]
    NotBuilt(&'static str),
    #[error("{device} cannot be used: {source}")]
    Unusable { device: String, source: candle_core::Error },
    #[error("{asked} devices were asked for, this machine has {found}")]
    TooFew { asked: usize, found: usize },
    #[error("{layers} layers cannot be split over {devices} devices")]
    MoreDevicesThanLayers { layers: usize, devices: usize },
    #[error("--split {split} names {parts} devices, there are {devices}")]
    SplitCount { split: String, parts: usize, devices: usize },
    #[error("--split {split} adds up to {sum} layers, the model has {layers}")]
    SplitSum { split: String, sum: usize, layers: usize },
    #[error("--split {0}: every device must have at least one layer")]
    EmptyShare(String),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// What the user can type.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NotBuilt(feature) => {
                Some(format!("build it with `cargo build --release --features {feature}`"))
            }
            Error::MoreDevicesThanLayers { layers, .. } => Some(format!("at most --devices {layers}")),
            Error::TooFew { found, .. } => Some(format!("--devices {found}, or a list such as cuda:0,cpu")),
            Error::UnknownDevice(_) | Error::UnknownDevices(_) => {
                Some("`mist devices` lists what there is".into())
            }
            _ => None,
        }
    }
}
