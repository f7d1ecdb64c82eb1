//! The memory of KV caches: what sequences may take together, and the caches of those that have ended, which are held for
//! others that begin alike until their memory is needed.

use crate::arch::Config;
use crate::kernels::attention::CacheType;
use crate::model::{CHUNK, Cache, Transformer, slots};

/// Memory is counted in slots: a position's keys and values in every layer.
#[derive(Debug)]
pub(super) struct Memory {
    dtype: CacheType,
    /// Slots that all caches may have together.
    most: usize,
    /// Caches of sequences that have ended, in the order of their last use.
    held: Vec<Held>,
}

/// The cache of a sequence that has ended.
#[derive(Debug)]
struct Held {
    /// The ids whose keys and values it holds.
    ids: Vec<u32>,
    memory: Reserved,
}

/// A cache, and the slots that are reserved for it.
#[derive(Debug)]
pub(super) struct Reserved {
    pub cache: Cache,
    pub slots: usize,
}

/// Slots of each layer's KV cache that a sequence of up to `positions` takes, at most the model's context.
pub fn sequence_slots(config: &Config, positions: usize) -> usize {
    slots(positions.min(config.context_length), config.window, CHUNK)
}

impl Memory {
    /// Of `most` slots, for caches of keys and values in `dtype`.
    pub fn new(dtype: CacheType, most: usize) -> Self {
        Self { dtype, most, held: Vec::new() }
    }

    /// Slots that all caches may have together.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Slots of the caches that are held and may be taken.
    pub fn held(&self) -> usize {
        self.held.iter().map(|held| held.memory.slots).sum()
    }

    /// A cache for `prompt` with room for `positions`, beside sequences that have `taken` slots; `None` where there is no room
    /// for it yet. It holds the tokens that the prompt shares with another sequence, up to `reuse` of them: with one of
    /// `running`, of which the ids in a cache are given, or with one that has ended.
    ///
    /// The caches that are held go, that which was not used for longest first, as far as their memory is needed.
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
        // Of equal ones the last, which was used last.
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
            // Memory that has to be taken from another is used again rather than given back and asked for anew.
            return match is_full {
                true if self.held.is_empty() => None,
                true => self.take_over(0, 0, taken, needs, positions),
                false => Some(Reserved { cache: self.empty(model, positions), slots: needs }),
            };
        };
        // The sequence goes on where that one ended; or what that one had beyond is of no use any more.
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

    /// Lets caches go that are held, that which was not used for longest first, until there are `needs` slots free beside
    /// `taken` ones. Whether there are; if not, or if `but` would have to go, none goes. `but` is then the one used last.
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

    /// Takes the cache of a sequence that is held, of which the first `common` tokens are kept.
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

    /// Holds the cache of a sequence that has ended, whose tokens are `ids`.
    pub fn hold(&mut self, mut ids: Vec<u32>, Reserved { cache, slots }: Reserved) {
        ids.truncate(cache.len());
        // What was reserved and never used is free. The host's caches are rounded up beyond what was reserved.
        let slots = slots.min(cache.slots());
        if slots > 0 {
            self.held.push(Held { ids, memory: Reserved { cache, slots } });
        }
    }
}
