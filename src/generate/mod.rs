//! Generation: from the ids of a prompt to the ids of a continuation.
//!
//! Knows token ids, sampling and stopping. Never knows terminals or file layouts; text only where a stop text
//! must be found in it ([`TextStream`]).

mod sampler;
mod session;
mod stream;

pub use sampler::{Sampler, Sampling, SamplingError};
pub use session::{CHUNK, Finish, Generation, Session, SessionError, Timings};
pub use stream::TextStream;
