//! Mistral-family language models (Mistral, Mixtral, and the Llama shape under them) from the hub to running text, on one
//! device or several.
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
//! [`Model`] is the front door: it finds a checkpoint on this machine, quantizes it where that is asked for, spreads its
//! layers over devices, generates, talks, and measures perplexity. [`Model::builder`] says how, [`Options`] what is
//! generated, [`Chat`] holds a conversation whose cache is kept from turn to turn, [`Error`] says what is wrong and what to
//! do. `docs/library.md` has a program for each, and `examples/` has three to copy from. The command `mist` does nothing
//! else.
//!
//! What stands behind it is public as well. The rooms of the house, from the ground up; a room imports only rooms below it:
//!
//! | floor | room | knows |
//! |---|---|---|
//! | 11 | [`terminal`] | the one printer and line editor, and what commands need around them |
//! | 10 | [`runtime`] | the front door: a model found, opened, placed and talked to |
//! | 9 | [`chat`], [`evaluate`], [`bench`](mod@bench) | a conversation and its ids; perplexity; measuring |
//! | 8 | [`generate`], [`placement`] | loops over token ids: sampling, stopping; devices, and which layer goes where |
//! | 7 | [`model`], [`store`] | the transformer, shapes at line ends; where checkpoints lie on this machine |
//! | 6 | [`checkpoint`] | layouts and formats of files, conversion |
//! | 5 | [`text`], [`hub`] | tokenizers and chat formats; downloads |
//! | 4 | [`arch`], [`tensor`] | the model's own words; rows and weights wherever they live |
//! | 3 | [`kernels`] | products, attention, pointwise |
//! | 2 | [`quant`] | schemes, matrices over bytes, blocks from f32 and back |
//! | 1 | [`cpu`], [`json`] | instruction sets, SIMD vectors, threads; JSON within limits |
//! | 0 | [`system`] | files, signals, memory, environment, limits |

// Tests make files as users and strangers do.
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

pub use generate::{Finish, Sampling};
pub use runtime::{Chat, Error, Model, Options, Piece, Pieces, Reply, Report};

/// The programs of `docs/library.md`, which run as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
pub struct LibraryPage;
