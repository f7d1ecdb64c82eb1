//! Which layout a folder or file is, and its opening: config and weights, checked and mapped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::config::hf;
use super::gguf::{self, Gguf};
use super::read::{is_plain_file_name, read_text};
use super::tensors::Tensors;
use super::{Config, Error, Weights, config, gate, manifest, safetensors, torch};

/// A checkpoint, opened: everything about it was checked, nothing of its weights was read.
#[derive(Debug)]
pub struct Checkpoint {
    /// The description of the model.
    pub config: Config,
    /// The weights, mapped.
    pub weights: Weights,
    /// The layout it came in.
    pub format: Format,
    /// The folder it lies in.
    pub folder: PathBuf,
    /// The files that hold the weights.
    pub files: Vec<PathBuf>,
    /// The GGUF file, where it is one: it holds the tokenizer as well.
    pub gguf: Option<Gguf>,
}

/// The layouts that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The converted form, ready to run.
    Mist,
    /// A Hugging Face folder.
    HuggingFace,
    /// A GGUF file.
    Gguf,
}

impl Format {
    /// What `mist inspect` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Mist => "mist",
            Format::HuggingFace => "hf",
            Format::Gguf => "gguf",
        }
    }
}

impl Checkpoint {
    /// Opens the checkpoint at `path`: a folder (converted, Hugging Face, or with one GGUF file) or a GGUF file.
    /// A folder's converted form is preferred to its originals.
    ///
    /// # Errors
    /// There is none, or it breaks a rule of its layout.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let checkpoint = match layout(path)? {
            Layout::Mist(folder) => open_mist(folder),
            Layout::HuggingFace(folder) => open_folder(folder),
            Layout::Gguf(file) => open_gguf(file),
        }?;
        Ok(checkpoint)
    }

    /// Opens the originals, though there may be a converted form beside them.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open_original(path: &Path) -> Result<Self, Error> {
        match original(path)? {
            Some(Layout::Gguf(file)) => open_gguf(file),
            Some(_) => open_folder(path.into()),
            None => Self::open(path),
        }
    }
}

/// Where a checkpoint's tokenizer is.
#[derive(Debug)]
pub enum Tokenizing {
    /// In the folder's files.
    Folder(PathBuf),
    /// In the metadata of a GGUF file.
    Gguf(Box<Gguf>),
}

impl Tokenizing {
    /// The tokenizer's place for the checkpoint at `path`, which need not have weights.
    ///
    /// # Errors
    /// There is nothing, or a GGUF file that breaks a rule.
    pub fn find(path: &Path) -> Result<Self, Error> {
        if path.join("tokenizer.json").is_file() {
            return Ok(Tokenizing::Folder(path.into()));
        }
        match layout(path)? {
            Layout::Gguf(file) => Ok(Tokenizing::Gguf(Box::new(Gguf::open(&file)?))),
            Layout::Mist(folder) | Layout::HuggingFace(folder) => Ok(Tokenizing::Folder(folder)),
        }
    }
}

enum Layout {
    Mist(PathBuf),
    HuggingFace(PathBuf),
    Gguf(PathBuf),
}

fn layout(path: &Path) -> Result<Layout, Error> {
    if path.join(manifest::FILE).is_file() {
        return Ok(Layout::Mist(path.into()));
    }
    original(path)?.ok_or_else(|| Error::NoCheckpoint(path.into()))
}

/// The layout of what was downloaded, if anything was.
fn original(path: &Path) -> Result<Option<Layout>, Error> {
    let metadata = fs::metadata(path).map_err(Error::read(path))?;
    if metadata.is_file() {
        return Ok(Some(Layout::Gguf(path.into())));
    }
    if path.join("config.json").is_file() {
        return Ok(Some(Layout::HuggingFace(path.into())));
    }
    let unsupported = [
        ("params.json", "Mistral's own layout"),
        ("lit_model.pth", "the litgpt layout"),
        ("pytorch_model.bin", "a checkpoint of pickles without config.json"),
    ];
    if let Some((_, what)) = unsupported.iter().find(|(name, _)| path.join(name).is_file()) {
        return Err(Error::not_yet(path, *what));
    }
    let mut files: Vec<PathBuf> = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect())
        .map_err(Error::read(path))?;
    files.retain(|file| file.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf")));
    files.sort();
    match files.as_slice() {
        [] => Ok(None),
        [file] => Ok(Some(Layout::Gguf(file.clone()))),
        several => {
            if let Some(first) = gguf::first_of_one(several) {
                return Ok(Some(Layout::Gguf(first.clone())));
            }
            let name = |file: &PathBuf| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let names = several.iter().map(name).collect::<Vec<_>>().join(", ");
            Err(Error::SeveralGguf { folder: path.into(), names })
        }
    }
}

fn open_mist(folder: PathBuf) -> Result<Checkpoint, Error> {
    let manifest = manifest::Manifest::read(&folder)?;
    let mut tensors = Tensors::new(&folder);
    for file in &manifest.weights {
        safetensors::read(&folder.join(file), &mut tensors, |name| manifest.schemes.get(name).copied())?;
    }
    let files = tensors.files();
    let weights = gate::assemble(&manifest.config, tensors)?;
    Ok(Checkpoint { config: manifest.config, weights, format: Format::Mist, folder, files, gguf: None })
}

fn open_gguf(file: PathBuf) -> Result<Checkpoint, Error> {
    let gguf = Gguf::open(&file)?;
    let config = config::from_gguf(&gguf)?;
    let mut tensors = Tensors::new(&file);
    gguf.read_tensors(&mut tensors)?;
    let files = tensors.files();
    let weights = gate::assemble(&config, tensors)?;
    let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok(Checkpoint { config, weights, format: Format::Gguf, folder, files, gguf: Some(gguf) })
}

fn open_folder(folder: PathBuf) -> Result<Checkpoint, Error> {
    let path = folder.join("config.json");
    let mut config = config::from_json(&read_text(&path)?, &path)?;
    let generation = folder.join("generation_config.json");
    if generation.is_file() {
        config.end_ids.extend(end_ids(&generation)?);
    }
    config.end_ids.sort_unstable();
    config.end_ids.dedup();
    let tensors = read_weights(&folder)?;
    let files = tensors.files();
    let weights = gate::assemble(&config, tensors)?;
    Ok(Checkpoint { config, weights, format: Format::HuggingFace, folder, files, gguf: None })
}

/// The end ids of a `generation_config.json`; the rest of it is not ours.
fn end_ids(path: &Path) -> Result<Vec<u32>, Error> {
    let value: Value = serde_json::from_str(&read_text(path)?)
        .map_err(|e| Error::config(path, format!("is not valid JSON: {e}")))?;
    let ids = value.get("eos_token_id").map_or(Some(Vec::new()), hf::ids);
    ids.ok_or_else(|| Error::config(path, "eos_token_id must be a token id or a list of them"))
}

/// The index of a checkpoint in shards.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// How a folder's weights are stored.
#[derive(Clone, Copy)]
enum Storage {
    SafeTensors,
    Torch,
}

/// The files that hold a folder's weights, best first: stored how, whole, the index of shards.
const WEIGHTS: [(Storage, &str, &str); 2] = [
    (Storage::SafeTensors, "model.safetensors", "model.safetensors.index.json"),
    (Storage::Torch, "pytorch_model.bin", "pytorch_model.bin.index.json"),
];

/// The weights of a Hugging Face folder.
fn read_weights(folder: &Path) -> Result<Tensors, Error> {
    let mut tensors = Tensors::new(folder);
    for (storage, single, index) in WEIGHTS {
        let (single, index) = (folder.join(single), folder.join(index));
        let files = match (index.is_file(), single.is_file()) {
            (true, _) => shards(folder, &index)?,
            (false, true) => vec![single],
            (false, false) => continue,
        };
        for file in files {
            match storage {
                Storage::SafeTensors => safetensors::read(&file, &mut tensors, |_| None)?,
                Storage::Torch => torch::read(&file, &mut tensors)?,
            }
        }
        return Ok(tensors);
    }
    Err(Error::malformed(folder, "there is a config.json, but no model.safetensors beside it"))
}

/// The files that an index of shards names.
fn shards(folder: &Path, index_path: &Path) -> Result<Vec<PathBuf>, Error> {
    let index: Index = serde_json::from_str(&read_text(index_path)?)
        .map_err(|e| Error::malformed(index_path, format!("is no index of shards: {e}")))?;
    let mut names: Vec<&String> = index.weight_map.values().collect();
    names.sort();
    names.dedup();
    for name in &names {
        if !is_plain_file_name(name) {
            return Err(Error::malformed(index_path, format!("{name:?} is not a plain file name")));
        }
        if !folder.join(name).is_file() {
            return Err(Error::malformed(index_path, format!("names {name}, which is not there")));
        }
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}
