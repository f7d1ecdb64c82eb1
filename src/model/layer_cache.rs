//! One layer's KV cache of one sequence, stored as a ring buffer where the model has a window.

use candle_core::{DType, Device, Result, Tensor, bail};

use crate::kernels::attention::{CacheType, Heads, KeyValues, Span};
use crate::tensor::ops::{self, Qkv, Queries};

/// Slots that a cache begins with.
const FIRST_SLOTS: usize = 256;

/// One layer's keys and values of one sequence.
#[derive(Debug)]
pub struct LayerCache {
    /// None until the first token.
    ring: Option<ops::Ring>,
    /// Slots that it may grow to.
    most: usize,
    /// Keys that a token sees, its own included; `None` for all.
    window: Option<usize>,
    /// Key/value heads and their size.
    shape: (usize, usize),
    dtype: CacheType,
    device: Device,
}

/// Slots that a cache grows to so that it holds `positions`, of `most` that it may have: doubling, so that growing costs
/// little in all.
fn grown(positions: usize, most: usize) -> usize {
    positions.max(FIRST_SLOTS).checked_next_power_of_two().map_or(most, |slots| slots.min(most))
}

impl LayerCache {
    /// An empty cache of up to `most` slots for key/value heads of `shape` (how many, of which size), on `device`.
    pub fn new(
        most: usize,
        window: Option<usize>,
        shape: (usize, usize),
        dtype: CacheType,
        device: Device,
    ) -> Self {
        Self { ring: None, most, window, shape, dtype, device }
    }

    /// A copy of the first `positions` positions, which may grow to `most` slots. None has been overwritten.
    ///
    /// # Errors
    /// The device has no memory for it.
    pub fn first(&self, positions: usize, most: usize) -> Result<Self> {
        let ring = self.ring.as_ref().map(|ring| ring.first(positions)).transpose()?;
        let Self { window, shape, dtype, .. } = *self;
        Ok(Self { ring, most, window, shape, dtype, device: self.device.clone() })
    }

    /// Changes how many slots it may grow to. Fewer than it has already change nothing.
    pub fn limit(&mut self, most: usize) {
        self.most = most.max(self.slots());
    }

    /// Slots that it has memory for.
    pub fn slots(&self) -> usize {
        self.ring.as_ref().map_or(0, ops::Ring::slots)
    }

    /// The oldest position that is held once `length` have been written. A cache that is smaller than its limit has never
    /// wrapped.
    pub fn oldest_held(&self, length: usize) -> usize {
        let slots = self.slots();
        if slots < self.most { 0 } else { length.saturating_sub(slots) }
    }

    /// Puts the keys and values of `tokens` tokens, the first at position `first` and in row `row` of `qkv`, in their slots.
    ///
    /// # Errors
    /// The positions are more than it may hold.
    pub fn append(&mut self, first: usize, tokens: usize, qkv: &Qkv, heads: Heads, row: usize) -> Result<()> {
        self.grow(first, tokens)?;
        let slots = self.slots();
        if tokens > slots || (self.window.is_none() && first + tokens > self.most) {
            bail!("position {} is beyond the cache's {}", first + tokens - 1, self.most);
        }
        let Some(ring) = &mut self.ring else { bail!("the cache has no slots") };
        ring.append(first, qkv, heads, row, tokens)
    }

    /// What the queries of tokens see whose keys and values were appended; arguments as there.
    pub fn queries(&self, first: usize, tokens: usize, row: usize) -> Option<Queries<'_>> {
        let ring = self.ring.as_ref()?;
        let span = Span { first, window: self.window, slots: ring.slots() };
        Some(Queries { row, tokens, span, ring })
    }

    /// Makes room for `tokens` more positions, as far as it may grow. A cache that is smaller than its limit has never
    /// wrapped, so growing keeps every slot where it is.
    fn grow(&mut self, first: usize, tokens: usize) -> Result<()> {
        let (old, needed) = (self.slots(), (first + tokens).min(self.most));
        if needed <= old {
            return Ok(());
        }
        let slots = grown(needed, self.most);
        let (heads, size) = self.shape;
        if self.device.is_cpu() {
            let empty = || ops::Ring::Host(KeyValues::new(self.dtype, heads, size));
            if let ops::Ring::Host(kept) = self.ring.get_or_insert_with(empty) {
                kept.grow(slots);
            }
            return Ok(());
        }
        let dtype = match self.dtype {
            CacheType::F32 => DType::F32,
            CacheType::F16 => DType::F16,
            CacheType::Bf16 => DType::BF16,
            CacheType::Q8_0 => bail!("a cache of q8_0 is only supported on the CPU"),
        };
        let larger = |old: Option<&Tensor>| {
            let grown = Tensor::zeros((slots, heads, size), dtype, &self.device)?; // (S, G, D)
            if let Some(old) = old {
                grown.slice_set(old, 0, 0)?;
            }
            Ok::<_, candle_core::Error>(grown)
        };
        let (keys, values) = match &self.ring {
            Some(ops::Ring::Device([keys, values])) => (Some(keys), Some(values)),
            _ => (None, None),
        };
        // Both or none: a failure between them must not leave caches of two sizes.
        self.ring = Some(ops::Ring::Device([larger(keys)?, larger(values)?]));
        Ok(())
    }
}
