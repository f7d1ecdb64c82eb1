//! Measures attention against the machine's limits, and the cost of a job in the thread pool: `cargo bench --bench
//! attention`.
//!
//! The heads are those of a 7B model: 32 query heads and 8 key/value heads of size 128; the KV cache is f16. Decode
//! computes one token at depth 8192 over the caches of many layers, which together exceed the processor's caches.
//! It is compared with the rate at which memory is read. A prompt of 512 tokens is compared with the peak of f32
//! multiply-adds. The results are medians of 15 runs after a warm-up. `MIST_CPU` selects the kernels.

mod limits;

use std::io::Write;
use std::time::{Duration, Instant};

use mist::bench;
use mist::cpu::{self, pool};
use mist::kernels::attention::{CacheType, Heads, KeyValues, Queries, Span, attention};

const HEADS: Heads = Heads { query: 32, key_value: 8, size: 128 };

/// Width of a row with a position's queries, keys and values.
const WIDTH: usize = (32 + 8 + 8) * 128;

const DEPTH: usize = 8192;
const PROMPT: usize = 512;

/// Number of layers in decode: their caches are 1 GiB.
const LAYERS: usize = 32;

fn main() -> Result<(), cpu::UnknownLevel> {
    let level = cpu::choose_from_environment()?;
    say(&format!("{} threads, kernels: {}", pool::threads(), level.name()));
    let peak = limits::peak();
    say(&peak.to_string());
    decode();
    prompt(peak.floats);
    jobs();
    Ok(())
}

fn say(line: &str) {
    // The bench has no other output; if the pipe is closed, nobody reads it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Returns the median seconds of 15 runs, after a warm-up.
fn seconds(mut run: impl FnMut()) -> f64 {
    run();
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[7]
}

/// Formats a rate as a percentage of a limit, if the limit is known.
fn share(rate: f64, limit: Option<f64>, of: &str) -> String {
    limit.map_or(String::new(), |limit| format!(", {:.1} % of {of} ({limit:.1})", 100.0 * rate / limit))
}

fn rows(count: usize) -> Vec<f32> {
    (0..count * WIDTH).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect()
}

/// Returns the KV cache of a layer with `positions` positions.
fn filled(rows: &[f32], positions: usize) -> KeyValues {
    let mut kept = KeyValues::new(CacheType::F16, HEADS.key_value, HEADS.size);
    kept.grow(positions);
    let keys = HEADS.query * HEADS.size;
    let values = keys + HEADS.key_value * HEADS.size;
    for first in (0..positions).step_by(PROMPT) {
        kept.append(first, rows, WIDTH, keys, values);
    }
    kept
}

/// Computes attention of the last `tokens` positions of a cache.
fn attend(rows: &[f32], tokens: usize, kept: &KeyValues, out: &mut [f32]) {
    let slots = kept.slots();
    let span = Span { first: slots - tokens, window: None, slots };
    attention(rows, WIDTH, HEADS, &[Queries { row: 0, tokens, span, kept }], out);
}

fn decode() {
    let rows = rows(PROMPT);
    let caches: Vec<KeyValues> = (0..LAYERS).map(|_| filled(&rows, DEPTH)).collect();
    let mut out = vec![0.0; HEADS.query * HEADS.size];
    let time = seconds(|| caches.iter().for_each(|kept| attend(&rows, 1, kept, &mut out)));
    drop(caches);
    let bytes = LAYERS * DEPTH * CacheType::F16.position(HEADS.key_value, HEADS.size);
    let rate = bytes as f64 / time / 1e9;
    let read = bench::read_rate().map(|read| read.median / 1e9);
    let of_layer = time / LAYERS as f64 * 1e6;
    let limit = share(rate, read, "reading");
    say(&format!("decode at depth {DEPTH}: {of_layer:.0} µs a layer, {rate:.2} GB/s{limit}"));
}

fn prompt(peak: Option<f64>) {
    let rows = rows(PROMPT);
    let kept = filled(&rows, PROMPT);
    let mut out = vec![0.0; PROMPT * HEADS.query * HEADS.size];
    let time = seconds(|| attend(&rows, PROMPT, &kept, &mut out));
    // A product for each query and each key that it sees, and for each weight and its value.
    let products = 2 * (PROMPT * (PROMPT + 1) / 2) * HEADS.query * HEADS.size;
    let rate = 2.0 * products as f64 / time / 1e9;
    let limit = share(rate, peak, "the peak");
    say(&format!("prompt of {PROMPT}: {:.2} ms a layer, {rate:.1} GFLOP/s{limit}", time * 1e3));
}

/// Measures a job with one empty task per thread, right after another job and after the threads have gone to sleep.
fn jobs() {
    const JOBS: usize = 1000;
    let job = || pool::run(pool::threads(), |_| {});
    let awake = seconds(|| (0..JOBS).for_each(|_| job())) / JOBS as f64;
    let mut asleep: Vec<f64> = (0..200)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            let start = Instant::now();
            job();
            start.elapsed().as_secs_f64()
        })
        .collect();
    asleep.sort_by(f64::total_cmp);
    let (awake, asleep) = (awake * 1e6, asleep[asleep.len() / 2] * 1e6);
    say(&format!("an empty job: {awake:.2} µs, {asleep:.1} µs when the threads sleep"));
}
