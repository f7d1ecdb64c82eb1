//! A model that is ready, with what belongs to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use indicatif::HumanBytes;

use super::error::Error;
use super::opened::Opened;
use super::options::Options;
use super::placing::Placed;
use super::report::{Report, Step};
use super::settings::{Precision, Settings};
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

/// A model that is ready to be talked to. A clone is another handle on the same one; handles go to other threads, and each
/// text that is generated has a cache of its own.
#[derive(Clone, Debug)]
pub struct Model(Arc<Parts>);

/// What a model consists of.
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
    /// Loads a model as it was placed.
    ///
    /// # Errors
    /// A device cannot be opened, or has no memory for its layers.
    pub fn load(
        opened: Opened,
        placed: Placed,
        settings: &Settings,
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

    /// The name that it was opened by.
    pub fn name(&self) -> &str {
        &self.0.opened.name
    }

    /// Checkpoint and tokenizer.
    pub fn opened(&self) -> &Opened {
        &self.0.opened
    }

    /// The description and the weights.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.0.opened.checkpoint
    }

    /// Text to ids and back, and the chat format.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.opened.tokenizer
    }

    /// What computes.
    pub fn transformer(&self) -> &Arc<Transformer> {
        &self.0.transformer
    }

    /// Most tokens of a sequence.
    pub fn context_length(&self) -> usize {
        self.checkpoint().config.context_length
    }

    /// Type of the keys and values in the cache.
    pub fn cache_dtype(&self) -> CacheType {
        self.0.cache_dtype
    }

    /// The type of computation that was asked for.
    pub fn dtype(&self) -> Precision {
        self.0.dtype
    }

    /// The devices in one line.
    pub fn devices(&self) -> &str {
        &self.0.devices
    }

    /// The layers of each device.
    pub fn shares(&self) -> &[Share] {
        &self.0.shares
    }

    /// Whether no device but the CPU computes.
    pub fn is_on_host(&self) -> bool {
        self.0.is_on_host
    }

    /// Seconds from opening the files to the model being ready.
    pub fn load_seconds(&self) -> f64 {
        self.0.load_seconds
    }

    /// Bits that activations are rounded to; `None` where they are not, as no weights are multiplied in integers.
    pub fn activations(&self) -> Option<u32> {
        let in_integers = |scheme: &Scheme| scheme.activation_block().is_some();
        let rounds = self.is_on_host()
            && self.0.dtype != Precision::F32
            && schemes(self.checkpoint()).keys().any(in_integers);
        rounds.then(|| self.0.arithmetic.activations.count())
    }

    /// How its publishers suggest that tokens are chosen, else the defaults.
    pub fn sampling(&self) -> Sampling {
        suggested_sampling(&self.checkpoint().suggestions, &|_| false).0
    }

    /// The ids of a text, with the beginning token where the tokenizer's own settings put it.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(self.tokenizer().encode(text, self.tokenizer().adds_bos())?)
    }

    /// The text of ids; control tokens are left out.
    pub fn detokenize(&self, ids: &[u32]) -> String {
        self.tokenizer().decode(ids)
    }

    /// The perplexity of a text, as one window of at most the model's context: how well the model predicts each token from
    /// those before it.
    ///
    /// # Errors
    /// The text has fewer than 2 tokens, or more than the context; the model gives no numbers.
    pub fn perplexity(&self, text: &str) -> Result<Likelihood, Error> {
        self.likelihood(&self.tokenize(text)?, None, |_| ())
    }

    /// Scores ids in windows of `window` tokens (`None`: one for all), each from its second token on. `progress` is told how
    /// many are computed.
    ///
    /// # Errors
    /// As [`perplexity`](Self::perplexity).
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

    /// An engine with the memory that was planned for caches.
    pub fn engine(&self) -> Engine {
        let Parts { transformer, cache_dtype, slots, .. } = &*self.0;
        Engine::new(transformer.clone(), Limits::new(transformer, *cache_dtype, *slots))
    }

    /// The request for a text that continues `prompt`, with chance that begins at `seed`.
    ///
    /// # Errors
    /// A value of the sampling is out of its range.
    pub fn request(&self, prompt: Vec<u32>, options: &Options, seed: u64) -> Result<Request, Error> {
        let tokenizer = self.tokenizer();
        let detokenizer =
            if options.chat { tokenizer.detokenizer_at_start() } else { tokenizer.detokenizer() };
        let sampling = options.sampling.clone().unwrap_or_else(|| self.sampling());
        Ok(Request {
            prompt,
            next: NextToken::Sampled(Box::new(Sampler::new(sampling, seed)?)),
            most: options.max_new_tokens,
            end_ids: self.opened().ends(&options.stop, options.chat, options.ignore_eos),
            text: Some(TextStream::new(detokenizer, &options.stop)),
            scores: false,
            reuse: usize::MAX,
        })
    }

    /// An error of generating, with what is known here about its reason.
    pub fn explained(&self, source: GenerationError) -> Error {
        Error::Generation { source, narrow_cache: self.has_narrow_cache() }
    }

    fn has_narrow_cache(&self) -> bool {
        matches!(self.0.cache_dtype, CacheType::F16 | CacheType::Q8_0)
    }
}

impl Opened {
    /// Tokens of a window in which `ids` are scored.
    ///
    /// # Errors
    /// There are fewer than 2 ids, or a window is longer than the context.
    pub fn window(&self, ids: &[u32], asked: Option<usize>) -> Result<usize, Error> {
        let (all, context) = (ids.len(), self.checkpoint.config.context_length);
        let tokens = asked.map_or(all, |asked| asked.min(all));
        match tokens {
            _ if all < 2 => Err(Error::NothingToScore { tokens: all }),
            _ if tokens > context => Err(Error::Window { tokens, context, asked: asked.is_some() }),
            _ => Ok(tokens),
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
    let most = || most(checkpoint).unwrap_or(Scheme::F32);
    match (&checkpoint.origin, quantization(checkpoint)) {
        (Some(_), Some(scheme)) => format!("{scheme} conversion"),
        (Some(_), None) => format!("{} conversion", most()),
        (None, _) => format!("{} as published", most()),
    }
}

/// What a conversion made of the weights that were published, if it changed them.
fn quantization(checkpoint: &Checkpoint) -> Option<Scheme> {
    let last = checkpoint.origin.as_ref()?.roundings.last()?;
    last.quantize.or(last.dense)
}

/// The scheme that most of the weights are in.
pub fn most(checkpoint: &Checkpoint) -> Option<Scheme> {
    schemes(checkpoint).into_iter().max_by_key(|(_, bytes)| *bytes).map(|(scheme, _)| scheme)
}

/// The bytes in each scheme.
pub fn schemes(checkpoint: &Checkpoint) -> BTreeMap<Scheme, u64> {
    let mut bytes = BTreeMap::new();
    let matrices = checkpoint.weights.matrices(checkpoint.config.tied_head);
    for (scheme, size) in matrices.iter().flat_map(|(_, matrix)| matrix.parts()) {
        *bytes.entry(scheme).or_insert(0u64) += size as u64;
    }
    bytes
}
