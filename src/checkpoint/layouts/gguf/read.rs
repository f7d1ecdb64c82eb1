//! The tensors of a GGUF file under our names.

use std::path::Path;

use super::names;
use crate::checkpoint::error::Error;
use crate::checkpoint::formats::gguf::Gguf;
use crate::checkpoint::tensors::Tensors;

/// All tensors of the checkpoint at `file`; `rope_freqs.weight` is the config's and stays behind.
///
/// # Errors
/// Two tensors have one name.
pub fn tensors(gguf: &Gguf, file: &Path) -> Result<Tensors, Error> {
    let mut tensors = Tensors::new(file).named_by(&names::TENSORS);
    for (name, tensor) in gguf.tensors().iter().filter(|(name, _)| name != "rope_freqs.weight") {
        // A name that is in no table stays as it is, and validation refuses it.
        let ours = names::TENSORS.ours(name).unwrap_or_else(|| name.clone());
        tensors.insert(gguf.path(), ours, tensor.clone())?;
    }
    Ok(tensors)
}
