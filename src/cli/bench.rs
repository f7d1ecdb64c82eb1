//! `mist bench`: how fast a model runs, beside what the machine's memory gives.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::HumanBytes;
use mist::arch::Config;
use mist::bench::{Part, Rates, Speed, Work};
use mist::checkpoint::open::{Checkpoint, Format};
use mist::cpu::pool;
use mist::generate::MOST_AT_ONCE;
use mist::placement::{self, HostMemory};
use mist::runtime::{Measured, Model, Placed, Room, schemes};
use mist::system::numbers::{at_least, whole};
use mist::system::process::{PeakMemory, in_large_pages};
use mist::system::quote::counted;
use mist::terminal::{Interrupt, Printer, Table, watch};

use super::exit::{Hint, Status, Usage};
use super::inspect::shares;
use super::model::ModelArgs;
use super::running::Running;

/// Looks at memory while nothing but the model should run.
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
    /// Sequences that are generated together; rates are those of all.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(1..=MOST_AT_ONCE as u16))]
    sequences: u16,
    /// How often each part is measured.
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = at_least(1u16))]
    repetitions: u16,
    /// One JSON object on stdout; bandwidth_share is the part of memory's read rate at which generating reads weights and
    /// cache, weights_share that of weights alone, both null where it is unknown or weights are not read as stored.
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
    // Before a conversion is made of it. What is wrong with opening it is told below.
    let original = located.quantize.and_then(|_| Checkpoint::open_original(&located.path).ok());
    original.map_or(Ok(()), |original| check_context(&work, &original.config))?;
    let opened = args.model.open(&located, printer)?;
    check_context(&work, &opened.checkpoint.config)?;
    let one = Room::of_one(&opened.checkpoint, work.positions());
    let slots = one.least.saturating_mul(work.sequences);
    // There is no --context-length that could be advised.
    let room = Room { least: slots, wanted: slots, fewest: usize::MAX };
    let settings = args.model.settings();
    let placed = Placed::new(&settings, &opened.checkpoint, room)?;
    check_memory(&work, placed.host_memory(&opened.checkpoint), placement::available_memory())?;
    let as_stored = placed.stay_as_stored(&opened.checkpoint);
    let memory = PeakMemory::watch();
    let model = Model::load(opened, placed, &settings, &mut Running::new(printer))?;
    let loading = memory.bytes();
    drop(memory);
    // Between the two: the buffer is no memory that the model needs.
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
    // Blocks of other formats are copied into the kernels' order.
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

/// The tokens that are asked for have positions in the model's context.
fn check_context(work: &Work, config: &Config) -> anyhow::Result<()> {
    let (positions, context) = (work.positions(), config.context_length);
    if positions <= context {
        return Ok(());
    }
    let longest = work.prompt_tokens.max(work.generate_tokens);
    let too_long = [("--prompt-tokens", work.prompt_tokens), ("--generate-tokens", work.generate_tokens)];
    let too_long = too_long.into_iter().filter(|(_, tokens)| *tokens > context);
    let shorter = too_long.map(|(flag, _)| format!(" {flag} {context}")).collect::<String>();
    let hint = match work.depth {
        0 => shorter.trim_start().to_string(),
        _ => format!("--depth {}{shorter}", context.saturating_sub(longest)),
    };
    let error = match work.depth {
        0 => format!("{longest} tokens are more than the model's context of {context}"),
        depth => format!(
            "a depth of {depth} and {} are {positions} positions, the model's context is {context}",
            counted(longest, "token")
        ),
    };
    Err(Usage::with_hint(error, hint))
}

/// What is made in the host's memory has room in what it can give, where that is known.
fn check_memory(work: &Work, made: HostMemory, available: Option<u64>) -> anyhow::Result<()> {
    let Some(available) = available.filter(|available| made.total() > *available) else { return Ok(()) };
    let copies = match made.copies {
        0 => String::new(),
        copies => format!(" and {} of rounded weights", HumanBytes(copies)),
    };
    let error = anyhow::anyhow!(
        "{} of keys and values{copies} are more than the {} of memory that can be had",
        HumanBytes(made.cache),
        HumanBytes(available),
    );
    let of_one = made.cache / work.sequences.max(1) as u64;
    let hint = match available.saturating_sub(made.copies) / of_one.max(1) {
        _ if made.copies > available => "leave --dtype out".into(),
        0 if work.depth > 0 => "a smaller --depth, or --cache-dtype q8_0".into(),
        0 => "fewer --prompt-tokens and --generate-tokens, or --cache-dtype q8_0".into(),
        sequences => format!("--sequences {sequences}"),
    };
    Err(error.context(Hint(hint)))
}

/// A table of the rates, and lines about what they were measured with.
fn print(measured: &Measured, printer: &Printer) -> anyhow::Result<()> {
    let mut table = Table::new(["", "tokens/s", "GB/s", "of reading", "weights alone"])
        .numbers([false, true, true, true, true]);
    let gigabytes = |bytes: Option<f64>| bytes.map_or(String::new(), |b| format!("{:.2}", b / 1e9));
    let percent = |share: Option<f64>| share.map_or(String::new(), |share| format!("{:.1} %", 100.0 * share));
    let rate = |rates: &Rates| match rates.deviation() {
        Some(deviation) => format!("{:.2} ± {deviation:.2}", rates.mean()),
        None => format!("{:.2}", rates.mean()),
    };
    let mut row = |name: String, rates: Option<&Rates>, bytes, shares: [Option<f64>; 2]| {
        let [all, weights] = shares.map(percent);
        table.row([name, rates.map_or(String::new(), rate), gigabytes(bytes), all, weights]);
    };
    if let Some(rates) = &measured.prompt {
        row(format!("prompt of {}", measured.work.prompt_tokens), Some(rates), None, [None; 2]);
    }
    if let Some(rates) = &measured.generate {
        let shares = [measured.bandwidth_share(), measured.weights_share()];
        let name = format!("generating {}", measured.work.generate_tokens);
        row(name, Some(rates), measured.effective_bandwidth(), shares);
    }
    if let Some(read) = measured.read {
        row("reading memory".into(), None, Some(read.median), [None; 2]);
    }
    printer.data(&table.to_string())?;
    let kernels = measured
        .kernels()
        .map_or(String::new(), |name| format!("{}, {name} kernels; ", counted(pool::threads(), "thread")));
    let (weights, cache) =
        (shares(&schemes(measured.model.checkpoint())), measured.model.cache_dtype().name());
    let activations = match measured.model.activations() {
        Some(bits) => format!("activations {bits} bits; "),
        None => String::new(),
    };
    printer.note(&format!(
        "On {}: {kernels}weights {weights}; {activations}cache {cache}",
        measured.model.devices()
    ));
    let bytes = HumanBytes(placement::bytes_per_token(measured.model.checkpoint()));
    let peak = measured.peak_memory.map_or(String::new(), |peak| {
        format!("; at most {} of memory beside mapped weights", HumanBytes(peak))
    });
    let large = measured
        .large_pages
        .map_or(String::new(), |share| format!(", {} of which in large pages", percent(Some(share))));
    let load = measured.model.load_seconds();
    printer.note(&format!("A token reads {bytes} of weights. Loaded in {load:.2} s{peak}{large}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_and_copies_have_room_in_memory() {
        let check = |sequences, depth, cache, copies, available| {
            let work = Work { prompt_tokens: 1, generate_tokens: 1, depth, sequences };
            let error = check_memory(&work, HostMemory { cache, copies }, available).err()?;
            Some((error.root_cause().to_string(), error.downcast_ref::<Hint>()?.0.clone()))
        };
        let (free, cache) = (Some(1 << 20), 32 << 20);
        assert_eq!(check(4, 9, cache, 0, None), None);
        assert_eq!(check(4, 9, 1 << 20, 0, free), None);
        let is = |found: Option<(String, String)>, error: &str, hint: &str| {
            assert_eq!(found, Some((error.into(), hint.into())));
        };
        let both = "768.00 KiB of keys and values and 512.00 KiB of rounded weights are more than the 1.00 MiB of memory \
                    that can be had";
        is(check(3, 9, 768 << 10, 512 << 10, free), both, "--sequences 2");
        let keys = "32.00 MiB of keys and values are more than the 1.00 MiB of memory that can be had";
        is(check(4, 9, cache, 0, free), keys, "a smaller --depth, or --cache-dtype q8_0");
        is(
            check(1, 0, cache, 0, free),
            keys,
            "fewer --prompt-tokens and --generate-tokens, or --cache-dtype q8_0",
        );
        let copies = "0 B of keys and values and 2.00 MiB of rounded weights are more than the 1.00 MiB of memory that can be had";
        is(check(1, 0, 0, 2 << 20, free), copies, "leave --dtype out");
    }
}
