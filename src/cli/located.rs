//! The model that a command is called with: found on this machine, or fetched.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, ValueHint};
use mist::hub::catalogue;
use mist::quant::Scheme;
use mist::quant::quantize::names;
use mist::store::{Found, ModelName, NONE, Place, Store, ggufs, is_gguf};
use mist::system::environment::{self, HF_HUB_OFFLINE};
use mist::system::files;
use mist::terminal::Printer;

use super::exit::{Hint, Usage};
use super::values::Quantize;
use super::{missing, quantized};

/// Which model.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model")]
pub struct CheckpointArgs {
    /// The model: ORG/NAME, a folder, a .gguf file, or an address of the hub [default: the only one there is].
    ///
    /// ORG/NAME is looked for under ./checkpoints, in MIST_HOME and in the hub's own cache. ORG/NAME:q4_k is quantized to
    /// that scheme, as --quantize does; where a repository has GGUF files, ORG/NAME:Q4_K_M is the one of that name.
    // A folder as well: bash goes on into a folder, and takes spaces, for the hint of a file and for no other.
    #[arg(
        value_name = "MODEL",
        value_hint = ValueHint::FilePath,
        conflicts_with = "checkpoint_dir",
        help_heading = None::<&str>
    )]
    model: Option<PathBuf>,
    /// The model, as an option.
    #[arg(short = 'm', long, value_name = "MODEL", value_hint = ValueHint::FilePath)]
    checkpoint_dir: Option<PathBuf>,
    /// Fetch what is missing without a question.
    #[arg(short, long)]
    yes: bool,
}

/// A model on this machine, and what was asked of it.
#[derive(Clone, Debug)]
pub struct Located {
    /// As it was named, less its scheme.
    pub name: String,
    /// Its folder or file.
    pub path: PathBuf,
    /// What its name asks for.
    pub quantize: Option<Quantize>,
    /// Where its conversions are kept if it cannot be written to.
    pub elsewhere: Option<PathBuf>,
    /// It is not to be written to.
    pub is_read_only: bool,
}

impl CheckpointArgs {
    /// What was typed, if anything was.
    pub fn typed(&self) -> Option<&Path> {
        self.model.as_deref().or(self.checkpoint_dir.as_deref())
    }

    /// The model that is named, fetched if the user agrees, or the only one there is.
    pub fn locate(&self, wanted: Wanted, printer: &Printer) -> anyhow::Result<Located> {
        let store = Store::from_environment();
        match self.typed() {
            Some(typed) => named(&store, typed, wanted, self.yes, printer),
            None => only(&store),
        }
    }
}

/// What is wanted of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Weights,
    /// A folder without weights has a tokenizer too.
    Tokenizer,
}

/// The model that `typed` names.
fn named(
    store: &Store,
    typed: &Path,
    wanted: Wanted,
    yes: bool,
    printer: &Printer,
) -> anyhow::Result<Located> {
    let name = ModelName::parse(typed.as_os_str());
    // What cannot be opened is reported by whoever opens it.
    let exists = files::exists(typed).unwrap_or(true);
    // A folder that is called as a repository and holds none of it is not what is meant where there is another.
    let is_meant = exists && (name.repo.is_none() || !typed.is_dir() || holds_something(typed));
    if is_meant {
        return Ok(Located::at(store, typed));
    }
    let is_here = name.variant.is_some() && (name.path.is_file() || holds_something(&name.path));
    let find = || -> anyhow::Result<Option<Located>> {
        // Something here, with a scheme after its name, or a checkpoint of the store.
        let found = if is_here { Some(here(&name.path)) } else { store.find(&name)? };
        found.map_or(Ok(None), |found| choose(store, &name, found, wanted))
    };
    match (find()?, &name.repo) {
        (Some(located), _) => Ok(located),
        (None, Some(repo)) if !exists => {
            missing::fetch(store, &name, repo, wanted, yes, printer)?;
            find()?.ok_or_else(|| anyhow!("{} was fetched and is not found", name.path.display()))
        }
        // Of a GGUF file that was deleted there may be a conversion.
        _ if exists || is_gguf(typed) => Ok(Located::at(store, typed)),
        _ => Err(unknown(store, typed)),
    }
}

/// What lies at a path, which is in none of the store's places.
fn here(path: &Path) -> Found {
    let name = path.display().to_string();
    Found { name, path: path.into(), place: Place::Checkpoints, repo: None, revision: None }
}

/// Whether a folder has a file that belongs to a checkpoint, whole or not.
fn holds_something(folder: &Path) -> bool {
    mist::checkpoint::open::Checkpoint::is_at(folder)
        || !ggufs(folder).is_empty()
        || folder.join("config.json").exists()
}

/// What a name asks for of the checkpoint that it leads to: a file of it, or a scheme. `None` if that is not there and may
/// be fetched.
fn choose(store: &Store, name: &ModelName, found: Found, wanted: Wanted) -> anyhow::Result<Option<Located>> {
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
        None => Err(no_scheme(&found.name, variant)),
    }
}

/// The error of a variant that is neither a scheme nor a file.
pub fn no_scheme(name: &str, variant: &str) -> anyhow::Error {
    let error = format!("there is no scheme {variant}, and {name} has no GGUF file of that name");
    Usage::with_hint(error, "`mist convert --help` lists the schemes")
}

/// That what is here is of the revision that an address names.
fn check_revision(name: &ModelName, found: &Found) -> anyhow::Result<()> {
    let Some(revision) = name.revision.as_ref().map(ToString::to_string) else { return Ok(()) };
    if revision == "main" || found.revision.as_ref() == Some(&revision) {
        return Ok(());
    }
    let error = format!("{} on this machine is not known to be {revision}", found.name);
    let hint =
        format!("`mist download {} --revision {revision}` fetches it; then name it without", found.name);
    Err(Usage::with_hint(error, hint))
}

/// The only checkpoint on this machine.
fn only(store: &Store) -> anyhow::Result<Located> {
    let mut all = different(store.all());
    match all.len() {
        0 if is_offline() => Err(Usage::with_hint(
            "there is no checkpoint on this machine, and HF_HUB_OFFLINE is set: nothing is fetched",
            "name the folder of one: -m FOLDER",
        )),
        0 => Err(Usage::with_hint(
            "there is no checkpoint on this machine",
            "`mist download --starter` fetches a small one (98 MB), `mist download` lists others",
        )),
        1 => Ok(Located::found(store, all.remove(0))),
        _ => Err(several(&all)),
    }
}

/// The error of several checkpoints where none is named.
pub fn several(all: &[Found]) -> anyhow::Error {
    let names: Vec<&str> = all.iter().map(|found| found.name.as_str()).collect();
    let error = format!("there are {} checkpoints on this machine: {}", all.len(), names.join(", "));
    Usage::with_hint(error, format!("name one: -m {}", names[0]))
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

/// The checkpoint on this machine that a name was meant for: the same in other letters, without its organisation, or the
/// only one with the text in its name.
pub fn similar(store: &Store, text: &str) -> Option<String> {
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
fn unknown(store: &Store, typed: &Path) -> anyhow::Error {
    let text = typed.display().to_string();
    let listed = || catalogue::nearest(&text).or_else(|| catalogue::called(&text));
    let hint = match (similar(store, &text), listed()) {
        _ if text.contains(char::is_whitespace) => "a prompt is given with -p TEXT".to_string(),
        (Some(name), _) => format!("did you mean {name}?"),
        (None, Some(name)) => format!("did you mean {name}? `mist list` shows what is on this machine"),
        (None, None) => {
            "`mist list` shows what is on this machine, `mist download` what can be fetched".into()
        }
    };
    anyhow!("there is no file, folder or checkpoint {}", mist::system::quote::quoted(&text))
        .context(Hint(hint))
}

/// Whether nothing may be fetched.
pub fn is_offline() -> bool {
    environment::is_true(HF_HUB_OFFLINE)
}

impl Located {
    /// The scheme that its name asks for.
    pub fn scheme(&self) -> Option<Scheme> {
        match self.quantize {
            Some(Quantize::To(scheme)) => Some(scheme),
            Some(Quantize::None) | None => None,
        }
    }

    /// The path that is opened: of a name with a scheme that of the conversion.
    ///
    /// # Errors
    /// There is no such conversion.
    pub fn opened_as(&self) -> anyhow::Result<PathBuf> {
        let Some(scheme) = self.scheme() else { return Ok(self.path.clone()) };
        quantized::existing(self, scheme)?.ok_or_else(|| {
            let error = anyhow!("{} has no conversion to {scheme}", self.name);
            error.context(Hint(format!("`mist convert {}:{scheme}` makes it", self.name)))
        })
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
