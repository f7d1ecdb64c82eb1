//! Measurements: how fast a model runs, and how fast this machine reads memory.
//!
//! No room below imports this one.
//!
//! | file | what it knows |
//! |---|---|
//! | [`bandwidth`] | the rate at which the host's memory is read, with as many threads as the products use |
//! | `fits` | whether work fits into a model's context and into memory |
//! | [`speed`] | tokens per second of prompts and of generating: mean, deviation, every sample |

pub mod bandwidth;
mod fits;
pub mod speed;

pub use bandwidth::{ReadRate, read, read_rate};
pub use fits::{NoRoom, Smaller};
pub use speed::{Part, Rates, Speed, Work};
