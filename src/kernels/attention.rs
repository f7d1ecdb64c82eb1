//! Scaled dot-product attention over the cache, one query row at a time, softmax in f32.

use std::cell::RefCell;
use std::ops::Range;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::cpu::{dot, kernel, multiply_add};
use super::rows::softmax;

/// Sizes of one attention: H query heads of size D share G key/value heads, H/G each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heads {
    /// H, query heads.
    pub query: usize,
    /// G, key/value heads; divides H.
    pub key_value: usize,
    /// D, the size of a head.
    pub size: usize,
}

/// Which positions the rows of a query see, and where the cache keeps them.
///
/// The cache is a ring of `slots`: position p lives in slot p mod `slots`. A query at position p sees positions
/// `p + 1 - window ..= p` (from 0 where that is negative). Example: window 4, 6 slots, a chunk of 3 queries at
/// positions 7, 8, 9. Position 7 sees 4..=7, position 9 sees 6..=9, so 4..=9 must be held: 4 + 3 - 1 = 6 slots.
/// They lie in slots 4, 5, 0, 1, 2, 3; a query's run of positions is at most two runs of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Position of the first query row.
    pub first: usize,
    /// Keys that a query sees, its own included; `None` for all.
    pub window: Option<usize>,
    /// Slots of the ring.
    pub slots: usize,
}

impl Span {
    /// The positions that the query at `position` sees: from the first value up to and with `position`.
    pub fn oldest(&self, position: usize) -> usize {
        self.window.map_or(0, |w| (position + 1).saturating_sub(w))
    }
}

/// What the cache stores: f32, f16 or bf16.
pub trait Element: Copy + Send + Sync {
    /// The values as f32, in place or widened into `scratch`.
    #[doc(hidden)]
    fn widen<'a>(row: &'a [Self], scratch: &'a mut [f32]) -> &'a [f32];

    /// One token's queries of one key/value head.
    #[doc(hidden)]
    fn attend(
        q: &[f32],
        keys: Slots<Self>,
        values: Slots<Self>,
        positions: Range<usize>,
        s: &mut Scratch,
        out: &mut [f32],
    );
}

/// The widening of each element type, and its compiled kernel: `kernel!` wants a function without parameters.
macro_rules! element {
    ($element:ty, |$row:ident, $scratch:ident| $widen:expr) => {
        impl Element for $element {
            #[inline(always)]
            fn widen<'a>($row: &'a [Self], $scratch: &'a mut [f32]) -> &'a [f32] {
                $widen
            }

            fn attend(
                q: &[f32],
                keys: Slots<Self>,
                values: Slots<Self>,
                positions: Range<usize>,
                s: &mut Scratch,
                out: &mut [f32],
            ) {
                kernel! {
                    fn run(
                        q: &[f32],
                        keys: Slots<$element>,
                        values: Slots<$element>,
                        positions: Range<usize>,
                        s: &mut Scratch,
                        out: &mut [f32],
                    ) = attend_body<$element>
                }
                run(q, keys, values, positions, s, out);
            }
        }
    };
}

element!(f32, |row, _scratch| row);
element!(f16, |row, scratch| {
    row.convert_to_f32_slice(scratch);
    scratch
});
element!(bf16, |row, scratch| {
    for (wide, narrow) in scratch.iter_mut().zip(row) {
        *wide = narrow.to_f32();
    }
    scratch
});

/// `out (T, H, D)` of `q (T, H, D)` over `keys` and `values`, both `(slots, G, D)`.
///
/// The rows of the query are consecutive positions from `span.first`; their keys and values are in the cache
/// already. Each query row and head is summed over its positions in their order, so the result does not depend
/// on how the ring lies or how a prompt was cut into chunks.
pub fn attention<E: Element>(q: &[f32], keys: &[E], values: &[E], heads: Heads, span: Span, out: &mut [f32]) {
    let group = heads.query / heads.key_value.max(1) * heads.size;
    let tasks = q.par_chunks_exact(group).zip(out.par_chunks_exact_mut(group));
    tasks.enumerate().for_each(|(task, (q, out))| {
        let position = span.first + task / heads.key_value;
        let head = task % heads.key_value;
        SCRATCH.with_borrow_mut(|scratch| {
            // `span.slots` rows of a head each; the ring's slots of this key/value head.
            let keys = Slots { rows: keys, heads, head, slots: span.slots };
            let values = Slots { rows: values, heads, head, slots: span.slots };
            let oldest = span.oldest(position);
            E::attend(q, keys, values, oldest..position + 1, scratch, out);
        });
    });
}

thread_local! {
    /// Kept, so that a token allocates only when the context has grown.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A thread's scores of the queries of one key/value head, and one widened row.
#[derive(Default)]
pub struct Scratch {
    scores: Vec<f32>,
    row: Vec<f32>,
}

/// One key/value head's rows of the ring.
#[derive(Clone, Copy)]
pub struct Slots<'a, E> {
    rows: &'a [E],
    heads: Heads,
    head: usize,
    slots: usize,
}

impl<'a, E> Slots<'a, E> {
    /// The row of a position, `(D)`.
    #[inline(always)]
    fn at(&self, position: usize) -> &'a [E] {
        let slot = position % self.slots;
        &self.rows[(slot * self.heads.key_value + self.head) * self.heads.size..][..self.heads.size]
    }
}

/// Each key and value row is read once for all query heads of the group.
#[inline(always)]
fn attend_body<const FUSED: bool, E: Element>(
    q: &[f32],
    keys: Slots<E>,
    values: Slots<E>,
    positions: Range<usize>,
    Scratch { scores, row }: &mut Scratch,
    out: &mut [f32],
) {
    let size = keys.heads.size;
    let (seen, scale) = (positions.len(), 1.0 / (size as f32).sqrt());
    row.resize(size, 0.0);
    scores.resize(q.len() / size * seen, 0.0);
    for (i, position) in positions.clone().enumerate() {
        let key = E::widen(keys.at(position), row);
        for (head, q) in q.chunks_exact(size).enumerate() {
            scores[head * seen + i] = dot::<FUSED>(q, key) * scale;
        }
    }
    scores.chunks_exact_mut(seen).for_each(softmax);
    out.fill(0.0);
    for (i, position) in positions.enumerate() {
        let value = E::widen(values.at(position), row);
        for (head, out) in out.chunks_exact_mut(size).enumerate() {
            let weight = scores[head * seen + i];
            for (out, value) in out.iter_mut().zip(value) {
                *out = multiply_add::<FUSED>(weight, *value, *out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: Heads = Heads { query: 4, key_value: 2, size: 6 };

    fn values(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    /// Attention by its definition, in f64, over positions in a line.
    fn oracle(q: &[f32], keys: &[f32], values: &[f32], first: usize, window: usize) -> Vec<f32> {
        let (h, g, d) = (HEADS.query, HEADS.key_value, HEADS.size);
        let at = |rows: &[f32], p: usize, head: usize, i: usize| f64::from(rows[(p * g + head) * d + i]);
        let mut out = Vec::new();
        for (row, q) in q.chunks(d).enumerate() {
            let (position, kv) = (first + row / h, row % h / (h / g));
            let seen: Vec<usize> = (0..=position).filter(|p| p + window > position).collect();
            let score = |p: usize| {
                (0..d).map(|i| f64::from(q[i]) * at(keys, p, kv, i)).sum::<f64>() / (d as f64).sqrt()
            };
            let weights: Vec<f64> = seen.iter().map(|p| score(*p).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let mix =
                |i| seen.iter().zip(&weights).map(|(p, w)| w * at(values, *p, kv, i)).sum::<f64>() / sum;
            out.extend((0..d).map(|i| mix(i) as f32));
        }
        out
    }

    /// The ring of the last positions, out of a line of them.
    fn ring(line: &[f32], slots: usize) -> Vec<f32> {
        let width = HEADS.key_value * HEADS.size;
        let mut ring = vec![f32::NAN; slots * width];
        for (position, row) in line.chunks(width).enumerate() {
            ring[position % slots * width..][..width].copy_from_slice(row);
        }
        ring
    }

    #[test]
    fn a_wrapped_ring_gives_the_windowed_definition() {
        let (length, tokens, window) = (10, 3, 4);
        let q = values(tokens * HEADS.query * HEADS.size, 0.7);
        let (k, v) = (values(length * 12, 0.3), values(length * 12, 0.9));
        let expected = oracle(&q, &k, &v, length - tokens, window);
        let slots = window + tokens - 1;
        let span = Span { first: length - tokens, window: Some(window), slots };
        let mut out = vec![0.0; q.len()];
        attention(&q, &ring(&k, slots), &ring(&v, slots), HEADS, span, &mut out);
        for (a, b) in out.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn one_query_alone_equals_it_in_a_chunk_bit_for_bit() {
        let (k, v) = (values(9 * 12, 0.3), values(9 * 12, 0.9));
        let q = values(9 * 24, 0.7);
        let run = |q: &[f32], first, slots| {
            let mut out = vec![0.0; q.len()];
            attention(
                q,
                &ring(&k, slots),
                &ring(&v, slots),
                HEADS,
                Span { first, window: None, slots },
                &mut out,
            );
            out
        };
        let together = run(&q, 0, 9);
        for token in 0..9 {
            assert_eq!(run(&q[token * 24..][..24], token, 16), together[token * 24..][..24]);
        }
    }

    #[test]
    fn half_caches_are_the_f32_one_of_rounded_values() {
        let (k, v) = (values(5 * 12, 0.3), values(5 * 12, 0.9));
        let q = values(24, 0.7);
        let span = Span { first: 4, window: None, slots: 5 };
        let run_bf16 = |round: fn(f32) -> bf16| {
            let (k, v): (Vec<_>, Vec<_>) =
                (k.iter().map(|x| round(*x)).collect(), v.iter().map(|x| round(*x)).collect());
            let wide = |x: &[bf16]| x.iter().map(|x| x.to_f32()).collect::<Vec<_>>();
            let (mut narrow, mut exact) = (vec![0.0; 24], vec![0.0; 24]);
            attention(&q, &k, &v, HEADS, span, &mut narrow);
            attention(&q, &wide(&k), &wide(&v), HEADS, span, &mut exact);
            assert_eq!(narrow, exact);
        };
        run_bf16(bf16::from_f32);
        let (k16, v16): (Vec<f16>, Vec<f16>) =
            (k.iter().map(|x| f16::from_f32(*x)).collect(), v.iter().map(|x| f16::from_f32(*x)).collect());
        let wide = |x: &[f16]| x.iter().map(|x| x.to_f32()).collect::<Vec<_>>();
        let (mut narrow, mut exact) = (vec![0.0; 24], vec![0.0; 24]);
        attention(&q, &k16, &v16, HEADS, span, &mut narrow);
        attention(&q, &wide(&k16), &wide(&v16), HEADS, span, &mut exact);
        assert_eq!(narrow, exact);
    }
}
