//! The `mist` command.

#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod cli;

/// Chat templates run within a limit of memory.
#[global_allocator]
static ALLOCATOR: mist::system::budget::Limited = mist::system::budget::Limited;

fn main() -> std::process::ExitCode {
    cli::main()
}
