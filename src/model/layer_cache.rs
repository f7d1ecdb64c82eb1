//! The KV cache of one layer and one sequence, stored as a ring buffer if the model has a window.

use candle_core::{DType, Device, Result, Tensor, bail};

use crate::kernels::attention::{CacheType, Heads, KeyValues, Span};
use crate::tensor::ops::{self, Qkv, Queries};

/// Slots of the first allocation.
const FIRST_SLOTS: usize = 256;

/// The keys and values of one layer and one sequence.
#[derive(Debug)]
pub struct LayerCache {
    /// `None` until the first token.
    ring: Option<ops::Ring>,
    /// Maximum slots.
    most: usize,
    /// Number of keys that a token sees, including its own; `None` for all.
    window: Option<usize>,
    /// Number of key/value heads and their size.
    shape: (usize, usize),
    dtype: CacheType,
    device: Device,
}

/// Returns the slots of a cache that grows to hold `positions`, limited to `most`. Doubling keeps the total cost of
/// growing low.
fn grown(positions: usize, most: usize) -> usize {
    positions.max(FIRST_SLOTS).checked_next_power_of_two().map_or(most, |slots| slots.min(most))
}

impl LayerCache {
    /// Creates an empty cache of up to `most` slots on `device`. `shape` is the number of key/value heads and their size.
    pub fn new(
        most: usize,
        window: Option<usize>,
        shape: (usize, usize),
        dtype: CacheType,
        device: Device,
    ) -> Self {
        Self { ring: None, most, window, shape, dtype, device }
    }

    /// Copies the first `positions` positions, none of which may have been overwritten, to a cache of up to `most`
    /// slots.
    ///
    /// # Errors
    /// Not enough memory on the device.
    pub fn first(&self, positions: usize, most: usize) -> Result<Self> {
        let ring = self.ring.as_ref().map(|ring| ring.first(positions)).transpose()?;
        let Self { window, shape, dtype, .. } = *self;
        Ok(Self { ring, most, window, shape, dtype, device: self.device.clone() })
    }

    /// Sets the maximum slots, but not below the allocated ones.
    pub fn limit(&mut self, most: usize) {
        self.most = most.max(self.slots());
    }

    /// Returns the number of allocated slots.
    pub fn slots(&self) -> usize {
        self.ring.as_ref().map_or(0, ops::Ring::slots)
    }

    /// Returns the oldest position that is held after `length` positions were written. A cache below its maximum size
    /// has never wrapped.
    pub fn oldest_held(&self, length: usize) -> usize {
        let slots = self.slots();
        if slots < self.most { 0 } else { length.saturating_sub(slots) }
    }

    /// Writes the keys and values of `tokens` tokens to their slots. The first token is at position `first` and in row
    /// `row` of `qkv`.
    ///
    /// # Errors
    /// The positions exceed the cache's maximum.
    pub fn append(&mut self, first: usize, tokens: usize, qkv: &Qkv, heads: Heads, row: usize) -> Result<()> {
        self.grow(first, tokens)?;
        let slots = self.slots();
        if tokens > slots || (self.window.is_none() && first + tokens > self.most) {
            bail!("position {} is beyond the cache's {}", first + tokens - 1, self.most);
        }
        let Some(ring) = &mut self.ring else { bail!("the cache has no slots") };
        ring.append(first, qkv, heads, row, tokens)
    }

    /// Returns what the queries of appended tokens need; the arguments are those of [`append`](Self::append).
    pub fn queries(&self, first: usize, tokens: usize, row: usize) -> Option<Queries<'_>> {
        let ring = self.ring.as_ref()?;
        let span = Span { first, window: self.window, slots: ring.slots() };
        Some(Queries { row, tokens, span, ring })
    }

    /// Makes room for `tokens` more positions, up to the maximum. A cache below its maximum size has never wrapped, so
    /// growing keeps every slot in its place.
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
        // Assigned together: an error between them would leave keys and values of different sizes.
        self.ring = Some(ops::Ring::Device([larger(keys)?, larger(values)?]));
        Ok(())
    }
}
