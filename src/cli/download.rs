//! `mist download`: lists the catalogue, or downloads a repository or the starter model.

use std::path::{Path, PathBuf};

use clap::builder::{StringValueParser, TypedValueParser};
use clap::{Args, ValueHint};
use mist::hub::catalogue::ENTRIES;
use mist::hub::{
    self, Client, ClientSettings, DownloadPlan, DownloadReport, FileName, Outcome, Request, Size, Token,
    starter,
};
use mist::quant::Scheme;
use mist::quant::quantize::names;
use mist::runtime::located::{downloads, is_offline};
use mist::runtime::{conversions, fetch};
use mist::store::{ModelName, Store};
use mist::system::quote::shell_word;
use mist::terminal::command::Offering;
use mist::terminal::{Interrupt, Printer, Running, TerminalReport};
use serde_json::json;

use super::catalogue;
use super::exit::Status;
use super::values::scheme;

/// Download a repository from the hub; without one, list the models that are known to work.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mist download mistralai/Mistral-7B-Instruct-v0.3")]
pub struct DownloadArgs {
    /// The repository, as ORG/NAME.
    #[arg(value_name = "ORG/NAME", conflicts_with = "repo_id", value_parser = listed(), hide_possible_values = true)]
    repository: Option<String>,
    /// The repository, as an option.
    #[arg(long, value_name = "ORG/NAME", value_parser = listed(), hide_possible_values = true)]
    repo_id: Option<String>,
    /// A branch, a tag or a commit.
    #[arg(long, value_name = "REV", default_value = "main")]
    revision: String,
    /// The access token of your account [default: HF_TOKEN, else the token stored by the hub's own tools].
    #[arg(long, value_name = "TOKEN")]
    access_token: Option<Token>,
    /// Accepted for compatibility with lit-gpt; has no effect, since safetensors are always preferred.
    #[arg(long)]
    from_safetensors: bool,
    /// Download only the tokenizer and the configuration, no weights.
    #[arg(long)]
    tokenizer_only: bool,
    /// Download only this file of weights, such as one of several GGUF files.
    #[arg(long, value_name = "NAME", conflicts_with = "tokenizer_only")]
    file: Option<String>,
    /// The folder of all checkpoints; files go to ORG/NAME under it [default: checkpoints if that folder exists, else
    /// MIST_HOME/models].
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, alias = "checkpoint-dir")]
    checkpoints_dir: Option<PathBuf>,
    /// Print what would be downloaded, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Use no network: only check that the files exist.
    #[arg(long, conflicts_with = "quantize")]
    offline: bool,
    /// Convert the downloaded model, quantized to this scheme.
    #[arg(long, value_name = "SCHEME", value_parser = scheme(), ignore_case = true, conflicts_with_all = ["tokenizer_only", "starter"])]
    quantize: Option<Scheme>,
    /// Print one JSON object.
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Download the small model that `mist chat` starts with.
    #[arg(long, conflicts_with_all = ["repository", "repo_id", "revision", "file", "tokenizer_only"])]
    starter: bool,
}

/// Returns the parser of a repository's name. It accepts any name; shells offer those of the catalogue.
fn listed() -> impl TypedValueParser<Value = String> {
    let values = || ENTRIES.iter().map(|entry| entry.name).collect();
    Offering { values, parser: StringValueParser::new() }
}

impl DownloadArgs {
    /// Returns the typed repository, of the argument or the flag.
    fn typed(&self) -> Option<&String> {
        self.repository.as_ref().or(self.repo_id.as_ref())
    }

    /// Returns the folder of all checkpoints.
    fn root(&self, store: &Store) -> anyhow::Result<PathBuf> {
        match &self.checkpoints_dir {
            Some(folder) => Ok(folder.clone()),
            None => Ok(downloads(store)?),
        }
    }

    /// Returns the command that continues this download. It omits the access token, which the shell's history would keep.
    fn command(&self) -> String {
        let mut command = vec!["mist".to_string(), "download".to_string()];
        let mut add = |words: &[&str]| command.extend(words.iter().map(|word| shell_word(word)));
        match self.typed() {
            Some(repository) => add(&[repository]),
            None => add(&["--starter"]),
        }
        if self.revision != "main" {
            add(&["--revision", &self.revision]);
        }
        if let Some(file) = &self.file {
            add(&["--file", file]);
        }
        if let Some(scheme) = self.quantize {
            add(&["--quantize", scheme.name()]);
        }
        if self.tokenizer_only {
            add(&["--tokenizer-only"]);
        }
        if let Some(folder) = &self.checkpoints_dir {
            add(&["--checkpoints-dir", &folder.to_string_lossy()]);
        }
        command.join(" ")
    }
}

/// Runs `mist download`.
///
/// # Errors
/// The name is invalid; the repository does not exist; a download, or the conversion after it, fails.
pub fn run(args: &DownloadArgs, printer: &Printer) -> anyhow::Result<Status> {
    let offline = args.offline || is_offline();
    match args.typed() {
        Some(name) => repository(args, name, offline, printer),
        None if args.starter => fetch_starter(args, offline, printer),
        None => catalogue::list(args.json, printer),
    }
}

fn repository(args: &DownloadArgs, typed: &str, offline: bool, printer: &Printer) -> anyhow::Result<Status> {
    let store = Store::from_environment();
    let name = ModelName::parse(typed.as_ref());
    let file = args.file.as_deref().map(str::parse::<FileName>).transpose()?;
    let revision = match &name.revision {
        Some(revision) if args.revision == "main" => revision.clone(),
        _ => args.revision.parse()?,
    };
    let request = Request {
        repo: name.repo.clone().map_or_else(|| typed.parse(), Ok)?,
        revision,
        root: args.root(&store)?,
        tokenizer_only: args.tokenizer_only,
        file: file.or_else(|| name.file.clone()),
        cache: store.cache().cloned(),
    };
    // A variant is a scheme to convert to, or else the quantization in the name of a GGUF file.
    let variant = name.variant.as_deref();
    let scheme = args.quantize.or_else(|| variant.and_then(names::own));
    let mut report = TerminalReport::new(printer);
    if offline {
        let plan = fetch::check_variant(hub::on_disk(&request)?, variant)?;
        report.plan(&plan);
        printer.note("complete, as far as can be checked offline");
        let kept = vec![Outcome::Kept; plan.files.len()];
        return print(args, &plan, Some(&kept), printer);
    }
    let client = Client::new(ClientSettings::from_environment(args.access_token.clone())?)?;
    let plan = match variant {
        // Without a variant, the hint for several GGUF files names the flag --file of this command.
        None => hub::plan(&client, &request, &mut report)?,
        variant => fetch::plan(&client, request, variant, &mut report)?,
    };
    if args.dry_run {
        plan.check_space()?;
        return print(args, &plan, None, printer);
    }
    let outcomes = report.carry_out(&client, &plan, &Interrupt::install()?, &args.command())?;
    let is_changed = outcomes.iter().any(|outcome| *outcome != Outcome::Kept);
    if scheme.is_none() && is_changed && plan.folder.join("mist.json").exists() {
        let folder = plan.folder.display();
        printer.warn(&format!(
            "{folder} holds an earlier conversion, which runs by default: convert again with --force"
        ));
    }
    print(args, &plan, Some(&outcomes), printer)?;
    if let Some(scheme) = scheme {
        conversions::of_download(&plan.folder, scheme, &mut Running::stoppable(printer)?)?;
    }
    Ok(Status::Success)
}

/// Prints the result: a JSON object, or the folder after the download.
fn print(
    args: &DownloadArgs,
    plan: &DownloadPlan,
    outcomes: Option<&[Outcome]>,
    printer: &Printer,
) -> anyhow::Result<Status> {
    match (args.json, outcomes) {
        (true, _) => printer.result(hub::plan_as_json(plan, outcomes))?,
        (false, Some(_)) => printer.result(plan.folder.display())?,
        (false, None) => {}
    }
    Ok(Status::Success)
}

fn fetch_starter(args: &DownloadArgs, offline: bool, printer: &Printer) -> anyhow::Result<Status> {
    let root = &args.root(&Store::from_environment())?;
    let path = match starter::find(root) {
        Some(path) => path,
        None if offline => {
            return Err(hub::Error::NeverFetched { repo: starter::REPO.into() }.into());
        }
        None if args.dry_run => {
            printer.note(&format!(
                "{} of {}, {} to fetch",
                starter::FILE,
                starter::REPO,
                Size(starter::SIZE)
            ));
            if args.json {
                printer.result(starter_as_json(&root.join(starter::REPO).join(starter::FILE)))?;
            }
            return Ok(Status::Success);
        }
        None => TerminalReport::new(printer).starter(root, &Interrupt::install()?, &args.command())?,
    };
    match args.json {
        true => printer.result(starter_as_json(&path))?,
        false => printer.result(path.display())?,
    }
    Ok(Status::Success)
}

fn starter_as_json(path: &Path) -> serde_json::Value {
    json!({ "path": path.to_string_lossy(), "size": starter::SIZE })
}
