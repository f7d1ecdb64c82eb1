//! What the model computes against what others compute on the same weights, and against itself computed another
//! way: converted, in other chunks, on more devices, after going back, with other kernels.
//!
//! | file | compared with |
//! |---|---|
//! | `reference` | transformers in f32 (`tests/fixtures/README.md`) |
//! | `candle` | candle-transformers' Llama, whose authors and code are others |
//! | `quants` | the `gguf` package's values of quantized blocks |
//! | `converted` | the originals, bit for bit |
//! | `invariance` | other chunks, threads, devices and histories, bit for bit |
//! | `devices` | one device, for random models of 5 and of 32 layers in every form |
//! | `batch` | each text alone |
//! | `watched` | itself, uninterrupted |
//! | `precision` | f32, where less is asked for |
//! | `bits` | every other set of kernels and processor, bit for bit |
// The lint knows functions marked as tests, not their helpers; a helper that fails here is a failed test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod bits;
mod candle;
mod converted;
mod devices;
mod engine;
mod fixture;
mod invariance;
mod precision;
mod quants;
mod random;
mod reference;
#[path = "../support/mod.rs"]
mod support;
mod watched;
