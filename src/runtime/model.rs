//! A loaded model with its checkpoint and tokenizer.

use std::collections::BTreeMap;
use std::sync::Arc;

use indicatif::HumanBytes;

use super::error::Error;
use super::opened::Opened;
use super::options::{NEW_TOKENS, Options};
use super::placing::Placed;
use super::report::{Report, Step};
use super::settings::{ModelSettings, Precision};
use super::suggested::suggested_sampling;
use crate::checkpoint::open::Checkpoint;
use crate::evaluate::{Likelihood, likelihood};
use crate::generate::{Engine, GenerationError, Limits, NextToken, Request, Sampler, Sampling, TextStream};
use crate::kernels::attention::CacheType;
use crate::model::Transformer;
use crate::placement::{self, Share};
use crate::quant::Scheme;
use crate::tensor::Arithmetic;
use crate::text::Tokenizer;

/// A loaded model. Clones share it and may be sent to other threads. Each generated text has a separate KV cache, of up to the
/// memory that was planned for one text. The CPU's thread pool computes one text at a time; meanwhile, other texts are computed
/// by their callers' threads alone. Several texts are faster through one [`engine`](Self::engine).
#[derive(Clone, Debug)]
pub struct Model(Arc<Parts>);

/// The parts that all clones of a model share.
#[derive(Debug)]
struct Parts {
    opened: Opened,
    transformer: Arc<Transformer>,
    arithmetic: Arithmetic,
    dtype: Precision,
    cache_dtype: CacheType,
    slots: usize,
    devices: String,
    shares: Vec<Share>,
    is_on_host: bool,
    load_seconds: f64,
}

impl Model {
    /// Loads a model onto its devices. Programs use [`Model::builder`]; the command prints a plan in between.
    ///
    /// # Errors
    /// A device cannot be opened, or has too little memory for its layers.
    #[doc(hidden)]
    pub fn load(
        opened: Opened,
        placed: Placed,
        settings: &ModelSettings,
        report: &mut dyn Report,
    ) -> Result<Self, Error> {
        let checkpoint = &opened.checkpoint;
        report.note(&format!("{}, {}, on {}", opened.name, weights(checkpoint), placed.described()));
        if let Some((weights, memory)) = placement::is_larger_than_memory(checkpoint, &placed.plan) {
            let (weights, memory) = (HumanBytes(weights), HumanBytes(memory));
            report.warn(&format!(
                "the weights take {weights}, this machine's memory is {memory}: they are read from the disk as they are used"
            ));
        }
        placed.plan.shares.iter().for_each(|share| report.detail(&on_device(share)));
        let activations = settings.activations.unwrap_or_else(|| checkpoint.config.activation_bits());
        let arithmetic = Arithmetic { dtype: settings.dtype.dtype(), activations };
        report.begin(Step::Loading, checkpoint.config.layers as u64);
        let mut progress = |_, _| report.progress(1);
        let loaded =
            placement::load(checkpoint, &placed.plan, &placed.requirement, arithmetic, &mut progress);
        report.end();
        Ok(Self(Arc::new(Parts {
            transformer: Arc::new(loaded?),
            load_seconds: opened.since.elapsed().as_secs_f64(),
            opened,
            arithmetic,
            dtype: settings.dtype,
            cache_dtype: placed.cache_dtype,
            slots: placed.requirement.slots,
            devices: placed.names(),
            is_on_host: placed.is_on_host(),
            shares: placed.plan.shares,
        })))
    }

    /// Returns the name that the model was opened by.
    pub fn name(&self) -> &str {
        &self.0.opened.name
    }

    /// Returns the checkpoint and the tokenizer together, for the command.
    #[doc(hidden)]
    pub fn opened(&self) -> &Opened {
        &self.0.opened
    }

    /// Returns the description and the weights.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.0.opened.checkpoint
    }

    /// Returns the tokenizer, which also has the chat format.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.opened.tokenizer
    }

    /// Returns the transformer, for measurements of speed.
    #[doc(hidden)]
    pub fn transformer(&self) -> &Arc<Transformer> {
        &self.0.transformer
    }

    /// Returns the maximum number of tokens of a sequence.
    pub fn context_length(&self) -> usize {
        self.checkpoint().config.context_length
    }

    /// Returns the type of keys and values in the KV cache.
    pub fn cache_dtype(&self) -> CacheType {
        self.0.cache_dtype
    }

    /// Returns the type of computation from the settings.
    pub fn dtype(&self) -> Precision {
        self.0.dtype
    }

    /// Returns the devices in one line.
    pub fn devices(&self) -> &str {
        &self.0.devices
    }

    /// Returns the layers of each device.
    pub fn shares(&self) -> &[Share] {
        &self.0.shares
    }

    /// Returns whether only the CPU computes.
    pub fn is_on_host(&self) -> bool {
        self.0.is_on_host
    }

    /// Returns the seconds from opening the files to the end of loading.
    pub fn load_seconds(&self) -> f64 {
        self.0.load_seconds
    }

    /// Returns the activation bits; `None` if no weights are multiplied in integers, so that activations are not rounded.
    pub fn activations(&self) -> Option<u32> {
        let in_integers = |scheme: &Scheme| scheme.activation_block().is_some();
        let rounds = self.is_on_host()
            && self.0.dtype != Precision::F32
            && schemes(self.checkpoint()).keys().any(in_integers);
        rounds.then(|| self.0.arithmetic.activations.count())
    }

    /// Returns the sampling settings that the model's publishers suggest, with defaults for missing ones.
    pub fn sampling(&self) -> Sampling {
        suggested_sampling(&self.checkpoint().suggestions, &|_| false).0
    }

    /// Returns the ids of a text, with the BOS token if the tokenizer's settings add it.
    ///
    /// # Errors
    /// The errors of [`Tokenizer::encode`].
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(self.tokenizer().encode(text, self.tokenizer().adds_bos())?)
    }

    /// Decodes ids to text, without control tokens.
    pub fn detokenize(&self, ids: &[u32]) -> String {
        self.tokenizer().decode(ids)
    }

    /// Returns the likelihood of a text, from which its perplexity follows. The text is scored in one window.
    ///
    /// # Errors
    /// The text has fewer than 2 tokens, or more than the context; the model computes NaN or infinite likelihoods.
    pub fn perplexity(&self, text: &str) -> Result<Likelihood, Error> {
        self.likelihood(&self.tokenize(text)?, None, |_| ())
    }

    /// Scores ids in windows of `window` tokens (`None`: one window), each from its second token on.
    ///
    /// `progress` receives the number of tokens that are computed so far.
    ///
    /// # Errors
    /// The errors of [`perplexity`](Self::perplexity), with the window in place of the text.
    pub fn likelihood(
        &self,
        ids: &[u32],
        window: Option<usize>,
        progress: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Likelihood, Error> {
        let window = self.opened().window(ids, window)?;
        let likelihood = likelihood(&self.0.transformer, ids, window, self.0.cache_dtype, progress);
        let likelihood = likelihood.map_err(|error| self.explained(error))?;
        match likelihood.total.is_finite() {
            true => Ok(likelihood),
            false => Err(Error::NotNumbers { narrow_cache: self.has_narrow_cache() }),
        }
    }

    /// Returns a new engine with the memory that was planned for KV caches.
    pub fn engine(&self) -> Engine {
        let Parts { transformer, cache_dtype, slots, .. } = &*self.0;
        Engine::new(transformer.clone(), Limits::new(transformer, *cache_dtype, *slots))
    }

    /// Returns the request for a text that continues `prompt`, with random numbers from `seed`. `is_chat` is true if
    /// the prompt is in the model's chat format.
    ///
    /// # Errors
    /// A sampling value is out of its range.
    pub fn request(
        &self,
        prompt: Vec<u32>,
        options: &Options,
        is_chat: bool,
        seed: u64,
    ) -> Result<Request, Error> {
        let tokenizer = self.tokenizer();
        let detokenizer = if is_chat { tokenizer.detokenizer_at_start() } else { tokenizer.detokenizer() };
        let sampling = options.sampling.clone().unwrap_or_else(|| self.sampling());
        Ok(Request {
            prompt,
            next: NextToken::Sampled(Box::new(Sampler::new(sampling, seed)?)),
            most: Some(options.max_new_tokens.unwrap_or(NEW_TOKENS)),
            end_ids: self.opened().ends(&options.stop, is_chat, options.ignore_eos),
            text: Some(TextStream::new(detokenizer, &options.stop)),
            scores: false,
            reuse: usize::MAX,
        })
    }

    /// Converts an error of generation, adding a possible cause: a cache type of narrow range.
    pub fn explained(&self, reason: GenerationError) -> Error {
        Error::Generation { reason, narrow_cache: self.has_narrow_cache() }
    }

    fn has_narrow_cache(&self) -> bool {
        matches!(self.0.cache_dtype, CacheType::F16 | CacheType::Q8_0)
    }
}

/// Describes the layers of a device, such as `layers 0-15 on cpu` or `layer 16 on cuda:0`.
fn on_device(share: &Share) -> String {
    match (share.layers.start, share.layers.end - 1) {
        (first, last) if first == last => format!("layer {first} on {}", share.device),
        (first, last) => format!("layers {first}-{last} on {}", share.device),
    }
}

/// Describes the weights of a checkpoint, such as `q8_0 conversion` or `bf16 as published`.
pub fn weights(checkpoint: &Checkpoint) -> String {
    let most = || most(checkpoint).unwrap_or(Scheme::F32);
    match (&checkpoint.provenance, quantization(checkpoint)) {
        (Some(_), Some(scheme)) => format!("{scheme} conversion"),
        (Some(_), None) => format!("{} conversion", most()),
        (None, _) => format!("{} as published", most()),
    }
}

/// Returns the scheme that a conversion rounded the weights to, if it rounded them.
fn quantization(checkpoint: &Checkpoint) -> Option<Scheme> {
    let last = checkpoint.provenance.as_ref()?.roundings.last()?;
    last.quantize.or(last.dense)
}

/// Returns the scheme with the most bytes of weights.
pub(super) fn most(checkpoint: &Checkpoint) -> Option<Scheme> {
    schemes(checkpoint).into_iter().max_by_key(|(_, bytes)| *bytes).map(|(scheme, _)| scheme)
}

/// Returns the bytes of weights in each scheme.
pub fn schemes(checkpoint: &Checkpoint) -> BTreeMap<Scheme, u64> {
    let mut bytes = BTreeMap::new();
    let matrices = checkpoint.weights.matrices(checkpoint.config.tied_head);
    for (scheme, size) in matrices.iter().flat_map(|(_, matrix)| matrix.parts()) {
        *bytes.entry(scheme).or_insert(0u64) += size as u64;
    }
    bytes
}
