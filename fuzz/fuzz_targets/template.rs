#![no_main]

#[path = "../../tests/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::template(data));

/// Keeps a template's limit of memory.
#[global_allocator]
static ALLOCATOR: mist::budget::Limited = mist::budget::Limited;
