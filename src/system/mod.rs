//! What the program asks of the operating system.

pub mod cores;
pub mod files;
pub mod memory;
pub mod signals;
pub mod state;
pub mod threads;
pub mod type_ahead;
