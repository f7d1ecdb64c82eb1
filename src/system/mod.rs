//! The operating system's services for the rest of the program: files, memory, signals, threads, environment variables,
//! and limits for work on behalf of an untrusted file.
//!
//! Knows nothing about file formats, models, or what is printed.
//!
//! | file | what |
//! |---|---|
//! | [`files`] | opening files for reading and for writing |
//! | [`map`] | memory maps of files |
//! | [`pages`] | hints to the system about memory |
//! | [`cores`] | the default number of threads that compute |
//! | [`memory`], `cgroup` | handling of a lack of memory; the limits that a container sets |
//! | [`budget`] | work within limits of memory and time |
//! | [`environment`] | the environment variables that are read |
//! | [`hinted`] | errors with hints for the user |
//! | [`numbers`] | parsing numbers that the user types |
//! | [`process`] | the system's statistics of this process: memory and bytes read |
//! | [`quote`] | quoting text in messages |
//! | [`signals`], [`threads`], [`type_ahead`] | signals, threads, and keys pressed before a prompt |
//! | [`state`] | the folder for state between runs |

pub mod budget;
pub mod cgroup;
pub mod cores;
pub mod environment;
pub mod files;
pub mod hinted;
pub mod map;
pub mod memory;
pub mod numbers;
pub mod pages;
pub mod process;
pub mod quote;
pub mod signals;
pub mod state;
pub mod threads;
pub mod type_ahead;
