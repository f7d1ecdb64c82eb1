//! Keys and values of the positions that later tokens still see.

use candle_core::{DType, Device, Result, Tensor, bail};

use crate::checkpoint::Config;
use crate::kernels::attention::Span;

/// Slots that a cache begins with.
const FIRST_SLOTS: usize = 256;

/// The cache of a whole model: a ring per layer, on that layer's device, and the position they have reached.
///
/// A model without a window keeps every position; its rings grow by doubling up to the context. With a window
/// of W and chunks of up to N tokens a ring holds W + N - 1 positions (the example is at [`Span`]).
#[derive(Debug)]
pub struct Cache {
    layers: Vec<LayerCache>,
    length: usize,
    /// The largest length since the cache was empty: what a ring has overwritten stays overwritten.
    reached: usize,
    chunk: usize,
    window: Option<usize>,
}

impl Cache {
    /// An empty cache: `devices` names each layer's. No call may bring more than `chunk` tokens.
    pub fn new(config: &Config, devices: impl Iterator<Item = Device>, dtype: DType, chunk: usize) -> Self {
        let most = match config.window {
            Some(window) => config.context_length.min(window.saturating_add(chunk - 1)),
            None => config.context_length,
        };
        let shape = (config.key_value_heads, config.head_size);
        let layer = |device| LayerCache { keys: None, values: None, most, shape, dtype, device };
        Self { layers: devices.map(layer).collect(), length: 0, reached: 0, chunk, window: config.window }
    }

    /// Positions that have been seen: the next token's position.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether no position has been seen.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Most tokens of one call.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// The layers' rings, and the position of the next token, for one call.
    pub(super) fn parts(&mut self) -> (&mut [LayerCache], usize) {
        (&mut self.layers, self.length)
    }

    /// `tokens` more positions have been seen.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.length += tokens;
        self.reached = self.reached.max(self.length);
    }

    /// Forgets all positions from `length` on, and gives the length that is left.
    ///
    /// That is 0 where a windowed ring has overwritten what a token at `length` would see. Example: window 4, 6
    /// slots, 10 positions seen, so 4..=9 are held. A token at 8 sees 5..=8, back to 8 is possible; a token at
    /// 6 would see 3, so back to 6 is not.
    pub fn truncate(&mut self, length: usize) -> usize {
        if length >= self.length {
            return self.length;
        }
        let slots = self.layers.iter().map(LayerCache::slots).min().unwrap_or(0);
        let oldest_held = self.reached.saturating_sub(slots);
        let oldest_seen = self.window.map_or(0, |w| (length + 1).saturating_sub(w));
        self.length = if oldest_seen < oldest_held { 0 } else { length };
        if self.length == 0 {
            self.reached = 0;
        }
        self.length
    }
}

/// One layer's ring.
#[derive(Debug)]
pub struct LayerCache {
    keys: Option<Tensor>,   // (S, G, D)
    values: Option<Tensor>, // (S, G, D)
    /// Slots that the ring may grow to.
    most: usize,
    shape: (usize, usize),
    dtype: DType,
    device: Device,
}

impl LayerCache {
    fn slots(&self) -> usize {
        self.keys.as_ref().map_or(0, |keys| keys.dims()[0])
    }

    /// Puts the keys and values of positions `first..` in their slots and gives the ring, with `window` as the span
    /// that a query sees.
    ///
    /// # Errors
    /// The positions are beyond the context, or what candle reports.
    pub(super) fn append(
        &mut self,
        first: usize,
        keys: &Tensor,
        values: &Tensor,
        window: Option<usize>,
    ) -> Result<(Tensor, Tensor, Span)> {
        let tokens = keys.dim(0)?;
        self.grow(first, tokens)?;
        let slots = self.slots();
        let (Some(ring_keys), Some(ring_values)) = (&self.keys, &self.values) else {
            bail!("the cache has no slots");
        };
        if tokens > slots || (window.is_none() && first + tokens > slots) {
            bail!("position {} is beyond the context of {}", first + tokens - 1, self.most);
        }
        for (ring, rows) in [(ring_keys, keys), (ring_values, values)] {
            let rows = rows.to_dtype(self.dtype)?.contiguous()?; // (T, G, D)
            let slot = first % slots;
            let until_end = tokens.min(slots - slot);
            ring.slice_set(&rows.narrow(0, 0, until_end)?.contiguous()?, 0, slot)?;
            if until_end < tokens {
                ring.slice_set(&rows.narrow(0, until_end, tokens - until_end)?.contiguous()?, 0, 0)?;
            }
        }
        Ok((ring_keys.clone(), ring_values.clone(), Span { first, window, slots }))
    }

    /// Makes room for `tokens` more positions, as far as the ring may grow. A ring that is smaller than its
    /// limit has never wrapped, so growing keeps every slot where it is.
    fn grow(&mut self, first: usize, tokens: usize) -> Result<()> {
        let (old, needed) = (self.slots(), (first + tokens).min(self.most));
        if needed <= old {
            return Ok(());
        }
        let slots = needed.max(old * 2).max(FIRST_SLOTS).min(self.most);
        let (heads, size) = self.shape;
        for ring in [&mut self.keys, &mut self.values] {
            let grown = Tensor::zeros((slots, heads, size), self.dtype, &self.device)?; // (S, G, D)
            if let Some(ring) = ring {
                grown.slice_set(ring, 0, 0)?;
            }
            *ring = Some(grown);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::config::{Architecture, Rope, RopeLayout, RopeScaling};

    fn cache(window: Option<usize>, chunk: usize) -> Cache {
        let config = Config {
            architecture: Architecture::Mistral,
            vocabulary_size: 8,
            hidden_size: 2,
            intermediate_size: 2,
            layers: 1,
            query_heads: 1,
            key_value_heads: 1,
            head_size: 2,
            norm_epsilon: 1e-5,
            rope: Rope { theta: 1e4, layout: RopeLayout::HalfSplit, scaling: RopeScaling::None },
            context_length: 1000,
            window,
            experts: None,
            tied_head: true,
            end_ids: vec![],
        };
        Cache::new(&config, std::iter::once(Device::Cpu), DType::F32, chunk)
    }

    /// Appends rows whose first value is their position, and checks that every position that the last one sees
    /// lies where the span says.
    fn append(cache: &mut Cache, tokens: usize) {
        let window = cache.window;
        let (layers, first) = cache.parts();
        let rows: Vec<f32> = (first..first + tokens).flat_map(|p| [p as f32, 0.0]).collect();
        let rows = Tensor::from_vec(rows, (tokens, 1, 2), &Device::Cpu).unwrap();
        let (keys, _, span) = layers[0].append(first, &rows, &rows, window).unwrap();
        let held = keys.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for position in first..first + tokens {
            for seen in span.oldest(position)..=position {
                assert_eq!(held[seen % span.slots * 2], seen as f32, "position {position} of {span:?}");
            }
        }
        cache.advance(tokens);
    }

    #[test]
    fn every_chunk_finds_what_its_tokens_see() {
        for (window, chunk) in [(None, 7), (Some(4), 3), (Some(1), 5), (Some(300), 20)] {
            let mut cache = cache(window, chunk);
            for tokens in (1..=chunk).chain([1, 1, chunk, 1]).cycle().take(100) {
                let room = 900 - cache.len();
                append(&mut cache, tokens.min(room).max(1));
            }
            if let Some(window) = window {
                assert_eq!(cache.layers[0].slots(), window + chunk - 1);
            }
        }
    }

    #[test]
    fn going_back_is_refused_where_the_ring_has_forgotten() {
        let mut cache = cache(Some(4), 3);
        (0..10).for_each(|_| append(&mut cache, 1));
        assert_eq!(cache.truncate(8), 8);
        // 9 was overwritten into slot 3: a second step back must not forget that.
        assert_eq!(cache.truncate(6), 0);
        (0..3).for_each(|_| append(&mut cache, 3));
        assert_eq!(cache.truncate(7), 7);
        append(&mut cache, 3);
    }

    #[test]
    fn beyond_the_context_is_an_error() {
        let mut cache = cache(None, 600);
        append(&mut cache, 600);
        let rows = Tensor::zeros((600, 1, 2), DType::F32, &Device::Cpu).unwrap();
        let (layers, first) = cache.parts();
        let error = layers[0].append(first, &rows, &rows, None).unwrap_err().to_string();
        assert!(error.contains("position 1199 is beyond the context of 1000"), "{error}");
    }
}
