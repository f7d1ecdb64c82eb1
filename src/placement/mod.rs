//! Devices: which there are, which layer goes to which, and the loading of each layer straight to its device.
//!
//! Knows devices and layers. Never knows tokens. First a [`Plan`], which can be printed, checked and tested
//! without any device; then [`load()`] carries it out.
//!
//! | file | what it knows |
//! |---|---|
//! | `name` | a device's name, as plans and messages have it |
//! | `device` | devices as the command line names them, which there are, and their opening |
//! | `memory` | how much memory devices have, and how sizes are typed |
//! | `needs` | bytes of a model's parts, on the host and on an accelerator |
//! | `plan` | which layer goes where: the best split that fits, or the one asked for |
//! | `host` | what a plan makes on the host beside the mapped weights, and which weights stay as they are stored |
//! | `advice` | what would fit where a model does not |
//! | `load` | a plan carried out: each layer's bytes from the map to its device |
//! | `error` | what can be wrong with a choice of devices |

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
