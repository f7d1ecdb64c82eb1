//! The packed products beside what they compete with: `cargo bench --bench packed [-- SCHEME…]`.
//!
//! Decode reads more than 1 GiB of weights as matrices of a 7B's shapes. It is compared, in the same repetition,
//! with the rate at which all threads sum the same buffer, with the same arithmetic over plain rows, and with the
//! f32 product in use. A prompt's product is compared with the f32 one. For busy machines: medians of rates and of
//! the ratios within a repetition, the best of each, and rates over a thread's own running time.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use bytes::Bytes;
use mist::kernels::matmul::matmul;
use mist::kernels::packed::{self, Activations, Packed};
use mist::kernels::{Matrix, Scheme, cpu};
use rayon::prelude::*;

/// Rows and columns: attention, gate or up, down.
const SHAPES: [(usize, usize); 3] = [(4096, 4096), (14336, 4096), (4096, 14336)];

const BUFFER: usize = 5 << 28;

fn main() -> Result<(), String> {
    let level = cpu::choose_from_environment()?;
    say(&format!("{} threads, kernels: {}", rayon::current_num_threads(), level.name()));
    // Scales of blocks stay finite: no byte of an f16 has all exponent bits set.
    let buffer = Bytes::from((0..BUFFER).map(|i| (i * 37 % 251) as u8 & 0x3f).collect::<Vec<_>>());
    let only: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    for scheme in [Scheme::Q8_0, Scheme::Q4K, Scheme::Q4_0] {
        if only.is_empty() || only.iter().any(|o| o == scheme.name()) {
            decode(scheme, &buffer);
            prompt(scheme, &buffer);
        }
    }
    Ok(())
}

fn say(line: &str) {
    // A bench has no other output; a closed pipe is its reader's choice.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn seconds(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

/// Seconds that this process has run, over all its threads: a busy machine does not lengthen them. `None` where
/// the system does not tell (it does on Linux).
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

/// The matrices that fill the buffer: shape and bytes.
fn matrices(scheme: Scheme, buffer: &Bytes) -> Vec<(usize, usize, Bytes)> {
    let (mut at, mut out) = (0, vec![]);
    for (rows, columns) in SHAPES.into_iter().cycle() {
        let size = scheme.row_bytes(columns).unwrap_or(0) * rows;
        if at + size > buffer.len() {
            return out;
        }
        out.push((rows, columns, buffer.slice(at..at + size)));
        at += size;
    }
    out
}

fn decode(scheme: Scheme, buffer: &Bytes) {
    let matrices = matrices(scheme, buffer);
    let size: usize = matrices.iter().map(|m| m.2.len()).sum();
    let x: Vec<f32> = (0..14336).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
    let mut out = vec![0.0; 14336];
    let block = packed::activation_block(scheme).unwrap_or(32);
    let mut activations = Activations::default();
    let plain_x: Vec<i8> = (0..14336).map(|i| (i * 7919 % 255) as i8).collect();
    let mut times: [Vec<f64>; 4] = Default::default();
    for repetition in 0..16 {
        let read = seconds(|| {
            black_box(sum(&buffer[..size]));
        });
        let packed = seconds(|| {
            for (rows, columns, bytes) in &matrices {
                activations.fill(&x[..*columns], *columns, block);
                if let Some(w) = Packed::new(scheme, *rows, *columns, bytes) {
                    packed::multiply(&activations, &w, &mut out[..*rows]);
                }
            }
        });
        let plain = seconds(|| {
            for (rows, columns, bytes) in &matrices {
                plain::multiply(scheme, &plain_x[..*columns], *columns, bytes, &mut out[..*rows]);
            }
        });
        // The f32 product is an order slower: the first matrices are enough.
        let few = &matrices[..6];
        let few_size: usize = few.iter().map(|m| m.2.len()).sum();
        let f32s = seconds(|| {
            for (rows, columns, bytes) in few {
                if let Some(w) = Matrix::new(scheme, *rows, *columns, bytes.clone()) {
                    matmul(&x[..*columns], &w, &mut out[..*rows]);
                }
            }
        }) * size as f64
            / few_size as f64;
        if repetition > 0 {
            times.iter_mut().zip([read, packed, plain, f32s]).for_each(|(times, t)| times.push(t));
        }
    }
    let gigabytes = size as f64 / 1e9;
    for (name, i) in [("read", 0), ("packed", 1), ("plain", 2), ("f32", 3)] {
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

/// The sum of a buffer, by all threads: line by line, asking for those to come, which here is faster than without.
fn sum(buffer: &[u8]) -> u64 {
    let of_line = |sum: u64, line: &[u8; 64]| {
        plain::prefetch(line.as_ptr());
        let words: [u64; 8] = bytemuck::cast(*line);
        words.iter().fold(sum, |a, b| a.wrapping_add(*b))
    };
    buffer.par_chunks(1 << 19).map(|c| c.as_chunks().0.iter().fold(0u64, of_line)).sum()
}

fn prompt(scheme: Scheme, buffer: &Bytes) {
    let (rows, columns) = (4096, 4096);
    let bytes = buffer.slice(..scheme.row_bytes(columns).unwrap_or(0) * rows);
    let block = packed::activation_block(scheme).unwrap_or(32);
    let Some(w) = Packed::new(scheme, rows, columns, &bytes) else { return };
    let Some(matrix) = Matrix::new(scheme, rows, columns, bytes.clone()) else { return };
    let mut activations = Activations::default();
    for m in [1, 2, 4, 8, 16, 32, 128, 512] {
        let x: Vec<f32> = (0..m * columns).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
        let mut out = vec![0.0; m * rows];
        let runs = (256 / m).max(1);
        let fast = rate(runs, m * rows * columns, || {
            activations.fill(&x, columns, block);
            packed::multiply(&activations, &w, &mut out);
        });
        let slow = rate(runs.div_ceil(8), m * rows * columns, || matmul(&x, &matrix, &mut out));
        say(&format!("m {m:4} {scheme:5} packed {fast}, f32 {slow}"));
    }
}

/// The median rate over 7 times `runs` runs of `products` multiplications: by the clock, and for a thread's busy time.
fn rate(runs: usize, products: usize, mut run: impl FnMut()) -> String {
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
    format!("{:6.1} GFLOP/s{of_thread}", median(clock))
}

/// The same integer arithmetic over plain rows, four at a time: lanes are columns, added up at the row's end. The
/// activations' scales are 1; that costs nothing less.
#[allow(unsafe_code)]
mod plain {
    use super::*;
    use std::arch::x86_64::*;

    pub fn multiply(scheme: Scheme, x: &[i8], columns: usize, bytes: &[u8], out: &mut [f32]) {
        let row_bytes = scheme.row_bytes(columns).unwrap_or(0);
        let sums: Vec<i16> = x.chunks_exact(32).map(|x| x.iter().map(|x| i16::from(*x)).sum()).collect();
        out.par_chunks_mut(16).zip(bytes.par_chunks(16 * row_bytes)).for_each(|(out, bytes)| {
            for (out, bytes) in out.chunks_exact_mut(4).zip(bytes.chunks_exact(4 * row_bytes)) {
                // SAFETY: this bench is for processors with AVX2; a row has as many blocks as the activations.
                let four = unsafe {
                    match scheme {
                        Scheme::Q8_0 => q8_0(bytes, x),
                        Scheme::Q4_0 => q4_0(bytes, x, &sums),
                        _ => q4_k(bytes, x, &sums),
                    }
                };
                out.copy_from_slice(&four);
            }
        });
    }

    /// Asks for what lies 8 KiB ahead: wherever that is, the hint does no harm.
    #[inline(always)]
    pub fn prefetch(at: *const u8) {
        // SAFETY: a prefetch of any address is allowed; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(8192).cast()) };
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scale(at: *const u8) -> f32 {
        unsafe {
            let bits = i32::from(at.cast::<u16>().read_unaligned());
            _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)))
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn total(lanes: __m256) -> f32 {
        let half = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
        let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
        _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)))
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn q8_0(bytes: &[u8], x: &[i8]) -> [f32; 4] {
        let row_bytes = bytes.len() / 4;
        let mut acc = [_mm256_setzero_ps(); 4];
        for b in 0..x.len() / 32 {
            unsafe {
                let x = _mm256_loadu_si256(x.as_ptr().add(32 * b).cast());
                for (r, acc) in acc.iter_mut().enumerate() {
                    let at = bytes.as_ptr().add(r * row_bytes + 34 * b);
                    prefetch(at);
                    let w = _mm256_loadu_si256(at.add(2).cast());
                    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
                    let sum = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
                    *acc = _mm256_fmadd_ps(sum, _mm256_set1_ps(scale(at)), *acc);
                }
            }
        }
        acc.map(|a| total(a))
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn q4_0(bytes: &[u8], x: &[i8], sums: &[i16]) -> [f32; 4] {
        let row_bytes = bytes.len() / 4;
        let mut acc = [_mm256_setzero_ps(); 4];
        let mut below = [0.0; 4];
        for (b, sum) in sums.iter().enumerate() {
            unsafe {
                let x = _mm256_loadu_si256(x.as_ptr().add(32 * b).cast());
                let eight_sums = 8.0 * f32::from(*sum);
                for r in 0..4 {
                    let at = bytes.as_ptr().add(r * row_bytes + 18 * b);
                    prefetch(at);
                    let packed = _mm_loadu_si128(at.add(2).cast());
                    let both = _mm256_set_m128i(_mm_srli_epi16(packed, 4), packed);
                    let w = _mm256_and_si256(both, _mm256_set1_epi8(15));
                    let pairs = _mm256_maddubs_epi16(w, x);
                    let sum = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
                    let d = scale(at);
                    acc[r] = _mm256_fmadd_ps(sum, _mm256_set1_ps(d), acc[r]);
                    below[r] += d * eight_sums;
                }
            }
        }
        std::array::from_fn(|r| total(acc[r]) - below[r])
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn q4_k(bytes: &[u8], x: &[i8], sums: &[i16]) -> [f32; 4] {
        let row_bytes = bytes.len() / 4;
        let mut acc = [_mm256_setzero_ps(); 4];
        let mut below = [_mm_setzero_ps(); 4];
        let mut spread = [_mm256_setzero_si256(); 8];
        for (j, spread) in spread.iter_mut().enumerate() {
            *spread = _mm256_set1_epi16(((2 * j) | ((2 * j + 1) << 8)) as i16);
        }
        for b in 0..x.len() / 256 {
            unsafe {
                let x_sums = _mm_loadu_si128(sums.as_ptr().add(8 * b).cast());
                for r in 0..4 {
                    let at = bytes.as_ptr().add(r * row_bytes + 144 * b);
                    let [a, m, c] = at.add(4).cast::<[u32; 3]>().read_unaligned();
                    let six = 0x3f3f_3f3f;
                    let small = _mm_set_epi32(
                        ((c >> 4 & 0x0f0f_0f0f) | (m >> 6 & 0x0303_0303) << 4) as i32,
                        (m & six) as i32,
                        ((c & 0x0f0f_0f0f) | (a >> 6 & 0x0303_0303) << 4) as i32,
                        (a & six) as i32,
                    );
                    let small = _mm256_cvtepu8_epi16(small);
                    let minima = _mm_madd_epi16(_mm256_extracti128_si256(small, 1), x_sums);
                    let scales = _mm256_broadcastsi128_si256(_mm256_castsi256_si128(small));
                    let mut sum = _mm256_setzero_si256();
                    for pair in 0..4 {
                        let packed = _mm256_loadu_si256(at.add(16 + 32 * pair).cast());
                        prefetch(at.wrapping_add(32 * pair));
                        let fifteen = _mm256_set1_epi8(15);
                        let xs = x.as_ptr().add(256 * b + 64 * pair);
                        let low = _mm256_maddubs_epi16(
                            _mm256_and_si256(packed, fifteen),
                            _mm256_loadu_si256(xs.cast()),
                        );
                        let high = _mm256_maddubs_epi16(
                            _mm256_and_si256(_mm256_srli_epi16(packed, 4), fifteen),
                            _mm256_loadu_si256(xs.add(32).cast()),
                        );
                        let low = _mm256_madd_epi16(low, _mm256_shuffle_epi8(scales, spread[2 * pair]));
                        let high = _mm256_madd_epi16(high, _mm256_shuffle_epi8(scales, spread[2 * pair + 1]));
                        sum = _mm256_add_epi32(sum, _mm256_add_epi32(low, high));
                    }
                    let (d, dmin) = (scale(at), scale(at.add(2)));
                    acc[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(d), acc[r]);
                    below[r] = _mm_fmadd_ps(_mm_cvtepi32_ps(minima), _mm_set1_ps(dmin), below[r]);
                }
            }
        }
        std::array::from_fn(|r| total(acc[r]) - total(_mm256_zextps128_ps256(below[r])))
    }
}
