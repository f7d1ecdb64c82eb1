//! Finds the model of a command on this machine, or downloads it if the user agrees.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, ValueHint};
use mist::hub::{self, Client, ClientSettings, Request, Size};
use mist::runtime::located::{downloads, find, only};
use mist::runtime::{Error, Located, Missing, Search, Wanted, fetch};
use mist::store::Store;
use mist::terminal::{Interrupt, Printer, TerminalReport, ask};

use super::exit::Hint;

/// The flags for choosing a model.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model")]
pub struct CheckpointArgs {
    /// The model: ORG/NAME, a folder, a .gguf file, or a URL of the hub [default: the only model on this machine].
    ///
    /// ORG/NAME is searched under ./checkpoints, in MIST_HOME and in the hub's own cache. ORG/NAME:q4_k quantizes it to
    /// that scheme, like --quantize. If a repository has GGUF files, ORG/NAME:Q4_K_M selects the file of that name.
    // The hint for files also fits folders: bash completes paths within folders and handles spaces only with this hint.
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
    /// Download a missing model without asking.
    #[arg(short, long)]
    yes: bool,
}

impl CheckpointArgs {
    /// Returns the typed name or path.
    pub fn typed(&self) -> Option<&Path> {
        self.model.as_deref().or(self.checkpoint_dir.as_deref())
    }

    /// Returns the named model, and downloads it if the user agrees. Without a name, returns the only model on this machine.
    pub fn locate(&self, wanted: Wanted, printer: &Printer) -> anyhow::Result<Located> {
        let store = Store::from_environment();
        let Some(typed) = self.typed() else { return Ok(only(&store)?) };
        match find(&store, typed, wanted)? {
            Search::Here(located) => Ok(located),
            Search::Missing(missing) => {
                self.fetch(&store, &missing, printer)?;
                Ok(missing.fetched(&store)?)
            }
        }
    }

    /// Downloads the needed files of a repository: its weights, or the GGUF file of the variant.
    fn fetch(&self, store: &Store, missing: &Missing, printer: &Printer) -> anyhow::Result<()> {
        missing.check(store)?;
        let asked = missing.asked();
        if !self.yes && (!io::stdin().is_terminal() || printer.is_quiet()) {
            let hint = format!("`mist download {asked}` fetches it, and so does --yes here");
            return Err(anyhow::Error::from(Error::NotHere { asked }).context(Hint(hint)));
        }
        let client = Client::new(ClientSettings::from_environment(None)?)?;
        let request = Request {
            repo: missing.repo.clone(),
            revision: missing.name.revision.clone().unwrap_or_default(),
            root: downloads(store)?,
            tokenizer_only: missing.wanted == Wanted::Tokenizer,
            file: missing.name.file.clone(),
            cache: store.cache().cloned(),
        };
        let mut report = TerminalReport::new(printer);
        let plan = fetch::plan(&client, request, missing.name.variant.as_deref(), &mut report);
        let plan = plan.map_err(|error| match error {
            Error::Hub(error @ hub::Error::Unreachable { .. }) => {
                anyhow::Error::from(error).context(Error::NotHere { asked: asked.clone() }.to_string())
            }
            error => error.into(),
        })?;
        plan.check_space()?;
        let question = format!("Fetch {} of {}? [Y/n] ", Size(plan.missing()), plan.repo);
        if !self.yes && !ask(&question, true, &mut io::stdin().lock(), printer)? {
            return Err(anyhow!("{asked} was not fetched"));
        }
        report.carry_out(&client, &plan, &Interrupt::install()?, &format!("mist download {asked}"))?;
        Ok(())
    }
}
