//! Attention beside what the machine can do, and what a job of the pool costs: `cargo bench --bench attention`.
//!
//! Heads are a 7B's: 32 of queries, 8 of keys and values, of size 128; the cache is f16. Decode is a token at depth 8192,
//! over so many layers' caches that they are larger than the processor's, beside the rate at which memory is read; a prompt
//! of 512 is compared with the peak of multiply-adds in f32. Medians of 15 runs after a warm-up. `MIST_CPU` chooses the
//! kernels.

mod limits;

use std::io::Write;
use std::time::{Duration, Instant};

use mist::bench;
use mist::cpu::{self, pool};
use mist::kernels::attention::{CacheType, Heads, KeyValues, Queries, Span, attention};

const HEADS: Heads = Heads { query: 32, key_value: 8, size: 128 };

/// Queries, keys and values of a position, one after another.
const WIDTH: usize = (32 + 8 + 8) * 128;

const DEPTH: usize = 8192;
const PROMPT: usize = 512;

/// Caches of decode: 1 GiB of them.
const LAYERS: usize = 32;

fn main() -> Result<(), String> {
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
    // A bench has no other output; a closed pipe is its reader's choice.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The median seconds of 15 runs, after a warm-up.
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

/// As much as of a limit, where that is known.
fn share(rate: f64, limit: Option<f64>, of: &str) -> String {
    limit.map_or(String::new(), |limit| format!(", {:.1} % of {of} ({limit:.1})", 100.0 * rate / limit))
}

fn rows(count: usize) -> Vec<f32> {
    (0..count * WIDTH).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect()
}

/// The cache of a layer with so many positions.
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

/// The last `tokens` positions of a cache as queries.
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
    // Each query with each key that it sees, and each weight with its value.
    let products = 2 * (PROMPT * (PROMPT + 1) / 2) * HEADS.query * HEADS.size;
    let rate = 2.0 * products as f64 / time / 1e9;
    let limit = share(rate, peak, "the peak");
    say(&format!("prompt of {PROMPT}: {:.2} ms a layer, {rate:.1} GFLOP/s{limit}", time * 1e3));
}

/// A job with a task of nothing for each thread: right after another, and when the threads sleep.
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
