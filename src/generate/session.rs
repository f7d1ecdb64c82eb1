//! One sequence of tokens and the cache that holds it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use super::growth::{Finish, Generation, GenerationError, Growth};
use super::sampler::Sampler;
use crate::kernels::attention::CacheType;
use crate::kernels::{Rows, ops};
use crate::model::{CHUNK, Cache, Transformer};

/// A sequence that can be continued: prompts that begin as the last sequence did are computed only from where
/// they differ.
#[derive(Debug)]
pub struct Session<'m> {
    model: &'m Transformer,
    pub(super) cache: Cache,
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
    /// `most` ids are made, and no more than the context holds. `interrupt` ends it between two tokens, or
    /// between two chunks of the prompt.
    ///
    /// # Errors
    /// The prompt is empty or fills the context; logits are no numbers; or what candle reports.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        sampler: &mut Sampler,
        end_ids: &[u32],
        most: Option<usize>,
        interrupt: &AtomicBool,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Generation, GenerationError> {
        let mut growth = Growth::new(prompt, most, self.context)?;
        let kept = self.keep(prompt);
        let prefilled = self.prefill(&prompt[kept..], interrupt);
        if prefilled.is_err() {
            // Which chunks got how far is not known: none of it counts.
            self.cache.truncate(0);
            self.ids.clear();
        }
        let Some(mut hidden) = prefilled? else {
            return Ok(growth.end(Finish::Interrupted));
        };
        growth.begin(kept);
        while !interrupt.load(Ordering::Relaxed) {
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
    pub(super) fn rewind(&mut self, length: usize) -> usize {
        let kept = self.cache.truncate(length);
        self.ids.truncate(kept);
        kept
    }

    /// Computes the rest of a prompt, chunk by chunk, each stage of the model on another chunk; the last row of the
    /// residual stream, `(1, C)`, or `None` if it was interrupted.
    pub(super) fn prefill(
        &mut self,
        rest: &[u32],
        interrupt: &AtomicBool,
    ) -> Result<Option<Rows>, GenerationError> {
        let chunks = rest.chunks(self.cache.chunk());
        // Stages on one device would only wait for each other.
        let depth = self.model.devices().min(chunks.len());
        let ids = &mut self.ids;
        self.model.pipelined([&mut self.cache], depth, |pipeline| {
            for chunk in chunks {
                if interrupt.load(Ordering::Relaxed) {
                    while pipeline.in_flight() > 0 {
                        pipeline.receive()?;
                    }
                    return Ok(None);
                }
                if pipeline.in_flight() == depth {
                    pipeline.receive()?;
                }
                pipeline.send(&[(0, chunk)])?;
                ids.extend_from_slice(chunk);
            }
            let mut hidden = pipeline.receive()?; // (T, C)
            while pipeline.in_flight() > 0 {
                hidden = pipeline.receive()?; // (T, C)
            }
            let last = hidden.count()? as u32 - 1;
            Ok(Some(ops::select(&hidden, &[last])?)) // (1, C)
        })
    }
}
