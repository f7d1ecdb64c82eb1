//! The model that a command is called with: found on this machine, or fetched.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, ValueHint};
use mist::environment::{self, HF_HUB_OFFLINE};
use mist::hub::catalogue;
use mist::kernels::Scheme;
use mist::store::{Found, ModelName, Place, Store, ggufs};
use mist::system::files;
use mist::terminal::Printer;

use super::exit::{Hint, Usage};
use super::values::{Quantize, scheme_named};
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
    pub fn locate(&self, printer: &Printer) -> anyhow::Result<Located> {
        let store = Store::from_environment();
        match self.typed() {
            Some(typed) => named(&store, typed, self.yes, printer),
            None => only(&store),
        }
    }
}

/// The model that `typed` names.
fn named(store: &Store, typed: &Path, yes: bool, printer: &Printer) -> anyhow::Result<Located> {
    let name = ModelName::parse(typed.as_os_str());
    // What cannot be opened is reported by whoever opens it.
    let exists = files::exists(typed).unwrap_or(true);
    // A folder that is called as a repository and holds none of it is not what is meant where there is another.
    let is_meant = exists && (name.repo.is_none() || !typed.is_dir() || holds_something(typed));
    if is_meant {
        return Ok(Located::at(store, typed));
    }
    let found = match name.variant.is_some() && holds_something(&name.path) {
        // A folder here, with a scheme after its name.
        true => Some(here(&name.path)),
        false => store.find(&name)?,
    };
    let chosen = found.map(|found| choose(store, &name, found)).transpose()?;
    match (chosen, &name.repo) {
        (Some(Some(located)), _) => Ok(located),
        (_, Some(repo)) if !exists => {
            missing::fetch(store, &name, repo, yes, printer)?;
            let found = store.find(&name)?;
            let chosen = found.map(|found| choose(store, &name, found)).transpose()?.flatten();
            chosen.ok_or_else(|| anyhow!("{} was fetched and is not found", name.path.display()))
        }
        // Of a GGUF file that was deleted there may be a conversion.
        _ if exists || typed.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf")) => {
            Ok(Located::at(store, typed))
        }
        _ => Err(unknown(typed)),
    }
}

/// What lies at a path, which is in none of the store's places.
fn here(path: &Path) -> Found {
    let name = path.display().to_string();
    Found { name, path: path.into(), place: Place::Checkpoints, repo: None, revision: None }
}

/// Whether a folder has a file that belongs to a checkpoint, whole or not.
fn holds_something(folder: &Path) -> bool {
    mist::checkpoint::Checkpoint::is_at(folder)
        || !ggufs(folder).is_empty()
        || folder.join("config.json").exists()
}

/// What a name asks for of the checkpoint that it leads to: a file of it, or a scheme. `None` if that file is not there.
fn choose(store: &Store, name: &ModelName, found: Found) -> anyhow::Result<Option<Located>> {
    let located = Located::found(store, &found);
    if let Some(revision) = name.revision.as_ref().map(ToString::to_string)
        && revision != "main"
        && found.revision.as_ref() != Some(&revision)
    {
        let error = format!("{} on this machine is not known to be {revision}", found.name);
        let hint =
            format!("`mist download {} --revision {revision}` fetches it, then name it without", found.name);
        return Err(Usage::with_hint(error, hint));
    }
    if let Some(file) = &name.file {
        let path = found.path.join(file.as_str());
        let is_gguf = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
        return Ok(match (is_gguf, path.exists()) {
            (false, _) => Some(located),
            (true, true) => Some(Located { name: format!("{}/{file}", found.name), path, ..located }),
            (true, false) => None,
        });
    }
    let Some(variant) = &name.variant else { return Ok(Some(located)) };
    if let [file, ..] = found.variants(variant).as_slice() {
        let name = format!("{}:{variant}", found.name);
        return Ok(Some(Located { name, path: file.clone(), ..located }));
    }
    let is_gguf = !ggufs(&found.path).is_empty() && !found.path.join("config.json").exists();
    match scheme_named(variant) {
        // Of a repository of GGUF files another one is fetched, where it may be.
        // In small letters and without a mix it is a scheme; else another file, where one may be fetched.
        found_scheme
            if is_gguf && found.repo.is_some() && !is_offline() && !is_own_name(found_scheme, variant) =>
        {
            Ok(None)
        }
        Some(scheme) => Ok(Some(Located { quantize: Some(Quantize::To(scheme)), ..located })),
        None => {
            let names: Vec<String> = ggufs(&found.path).iter().map(|file| file_name(file)).collect();
            let error =
                format!("{}:{variant} is no scheme, and no file of {}", found.name, found.path.display());
            let there =
                if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) };
            Err(Usage::with_hint(error, format!("`mist convert --help` lists the schemes{there}")))
        }
    }
}

/// Whether a scheme is called so by mist itself.
fn is_own_name(scheme: Option<Scheme>, name: &str) -> bool {
    scheme.is_some_and(|scheme| scheme.name() == name)
}

/// The only checkpoint on this machine.
fn only(store: &Store) -> anyhow::Result<Located> {
    let mut all = different(store.all());
    match all.len() {
        0 => Err(Usage::with_hint(
            "there is no checkpoint on this machine",
            "`mist download --starter` fetches a small one (98 MB), `mist download` lists others",
        )),
        1 => Ok(Located::found(store, &all.remove(0))),
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

/// The error of a name that is nothing here and no repository's.
fn unknown(typed: &Path) -> anyhow::Error {
    let text = typed.display().to_string();
    let hint = match catalogue::nearest(&text).or_else(|| catalogue::called(&text)) {
        _ if text.contains(char::is_whitespace) => "a prompt is given with -p TEXT".to_string(),
        Some(name) => format!("did you mean {name}? `mist list` shows what is on this machine"),
        None => "`mist list` shows what is on this machine, `mist download` what can be fetched".to_string(),
    };
    anyhow!("there is no file, folder or checkpoint {}", mist::quote::quoted(&text)).context(Hint(hint))
}

/// Whether nothing may be fetched.
pub fn is_offline() -> bool {
    environment::is_true(HF_HUB_OFFLINE)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
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
        Self::found(store, &here(path))
    }

    /// A checkpoint of the store.
    pub fn found(store: &Store, found: &Found) -> Self {
        Self {
            name: found.name.clone(),
            path: found.path.clone(),
            quantize: None,
            elsewhere: store.conversions(found),
            is_read_only: found.place == Place::HubCache,
        }
    }
}
