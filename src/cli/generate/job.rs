//! The data of a run that all of its texts share.

use std::io;

use mist::checkpoint::open::Checkpoint;
use mist::generate::Request;
use mist::runtime::{Error, Model, Options, Room};
use mist::system::process::PeakMemory;
use mist::terminal::{Interrupt, Output, Printer};

use super::args::GenerateArgs;
use super::prompts::Prompt;

/// Returns the capacity of KV caches for the prompts. The prompts of a file are computed together.
pub fn room(args: &GenerateArgs, checkpoint: &Checkpoint, prompts: &[Prompt]) -> Room {
    let lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.ids.len()).collect();
    let samples = if args.prompts_file.is_some() { args.num_samples } else { 1 };
    Room::of_texts(checkpoint, &lengths, args.max_new_tokens, samples as usize)
}

/// Identifies a text of a prompt.
#[derive(Clone, Copy)]
pub struct Text {
    /// Index among the texts of the prompt.
    pub sample: u32,
    /// The seed with which a run generates this text alone.
    pub seed: u64,
}

/// The data of a run that all of its texts share.
pub struct Job<'a> {
    pub args: &'a GenerateArgs,
    pub model: Model,
    pub options: Options,
    pub memory: &'a PeakMemory,
    pub interrupt: &'a Interrupt,
    pub printer: &'a Printer,
}

impl Job<'_> {
    /// Returns the request for a text that continues `prompt`, with random numbers from `seed`.
    pub fn request(&self, prompt: &Prompt, seed: u64) -> Result<Request, Error> {
        self.model.request(prompt.ids.clone(), &self.options, self.args.chat, seed)
    }

    /// Returns an output for a text, which prints pieces immediately or only collects them (`collects`).
    pub fn output<'o>(&'o self, prompt: &'o Prompt, collects: bool) -> Output<'o> {
        let echo = if self.args.echo && !self.args.json { prompt.text.as_str() } else { "" };
        Output::new(collects, self.printer).echoing(echo)
    }

    /// Returns the text to print after each text.
    pub fn end(&self) -> &'static str {
        let several = self.args.num_samples > 1 || self.args.prompts_file.is_some();
        match self.args.null {
            true => "\0",
            false if several || self.printer.stdout_is_terminal() => "\n",
            false => "",
        }
    }

    /// Prints the separator before text `number`, except before the first.
    pub fn separate(&self, number: usize) -> io::Result<()> {
        let on_terminal = self.printer.stdout_is_terminal().then_some("---");
        match self.args.separator.as_deref().or(on_terminal) {
            Some(line) if number > 0 && !self.args.json && !self.args.null => {
                self.printer.data(&format!("{line}\n"))
            }
            _ => Ok(()),
        }
    }

    /// Warns that the full context ended `cut` of `texts` texts.
    pub fn warn_of_context(&self, cut: usize, texts: usize) {
        let context = self.model.context_length();
        let which = match (cut, texts) {
            (0, _) => return,
            (1, 1) => "the text".into(),
            _ => format!("{cut} of {texts} texts"),
        };
        self.printer.warn(&format!("{which} ended because the context of {context} tokens is full"));
    }
}
