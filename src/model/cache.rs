//! Keys and values of the positions that later tokens still see.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::pipeline::Segment;
use crate::arch::Config;
use crate::kernels::attention::{CacheType, Heads, KeyValues, Span};
use crate::tensor::ops::{self, Qkv, Queries};

/// Tokens of a prompt that are computed at once.
pub const CHUNK: usize = 256;

/// Slots that a cache begins with.
const FIRST_SLOTS: usize = 256;

/// The cache of a sequence: a ring per layer, on that layer's device, and the position they have reached.
///
/// A model without a window keeps every position; its rings grow by doubling up to the positions asked for. With a
/// window of W and chunks of up to N tokens a ring holds W + N - 1 positions (the example is at [`Span`]), on the host
/// rounded up to blocks of sixteen.
#[derive(Debug)]
pub struct Cache {
    rings: Vec<Ring>,
    reach: Reach,
}

/// How far a sequence has come: what is known of its cache without its rings, which may be at work elsewhere.
#[derive(Debug)]
pub(super) struct Reach {
    /// Positions that have been seen: the next token's position.
    length: usize,
    /// The largest length since the cache was empty: what a ring has overwritten stays overwritten.
    farthest: usize,
    /// Positions that there is room for.
    most: usize,
    /// Most tokens of one call.
    chunk: usize,
}

/// Slots of a ring that is to hold `positions`, of which a token sees `window`, with up to `chunk` tokens a call.
pub fn slots(positions: usize, window: Option<usize>, chunk: usize) -> usize {
    window.map_or(positions, |window| positions.min(window.saturating_add(chunk.max(1) - 1)))
}

/// Slots that a ring has grown to once it holds `positions`, of `most` that it may have.
pub fn grown(positions: usize, most: usize) -> usize {
    positions.max(FIRST_SLOTS).checked_next_power_of_two().map_or(most, |slots| slots.min(most))
}

impl Cache {
    /// An empty cache for up to `positions`, at most the model's context: `devices` names each layer's. No call may
    /// bring more than `chunk` tokens.
    pub fn new(
        config: &Config,
        devices: impl Iterator<Item = Device>,
        dtype: CacheType,
        chunk: usize,
        positions: usize,
    ) -> Self {
        let (chunk, positions) = (chunk.max(1), positions.min(config.context_length));
        let most = slots(positions, config.window, chunk);
        let (shape, window) = ((config.key_value_heads, config.head_size), config.window);
        let ring = |device| Ring { ring: None, most, window, shape, dtype, device };
        let reach = Reach { length: 0, farthest: 0, most: positions, chunk };
        Self { rings: devices.map(ring).collect(), reach }
    }

    /// Positions that have been seen: the next token's position.
    pub fn len(&self) -> usize {
        self.reach.length
    }

    /// Whether no position has been seen.
    pub fn is_empty(&self) -> bool {
        self.reach.length == 0
    }

    /// Most tokens of one call.
    pub fn chunk(&self) -> usize {
        self.reach.chunk
    }

    /// The layers' rings, and how far they have come.
    pub(super) fn parts(&mut self) -> (&mut [Ring], &mut Reach) {
        (&mut self.rings, &mut self.reach)
    }

    /// Up to `tokens` more positions may have been written to some of the layers' rings by a step that was ended. None of
    /// them counts; [`truncate`](Self::truncate) sees what they have overwritten.
    pub fn disturb(&mut self, tokens: usize) {
        let reach = &mut self.reach;
        reach.farthest = reach.farthest.max(reach.most.min(reach.length + tokens));
    }

    /// Forgets all positions from `length` on, and gives the length that is left.
    ///
    /// That is 0 where a windowed ring has overwritten what a token at `length` would see. Example: window 4, 6
    /// slots (as on an accelerator), 10 positions seen, so 4..=9 are held. A token at 8 sees 5..=8, back to 8 is possible; a token at
    /// 6 would see 3, so back to 6 is not.
    pub fn truncate(&mut self, length: usize) -> usize {
        let reach = &mut self.reach;
        let length = length.min(reach.length);
        if length == reach.length && reach.length == reach.farthest {
            return length;
        }
        let window = self.rings.iter().find_map(|ring| ring.window);
        let oldest_held = self.rings.iter().map(|ring| ring.oldest_held(reach.farthest)).max().unwrap_or(0);
        let oldest_seen = window.map_or(0, |w| (length + 1).saturating_sub(w));
        match oldest_seen < oldest_held {
            true => reach.restart(),
            false => reach.length = length,
        }
        if reach.length == 0 {
            reach.restart();
        }
        reach.length
    }
}

impl Reach {
    /// The position of the next token, if `tokens` more may come now.
    ///
    /// # Errors
    /// There are none, more than a call may bring, or more than there is room for.
    pub(super) fn next(&self, tokens: usize) -> Result<usize> {
        if tokens == 0 || tokens > self.chunk {
            bail!("a call brings 1 to {} tokens, this one {tokens}", self.chunk);
        }
        let (first, end) = (self.length, self.length + tokens);
        match end > self.most {
            true => bail!("position {} is beyond the context of {}", end - 1, self.most),
            false => Ok(first),
        }
    }

    /// `tokens` more positions have been seen.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.length += tokens;
        self.farthest = self.farthest.max(self.length);
    }

    /// No position has been seen.
    pub(super) fn restart(&mut self) {
        (self.length, self.farthest) = (0, 0);
    }
}

/// One layer's keys and values of one sequence.
#[derive(Debug)]
pub struct Ring {
    /// None until the first token.
    ring: Option<ops::Ring>,
    /// Slots that the ring may grow to.
    most: usize,
    /// Keys that a token sees, its own included; `None` for all.
    window: Option<usize>,
    shape: (usize, usize),
    dtype: CacheType,
    device: Device,
}

impl Ring {
    /// Gives its memory back.
    pub(super) fn release(&mut self) {
        self.ring = None;
    }

    /// The oldest position that is held once `length` have been written. A ring that is smaller than its limit has never
    /// wrapped.
    fn oldest_held(&self, length: usize) -> usize {
        let slots = self.slots();
        if slots < self.most { 0 } else { length.saturating_sub(slots) }
    }

    fn slots(&self) -> usize {
        self.ring.as_ref().map_or(0, ops::Ring::slots)
    }

    /// Puts the keys and values of a segment, whose first token is row `row` of `qkv`, in their slots.
    ///
    /// # Errors
    /// The positions are more than it may hold, or what candle reports.
    pub(super) fn append(&mut self, segment: &Segment, qkv: &Qkv, heads: Heads, row: usize) -> Result<()> {
        let Segment { first, tokens, .. } = *segment;
        self.grow(first, tokens)?;
        let slots = self.slots();
        if tokens > slots || (self.window.is_none() && first + tokens > self.most) {
            bail!("position {} is beyond the cache's {}", first + tokens - 1, self.most);
        }
        let Some(ring) = &mut self.ring else { bail!("the cache has no slots") };
        ring.append(first, qkv, heads, row, tokens)
    }

    /// What the queries of a segment see, whose keys and values were put in their slots.
    pub(super) fn queries(&self, segment: &Segment, row: usize) -> Option<Queries<'_>> {
        let ring = self.ring.as_ref()?;
        let span = Span { first: segment.first, window: self.window, slots: ring.slots() };
        Some(Queries { row, tokens: segment.tokens, span, ring })
    }

    /// Makes room for `tokens` more positions, as far as the ring may grow. A ring that is smaller than its limit has
    /// never wrapped, so growing keeps every slot where it is.
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
            CacheType::Q8_0 => bail!("a cache of q8_0 is there on the CPU only"),
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
        // Both or none: a failure between them must not leave rings of two sizes.
        self.ring = Some(ops::Ring::Device([larger(keys)?, larger(values)?]));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{Architecture, Rope, RopeScaling};
    use crate::kernels::pointwise::RopeLayout;
    use crate::quant::HostRows;

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
        Cache::new(&config, std::iter::once(Device::Cpu), CacheType::F32, chunk, usize::MAX)
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
        let (rings, reach) = cache.parts();
        let first = reach.next(tokens).unwrap();
        let segment = Segment { sequence: 0, first, tokens };
        rings[0].append(&segment, &qkv(first..first + tokens), HEADS, 0).unwrap();
        let Queries { span, ring: ops::Ring::Host(kept), .. } = rings[0].queries(&segment, 0).unwrap() else {
            panic!("a ring of the CPU is on the host");
        };
        for position in first..first + tokens {
            for seen in span.oldest(position)..=position {
                let held = kept.first_of_key(seen % span.slots);
                assert_eq!(held, Some(seen as f32), "position {position} of {span:?}");
            }
        }
        reach.advance(tokens);
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
                assert_eq!(cache.rings[0].slots(), (window + chunk - 1).next_multiple_of(16));
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
    fn what_an_ended_step_has_overwritten_is_forgotten_and_no_more() {
        // 16 slots: a token at 18 sees 5 to 18, of which a step to 20 overwrites nothing, and one to 22 overwrites 5.
        for (disturbed, left) in [(0, 18), (2, 18), (3, 18), (4, 0)] {
            let mut cache = cache(Some(14), 3);
            (0..18).for_each(|_| append(&mut cache, 1));
            cache.disturb(disturbed);
            assert_eq!(cache.truncate(18), left, "{disturbed}");
        }
        let mut cache = cache(None, 300);
        (0..3).for_each(|_| append(&mut cache, 300));
        cache.disturb(300);
        assert_eq!((cache.truncate(1000), cache.truncate(600)), (900, 600));
        append(&mut cache, 300);
    }

    #[test]
    fn beyond_the_context_is_an_error() {
        let mut cache = cache(None, 600);
        append(&mut cache, 600);
        let (rings, reach) = cache.parts();
        let segment = Segment { sequence: 0, first: 600, tokens: 600 };
        let error = rings[0].append(&segment, &qkv(600..1200), HEADS, 0).unwrap_err().to_string();
        assert!(error.contains("position 1199 is beyond the cache's 1000"), "{error}");
        let error = reach.next(600).unwrap_err().to_string();
        assert!(error.contains("position 1199 is beyond the context of 1000"), "{error}");
    }
}
