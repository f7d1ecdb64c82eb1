//! `mist download`: the catalogue, a repository, or the starter model.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use mist::environment::{self, HF_HUB_OFFLINE};
use mist::hub::{
    self, Client, FileName, Outcome, Plan, RepoId, Report, Request, Revision, Settings, Size, Token, starter,
};
use mist::terminal::{Printer, Progress};
use serde_json::{Value, json};

use super::{Hint, Status, catalogue};

/// Fetch a repository from the hub; without one, list those that are known to work.
#[derive(Debug, Args)]
pub struct DownloadArgs {
    /// The repository, as ORG/NAME.
    #[arg(value_name = "ORG/NAME", conflicts_with = "repo_id")]
    repository: Option<String>,
    /// The repository, as lit-gpt wants it given.
    #[arg(long, value_name = "ORG/NAME")]
    repo_id: Option<String>,
    /// A branch, a tag or a commit.
    #[arg(long, value_name = "REV", default_value = "main")]
    revision: String,
    /// The access token of your account; else HF_TOKEN or the one that the hub's own tools have stored.
    #[arg(long, value_name = "TOKEN")]
    access_token: Option<Token>,
    /// Accepted for lit-gpt's sake: safetensors are always preferred.
    #[arg(long)]
    from_safetensors: bool,
    /// Only the tokenizer and the configuration, no weights.
    #[arg(long)]
    tokenizer_only: bool,
    /// These weights of the repository and no others, for one of several GGUF files.
    #[arg(long, value_name = "NAME", conflicts_with = "tokenizer_only")]
    file: Option<String>,
    /// The folder of all checkpoints; files land in ORG/NAME under it.
    #[arg(long, value_name = "FOLDER", default_value = "checkpoints")]
    checkpoint_dir: PathBuf,
    /// Say what would be fetched, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Use no network: only check that the repository is there.
    #[arg(long)]
    offline: bool,
    /// Quantize what was fetched (not there yet).
    #[arg(long, value_name = "SCHEME")]
    quantize: Option<String>,
    /// One JSON object on stdout.
    #[arg(long)]
    json: bool,
    /// Fetch the small model that `mist chat` starts with.
    #[arg(long, conflicts_with_all = ["repository", "repo_id", "revision", "file", "tokenizer_only"])]
    starter: bool,
}

/// Runs `mist download`.
///
/// # Errors
/// What the hub room reports, with its hint.
pub fn run(args: &DownloadArgs, printer: &Printer) -> anyhow::Result<Status> {
    if let Some(scheme) = &args.quantize {
        let error = anyhow!("--quantize {scheme}: quantizing after a download is not there yet");
        return Err(error.context(Hint("download without --quantize".to_string())));
    }
    let offline = args.offline || environment::is_true(HF_HUB_OFFLINE);
    match args.repository.as_ref().or(args.repo_id.as_ref()) {
        Some(name) => repository(args, &name.parse()?, offline, printer),
        None if args.starter => fetch_starter(args, offline, printer),
        None => catalogue::list(args.json, printer),
    }
}

fn repository(
    args: &DownloadArgs,
    repo: &RepoId,
    offline: bool,
    printer: &Printer,
) -> anyhow::Result<Status> {
    let request = Request {
        repo: repo.clone(),
        revision: args.revision.parse::<Revision>()?,
        root: args.checkpoint_dir.clone(),
        tokenizer_only: args.tokenizer_only,
        file: args.file.as_deref().map(str::parse::<FileName>).transpose()?,
    };
    let mut report = TerminalReport::new(printer);
    let (plan, outcomes) = match offline {
        true => {
            let plan = hub::on_disk(&request)?;
            report.plan(&plan);
            let kept = vec![Outcome::Kept; plan.files.len()];
            (plan, Some(kept))
        }
        false => {
            let settings = Settings::from_environment(args.access_token.clone())?;
            let client = Client::new(settings)?;
            let plan = hub::plan(&client, &request, &mut report)?;
            let outcomes = match args.dry_run {
                true => None,
                false => Some(hub::carry_out(&client, &plan, &mut report)?),
            };
            (plan, outcomes)
        }
    };
    report.done();
    if let Some(outcomes) = &outcomes {
        let fetched = outcomes.iter().filter(|o| **o == Outcome::Fetched).count();
        printer.note(&match (offline, fetched) {
            (true, _) => "complete, as far as can be told offline".to_string(),
            (false, 0) => "already here".to_string(),
            (false, n) => format!("fetched {n} files, {} already here", outcomes.len() - n),
        });
    }
    match (args.json, &outcomes) {
        (true, _) => printer.data(&format!("{}\n", as_json(&plan, outcomes.as_deref())))?,
        (false, Some(_)) => printer.data(&format!("{}\n", plan.folder.display()))?,
        (false, None) => {}
    }
    Ok(Status::Success)
}

fn fetch_starter(args: &DownloadArgs, offline: bool, printer: &Printer) -> anyhow::Result<Status> {
    let root = &args.checkpoint_dir;
    let path = match starter::find(root) {
        Some(path) => path,
        None if offline => {
            let missing = format!("{} is not there", starter::FILE);
            return Err(hub::Error::Offline { folder: root.join(starter::REPO), missing }.into());
        }
        None if args.dry_run => {
            printer.note(&format!(
                "{} of {}, {} to fetch",
                starter::FILE,
                starter::REPO,
                Size(starter::SIZE)
            ));
            if args.json {
                let path = root.join(starter::REPO).join(starter::FILE);
                printer.data(&format!("{}\n", json!({ "path": path, "size": starter::SIZE })))?;
            }
            return Ok(Status::Success);
        }
        None => starter::ensure(root, &mut TerminalReport::new(printer))?,
    };
    match args.json {
        true => printer.data(&format!("{}\n", json!({ "path": path, "size": starter::SIZE })))?,
        false => printer.data(&format!("{}\n", path.display()))?,
    }
    Ok(Status::Success)
}

/// The plan, and what became of each file; without outcomes, what would.
fn as_json(plan: &Plan, outcomes: Option<&[Outcome]>) -> Value {
    let status = |i: usize, here: bool| match outcomes.and_then(|o| o.get(i)) {
        Some(Outcome::Kept) => "kept",
        Some(Outcome::Fetched) => "fetched",
        None if here => "here",
        None => "missing",
    };
    let files = plan.files.iter().enumerate().map(|(i, file)| {
        json!({
            "name": file.name.as_str(),
            "size": file.size,
            "sha256": file.sha256.map(|d| d.to_string()),
            "status": status(i, file.here),
        })
    });
    json!({
        "repository": plan.repo.to_string(),
        "commit": plan.commit.as_ref().map(|c| c.as_str()),
        "folder": plan.folder,
        "files": files.collect::<Vec<_>>(),
        "total_bytes": plan.total(),
        "missing_bytes": plan.missing(),
        "left_out": plan.left_out.iter().map(FileName::as_str).collect::<Vec<_>>(),
    })
}

/// Shows a download on stderr: the plan as lines, then one bar over all of its bytes.
pub struct TerminalReport<'a> {
    printer: &'a Printer,
    total: u64,
    bar: Option<Progress>,
}

impl<'a> TerminalReport<'a> {
    /// A report that shows nothing yet.
    pub fn new(printer: &'a Printer) -> Self {
        Self { printer, total: 0, bar: None }
    }

    /// Takes the bar away.
    pub fn done(&mut self) {
        self.bar = None;
    }
}

impl Report for TerminalReport<'_> {
    fn plan(&mut self, plan: &Plan) {
        self.total = plan.total();
        let commit = plan.commit.as_ref().map(|c| format!(" at {}", c.short())).unwrap_or_default();
        self.printer.note(&format!("{}{commit}, in {}:", plan.repo, shown(&plan.folder)));
        for file in &plan.files {
            let here = if file.here { "  (here)" } else { "" };
            self.printer.note(&format!("{:>10}  {}{here}", Size(file.size), file.name));
        }
        let left_out = match plan.left_out.len() {
            0 => String::new(),
            n => format!("; {n} other files of weights are left out"),
        };
        let (missing, total) = (Size(plan.missing()), Size(plan.total()));
        self.printer.note(&format!("{missing:>10}  to fetch, {total} in all{left_out}"));
    }

    fn file(&mut self, name: &str, size: u64) {
        let bar = self.bar.get_or_insert_with(|| self.printer.bytes_bar("downloading", self.total));
        bar.above(|| self.printer.detail(&format!("{name}, {}", Size(size))));
    }

    fn bytes(&mut self, n: u64) {
        if let Some(bar) = &self.bar {
            bar.add(n);
        }
    }

    fn note(&mut self, line: &str) {
        match &self.bar {
            Some(bar) => bar.above(|| self.printer.note(line)),
            None => self.printer.note(line),
        }
    }
}

/// A path for a person, in one line whatever it holds.
fn shown(path: &Path) -> String {
    path.display().to_string().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
