//! One sequence of tokens and the cache that holds it.

use std::ops::ControlFlow;

use super::growth::{Finish, Generation, GenerationError, Growth};
use super::sampler::Sampler;
use super::watch::{Meter, Watch};
use crate::kernels::attention::CacheType;
use crate::model::{CHUNK, Cache, Pipeline, Segment, Transformer};
use crate::quant::Rows;
use crate::tensor::ops;

/// A sequence that can be continued: prompts that begin as the last sequence did are computed only from where
/// they differ.
#[derive(Debug)]
pub struct Session<'m> {
    model: &'m Transformer,
    pub(crate) cache: Cache,
    /// Positions that there is room for.
    context: usize,
    /// The ids whose keys and values the cache holds.
    ids: Vec<u32>,
}

impl<'m> Session<'m> {
    /// A session of `model` with room for `positions`, at most the model's context, and an empty cache in `cache_dtype`.
    pub fn new(model: &'m Transformer, cache_dtype: CacheType, positions: usize) -> Self {
        let context = positions.min(model.config().context_length);
        Self { model, cache: model.cache(cache_dtype, CHUNK, context), context, ids: Vec::new() }
    }

    /// Positions that there is room for.
    pub fn context_length(&self) -> usize {
        self.context
    }

    /// Continues `prompt`, a whole sequence from its first token.
    ///
    /// Every new id but an end one is given to `on_token`, which breaks to end the generation. At most
    /// `most` ids are made, and no more than the context holds. `watch` is told how much of the prompt is computed, less
    /// what the cache holds of it, and ends it between two tokens, or between two layers of the prompt.
    ///
    /// # Errors
    /// The prompt is empty or fills the context; logits are no numbers; or what candle reports.
    pub fn generate<'w>(
        &mut self,
        prompt: &[u32],
        sampler: &mut Sampler,
        end_ids: &[u32],
        most: Option<usize>,
        watch: impl Into<Watch<'w>>,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Generation, GenerationError> {
        let watch = watch.into();
        let mut growth = Growth::new(prompt, most, self.context)?;
        let kept = self.keep(prompt);
        let prefilled = self.prefill(&prompt[kept..], watch);
        if prefilled.is_err() {
            // Which chunks got how far is not known: none of it counts.
            self.cache.truncate(0);
            self.ids.clear();
        }
        let Some(mut hidden) = prefilled? else {
            return Ok(growth.end(Finish::Interrupted));
        };
        growth.begin(kept);
        while !watch.is_interrupted() {
            let mut logits = self.model.logits(&hidden)?; // (1, V)
            if let Some(finish) = growth.take(&mut logits, sampler, end_ids, on_token)? {
                return Ok(growth.end(finish));
            }
            let id = growth.last();
            hidden = self.model.hidden(&[id], &mut self.cache)?; // (1, C)
            self.ids.push(id);
        }
        Ok(growth.end(Finish::Interrupted))
    }

    /// Goes back to where `prompt` differs from what the cache holds, and says how much of it is kept. The last token is
    /// computed anew even if the cache holds it: its logits are needed.
    fn keep(&mut self, prompt: &[u32]) -> usize {
        let all_but_last = &prompt[..prompt.len() - 1];
        let common = self.ids.iter().zip(all_but_last).take_while(|(a, b)| a == b).count();
        self.rewind(common)
    }

    /// Goes back to at most `length` tokens, and says how many are left: fewer where a window's ring has overwritten what
    /// they saw.
    pub(crate) fn rewind(&mut self, length: usize) -> usize {
        let kept = self.cache.truncate(length);
        self.ids.truncate(kept);
        kept
    }

    /// Computes the rest of a prompt, chunk by chunk, each stage of the model on another chunk; the last row of the
    /// residual stream, `(1, C)`, or `None` if it was interrupted.
    pub(crate) fn prefill(&mut self, rest: &[u32], watch: Watch) -> Result<Option<Rows>, GenerationError> {
        let mut whole = self.ids.len();
        let meter = Meter::new(watch, self.model.config().layers, rest.len());
        let computed = self.compute(rest, &meter, &mut whole);
        if meter.has_stopped() {
            // A chunk that was ended in the middle counts for nothing, those before it stay.
            self.cache.disturb(self.cache.chunk());
            self.rewind(whole);
            return Ok(None);
        }
        computed
    }

    /// The same, but for what an interruption leaves; `whole` is how many tokens have been through all layers.
    fn compute(
        &mut self,
        rest: &[u32],
        meter: &Meter,
        whole: &mut usize,
    ) -> Result<Option<Rows>, GenerationError> {
        let on_layer = |segments: &[Segment]| meter.add(segments.iter().map(|s| s.tokens).sum());
        let chunks = rest.chunks(self.cache.chunk());
        // Stages on one device would only wait for each other.
        let depth = self.model.devices().min(chunks.len());
        let ids = &mut self.ids;
        self.model.pipelined([&mut self.cache], depth, Some(&on_layer), |pipeline| {
            let mut receive = |pipeline: &mut Pipeline| -> Result<Rows, GenerationError> {
                let hidden = pipeline.receive()?; // (T, C)
                *whole += hidden.count()?;
                Ok(hidden)
            };
            for chunk in chunks {
                if meter.add(0).is_break() {
                    while pipeline.in_flight() > 0 && receive(pipeline).is_ok() {}
                    return Ok(None);
                }
                if pipeline.in_flight() == depth {
                    receive(pipeline)?;
                }
                pipeline.send(&[(0, chunk)])?;
                ids.extend_from_slice(chunk);
            }
            let mut hidden = receive(pipeline)?; // (T, C)
            while pipeline.in_flight() > 0 {
                hidden = receive(pipeline)?; // (T, C)
            }
            let last = hidden.count()? as u32 - 1;
            Ok(Some(ops::select(&hidden, &[last])?)) // (1, C)
        })
    }
}
