//! Reads Hugging Face's folders: `config.json` beside `model*.safetensors` or `pytorch_model*.bin`.

use std::path::Path;

use super::config;
use crate::checkpoint::error::Error;
use crate::checkpoint::read::read_text;
use crate::checkpoint::shards::{self, Storage};
use crate::checkpoint::validate::{self, Contents};

/// The files that may hold a folder's weights, in order of preference: format, single file, index of shards.
const WEIGHTS: [(Storage, &str, &str); 2] = [
    (Storage::SafeTensors, "model.safetensors", "model.safetensors.index.json"),
    (Storage::Torch, "pytorch_model.bin", "pytorch_model.bin.index.json"),
];

/// Returns whether a file of this name holds weights, or lists the files that do.
pub fn holds_weights(name: &str) -> bool {
    WEIGHTS.iter().any(|(_, whole, index)| name == *whole || name == *index)
}

/// Reads the description and the weights of a folder.
///
/// # Errors
/// A file is missing or breaks a rule.
pub fn read(folder: &Path) -> Result<Contents, Error> {
    let path = folder.join("config.json");
    let (mut config, assumed) = config::read(&read_text(&path)?, &path)?;
    for (storage, whole, index) in WEIGHTS {
        if let Some(files) = shards::find(folder, whole, index)? {
            let assembled = validate::assemble(&mut config, shards::read(folder, storage, &files)?);
            let unfit = |error| match (assumed.first(), &error) {
                (
                    Some(name),
                    Error::WrongShape { .. } | Error::MissingTensor { .. } | Error::ExtraTensors { .. },
                ) => Error::config(
                    &path,
                    format!("{name} is missing, and its default does not fit the weights"),
                ),
                _ => error,
            };
            let validate::Assembled { weights, warnings } = assembled.map_err(unfit)?;
            let files = shards::with_index(files, folder.join(index));
            return Ok(Contents { config, weights, files, warnings });
        }
    }
    Err(Error::malformed(folder, "there is a config.json, but no model.safetensors beside it"))
}
