//! Devices: which there are, which layer goes to which, and the loading of each layer straight to its device.
//!
//! Knows devices and layers. Never knows tokens. First a [`Plan`], which can be printed, checked and tested
//! without any device; then [`load()`] carries it out.

mod device;
mod error;
mod load;
mod plan;

pub use device::{DeviceName, Devices, accelerators};
pub use error::Error;
pub use load::load;
pub use plan::{Load, Plan, Share};
