//! `mist generate` and `mist generate-sequential`: generate texts from prompts, and print only these to stdout.
//!
//! | file | what |
//! |---|---|
//! | `args` | the flags |
//! | `job` | the data of a run that all of its texts share |
//! | `prompts` | reading and encoding prompts |
//! | `one` | texts of one prompt, generated one after another |
//! | `batch` | texts of many prompts, generated together |
//! | `json` | the JSON object of a text |
//! | `plan` | the output of `--plan` |

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

/// Help of `--devices` in `generate-sequential`, where the default differs from that in `generate`.
pub const SEQUENTIAL_DEVICES: &str =
    "Number of devices, or a list such as cuda:0,cuda:1,cpu [default: all accelerators, else one CPU]";

/// The example in the help of `generate-sequential`, whose flags are those of `generate`.
pub const SEQUENTIAL_EXAMPLE: &str = "Example:
  mist generate-sequential mistralai/Mixtral-8x7B-v0.1 \\
    --devices 4 -p \"My name is\"";

/// Runs `mist generate`, by default on the best device.
pub fn run(args: &GenerateArgs, printer: &Printer) -> anyhow::Result<Status> {
    run_on(args, &args.model, printer)
}

/// Runs `mist generate-sequential`, by default on all accelerators, else on one CPU.
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
    };
    let job = Job { args, model, options, memory: &memory, interrupt: &interrupt, printer };
    match prompts.as_slice() {
        [prompt] if args.prompts_file.is_none() => one::run(&job, prompt, seed),
        prompts => batch::run(&job, prompts),
    }
}
