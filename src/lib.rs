//! `mist`: Mistral-family language models (Mistral, Mixtral, and the Llama shape under them) from the
//! hub to running text, on one device or several.
//!
//! The rooms of the house, from the ground up; a room imports only rooms below it:
//!
//! | floor | room | knows |
//! |---|---|---|
//! | 6 | [`terminal`], [`chat`] | the one printer and line editor; a conversation and its ids |
//! | 5 | [`generate`], [`evaluate`] | loops over token ids: sampling, stopping, perplexity |
//! | 4 | [`placement`] | devices, and which layer goes where |
//! | 3 | [`model`] | the transformer; shapes at line ends |
//! | 3 | [`store`] | where checkpoints and conversions lie on this machine |
//! | 2 | [`checkpoint`], [`text`], [`hub`] | file formats; tokenizers and chat formats; downloads |
//! | 1 | [`kernels`] | slices, schemes, instruction sets; the seam to candle |
//! | 1 | [`json`], [`budget`] | JSON within limits; work on behalf of a file within limits |
//! | 0 | [`system`] | what is asked of the operating system: files, signals, memory |
//! | 0 | [`environment`], [`quote`] | the variables that are read; what a message repeats of a text |

// Tests make files as users and strangers do.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod budget;
pub mod chat;
pub mod checkpoint;
pub mod environment;
pub mod evaluate;
pub mod generate;
pub mod hub;
pub mod json;
pub mod kernels;
pub mod model;
pub mod placement;
pub mod quote;
pub mod store;
pub mod system;
pub mod terminal;
pub mod text;
