//! Reads the tensors of a GGUF file under Hugging Face's names.

use std::path::Path;

use super::names;
use crate::checkpoint::error::Error;
use crate::checkpoint::formats::gguf::Gguf;
use crate::checkpoint::tensors::Tensors;

/// Returns all tensors of the checkpoint at `file`, without `rope_freqs.weight`, which belongs to the config.
///
/// # Errors
/// Two tensors have the same name.
pub fn tensors(gguf: &Gguf, file: &Path) -> Result<Tensors, Error> {
    let mut tensors = Tensors::new(file).named_by(&names::TENSORS);
    for (name, tensor) in gguf.tensors().iter().filter(|(name, _)| name != "rope_freqs.weight") {
        // An unknown name is kept, and validation refuses it.
        let ours = names::TENSORS.ours(name).unwrap_or_else(|| name.clone());
        tensors.insert(gguf.path(), ours, tensor.clone())?;
    }
    Ok(tensors)
}
