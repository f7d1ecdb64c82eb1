//! The API of a whole model: finds it on this machine by its name, opens it, places its layers on devices, and generates.
//!
//! Knows where checkpoints and conversions are stored, which weights run, on which devices, and how large caches may be.
//! Knows neither terminals nor HTTP. It prints nothing and sends its messages to a [`Report`]. The commands use this API
//! like any other program.
//!
//! | file | what |
//! |---|---|
//! | `builder` | [`Model::open`]: from a name to a model |
//! | `model` | [`Model`]: a loaded model with its checkpoint and tokenizer |
//! | `options`, `piece`, `pieces` | [`Model::generate`]: a text in pieces |
//! | `texts` | [`Model::texts`]: many texts at once, in their order |
//! | `chat`, `chat_settings` | [`Model::chat`]: turns, of which only what is new is computed; their settings |
//! | `measured` | what came of measuring a model's speed |
//! | `located` | a name: found here, or known to be missing |
//! | `fetch` | which files of a repository a name asks for |
//! | `quantize` | which weights run, and the names of schemes |
//! | `opened` | a checkpoint with its tokenizer |
//! | `conversions` | the conversion that is there, or one that is made and kept |
//! | `checked` | what was found out about a conversion holds until a file changes |
//! | `conversion` | a conversion as it was asked for |
//! | `writing` | one process at a time, stopped without a trace, verified |
//! | `speech`, `suggested` | what a model does with text; how its publishers suggest that tokens are chosen |
//! | `inspected` | the facts of a checkpoint |
//! | `sidecars` | the files beside weights |
//! | `settings`, `placing` | how a model is run; which layer goes where, and how large caches are |
//! | `report`, `error` | who receives what happens; what can go wrong |

mod builder;
mod chat;
mod chat_settings;
mod checked;
pub mod conversion;
pub mod conversions;
mod error;
pub mod fetch;
mod inspected;
pub mod located;
mod measured;
mod model;
pub mod opened;
mod options;
mod piece;
mod pieces;
mod placing;
pub mod quantize;
mod report;
mod settings;
mod sidecars;
mod speech;
mod suggested;
mod texts;
pub mod writing;

pub use builder::Builder;
pub use chat::{Chat, Reply, Replying};
pub use error::Error;
pub use inspected::Inspected;
pub use located::{Located, Missing, Search, Wanted};
pub use measured::Measured;
pub use model::{Model, most, schemes, weights};
pub use opened::Opened;
pub use options::{NEW_TOKENS, Options};
pub use piece::Piece;
pub use pieces::Pieces;
pub use placing::{Placed, Room};
pub use quantize::Quantize;
pub use report::{Report, Silent, Step};
pub use settings::{Precision, Settings};
pub use speech::Speech;
pub use suggested::suggested_sampling;
pub use texts::{EndedText, Texts};
