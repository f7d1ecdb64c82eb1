//! A model by its name: found on this machine, or known to be missing.

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

/// A model on this machine, and what its name asks for.
#[derive(Clone, Debug)]
pub struct Located {
    /// As it was named, less its scheme.
    pub name: String,
    /// Its folder or file.
    pub path: PathBuf,
    /// Which of its weights the name asks for.
    pub quantize: Option<Quantize>,
    /// Where its conversions are kept if it cannot be written to.
    pub elsewhere: Option<PathBuf>,
    /// It is not to be written to.
    pub is_read_only: bool,
}

/// What is wanted of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Weights,
    /// A folder without weights has a tokenizer too.
    Tokenizer,
}

/// What a name leads to.
#[derive(Debug)]
pub enum Search {
    /// A model on this machine.
    Here(Located),
    /// A repository that is not on this machine.
    Missing(Missing),
}

/// A repository that is not on this machine, or not as it is wanted.
#[derive(Clone, Debug)]
pub struct Missing {
    /// The name that leads to it.
    pub name: ModelName,
    /// The repository.
    pub repo: RepoId,
    /// What is wanted of it.
    pub wanted: Wanted,
}

/// Looks up the model that `typed` names: a path, `ORG/NAME` under `./checkpoints`, in `MIST_HOME` or in the hub's own cache,
/// `ORG/NAME:SCHEME`, or an address of the hub.
///
/// # Errors
/// [`Error::Unknown`], [`Error::NoScheme`], [`Error::OtherRevision`]; of several revisions in the hub's cache none is chosen.
pub fn find(store: &Store, typed: &Path, wanted: Wanted) -> Result<Search, Error> {
    let name = ModelName::parse(typed.as_os_str());
    // What cannot be opened is reported by whoever opens it.
    let exists = files::exists(typed).unwrap_or(true);
    // A folder that is called as a repository and holds none of it is not what is meant where there is another.
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
        // Of a GGUF file that was deleted there may be a conversion.
        _ if exists || is_gguf(typed) => Ok(Search::Here(Located::at(store, typed))),
        _ => Err(unknown(store, typed)),
    }
}

/// Something here with a scheme after its name, or a checkpoint of the store.
fn named(store: &Store, name: &ModelName, wanted: Wanted) -> Result<Option<Located>, Error> {
    let is_here = name.variant.is_some() && (name.path.is_file() || holds_something(&name.path));
    let found = if is_here { Some(here(&name.path)) } else { store.find(name)? };
    found.map_or(Ok(None), |found| choose(store, name, found, wanted))
}

/// The only checkpoint on this machine.
///
/// # Errors
/// [`Error::NoCheckpoints`], [`Error::Several`].
pub fn only(store: &Store) -> Result<Located, Error> {
    let mut all = different(store.all());
    match all.len() {
        0 => Err(Error::NoCheckpoints { offline: is_offline() }),
        1 => Ok(Located::found(store, all.remove(0))),
        _ => Err(several(&all)),
    }
}

/// The error of several checkpoints where none is named.
pub fn several(all: &[Found]) -> Error {
    Error::Several { names: all.iter().map(|found| found.name.clone()).collect() }
}

/// Checkpoints without those that lie behind another of their name.
pub fn different(all: Vec<Found>) -> Vec<Found> {
    let mut different: Vec<Found> = Vec::new();
    for found in all {
        if different.iter().all(|before| before.name != found.name) {
            different.push(found);
        }
    }
    different
}

/// The model of a saved conversation, whose name has `--` for its slash, if it is still here.
pub fn spoken_with(store: &Store, model: &str) -> Option<Located> {
    let name = ModelName::parse(model.replacen("--", "/", 1).as_ref());
    let found = store.find(&name).ok().flatten().filter(|found| store.holds_weights(found))?;
    Some(Located::found(store, found))
}

/// The folder that downloads go to.
///
/// # Errors
/// [`Error::NoHome`]: a user without a home and without a folder `checkpoints`.
pub fn downloads(store: &Store) -> Result<PathBuf, Error> {
    store.downloads().ok_or(Error::NoHome)
}

/// Whether nothing may be fetched.
pub fn is_offline() -> bool {
    environment::is_true(HF_HUB_OFFLINE)
}

impl Missing {
    /// As it was asked for: `ORG/NAME`, with its variant.
    pub fn asked(&self) -> String {
        self.name.variant.as_ref().map_or(self.repo.to_string(), |variant| format!("{}:{variant}", self.repo))
    }

    /// Whether it may be fetched.
    ///
    /// # Errors
    /// [`Error::OtherLetters`]: a checkpoint is here whose name differs in capitals only; [`Error::Offline`].
    pub fn check(&self, store: &Store) -> Result<(), Error> {
        let (asked, typed) = (self.asked(), self.repo.to_string());
        // The hub's names are one in whatever letters; a folder's are not on every system.
        let in_other_letters = |name: &String| *name != typed && name.eq_ignore_ascii_case(&typed);
        match similar(store, &typed).filter(in_other_letters) {
            Some(here) => Err(Error::OtherLetters { asked, here }),
            None if is_offline() => Err(Error::Offline { asked }),
            None => Ok(()),
        }
    }

    /// The model, once it was fetched.
    ///
    /// # Errors
    /// [`Error::Vanished`], and those of [`find`].
    pub fn fetched(&self, store: &Store) -> Result<Located, Error> {
        let found = named(store, &self.name, self.wanted)?;
        found.ok_or_else(|| Error::Vanished { asked: self.name.path.display().to_string() })
    }
}

/// What lies at a path, which is in none of the store's places.
fn here(path: &Path) -> Found {
    let name = path.display().to_string();
    Found { name, path: path.into(), place: Place::Checkpoints, repo: None, revision: None }
}

/// Whether a folder has a file that belongs to a checkpoint, whole or not.
fn holds_something(folder: &Path) -> bool {
    Checkpoint::is_at(folder) || !ggufs(folder).is_empty() || folder.join("config.json").exists()
}

/// What a name asks for of the checkpoint that it leads to: a file of it, or a scheme. `None` if that is not there and may
/// be fetched.
fn choose(store: &Store, name: &ModelName, found: Found, wanted: Wanted) -> Result<Option<Located>, Error> {
    // What lies in the cache without weights cannot be completed there.
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
        // In small letters and without a mix it is a scheme; else the name of a file that is not here.
        _ if is_of_files && found.repo.is_some() && names::own(variant).is_none() => Ok(None),
        Some(scheme) => Ok(Some(Located { quantize: Some(Quantize::To(scheme)), ..located })),
        None => Err(Error::NoScheme { name: found.name, variant: variant.clone() }),
    }
}

/// That what is here is of the revision that an address names.
fn check_revision(name: &ModelName, found: &Found) -> Result<(), Error> {
    let Some(revision) = name.revision.as_ref().map(ToString::to_string) else { return Ok(()) };
    match revision == "main" || found.revision.as_ref() == Some(&revision) {
        true => Ok(()),
        false => Err(Error::OtherRevision { name: found.name.clone(), revision }),
    }
}

/// The checkpoint on this machine that a name was meant for: the same in other letters, without its organisation, or the
/// only one with the text in its name.
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

/// The error of a name that is nothing here and no repository's.
fn unknown(store: &Store, typed: &Path) -> Error {
    let typed = typed.display().to_string();
    let listed = || catalogue::nearest(&typed).or_else(|| catalogue::called(&typed));
    let hint = match (similar(store, &typed), listed()) {
        _ if typed.contains(char::is_whitespace) => "a prompt is given with -p TEXT".to_string(),
        (Some(name), _) => format!("did you mean {name}?"),
        (None, Some(name)) => format!("did you mean {name}? `mist list` shows what is on this machine"),
        (None, None) => {
            "`mist list` shows what is on this machine, `mist download` what can be fetched".into()
        }
    };
    Error::Unknown { typed, hint }
}

impl Located {
    /// The scheme that its name asks for.
    pub fn scheme(&self) -> Option<Scheme> {
        self.quantize.and_then(Quantize::scheme)
    }

    /// What lies at a path.
    fn at(store: &Store, path: &Path) -> Self {
        Self::found(store, here(path))
    }

    /// A checkpoint that was found. One that lies in the hub's own cache is only read, however it was named.
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
