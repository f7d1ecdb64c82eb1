//! `mist generate` and `mist generate-sequential`: text from prompts, on stdout and nothing else.
//!
//! | file | one idea |
//! |---|---|
//! | `prompts` | where prompts come from, and their ids |
//! | `one` | texts of one prompt, one after another, shown as they come |
//! | `batch` | texts of many prompts at once, shown in their order |
//! | `plan` | what `--plan` prints |

mod batch;
mod one;
mod plan;
mod prompts;

use std::path::PathBuf;

use clap::{Args, ValueHint};
use mist::checkpoint::Checkpoint;
use mist::generate::{Generation, MOST_AT_ONCE, Sampling, TextStream, batch_slots};
use mist::placement::{self, Devices};
use mist::terminal::{Interrupt, Printer};
use serde_json::json;

use self::prompts::Prompt;
use super::exit::Status;
use super::memory::PeakMemory;
use super::model::{ContextArgs, Loaded, ModelArgs};
use super::numbers::at_least;
use super::output::Output;
use super::placing::{DevicesArgs, Room};
use super::sampling::{self, SamplingArgs};

/// Help of `--devices` in `generate-sequential`, which has another default.
pub const SEQUENTIAL_DEVICES: &str =
    "How many devices, or a list such as cuda:0,cuda:1,cpu; all accelerators by default, else one CPU";

/// An example of `generate-sequential`, which has the flags of `generate` and its own use.
pub const SEQUENTIAL_EXAMPLE: &str = "Example:
  mist generate-sequential --checkpoint-dir mistralai/Mixtral-8x7B-v0.1 \\
    --devices 4 --prompt \"My name is\"";

/// Generate text from a prompt.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  mist generate --checkpoint-dir mistralai/Mistral-7B-v0.1 --prompt \"My name is\""
)]
pub struct GenerateArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    devices: DevicesArgs,
    #[command(flatten)]
    context: ContextArgs,
    /// Print the plan (layers, bytes of weights and cache of each device) and stop.
    #[arg(long)]
    plan: bool,
    /// The text to continue; - or a pipe is read to its end, less its last newline; "What food do llamas eat?" on a
    /// terminal.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// A file with one prompt a line; they are computed together, and their texts printed in their order.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "prompt")]
    prompts_file: Option<PathBuf>,
    /// Most tokens to generate.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = at_least(0usize))]
    max_new_tokens: usize,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// End before this text, or at the control token that it spells; may be given several times.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// Go on after the end token.
    #[arg(long)]
    ignore_eos: bool,
    /// How many texts to generate from each prompt.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least(1u32))]
    num_samples: u32,
    /// Print the prompt before the text.
    #[arg(long)]
    echo: bool,
    /// Put the prompt into the model's chat format, as the user's message.
    #[arg(long)]
    chat: bool,
    /// One JSON object for each text.
    #[arg(long)]
    json: bool,
}

/// Runs `mist generate` on the best device, or on `--devices`.
pub fn run(args: &GenerateArgs, printer: &Printer) -> anyhow::Result<Status> {
    run_on(args, &args.devices, printer)
}

/// Runs `mist generate-sequential`: without `--devices` on all accelerators, else on one CPU.
pub fn run_sequential(args: &GenerateArgs, printer: &Printer) -> anyhow::Result<Status> {
    let mut devices = args.devices.clone();
    if devices.devices.is_none() && args.model.device == "auto" {
        devices.devices = Some(Devices::First(placement::accelerators().len().max(1)));
    }
    run_on(args, &devices, printer)
}

fn run_on(args: &GenerateArgs, devices: &DevicesArgs, printer: &Printer) -> anyhow::Result<Status> {
    args.sampling.check()?;
    if args.plan {
        return plan::print(args, devices, printer);
    }
    let path = args.model.checkpoint.path()?;
    let texts = prompts::read(args, printer)?;
    let memory = PeakMemory::watch();
    let mut opened = args.model.open(&path, printer)?;
    args.context.shorten(&mut opened)?;
    let sampling = args.sampling.sampling(&opened.checkpoint, printer)?;
    let prompts = prompts::encode(args, &opened, texts)?;
    let room = room(args, &opened.checkpoint, &prompts);
    let loaded = args.model.load(opened, devices, room, printer)?;
    let seed = args.sampling.seed(&sampling, printer);
    let interrupt = Interrupt::install()?;
    let _listening = interrupt.listen();
    let ends = loaded.opened.ends(&args.stop, args.chat, args.ignore_eos);
    let job = Job { args, sampling, loaded: &loaded, ends, memory: &memory, interrupt: &interrupt, printer };
    let ended = match prompts.as_slice() {
        [prompt] if args.prompts_file.is_none() => one::run(&job, prompt, seed),
        prompts => batch::run(&job, prompts, seed),
    };
    ended.map_err(|error| loaded.explained(error))
}

/// The cache that the prompts need with what follows them: the longest of them, and where there is memory all that are
/// computed at once.
fn room(args: &GenerateArgs, checkpoint: &Checkpoint, prompts: &[Prompt]) -> Room {
    let positions = |prompt: &Prompt| prompt.ids.len().saturating_add(args.max_new_tokens);
    let longest = prompts.iter().map(positions).max().unwrap_or(0);
    let prompt = prompts.iter().map(|prompt| prompt.ids.len()).max().unwrap_or(0);
    let one = Room { fewest: prompt + 1, ..Room::of_one(checkpoint, longest) };
    if args.prompts_file.is_none() {
        return one;
    }
    let slots = |prompt| batch_slots(&checkpoint.config, positions(prompt), longest);
    let mut slots: Vec<usize> = prompts.iter().map(slots).collect();
    slots.sort_unstable_by(|a, b| b.cmp(a));
    let texts = slots.iter().flat_map(|slots| std::iter::repeat_n(*slots, args.num_samples as usize));
    Room { wanted: texts.take(MOST_AT_ONCE).sum(), ..one }
}

/// What a run has at hand.
struct Job<'a> {
    args: &'a GenerateArgs,
    sampling: Sampling,
    loaded: &'a Loaded,
    /// Ids that end a text.
    ends: Vec<u32>,
    memory: &'a PeakMemory,
    interrupt: &'a Interrupt,
    printer: &'a Printer,
}

impl Job<'_> {
    /// A text on its way out, which is shown as it comes or (`collects`) not at all.
    fn output(&self, prompt: &Prompt, collects: bool) -> Output<'_> {
        let tokenizer = &self.loaded.opened.tokenizer;
        let detokenizer =
            if self.args.chat { tokenizer.detokenizer_at_start() } else { tokenizer.detokenizer() };
        let stream = TextStream::new(detokenizer, &self.args.stop);
        let mut output = Output::new(stream, collects, self.printer);
        if self.args.echo && !self.args.json {
            output.write(&prompt.text);
        }
        output
    }

    /// What a text depends on beside the model and the prompt, as `--json` has it.
    fn settings(&self) -> serde_json::Value {
        let mut settings = sampling::to_json(&self.sampling);
        settings["stop"] = json!(self.args.stop);
        settings["max_new_tokens"] = json!(self.args.max_new_tokens);
        settings["ignore_eos"] = json!(self.args.ignore_eos);
        settings["chat"] = json!(self.args.chat);
        settings["context_length"] = json!(self.loaded.opened.checkpoint.config.context_length);
        settings["cache_dtype"] = json!(self.loaded.cache_dtype.name());
        settings["dtype"] = json!(self.args.model.dtype.name());
        settings["activations"] = json!(self.loaded.activations());
        settings
    }

    /// The warning about texts that the context cut short, of as many as there are.
    fn warn_of_context(&self, cut: usize, texts: usize) {
        let context = self.loaded.opened.checkpoint.config.context_length;
        let which = match (cut, texts) {
            (0, _) => return,
            (1, 1) => "the text".into(),
            _ => format!("{cut} of {texts} texts"),
        };
        self.printer.warn(&format!("{which} ended because the context of {context} tokens is full"));
    }

    /// A text as `--json` has it.
    fn json(
        &self,
        prompt: &Prompt,
        generation: &Generation,
        text: &str,
        disk: Option<f64>,
    ) -> serde_json::Value {
        let timings = &generation.timings;
        json!({
            "prompt_ids": prompt.ids,
            "output_ids": generation.ids,
            "text": text,
            "finish_reason": generation.finish.name(),
            "timings": {
                "load_seconds": self.loaded.load_seconds,
                "prompt_tokens_per_second": timings.prompt_rate(),
                "generate_tokens_per_second": timings.generate_rate(),
                "time_to_first_token_seconds": timings.first_token.as_secs_f64(),
            },
            "peak_memory_bytes": self.memory.bytes(),
            "sampling": self.settings(),
            "weights_bytes_per_token": placement::bytes_per_token(&self.loaded.opened.checkpoint),
            "disk_bytes_per_token": disk,
        })
    }
}
