//! What the program asks of the operating system.

pub mod files;
pub mod memory;
pub mod signals;
pub mod threads;
