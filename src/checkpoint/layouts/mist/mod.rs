//! The `mist` format: `mist.json` beside `mist.safetensors`.

pub mod manifest;
pub mod provenance;
mod sources;
pub mod write;

pub use provenance::Origin;
pub use write::*;
