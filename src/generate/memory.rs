//! The memory budget of KV caches, and the caches of ended sequences, which are kept for prompts with the same
//! beginning until their memory is needed.

use crate::arch::Config;
use crate::kernels::attention::CacheType;
use crate::model::{CHUNK, Cache, Transformer, slots};

/// The memory of all KV caches, counted in slots: the keys and values of one position in every layer.
#[derive(Debug)]
pub(super) struct Memory {
    dtype: CacheType,
    /// Maximum slots of all caches together.
    most: usize,
    /// Caches of ended sequences, least recently used first.
    held: Vec<Held>,
}

/// The cache of an ended sequence.
#[derive(Debug)]
struct Held {
    /// The token ids whose keys and values the cache holds.
    ids: Vec<u32>,
    memory: Reserved,
}

/// A cache, and the slots that are reserved for it.
#[derive(Debug)]
pub(super) struct Reserved {
    pub cache: Cache,
    pub slots: usize,
}

/// Returns the slots of each layer's KV cache for a sequence of up to `positions`, limited to the model's context.
pub fn sequence_slots(config: &Config, positions: usize) -> usize {
    slots(positions.min(config.context_length), config.window, CHUNK)
}

impl Memory {
    /// Creates an empty budget of `most` slots, for caches of keys and values in `dtype`.
    pub fn new(dtype: CacheType, most: usize) -> Self {
        Self { dtype, most, held: Vec::new() }
    }

    /// Returns the maximum slots of all caches together.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Returns the slots of the kept caches, which can be evicted.
    pub fn held(&self) -> usize {
        self.held.iter().map(|held| held.memory.slots).sum()
    }

    /// Returns a cache for `prompt` with room for `positions`, or `None` if there is not enough memory yet. Running
    /// sequences use `taken` slots.
    ///
    /// The cache holds the longest common prefix, up to `reuse` tokens, of the prompt and another sequence. That is one
    /// of `running`, given as cached ids and cache, or an ended one whose cache was kept. Kept caches are evicted as
    /// needed, least recently used first.
    pub fn take<'r>(
        &mut self,
        model: &Transformer,
        taken: usize,
        positions: usize,
        (prompt, reuse): (&[u32], usize),
        running: impl Iterator<Item = (&'r [u32], &'r Cache)>,
    ) -> Option<Reserved> {
        let needs = sequence_slots(model.config(), positions);
        let common = |ids: &[u32]| ids.iter().zip(prompt).take(reuse).take_while(|(a, b)| a == b).count();
        let held = self.held.iter().map(|held| common(&held.ids)).enumerate();
        // Among equal prefixes `max_by_key` returns the last, which is the most recently used.
        let held = held.max_by_key(|(_, common)| *common).filter(|(_, common)| *common > 0);
        let best = held.map_or(0, |(_, common)| common);
        let running = running.map(|(ids, cache)| (common(ids), cache)).max_by_key(|(common, _)| *common);
        if let Some((common, cache)) = running.filter(|(common, _)| *common > best)
            && taken + needs <= self.most
            && let Some(cache) = cache.first(common, positions)
        {
            self.make_room(taken, needs, None);
            return Some(Reserved { cache, slots: needs });
        }
        let is_full = taken + self.held() + needs > self.most;
        let Some((i, common)) = held else {
            // When memory is full, reuses a kept cache instead of freeing it and allocating a new one.
            return match is_full {
                true if self.held.is_empty() => None,
                true => self.take_over(0, 0, taken, needs, positions),
                false => Some(Reserved { cache: self.empty(model, positions), slots: needs }),
            };
        };
        // Takes over the whole cache if the sequence continues it, or if a window makes a copy of its beginning
        // impossible.
        let is_whole = common == self.held[i].ids.len() || model.config().window.is_some();
        if is_whole || !self.make_room(taken, needs, Some(i)) {
            return self.take_over(i, common, taken, needs, positions);
        }
        let cache = self.held.last().and_then(|held| held.memory.cache.first(common, positions));
        Some(Reserved { cache: cache.unwrap_or_else(|| self.empty(model, positions)), slots: needs })
    }

    fn empty(&self, model: &Transformer, positions: usize) -> Cache {
        model.cache(self.dtype, CHUNK, positions)
    }

    /// Evicts kept caches, least recently used first, until `needs` slots are free beside `taken` ones, and returns
    /// whether that succeeded. Evicts nothing if that is not possible without evicting cache `but`. On success, `but`
    /// becomes the most recently used cache.
    fn make_room(&mut self, taken: usize, needs: usize, but: Option<usize>) -> bool {
        let mut held = self.held();
        let fits = |held: usize| taken + held + needs <= self.most;
        let mut gone = 0;
        while !fits(held) && gone < but.unwrap_or(self.held.len()) {
            held -= self.held[gone].memory.slots;
            gone += 1;
        }
        if !fits(held) {
            return false;
        }
        if let Some(but) = but {
            self.held[but..].rotate_left(1);
        }
        self.held.drain(..gone);
        true
    }

    /// Removes kept cache `i`, truncates it to the first `common` tokens, and reserves it for a new sequence.
    fn take_over(
        &mut self,
        i: usize,
        common: usize,
        taken: usize,
        needs: usize,
        positions: usize,
    ) -> Option<Reserved> {
        let slots = needs.max(self.held[i].memory.slots);
        if taken + slots > self.most {
            return None;
        }
        let mut cache = self.held.remove(i).memory.cache;
        cache.truncate(common);
        cache.limit(positions);
        self.make_room(taken, slots, None);
        Some(Reserved { cache, slots })
    }

    /// Keeps the cache of an ended sequence with the tokens `ids`.
    pub fn hold(&mut self, mut ids: Vec<u32>, Reserved { cache, slots }: Reserved) {
        ids.truncate(cache.len());
        // Reserved slots that were never used are free. Caches on the host are rounded up beyond what was reserved, so
        // the smaller number counts.
        let slots = slots.min(cache.slots());
        if slots > 0 {
            self.held.push(Held { ids, memory: Reserved { cache, slots } });
        }
    }
}
