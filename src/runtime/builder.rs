//! Opens a model by its name.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;

use super::error::Error;
use super::located::{Search, Wanted, find};
use super::model::Model;
use super::placing::{Placed, Room};
use super::quantize::{Quantize, one_of};
use super::report::{Report, Silent};
use super::settings::{ModelSettings, Precision};
use crate::cpu;
use crate::kernels::attention::CacheType;
use crate::placement::{DeviceName, Devices, Memories};
use crate::store::Store;

/// Fewest tokens of a context that is shortened to what there is memory for.
const FEWEST: usize = 32;

impl Model {
    /// Opens a model by its path or name.
    ///
    /// A path is a folder (in the layout of Hugging Face, Mistral, litgpt or `mist`) or a `.gguf` file. `ORG/NAME` is
    /// searched under `./checkpoints`, then in `MIST_HOME`, then in the hub's own cache. `ORG/NAME:q4_k` quantizes the
    /// model once and keeps the conversion. This function never downloads: use `mist download` or [`hub`](crate::hub).
    ///
    /// # Errors
    /// The model is not on this machine, its files are invalid, or a device has too little memory for it; a conversion
    /// cannot be written; `MIST_CPU` names kernels that this processor does not support.
    pub fn open(name: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().open(name)
    }

    /// Returns a builder, which opens a model with settings other than those of [`open`](Self::open).
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// Settings for opening a model. Unset settings get the best values for the model and the machine.
pub struct Builder {
    settings: ModelSettings,
    quantize: Option<Quantize>,
    context: Option<usize>,
    report: Box<dyn Report + Send>,
}

impl Default for Builder {
    fn default() -> Self {
        Self { settings: ModelSettings::default(), quantize: None, context: None, report: Box::new(Silent) }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, quantize, context, .. } = self;
        f.debug_struct("Builder")
            .field("settings", settings)
            .field("quantize", quantize)
            .field("context", context)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Sets the device [default: the first accelerator, else the CPU].
    pub fn device(self, device: DeviceName) -> Self {
        self.devices(Devices::These(vec![device]))
    }

    /// Sets the devices to spread the layers over.
    pub fn devices(mut self, devices: Devices) -> Self {
        self.settings.devices = Some(devices);
        self
    }

    /// Sets the number of layers on each device.
    pub fn split(mut self, layers: impl Into<Vec<usize>>) -> Self {
        self.settings.split = layers.into();
        self
    }

    /// Sets the memory limit of each device.
    pub fn memory(mut self, memory: Memories) -> Self {
        self.settings.memory = Some(memory);
        self
    }

    /// Sets the type of computation.
    pub fn dtype(mut self, dtype: Precision) -> Self {
        self.settings.dtype = dtype;
        self
    }

    /// Sets the type of keys and values in the KV cache.
    pub fn cache(mut self, cache: CacheType) -> Self {
        self.settings.cache = Some(cache);
        self
    }

    /// Sets the scheme to quantize to, or selects the weights as published. The conversion is made once and kept.
    pub fn quantize(mut self, quantize: impl Into<Quantize>) -> Self {
        self.quantize = Some(quantize.into());
        self
    }

    /// Sets the number of CPU threads for all models of this process. It has no effect after the process has computed
    /// something or was given another number; a warning is reported then.
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.settings.threads = Some(threads);
        self
    }

    /// Limits the context to `tokens`; memory is planned for this length. By default it is the model's, or the longest that
    /// memory allows, which is reported.
    pub fn context(mut self, tokens: usize) -> Self {
        self.context = Some(tokens);
        self
    }

    /// Sets the receiver of messages and progress.
    pub fn report(mut self, report: impl Report + Send + 'static) -> Self {
        self.report = Box::new(report);
        self
    }

    /// Opens a model by its path or name, like [`Model::open`].
    ///
    /// # Errors
    /// The errors of [`Model::open`]; a device does not exist; settings contradict each other or the model.
    pub fn open(self, name: impl AsRef<Path>) -> Result<Model, Error> {
        cpu::choose_from_environment()?;
        let Self { settings, quantize, context, mut report } = self;
        if !settings.set_threads()? {
            report.warn("the number of threads stays as it is: it is set once in a process, before anything is computed");
        }
        let store = Store::from_environment();
        let mut located = match find(&store, name.as_ref(), Wanted::Weights)? {
            Search::Here(located) => located,
            Search::Missing(missing) => {
                missing.check(&store)?;
                return Err(Error::NotHere { asked: missing.asked() });
            }
        };
        located.quantize = one_of(quantize, located.quantize)?;
        let mut opened = located.open(&mut *report)?;
        let placed = match context {
            Some(tokens) => {
                opened.shorten(tokens)?;
                let one = Room::of_one(&opened.checkpoint, tokens);
                Placed::new(&settings, &opened.checkpoint, one)?
            }
            None => {
                let all = opened.checkpoint.config.context_length;
                let (placed, tokens) = Placed::of_longest_context(&settings, &opened.checkpoint, FEWEST)?;
                if tokens < all {
                    let fits = format!("there is memory for a context of {tokens} tokens");
                    report.warn(&format!("{fits}, the model's is {all}"));
                    opened.shorten(tokens)?;
                }
                placed
            }
        };
        Model::load(opened, placed, &settings, &mut *report)
    }
}
