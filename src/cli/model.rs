//! What every command that runs a model shares: its flags, and the opening of checkpoint, tokenizer and model.

use std::num::NonZeroUsize;
use std::sync::Arc;

use candle_core::DType;
use clap::builder::TypedValueParser;
use clap::{Args, ValueEnum};
use mist::arch::Config;
use mist::checkpoint::open::Checkpoint;
use mist::cpu::pool;
use mist::generate::{GenerationError, SamplingError};
use mist::kernels::attention::CacheType;
use mist::model::Transformer;
use mist::placement::{self, DeviceName, Share};
use mist::quant::{ActivationBits, Scheme};
use mist::system::numbers::{positive, whole};
use mist::tensor::Arithmetic;
use mist::terminal::Printer;
use mist::terminal::command::Offering;
use mist::text::Tokenizer;

use super::exit::{Hint, Usage};
use super::inspect::schemes;
use super::located::{CheckpointArgs, Located, Wanted};
use super::opened::Opened;
use super::placing::{DevicesArgs, Placed, Room};
use super::quantized;
use super::values::{Quantize, one_of, quantize};

/// How a model is run.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    #[command(flatten)]
    pub checkpoint: CheckpointArgs,
    /// Where to run: auto, cpu, cuda, cuda:N or metal.
    #[arg(
        long,
        default_value = "auto",
        conflicts_with = "devices",
        value_parser = device(),
        hide_possible_values = true,
        help_heading = "Devices"
    )]
    pub device: String,
    /// Type of computation.
    ///
    /// On the CPU sums are always in f32. f32 computes on the values that quantized weights stand for, and rounds no
    /// activations.
    #[arg(long, value_enum, default_value_t = Precision::Auto, hide_short_help = true)]
    pub dtype: Precision,
    /// Bits that activations are rounded to on the CPU, for products with quantized weights.
    ///
    /// auto is 16 for models of fewer than 537 million parameters, else 8. --dtype f32 rounds nothing.
    #[arg(long, value_enum, value_name = "BITS", default_value_t = Activations::Auto, hide_short_help = true)]
    pub activations: Activations,
    /// Type of the keys and values in the cache.
    ///
    /// auto is f16 on the CPU, f32 with --dtype f32, else the type of computation.
    #[arg(long, value_enum, default_value_t = CachePrecision::Auto, hide_short_help = true)]
    pub cache_dtype: CachePrecision,
    /// Quantize to this scheme, converting once and reusing the result; none takes the weights as published.
    ///
    /// By default a conversion that lies in the model's folder runs, else the weights as published. Names of llama.cpp's
    /// mixes (Q4_K_M) are known, and capitals.
    #[arg(long, value_name = "SCHEME", value_parser = quantize(), ignore_case = true)]
    pub quantize: Option<Quantize>,
    /// CPU threads [default: one per core, of the fast kind].
    #[arg(short, long, value_name = "N", help_heading = "Devices", value_parser = whole(1..=1024u16))]
    pub threads: Option<u16>,
}

/// Whether a text begins with the beginning token.
#[derive(Args, Clone, Debug)]
pub struct BeginningArgs {
    /// Begin with the beginning token, whatever the tokenizer's settings.
    #[arg(long, conflicts_with = "no_bos")]
    bos: bool,
    /// Do not begin with the beginning token.
    #[arg(long)]
    no_bos: bool,
}

impl BeginningArgs {
    /// What the flags say, else the tokenizer's own settings.
    pub fn adds_bos(&self, tokenizer: &Tokenizer) -> bool {
        (tokenizer.adds_bos() || self.bos) && !self.no_bos
    }
}

/// How much of a model's context is used.
#[derive(Args, Clone, Debug)]
pub struct ContextArgs {
    /// Most tokens of the context, for which memory is planned [default: the model's context].
    #[arg(short, long, value_name = "N", help_heading = "Model", value_parser = positive)]
    context_length: Option<NonZeroUsize>,
}

/// `--dtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    Auto,
    F32,
    F16,
    Bf16,
}

/// `--activations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Activations {
    Auto,
    #[value(name = "8")]
    Eight,
    #[value(name = "16")]
    Sixteen,
}

/// `--cache-dtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CachePrecision {
    Auto,
    F32,
    F16,
    Bf16,
    #[value(name = "q8_0")]
    Q8_0,
}

impl Loaded {
    /// An error of running the model, with a hint where it is a matter of types. Keys and values beyond 65504 are none in
    /// an f16 cache, nor scales in one of q8_0.
    pub fn explained(&self, error: anyhow::Error) -> anyhow::Error {
        let is_no_number =
            matches!(error.downcast_ref(), Some(GenerationError::Sampling(SamplingError::NotNumbers)));
        let is_narrow = matches!(self.cache_dtype, CacheType::F16 | CacheType::Q8_0);
        match is_no_number {
            true => error.context(Hint(not_numbers(is_narrow))),
            false => error,
        }
    }
}

/// What to do about logits that are no numbers.
pub fn not_numbers(has_narrow_cache: bool) -> String {
    let verify = "`mist inspect --verify` finds damaged weights";
    match has_narrow_cache {
        true => {
            format!("--cache-dtype bf16 holds keys and values beyond 65504, which f16 does not; {verify}")
        }
        false => format!("--dtype f32 holds the largest numbers; {verify}"),
    }
}

impl Precision {
    /// What `--dtype` takes.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Auto => "auto",
            Precision::F32 => "f32",
            Precision::F16 => "f16",
            Precision::Bf16 => "bf16",
        }
    }

    /// The type, `None` for the device's own.
    pub fn dtype(self) -> Option<DType> {
        match self {
            Precision::Auto => None,
            Precision::F32 => Some(DType::F32),
            Precision::F16 => Some(DType::F16),
            Precision::Bf16 => Some(DType::BF16),
        }
    }
}

/// A model that is ready, with what belongs to it.
pub struct Loaded {
    pub opened: Opened,
    pub model: Arc<Transformer>,
    /// How it computes.
    pub arithmetic: Arithmetic,
    pub cache_dtype: CacheType,
    /// Slots of each layer's KV caches that memory was planned for.
    pub slots: usize,
    /// The devices in one line.
    pub devices: String,
    /// The layers of each device.
    pub shares: Vec<Share>,
    /// No device but the CPU computes.
    pub is_on_host: bool,
    /// From opening the files to the model being ready.
    pub load_seconds: f64,
}

impl ModelArgs {
    /// The model that is named, or the only one there is.
    pub fn locate(&self, printer: &Printer) -> anyhow::Result<Located> {
        self.with_scheme(self.checkpoint.locate(Wanted::Weights, printer)?)
    }

    /// A model with the scheme that `--quantize` names, if it does.
    pub fn with_scheme(&self, located: Located) -> anyhow::Result<Located> {
        Ok(Located { quantize: one_of(self.quantize, located.quantize)?, ..located })
    }

    /// Sets the threads, and opens a model, or its conversion where one is asked for.
    pub fn open(&self, located: &Located, printer: &Printer) -> anyhow::Result<Opened> {
        self.set_threads();
        let (name, path) = (&located.name, &located.path);
        match located.quantize {
            None => Opened::new(name, path, printer),
            Some(Quantize::None) => Opened::as_published(name, path, printer),
            Some(Quantize::To(scheme)) => {
                Opened::new(name, &quantized::conversion(located, scheme, printer)?, printer)
            }
        }
    }

    /// Loads the model over the devices, with room for `room` in its cache.
    pub fn load(
        &self,
        opened: Opened,
        devices: &DevicesArgs,
        room: Room,
        printer: &Printer,
    ) -> anyhow::Result<Loaded> {
        let placed = devices.place(self, &opened.checkpoint, room)?;
        self.load_placed(opened, placed, printer)
    }

    /// Loads the model as it was placed.
    pub fn load_placed(&self, opened: Opened, placed: Placed, printer: &Printer) -> anyhow::Result<Loaded> {
        printer.note(&format!("{}, {}, on {}", opened.name, weights(&opened.checkpoint), placed.described()));
        placed.warn_of_small_memory(&opened.checkpoint, printer);
        placed.plan.shares.iter().for_each(|share| printer.detail(&on_device(share)));
        let bar = printer.steps_bar("Loading", opened.checkpoint.config.layers as u64);
        let arithmetic = self.arithmetic(&opened.checkpoint.config);
        let mut progress = |_, _| bar.add(1);
        let model =
            placement::load(&opened.checkpoint, &placed.plan, &placed.needs, arithmetic, &mut progress)?;
        drop(bar);
        let load_seconds = opened.since.elapsed().as_secs_f64();
        let (cache_dtype, slots) = (placed.cache_dtype, placed.needs.slots);
        let (devices, is_on_host, shares) = (placed.names(), placed.is_on_host(), placed.plan.shares);
        Ok(Loaded {
            opened,
            model: Arc::new(model),
            arithmetic,
            cache_dtype,
            slots,
            devices,
            shares,
            is_on_host,
            load_seconds,
        })
    }

    /// How a model computes.
    fn arithmetic(&self, config: &Config) -> Arithmetic {
        let activations = match self.activations {
            Activations::Auto => config.activation_bits(),
            Activations::Eight => ActivationBits::Eight,
            Activations::Sixteen => ActivationBits::Sixteen,
        };
        Arithmetic { dtype: self.dtype.dtype(), activations }
    }

    /// Sets the threads, before anything is computed.
    pub fn set_threads(&self) {
        if let Some(threads) = self.threads {
            pool::set_threads(NonZeroUsize::new(threads.into()).unwrap_or(NonZeroUsize::MIN));
        }
    }
}

/// Where layers are: `layers 0-15 on cpu`, `layer 16 on cuda:0`.
fn on_device(share: &Share) -> String {
    match (share.layers.start, share.layers.end - 1) {
        (first, last) if first == last => format!("layer {first} on {}", share.device),
        (first, last) => format!("layers {first}-{last} on {}", share.device),
    }
}

/// Which weights run, in words: `q8_0 conversion`, `bf16 as published`.
pub fn weights(checkpoint: &Checkpoint) -> String {
    match (&checkpoint.origin, quantization(checkpoint)) {
        (Some(_), Some(scheme)) => format!("{scheme} conversion"),
        (Some(_), None) => format!("{} conversion", most(checkpoint)),
        (None, _) => format!("{} as published", most(checkpoint)),
    }
}

/// The scheme that most of the weights are in.
fn most(checkpoint: &Checkpoint) -> Scheme {
    let largest = schemes(checkpoint).into_iter().max_by_key(|(_, bytes)| *bytes);
    largest.map_or(Scheme::F32, |(scheme, _)| scheme)
}

/// What a conversion made of the weights that were published, if it changed them.
pub fn quantization(checkpoint: &Checkpoint) -> Option<Scheme> {
    let last = checkpoint.origin.as_ref()?.roundings.last()?;
    last.quantize.or(last.dense)
}

impl Loaded {
    /// Bits that activations are rounded to; `None` where they are not, as no weights are multiplied in integers.
    pub fn activations(&self) -> Option<u32> {
        let Arithmetic { dtype, activations } = self.arithmetic;
        let in_integers = |scheme: &Scheme| scheme.activation_block().is_some();
        let rounds = self.is_on_host
            && dtype != Some(DType::F32)
            && schemes(&self.opened.checkpoint).keys().any(in_integers);
        rounds.then(|| activations.count())
    }
}

impl ContextArgs {
    /// Makes the context of a model as short as was asked.
    pub fn shorten(&self, opened: &mut Opened) -> anyhow::Result<()> {
        let context = &mut opened.checkpoint.config.context_length;
        match self.context_length.map(usize::from) {
            Some(asked) if asked > *context => {
                let error = format!("--context-length {asked}: the model's context is {context}");
                Err(Usage::with_hint(error, format!("--context-length {context}")))
            }
            Some(asked) => {
                *context = asked;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// A value of `--device`. There are more than shells offer: one for each GPU.
fn device() -> impl TypedValueParser<Value = String> {
    Offering { values: || vec!["auto", "cpu", "cuda", "metal"], parser: checked_device }
}

fn checked_device(text: &str) -> Result<String, placement::Error> {
    if text != "auto" {
        text.parse::<DeviceName>()?;
    }
    Ok(text.into())
}

/// The dense scheme that `--dtype` names, for a conversion.
pub fn dense_scheme(dtype: Precision) -> Option<Scheme> {
    match dtype {
        Precision::Auto => None,
        Precision::F32 => Some(Scheme::F32),
        Precision::F16 => Some(Scheme::F16),
        Precision::Bf16 => Some(Scheme::Bf16),
    }
}
