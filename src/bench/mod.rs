//! Measurements: how fast a model runs, and how fast this machine reads memory.
//!
//! No room below imports this one.

pub mod bandwidth;
pub mod speed;

pub use bandwidth::{ReadRate, read, read_rate};
pub use speed::{Part, Rates, Speed, Work};
