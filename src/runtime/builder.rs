//! Opening a model by its name.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;

use super::error::Error;
use super::located::{Search, Wanted, find};
use super::model::Model;
use super::placing::{Placed, Room};
use super::quantize::{Quantize, one_of};
use super::report::{Report, Silent};
use super::settings::{Precision, Settings};
use crate::kernels::attention::CacheType;
use crate::placement::{DeviceName, Devices, Memories};
use crate::store::Store;

impl Model {
    /// Opens a model: a folder (Hugging Face's layout, Mistral's own, litgpt's, or converted), a `.gguf` file, or `ORG/NAME`,
    /// looked for under `./checkpoints`, then in `MIST_HOME`, then in the hub's own cache. `ORG/NAME:q4_k` quantizes it, once.
    /// Nothing is fetched: `mist download` or the [`hub`](crate::hub) room does.
    ///
    /// # Errors
    /// There is no such model, its files break a rule, or a device has no memory for it.
    pub fn open(name: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().open(name)
    }

    /// Says how a model is opened, where it is not as [`open`](Self::open) does.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// How a model is opened. What is not set is the best choice for the model and the machine.
pub struct Builder {
    settings: Settings,
    quantize: Option<Quantize>,
    context: Option<usize>,
    report: Box<dyn Report>,
}

impl Default for Builder {
    fn default() -> Self {
        Self { settings: Settings::default(), quantize: None, context: None, report: Box::new(Silent) }
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
    /// On this device; by default the first accelerator, else the CPU.
    pub fn device(self, device: DeviceName) -> Self {
        self.devices(Devices::These(vec![device]))
    }

    /// With its layers spread over these devices.
    pub fn devices(mut self, devices: Devices) -> Self {
        self.settings.devices = Some(devices);
        self
    }

    /// With so many layers on each device.
    pub fn split(mut self, layers: impl Into<Vec<usize>>) -> Self {
        self.settings.split = layers.into();
        self
    }

    /// With so much memory of each device.
    pub fn memory(mut self, memory: Memories) -> Self {
        self.settings.memory = Some(memory);
        self
    }

    /// Computing in this type.
    pub fn dtype(mut self, dtype: Precision) -> Self {
        self.settings.dtype = dtype;
        self
    }

    /// With keys and values kept in this type.
    pub fn cache(mut self, cache: CacheType) -> Self {
        self.settings.cache = Some(cache);
        self
    }

    /// Quantized to this scheme, by a conversion that is made once and kept; or the weights as published.
    pub fn quantize(mut self, quantize: impl Into<Quantize>) -> Self {
        self.quantize = Some(quantize.into());
        self
    }

    /// With this number of CPU threads, for all models of this process. Has no effect once the process has computed something.
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.settings.threads = Some(threads);
        self
    }

    /// With a context of at most so many tokens, for which memory is planned.
    pub fn context(mut self, tokens: usize) -> Self {
        self.context = Some(tokens);
        self
    }

    /// Reporting what is done.
    pub fn report(mut self, report: impl Report + 'static) -> Self {
        self.report = Box::new(report);
        self
    }

    /// Opens a model as [`Model::open`] does.
    ///
    /// # Errors
    /// Those of [`Model::open`]; a device that does not exist, or settings that contradict each other or the model.
    pub fn open(self, name: impl AsRef<Path>) -> Result<Model, Error> {
        let Self { settings, quantize, context, mut report } = self;
        settings.set_threads();
        let store = Store::from_environment();
        let mut located = match find(&store, name.as_ref(), Wanted::Weights)? {
            Search::Here(located) => located,
            Search::Missing(missing) => {
                return Err(Error::NotHere { asked: missing.asked() });
            }
        };
        located.quantize = one_of(quantize, located.quantize)?;
        let mut opened = located.open(&mut *report)?;
        context.map_or(Ok(()), |tokens| opened.shorten(tokens))?;
        let room = Room::of_one(&opened.checkpoint, usize::MAX);
        let placed = Placed::new(&settings, &opened.checkpoint, room)?;
        Model::load(opened, placed, &settings, &mut *report)
    }
}
