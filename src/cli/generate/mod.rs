//! `mist generate` and `mist generate-sequential`: text from prompts, on stdout and nothing else.
//!
//! | file | one idea |
//! |---|---|
//! | `prompts` | where prompts come from, and their ids |
//! | `one` | texts of one prompt, one after another, shown as they come |
//! | `batch` | texts of many prompts at once, shown in their order |
//! | `json` | a text with all that it depends on |
//! | `plan` | what `--plan` prints |

mod batch;
mod json;
mod one;
mod plan;
mod prompts;

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use mist::checkpoint::open::Checkpoint;
use mist::generate::Request;
use mist::runtime::{Error, Model, NEW_TOKENS, Options, Room};
use mist::system::numbers::at_least;
use mist::system::process::PeakMemory;
use mist::terminal::{Interrupt, Output, Printer};

use self::prompts::Prompt;
use super::exit::Status;
use super::model::{ContextArgs, ModelArgs};
use super::sampling::SamplingArgs;

/// Help of `--devices` in `generate-sequential`, which has another default.
pub const SEQUENTIAL_DEVICES: &str =
    "How many devices, or a list such as cuda:0,cuda:1,cpu; all accelerators by default, else one CPU";

/// An example of `generate-sequential`, which has the flags of `generate` and its own use.
pub const SEQUENTIAL_EXAMPLE: &str = "Example:
  mist generate-sequential mistralai/Mixtral-8x7B-v0.1 \\
    --devices 4 -p \"My name is\"";

/// Generate text from a prompt.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  mist generate mistralai/Mistral-7B-v0.1 -p \"My name is\"")]
pub struct GenerateArgs {
    /// Print the plan (layers, bytes of weights and cache of each device) and stop.
    #[arg(long, help_heading = "Devices")]
    plan: bool,
    /// The text to continue [default: a pipe, or on a terminal "What food do llamas eat?"].
    ///
    /// - or a pipe is read to its end, less its last newline.
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// A file with one prompt a line; they are computed together, and their texts printed in their order. The text of a
    /// blank line is empty.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "prompt")]
    prompts_file: Option<PathBuf>,
    /// Most tokens to generate.
    #[arg(short = 'n', long, value_name = "N", default_value_t = NEW_TOKENS, value_parser = at_least(0usize))]
    max_new_tokens: usize,
    /// End before this text, or at the control token that it spells; may be given several times.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = "Sampling")]
    stop: Vec<String>,
    /// Go on after the end token.
    #[arg(long, hide_short_help = true, help_heading = "Sampling")]
    ignore_eos: bool,
    /// How many texts to generate from each prompt.
    #[arg(long, help_heading = "Sampling", value_name = "N", default_value_t = 1, value_parser = at_least(1u32))]
    num_samples: u32,
    /// A line between texts [default: --- on a terminal, none in a pipe].
    #[arg(long, help_heading = "Output", value_name = "TEXT", allow_hyphen_values = true, conflicts_with_all = ["null", "json"])]
    separator: Option<String>,
    /// End each text with a NUL byte, not with a newline.
    #[arg(short = '0', long, help_heading = "Output", conflicts_with = "json")]
    null: bool,
    /// Print the prompt before the text.
    #[arg(long, help_heading = "Output")]
    echo: bool,
    /// Put the prompt into the model's chat format, as the user's message.
    #[arg(long)]
    chat: bool,
    /// One JSON object for each text, with all that is needed to get it again; --seed with its seed gives it alone.
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// Runs `mist generate` on the best device, or on `--devices`.
pub fn run(args: &GenerateArgs, printer: &Printer) -> anyhow::Result<Status> {
    run_on(args, &args.model, printer)
}

/// Runs `mist generate-sequential`: without `--devices` on all accelerators, else on one CPU.
pub fn run_sequential(args: &GenerateArgs, printer: &Printer) -> anyhow::Result<Status> {
    run_on(args, &args.model.on_all(), printer)
}

fn run_on(args: &GenerateArgs, model: &ModelArgs, printer: &Printer) -> anyhow::Result<Status> {
    args.sampling.check()?;
    if args.plan {
        return plan::print(args, model, printer);
    }
    let located = model.locate(printer)?;
    let texts = prompts::read(args, printer)?;
    let memory = PeakMemory::watch();
    let mut opened = model.open(&located, printer)?;
    args.context.shorten(&mut opened)?;
    let sampling = args.sampling.sampling(&opened.checkpoint, printer)?;
    let prompts = prompts::encode(args, &opened, texts)?;
    let room = room(args, &opened.checkpoint, &prompts);
    let model = model.load(opened, room, printer)?;
    let seed = args.sampling.seed(&sampling, printer);
    let interrupt = Interrupt::install()?;
    let _listening = interrupt.listen();
    let options = Options {
        sampling: Some(sampling),
        seed: Some(seed),
        max_new_tokens: Some(args.max_new_tokens),
        stop: args.stop.clone(),
        ignore_eos: args.ignore_eos,
        chat: args.chat,
    };
    let job = Job { args, model, options, memory: &memory, interrupt: &interrupt, printer };
    match prompts.as_slice() {
        [prompt] if args.prompts_file.is_none() => one::run(&job, prompt, seed),
        prompts => batch::run(&job, prompts, seed),
    }
}

/// The cache that the prompts need: those of a file are computed together.
fn room(args: &GenerateArgs, checkpoint: &Checkpoint, prompts: &[Prompt]) -> Room {
    let lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.ids.len()).collect();
    let samples = if args.prompts_file.is_some() { args.num_samples } else { 1 };
    Room::of_texts(checkpoint, &lengths, args.max_new_tokens, samples as usize)
}

/// Which text of a prompt.
#[derive(Clone, Copy)]
struct Text {
    /// Its number among those of its prompt.
    sample: u32,
    /// With this seed a run gives it alone.
    seed: u64,
}

/// What a run has at hand.
struct Job<'a> {
    args: &'a GenerateArgs,
    model: Model,
    options: Options,
    memory: &'a PeakMemory,
    interrupt: &'a Interrupt,
    printer: &'a Printer,
}

impl Job<'_> {
    /// The request for a text that continues `prompt`, with chance that begins at `seed`.
    fn request(&self, prompt: &Prompt, seed: u64) -> Result<Request, Error> {
        self.model.request(prompt.ids.clone(), &self.options, seed)
    }

    /// A text on its way out, which is shown as it comes or (`collects`) not at all.
    fn output<'o>(&'o self, prompt: &'o Prompt, collects: bool) -> Output<'o> {
        let echo = if self.args.echo && !self.args.json { prompt.text.as_str() } else { "" };
        Output::new(collects, self.printer).echoing(echo)
    }

    /// What stands behind each text.
    fn end(&self) -> &'static str {
        let several = self.args.num_samples > 1 || self.args.prompts_file.is_some();
        match self.args.null {
            true => "\0",
            false if several || self.printer.stdout_is_terminal() => "\n",
            false => "",
        }
    }

    /// Separates a text from the one before it, if there is one.
    fn separate(&self, number: usize) -> io::Result<()> {
        let on_terminal = self.printer.stdout_is_terminal().then_some("---");
        match self.args.separator.as_deref().or(on_terminal) {
            Some(line) if number > 0 && !self.args.json && !self.args.null => {
                self.printer.data(&format!("{line}\n"))
            }
            _ => Ok(()),
        }
    }

    /// The warning about texts that the context cut short, of as many as there are.
    fn warn_of_context(&self, cut: usize, texts: usize) {
        let context = self.model.context_length();
        let which = match (cut, texts) {
            (0, _) => return,
            (1, 1) => "the text".into(),
            _ => format!("{cut} of {texts} texts"),
        };
        self.printer.warn(&format!("{which} ended because the context of {context} tokens is full"));
    }
}
