//! Plans, writes and verifies conversions of checkpoints.
//!
//! | file | what |
//! |---|---|
//! | [`output`] | a tensor to be written: its scheme, and its bytes, computed on all cores |
//! | [`plan`] | the files of a conversion: writes them, and compares them with the source |
//! | `published`, `rows` | a checkpoint's tensors in published form: not fused, in the published order of rows |
//! | `sidecar` | the content of a small file beside the weights |

pub mod output;
pub mod plan;
pub(super) mod published;
pub(super) mod rows;
mod sidecar;

pub use sidecar::Content;
