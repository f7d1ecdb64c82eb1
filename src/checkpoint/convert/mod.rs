//! A conversion before it happens, its writing, and its proof.
//!
//! | file | what |
//! |---|---|
//! | [`output`] | a tensor to be written: its type, and its bytes made on all cores |
//! | [`plan`] | the files of a conversion, their writing, and the comparison with what they were made of |
//! | `published`, `rows` | a checkpoint's tensors as others have them: apart, under their names |
//! | `sidecar` | what a small file beside the weights will hold |

pub mod output;
pub mod plan;
pub(super) mod published;
pub(super) mod rows;
mod sidecar;

pub use sidecar::Content;
