use half::{bf16, f16};

use super::*;
use crate::cpu;

const HEADS: Heads = Heads { query: 6, key_value: 2, size: 20 };

/// Queries, keys and values side by side.
const WIDTH: usize = (6 + 2 + 2) * 20;

fn width(heads: Heads) -> usize {
    (heads.query + 2 * heads.key_value) * heads.size
}

fn rows(count: usize, step: f32) -> Vec<f32> {
    rows_of(HEADS, count, step)
}

fn rows_of(heads: Heads, count: usize, step: f32) -> Vec<f32> {
    (0..count * width(heads)).map(|i| (i as f32 * step).sin() * 2.0).collect()
}

/// Computes attention by its definition, in f64, for the last position. Keys and values are rounded first.
fn definition(
    heads: Heads,
    rows: &[f32],
    tokens: usize,
    window: usize,
    round: impl Fn(f32) -> f32,
) -> Vec<f32> {
    let (group, size, length) = (heads.query / heads.key_value, heads.size, rows.len() / width(heads));
    let at = |p: usize, head: usize| &rows[p * width(heads) + head * size..][..size];
    let mut out = Vec::new();
    for position in length - tokens..length {
        for head in 0..heads.query {
            let seen: Vec<usize> = (0..=position).filter(|p| p + window > position).collect();
            let key = heads.query + head / group;
            let score = |p: &usize| {
                let pairs = at(position, head).iter().zip(at(*p, key));
                pairs.map(|(q, k)| f64::from(*q) * f64::from(round(*k))).sum::<f64>() / (size as f64).sqrt()
            };
            let weights: Vec<f64> = seen.iter().map(|p| score(p).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for d in 0..size {
                let value = |p: usize| f64::from(round(at(p, key + heads.key_value)[d]));
                out.push((seen.iter().zip(&weights).map(|(p, w)| w * value(*p)).sum::<f64>() / sum) as f32);
            }
        }
    }
    out
}

/// Runs attention over the tokens of `rows`, in calls of the given lengths, with a cache of `slots`. Returns the
/// result of the last call.
fn run(cache: CacheType, rows: &[f32], calls: &[usize], window: Option<usize>, slots: usize) -> Vec<f32> {
    run_of(HEADS, cache, rows, calls, window, slots)
}

fn run_of(
    heads: Heads,
    cache: CacheType,
    rows: &[f32],
    calls: &[usize],
    window: Option<usize>,
    slots: usize,
) -> Vec<f32> {
    let mut kept = KeyValues::new(cache, heads.key_value, heads.size);
    let (mut first, mut out, width) = (0, Vec::new(), width(heads));
    for tokens in calls {
        let new = &rows[first * width..][..tokens * width];
        kept.grow((first + tokens).min(slots));
        let keys = heads.query * heads.size;
        kept.append(first, new, width, keys, keys + heads.key_value * heads.size);
        out = vec![f32::NAN; tokens * keys];
        let span = Span { first, window, slots: kept.slots() };
        attention(new, width, heads, &[Queries { row: 0, tokens: *tokens, span, kept: &kept }], &mut out);
        first += tokens;
    }
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn largest_gap(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |m, x| if x > m || x.is_nan() { x } else { m })
}

#[test]
fn it_is_the_definition_with_and_without_a_window_in_every_type() {
    type Round = fn(f32) -> f32;
    let rounds: [(CacheType, Round, f32); 4] = [
        (CacheType::F32, |x| x, 3e-6),
        (CacheType::F16, |x| f16::from_f32(x).to_f32(), 3e-6),
        (CacheType::Bf16, |x| bf16::from_f32(x).to_f32(), 3e-6),
        // With any scale of a group, the error is at most 2 / 127 / 2.
        (CacheType::Q8_0, |x| x, 2e-2),
    ];
    // Lengths within a block and a span, at their ends, over several spans, and over several groups.
    for (length, tokens) in [(1, 1), (16, 5), (17, 1), (128, 3), (129, 40), (300, 1), (1030, 7), (2100, 1)] {
        let rows = rows(length, 0.37);
        for window in [None, Some(1), Some(5), Some(200)] {
            let calls: Vec<usize> = match length - tokens {
                0 => vec![tokens],
                before => vec![before, tokens],
            };
            let slots = window.map_or(length, |w| w + length - 1);
            for (cache, round, limit) in rounds {
                let out = run(cache, &rows, &calls, window, slots);
                let gap =
                    largest_gap(&out, &definition(HEADS, &rows, tokens, window.unwrap_or(length), round));
                assert!(gap < limit, "{cache} {length} {tokens} {window:?}: {gap}");
            }
        }
    }
}

/// The test runs one call, calls of one token each, and several calls; with ring buffers that wrap and that do not;
/// with several numbers of threads.
#[test]
fn a_token_is_the_same_bit_for_bit_however_the_prompt_is_cut() {
    for cache in [CacheType::F32, CacheType::F16, CacheType::Bf16, CacheType::Q8_0] {
        for (length, window) in [(40, None), (300, None), (300, Some(37)), (1300, Some(1100)), (1300, None)] {
            let rows = rows(length, 0.91);
            let together = run(cache, &rows, &[length], window, length);
            let last = bits(&together[(length - 1) * HEADS.query * HEADS.size..]);
            for calls in [vec![length - 1, 1], vec![length / 2, length / 3, length - length / 2 - length / 3]]
            {
                for threads in [1, 3, 16] {
                    for slots in [length, window.unwrap_or(length) + length / 2] {
                        let out = pool::with_threads(threads, || run(cache, &rows, &calls, window, slots));
                        let of_last = &out[out.len() - HEADS.query * HEADS.size..];
                        assert_eq!(bits(of_last), last, "{cache} {length} {window:?} {calls:?} {threads}");
                    }
                }
            }
        }
    }
    let rows = rows(70, 0.53);
    let together = run(CacheType::F16, &rows, &[70], Some(20), 70);
    let alone = run(CacheType::F16, &rows, &[1; 70], Some(20), 20);
    assert_eq!(bits(&alone), bits(&together[69 * HEADS.query * HEADS.size..]));
}

/// The shapes have unshared key/value heads, and heads that are shared by more query heads than a tile has rows.
/// Heads are small, or larger than a chunk of a key.
#[test]
fn heads_of_any_shape_are_the_definition_with_every_kernel_set() {
    for (query, key_value, size) in [(2, 2, 2), (4, 1, 64), (80, 2, 16), (3, 3, 96), (2, 1, 256)] {
        let heads = Heads { query, key_value, size };
        let rows = rows_of(heads, 150, 0.37);
        for (tokens, window) in [(150, None), (21, Some(9)), (1, None)] {
            let calls = [150 - tokens, tokens];
            let calls = if tokens == 150 { &calls[1..] } else { &calls };
            let slots = window.map_or(150, |w: usize| w + 150);
            let exact = definition(heads, &rows, tokens, window.unwrap_or(150), |x| x);
            let mut of_sets = Vec::new();
            for level in cpu::Level::available() {
                let run = || run_of(heads, CacheType::F32, &rows, calls, window, slots);
                let out = cpu::tests::with_level(level, run);
                let gap = largest_gap(&out, &exact);
                assert!(gap < 1e-5, "{heads:?} {tokens} {window:?} {}: {gap}", level.name());
                of_sets.push(out);
            }
            // All instruction sets but the portable one fuse multiply-adds, lane by lane in the same order.
            for out in of_sets.iter().skip(2) {
                assert_eq!(bits(out), bits(&of_sets[1]), "{heads:?} {tokens} {window:?}");
            }
        }
    }
}

#[test]
fn sequences_of_one_batch_do_not_see_each_other() {
    let (a, b) = (rows(200, 0.31), rows(33, 0.77));
    let alone = [&a, &b].map(|rows| run(CacheType::F16, rows, &[rows.len() / WIDTH], None, 256));
    let kept = [&a, &b].map(|rows| {
        let mut kept = KeyValues::new(CacheType::F16, HEADS.key_value, HEADS.size);
        kept.grow(rows.len() / WIDTH);
        kept.append(0, rows, WIDTH, HEADS.query * HEADS.size, (HEADS.query + HEADS.key_value) * HEADS.size);
        kept
    });
    let both = [a.clone(), b].concat();
    let queries = |i: usize| {
        let (row, tokens) = [(0, 200), (200, 33)][i];
        let span = Span { first: 0, window: None, slots: kept[i].slots() };
        Queries { row, tokens, span, kept: &kept[i] }
    };
    let mut out = vec![f32::NAN; 233 * HEADS.query * HEADS.size];
    attention(&both, WIDTH, HEADS, &[queries(0), queries(1)], &mut out);
    assert_eq!(out, alone.concat());
}

#[test]
fn values_that_are_not_finite_give_nan() {
    let mut rows = rows(5, 0.5);
    // A key that overflows f16.
    rows[3 * WIDTH + HEADS.query * HEADS.size] = 1e6;
    let out = run(CacheType::F16, &rows, &[5], None, 5);
    let size = HEADS.query * HEADS.size;
    assert!(out[..3 * size].iter().all(|x| x.is_finite()) && out[4 * size..].iter().any(|x| x.is_nan()));
}

/// Some values overflow f16, and some keys have scores inf - inf. The queries that see them get NaN or infinity; no
/// other query changes. A tile of tokens agrees with single tokens.
#[test]
fn values_that_are_not_finite_change_only_the_queries_that_see_them() {
    let (size, keys) = (HEADS.query * HEADS.size, HEADS.query * HEADS.size);
    let values = keys + HEADS.key_value * HEADS.size;
    for (bad, at) in [(5, values), (130, values), (5, keys), (128, keys), (1024, keys)] {
        let length = bad + 30;
        let mut rows = rows(length, 0.5);
        rows[bad * WIDTH + at] = 1e6;
        if at == keys {
            // One of the two products is inf and the other -inf, for every head that shares the key.
            rows[bad * WIDTH + at + 1] = 1e6;
            for (row, head) in (0..length).flat_map(|row| (0..HEADS.query).map(move |head| (row, head))) {
                rows[row * WIDTH + head * HEADS.size..][..2].copy_from_slice(&[1.0, -1.0]);
            }
        }
        for window in [None, Some(7)] {
            let together = run(CacheType::F16, &rows, &[length], window, length);
            for (token, out) in together.chunks_exact(size).enumerate().skip(bad.saturating_sub(20)) {
                let sees = token >= bad && window.is_none_or(|window| token < bad + window);
                // The first of the two key/value heads has the values that are not finite.
                let (seeing, others) = out.split_at(size / HEADS.key_value);
                assert!(others.iter().all(|x| x.is_finite()), "{bad} {at} {window:?} {token}");
                let is_bad = seeing.iter().any(|x| x.is_nan() || x.is_infinite());
                assert_eq!(is_bad, sees, "{bad} {at} {window:?} {token}");
            }
            for before in [bad, bad + 1, bad + 12] {
                let out = run(CacheType::F16, &rows[..(before + 1) * WIDTH], &[before, 1], window, length);
                let of_token = &together[before * size..][..size];
                let same = out
                    .iter()
                    .zip(of_token)
                    .all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan());
                assert!(same, "{bad} {at} {window:?} {before}");
            }
        }
    }
}

/// Bytes of 64 heads of 128 at 4096 positions in each type.
#[test]
fn types_take_what_they_say() {
    let sizes =
        [CacheType::F32, CacheType::F16, CacheType::Bf16, CacheType::Q8_0].map(|cache| cache.bytes(128));
    assert_eq!(sizes, [512, 256, 256, 136]);
}

/// The cases are sizes whose products overflow, rows outside the slices, and a cache with other heads. Without the
/// checks, each would access memory out of bounds.
#[test]
fn what_would_be_out_of_bounds_is_refused() {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let rows = rows(4, 0.5);
    let mut kept = KeyValues::new(CacheType::F16, HEADS.key_value, HEADS.size);
    kept.grow(16);
    let other = KeyValues::new(CacheType::F16, HEADS.key_value, HEADS.size);
    let span = Span { first: 0, window: None, slots: 16 };
    let good = Queries { row: 1, tokens: 3, span, kept: &kept };
    let runs = |heads: Heads, sequences: &[Queries]| {
        let mut out = vec![0.0; 4 * HEADS.query * HEADS.size];
        catch_unwind(AssertUnwindSafe(|| attention(&rows, WIDTH, heads, sequences, &mut out))).is_ok()
    };
    assert!(runs(HEADS, &[good]) && runs(HEADS, &[]));
    let huge = usize::MAX / 2 + 1;
    for bad in [
        Queries { row: 2, ..good },
        Queries { row: usize::MAX, ..good },
        Queries { tokens: huge, ..good },
        Queries { span: Span { first: usize::MAX, ..span }, ..good },
        Queries { span: Span { slots: 32, ..span }, ..good },
        Queries { kept: &other, ..good },
    ] {
        assert!(!runs(HEADS, &[bad]), "{bad:?}");
    }
    assert!(!runs(HEADS, &[good, good]), "rows overlap");
    for heads in [
        Heads { query: 4 * (huge / 20), ..HEADS },
        Heads { query: huge, size: 0, ..HEADS },
        Heads { query: 7, ..HEADS },
        Heads { key_value: 0, ..HEADS },
    ] {
        assert!(!runs(heads, &[good]), "{heads:?}");
    }
    assert!(catch_unwind(AssertUnwindSafe(|| kept.grow(huge / 8))).is_err());
    assert_eq!(kept.slots(), 16, "what could not grow is as it was");
}
