//! Finds the layout of a folder or file and opens it: checks its config and maps its weights.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::formats::gguf::{self, Gguf};
use super::formats::safetensors;
use super::layouts::litgpt::read as litgpt;
use super::layouts::mist::manifest;
use super::layouts::mist::provenance::Provenance;
use super::layouts::mistral::read as mistral;
use super::layouts::{self, huggingface};
use super::shards::file_names;
use super::suggestions::Suggestions;
use super::tensors::Tensors;
use super::validate::{self, Contents};
use crate::arch::{Config, Weights};
use crate::system::files;

/// An opened checkpoint. All of it has been checked, but no weights have been read.
#[derive(Debug)]
pub struct Checkpoint {
    /// The description of the model.
    pub config: Config,
    /// The weights, memory-mapped.
    pub weights: Weights,
    /// The layout of the files.
    pub format: Format,
    /// The folder of the files.
    pub folder: PathBuf,
    /// The files that hold the weights, and the index of shards or the description of a conversion.
    pub files: Vec<PathBuf>,
    /// The GGUF file of a checkpoint in GGUF, which holds the tokenizer too.
    pub gguf: Option<Gguf>,
    /// The provenance of a conversion.
    pub provenance: Option<Provenance>,
    /// The publishers' suggested sampling settings.
    pub suggestions: Suggestions,
    /// How contradictions between the files were resolved, one sentence each.
    pub warnings: Vec<String>,
}

/// The layouts that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A conversion, ready to run.
    Mist,
    /// A Hugging Face folder.
    HuggingFace,
    /// A folder in Mistral's layout.
    Mistral,
    /// A litgpt folder.
    LitGpt,
    /// A GGUF file.
    Gguf,
}

impl Format {
    /// Returns the name that `mist inspect` prints.
    pub fn name(self) -> &'static str {
        match self {
            Format::Mist => "mist",
            Format::HuggingFace => "hf",
            Format::Mistral => "mistral",
            Format::LitGpt => "litgpt",
            Format::Gguf => "gguf",
        }
    }
}

/// Maximum size in bytes of a `config.json` that is read only to identify a folder's model.
const LARGEST_CONFIG: u64 = 1 << 20;

impl Checkpoint {
    /// Opens the checkpoint at `path`: a GGUF file, or a folder with a conversion, one GGUF file, or the layout of
    /// Hugging Face, Mistral or litgpt. Prefers a conversion to the originals beside it.
    ///
    /// # Errors
    /// `path` holds no checkpoint, or the checkpoint breaks a rule of its layout.
    pub fn open(path: &Path) -> Result<Self, Error> {
        open(find(path)?)
    }

    /// Returns whether a folder holds a conversion, or a description with its weights, by the names of its files.
    pub fn is_at(folder: &Path) -> bool {
        // An unreadable file counts as present; opening it reports the error.
        files::exists(&folder.join(manifest::FILE)).unwrap_or(true) || published(folder).is_some()
    }

    /// Returns whether a folder's `config.json` names an architecture other than Llama, Mistral and Mixtral.
    pub fn is_of_another_family(folder: &Path) -> bool {
        let config = files::read(&folder.join("config.json"), LARGEST_CONFIG);
        config.is_ok_and(|config| huggingface::config::is_of_another(&config))
    }

    /// Returns the layout that [`open`](Self::open) would choose for `path`, by the names of its files.
    pub fn layout(path: &Path) -> Option<Format> {
        find(path).ok().map(|(format, _)| format)
    }

    /// Returns whether `path` holds a complete checkpoint that is not a conversion.
    pub fn has_original(path: &Path) -> bool {
        complete(path).is_ok_and(|found| found.is_some())
    }

    /// Opens the originals at `path` even if there is a conversion beside them.
    ///
    /// # Errors
    /// `path` holds no checkpoint, or the checkpoint breaks a rule of its layout.
    pub fn open_original(path: &Path) -> Result<Self, Error> {
        match complete(path)? {
            // The GGUF file may have been made from the conversion, so the conversion is nearer to the originals.
            Some((Format::Gguf, file)) if path.is_dir() && !is_source(path, &file) => open_mist(path.into()),
            Some(found) => open(found),
            // The originals are deleted or incomplete. `open` reports that if there is no conversion either.
            None => Self::open(path),
        }
    }
}

/// Where a checkpoint's tokenizer is stored.
#[derive(Debug)]
pub enum Tokenizing {
    /// The files of this folder, or this file.
    Folder(PathBuf),
    /// The metadata of a GGUF file.
    Gguf(Box<Gguf>),
}

impl Tokenizing {
    /// Finds the tokenizer of the checkpoint at `path`, which need not have weights.
    ///
    /// # Errors
    /// `path` holds no checkpoint, or a GGUF file breaks a rule.
    pub fn find(path: &Path) -> Result<Self, Error> {
        if crate::text::is_at(path) {
            return Ok(Tokenizing::Folder(path.into()));
        }
        match find(path)? {
            (Format::Gguf, file) => Ok(Tokenizing::Gguf(Box::new(Gguf::open(&file)?))),
            (_, folder) => Ok(Tokenizing::Folder(folder)),
        }
    }
}

/// A layout and the folder or file in it.
type Found = (Format, PathBuf);

fn find(path: &Path) -> Result<Found, Error> {
    let converted = path.join(manifest::FILE);
    if files::exists(&converted).map_err(Error::read(&converted))? {
        return Ok((Format::Mist, path.into()));
    }
    original(path)?.ok_or_else(|| Error::NoCheckpoint(path.into()))
}

fn open((format, path): Found) -> Result<Checkpoint, Error> {
    match format {
        Format::Mist => open_mist(path),
        Format::HuggingFace => open_folder(format, path, huggingface::read::read),
        Format::Mistral => open_folder(format, path, mistral::read),
        Format::LitGpt => open_folder(format, path, litgpt::read),
        Format::Gguf => open_gguf(path),
    }
}

/// A layout in which models are published as a folder.
struct Published {
    format: Format,
    /// Names of the files that may describe the model.
    configs: &'static [&'static str],
    /// Returns whether a file of this name holds weights.
    holds_weights: fn(&str) -> bool,
}

impl Published {
    fn has_config(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.configs.contains(&name.as_str()))
    }

    fn has_weights(&self, names: &[String]) -> bool {
        names.iter().any(|name| (self.holds_weights)(name))
    }
}

/// The layouts of folders, in order of preference.
const PUBLISHED: [Published; 3] = [
    Published {
        format: Format::HuggingFace,
        configs: &["config.json"],
        holds_weights: huggingface::read::holds_weights,
    },
    Published { format: Format::Mistral, configs: &[mistral::CONFIG], holds_weights: mistral::holds_weights },
    Published {
        format: Format::LitGpt,
        configs: &litgpt::CONFIGS,
        holds_weights: |name| name == litgpt::WEIGHTS,
    },
];

/// Returns the layout of the originals at `path`, complete or not.
fn original(path: &Path) -> Result<Option<Found>, Error> {
    if let Some(found) = complete(path)? {
        return Ok(Some(found));
    }
    // Either the config or the weights: opening the folder reports what is missing.
    let names = file_names(path)?;
    let incomplete = |layout: &&Published| layout.has_config(&names) || layout.has_weights(&names);
    Ok(PUBLISHED.iter().find(incomplete).map(|layout| (layout.format, path.to_path_buf())))
}

/// Returns the layout of a folder's originals, ignoring GGUF files. Requires both config and weights, since litgpt's
/// trainers leave the `config.json` of the base model beside their own weights.
fn published(folder: &Path) -> Option<Format> {
    let names = file_names(folder).unwrap_or_default();
    let both = |layout: &&Published| layout.has_config(&names) && layout.has_weights(&names);
    PUBLISHED.iter().find(both).map(|layout| layout.format)
}

/// Returns the layout that takes precedence over litgpt's in a folder, if there is one. Ignores conversions.
pub(super) fn opened_before_litgpt(folder: &Path) -> Option<Format> {
    published(folder).filter(|format| *format != Format::LitGpt)
}

/// Returns whether the folder's conversion was made from `file`. Also true if there is no conversion or it lists no
/// sources.
fn is_source(folder: &Path, file: &Path) -> bool {
    let Ok(manifest) = manifest::Manifest::read(folder) else { return true };
    let sources = manifest.provenance.sources;
    sources.is_empty() || sources.iter().any(|s| file.file_name().is_some_and(|name| name == s.file.as_str()))
}

/// Returns the layout of originals that have both a description and weights.
fn complete(path: &Path) -> Result<Option<Found>, Error> {
    let metadata = fs::metadata(path).map_err(Error::read(path))?;
    if !metadata.is_dir() {
        return Ok(Some((Format::Gguf, path.into())));
    }
    let names = file_names(path)?;
    if let Some(format) = published(path) {
        return Ok(Some((format, path.to_path_buf())));
    }
    Ok(only_gguf(path, &names)?.map(|file| (Format::Gguf, file)))
}

/// Returns a folder's only GGUF file, or the first part of its only checkpoint in several files.
fn only_gguf(folder: &Path, names: &[String]) -> Result<Option<PathBuf>, Error> {
    let is_gguf = |name: &&String| {
        let named = Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
        named && !folder.join(name).is_dir()
    };
    let mut files: Vec<PathBuf> = names.iter().filter(is_gguf).map(|name| folder.join(name)).collect();
    if files.iter().any(|file| file.exists()) {
        // Dangling links are ignored beside existing files.
        files.retain(|file| file.exists());
    }
    match files.as_slice() {
        [] => Ok(None),
        [file] => Ok(Some(file.clone())),
        several => match gguf::split::first_of_one(several) {
            Some(first) => Ok(Some(first.clone())),
            None => {
                let names = names.iter().filter(is_gguf).map(String::as_str).collect::<Vec<_>>().join(", ");
                Err(Error::SeveralGguf { folder: folder.into(), names })
            }
        },
    }
}

fn open_mist(folder: PathBuf) -> Result<Checkpoint, Error> {
    let manifest = manifest::Manifest::read(&folder)?;
    let mut tensors = Tensors::new(&folder);
    for file in &manifest.weights {
        let blocks_of = |name: &str| manifest.schemes.get(name).map(|scheme| (*scheme, manifest.layout));
        safetensors::read(&folder.join(file), &mut tensors, blocks_of)?;
    }
    // The description is one of the files of weights, so that it is deleted with them.
    let mut files = tensors.files();
    files.push(folder.join(manifest::FILE));
    let mut config = manifest.config;
    let validate::Assembled { weights, warnings } = validate::assemble(&mut config, tensors)?;
    let (own, _) = Suggestions::of_folder(&folder)?;
    let suggestions = match own.is_empty() {
        true => Suggestions::of_sources(&folder, &manifest.provenance.sources),
        false => own,
    };
    let (format, provenance) = (Format::Mist, Some(manifest.provenance));
    Ok(Checkpoint { config, weights, format, folder, files, gguf: None, provenance, suggestions, warnings })
}

fn open_gguf(file: PathBuf) -> Result<Checkpoint, Error> {
    let gguf = Gguf::open(&file)?;
    let mut config = layouts::gguf::from_gguf(&gguf)?;
    let tensors = layouts::gguf::read::tensors(&gguf, &file)?;
    let files = gguf.parts().to_vec();
    let validate::Assembled { weights, warnings } = validate::assemble(&mut config, tensors)?;
    let suggestions = Suggestions::of_gguf(&gguf);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.to_path_buf();
    let (format, gguf, provenance) = (Format::Gguf, Some(gguf), None);
    Ok(Checkpoint { config, weights, format, folder, files, gguf, provenance, suggestions, warnings })
}

/// Opens a folder with `read`, and adds the end ids of its `generation_config.json` to the config.
fn open_folder(
    format: Format,
    folder: PathBuf,
    read: impl FnOnce(&Path) -> Result<Contents, Error>,
) -> Result<Checkpoint, Error> {
    let Contents { mut config, weights, files, warnings } = read(&folder)?;
    let (suggestions, end_ids) = Suggestions::of_folder(&folder)?;
    config.end_ids.extend(end_ids);
    config.end_ids.sort_unstable();
    config.end_ids.dedup();
    let (gguf, provenance) = (None, None);
    Ok(Checkpoint { config, weights, format, folder, files, gguf, provenance, suggestions, warnings })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a folder with copies of these fixture files.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let source = fixtures.join(file);
            fs::copy(&source, folder.path().join(source.file_name().unwrap())).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_of_several_layouts_opens_as_the_best_that_is_whole() {
        const HF: [&str; 2] =
            ["models/mistral-head-dim/config.json", "models/mistral-head-dim/model.safetensors"];
        const MISTRAL: [&str; 2] =
            ["layouts/mistral/params.json", "layouts/mistral/consolidated.safetensors"];
        const LITGPT: [&str; 2] = ["layouts/litgpt/model_config.yaml", "layouts/litgpt/lit_model.pth"];
        const GGUF: &str = "gguf/mistral-window.gguf";
        let cases: [(&[&str], Format); 6] = [
            (&[HF[0], HF[1], MISTRAL[0], MISTRAL[1]], Format::HuggingFace),
            // A repository that was fetched in part.
            (&[HF[0], MISTRAL[0], MISTRAL[1]], Format::Mistral),
            // The files that litgpt's trainers leave.
            (&[HF[0], LITGPT[0], LITGPT[1]], Format::LitGpt),
            (&[MISTRAL[0], LITGPT[0], LITGPT[1]], Format::LitGpt),
            (&[HF[0], GGUF], Format::Gguf),
            (&[LITGPT[1], GGUF], Format::Gguf),
        ];
        for (files, format) in cases {
            let folder = folder(files);
            assert_eq!(Checkpoint::open(folder.path()).unwrap().format, format, "{files:?}");
            assert_eq!(Checkpoint::open_original(folder.path()).unwrap().format, format, "{files:?}");
        }
    }

    #[test]
    fn a_folder_without_a_whole_layout_says_what_is_missing() {
        for (file, part) in [
            ("models/mistral-head-dim/config.json", "no model.safetensors beside it"),
            ("models/mistral-head-dim/model.safetensors", "config.json does not exist"),
            ("layouts/mistral/params.json", "no consolidated.safetensors beside it"),
            ("layouts/mistral-experts/consolidated.01.pt", "params.json does not exist"),
            ("layouts/litgpt-old/lit_config.json", "lit_model.pth does not exist"),
            ("layouts/litgpt-old/lit_model.pth", "model_config.yaml does not exist"),
            ("layouts/litgpt-old/tokenizer.json", "holds no checkpoint"),
        ] {
            let error = Checkpoint::open(folder(&[file]).path()).unwrap_err().to_string();
            assert!(error.contains(part), "{file}: {error}");
        }
    }
}
