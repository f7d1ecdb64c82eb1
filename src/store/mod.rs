//! The store: where checkpoints and their conversions are kept on this machine.
//!
//! Knows about the files of a checkpoint's folder, and the layout of the hub's own cache. Never opens weights, asks the
//! user, or prints.
//!
//! A name such as `ORG/NAME` is looked up in three places, in this order:
//!
//! | place | layout | written to |
//! |---|---|---|
//! | `./checkpoints` | `ORG/NAME` | if it exists in the current folder |
//! | `MIST_HOME/models` | `ORG/NAME` | otherwise |
//! | the hub's own cache | [`HubCache`](crate::hub::HubCache) | never |
//!
//! Conversions are stored beside their source, or in `MIST_HOME/conversions/ORG/NAME/REVISION/SCHEME` if the source's
//! folder cannot be written to.
//!
//! | file | one idea |
//! |---|---|
//! | `name` | parses model names: a path, `ORG/NAME`, `ORG/NAME:VARIANT`, an address of the hub |
//! | `places` | the three places |
//! | `contents` | finds the checkpoints in a folder of checkpoints |
//! | `find` | looks up names |
//! | `conversions` | locates a checkpoint's conversions |
//! | `listing` | describes every checkpoint |
//! | `removal` | deletes a checkpoint with its conversions |

mod contents;
mod conversions;
mod find;
mod listing;
mod name;
mod places;
mod removal;

pub use contents::{CHECKED, bytes_at, ggufs};
pub use find::Found;
pub use listing::Listed;
pub use name::{ModelName, NONE, is_gguf, is_variant, variant};
pub use places::{Place, Store};
pub use removal::{Doomed, Removal, RemovalError};
