//! Reads litgpt's folders: `lit_model.pth` beside `model_config.yaml`, until March 2024 `lit_config.json`.
//!
//! Queries, keys and values are one tensor. Until December 2024 it was ordered by groups of query heads
//! (`attn.attn.weight`); since then it holds all queries, then all keys, then all values (`attn.qkv.weight`). The order
//! does not depend on the config's name.

use std::path::Path;

use super::{config, names};
use crate::checkpoint::convert::rows::ungrouped;
use crate::checkpoint::error::Error;
use crate::checkpoint::formats::torch;
use crate::checkpoint::read::read_text;
use crate::checkpoint::tensors::Tensors;
use crate::checkpoint::validate::{self, Contents};
use crate::system::files;

pub(super) const CONFIG: &str = "model_config.yaml";
const OLD_CONFIG: &str = "lit_config.json";

/// The files that describe the model, in order of preference.
pub const CONFIGS: [&str; 2] = [CONFIG, OLD_CONFIG];

/// File name of the weights.
pub const WEIGHTS: &str = "lit_model.pth";

/// Suffixes of the fused tensor's name: ordered by groups of query heads, and not.
const GROUPED: &str = ".attn.attn.weight";
const FUSED: &str = ".attn.qkv.weight";

/// Reads the description and the weights of a folder.
///
/// # Errors
/// A file is missing or breaks a rule.
pub(in crate::checkpoint) fn read(folder: &Path) -> Result<Contents, Error> {
    let (path, old_path) = (folder.join(CONFIG), folder.join(OLD_CONFIG));
    let exists = |path: &Path| files::exists(path).map_err(Error::read(path));
    let mut config = match !exists(&path)? && exists(&old_path)? {
        true => config::from_lit_json(&read_text(&old_path)?, &old_path)?,
        false => config::from_lit_yaml(&read_text(&path)?, &path)?,
    };
    let file = folder.join(WEIGHTS);
    let mut tensors = Tensors::new(folder);
    torch::read(&file, &mut tensors)?;
    let grouped: Vec<bool> = (0..config.layers)
        .map(|layer| tensors.contains(&format!("transformer.h.{layer}{GROUPED}")))
        .collect();
    let ours = |name: &str| match name.strip_suffix(GROUPED) {
        Some(prefix) => names::TENSORS.ours(&format!("{prefix}{FUSED}")),
        None => names::TENSORS.ours(name),
    };
    let validate::Assembled { mut weights, warnings } =
        validate::assemble(&mut config, tensors.renamed(ours)?.named_by(&names::TENSORS))?;
    for (layer, _) in weights.layers.iter_mut().zip(grouped).filter(|(_, grouped)| *grouped) {
        let broken = || Error::malformed(&file, "its matrices are not those of its config");
        layer.qkv = ungrouped(&layer.qkv, config.heads()).ok_or_else(broken)?;
    }
    Ok(Contents { config, weights, files: vec![file], warnings })
}
