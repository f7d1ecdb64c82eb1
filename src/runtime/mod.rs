//! The API of a whole model: finds it on this machine by its name, opens it, places its layers on devices, and generates.
//!
//! Knows where checkpoints and conversions are stored, which weights run, on which devices, and how large caches may
//! be. Knows nothing about terminals or HTTP. It prints nothing and sends its messages to a [`Report`]. The commands
//! run models by this API; for plans and conversions they also use parts of it that `cargo doc` hides.
//!
//! | file | what |
//! |---|---|
//! | `builder` | [`Model::open`]: from a name to a model |
//! | `model` | [`Model`]: a loaded model with its checkpoint and tokenizer |
//! | `options`, `piece`, `pieces` | [`Model::generate`]: a text in pieces |
//! | `texts` | [`Model::texts`]: many texts, generated together and returned in order |
//! | `chat`, `chat_settings` | [`Model::chat`]: a conversation, whose turns compute only new tokens; its settings |
//! | `measured` | the result of measuring a model's speed |
//! | `located` | the search for a model by its name |
//! | `fetch` | the files of a repository that a name selects |
//! | `quantize` | which weights run, and the names of schemes |
//! | `opened` | a checkpoint with its tokenizer |
//! | `conversions` | finding, or making and keeping, the conversion of a model |
//! | `checked` | the record that a conversion matches its originals, valid until a file changes |
//! | `conversion` | a requested conversion: its folder and its plan |
//! | `writing` | writing a conversion: locked, interruptible, verified |
//! | `speech`, `suggested` | a model's defaults for text: chat format, end tokens, sampling |
//! | `inspected` | the description of a checkpoint for `mist inspect` |
//! | `sidecars` | the files beside the weights |
//! | `settings`, `placing` | how to run a model; which layers go to which device, and the size of caches |
//! | `report`, `error` | the receiver of messages and progress; errors |

mod builder;
mod chat;
mod chat_settings;
mod checked;
mod error;
mod inspected;
mod measured;
mod model;
mod options;
mod piece;
mod pieces;
mod placing;
mod report;
mod settings;
mod sidecars;
mod speech;
mod suggested;
mod texts;

// The command is another crate, so what only it needs is public. It is hidden from the documentation, as programs open
// models by `Model` and `Builder`.
#[doc(hidden)]
pub mod conversion;
#[doc(hidden)]
pub mod conversions;
#[doc(hidden)]
pub mod fetch;
#[doc(hidden)]
pub mod located;
#[doc(hidden)]
pub mod opened;
#[doc(hidden)]
pub mod quantize;
#[doc(hidden)]
pub mod writing;
#[doc(hidden)]
pub use inspected::Inspected;
#[doc(hidden)]
pub use located::{Located, Missing, Search, Wanted};
#[doc(hidden)]
pub use measured::Measured;
#[doc(hidden)]
pub use model::{schemes, weights};
#[doc(hidden)]
pub use opened::Opened;
#[doc(hidden)]
pub use placing::{Placed, Room};
#[doc(hidden)]
pub use settings::ModelSettings;
#[doc(hidden)]
pub use speech::Speech;
#[doc(hidden)]
pub use suggested::suggested_sampling;

pub use builder::Builder;
pub use chat::{Chat, Reply, Replying};
pub use error::Error;
pub use model::Model;
pub use options::{NEW_TOKENS, NO_LIMIT, Options, random_seed};
pub use piece::Piece;
pub use pieces::Pieces;
pub use quantize::Quantize;
pub use report::{Report, Silent, Step};
pub use settings::Precision;
pub use texts::{EndedText, Texts};
