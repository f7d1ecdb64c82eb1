//! The `mist` layout: `mist.json` beside `mist.safetensors`.
//!
//! | file | what |
//! |---|---|
//! | `manifest` | reads `mist.json`: description, schemes, provenance |
//! | `provenance` | sizes and sampled hashes of source files, by which changes are detected |
//! | `sources` | determines the provenance of a conversion, and compares it with a checkpoint |
//! | `write` | plans a conversion: fused, stacked, in panels |

pub mod manifest;
pub mod provenance;
mod sources;
pub mod write;

pub use provenance::Provenance;
pub use write::*;
