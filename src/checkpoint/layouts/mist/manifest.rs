//! Reads `mist.json`, the description of a conversion.
//!
//! `mist.safetensors` beside it holds the weights under Hugging Face's names, with queries, keys and values fused
//! (`self_attn.qkv_proj`), gate and up fused (`mlp.gate_up_proj`) and experts stacked (`mlp.experts.…`). Matrices whose
//! parts differ in scheme are not fused. Tensors of blocks have type U8, and their last dimension counts bytes. The
//! JSON holds their schemes and the order of their rows: [`Layout::Panels`] interleaves 16 rows of each matrix (of each
//! expert) for the products of [`packed`](crate::kernels::packed). The tokenizer's files are in the same folder.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::provenance::Provenance;
use crate::arch::{Config, FieldNames};
use crate::checkpoint::error::Error;
use crate::checkpoint::read::{is_plain_file_name, read_text};
use crate::json;
use crate::quant::{Layout, Scheme};
use crate::system::quote::quoted;

/// The names of a config's fields in `mist.json`.
const FIELDS: FieldNames = FieldNames {
    vocabulary_size: "vocabulary_size",
    hidden_size: "hidden_size",
    intermediate_size: "intermediate_size",
    layers: "layers",
    query_heads: "query_heads",
    key_value_heads: "key_value_heads",
    head_size: "head_size",
    context_length: "context_length",
    window: "window",
    experts: "experts.all",
    active_experts: "experts.active",
    norm_epsilon: "norm_epsilon",
    theta: "rope.theta",
    factor: "rope.scaling.factor",
    low_frequency_factor: "low_frequency_factor",
    original_context: "original_context",
};

/// File name of the description.
pub const FILE: &str = "mist.json";

/// File name of the weights.
pub const WEIGHTS: &str = "mist.safetensors";

/// The version that this program writes, and the newest that it reads. Version 0, the only other one, stores rows one
/// after another.
pub const VERSION: u32 = 1;

/// The contents of `mist.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the format.
    pub version: u32,
    /// Order of the rows of blocks in the file of weights.
    pub layout: Layout,
    /// The description of the model.
    pub config: Config,
    /// Names of the safetensors files.
    pub weights: Vec<String>,
    /// The scheme of each tensor that is stored in blocks.
    pub schemes: BTreeMap<String, Scheme>,
    /// The files that the conversion was made from, and how types were changed.
    #[serde(default, rename = "origin")]
    pub provenance: Provenance,
}

impl Manifest {
    /// Reads and checks `mist.json` of a folder.
    ///
    /// # Errors
    /// The file has a newer version, is not such a description, or describes an impossible model.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let path = folder.join(FILE);
        let text = read_text(&path)?;
        let malformed = |e: json::Error| {
            Error::config(&path, format!("is not a description of a converted checkpoint: {e}"))
        };
        let Version { version } = json::skimmed(text.as_bytes()).map_err(malformed)?;
        if version > VERSION {
            let what = format!("version {version} of the mist format (this program reads up to {VERSION})");
            return Err(Error::unsupported(&path, what));
        }
        let manifest: Self = json::typed(text.as_bytes(), json::SETTINGS).map_err(malformed)?;
        if let Some(name) = manifest.weights.iter().find(|name| !is_plain_file_name(name)) {
            return Err(Error::config(&path, format!("{} is not a plain file name", quoted(name))));
        }
        manifest.config.check(&FIELDS).map_err(Error::impossible(&path))?;
        Ok(manifest)
    }
}
