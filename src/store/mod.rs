//! The store: where checkpoints and their conversions lie on this machine.
//!
//! Knows what a checkpoint's folder looks like, and how the hub's own clients keep theirs. Never opens weights, asks
//! nobody, prints nothing.
//!
//! A name such as `ORG/NAME` is looked for in three places, in this order:
//!
//! | place | layout | written to |
//! |---|---|---|
//! | `./checkpoints` | `ORG/NAME` | where it exists in the current folder |
//! | `MIST_HOME/models` | `ORG/NAME` | else |
//! | the hub's own cache | [`HubCache`](crate::hub::HubCache) | never |
//!
//! Conversions lie beside what they were made of; of what cannot be written to, in
//! `MIST_HOME/conversions/ORG/NAME/REVISION/SCHEME`.
//!
//! | file | one idea |
//! |---|---|
//! | `name` | what a person names a model by: a path, `ORG/NAME`, `ORG/NAME:VARIANT`, an address of the hub |
//! | `places` | the three places |
//! | `contents` | the checkpoints in a folder of checkpoints |
//! | `find` | a name looked up |
//! | `conversions` | where a checkpoint's conversions lie, and which there are |
//! | `removal` | what goes with a checkpoint, and its deletion |

mod contents;
mod conversions;
mod find;
mod name;
mod places;
mod removal;

pub use contents::{bytes_at, ggufs};
pub use find::Found;
pub use name::{ModelName, NONE, is_gguf, is_variant, variant};
pub use places::{Place, Store};
pub use removal::{Doomed, Removal, RemovalError};
