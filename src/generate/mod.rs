//! Generation: from the ids of a prompt to the ids of a continuation.
//!
//! Knows token ids, sampling and stopping. Never knows terminals or file layouts; text only where a stop text
//! must be found in it ([`TextStream`]).

mod batch;
mod growth;
mod sampler;
mod session;
mod stream;
mod watch;

pub use batch::{Batch, Event, MOST_AT_ONCE, batch_slots};
pub use growth::{Finish, Generation, GenerationError, Timings, room};
pub use sampler::{Sampler, Sampling, SamplingError, Suggested};
pub use session::Session;
pub use stream::TextStream;
pub use watch::Watch;
