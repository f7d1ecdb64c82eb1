//! `mist generate` and `mist generate-sequential`: text from prompts, on stdout and nothing else.
//!
//! | file | one idea |
//! |---|---|
//! | `args` | flags |
//! | `job` | what a run has at hand for each of its texts |
//! | `prompts` | where prompts come from, and their ids |
//! | `one` | texts of one prompt, one after another, shown as they come |
//! | `batch` | texts of many prompts at once, shown in their order |
//! | `json` | a text with all that it depends on |
//! | `plan` | what `--plan` prints |

mod args;
mod batch;
mod job;
mod json;
mod one;
mod plan;
mod prompts;

use mist::runtime::Options;
use mist::system::process::PeakMemory;
use mist::terminal::{Interrupt, Printer};

pub use self::args::GenerateArgs;
use self::job::{Job, room};
use super::exit::Status;
use super::model::ModelArgs;

/// Help of `--devices` in `generate-sequential`, which has another default.
pub const SEQUENTIAL_DEVICES: &str =
    "How many devices, or a list such as cuda:0,cuda:1,cpu; all accelerators by default, else one CPU";

/// An example of `generate-sequential`, which has the flags of `generate` and its own use.
pub const SEQUENTIAL_EXAMPLE: &str = "Example:
  mist generate-sequential mistralai/Mixtral-8x7B-v0.1 \\
    --devices 4 -p \"My name is\"";

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
        prompts => batch::run(&job, prompts),
    }
}
