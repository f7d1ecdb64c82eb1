//! Reads prompts and encodes them.

use std::io::IsTerminal;

use anyhow::{Context, bail};
use mist::generate::room;
use mist::runtime::Opened;
use mist::system::files::{self, Limited};
use mist::terminal::Printer;
use mist::text::Message;

use super::args::GenerateArgs;

/// The default prompt, that of lit-gpt.
const DEFAULT_PROMPT: &str = "What food do llamas eat?";

/// Size limit for reading prompts from a file or a pipe, in bytes.
const LARGEST_PROMPT: u64 = 256 << 20;

/// A prompt with its ids.
pub struct Prompt {
    pub text: String,
    /// Empty for a blank line of a file, whose text is empty.
    pub ids: Vec<u32>,
}

/// Returns the prompts of the flags; `None` if the prompt comes from stdin.
pub fn named(args: &GenerateArgs) -> anyhow::Result<Option<Vec<String>>> {
    match (&args.prompts_file, args.prompt.as_deref()) {
        (Some(_), _) => Ok(Some(of_file(args)?)),
        (None, Some(text)) if text != "-" => Ok(Some(vec![text.into()])),
        _ => Ok(None),
    }
}

/// Returns the prompts of the file, the flag, or stdin.
pub fn read(args: &GenerateArgs, printer: &Printer) -> anyhow::Result<Vec<String>> {
    if let Some(named) = named(args)? {
        return Ok(named);
    }
    if args.prompt.is_none() && std::io::stdin().is_terminal() {
        printer.note(&format!("Prompt: {DEFAULT_PROMPT}"));
        return Ok(vec![DEFAULT_PROMPT.into()]);
    }
    let stdin = Limited::new(std::io::stdin(), LARGEST_PROMPT);
    let mut text = stdin.text().context("cannot read the prompt from stdin")?;
    // The newline that `echo` adds is not part of the prompt.
    text.truncate(text.strip_suffix('\n').map_or(&*text, |t| t.strip_suffix('\r').unwrap_or(t)).len());
    Ok(vec![text])
}

fn of_file(args: &GenerateArgs) -> anyhow::Result<Vec<String>> {
    let Some(path) = &args.prompts_file else { return Ok(Vec::new()) };
    let reading = || format!("cannot read {}", path.display());
    let text = files::input(path, LARGEST_PROMPT).and_then(Limited::text).with_context(reading)?;
    if text.is_empty() {
        bail!("{} is empty, every line is a prompt", path.display());
    }
    Ok(text.lines().map(str::to_string).collect())
}

/// Encodes prompts as plain text, with the BOS token if the tokenizer's settings add it, or in the chat format. Checks all
/// of them before any computation.
pub fn encode(args: &GenerateArgs, opened: &Opened, texts: Vec<String>) -> anyhow::Result<Vec<Prompt>> {
    let tokenizer = &opened.tokenizer;
    let prompt = |(i, text): (usize, String)| -> anyhow::Result<Prompt> {
        if args.prompts_file.is_some() && text.trim().is_empty() {
            return Ok(Prompt { text, ids: Vec::new() });
        }
        let ids = match args.chat {
            true => tokenizer.encode_chat(&[Message::new("user", text.as_str())])?,
            false => tokenizer.encode(&text, tokenizer.adds_bos())?,
        };
        let checked = room(&ids, opened.checkpoint.config.context_length);
        match &args.prompts_file {
            Some(path) => checked.with_context(|| format!("{}: line {}", path.display(), i + 1))?,
            None => checked?,
        };
        Ok(Prompt { text, ids })
    };
    texts.into_iter().enumerate().map(prompt).collect()
}
