//! Device errors.

use std::error::Error;

/// A device error, such as a lack of memory or a kernel that cannot run.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DeviceError(Box<dyn Error + Send + Sync>);

impl From<candle_core::Error> for DeviceError {
    fn from(error: candle_core::Error) -> Self {
        Self(error.into())
    }
}
