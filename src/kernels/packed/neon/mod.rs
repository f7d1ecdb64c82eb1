//! The packed product with NEON's `sdot`: a register holds four rows in its four lanes, four bytes each.
//!
//! `sdot` multiplies four weights of each row by four activations, one lane of a register, so 16 bytes of
//! activations serve four instructions. Weights stay in registers while activations stream past. 64 columns of four
//! rows are sixteen registers, unpacked once for all rows of a tile. Each row of activations then takes four loads
//! and sixteen `sdot`. A single row, as in decode, works the same way, but nothing is stored between unpacking and
//! multiplying.

mod dispatch;
mod multiply;
mod piece;
mod unpack;

pub use dispatch::panels;
