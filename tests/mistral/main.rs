//! Mistral's own tokenizers, as Mistral publishes them: `tokenizer.model` and `tekken.json` of every age, held to what
//! mistral-common says of conversations and of ten megabytes of text. `tests/fixtures/chat/make.py` wrote that down.
//!
//! The files come out of mistral-common's wheel. Where no package registry is within reach these tests are skipped,
//! loudly, unless `MIST_REQUIRE_STARTER=1` forbids it.
// The lint knows functions marked as tests, not their helpers; a helper that fails here is a failed test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

mod controls;
mod conversations;
mod data;
mod ids;
mod text;
