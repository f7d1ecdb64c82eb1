//! The kernels' rates beside what the machine can do: `cargo bench --bench kernels`.
//!
//! Each figure is the median of many runs, of one thread, on data in the second-level cache for widening, and on a
//! weight matrix larger than any cache for products. The reference is a plain copy of memory, and a read of a
//! buffer of 1 GiB by all threads.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use mist::kernels::dequantize::dequantize;
use mist::kernels::matmul::matmul;
use mist::kernels::{Matrix, Scheme, cpu};
use rayon::prelude::*;

/// Median seconds of a run, after a warm-up.
fn median(mut run: impl FnMut()) -> f64 {
    run();
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn bytes(count: usize) -> Vec<u8> {
    // Scales of blocks stay finite: no byte of an f16 has all exponent bits set.
    (0..count).map(|i| (i * 37 % 251) as u8 & 0x3f).collect()
}

/// A line: what, how fast, and how much of the limit where there is one.
fn report(name: &str, rate: f64, unit: &str, limit: Option<f64>) {
    let share =
        limit.map_or(String::new(), |limit| format!("{:6.1} % of the read bandwidth", rate / limit * 100.0));
    let line = format!("{name:20} {rate:8.2} {unit:10} {share}");
    // A bench has no other output; a closed pipe is its reader's choice.
    let _ = writeln!(std::io::stdout(), "{}", line.trim_end());
}

/// Bytes a second that all threads together read from a buffer larger than the caches.
fn read_bandwidth() -> f64 {
    let buffer = vec![1u64; (1 << 30) / 8];
    let sum =
        || buffer.par_chunks(1 << 16).map(|c| c.iter().fold(0u64, |a, b| a.wrapping_add(*b))).sum::<u64>();
    buffer.len() as f64 * 8.0
        / median(|| {
            black_box(sum());
        })
}

fn main() {
    let bandwidth = read_bandwidth();
    let threads = rayon::current_num_threads();
    report(&format!("read, {threads} threads, {}", cpu::level().name()), bandwidth / 1e9, "GB/s", None);
    for scheme in Scheme::all() {
        let weights = 256 * 64;
        let source = bytes(scheme.row_bytes(weights).unwrap_or(0));
        let mut out = vec![0.0f32; weights];
        let seconds =
            median(|| (0..50).for_each(|_| dequantize(scheme, black_box(&source), black_box(&mut out))));
        report(&format!("widen {scheme}"), 50.0 * weights as f64 / seconds / 1e9, "Gweights/s", None);
    }
    for scheme in [Scheme::F32, Scheme::Bf16, Scheme::Q8_0, Scheme::Q4_1, Scheme::Q4K, Scheme::Q6K] {
        let (rows, columns) = (32768, 4096);
        let size = scheme.row_bytes(columns).unwrap_or(0) * rows;
        let Some(matrix) = Matrix::new(scheme, rows, columns, bytes(size).into()) else { continue };
        let x = vec![0.5f32; columns];
        let mut out = vec![0.0f32; rows];
        let seconds = median(|| matmul(&x, &matrix, &mut out));
        report(&format!("decode {scheme}"), size as f64 / seconds / 1e9, "GB/s", Some(bandwidth / 1e9));
    }
    let (m, rows, columns) = (256, 2048, 4096);
    for scheme in [Scheme::Bf16, Scheme::Q4K] {
        let size = scheme.row_bytes(columns).unwrap_or(0) * rows;
        let Some(matrix) = Matrix::new(scheme, rows, columns, bytes(size).into()) else { continue };
        let x = vec![0.5f32; m * columns];
        let mut out = vec![0.0f32; m * rows];
        let seconds = median(|| matmul(&x, &matrix, &mut out));
        report(
            &format!("prompt of {m}, {scheme}"),
            2.0 * (m * rows * columns) as f64 / seconds / 1e9,
            "GFLOP/s",
            None,
        );
    }
}
