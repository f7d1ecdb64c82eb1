//! `mist generate` and `mist generate-sequential`: text from a prompt, on stdout and nothing else.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueHint};
use mist::generate::{CHUNK, Finish, Generation, Sampler, Sampling, Session, TextStream};
use mist::kernels::Scheme;
use mist::placement::{self, Devices, Load, Plan, Share};
use mist::terminal::{Interrupt, Printer};
use mist::text::Message;
use serde_json::json;

use super::exit::{Hint, Status};
use super::memory::PeakMemory;
use super::model::{DevicesArgs, Loaded, ModelArgs, Opened};
use super::output::{Output, note_timings};
use super::quantized;
use super::table::Table;

/// lit-gpt's default prompt.
const DEFAULT_PROMPT: &str = "What food do llamas eat?";

/// Largest prompt that is read from a file or a pipe.
const LARGEST_PROMPT: u64 = 256 << 20;

/// Help of `--devices` in `generate-sequential`, which has another default.
pub const SEQUENTIAL_DEVICES: &str =
    "How many devices, or a list such as cuda:0,cuda:1,cpu; all accelerators by default, else one CPU";

/// An example of `generate-sequential`, which has the flags of `generate` and its own use.
pub const SEQUENTIAL_EXAMPLE: &str = "Example:
  mist generate-sequential --checkpoint-dir mistralai/Mixtral-8x7B-v0.1 \\
    --devices 4 --prompt \"My name is\"";

/// How tokens are chosen.
#[derive(Args, Clone, Debug)]
pub struct SamplingArgs {
    /// 0 takes the most likely token; higher is more varied.
    #[arg(long, default_value_t = 0.8, allow_negative_numbers = true)]
    pub temperature: f32,
    /// Choose among the K most likely tokens; 0 for all.
    #[arg(long, value_name = "K", default_value_t = 50, allow_negative_numbers = true)]
    pub top_k: usize,
    /// Choose among the fewest tokens whose probabilities reach P.
    #[arg(long, value_name = "P", default_value_t = 1.0, allow_negative_numbers = true)]
    pub top_p: f32,
    /// Leave out tokens less than P times as likely as the most likely one.
    #[arg(long, value_name = "P", default_value_t = 0.0, allow_negative_numbers = true)]
    pub min_p: f32,
    /// Make tokens that occurred less likely; 1 for no change.
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_negative_numbers = true)]
    pub repeat_penalty: f32,
    /// Same seed, same text; drawn and printed when not given.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

impl SamplingArgs {
    /// The checked values.
    pub fn sampling(&self) -> anyhow::Result<Sampling> {
        let Self { temperature, top_k, top_p, min_p, repeat_penalty, .. } = *self;
        let sampling = Sampling { temperature, top_k, top_p, min_p, repeat_penalty };
        sampling.check()?;
        Ok(sampling)
    }

    /// The seed, drawn and told where chance plays a part and none was given.
    pub fn seed(&self, printer: &Printer) -> u64 {
        self.seed.unwrap_or_else(|| {
            let seed = rand::random::<u32>().into();
            if self.temperature > 0.0 {
                printer.note(&format!("Seed: {seed}"));
            }
            seed
        })
    }
}

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
    /// Print the plan (layers, bytes of weights and cache of each device) and stop.
    #[arg(long)]
    plan: bool,
    /// The text to continue; - or a pipe is read to its end, less its last newline; "What food do llamas eat?" on a
    /// terminal.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// A file with one prompt a line.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "prompt")]
    prompts_file: Option<PathBuf>,
    /// Most tokens to generate.
    #[arg(long, value_name = "N", default_value_t = 50)]
    max_new_tokens: usize,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// End before this text; may be given several times.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// Go on after the end token.
    #[arg(long)]
    ignore_eos: bool,
    /// How many texts to generate from each prompt.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
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
    let sampling = args.sampling.sampling()?;
    if args.plan {
        return print_plan(args, devices, printer);
    }
    let path = args.model.checkpoint.path()?;
    let prompts = prompts(args, printer)?;
    let memory = PeakMemory::watch();
    let loaded = args.model.load(path, devices, printer)?;
    let seed = args.sampling.seed(printer);
    let interrupt = Interrupt::install()?;
    let _listening = interrupt.listen();
    let mut sampler = Sampler::new(sampling, seed)?;
    let mut session = Session::new(&loaded.model, loaded.cache_dtype);
    let alone = prompts.len() == 1 && args.num_samples == 1;
    for prompt in &prompts {
        let prompt_ids = encode(&loaded.opened, prompt, args.chat)?;
        for _ in 0..args.num_samples {
            let run =
                Run { args, loaded: &loaded, prompt, prompt_ids: &prompt_ids, interrupt: &interrupt, alone };
            let generation = run.generate(&mut session, &mut sampler, printer, &memory)?;
            if generation.finish == Finish::Interrupted {
                return Ok(Status::Interrupted);
            }
        }
    }
    Ok(Status::Success)
}

/// The prompts: of the flag, of the file, or of stdin.
fn prompts(args: &GenerateArgs, printer: &Printer) -> anyhow::Result<Vec<String>> {
    if let Some(path) = &args.prompts_file {
        let text = read_limited(
            std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?,
        )
        .with_context(|| format!("cannot read {}", path.display()))?;
        if let Some(empty) = text.lines().position(|line| line.trim().is_empty()) {
            bail!("{}: line {} is empty, every line is a prompt", path.display(), empty + 1);
        }
        return Ok(text.lines().map(str::to_string).collect());
    }
    let prompt = match args.prompt.as_deref() {
        Some(text) if text != "-" => text.to_string(),
        None if std::io::stdin().is_terminal() => {
            printer.note(&format!("Prompt: {DEFAULT_PROMPT}"));
            DEFAULT_PROMPT.into()
        }
        _ => {
            let mut text = read_limited(std::io::stdin()).context("cannot read the prompt from stdin")?;
            // The newline that `echo` adds is not part of what is to be continued.
            text.truncate(
                text.strip_suffix('\n').map_or(&*text, |t| t.strip_suffix('\r').unwrap_or(t)).len(),
            );
            text
        }
    };
    Ok(vec![prompt])
}

fn read_limited(source: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = source.take(LARGEST_PROMPT + 1).read_to_string(&mut text)?;
    if read as u64 > LARGEST_PROMPT {
        bail!("it is longer than {LARGEST_PROMPT} bytes");
    }
    Ok(text)
}

/// The prompt's ids: plain, with the beginning token where the tokenizer's settings have it, or as a chat.
fn encode(opened: &Opened, prompt: &str, chat: bool) -> anyhow::Result<Vec<u32>> {
    let tokenizer = &opened.tokenizer;
    match chat {
        true => Ok(tokenizer.encode_chat(&[Message::new("user", prompt)])?),
        false => Ok(tokenizer.encode(prompt, tokenizer.adds_bos())?),
    }
}

/// One text of one prompt.
struct Run<'a> {
    args: &'a GenerateArgs,
    loaded: &'a Loaded,
    prompt: &'a str,
    prompt_ids: &'a [u32],
    interrupt: &'a Interrupt,
    /// No other text comes before or after it.
    alone: bool,
}

impl Run<'_> {
    fn generate(
        &self,
        session: &mut Session,
        sampler: &mut Sampler,
        printer: &Printer,
        memory: &PeakMemory,
    ) -> anyhow::Result<Generation> {
        let Opened { tokenizer, end_ids, .. } = &self.loaded.opened;
        let detokenizer =
            if self.args.chat { tokenizer.detokenizer_at_start() } else { tokenizer.detokenizer() };
        let stream = TextStream::new(detokenizer, &self.args.stop);
        let mut output = Output::new(stream, self.args.json, printer);
        if self.args.echo && !self.args.json {
            output.write(self.prompt);
        }
        let end_ids = if self.args.ignore_eos { &[] } else { end_ids.as_slice() };
        let most = Some(self.args.max_new_tokens);
        let generation =
            session.generate(self.prompt_ids, sampler, end_ids, most, self.interrupt.flag(), &mut |id| {
                output.push(id)
            })?;
        let text = output.finish(!self.alone)?;
        if self.args.json {
            printer.data(&format!("{}\n", self.json(&generation, &text, memory)))?;
        }
        note_timings(&generation.timings, printer);
        Ok(generation)
    }

    fn json(&self, generation: &Generation, text: &str, memory: &PeakMemory) -> serde_json::Value {
        let timings = &generation.timings;
        json!({
            "prompt_ids": self.prompt_ids,
            "output_ids": generation.ids,
            "text": text,
            "finish_reason": generation.finish.name(),
            "timings": {
                "load_seconds": self.loaded.load_seconds,
                "prompt_tokens_per_second": timings.prompt_rate(),
                "generate_tokens_per_second": timings.generate_rate(),
                "time_to_first_token_seconds": timings.first_token.as_secs_f64(),
            },
            "peak_memory_bytes": memory.bytes(),
        })
    }
}

fn not_quantized(path: &Path, scheme: Scheme) -> anyhow::Error {
    let path = path.display();
    let error = anyhow!("{path} has no conversion to {scheme} to plan with");
    error.context(Hint(format!("a run with --quantize {scheme} makes one and keeps it")))
}

/// What `--plan` prints: one line a device.
fn print_plan(args: &GenerateArgs, devices: &DevicesArgs, printer: &Printer) -> anyhow::Result<Status> {
    args.model.prepare()?;
    let path = args.model.checkpoint.path()?;
    let path = match args.model.quantize {
        // A plan makes nothing.
        Some(scheme) => quantized::existing(&path, scheme)?.ok_or_else(|| not_quantized(&path, scheme))?,
        None => path,
    };
    let opened = Opened::new(&path, printer)?;
    let plan: Plan = args.model.plan(&opened.checkpoint, devices)?;
    let config = &opened.checkpoint.config;
    let element = args.model.cache_dtype(&plan)?.size_in_bytes();
    let ring = config.window.map_or(usize::MAX, |window| window.saturating_add(CHUNK - 1));
    let positions = ring.min(config.context_length);
    let loads = plan.loads(config, &opened.checkpoint.weights, positions, element);
    if args.json {
        let device = |(share, load): (&Share, &Load)| {
            json!({
                "device": share.device.to_string(),
                "first_layer": share.layers.start,
                "layers": share.layers.len(),
                "weight_bytes": load.weights,
                "head_bytes": load.head,
                "cache_bytes": load.cache,
            })
        };
        let devices: Vec<_> = plan.shares.iter().zip(&loads).map(device).collect();
        printer.data(&format!("{}\n", json!({"positions": positions, "devices": devices})))?;
        return Ok(Status::Success);
    }
    let mut table = Table::new(["device", "layers", "weights", "head", "cache"]);
    for (share, load) in plan.shares.iter().zip(&loads) {
        let layers = format!("{}-{}", share.layers.start, share.layers.end - 1);
        let size = |bytes: u64| indicatif::HumanBytes(bytes).to_string();
        table.row([share.device.to_string(), layers, size(load.weights), size(load.head), size(load.cache)]);
    }
    printer.data(&table.to_string())?;
    printer.note(&format!("The cache is counted for {positions} positions"));
    Ok(Status::Success)
}
