//! Measurements: how fast a model runs, and how fast this machine reads memory.
//!
//! No room below imports this one.
//!
//! | file | what it knows |
//! |---|---|
//! | [`bandwidth`] | the rate at which the host's memory is read, with as many threads as the products use |
//! | [`speed`] | tokens per second of prompts and of generating: mean, deviation, every sample |

pub mod bandwidth;
pub mod speed;

pub use bandwidth::{ReadRate, read, read_rate};
pub use speed::{Part, Rates, Speed, Work};
