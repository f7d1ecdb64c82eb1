//! The kernels' rates beside what the machine can do: `cargo bench --bench kernels`.
//!
//! Each figure is the mean and standard deviation of 15 runs after a warm-up. Widening and quantizing run on one
//! thread, on data that stays in the second-level cache; products run on all threads, over weight matrices larger
//! than the caches. The limit beside the latter is the rate at which all threads read a buffer of 1 GiB. `MIST_CPU`
//! chooses the kernels.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use mist::kernels::dequantize::dequantize;
use mist::kernels::matmul::matmul;
use mist::kernels::quantize::{self, quantize_rows};
use mist::kernels::{Matrix, Scheme, cpu};
use rayon::prelude::*;

/// Mean and standard deviation of the seconds of a run.
struct Seconds {
    mean: f64,
    deviation: f64,
}

/// 15 runs, after a warm-up.
fn time(mut run: impl FnMut()) -> Seconds {
    run();
    let times: Vec<f64> = (0..15)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    let variance = times.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / times.len() as f64;
    Seconds { mean, deviation: variance.sqrt() }
}

fn bytes(count: usize) -> Vec<u8> {
    // Scales of blocks stay finite: no byte of an f16 has all exponent bits set.
    (0..count).map(|i| (i * 37 % 251) as u8 & 0x3f).collect()
}

/// A line: what, how fast (`amount` a run, in units of a billion), and how much of the limit where there is one.
fn report(name: &str, amount: f64, seconds: &Seconds, unit: &str, limit: Option<f64>) {
    let rate = amount / seconds.mean / 1e9;
    let spread = 100.0 * seconds.deviation / seconds.mean;
    let share =
        limit.map_or(String::new(), |limit| format!("{:6.1} % of the read bandwidth", rate / limit * 100.0));
    let line = format!("{name:24} {rate:8.2} {unit:10} ± {spread:4.1} % {share}");
    // A bench has no other output; a closed pipe is its reader's choice.
    let _ = writeln!(std::io::stdout(), "{}", line.trim_end());
}

fn main() -> Result<(), String> {
    let level = cpu::choose_from_environment()?;
    let bandwidth = read_bandwidth(level.name());
    for scheme in Scheme::all() {
        let weights = 256 * 64;
        let source = bytes(scheme.row_bytes(weights).unwrap_or(0));
        let mut out = vec![0.0f32; weights];
        let seconds =
            time(|| (0..50).for_each(|_| dequantize(scheme, black_box(&source), black_box(&mut out))));
        report(&format!("widen {scheme}"), 50.0 * weights as f64, &seconds, "Gweights/s", None);
    }
    let weights: Vec<f32> =
        (0..256 * 64).map(|i| ((i * 40503 % 65536) as f32 / 65536.0 - 0.5) * 0.1).collect();
    for scheme in quantize::WRITTEN {
        let mut blocks = bytes(scheme.row_bytes(weights.len()).unwrap_or(0));
        let seconds = time(|| {
            // The weights are finite and small, so nothing is refused.
            let _ = quantize_rows(scheme, black_box(&weights), weights.len(), black_box(&mut blocks));
        });
        report(&format!("quantize to {scheme}"), weights.len() as f64, &seconds, "Gweights/s", None);
    }
    let (rows, columns) = (32768, 4096);
    for scheme in [Scheme::F32, Scheme::Bf16, Scheme::Q8_0, Scheme::Q4_1, Scheme::Q4K, Scheme::Q6K] {
        let Some(matrix) = matrix(scheme, rows, columns) else { continue };
        let x = vec![0.5f32; columns];
        let mut out = vec![0.0f32; rows];
        let seconds = time(|| matmul(&x, &matrix, &mut out));
        report(&format!("decode {scheme}"), matrix.size() as f64, &seconds, "GB/s", Some(bandwidth));
    }
    let (m, rows, columns) = (256, 2048, 4096);
    for scheme in [Scheme::Bf16, Scheme::Q4K] {
        let Some(matrix) = matrix(scheme, rows, columns) else { continue };
        let x = vec![0.5f32; m * columns];
        let mut out = vec![0.0f32; m * rows];
        let seconds = time(|| matmul(&x, &matrix, &mut out));
        report(
            &format!("prompt of {m}, {scheme}"),
            2.0 * (m * rows * columns) as f64,
            &seconds,
            "GFLOP/s",
            None,
        );
    }
    Ok(())
}

/// Gigabytes a second that all threads together read from a buffer larger than the caches.
fn read_bandwidth(kernels: &str) -> f64 {
    let buffer = vec![1u64; (1 << 30) / 8];
    let sum =
        || buffer.par_chunks(1 << 16).map(|c| c.iter().fold(0u64, |a, b| a.wrapping_add(*b))).sum::<u64>();
    let seconds = time(|| {
        black_box(sum());
    });
    let threads = rayon::current_num_threads();
    report(&format!("read, {threads} threads ({kernels})"), (1u64 << 30) as f64, &seconds, "GB/s", None);
    (1u64 << 30) as f64 / seconds.mean / 1e9
}

fn matrix(scheme: Scheme, rows: usize, columns: usize) -> Option<Matrix> {
    Matrix::new(scheme, rows, columns, bytes(scheme.row_bytes(columns)? * rows).into())
}
