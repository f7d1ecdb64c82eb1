//! What the program asks of the operating system, and what everything above may use: files, memory, signals, threads,
//! environment variables, and the limits that work on behalf of a stranger's file has to keep.
//!
//! Never knows a file's format, a model, or what is printed.
//!
//! | file | what |
//! |---|---|
//! | [`files`] | files, opened for reading and for writing in one way |
//! | [`map`] | memory maps of files |
//! | [`pages`] | hints to the system about memory |
//! | [`cores`] | how many cores compute, and of which kind |
//! | [`memory`], `cgroup` | what becomes of a process without memory; the limits that a container sets |
//! | [`budget`] | work within limits of memory and time |
//! | [`environment`] | the variables that are read |
//! | [`quote`] | what a message repeats of a text |
//! | [`signals`], [`threads`], [`type_ahead`] | signals, threads, and keys pressed before a prompt |
//! | [`state`] | where state between runs is kept |

pub mod budget;
pub mod cgroup;
pub mod cores;
pub mod environment;
pub mod files;
pub mod map;
pub mod memory;
pub mod pages;
pub mod quote;
pub mod signals;
pub mod state;
pub mod threads;
pub mod type_ahead;
