//! The KV cache of one sequence and layer on the host, in the order in which attention reads it.
//!
//! Each key/value head has separate memory. Keys are transposed in blocks of sixteen positions, `(D, 16)`, so a
//! vector of scores is a sum of vectors over D, without horizontal sums. Values are stored row after row.

use std::fmt;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::cpu::pool::{self, PIECE};
use crate::cpu::prefetch::ahead;
use crate::cpu::simd::Simd;

/// Number of positions in a block of keys.
pub(super) const BLOCK: usize = 16;

/// Number of values that share a scale in [`CacheType::Q8_0`].
const GROUP: usize = 32;

/// The type in which the KV cache stores keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheType {
    /// f32, unrounded.
    F32,
    /// Rounded to f16.
    F16,
    /// Rounded to bf16.
    Bf16,
    /// 8 bits with an f16 scale for every 32 values of a head, like ggml's blocks of that name. CPU only.
    Q8_0,
}

impl CacheType {
    /// Returns the name, such as `f16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
        }
    }

    /// Returns the bytes of a position's keys and values in a layer with `heads` heads of `size`.
    pub fn position(self, heads: usize, size: usize) -> usize {
        2 * heads * self.bytes(size)
    }

    /// Returns the bytes of a position in [`KeyValues`], which pads values to whole blocks.
    pub fn position_on_host(self, heads: usize, size: usize) -> usize {
        heads * (self.bytes(size) + self.bytes(value_width(size)))
    }

    /// Returns the bytes of `values` numbers; q8_0 rounds up to whole groups.
    pub fn bytes(self, values: usize) -> usize {
        match self {
            Self::F32 => 4 * values,
            Self::F16 | Self::Bf16 => 2 * values,
            Self::Q8_0 => values.div_ceil(GROUP) * (GROUP + 2),
        }
    }
}

impl fmt::Display for CacheType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A ring buffer of keys and values on the host: `slots` positions of G heads of size D.
#[derive(Debug)]
pub struct KeyValues {
    pub(super) heads: AllHeads,
    size: usize,
    slots: usize,
}

/// The memory of every head, in the cache's type.
#[derive(Debug)]
pub(super) enum AllHeads {
    F32(Vec<Head<f32>>),
    F16(Vec<Head<f16>>),
    Bf16(Vec<Head<bf16>>),
    Q8_0(Vec<Head8>),
}

/// Evaluates `$work` with the heads of any type.
macro_rules! each_type {
    ($heads:expr, $name:ident => $work:expr) => {
        match $heads {
            AllHeads::F32($name) => $work,
            AllHeads::F16($name) => $work,
            AllHeads::Bf16($name) => $work,
            AllHeads::Q8_0($name) => $work,
        }
    };
}

pub(super) use each_type;

impl KeyValues {
    /// Creates a cache without slots for `heads` key/value heads of `size`.
    pub fn new(cache: CacheType, heads: usize, size: usize) -> Self {
        fn empty<K: Keep>(heads: usize) -> Vec<K> {
            std::iter::repeat_with(K::default).take(heads).collect()
        }
        let heads = match cache {
            CacheType::F32 => AllHeads::F32(empty(heads)),
            CacheType::F16 => AllHeads::F16(empty(heads)),
            CacheType::Bf16 => AllHeads::Bf16(empty(heads)),
            CacheType::Q8_0 => AllHeads::Q8_0(empty(heads)),
        };
        Self { heads, size, slots: 0 }
    }

    /// Returns the number of slots. Position p lies in slot p mod this.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Returns whether the cache has the number and size of key/value heads.
    pub(super) fn fits(&self, heads: super::heads::Heads) -> bool {
        let count = each_type!(&self.heads, heads => heads.len());
        count == heads.key_value && self.size == heads.size
    }

    /// Grows to at least `slots` slots and keeps their content. A ring buffer that has wrapped must not grow.
    ///
    /// # Panics
    /// If the size overflows the address space.
    pub fn grow(&mut self, slots: usize) {
        let size = self.size;
        let most = slots.saturating_add(BLOCK).saturating_mul(size.saturating_add(BLOCK));
        assert!(most <= isize::MAX as usize, "no memory holds {slots} positions of heads of {size}");
        // Keys are stored in whole blocks, so the ring buffer wraps at the end of a block.
        let slots = self.slots.max(slots.next_multiple_of(BLOCK));
        each_type!(&mut self.heads, heads => heads.iter_mut().for_each(|head| head.grow(slots, size)));
        // Set last: attention reads all slots without bounds checks, and growing may panic.
        self.slots = slots;
    }

    /// Copies the first `slots` slots, rounded up to whole blocks, or all slots if there are fewer.
    pub fn first(&self, slots: usize) -> Self {
        fn first<K: Keep>(heads: &[K], slots: usize, size: usize) -> Vec<K> {
            heads.iter().map(|head| head.first(slots, size)).collect()
        }
        let (size, slots) = (self.size, slots.next_multiple_of(BLOCK).min(self.slots));
        let heads = match &self.heads {
            AllHeads::F32(heads) => AllHeads::F32(first(heads, slots, size)),
            AllHeads::F16(heads) => AllHeads::F16(first(heads, slots, size)),
            AllHeads::Bf16(heads) => AllHeads::Bf16(first(heads, slots, size)),
            AllHeads::Q8_0(heads) => AllHeads::Q8_0(first(heads, slots, size)),
        };
        Self { heads, size, slots }
    }

    /// Stores the keys and values of consecutive positions from `first` on in their slots. Each row of `rows`,
    /// `width` wide, has the keys of all heads at `keys` and their values at `values`.
    pub fn append(&mut self, first: usize, rows: &[f32], width: usize, keys: usize, values: usize) {
        let (size, slots) = (self.size, self.slots);
        let each = |g: usize, head: &mut dyn Put| {
            for (t, row) in rows.chunks_exact(width).enumerate() {
                let slot = (first + t) % slots;
                head.put(slot, &row[keys + g * size..][..size], &row[values + g * size..][..size]);
            }
        };
        each_type!(&mut self.heads, heads => {
            let at_once = if rows.len() > PIECE { 1 } else { heads.len() };
            pool::each_piece(heads, at_once, |piece, heads| {
                heads.iter_mut().enumerate().for_each(|(g, head)| each(piece * at_once + g, head));
            });
        });
    }

    /// Returns the first value of the first head's key in a slot of an f32 cache.
    #[cfg(test)]
    pub fn first_of_key(&self, slot: usize) -> Option<f32> {
        let AllHeads::F32(heads) = &self.heads else { return None };
        heads[0].keys.get(slot / BLOCK * BLOCK * self.size + slot % BLOCK).copied()
    }
}

/// Stores the keys and values of a position.
trait Put {
    fn put(&mut self, slot: usize, key: &[f32], value: &[f32]);
}

/// The memory of one head.
pub(super) trait Keep: Default + Send + Sync {
    /// Grows to `slots` slots, a multiple of [`BLOCK`], of heads of `size`.
    fn grow(&mut self, slots: usize, size: usize);

    /// Copies the first `slots` slots: a multiple of [`BLOCK`], and at most the number of slots.
    fn first(&self, slots: usize, size: usize) -> Self;

    /// Returns the keys of a block of slots as f32, `(D, 16)`: either the stored keys or a conversion into
    /// `scratch`.
    ///
    /// # Safety
    /// The block is within the slots, and `scratch` has room for 16 · D values.
    #[allow(unsafe_code)]
    unsafe fn keys<S: Simd>(&self, block: usize, size: usize, scratch: *mut f32) -> *const f32;

    /// Returns the values of a block of slots as f32, `(16, W)`, where W is [`value_width`].
    ///
    /// # Safety
    /// The block is within the slots, and `scratch` has room for 16 · W values.
    #[allow(unsafe_code)]
    unsafe fn values<S: Simd>(&self, block: usize, size: usize, scratch: *mut f32) -> *const f32;
}

/// Returns the width of a row of values: D, padded with zeros to whole vectors.
pub(super) fn value_width(size: usize) -> usize {
    size.next_multiple_of(BLOCK)
}

/// A head's keys and values as f32, f16 or bf16.
#[derive(Debug)]
pub(super) struct Head<E> {
    keys: Vec<E>,   // (S/16, D, 16)
    values: Vec<E>, // (S, W)
}

impl<E> Default for Head<E> {
    fn default() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }
}

/// The type of a stored number.
trait Element: Copy + Default + Send + Sync {
    /// Rounds numbers from f32.
    fn round(from: &[f32], to: &mut [Self]);
}

impl Element for f32 {
    fn round(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }
}

impl Element for f16 {
    fn round(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }
}

impl Element for bf16 {
    fn round(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }
}

impl<E: Element> Put for Head<E> {
    fn put(&mut self, slot: usize, key: &[f32], value: &[f32]) {
        let (size, width) = (key.len(), value_width(key.len()));
        E::round(value, &mut self.values[slot * width..][..size]);
        let block = &mut self.keys[slot / BLOCK * BLOCK * size..][..BLOCK * size];
        let mut some = [E::default(); 64];
        for (key, columns) in key.chunks(some.len()).zip(block.chunks_mut(some.len() * BLOCK)) {
            let some = &mut some[..key.len()];
            E::round(key, some);
            for (column, x) in columns.as_chunks_mut::<BLOCK>().0.iter_mut().zip(some) {
                column[slot % BLOCK] = *x;
            }
        }
    }
}

macro_rules! keep {
    ($element:ty, |$from:ident, $count:ident, $scratch:ident| $widen:expr) => {
        #[allow(unsafe_code)]
        impl Keep for Head<$element> {
            fn grow(&mut self, slots: usize, size: usize) {
                self.keys.resize(slots * size, Default::default());
                self.values.resize(slots * value_width(size), Default::default());
            }

            fn first(&self, slots: usize, size: usize) -> Self {
                let (keys, values) = (slots * size, slots * value_width(size));
                Self { keys: self.keys[..keys].to_vec(), values: self.values[..values].to_vec() }
            }

            #[inline(always)]
            unsafe fn keys<S: Simd>(&self, block: usize, size: usize, $scratch: *mut f32) -> *const f32 {
                let $count = BLOCK * size;
                // SAFETY: the block is within the slots.
                let $from = unsafe { self.keys.as_ptr().add(block * $count) };
                $widen
            }

            #[inline(always)]
            unsafe fn values<S: Simd>(&self, block: usize, size: usize, $scratch: *mut f32) -> *const f32 {
                let $count = BLOCK * value_width(size);
                // SAFETY: the block is within the slots.
                let $from = unsafe { self.values.as_ptr().add(block * $count) };
                $widen
            }
        }
    };
}

keep!(f32, |from, count, scratch| {
    let _ = (count, scratch);
    from
});
keep!(f16, |from, count, scratch| {
    for i in (0..count).step_by(S::LANES) {
        ahead(from.wrapping_add(i));
        // SAFETY: both have `count` values, a multiple of sixteen.
        unsafe { S::load_f16(from.add(i)).store(scratch.add(i)) };
    }
    scratch
});
keep!(bf16, |from, count, scratch| {
    for i in (0..count).step_by(S::LANES) {
        ahead(from.wrapping_add(i));
        // SAFETY: both have `count` values, a multiple of sixteen.
        unsafe { S::load_bf16(from.add(i)).store(scratch.add(i)) };
    }
    scratch
});

/// A head's keys and values in 8 bits. The last group of a head may have fewer than [`GROUP`] values; it has a separate
/// scale like the others.
#[derive(Debug, Default)]
pub(super) struct Head8 {
    keys: Vec<i8>,          // (S/16, D, 16)
    key_scales: Vec<f16>,   // (S/16, D/32, 16)
    values: Vec<i8>,        // (S, W)
    value_scales: Vec<f16>, // (S, D/32)
}

impl Put for Head8 {
    fn put(&mut self, slot: usize, key: &[f32], value: &[f32]) {
        let (size, width, groups) = (key.len(), value_width(key.len()), key.len().div_ceil(GROUP));
        let (block, lane) = (slot / BLOCK, slot % BLOCK);
        let mut q = [0; GROUP];
        for (i, group) in value.chunks(GROUP).enumerate() {
            self.value_scales[slot * groups + i] = round8(group, &mut q);
            self.values[slot * width + i * GROUP..][..group.len()].copy_from_slice(&q[..group.len()]);
        }
        for (i, group) in key.chunks(GROUP).enumerate() {
            self.key_scales[(block * groups + i) * BLOCK + lane] = round8(group, &mut q);
            for (d, q) in q.iter().enumerate().take(group.len()) {
                self.keys[(block * size + i * GROUP + d) * BLOCK + lane] = *q;
            }
        }
    }
}

/// Rounds a group to 8 bits and returns its scale: the largest magnitude / 127. If a value is not finite, neither
/// is the scale.
fn round8(x: &[f32], q: &mut [i8; GROUP]) -> f16 {
    let largest = x.iter().fold(0.0f32, |m, x| if x.abs() > m || x.is_nan() { x.abs() } else { m });
    let scale = f16::from_f32(largest / 127.0);
    let inverse = if scale.to_f32() > 0.0 { 1.0 / scale.to_f32() } else { 0.0 };
    for (q, x) in q.iter_mut().zip(x) {
        *q = (x * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
    }
    scale
}

#[allow(unsafe_code)]
impl Keep for Head8 {
    fn grow(&mut self, slots: usize, size: usize) {
        let groups = size.div_ceil(GROUP);
        self.keys.resize(slots * size, 0);
        self.key_scales.resize(slots * groups, f16::ZERO);
        self.values.resize(slots * value_width(size), 0);
        self.value_scales.resize(slots * groups, f16::ZERO);
    }

    fn first(&self, slots: usize, size: usize) -> Self {
        let groups = slots * size.div_ceil(GROUP);
        Self {
            keys: self.keys[..slots * size].to_vec(),
            key_scales: self.key_scales[..groups].to_vec(),
            values: self.values[..slots * value_width(size)].to_vec(),
            value_scales: self.value_scales[..groups].to_vec(),
        }
    }

    #[inline(always)]
    unsafe fn keys<S: Simd>(&self, block: usize, size: usize, scratch: *mut f32) -> *const f32 {
        let groups = size.div_ceil(GROUP);
        for i in 0..groups {
            for lane in (0..BLOCK).step_by(S::LANES) {
                // SAFETY: the block's scales and keys are within the slots; the scratch has room for as many
                // values.
                unsafe {
                    let scales = self.key_scales.as_ptr().add((block * groups + i) * BLOCK + lane);
                    let scale = S::load_f16(scales);
                    for d in i * GROUP..size.min((i + 1) * GROUP) {
                        let at = d * BLOCK + lane;
                        let key = S::load_i8(self.keys.as_ptr().add(block * BLOCK * size + at));
                        key.mul(scale).store(scratch.add(at));
                    }
                }
            }
        }
        scratch
    }

    #[inline(always)]
    unsafe fn values<S: Simd>(&self, block: usize, size: usize, scratch: *mut f32) -> *const f32 {
        let (width, groups) = (value_width(size), size.div_ceil(GROUP));
        for slot in 0..BLOCK {
            let at = block * BLOCK + slot;
            for d in (0..width).step_by(S::LANES) {
                // SAFETY: the block's values and scales are within the slots. W is at most groups · 32, and vectors
                // do not cross groups.
                unsafe {
                    let scale = S::splat(self.value_scales.get_unchecked(at * groups + d / GROUP).to_f32());
                    let value = S::load_i8(self.values.as_ptr().add(at * width + d));
                    value.mul(scale).store(scratch.add(slot * width + d));
                }
            }
        }
        scratch
    }
}
