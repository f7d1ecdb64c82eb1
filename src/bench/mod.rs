//! Measuring: how fast a model runs here, and how fast this machine reads memory.
//!
//! Nothing below imports it.

pub mod bandwidth;
pub mod speed;

pub use bandwidth::{ReadRate, read, read_rate};
pub use speed::{Part, Rates, Speed, Work};
