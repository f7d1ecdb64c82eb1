//! Finds a model on this machine by its name.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::quantize::Quantize;
use crate::checkpoint::open::Checkpoint;
use crate::hub::{RepoId, catalogue};
use crate::quant::Scheme;
use crate::quant::quantize::names;
use crate::store::{Found, ModelName, NONE, Place, Store, ggufs, is_gguf};
use crate::system::environment::{self, HF_HUB_OFFLINE};
use crate::system::files;

/// A model on this machine, with the weights that its name selects.
#[derive(Clone, Debug)]
pub struct Located {
    /// The name as typed, without its scheme.
    pub name: String,
    /// The folder or file of the model.
    pub path: PathBuf,
    /// The weights that the name selects; `None` if it selects none.
    pub quantize: Option<Quantize>,
    /// The folder for conversions if the model's folder is not writable.
    pub elsewhere: Option<PathBuf>,
    /// Whether the model's folder must not be written to.
    pub is_read_only: bool,
}

/// The parts of a model that a caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The whole model.
    Weights,
    /// Only the tokenizer, which a folder without weights may have.
    Tokenizer,
}

/// The result of a search for a model.
#[derive(Debug)]
pub enum Search {
    /// A model on this machine.
    Here(Located),
    /// A repository that is not on this machine.
    Missing(Missing),
}

/// A repository that is not on this machine, or lacks the needed parts there.
#[derive(Clone, Debug)]
pub struct Missing {
    /// The name that was searched for.
    pub name: ModelName,
    /// The repository.
    pub repo: RepoId,
    /// The needed parts.
    pub wanted: Wanted,
}

/// Finds the model that `typed` names: a path, `ORG/NAME`, `ORG/NAME:SCHEME`, or a URL of the hub.
///
/// Searches under `./checkpoints`, then in `MIST_HOME`, then in the hub's own cache.
///
/// # Errors
/// The name is not a path, a repository or a checkpoint ([`Error::Unknown`]); its scheme is unknown
/// ([`Error::NoScheme`]); the model has another revision ([`Error::OtherRevision`]) or, in the hub's cache, several
/// revisions.
pub fn find(store: &Store, typed: &Path, wanted: Wanted) -> Result<Search, Error> {
    let name = ModelName::parse(typed.as_os_str());
    // If the check fails, opening the path reports the error.
    let exists = files::exists(typed).unwrap_or(true);
    // A folder may have the name of a repository by chance. Without files of a checkpoint it is the last resort.
    let is_meant = exists && (name.repo.is_none() || !typed.is_dir() || holds_something(typed));
    if is_meant {
        return Ok(Search::Here(Located::at(store, typed)));
    }
    match (named(store, &name, wanted)?, &name.repo) {
        (Some(located), _) => Ok(Search::Here(located)),
        (None, Some(repo)) if !exists => {
            let repo = repo.clone();
            Ok(Search::Missing(Missing { name, repo, wanted }))
        }
        // The conversion of a deleted GGUF file may still exist.
        _ if exists || is_gguf(typed) => Ok(Search::Here(Located::at(store, typed))),
        _ => Err(unknown(store, typed)),
    }
}

/// Returns the path with a scheme, or the checkpoint of the store, that `name` stands for.
fn named(store: &Store, name: &ModelName, wanted: Wanted) -> Result<Option<Located>, Error> {
    let is_here = name.variant.is_some() && (name.path.is_file() || holds_something(&name.path));
    let found = if is_here { Some(here(&name.path)) } else { store.find(name)? };
    found.map_or(Ok(None), |found| choose(store, name, found, wanted))
}

/// Returns the only checkpoint on this machine.
///
/// # Errors
/// There is none ([`Error::NoCheckpoints`]), or more than one ([`Error::Several`]).
pub fn only(store: &Store) -> Result<Located, Error> {
    let mut all = different(store.all());
    match all.len() {
        0 => Err(Error::NoCheckpoints { offline: is_offline() }),
        1 => Ok(Located::found(store, all.remove(0))),
        _ => Err(several(&all)),
    }
}

/// Returns the error for several checkpoints without a name that chooses one.
pub fn several(all: &[Found]) -> Error {
    Error::Several { names: all.iter().map(|found| found.name.clone()).collect() }
}

/// Removes checkpoints that have the same name as an earlier one, which takes precedence.
pub fn different(all: Vec<Found>) -> Vec<Found> {
    let mut different: Vec<Found> = Vec::new();
    for found in all {
        if different.iter().all(|before| before.name != found.name) {
            different.push(found);
        }
    }
    different
}

/// Returns the model of a saved conversation if it is still on this machine. `model` has `--` in place of a slash.
pub fn spoken_with(store: &Store, model: &str) -> Option<Located> {
    let name = ModelName::parse(model.replacen("--", "/", 1).as_ref());
    let found = store.find(&name).ok().flatten().filter(|found| store.holds_weights(found))?;
    Some(Located::found(store, found))
}

/// Returns the folder for downloads.
///
/// # Errors
/// The user has neither a home nor a folder `checkpoints` ([`Error::NoHome`]).
pub fn downloads(store: &Store) -> Result<PathBuf, Error> {
    store.downloads().ok_or(Error::NoHome)
}

/// Returns whether downloads are disabled by `HF_HUB_OFFLINE`.
pub fn is_offline() -> bool {
    environment::is_true(HF_HUB_OFFLINE)
}

impl Missing {
    /// Returns the name as `ORG/NAME`, with the variant if there is one.
    pub fn asked(&self) -> String {
        self.name.variant.as_ref().map_or(self.repo.to_string(), |variant| format!("{}:{variant}", self.repo))
    }

    /// Checks that the repository may be downloaded.
    ///
    /// # Errors
    /// A checkpoint on this machine has the same name with different capitalization ([`Error::OtherLetters`]);
    /// downloads are disabled ([`Error::Offline`]).
    pub fn check(&self, store: &Store) -> Result<(), Error> {
        let (asked, typed) = (self.asked(), self.repo.to_string());
        // Names of the hub are case-insensitive; names of folders are not on every system.
        let in_other_letters = |name: &String| *name != typed && name.eq_ignore_ascii_case(&typed);
        match similar(store, &typed).filter(in_other_letters) {
            Some(here) => Err(Error::OtherLetters { asked, here }),
            None if is_offline() => Err(Error::Offline { asked }),
            None => Ok(()),
        }
    }

    /// Returns the model after its download.
    ///
    /// # Errors
    /// The model is not found ([`Error::Vanished`]); the errors of [`find`].
    pub fn fetched(&self, store: &Store) -> Result<Located, Error> {
        let found = named(store, &self.name, self.wanted)?;
        found.ok_or_else(|| Error::Vanished { asked: self.name.path.display().to_string() })
    }
}

/// Returns a path as a checkpoint that belongs to no folder of the store.
fn here(path: &Path) -> Found {
    let name = path.display().to_string();
    Found { name, path: path.into(), place: Place::Checkpoints, repo: None, revision: None }
}

/// Returns whether a folder has any file of a checkpoint.
fn holds_something(folder: &Path) -> bool {
    Checkpoint::is_at(folder) || !ggufs(folder).is_empty() || folder.join("config.json").exists()
}

/// Applies the file or variant of a name to the checkpoint that was found. Returns `None` if the file is missing and may
/// be downloaded.
fn choose(store: &Store, name: &ModelName, found: Found, wanted: Wanted) -> Result<Option<Located>, Error> {
    // A snapshot in the hub's cache without weights cannot be completed there.
    let is_cached = found.place == Place::HubCache;
    if is_cached && wanted == Wanted::Weights && !store.holds_weights(&found) {
        return Ok(None);
    }
    check_revision(name, &found)?;
    let located = Located::found(store, found.clone());
    if let Some(file) = &name.file {
        let path = found.path.join(file.as_str());
        let name = format!("{}/{file}", found.name);
        return Ok(path.exists().then_some(Located { name, path, ..located }));
    }
    let Some(variant) = &name.variant else { return Ok(Some(located)) };
    if variant.eq_ignore_ascii_case(NONE) {
        return Ok(Some(Located { quantize: Some(Quantize::None), ..located }));
    }
    if let [file, ..] = found.variants(variant).as_slice() {
        let name = format!("{}:{variant}", found.name);
        return Ok(Some(Located { name, path: file.clone(), ..located }));
    }
    let files = ggufs(&found.path);
    let is_of_files = !files.is_empty() && !found.path.join("config.json").exists();
    match names::named(variant) {
        // A lower-case name without a mix, such as `q4_k`, is a scheme. Any other name is that of a missing file.
        _ if is_of_files && found.repo.is_some() && names::own(variant).is_none() => Ok(None),
        Some(scheme) => Ok(Some(Located { quantize: Some(Quantize::To(scheme)), ..located })),
        None => Err(Error::NoScheme { name: found.name, variant: variant.clone() }),
    }
}

/// Checks that the checkpoint has the revision that a URL names.
fn check_revision(name: &ModelName, found: &Found) -> Result<(), Error> {
    let Some(revision) = name.revision.as_ref().map(ToString::to_string) else { return Ok(()) };
    match revision == "main" || found.revision.as_ref() == Some(&revision) {
        true => Ok(()),
        false => Err(Error::OtherRevision { name: found.name.clone(), revision }),
    }
}

/// Returns the checkpoint on this machine that `text` probably means: the same name with different capitalization, or
/// without its organisation, or the only name that contains `text`.
fn similar(store: &Store, text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let names: Vec<String> = different(store.all()).into_iter().map(|found| found.name).collect();
    let same = |name: &&String| {
        let lower = name.to_ascii_lowercase();
        lower == text || lower.rsplit('/').next() == Some(&text)
    };
    if let Some(name) = names.iter().find(same) {
        return Some(name.clone());
    }
    let holds = |name: &&String| text.len() >= 4 && name.to_ascii_lowercase().contains(&text);
    let mut holding = names.iter().filter(holds);
    holding.next().filter(|_| holding.next().is_none()).cloned()
}

/// Returns the error for a name that is neither on this machine nor a repository's.
fn unknown(store: &Store, typed: &Path) -> Error {
    let typed = typed.display().to_string();
    let listed = || catalogue::nearest(&typed).or_else(|| catalogue::called(&typed));
    let hint = match (similar(store, &typed), listed()) {
        _ if typed.contains(char::is_whitespace) => {
            "if this is a prompt, it is not part of the name".to_string()
        }
        (Some(name), _) => format!("did you mean {name}?"),
        (None, Some(name)) => format!("did you mean {name}? `mist list` shows what is on this machine"),
        (None, None) => {
            "`mist list` shows what is on this machine, `mist download` what can be fetched".into()
        }
    };
    Error::Unknown { typed, hint }
}

impl Located {
    /// Returns the scheme that the name selects.
    pub fn scheme(&self) -> Option<Scheme> {
        self.quantize.and_then(Quantize::scheme)
    }

    /// Returns the model at a path.
    fn at(store: &Store, path: &Path) -> Self {
        Self::found(store, here(path))
    }

    /// Returns a checkpoint as a model. A checkpoint in the hub's own cache is read-only, regardless of the path by
    /// which it was found.
    pub fn found(store: &Store, found: Found) -> Self {
        let found = store.resolved(found);
        Self {
            elsewhere: store.conversions(&found),
            is_read_only: found.place == Place::HubCache,
            name: found.name,
            path: found.path,
            quantize: None,
        }
    }
}
