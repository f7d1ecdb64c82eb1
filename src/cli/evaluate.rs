//! `mist evaluate`: measures the perplexity of a text.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueHint};
use mist::generate::per_second;
use mist::runtime::{Error, Room};
use mist::system::files::{self, Limited};
use mist::system::numbers::at_least;
use mist::system::quote::counted;
use mist::terminal::Printer;
use serde_json::json;

use super::exit::Status;
use super::model::{BeginningArgs, ModelArgs};

/// Measure a model's perplexity on a text.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  mist evaluate mistralai/Mistral-7B-v0.1 --file book.txt \\\n    --context-length 4096"
)]
pub struct EvaluateArgs {
    /// The text, in UTF-8; - reads stdin.
    #[arg(short, long, value_name = "TEXT.txt", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Cut the text into windows of N tokens [default: one window].
    #[arg(short, long, value_name = "N", help_heading = "Model", value_parser = at_least(2u64))]
    context_length: Option<u64>,
    /// Print one JSON object.
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    beginning: BeginningArgs,
    #[command(flatten)]
    model: ModelArgs,
}

/// Size limit for reading a text, in bytes.
const LARGEST_TEXT: u64 = 256 << 20;

/// Runs `mist evaluate`.
pub fn run(args: &EvaluateArgs, printer: &Printer) -> anyhow::Result<Status> {
    let located = args.model.locate(printer)?;
    let (text, name) = match args.file.as_os_str() == "-" {
        true => (Limited::new(std::io::stdin(), LARGEST_TEXT).text(), "stdin".to_string()),
        false => {
            let text = files::input(&args.file, LARGEST_TEXT).and_then(Limited::text);
            (text, args.file.display().to_string())
        }
    };
    let text = text.with_context(|| format!("cannot read {name}"))?;
    let opened = args.model.open(&located, printer)?;
    let bos = args.beginning.adds_bos(&opened.tokenizer);
    let ids = opened.tokenizer.encode(&text, bos)?;
    let asked = args.context_length.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let window = opened.window(&ids, asked).map_err(|error| match error {
        Error::NothingToScore { .. } => anyhow::anyhow!("{name}: {error}"),
        error => error.into(),
    })?;
    let room = Room::of_one(&opened.checkpoint, window);
    let model = args.model.load(opened, room, printer)?;
    let progress = Arc::new(printer.tokens("Scoring"));
    let (shown, all) = (progress.clone(), ids.len());
    let start = std::time::Instant::now();
    let likelihood = model.likelihood(&ids, Some(window), move |done| shown.report(done, all))?;
    let rate = ids.len() as f64 / start.elapsed().as_secs_f64();
    progress.clear();
    let (nll, perplexity) = (likelihood.mean(), likelihood.perplexity());
    if args.json {
        let json = json!({
            "tokens": ids.len(),
            "scored_tokens": likelihood.scored,
            "nll": nll,
            "perplexity": perplexity,
            "tokens_per_second": rate,
        });
        printer.data(&format!("{json}\n"))?;
    } else {
        printer.data(&format!(
            "perplexity {perplexity:.4} (nll {nll:.6}) over {}\n",
            counted(likelihood.scored, "token")
        ))?;
        printer.note(&per_second(rate));
    }
    Ok(Status::Success)
}
