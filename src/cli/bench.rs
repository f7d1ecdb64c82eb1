//! `mist bench`: measures the speed of a model and compares it with the machine's memory bandwidth.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use mist::bench::{Part, Speed, Work};
use mist::checkpoint::open::{Checkpoint, Format};
use mist::generate::MOST_AT_ONCE;
use mist::placement;
use mist::runtime::{Measured, Model, Placed, Room};
use mist::system::numbers::{at_least, whole};
use mist::system::process::{PeakMemory, in_large_pages};
use mist::terminal::{Interrupt, Printer, Running, Table, watch};

use super::exit::Status;
use super::model::ModelArgs;

/// Interval between memory measurements, long enough not to slow down the model.
const LOOK: Duration = Duration::from_millis(50);

/// Measure how fast a model computes prompts and generates, without tokenizing and sampling.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  mist bench mistralai/Mistral-7B-v0.1 \\\n    --quantize q4_k --depth 4096"
)]
pub struct BenchArgs {
    /// Tokens of the prompt; 0 for none.
    #[arg(short, long, value_name = "N", default_value_t = 512, value_parser = at_least(0usize))]
    prompt_tokens: usize,
    /// Tokens to generate, the first at the depth and not after the prompt; 0 for none.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 128, value_parser = at_least(0usize))]
    generate_tokens: usize,
    /// Tokens that the cache holds before the prompt, and before generating.
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = at_least(0usize))]
    depth: usize,
    /// Number of sequences that are generated together; rates are for all of them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(1..=MOST_AT_ONCE as u16))]
    sequences: u16,
    /// Number of measurements of each part.
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = at_least(1u16))]
    repetitions: u16,
    /// Print one JSON object; bandwidth_share is the rate of reading weights and cache divided by the memory bandwidth,
    /// weights_share that of weights alone; both are null if unknown or if weights are not read as stored.
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    model: ModelArgs,
}

/// Runs `mist bench`.
pub fn run(args: &BenchArgs, printer: &Printer) -> anyhow::Result<Status> {
    let work = args.work();
    if work.prompt_tokens == 0 && work.generate_tokens == 0 {
        printer.error(
            "--prompt-tokens 0 and --generate-tokens 0 leave nothing to measure",
            Some("leave one of them out"),
        );
        return Ok(Status::Usage);
    }
    let located = args.model.locate(printer)?;
    // Checks the context before making a conversion. Errors of opening are reported below.
    let original = located.quantize.and_then(|_| Checkpoint::open_original(&located.path).ok());
    original.map_or(Ok(()), |original| work.check_context(original.config.context_length))?;
    let opened = args.model.open(&located, printer)?;
    work.check_context(opened.checkpoint.config.context_length)?;
    let one = Room::of_one(&opened.checkpoint, work.positions());
    let slots = one.least.saturating_mul(work.sequences);
    // `mist bench` has no --context-length to suggest.
    let room = Room { least: slots, wanted: slots, fewest: usize::MAX };
    let settings = args.model.settings();
    let placed = Placed::new(&settings, &opened.checkpoint, room)?;
    work.check_memory(placed.host_memory(&opened.checkpoint), placement::available_memory())?;
    let as_stored = placed.stay_as_stored(&opened.checkpoint);
    let memory = PeakMemory::watch();
    let model = Model::load(opened, placed, &settings, &mut Running::new(printer))?;
    let loading = memory.bytes();
    drop(memory);
    // The buffer of this measurement must not count as memory of the model, so it runs between the two watches.
    let read = model.is_on_host().then(mist::bench::read_rate).flatten();
    let memory = PeakMemory::watch_every(LOOK);
    let interrupt = Interrupt::install()?;
    let _listening = interrupt.listen();
    let progress = Arc::new(printer.tokens("Warming up"));
    let (bos, watch) = (model.tokenizer().bos(), watch(&interrupt, &progress));
    let mut speed = Speed::new(model.transformer().clone(), model.cache_dtype(), work, bos, watch);
    speed.warm_up()?;
    let mut measure = |part, name: &str| {
        let repetitions = usize::from(args.repetitions);
        let begin = &mut |i| progress.relabel(&format!("{name} {} of {repetitions}:", i + 1));
        speed.measure(part, repetitions, begin)
    };
    let prompt = measure(Part::Prompt, "Prompt, repetition")?;
    let generate = measure(Part::Generate, "Generating, repetition")?;
    progress.clear();
    if interrupt.take() {
        return Ok(Status::Interrupted);
    }
    let peak_memory = memory.bytes().max(loading);
    // Only the `mist` layout is multiplied from the map: blocks of other layouts are copied to panels.
    let reads_map = as_stored && model.is_on_host() && model.checkpoint().format == Format::Mist;
    let large_pages = reads_map.then(in_large_pages).flatten();
    let measured = Measured {
        model,
        work,
        repetitions: args.repetitions,
        as_stored,
        prompt,
        generate,
        read,
        peak_memory,
        large_pages,
    };
    match args.json {
        true => printer.data(&format!("{}\n", measured.as_json()))?,
        false => print(&measured, printer)?,
    }
    Ok(Status::Success)
}

impl BenchArgs {
    fn work(&self) -> Work {
        let Self { prompt_tokens, generate_tokens, depth, .. } = *self;
        Work { prompt_tokens, generate_tokens, depth, sequences: self.sequences.into() }
    }
}

/// Prints a table of the rates, and lines about the devices and types.
fn print(measured: &Measured, printer: &Printer) -> anyhow::Result<()> {
    let mut table = Table::new(Measured::HEADINGS).numbers([false, true, true, true, true]);
    measured.rows().into_iter().for_each(|row| table.row(row));
    printer.data(&table.to_string())?;
    measured.lines().iter().for_each(|line| printer.note(line));
    Ok(())
}
