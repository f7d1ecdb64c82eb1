//! The packed product with NEON's `sdot`: four rows in the four lanes of a register, four bytes of each.
//!
//! `sdot` multiplies four weights of each row with four activations, which are one lane of a register: 16 bytes of
//! activations serve four of them. Weights stay in registers and activations stream past: of four rows 64 columns are
//! sixteen registers, unpacked once for all the rows of a tile, and each row of activations is four loads and sixteen
//! `sdot`. One row alone, as in decode, is the same with nothing stored between unpacking and multiplying.

mod dispatch;
mod multiply;
mod piece;
mod unpack;

pub use dispatch::panels;
