//! Reads Mistral's layout: `params.json` beside `consolidated.safetensors`, or before 2024 `consolidated.00.pth`.
//!
//! Queries and keys have interleaved rotary pairs and are computed in that order. The first Mixtral came as
//! `consolidated.00.pt` to `consolidated.07.pt` with different tensors in each file (transformers'
//! `convert_mixtral_weights_to_hf.py` joins them). Files that each hold a part of every tensor, as Llama was published,
//! are refused: they do not specify how the tensors were cut.

use std::path::{Path, PathBuf};

use super::names;
use crate::checkpoint::error::Error;
use crate::checkpoint::read::read_text;
use crate::checkpoint::shards::{self, Storage, file_names};
use crate::checkpoint::validate::{self, Contents};

/// The file that describes the model.
pub const CONFIG: &str = "params.json";

const WHOLE: &str = "consolidated.safetensors";
const INDEX: &str = "consolidated.safetensors.index.json";

/// Returns whether a file of this name holds weights, or lists the files that do.
pub fn holds_weights(name: &str) -> bool {
    name == WHOLE || name == INDEX || storage_of_shard(name).is_some()
}

/// Returns the format of a shard by its name: `consolidated-00001-of-00013.safetensors`, `consolidated.00.pth`.
fn storage_of_shard(name: &str) -> Option<Storage> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (name, extension) = name.strip_prefix("consolidated")?.rsplit_once('.')?;
    match extension {
        "safetensors" => {
            let (shard, count) = name.strip_prefix('-')?.split_once("-of-")?;
            (is_number(shard) && is_number(count)).then_some(Storage::SafeTensors)
        }
        "pth" | "pt" => is_number(name.strip_prefix('.')?).then_some(Storage::Torch),
        _ => None,
    }
}

/// Reads the description and the weights of a folder.
///
/// # Errors
/// A file is missing or breaks a rule, or the weights are cut or stacked in a way that is not supported.
pub fn read(folder: &Path) -> Result<Contents, Error> {
    let path = folder.join(CONFIG);
    let mut config = super::from_params(&read_text(&path)?, &path)?;
    let (storage, files) = weights(folder)?;
    let tensors = shards::read(folder, storage, &files).map_err(|error| match error {
        Error::DuplicateTensor { path, name } if storage == Storage::Torch => {
            let what = format!("a model cut for several devices ({name} is in an earlier file too)");
            Error::unsupported(&path, what)
        }
        other => other,
    })?;
    if let Some(name) = tensors.names().find(|name| name.ends_with(".block_sparse_moe.w2")) {
        let what = format!("{name}, the experts stacked as in the first files of Mixtral,");
        return Err(Error::unsupported(folder, what));
    }
    let tensors = tensors.renamed(|name| names::TENSORS.ours(name))?.named_by(&names::TENSORS);
    let validate::Assembled { weights, warnings } = validate::assemble(&mut config, tensors)?;
    Ok(Contents { config, weights, files: shards::with_index(files, folder.join(INDEX)), warnings })
}

/// Returns the files of weights: the files that an index names, a single file, or shards found by their names.
fn weights(folder: &Path) -> Result<(Storage, Vec<PathBuf>), Error> {
    if let Some(files) = shards::find(folder, WHOLE, INDEX)? {
        return Ok((Storage::SafeTensors, files));
    }
    let names = file_names(folder)?;
    for storage in [Storage::SafeTensors, Storage::Torch] {
        let stored = names.iter().filter(|name| storage_of_shard(name) == Some(storage));
        let files: Vec<PathBuf> = stored.map(|name| folder.join(name)).collect();
        if !files.is_empty() {
            return Ok((storage, files));
        }
    }
    Err(Error::malformed(folder, format!("there is a {CONFIG}, but no {WHOLE} beside it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_weights_are_known_by_their_names() {
        for name in [WHOLE, INDEX, "consolidated-00001-of-00013.safetensors"] {
            assert!(holds_weights(name), "{name}");
        }
        assert_eq!(storage_of_shard("consolidated.00.pth"), Some(Storage::Torch));
        assert_eq!(storage_of_shard("consolidated.07.pt"), Some(Storage::Torch));
        for name in [
            "consolidated.pth",
            "consolidated.x.pth",
            "consolidated.00.pth.partial",
            "consolidated",
            "consolidated-1.safetensors",
            "model.safetensors",
            "consolidated.00.bin",
        ] {
            assert!(!holds_weights(name), "{name}");
        }
    }
}
