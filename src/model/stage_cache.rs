//! The KV caches that a stage computes a batch with: those of its own layers, of every sequence in the batch.

use std::sync::{Mutex, MutexGuard};

use candle_core::{Result, bail};
use smallvec::SmallVec;

use super::cache::{SequenceSlice, SharedCache};
use super::layer_cache::LayerCache;
use crate::kernels::attention::Heads;
use crate::tensor::ops::{Qkv, Queries};

/// The caches of a stage's layers for the slices of a batch. While it lives no other thread reads or writes them.
pub struct StageCache<'s> {
    slices: &'s [SequenceSlice],
    /// One for each slice; within it one for each layer.
    layers: SmallVec<[MutexGuard<'s, Vec<LayerCache>>; 32]>,
}

impl<'s> StageCache<'s> {
    /// Locks the caches of stage `stage` for `slices`, whose sequences, which are different ones, have `caches`.
    ///
    /// # Errors
    /// A thread has panicked while it wrote one, or it is another model's, which has fewer stages.
    pub fn lock(slices: &'s [SequenceSlice], caches: &'s [SharedCache], stage: usize) -> Result<Self> {
        let mut layers = SmallVec::new();
        for cache in caches {
            match cache.get(stage).map(Mutex::lock) {
                Some(Ok(cache)) => layers.push(cache),
                Some(Err(_)) => bail!("a thread has ended while it wrote to the cache"),
                None => bail!("the cache is another model's: it has fewer stages"),
            }
        }
        Ok(Self { slices, layers })
    }

    /// The slices of the batch, whose rows follow each other.
    pub fn slices(&self) -> &[SequenceSlice] {
        self.slices
    }

    /// Puts the keys and values of all slices, whose rows follow each other in `qkv`, in the caches of layer `layer`.
    ///
    /// # Errors
    /// A cache is another model's, or its positions are fewer.
    pub fn append(&mut self, layer: usize, qkv: &Qkv, heads: Heads) -> Result<()> {
        let mut row = 0;
        for (slice, layers) in self.slices.iter().zip(&mut self.layers) {
            let Some(cache) = layers.get_mut(layer) else {
                bail!("the cache is another model's: it has fewer layers")
            };
            cache.append(slice.first, slice.tokens, qkv, heads, row)?;
            row += slice.tokens;
        }
        Ok(())
    }

    /// What the queries of slice `i` see in layer `layer`, whose keys and values were appended. `None` where there is no
    /// such slice or layer.
    pub fn queries(&self, layer: usize, i: usize) -> Option<Queries<'_>> {
        let slice = self.slices.get(i)?;
        let row = self.slices[..i].iter().map(|slice| slice.tokens).sum();
        self.layers.get(i)?.get(layer)?.queries(slice.first, slice.tokens, row)
    }
}
