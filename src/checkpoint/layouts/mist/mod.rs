//! The `mist` format: `mist.json` beside `mist.safetensors`.
//!
//! | file | what it knows |
//! |---|---|
//! | `manifest` | `mist.json`: description, schemes, provenance |
//! | `provenance` | samples of the files that a conversion was made of, to see later that others lie in their place |
//! | `sources` | whether a conversion was made of a checkpoint, or would be the same |
//! | `write` | what a checkpoint becomes: fused, stacked, in panels |

pub mod manifest;
pub mod provenance;
mod sources;
pub mod write;

pub use provenance::Provenance;
pub use write::*;
