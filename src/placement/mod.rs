//! Devices: which there are, which layer goes to which, and the loading of each layer straight to its device.
//!
//! Knows devices and layers. Never knows tokens. First a [`Plan`], which can be printed, checked and tested
//! without any device; then [`load()`] carries it out.

mod advice;
mod device;
mod error;
mod host;
mod load;
mod memory;
mod name;
mod needs;
mod plan;

pub use advice::{advised, most_slots};
pub use device::{Devices, accelerators};
pub use error::Error;
pub use host::{HostMemory, stay_as_stored};
pub use load::{is_larger_than_memory, load};
pub use memory::{Memories, available_memory, host_memory};
pub use name::DeviceName;
pub use needs::{Load, Needs, Sizes, bytes_per_token};
pub use plan::{Place, Plan, Share};
