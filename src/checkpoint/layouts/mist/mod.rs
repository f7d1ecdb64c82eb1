//! The `mist` layout: `mist.json` beside `mist.safetensors`.

pub mod manifest;
pub mod provenance;
mod sources;
pub mod write;

pub use provenance::Provenance;
pub use write::*;
