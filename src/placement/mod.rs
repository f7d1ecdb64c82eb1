//! Devices: lists them, assigns each layer to a device, and loads each layer straight to its device.
//!
//! Knows about devices and layers, but not about tokens. A [`PlacementPlan`] can be printed, checked and tested without any
//! device; [`load()`] carries it out.
//!
//! | file | what it knows |
//! |---|---|
//! | `name` | a device's name in plans and messages |
//! | `device` | the requested devices and those of this machine, and how they are opened |
//! | `memory` | the memory of devices, and how memory sizes are typed |
//! | `requirement` | the size in bytes of a model's parts, on the host and on an accelerator |
//! | `plan` | which layer goes to which device: the best split that fits, or the requested one |
//! | `host` | the host memory that a plan allocates, and which weights stay as they are stored |
//! | `advice` | what would fit when a model does not |
//! | `remedy` | a change with which a model would fit |
//! | `load` | how a plan is carried out: each layer's bytes go from the map to its device |
//! | `error` | errors in choosing and opening devices |

mod advice;
mod device;
mod error;
mod host;
mod load;
mod memory;
mod name;
mod plan;
mod remedy;
mod requirement;

pub use advice::{advised, most_that_fit};
pub use device::{Devices, accelerators};
pub use error::Error;
pub use host::{HostMemory, stay_as_stored};
pub use load::{is_larger_than_memory, load};
pub use memory::{Memories, available_memory, host_memory};
pub use name::DeviceName;
pub use plan::{Place, PlacementPlan, Share};
pub use remedy::{Remedy, would_fit};
pub use requirement::{Footprint, MemoryRequirement, Sizes, bytes_per_token};
