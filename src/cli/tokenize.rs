//! `mist tokenize`: text to ids, a conversation to ids, ids to text.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use mist::chat;
use mist::checkpoint::Tokenizing;
use mist::json::{self, Capped};
use mist::system::files::{self, Limited};
use mist::terminal::Printer;
use mist::text::{Message, Tokenizer};

use super::exit::Status;
use super::model::{BeginningArgs, CheckpointArgs, gguf_tokenizer};

/// Show how a model's tokenizer sees a text.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  mist tokenize --checkpoint-dir mistralai/Mistral-7B-v0.1 --text \"How are you?\""
)]
#[group(id = "source", required = true, multiple = false, args = ["text", "messages", "decode"])]
pub struct TokenizeArgs {
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// The text; - reads stdin.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<String>,
    /// A JSON list of {"role", "content"}: the ids of the conversation in the model's chat format.
    #[arg(long, value_name = "FILE.json", value_hint = ValueHint::FilePath, conflicts_with_all = ["bos", "no_bos"])]
    messages: Option<PathBuf>,
    /// Ids to turn into text; - reads them from stdin.
    #[arg(long, value_name = "IDS", num_args = 1.., value_delimiter = ',')]
    decode: Vec<String>,
    #[command(flatten)]
    beginning: BeginningArgs,
    /// {"ids": [...], "tokens": [...]} on stdout.
    #[arg(long)]
    json: bool,
}

/// The largest text that is read, in bytes.
const LARGEST_TEXT: u64 = 256 << 20;

/// Runs `mist tokenize`.
pub fn run(args: &TokenizeArgs, printer: &Printer) -> anyhow::Result<Status> {
    let tokenizer = open(args)?;
    if !args.decode.is_empty() {
        let ids = ids(&args.decode)?;
        if let Some(unknown) = ids.iter().find(|id| tokenizer.token(**id).is_none()) {
            bail!("no token has the id {unknown}: the vocabulary has {} ids", tokenizer.vocabulary_size());
        }
        let text = tokenizer.decode(&ids);
        match args.json {
            true => printer.data(&format!("{}\n", serde_json::json!({"ids": ids, "text": text})))?,
            false => printer.data(&format!("{text}\n"))?,
        }
        return Ok(Status::Success);
    }
    let ids = match &args.messages {
        Some(path) => {
            let text = files::input(path, chat::LARGEST_FILE).and_then(Limited::text);
            let text = text.with_context(|| format!("cannot read {}", path.display()))?;
            let Capped::<Message, { chat::MOST_MESSAGES }>(messages) = json::skimmed(text.as_bytes())
                .with_context(|| format!("{} is no list of {{\"role\", \"content\"}}", path.display()))?;
            tokenizer.encode_chat(&messages)?
        }
        None => {
            let bos = args.beginning.adds_bos(&tokenizer);
            let mut ids = tokenizer.encode(&text(args)?, bos)?;
            ids.extend(tokenizer.added_eos());
            ids
        }
    };
    if args.json {
        let tokens: Vec<&str> = ids.iter().map(|id| tokenizer.token(*id).unwrap_or_default()).collect();
        printer.data(&format!("{}\n", serde_json::json!({"ids": ids, "tokens": tokens})))?;
    } else {
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        printer.data(&format!("{}\n", ids.join(" ")))?;
    }
    Ok(Status::Success)
}

/// The tokenizer alone: a folder without weights, as `mist download --tokenizer-only` leaves it, has one too.
fn open(args: &TokenizeArgs) -> anyhow::Result<Tokenizer> {
    Ok(match Tokenizing::find(&args.checkpoint.path()?)? {
        Tokenizing::Folder(folder) => Tokenizer::from_folder(&folder)?,
        Tokenizing::Gguf(gguf) => gguf_tokenizer(&gguf)?,
    })
}

fn text(args: &TokenizeArgs) -> anyhow::Result<String> {
    match args.text.as_deref() {
        Some("-") | None => read_stdin(),
        Some(text) => Ok(text.into()),
    }
}

fn ids(words: &[String]) -> anyhow::Result<Vec<u32>> {
    let read;
    let words: Vec<&str> = match words {
        [dash] if dash == "-" => {
            read = read_stdin()?;
            read.split([',', ' ', '\n', '\r', '\t', '[', ']']).filter(|w| !w.is_empty()).collect()
        }
        words => words.iter().flat_map(|w| w.split_whitespace()).collect(),
    };
    let parse = |word: &&str| match word.parse() {
        Ok(id) => Ok(id),
        Err(_) => bail!("{word:?} is no token id"),
    };
    words.iter().map(parse).collect()
}

fn read_stdin() -> anyhow::Result<String> {
    Limited::new(std::io::stdin(), LARGEST_TEXT).text().context("cannot read stdin")
}
