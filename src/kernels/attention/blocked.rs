//! Computes attention for a tile of queries over the KV cache, one span of positions at a time.
//!
//! A tile has the queries of a few tokens, for all heads that share a key/value head. A block of keys or values is
//! converted to f32 once for all of them. For each span of positions, the scores, their exponentials and the sums
//! of values stay in the L1 cache. The results of spans are merged with a running maximum (Milakov and Gimelshein
//! 2018), as in FlashAttention (Dao et al. 2022).
//!
//! Sums follow the order of positions: positions within a span, spans within a group, then groups. The order
//! depends only on the position of the query and its window.

use std::ops::Range;

use half::{bf16, f16};

use super::positions::{GROUP, SPAN, Span};
use super::store::{BLOCK, Head, Head8, Keep, value_width};
use super::tiles::{mix_rows, score_rows};
use crate::cpu::simd::{Simd, dispatch, exp};

/// The queries of one tile. Rows are ordered by token, then by head.
pub(super) struct Tile<'a, K> {
    pub kept: &'a K,
    /// The head size D.
    pub size: usize,
    /// Query heads per token: those that share the key/value head.
    pub heads: usize,
    /// Number of tokens.
    pub tokens: usize,
    /// The positions that the tokens see.
    pub span: Span,
}

/// A thread's buffers for one tile.
#[derive(Default)]
pub(super) struct Scratch {
    /// Scaled queries: `(R, D)`.
    pub q: Vec<f32>,
    /// Sums over all positions: `(R, W + 2)`. A row has the sums of values with weights exp(score - max), the
    /// largest score, and the sum of the weights.
    pub all: Vec<f32>,
    /// Sums over a group of positions: `(R, W + 2)`.
    pub group: Vec<f32>,
    scores: Vec<f32>,  // (R, SPAN)
    widened: Vec<f32>, // two blocks of keys, or one of values
    span: Vec<f32>,    // (R, W + 2)
}

/// Returns the number of floats in a row of sums.
pub(super) fn sums_width(size: usize) -> usize {
    value_width(size) + 2
}

impl<K> Tile<'_, K> {
    pub fn rows(&self) -> usize {
        self.heads * self.tokens
    }

    /// Returns the positions that at least one row sees.
    fn positions(&self) -> Range<usize> {
        self.span.seen(self.tokens)
    }

    /// Returns the rows of a token.
    fn rows_of(&self, token: usize) -> Range<usize> {
        token * self.heads..(token + 1) * self.heads
    }

    /// Returns the positions out of `some` that a token sees.
    fn sees(&self, token: usize, some: &Range<usize>) -> Range<usize> {
        let position = self.span.first + token;
        some.start.max(self.span.oldest(position))..some.end.min(position + 1)
    }

    /// Returns the positions that all rows see.
    fn seen_by_all(&self) -> Range<usize> {
        let (first, last) = (self.span.first, self.span.first + self.tokens.saturating_sub(1));
        let oldest = self.span.oldest(last);
        oldest..oldest.max(first + 1)
    }

    /// Returns the block of slots that holds a position. The slots are whole blocks.
    fn block(&self, position: usize) -> usize {
        position / BLOCK % (self.span.slots / BLOCK)
    }
}

/// Sets `sums` to the sums over all positions.
#[inline(always)]
fn all<S: Simd, K: Keep>(tile: &Tile<K>, scratch: &mut Scratch, sums: &mut [f32]) {
    let positions = tile.positions();
    clear(tile, sums);
    let mut group_sums = std::mem::take(&mut scratch.group);
    group_sums.resize(sums.len(), 0.0);
    for first in (positions.start / GROUP * GROUP..positions.end).step_by(GROUP) {
        group::<S, K>(tile, first, scratch, &mut group_sums);
        merge::<S, K>(tile, &group_sums, sums);
    }
    scratch.group = group_sums;
}

/// Sets `sums` to the sums over the group of positions that begins with `first`.
#[inline(always)]
fn group<S: Simd, K: Keep>(tile: &Tile<K>, first: usize, scratch: &mut Scratch, sums: &mut [f32]) {
    let positions = tile.positions();
    clear(tile, sums);
    let mut span_sums = std::mem::take(&mut scratch.span);
    span_sums.resize(sums.len(), 0.0);
    let start = first.max(positions.start / SPAN * SPAN);
    for first in (start..positions.end.min(first + GROUP)).step_by(SPAN) {
        span::<S, K>(tile, first, scratch, &mut span_sums);
        merge::<S, K>(tile, &span_sums, sums);
    }
    scratch.span = span_sums;
}

/// Sets `sums` to the sums over no positions.
#[inline(always)]
pub(super) fn clear<K>(tile: &Tile<K>, sums: &mut [f32]) {
    let width = value_width(tile.size);
    for row in sums.chunks_exact_mut(width + 2) {
        row.fill(0.0);
        row[width] = f32::NEG_INFINITY;
    }
}

/// Adds the sums over later positions to the sums over earlier ones.
#[inline(always)]
fn merge<S: Simd, K: Keep>(tile: &Tile<K>, later: &[f32], sums: &mut [f32]) {
    let width = value_width(tile.size);
    for (row, later) in sums.chunks_exact_mut(width + 2).zip(later.chunks_exact(width + 2)) {
        let (max, max_later) = (row[width], later[width]);
        if max_later == f32::NEG_INFINITY {
            continue;
        }
        if max == f32::NEG_INFINITY {
            row.copy_from_slice(later);
            continue;
        }
        let both = if max_later > max { max_later } else { max };
        let (a, b) = (exp(S::splat(max - both)), exp(S::splat(max_later - both)));
        let mut sum = [0.0; 16];
        // SAFETY: no instruction set has more than sixteen lanes; a row has `width` values, a multiple of sixteen.
        #[allow(unsafe_code)]
        unsafe {
            let (x, y) = (S::splat(row[width + 1]), S::splat(later[width + 1]));
            x.mul_add(a, y.mul(b)).store(sum.as_mut_ptr());
            for d in (0..width).step_by(S::LANES) {
                let (x, y) = (S::load(row.as_ptr().add(d)), S::load(later.as_ptr().add(d)));
                x.mul_add(a, y.mul(b)).store(row.as_mut_ptr().add(d));
            }
        }
        (row[width], row[width + 1]) = (both, sum[0]);
    }
}

/// Sets `sums` to the sums over the span of positions that begins with `first`.
#[inline(always)]
fn span<S: Simd, K: Keep>(tile: &Tile<K>, first: usize, scratch: &mut Scratch, sums: &mut [f32]) {
    let positions = tile.positions();
    // Only blocks that at least one row sees are read.
    let from = first.max(positions.start / BLOCK * BLOCK);
    let to = (first + SPAN).min(positions.end.next_multiple_of(BLOCK));
    scratch.scores.resize(tile.rows() * SPAN, 0.0);
    scratch.widened.resize(BLOCK * (2 * tile.size).max(value_width(tile.size)), 0.0);
    scores::<S, K>(tile, first, from..to, scratch);
    weights::<S, K>(tile, first, from..to, &mut scratch.scores, sums);
    mix::<S, K>(tile, first, from.max(positions.start)..to.min(positions.end), scratch, sums);
}

/// Computes the scores of a span's blocks. The span's first position is in column 0.
#[inline(always)]
fn scores<S: Simd, K: Keep>(tile: &Tile<K>, first: usize, blocks: Range<usize>, scratch: &mut Scratch) {
    let (rows, size) = (tile.rows(), tile.size);
    let Scratch { q, scores, widened, .. } = scratch;
    assert!(q.len() == rows * size && scores.len() == rows * SPAN && widened.len() >= 2 * BLOCK * size);
    let mut position = blocks.start;
    while position < blocks.end {
        // Two vectors of positions, because with one vector a few rows have too few accumulators to hide the
        // latency of a multiplication.
        let count = (blocks.end - position).min(2 * S::LANES) / BLOCK;
        let mut vectors = [std::ptr::null(); 2];
        for (b, vector) in vectors.iter_mut().enumerate().take(count) {
            let room = widened[b * BLOCK * size..].as_mut_ptr();
            // SAFETY: the block is within the cache's slots; `widened` has room for two blocks.
            #[allow(unsafe_code)]
            let keys = unsafe { tile.kept.keys::<S>(tile.block(position + b * BLOCK), size, room) };
            *vector = keys;
        }
        if S::LANES < BLOCK {
            vectors[1] = vectors[0].wrapping_add(S::LANES);
        }
        // SAFETY: the vectors point to blocks of keys, (D, 16). Rows of q have D values. Rows of scores have SPAN
        // values, which include these blocks.
        #[allow(unsafe_code)]
        unsafe {
            let (q, scores) = (q.as_ptr(), scores.as_mut_ptr().add(position - first));
            match count * BLOCK / S::LANES {
                1 => score_rows::<S, 1>(q, rows, size, vectors, scores),
                _ => score_rows::<S, 2>(q, rows, size, vectors, scores),
            }
        }
        position += count * BLOCK;
    }
}

/// Turns scores into weights, exp(score - max). Writes each row's maximum and sum of weights to `sums`, and zeroes
/// the sums of values.
#[inline(always)]
fn weights<S: Simd, K: Keep>(
    tile: &Tile<K>,
    first: usize,
    blocks: Range<usize>,
    scores: &mut [f32],
    sums: &mut [f32],
) {
    let width = value_width(tile.size);
    for (r, (scores, sums)) in scores.chunks_exact_mut(SPAN).zip(sums.chunks_exact_mut(width + 2)).enumerate()
    {
        let seen = tile.sees(r / tile.heads, &blocks);
        let (start, end) = match seen.is_empty() {
            true => (blocks.end, blocks.end),
            false => (seen.start, seen.end),
        };
        scores[blocks.start - first..start - first].fill(f32::NEG_INFINITY);
        scores[end - first..blocks.end - first].fill(f32::NEG_INFINITY);
        let scores = &mut scores[blocks.start - first..blocks.end - first];
        sums.fill(0.0);
        let mut lanes = [f32::NEG_INFINITY; BLOCK];
        for block in scores.as_chunks::<BLOCK>().0 {
            for i in (0..BLOCK).step_by(S::LANES) {
                put(vector::<S>(block, i).max(vector(&lanes, i)), &mut lanes, i);
            }
        }
        let max = lanes.into_iter().fold(f32::NEG_INFINITY, |m, x| if x > m || x.is_nan() { x } else { m });
        sums[width] = max;
        // If a row sees no position, subtract 0, so that all its weights are exp(-inf).
        let below = S::splat(if max == f32::NEG_INFINITY { 0.0 } else { max });
        lanes = [0.0; BLOCK];
        for block in scores.as_chunks_mut::<BLOCK>().0 {
            for i in (0..BLOCK).step_by(S::LANES) {
                let weight = exp(vector::<S>(block, i).sub(below));
                put(weight, block, i);
                put(vector::<S>(&lanes, i).add(weight), &mut lanes, i);
            }
        }
        for half in [8, 4, 2, 1] {
            let (low, high) = lanes.split_at_mut(half);
            low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        }
        sums[width + 1] = lanes[0];
        if lanes[0].is_nan() {
            // The vector maximum may have lost a NaN. A row of only NaN would then look like a row that sees no
            // position.
            sums[width] = f32::NAN;
        }
    }
}

/// Loads the vector of a block that begins at `i`.
#[inline(always)]
fn vector<S: Simd>(block: &[f32; BLOCK], i: usize) -> S {
    assert!(i + S::LANES <= BLOCK);
    // SAFETY: the vector lies within the block.
    #[allow(unsafe_code)]
    unsafe {
        S::load(block.as_ptr().add(i))
    }
}

/// Stores a vector to a block, from `i` on.
#[inline(always)]
fn put<S: Simd>(vector: S, block: &mut [f32; BLOCK], i: usize) {
    assert!(i + S::LANES <= BLOCK);
    // SAFETY: the vector lies within the block.
    #[allow(unsafe_code)]
    unsafe {
        vector.store(block.as_mut_ptr().add(i));
    }
}

/// Adds the positions' values, times their weights, to the sums of values. A row adds only the positions that it
/// sees: a weight of 0 would turn a value that is not finite into NaN.
#[inline(always)]
fn mix<S: Simd, K: Keep>(
    tile: &Tile<K>,
    first: usize,
    positions: Range<usize>,
    scratch: &mut Scratch,
    sums: &mut [f32],
) {
    let width = value_width(tile.size);
    let all = tile.seen_by_all();
    let Scratch { scores, widened, .. } = scratch;
    assert!(widened.len() >= BLOCK * width);
    let mut position = positions.start;
    while position < positions.end {
        let start = position / BLOCK * BLOCK;
        let block = position..positions.end.min(start + BLOCK);
        // SAFETY: the block is within the cache's slots; `widened` has room for it.
        #[allow(unsafe_code)]
        let values = unsafe { tile.kept.values::<S>(tile.block(start), tile.size, widened.as_mut_ptr()) };
        let mut mixed = Mixed { scores, first, values, start, width, sums };
        let before = block.start..block.end.min(all.start);
        let within = block.start.max(all.start)..block.end.min(all.end);
        let after = block.start.max(all.end)..block.end;
        for token in 0..if before.is_empty() { 0 } else { tile.tokens } {
            mixed.mix::<S>(tile.rows_of(token), tile.sees(token, &before));
        }
        mixed.mix::<S>(0..tile.rows(), within);
        for token in 0..if after.is_empty() { 0 } else { tile.tokens } {
            mixed.mix::<S>(tile.rows_of(token), tile.sees(token, &after));
        }
        position = block.end;
    }
}

/// A block of values and the weights to multiply it by.
struct Mixed<'a> {
    /// Weights of a span's positions: `(R, SPAN)`.
    scores: &'a [f32],
    /// First position of the span.
    first: usize,
    /// Values: `(16, W)`.
    values: *const f32,
    /// First position of the block.
    start: usize,
    width: usize,
    /// Sums over the span: `(R, W + 2)`.
    sums: &'a mut [f32],
}

impl Mixed<'_> {
    /// Adds the values of some of the block's positions to the sums of some rows.
    #[inline(always)]
    fn mix<S: Simd>(&mut self, rows: Range<usize>, positions: Range<usize>) {
        if positions.is_empty() {
            return;
        }
        let weights = &self.scores[rows.start * SPAN..rows.end * SPAN];
        let sums = &mut self.sums[rows.start * (self.width + 2)..rows.end * (self.width + 2)];
        assert!(positions.start >= self.start && positions.end <= self.start + BLOCK);
        assert!(positions.start >= self.first && positions.end <= self.first + SPAN);
        // SAFETY: the positions lie within the block and the span; the rows lie within the weights and sums.
        #[allow(unsafe_code)]
        unsafe {
            let weights = weights.as_ptr().add(positions.start - self.first);
            let values = self.values.add((positions.start - self.start) * self.width);
            mix_rows::<S>(weights, rows.len(), positions.len(), values, self.width, sums.as_mut_ptr());
        }
    }
}

/// The functions above, compiled for each cache type and instruction set.
pub(super) trait Kernels: Keep {
    /// Sets `sums` to the sums over all positions.
    fn all(tile: &Tile<Self>, scratch: &mut Scratch, sums: &mut [f32]);
    /// Sets `sums` to the sums over the group of positions that begins with `first`.
    fn group(tile: &Tile<Self>, first: usize, scratch: &mut Scratch, sums: &mut [f32]);
    /// Sets `sums` to the sums over the span of positions that begins with `first`.
    fn span(tile: &Tile<Self>, first: usize, scratch: &mut Scratch, sums: &mut [f32]);
    /// Adds the sums over later positions to the sums over earlier ones.
    fn merge(tile: &Tile<Self>, later: &[f32], sums: &mut [f32]);
}

macro_rules! kernels {
    ($($kept:ty),*) => {
        $(impl Kernels for $kept {
            fn all(tile: &Tile<Self>, scratch: &mut Scratch, sums: &mut [f32]) {
                dispatch!(all<$kept>(tile: &Tile<$kept>, scratch: &mut Scratch, sums: &mut [f32]));
            }
            fn group(tile: &Tile<Self>, first: usize, scratch: &mut Scratch, sums: &mut [f32]) {
                dispatch!(group<$kept>(tile: &Tile<$kept>, first: usize, scratch: &mut Scratch, sums: &mut [f32]));
            }
            fn span(tile: &Tile<Self>, first: usize, scratch: &mut Scratch, sums: &mut [f32]) {
                dispatch!(span<$kept>(tile: &Tile<$kept>, first: usize, scratch: &mut Scratch, sums: &mut [f32]));
            }
            fn merge(tile: &Tile<Self>, later: &[f32], sums: &mut [f32]) {
                dispatch!(merge<$kept>(tile: &Tile<$kept>, later: &[f32], sums: &mut [f32]));
            }
        })*
    };
}

kernels!(Head<f32>, Head<f16>, Head<bf16>, Head8);
