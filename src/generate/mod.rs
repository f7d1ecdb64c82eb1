//! Generation: from the ids of prompts to the ids and texts that continue them.
//!
//! Knows token ids, sampling and stopping. Never knows terminals or file layouts; text only where a stop text
//! must be found in it ([`TextStream`]).
//!
//! | file | one idea |
//! |---|---|
//! | `engine` | the one loop that makes tokens: [`Engine::add`], [`Engine::step`], [`Engine::cancel`] |
//! | `request` | what it is asked for, and what comes of it |
//! | `events` | what happens in a step |
//! | `sequence` | the decoding state of one sequence |
//! | `memory` | the budget of KV caches, and those that are held for prompts that begin alike |
//! | `watch` | who looks on, and ends it early |
//! | `sampler` | the next token from the logits |
//! | `speed` | how fast tokens came, in words |
//! | `stream` | text from ids, without a stop text |

mod engine;
mod events;
mod memory;
mod request;
mod sampler;
mod sequence;
mod speed;
mod stream;
mod watch;

pub use engine::{Engine, Limits, MOST_AT_ONCE};
pub use events::{Event, Id};
pub use memory::sequence_slots;
pub use request::{Ended, Finish, Generation, GenerationError, NextToken, Request, Timings, room};
pub use sampler::{Sampler, Sampling, SamplingError, Suggested};
pub use speed::per_second;
pub use stream::TextStream;
pub use watch::Watch;
