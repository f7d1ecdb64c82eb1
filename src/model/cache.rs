//! Keys and values of the positions that later tokens still see.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Result, bail};

use super::layer_cache::LayerCache;
use crate::arch::Config;
use crate::kernels::attention::CacheType;

/// Tokens of a prompt that are computed at once.
pub const CHUNK: usize = 256;

/// Consecutive tokens of one sequence, among the rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceSlice {
    /// Position of the first token.
    pub first: usize,
    /// How many tokens.
    pub tokens: usize,
}

/// A sequence's layers, stage by stage: each stage locks its own while it computes a batch.
pub(super) type SharedCache = Arc<[Mutex<Vec<LayerCache>>]>;

/// The KV cache of a sequence: one of each layer, on that layer's device, and the position that they have reached.
///
/// A model without a window keeps every position; its layers' caches grow by doubling up to the positions asked for. With
/// a window of W and chunks of up to N tokens each is a ring buffer of W + N - 1 positions (the example is at
/// [`Span`](crate::kernels::attention::Span)), on the host rounded up to blocks of sixteen.
///
/// Its memory is given back when it is dropped and no batch on its way needs it.
#[derive(Debug)]
pub struct Cache {
    stages: SharedCache,
    position: SequencePosition,
    window: Option<usize>,
}

/// How far a sequence has come: what is known of its cache without its layers, which may be at work elsewhere.
#[derive(Debug)]
struct SequencePosition {
    /// Positions that have been seen: the next token's position.
    length: usize,
    /// The largest length since the cache was empty: what a ring has overwritten stays overwritten.
    farthest: usize,
    /// Positions that there is room for.
    most: usize,
    /// Most tokens of one batch.
    chunk: usize,
}

/// Slots of a layer's cache that is to hold `positions`, of which a token sees `window`, with up to `chunk` tokens of the
/// sequence in a batch.
pub fn slots(positions: usize, window: Option<usize>, chunk: usize) -> usize {
    window.map_or(positions, |window| positions.min(window.saturating_add(chunk.max(1) - 1)))
}

impl Cache {
    /// An empty cache for up to `positions`, at most the model's context. `stages` says of each stage how many layers it
    /// has, on which device. No batch may bring more than `chunk` tokens.
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

    /// Positions that have been seen: the next token's position.
    pub fn len(&self) -> usize {
        self.position.length
    }

    /// Whether no position has been seen.
    pub fn is_empty(&self) -> bool {
        self.position.length == 0
    }

    /// Slots that each layer's cache has memory for.
    pub fn slots(&self) -> usize {
        self.layers(0, |slots, layer| slots.max(layer.slots()))
    }

    /// A copy of the first `length` positions, with room for `positions`. `None` where they are not all held or may have
    /// been overwritten, as with a window, and where there is no memory for it.
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

    /// Changes the positions that there is room for to `positions`, at least those that have been seen.
    pub fn limit(&mut self, positions: usize) {
        self.position.most = positions.max(self.position.length);
        let most = slots(self.position.most, self.window, self.position.chunk);
        self.layers((), |(), layer| layer.limit(most));
    }

    /// Forgets all positions from `length` on, also those of a batch that has failed, and gives the length that is left. No
    /// batch of the sequence is on its way.
    ///
    /// That is 0 where a windowed ring has overwritten what a token at `length` would see. Example: window 4, 6
    /// slots (as on an accelerator), 10 positions seen, so 4..=9 are held. A token at 8 sees 5..=8, back to 8 is possible; a token at
    /// 6 would see 3, so back to 6 is not.
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

    /// Goes through the layers, stage by stage.
    fn layers<T>(&self, begin: T, mut each: impl FnMut(T, &mut LayerCache) -> T) -> T {
        self.stages.iter().fold(begin, |so_far, stage| {
            // After a panic elsewhere the contents may be wrong: computing with them fails, measuring them does not.
            let mut layers = stage.lock().unwrap_or_else(PoisonError::into_inner);
            layers.iter_mut().fold(so_far, &mut each)
        })
    }

    /// The next `tokens` tokens, if they may come now.
    ///
    /// # Errors
    /// There are none, more than a batch may bring, or more than there is room for.
    pub(super) fn next(&self, tokens: usize) -> Result<SequenceSlice> {
        let SequencePosition { length: first, most, chunk, .. } = self.position;
        if tokens == 0 || tokens > chunk {
            bail!("a call brings 1 to {chunk} tokens, this one {tokens}");
        }
        match first + tokens > most {
            true => bail!("position {} is beyond the context of {most}", first + tokens - 1),
            false => Ok(SequenceSlice { first, tokens }),
        }
    }

    /// `tokens` more positions are on their way to the layers, which are given for that.
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

    /// Appends rows whose first value is their position, and checks that every position that the last one sees
    /// lies where the span says.
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
                // Whole blocks of sixteen.
                assert_eq!(cache.slots(), (window + chunk - 1).next_multiple_of(16));
            }
        }
    }

    #[test]
    fn going_back_is_refused_where_the_ring_has_forgotten() {
        let mut cache = cache(Some(14), 3);
        (0..20).for_each(|_| append(&mut cache, 1));
        assert_eq!(cache.truncate(18), 18);
        // 19 was written over 3: a second step back must not forget that.
        assert_eq!(cache.truncate(16), 0);
        (0..3).for_each(|_| append(&mut cache, 3));
        assert_eq!(cache.truncate(7), 7);
        append(&mut cache, 3);
    }

    #[test]
    fn what_a_failed_batch_has_overwritten_is_forgotten_and_no_more() {
        // 16 slots: a token at 18 sees 5 to 18, of which a batch to 20 overwrites nothing, and one to 22 overwrites 5.
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

    /// A cache goes from one sequence to another that needs more positions, or fewer.
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
