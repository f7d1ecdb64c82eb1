//! `mist tokenize`: converts a text or a conversation to ids, or ids to text.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, ValueHint};
use mist::chat;
use mist::json::{self, Capped};
use mist::runtime::Wanted;
use mist::runtime::opened::tokenizer_at;
use mist::system::files::{self, Limited};
use mist::system::quote::counted;
use mist::terminal::{Printer, Table, escaped};
use mist::text::{self, Decoded, Encoded, IdsError, Message, Tokenizer};

use super::exit::{Status, Usage};
use super::located::CheckpointArgs;
use super::model::BeginningArgs;

/// Convert a text to token ids, or ids to text.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  mist tokenize mistralai/Mistral-7B-v0.1 --text \"How are you?\"")]
#[group(id = "source", required = true, multiple = false, args = ["text", "messages", "decode"])]
pub struct TokenizeArgs {
    /// The text; - reads stdin.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<String>,
    /// A JSON list of {"role", "content"}: the ids of the conversation in the model's chat format.
    #[arg(long, value_name = "FILE.json", value_hint = ValueHint::FilePath, conflicts_with_all = ["bos", "no_bos"])]
    messages: Option<PathBuf>,
    /// Ids to turn into text; - reads them from stdin, also as JSON of this command or of generate.
    #[arg(long, value_name = "IDS", num_args = 1.., value_delimiter = ',')]
    decode: Vec<String>,
    /// Print one JSON object: {"ids": [...], "tokens": [...]}.
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    beginning: BeginningArgs,
    #[command(flatten)]
    checkpoint: CheckpointArgs,
}

/// Size limit for reading a text, in bytes.
const LARGEST_TEXT: u64 = 256 << 20;

/// Runs `mist tokenize`.
pub fn run(args: &TokenizeArgs, printer: &Printer) -> anyhow::Result<Status> {
    let tokenizer = open(args, printer)?;
    if !args.decode.is_empty() {
        return decode(args, &tokenizer, printer);
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
    let token = |id: &u32| tokenizer.token(*id).unwrap_or_default();
    if args.json {
        let encoded = Encoded { ids: &ids, tokenizer: &tokenizer };
        printer.data_line(|out| Ok(serde_json::to_writer(out, &encoded)?))?;
    } else if printer.stdout_is_terminal() {
        let mut table = Table::new(["id", "token"]).numbers([true, false]);
        ids.iter().for_each(|id| table.row([id.to_string(), escaped(token(id)).replace('\n', "\\n")]));
        printer.data(&table.to_string())?;
        printer.note(&counted(ids.len(), "token"));
    } else {
        printer.data_line(|out| {
            ids.iter().enumerate().try_for_each(|(i, id)| match i {
                0 => write!(out, "{id}"),
                _ => write!(out, " {id}"),
            })
        })?;
    }
    Ok(Status::Success)
}

/// Prints ids as text: the typed ids, or each list of ids on stdin.
fn decode(args: &TokenizeArgs, tokenizer: &Tokenizer, printer: &Printer) -> anyhow::Result<Status> {
    let is_typed = args.decode != ["-"];
    let lists = match args.decode.as_slice() {
        _ if !is_typed => text::lists(&read_stdin()?).map_err(|error| match error {
            IdsError::Word { .. } => anyhow!("stdin: {error}"),
            error => anyhow!(error).context("stdin is no JSON of `mist tokenize` or `mist generate`"),
        })?,
        words => {
            let ids = text::ids(words.iter().flat_map(|word| word.split_whitespace()));
            vec![ids.map_err(|error| Usage(error.to_string()))?]
        }
    };
    for ids in lists {
        if let Some(unknown) = ids.iter().find(|id| tokenizer.token(**id).is_none()) {
            let size = tokenizer.vocabulary_size();
            let error = format!("no token has the id {unknown}: the vocabulary has {size} ids");
            return Err(if is_typed { Usage(error).into() } else { anyhow!(error) });
        }
        let decoded = Decoded { ids: &ids, tokenizer };
        printer.data_line(|out| match args.json {
            true => Ok(serde_json::to_writer(out, &decoded)?),
            false => write!(out, "{decoded}"),
        })?;
    }
    Ok(Status::Success)
}

/// Opens the tokenizer, which needs no weights: `mist download --tokenizer-only` makes such folders.
fn open(args: &TokenizeArgs, printer: &Printer) -> anyhow::Result<Tokenizer> {
    Ok(tokenizer_at(&args.checkpoint.locate(Wanted::Tokenizer, printer)?.path)?)
}

fn text(args: &TokenizeArgs) -> anyhow::Result<String> {
    match args.text.as_deref() {
        Some("-") | None => read_stdin(),
        Some(text) => Ok(text.into()),
    }
}

fn read_stdin() -> anyhow::Result<String> {
    Limited::new(std::io::stdin(), LARGEST_TEXT).text().context("cannot read stdin")
}
