//! Measures packed products against their alternatives: `cargo bench --bench packed [-- SCHEME…]`.
//!
//! Decode reads more than 1 GiB of weights as matrices in the shapes of a 7B model, in panels and in row order. It
//! is compared, in the same repetition, with the rate at which all threads read the same buffer, and with the f32
//! product. Products with several rows are compared with the f32 product and with the peaks of the multiplying
//! instructions. For busy machines, the bench prints medians of the rates, medians of the ratios within a
//! repetition, the best of each, and rates relative to the threads' running time.
#![allow(clippy::disallowed_methods)]

mod limits;

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use bytes::Bytes;
use limits::{Peak, peak};
use mist::bench;
use mist::cpu::{self, pool};
use mist::kernels::matmul::matmul;
use mist::kernels::packed::{self, activation_block};
use mist::quant::{ActivationBits, Layout, Matrix, Scheme};

/// Rows and columns of the matrices of attention, gate or up, and down.
const SHAPES: [(usize, usize); 3] = [(4096, 4096), (14336, 4096), (4096, 14336)];

const BUFFER: usize = 5 << 28;

fn main() -> Result<(), cpu::UnknownLevel> {
    let level = cpu::choose_from_environment()?;
    say(&format!("{} threads, kernels: {}", pool::threads(), level.name()));
    let peak = peak();
    say(&peak.to_string());
    // No byte of an f16 has all exponent bits set, so the scales of blocks are finite.
    let buffer = Bytes::from((0..BUFFER).map(|i| (i * 37 % 251) as u8 & 0x3f).collect::<Vec<_>>());
    let only: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    for scheme in Scheme::all().filter(|scheme| activation_block(*scheme).is_some()) {
        if only.is_empty() || only.iter().any(|o| o == scheme.name()) {
            decode(scheme, &buffer);
            prompt(scheme, &buffer, peak);
        }
    }
    Ok(())
}

fn say(line: &str) {
    // The bench has no other output; if the pipe is closed, nobody reads it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn seconds(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

/// Returns the seconds that all threads of this process have run; other processes do not add to it. `None` if the
/// system does not report it (Linux does).
fn busy() -> Option<f64> {
    let of_task = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    tasks.map(of_task).sum::<Option<f64>>().map(|nanoseconds| nanoseconds / 1e9)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns matrices in one layout that fill the buffer.
fn matrices(scheme: Scheme, layout: Layout, buffer: &Bytes) -> Vec<Matrix> {
    let (mut at, mut out) = (0, vec![]);
    for (rows, columns) in SHAPES.into_iter().cycle() {
        let size = scheme.row_bytes(columns).unwrap_or(0) * rows;
        if at + size > buffer.len() {
            return out;
        }
        out.extend(Matrix::laid(layout, scheme, rows, columns, buffer.slice(at..at + size)));
        at += size;
    }
    out
}

/// Multiplies with 8-bit activations; 16-bit activations take as long as twice the rows.
fn multiply(x: &[f32], w: &Matrix, out: &mut [f32]) {
    packed::multiply(x, w, ActivationBits::Eight, out);
}

fn decode(scheme: Scheme, buffer: &Bytes) {
    let panels = matrices(scheme, Layout::Panels, buffer);
    let rows = matrices(scheme, Layout::Rows, buffer);
    let size = |matrices: &[Matrix]| matrices.iter().map(Matrix::size).sum::<usize>();
    let x: Vec<f32> = (0..14336).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
    let mut out = vec![0.0; 14336];
    let mut all = |matrices: &[Matrix], product: fn(&[f32], &Matrix, &mut [f32])| {
        seconds(|| matrices.iter().for_each(|w| product(&x[..w.columns()], w, &mut out[..w.rows()])))
    };
    // The f32 product is an order of magnitude slower, so it uses only the first matrices.
    let few = &rows[..6];
    let beyond = size(&rows) as f64 / size(few) as f64;
    let mut times: [Vec<f64>; 4] = Default::default();
    for repetition in 0..16 {
        let read = seconds(|| {
            black_box(bench::read(&buffer[..size(&rows)]));
        });
        let each = [read, all(&panels, multiply), all(&rows, multiply), all(few, matmul) * beyond];
        if repetition > 0 {
            times.iter_mut().zip(each).for_each(|(times, t)| times.push(t));
        }
    }
    let gigabytes = size(&rows) as f64 / 1e9;
    for (name, i) in [("read", 0), ("panels", 1), ("rows", 2), ("f32", 3)] {
        let share = times[i].iter().zip(&times[0]).map(|(t, read)| 100.0 * read / t).collect();
        let best = |i: usize| times[i].iter().copied().fold(f64::INFINITY, f64::min);
        say(&format!(
            "decode {scheme:5} {name:8} median {:6.2} GB/s, {:5.1} % of read; best {:6.2} GB/s, {:5.1} %",
            gigabytes / median(times[i].clone()),
            median(share),
            gigabytes / best(i),
            100.0 * best(0) / best(i),
        ));
    }
}

fn prompt(scheme: Scheme, buffer: &Bytes, peak: Peak) {
    let (rows, columns) = (4096, 4096);
    let bytes = buffer.slice(..scheme.row_bytes(columns).unwrap_or(0) * rows);
    let laid = |layout| Matrix::laid(layout, scheme, rows, columns, bytes.clone());
    let (Some(panels), Some(plain)) = (laid(Layout::Panels), laid(Layout::Rows)) else { return };
    for m in [1, 2, 4, 8, 16, 32, 128, 512] {
        let x: Vec<f32> = (0..m * columns).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
        let mut out = vec![0.0; m * rows];
        let (runs, products) = ((256 / m).max(1), m * rows * columns);
        let of_panels = rate(runs, products, peak.integers, || multiply(&x, &panels, &mut out));
        let of_rows = rate(runs, products, peak.integers, || multiply(&x, &plain, &mut out));
        let slow = rate(runs.div_ceil(8), products, peak.floats, || matmul(&x, &plain, &mut out));
        say(&format!("m {m:4} {scheme:5} panels {of_panels}, rows {of_rows}, f32 {slow}"));
    }
}

/// Returns the median rate over 7 times `runs` runs of `products` multiplications: by wall time, as a percentage of
/// the peak, and per thread by running time.
fn rate(runs: usize, products: usize, peak: Option<f64>, mut run: impl FnMut()) -> String {
    run();
    let (mut clock, mut thread) = (vec![], vec![]);
    for _ in 0..7 {
        let (start, before) = (Instant::now(), busy());
        (0..runs).for_each(|_| run());
        let billions = 2.0 * (runs * products) as f64 / 1e9;
        clock.push(billions / start.elapsed().as_secs_f64());
        thread.extend(busy().zip(before).map(|(after, before)| billions / (after - before)));
    }
    let of_thread =
        if thread.is_empty() { String::new() } else { format!(" ({:5.1} a thread)", median(thread)) };
    let rate = median(clock);
    let share = peak.map_or(String::new(), |peak| format!(", {:4.1} %", 100.0 * rate / peak));
    format!("{rate:6.1} GFLOP/s{share}{of_thread}")
}
