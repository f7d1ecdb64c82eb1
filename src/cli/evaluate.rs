//! `mist evaluate`: the perplexity of a text.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use mist::evaluate::likelihood;
use mist::generate::per_second;
use mist::kernels::attention::CacheType;
use mist::system::files::{self, Limited};
use mist::system::numbers::at_least;
use mist::system::quote::counted;
use mist::terminal::Printer;
use serde_json::json;

use super::exit::{Status, Usage};
use super::model::{BeginningArgs, ModelArgs, not_numbers};
use super::placing::{DevicesArgs, Room};

/// Measure a model's perplexity on a text.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  mist evaluate mistralai/Mistral-7B-v0.1 --file book.txt \\\n    --context-length 4096"
)]
pub struct EvaluateArgs {
    /// The text, in UTF-8; - reads stdin.
    #[arg(short, long, value_name = "TEXT.txt", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Cut the text into windows of N tokens; without, it is one window.
    #[arg(short, long, value_name = "N", help_heading = "Model", value_parser = at_least(2u64))]
    context_length: Option<u64>,
    /// One JSON object on stdout.
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    beginning: BeginningArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    devices: DevicesArgs,
}

/// The largest text that is read, in bytes.
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
    if ids.len() < 2 {
        bail!("{name}: {}, at least 2 are needed", counted(ids.len(), "token"));
    }
    let context = opened.checkpoint.config.context_length;
    let window = args.context_length.map_or(ids.len(), |n| usize::try_from(n).unwrap_or(usize::MAX));
    if window.min(ids.len()) > context {
        let tokens = window.min(ids.len());
        let error = format!("{tokens} tokens in one window, the model's context is {context}");
        let hint = format!("--context-length {context}");
        return Err(match args.context_length {
            Some(_) => Usage::with_hint(error, hint),
            None => anyhow::anyhow!(error).context(super::exit::Hint(hint)),
        });
    }
    let room = Room::of_one(&opened.checkpoint, window.min(ids.len()));
    let loaded = args.model.load(opened, &args.devices, room, printer)?;
    let progress = Arc::new(printer.tokens("Scoring"));
    let (shown, all) = (progress.clone(), ids.len());
    let report = move |done| shown.report(done, all);
    let start = std::time::Instant::now();
    let likelihood = likelihood(&loaded.model, &ids, window, loaded.cache_dtype, report)?;
    let rate = ids.len() as f64 / start.elapsed().as_secs_f64();
    progress.clear();
    if !likelihood.total.is_finite() {
        let narrow = matches!(loaded.cache_dtype, CacheType::F16 | CacheType::Q8_0);
        let error = anyhow::anyhow!("the model gave likelihoods that are not numbers");
        return Err(error.context(super::exit::Hint(not_numbers(narrow))));
    }
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
