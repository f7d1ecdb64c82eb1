//! The flags of commands that run a model, and opening and loading the model.

use std::num::NonZeroUsize;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use mist::kernels::attention::CacheType;
use mist::placement::{self, DeviceName, Devices, Memories};
use mist::quant::ActivationBits;
use mist::runtime::quantize::one_of;
use mist::runtime::{
    Error, Located, Model, ModelSettings, Opened, Placed, Precision, Quantize, Report, Room, Wanted,
};
use mist::system::numbers::{at_least, positive, whole};
use mist::terminal::command::Offering;
use mist::terminal::{Printer, Running};
use mist::text::Tokenizer;

use super::exit::Interrupted;
use super::located::CheckpointArgs;
use super::values::quantize;

/// The flags for running a model.
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
    device: Device,
    /// Type of computation.
    ///
    /// The CPU always sums in f32. f32 dequantizes quantized weights, and rounds no activations.
    #[arg(long, value_parser = precision(), default_value = "auto", hide_short_help = true)]
    dtype: Precision,
    /// Bits that activations are rounded to on the CPU, for products with quantized weights.
    ///
    /// auto is 16 for models of fewer than 537 million parameters, else 8. --dtype f32 rounds nothing.
    #[arg(long, value_parser = activations(), value_name = "BITS", default_value = "auto", hide_short_help = true)]
    activations: Activations,
    /// Type of the keys and values in the cache.
    ///
    /// auto is f16 on the CPU, f32 with --dtype f32, else the type of computation.
    #[arg(long, value_parser = cache(), default_value = "auto", hide_short_help = true)]
    cache_dtype: Cache,
    /// Quantize to this scheme, converting once and reusing the result; none selects the weights as published.
    ///
    /// By default, a conversion in the model's folder runs, else the weights as published. Accepts capitals, and the
    /// names of llama.cpp's mixes (Q4_K_M).
    #[arg(long, value_name = "SCHEME", value_parser = quantize(), ignore_case = true)]
    pub quantize: Option<Quantize>,
    /// CPU threads [default: one per fast core].
    #[arg(short, long, value_name = "N", help_heading = "Devices", value_parser = whole(1..=1024u16))]
    threads: Option<u16>,
    #[command(flatten)]
    devices: DevicesArgs,
}

/// The flags for spreading a model's layers over devices.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Devices")]
pub struct DevicesArgs {
    /// Number of devices, or a list such as cuda:0,cuda:1,cpu [default: the device of --device].
    #[arg(long, value_name = "DEVICES")]
    devices: Option<Devices>,
    /// Layers of each device, such as 10,12,10 [default: the split that loads the fullest device least].
    #[arg(long, hide_short_help = true, value_name = "LAYERS", value_delimiter = ',', value_parser = at_least(0usize))]
    split: Vec<usize>,
    /// Memory limit of each device, such as 20GiB,20GiB, or one for all [default: the free memory of accelerators].
    #[arg(long, hide_short_help = true, value_name = "SIZES")]
    memory: Option<Memories>,
}

/// The flags for the BOS token at the start of a text.
#[derive(Args, Clone, Debug)]
pub struct BeginningArgs {
    /// Begin with the BOS token, whatever the tokenizer's settings.
    #[arg(long, conflicts_with = "no_bos")]
    bos: bool,
    /// Do not begin with the BOS token.
    #[arg(long)]
    no_bos: bool,
}

impl BeginningArgs {
    /// Returns whether to add the BOS token, by the flags or else the tokenizer's settings.
    pub fn adds_bos(&self, tokenizer: &Tokenizer) -> bool {
        (tokenizer.adds_bos() || self.bos) && !self.no_bos
    }
}

/// The flag for the length of the context.
#[derive(Args, Clone, Debug)]
pub struct ContextArgs {
    /// Maximum number of tokens of the context, for which memory is planned [default: the model's context].
    #[arg(short, long, value_name = "N", help_heading = "Model", value_parser = positive)]
    context_length: Option<NonZeroUsize>,
}

impl ContextArgs {
    /// Shortens the context of a model to the flag's value.
    pub fn shorten(&self, opened: &mut Opened) -> Result<(), Error> {
        self.context_length.map_or(Ok(()), |tokens| opened.shorten(tokens.get()))
    }
}

impl ModelArgs {
    /// Returns the named model, or the only model on this machine.
    pub fn locate(&self, printer: &Printer) -> anyhow::Result<Located> {
        self.with_scheme(self.checkpoint.locate(Wanted::Weights, printer)?)
    }

    /// Sets the scheme of a model to that of `--quantize`, if given.
    pub fn with_scheme(&self, located: Located) -> anyhow::Result<Located> {
        Ok(Located { quantize: one_of(self.quantize, located.quantize)?, ..located })
    }

    /// Sets the number of threads, and opens a model or its conversion.
    pub fn open(&self, located: &Located, printer: &Printer) -> anyhow::Result<Opened> {
        self.settings().set_threads()?;
        if located.scheme().is_none() {
            return Ok(located.open(&mut Running::new(printer))?);
        }
        let mut report = Running::stoppable(printer)?;
        let opened = located.open(&mut report)?;
        match report.is_stopped() {
            true => Err(Interrupted.into()),
            false => Ok(opened),
        }
    }

    /// Loads the model onto its devices, with KV caches for `room`.
    pub fn load(&self, opened: Opened, room: Room, printer: &Printer) -> Result<Model, Error> {
        let settings = self.settings();
        let placed = Placed::new(&settings, &opened.checkpoint, room)?;
        Model::load(opened, placed, &settings, &mut Running::new(printer))
    }

    /// Returns the settings that the flags stand for.
    pub fn settings(&self) -> ModelSettings {
        let DevicesArgs { devices, split, memory } = &self.devices;
        let one = self.device.0.map(|device| Devices::These(vec![device]));
        ModelSettings {
            devices: devices.clone().or(one),
            split: split.clone(),
            memory: memory.clone(),
            dtype: self.dtype,
            activations: self.activations.0,
            cache: self.cache_dtype.0,
            threads: self.threads.and_then(|threads| NonZeroUsize::new(threads.into())),
        }
    }

    /// Returns the flags with all accelerators, else the CPU, as the default devices.
    pub fn on_all(&self) -> Self {
        let mut all = self.clone();
        if all.devices.devices.is_none() && all.device.0.is_none() {
            all.devices.devices = Some(Devices::First(placement::accelerators().len().max(1)));
        }
        all
    }
}

/// The value of `--device`; `None` for auto.
#[derive(Clone, Debug)]
struct Device(Option<DeviceName>);

/// The value of `--activations`; `None` for auto.
#[derive(Clone, Copy, Debug)]
struct Activations(Option<ActivationBits>);

/// The value of `--cache-dtype`; `None` for auto.
#[derive(Clone, Copy, Debug)]
struct Cache(Option<CacheType>);

/// Returns the parser of `--device`. Shells offer only some of its values, which exist for each GPU.
fn device() -> impl TypedValueParser<Value = Device> {
    let parser = |text: &str| match text {
        "auto" => Ok(Device(None)),
        name => name.parse().map(|name| Device(Some(name))),
    };
    Offering { values: || vec!["auto", "cpu", "cuda", "metal"], parser: parser as fn(&str) -> _ }
}

/// Returns the parser of `--dtype`.
pub fn precision() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::NAMES).try_map(|name| name.parse::<Precision>())
}

fn activations() -> impl TypedValueParser<Value = Activations> {
    PossibleValuesParser::new(["auto", "8", "16"]).map(|bits| {
        Activations(match bits.as_str() {
            "8" => Some(ActivationBits::Eight),
            "16" => Some(ActivationBits::Sixteen),
            _ => None,
        })
    })
}

fn cache() -> impl TypedValueParser<Value = Cache> {
    let types = [CacheType::F32, CacheType::F16, CacheType::Bf16, CacheType::Q8_0];
    let names = PossibleValuesParser::new(["auto"].into_iter().chain(types.map(CacheType::name)));
    names.map(move |name| Cache(types.into_iter().find(|cache| cache.name() == name)))
}
