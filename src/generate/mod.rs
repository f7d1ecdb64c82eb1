//! Generation: from the token ids of prompts to the ids and texts that continue them.
//!
//! Knows about token ids, sampling and stopping, but not about terminals or file layouts. It handles text only to find
//! stop texts ([`TextStream`]).
//!
//! | file | one idea |
//! |---|---|
//! | `engine` | the loop that computes tokens: [`Engine::add`], [`Engine::step`], [`Engine::cancel`] |
//! | `request` | requests to the engine, and their results |
//! | `events` | the events of a step |
//! | `sequence` | the decoding state of one sequence |
//! | `memory` | the memory budget of KV caches, and reuse of caches for prompts with the same beginning |
//! | `watch` | progress reports and interrupts |
//! | `sampler` | chooses the next token from the logits |
//! | `speed` | formats the timings of a generation |
//! | `stream` | converts ids to text and finds stop texts |

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
pub use speed::{more_in_cache, per_second};
pub use stream::TextStream;
pub use watch::Watch;
