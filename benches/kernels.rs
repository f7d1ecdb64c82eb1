//! Measures kernels against the machine's limits: `cargo bench --bench kernels [-- SCHEME…]`.
//!
//! Each result is the mean and standard deviation of 15 runs after a warm-up. Converting to f32 and quantizing run
//! on one thread, on data in its caches. They are compared with the rates at which the thread fills and reads as
//! many values there. Products run on all threads. Decode multiplies more than 1 GiB of weights and is compared
//! with the rate at which all threads read the same buffer in the same repetition. The product of a prompt is in
//! f32 and is compared with the peak of multiply-adds. `MIST_CPU` selects the kernels.

mod limits;

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use bytes::Bytes;
use half::{bf16, f16};
use mist::bench;
use mist::cpu::{self, pool};
use mist::kernels::matmul::matmul;
use mist::quant::dequantize::dequantize;
use mist::quant::quantize::{self, quantize_rows};
use mist::quant::{Matrix, Scheme};

/// Mean and standard deviation of a run's seconds.
struct Seconds {
    mean: f64,
    deviation: f64,
}

/// Measures 15 runs, after a warm-up.
fn time(mut run: impl FnMut()) -> Seconds {
    run();
    let times: Vec<f64> = (0..15)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    Seconds::of(times)
}

impl Seconds {
    fn of(times: Vec<f64>) -> Self {
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let variance = times.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / times.len() as f64;
        Self { mean, deviation: variance.sqrt() }
    }
}

/// Returns weights as in trained models: dense weights within ±0.05, and blocks with finite scales, because no byte
/// of an f16 has all exponent bits set.
fn weights(scheme: Scheme, bytes: usize) -> Vec<u8> {
    let values = || (0..).map(|i: u32| (i.wrapping_mul(2_654_435_769) >> 8) as f32 / 1.6777216e8 - 0.05);
    match scheme {
        Scheme::F32 => values().take(bytes / 4).flat_map(f32::to_le_bytes).collect(),
        Scheme::F16 => values().take(bytes / 2).flat_map(|v| f16::from_f32(v).to_le_bytes()).collect(),
        Scheme::Bf16 => values().take(bytes / 2).flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect(),
        _ => (0..bytes).map(|i| (i * 37 % 251) as u8 & 0x3f).collect(),
    }
}

/// Prints a line with a name, a rate (`amount` per run, in billions per second) and the percentage of a limit, if
/// there is one.
fn report(name: &str, amount: f64, seconds: &Seconds, unit: &str, limit: Option<(f64, &str)>) {
    let rate = amount / seconds.mean / 1e9;
    let spread = 100.0 * seconds.deviation / seconds.mean;
    let share = limit.map_or(String::new(), |(limit, of)| format!("{:6.1} % of {of}", rate / limit * 100.0));
    let line = format!("{name:24} {rate:8.2} {unit:10} ± {spread:4.1} % {share}");
    // The bench has no other output; if the pipe is closed, nobody reads it.
    let _ = writeln!(std::io::stdout(), "{}", line.trim_end());
}

fn main() -> Result<(), cpu::UnknownLevel> {
    let level = cpu::choose_from_environment()?;
    let only: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let asked = |scheme: &Scheme| only.is_empty() || only.iter().any(|o| o == scheme.name());
    let _ = writeln!(std::io::stdout(), "{} threads, kernels: {}", pool::threads(), level.name());
    let peak = limits::peak();
    let _ = writeln!(std::io::stdout(), "{peak}");
    let count = 256 * 8;
    let mut out = vec![0.0f32; count];
    let filling = time(|| (0..400).for_each(|i| black_box(&mut out).fill(black_box(i as f32))));
    let filled = 400.0 * count as f64 / filling.mean / 1e9;
    for scheme in Scheme::all().filter(asked) {
        let source = weights(scheme, scheme.row_bytes(count).unwrap_or(0));
        let seconds =
            time(|| (0..400).for_each(|_| dequantize(scheme, black_box(&source), black_box(&mut out))));
        report(
            &format!("widen {scheme}"),
            400.0 * count as f64,
            &seconds,
            "Gweights/s",
            Some((filled, "filling")),
        );
    }
    let dense: Vec<f32> = (0..256 * 64).map(|i| ((i * 40503 % 65536) as f32 / 65536.0 - 0.5) * 0.1).collect();
    let bytes: Vec<u8> = dense.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let reading = pool::with_threads(1, || {
        time(|| {
            black_box(bench::read(black_box(&bytes)));
        })
    });
    let read = dense.len() as f64 / reading.mean / 1e9;
    for scheme in quantize::WRITTEN.into_iter().filter(asked) {
        let mut blocks = weights(scheme, scheme.row_bytes(dense.len()).unwrap_or(0));
        let seconds = time(|| {
            // The weights are finite and small, so quantizing cannot fail.
            let _ = quantize_rows(scheme, black_box(&dense), dense.len(), black_box(&mut blocks));
        });
        let limit = Some((read, "reading"));
        report(&format!("quantize to {scheme}"), dense.len() as f64, &seconds, "Gweights/s", limit);
    }
    let schemes =
        [Scheme::F32, Scheme::F16, Scheme::Bf16, Scheme::Q8_0, Scheme::Q4_1, Scheme::Q4K, Scheme::Q6K];
    for scheme in schemes.into_iter().filter(asked) {
        decode(scheme);
        prompt(scheme, peak.floats);
    }
    Ok(())
}

/// Measures products of a few rows with matrices in the shapes of a 7B model, which together exceed the caches.
fn decode(scheme: Scheme) {
    const ROWS: [usize; 3] = [1, 4, 8];
    let buffer = Bytes::from(weights(scheme, 5 << 28));
    let (mut matrices, mut at) = (vec![], 0);
    for (rows, columns) in [(4096, 4096), (14336, 4096), (4096, 14336)].into_iter().cycle() {
        let size = scheme.row_bytes(columns).unwrap_or(0) * rows;
        if at + size > buffer.len() {
            break;
        }
        matrices.extend(Matrix::new(scheme, rows, columns, buffer.slice(at..at + size)));
        at += size;
    }
    let x: Vec<f32> = (0..14336 * 8).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
    let mut out = vec![0.0; 14336 * 8];
    let mut times: [Vec<f64>; ROWS.len() + 1] = Default::default();
    for repetition in 0..16 {
        for (i, times) in times.iter_mut().enumerate() {
            let start = Instant::now();
            match i.checked_sub(1) {
                None => {
                    black_box(bench::read(&buffer[..at]));
                }
                Some(i) => matrices
                    .iter()
                    .for_each(|w| matmul(&x[..ROWS[i] * w.columns()], w, &mut out[..ROWS[i] * w.rows()])),
            }
            if repetition > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let [read, products @ ..] = times.map(Seconds::of);
    report(&format!("read for {scheme}"), at as f64, &read, "GB/s", None);
    for (m, seconds) in ROWS.into_iter().zip(products) {
        let limit = Some((at as f64 / read.mean / 1e9, "reading"));
        report(&format!("decode {scheme}, {m} rows"), at as f64, &seconds, "GB/s", limit);
    }
}

fn prompt(scheme: Scheme, peak: Option<f64>) {
    let (rows, columns) = (2048, 4096);
    let bytes = weights(scheme, scheme.row_bytes(columns).unwrap_or(0) * rows);
    let Some(matrix) = Matrix::new(scheme, rows, columns, bytes.into()) else { return };
    for m in [16, 32, 128, 512] {
        let x: Vec<f32> = (0..m * columns).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
        let mut out = vec![0.0f32; m * rows];
        let seconds = time(|| matmul(&x, &matrix, &mut out));
        let amount = 2.0 * (m * rows * columns) as f64;
        report(
            &format!("prompt {scheme}, {m} rows"),
            amount,
            &seconds,
            "GFLOP/s",
            peak.map(|peak| (peak, "the peak")),
        );
    }
}
