//! The KV cache of a sequence.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Result, bail};

use super::layer_cache::LayerCache;
use crate::arch::Config;
use crate::kernels::attention::CacheType;

/// Maximum number of tokens of a prompt that are computed at once.
pub const CHUNK: usize = 256;

/// Consecutive tokens of one sequence among the rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceSlice {
    /// Position of the first token.
    pub first: usize,
    /// Number of tokens.
    pub tokens: usize,
}

/// The layers' caches of a sequence, grouped by stage. Each stage locks its own while it computes a batch.
pub(super) type SharedCache = Arc<[Mutex<Vec<LayerCache>>]>;

/// The KV cache of a sequence: a cache per layer, on that layer's device, and the sequence's position.
///
/// For a model without a window, the cache keeps every position, and each layer's cache grows by doubling up to the
/// requested positions. For a window of W and chunks of up to N tokens, the ring buffer of each layer has W + N - 1
/// positions (see the example at [`Span`](crate::kernels::attention::Span)), rounded up to blocks of 16 on the host.
///
/// The memory is freed when the cache is dropped and no batch in flight uses it.
#[derive(Debug)]
pub struct Cache {
    stages: SharedCache,
    position: SequencePosition,
    window: Option<usize>,
}

/// The position of a sequence. It is stored separately from the layers' caches, which a stage may have locked.
#[derive(Debug)]
struct SequencePosition {
    /// Number of cached positions, which is the next token's position.
    length: usize,
    /// The largest length since the cache was empty. A ring buffer has overwritten old positions up to it, even if the
    /// length has shrunk.
    farthest: usize,
    /// Maximum positions.
    most: usize,
    /// Maximum tokens of the sequence in one batch.
    chunk: usize,
}

/// Returns the slots of a layer's cache for `positions`, with up to `chunk` tokens of the sequence in a batch. `window`
/// is the number of keys that a token sees; `None` for all.
pub fn slots(positions: usize, window: Option<usize>, chunk: usize) -> usize {
    window.map_or(positions, |window| positions.min(window.saturating_add(chunk.max(1) - 1)))
}

impl Cache {
    /// Creates an empty cache for up to `positions`, limited to the model's context. `stages` gives the number of layers
    /// and the device of each stage. No batch may have more than `chunk` tokens of the sequence.
    pub fn new(
        config: &Config,
        stages: impl Iterator<Item = (usize, Device)>,
        dtype: CacheType,
        chunk: usize,
        positions: usize,
    ) -> Self {
        let (chunk, positions) = (chunk.max(1), positions.min(config.context_length));
        let most = slots(positions, config.window, chunk);
        let (shape, window) = ((config.key_value_heads, config.head_size), config.window);
        let layer = |device: &Device| LayerCache::new(most, window, shape, dtype, device.clone());
        let stage = |(layers, device)| Mutex::new((0..layers).map(|_| layer(&device)).collect());
        let position = SequencePosition { length: 0, farthest: 0, most: positions, chunk };
        Self { stages: stages.map(stage).collect(), position, window }
    }

    /// Returns the number of cached positions, which is the next token's position.
    pub fn len(&self) -> usize {
        self.position.length
    }

    /// Returns whether no position is cached.
    pub fn is_empty(&self) -> bool {
        self.position.length == 0
    }

    /// Returns the allocated slots of each layer's cache.
    pub fn slots(&self) -> usize {
        self.layers(0, |slots, layer| slots.max(layer.slots()))
    }

    /// Copies the first `length` positions to a new cache with room for `positions`. Returns `None` if some are not
    /// cached or, with a window, may have been overwritten, or if there is not enough memory.
    pub fn first(&self, length: usize, positions: usize) -> Option<Self> {
        if self.window.is_some() || length > self.position.length {
            return None;
        }
        let first = |stage: &Mutex<Vec<LayerCache>>| {
            let layers = stage.lock().ok()?;
            let layers = layers.iter().map(|layer| layer.first(length, positions).ok());
            Some(Mutex::new(layers.collect::<Option<_>>()?))
        };
        let stages = self.stages.iter().map(first).collect::<Option<_>>()?;
        let chunk = self.position.chunk;
        let position = SequencePosition { length, farthest: length, most: positions, chunk };
        Some(Self { stages, position, window: None })
    }

    /// Sets the maximum positions to `positions`, but not below the cached ones.
    pub fn limit(&mut self, positions: usize) {
        self.position.most = positions.max(self.position.length);
        let most = slots(self.position.most, self.window, self.position.chunk);
        self.layers((), |(), layer| layer.limit(most));
    }

    /// Discards all positions from `length` on, including those of a failed batch, and returns the length that is left.
    /// No batch of the sequence may be in flight.
    ///
    /// The result is 0 if a ring buffer has overwritten a position that a token at `length` sees. Example: window 4, 6
    /// slots (as on an accelerator), 10 positions written, so 4..=9 are held. Truncating to 8 is possible, since a
    /// token at 8 sees 5..=8; truncating to 6 is not, since a token at 6 sees 3.
    pub fn truncate(&mut self, length: usize) -> usize {
        let length = length.min(self.position.length);
        if length == self.position.length && length == self.position.farthest {
            return length;
        }
        let farthest = self.position.farthest;
        let oldest_held = self.layers(0, |oldest, layer| oldest.max(layer.oldest_held(farthest)));
        let oldest_seen = self.window.map_or(0, |w| (length + 1).saturating_sub(w));
        match length == 0 || oldest_seen < oldest_held {
            true => (self.position.length, self.position.farthest) = (0, 0),
            false => self.position.length = length,
        }
        self.position.length
    }

    /// Folds over the layers' caches, stage by stage.
    fn layers<T>(&self, begin: T, mut each: impl FnMut(T, &mut LayerCache) -> T) -> T {
        self.stages.iter().fold(begin, |so_far, stage| {
            // After a panic in another thread the contents may be wrong. Computing with them fails; measuring them is
            // fine.
            let mut layers = stage.lock().unwrap_or_else(PoisonError::into_inner);
            layers.iter_mut().fold(so_far, &mut each)
        })
    }

    /// Returns the slice for the next `tokens` tokens.
    ///
    /// # Errors
    /// `tokens` is 0, more than a batch may have, or more than there is room for.
    pub(super) fn next(&self, tokens: usize) -> Result<SequenceSlice> {
        let SequencePosition { length: first, most, chunk, .. } = self.position;
        if tokens == 0 || tokens > chunk {
            bail!("expected 1 to {chunk} tokens of a sequence in a batch, found {tokens}");
        }
        match first + tokens > most {
            true => bail!("position {} is beyond the context of {most}", first + tokens - 1),
            false => Ok(SequenceSlice { first, tokens }),
        }
    }

    /// Advances the position by `tokens`, and returns the layers' caches for the batch.
    pub(super) fn advance(&mut self, tokens: usize) -> SharedCache {
        self.position.length += tokens;
        self.position.farthest = self.position.farthest.max(self.position.length);
        self.stages.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{Architecture, Rope, RopeScaling};
    use crate::kernels::attention::Heads;
    use crate::kernels::pointwise::RopeLayout;
    use crate::model::stage_cache::StageCache;
    use crate::quant::HostRows;
    use crate::tensor::ops::{self, Qkv, Queries};

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
            default_end_id: None,
        };
        Cache::new(&config, std::iter::once((1, Device::Cpu)), CacheType::F32, chunk, usize::MAX)
    }

    const HEADS: Heads = Heads { query: 1, key_value: 1, size: 2 };

    fn qkv(positions: std::ops::Range<usize>) -> Qkv {
        let mut rows = HostRows::scratch(positions.len(), 6);
        for (row, position) in rows.chunks_exact_mut(6).zip(positions) {
            row.copy_from_slice(&[0.0, 0.0, position as f32, 0.0, 0.0, 0.0]);
        }
        Qkv::Host(rows)
    }

    /// Appends rows whose first value is their position, and checks that each position that they see lies in its slot.
    fn append(cache: &mut Cache, tokens: usize) {
        let slices = [cache.next(tokens).unwrap()];
        let caches = [cache.advance(tokens)];
        let mut stage = StageCache::lock(&slices, &caches, 0).unwrap();
        let first = slices[0].first;
        stage.append(0, &qkv(first..first + tokens), HEADS).unwrap();
        let Queries { span, ring: ops::Ring::Host(kept), .. } = stage.queries(0, 0).unwrap() else {
            panic!("a cache of the CPU is on the host");
        };
        for position in first..first + tokens {
            for seen in span.oldest(position)..=position {
                let held = kept.first_of_key(seen % span.slots);
                assert_eq!(held, Some(seen as f32), "position {position} of {span:?}");
            }
        }
    }

    #[test]
    fn every_chunk_finds_what_its_tokens_see() {
        for (window, chunk) in [(None, 7), (Some(4), 3), (Some(1), 5), (Some(300), 20)] {
            let mut cache = cache(window, chunk);
            for tokens in (1..=chunk).chain([1, 1, chunk, 1]).cycle().take(100) {
                let room = 900usize.saturating_sub(cache.len());
                append(&mut cache, tokens.min(room).max(1));
            }
            if let Some(window) = window {
                // Rounded up to whole blocks of 16.
                assert_eq!(cache.slots(), (window + chunk - 1).next_multiple_of(16));
            }
        }
    }

    #[test]
    fn going_back_is_refused_where_the_ring_has_forgotten() {
        let mut cache = cache(Some(14), 3);
        (0..20).for_each(|_| append(&mut cache, 1));
        assert_eq!(cache.truncate(18), 18);
        // Position 19 has overwritten position 3, which a second truncation must take into account.
        assert_eq!(cache.truncate(16), 0);
        (0..3).for_each(|_| append(&mut cache, 3));
        assert_eq!(cache.truncate(7), 7);
        append(&mut cache, 3);
    }

    #[test]
    fn what_a_failed_batch_has_overwritten_is_forgotten_and_no_more() {
        // 16 slots: a token at 18 sees 5 to 18. A batch that ends at length 20 overwrites none of them; one that ends
        // at length 22 overwrites 5.
        for (failed, left) in [(0, 18), (2, 18), (3, 18), (4, 0)] {
            let mut cache = cache(Some(14), 3);
            (0..18).for_each(|_| append(&mut cache, 1));
            cache.advance(failed);
            assert_eq!(cache.truncate(18), left, "{failed}");
        }
        let mut cache = cache(None, 300);
        (0..3).for_each(|_| append(&mut cache, 300));
        cache.advance(100);
        assert_eq!((cache.truncate(900), cache.truncate(600)), (900, 600));
        append(&mut cache, 300);
    }

    /// Checks that a cache can be passed to a sequence that needs more or fewer positions.
    #[test]
    fn another_limit_keeps_every_position() {
        for window in [None, Some(40)] {
            let mut cache = cache(window, 20);
            cache.limit(30);
            (0..6).for_each(|_| append(&mut cache, 5));
            assert!(cache.next(1).is_err());
            let slots = cache.slots();
            cache.limit(500);
            (0..23).for_each(|_| append(&mut cache, 20));
            cache.limit(510);
            assert!(cache.slots() > slots);
            append(&mut cache, 20);
            assert!(cache.next(1).is_err());
        }
    }

    #[test]
    fn a_copy_of_the_first_positions_goes_on_by_itself() {
        let mut whole = cache(None, 20);
        (0..30).for_each(|_| append(&mut whole, 20));
        for length in [1, 16, 300, 600] {
            let mut copy = whole.first(length, 700).unwrap();
            assert!(copy.len() == length && copy.slots() <= length.next_multiple_of(16));
            (0..5).for_each(|_| append(&mut copy, 20));
        }
        assert!(whole.first(601, 700).is_none());
        append(&mut whole, 20);
    }

    #[test]
    fn beyond_the_context_is_an_error() {
        let mut cache = cache(None, 600);
        append(&mut cache, 600);
        let slices = [SequenceSlice { first: 600, tokens: 600 }];
        let error = cache.next(600).unwrap_err().to_string();
        assert!(error.contains("position 1199 is beyond the context of 1000"), "{error}");
        let caches = [cache.advance(0)];
        let mut stage = StageCache::lock(&slices, &caches, 0).unwrap();
        let error = stage.append(0, &qkv(600..1200), HEADS).unwrap_err().to_string();
        assert!(error.contains("position 1199 is beyond the cache's 1000"), "{error}");
    }
}
