//! The KV caches of one stage's layers, for every sequence in a batch.

use std::sync::{Mutex, MutexGuard};

use candle_core::{Result, bail};
use smallvec::SmallVec;

use super::cache::{SequenceSlice, SharedCache};
use super::layer_cache::LayerCache;
use crate::kernels::attention::Heads;
use crate::tensor::ops::{Qkv, Queries};

/// The locked caches of a stage's layers for the slices of a batch.
pub struct StageCache<'s> {
    slices: &'s [SequenceSlice],
    /// The caches of each slice, one per layer.
    layers: SmallVec<[MutexGuard<'s, Vec<LayerCache>>; 32]>,
}

impl<'s> StageCache<'s> {
    /// Locks the caches of stage `stage` for `slices`. `caches` are those of their sequences, which must be distinct.
    ///
    /// # Errors
    /// A thread panicked while it wrote to a cache; a cache belongs to another model, with fewer stages.
    pub fn lock(slices: &'s [SequenceSlice], caches: &'s [SharedCache], stage: usize) -> Result<Self> {
        let mut layers = SmallVec::new();
        for cache in caches {
            match cache.get(stage).map(Mutex::lock) {
                Some(Ok(cache)) => layers.push(cache),
                Some(Err(_)) => bail!("a thread panicked while it wrote to the cache"),
                None => bail!("the cache is another model's: it has fewer stages"),
            }
        }
        Ok(Self { slices, layers })
    }

    /// Returns the slices of the batch, in the order of their rows.
    pub fn slices(&self) -> &[SequenceSlice] {
        self.slices
    }

    /// Appends the keys and values of all slices, whose rows are consecutive in `qkv`, to the caches of layer `layer`.
    ///
    /// # Errors
    /// A cache belongs to another model, or has too few positions.
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

    /// Returns what the queries of slice `i` need in layer `layer`, after its keys and values were appended. Returns
    /// `None` if the slice or the layer does not exist.
    pub fn queries(&self, layer: usize, i: usize) -> Option<Queries<'_>> {
        let slice = self.slices.get(i)?;
        let row = self.slices[..i].iter().map(|slice| slice.tokens).sum();
        self.layers.get(i)?.get(layer)?.queries(slice.first, slice.tokens, row)
    }
}
