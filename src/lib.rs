//! Runs Mistral-family language models (Mistral, Mixtral, and the Llama architecture that they share) on one device or
//! several, from the download to the generated text.
//!
//! ```
//! use mist::{Model, Sampling};
//!
//! # fn main() -> Result<(), mist::Error> {
//! let model = Model::open("examples/data/tiny-mistral")?; // or "mistralai/Mistral-7B-Instruct-v0.3"
//! for piece in model.generate("Hello, my name is", &Sampling::greedy())? {
//!     print!("{}", piece?);
//! }
//! let mut chat = model.chat().system("Be brief.");
//! # chat.set_options(mist::Options { max_new_tokens: Some(8), ..mist::Options::default() });
//! println!("{}", chat.say("How many days are there in a week?")?);
//! # Ok(())
//! # }
//! ```
//!
//! [`Model`] is the main entry point: it finds a checkpoint on this machine, quantizes it on request, assigns its
//! layers to devices, generates text, chats, and measures perplexity.
//!
//! - [`Builder`] sets how the model is opened, and [`Report`] receives its messages.
//! - [`Options`] and [`Sampling`] set how text is generated, in [`Pieces`] or as many [`Texts`] together.
//! - [`Chat`] holds a conversation and keeps its KV cache between turns.
//! - [`Error`] describes what is wrong and what the user can do.
//!
//! `docs/library.md` has a program for each of them, and `examples/` has three programs to copy. The command `mist`
//! uses the same library.
//!
//! The modules that it is built from are public as well. The house rules call a top-level module a room and its level a
//! floor; a room imports only rooms on lower floors:
//!
//! | floor | room | knows |
//! |---|---|---|
//! | 11 | [`terminal`] | messages, progress, line editing, support for clap's commands |
//! | 10 | [`runtime`] | the API of a whole model: finds, opens, places and runs it |
//! | 9 | [`chat`], [`evaluate`], [`bench`](mod@bench) | conversations; perplexity; speed measurements |
//! | 8 | [`generate`], [`placement`] | the generation loop, sampling, stopping; devices and their layers |
//! | 7 | [`model`], [`store`] | the transformer; the folders of checkpoints on this machine |
//! | 6 | [`checkpoint`] | layouts and formats of checkpoint files; conversion |
//! | 5 | [`text`], [`hub`] | tokenizers and chat formats; downloads |
//! | 4 | [`arch`], [`tensor`] | a model's description and weights; rows and weights on any device |
//! | 3 | [`kernels`] | matrix products, attention, pointwise functions |
//! | 2 | [`quant`] | quantization schemes, matrices over bytes, quantizing and dequantizing blocks |
//! | 1 | [`cpu`], [`json`] | instruction sets, SIMD vectors, threads; JSON within limits |
//! | 0 | [`system`] | files, signals, memory, environment, limits |

// Tests write files in the same way as users and other programs.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod arch;
pub mod bench;
pub mod chat;
pub mod checkpoint;
pub mod cpu;
pub mod evaluate;
pub mod generate;
pub mod hub;
pub mod json;
pub mod kernels;
pub mod model;
pub mod placement;
pub mod quant;
pub mod runtime;
pub mod store;
pub mod system;
pub mod tensor;
pub mod terminal;
pub mod text;

pub use evaluate::Likelihood;
pub use generate::{Finish, Generation, Sampling};
pub use kernels::attention::CacheType;
pub use placement::{DeviceName, Devices, Memories};
pub use quant::Scheme;
pub use runtime::{
    Builder, Chat, EndedText, Error, Model, Options, Piece, Pieces, Precision, Quantize, Reply, Replying,
    Report, Step, Texts,
};

/// Runs the programs of `docs/library.md` as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
pub struct LibraryPage;
