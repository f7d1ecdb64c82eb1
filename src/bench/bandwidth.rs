//! Measures how fast the host's memory is read. That limits decoding, which reads the weights once per token.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::cpu::pool;
use crate::placement::available_memory;
use crate::system::memory::may_fail;
use crate::system::pages;

/// Size of the buffer in bytes, larger than all CPU caches.
const BUFFER: usize = 1 << 30;

/// Number of measured passes, after one that is not measured.
const PASSES: usize = 9;

/// Size in bytes of a piece, which one thread sums.
const PIECE: usize = 1 << 20;

/// Number of positions at which a piece is read in turn. A processor prefetches within a page, so a single stream waits
/// at the start of each page: on a machine where one stream gave 27.9 GB/s, four gave 30.5 and eight 30.2. These are
/// plain loads, as in any program. Two streams with the kernels' prefetches gave 35.0, so kernels can exceed the
/// measured rate.
const STREAMS: usize = 4;

/// Size of a cache line in bytes.
const LINE: usize = 64;

/// A rate in bytes per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadRate {
    /// The median of several passes.
    pub median: f64,
    /// The fastest pass.
    pub best: f64,
}

/// Measures the rate at which the pool's threads sum a buffer of 1 GiB.
///
/// Returns `None` if 2 GiB are not known to be free, for example because the system does not report free memory: a
/// measurement must not push other programs out of memory.
pub fn read_rate() -> Option<ReadRate> {
    let is_free = available_memory().is_some_and(|free| free >= 2 * BUFFER as u64);
    is_free.then(|| rate_over(BUFFER)).flatten()
}

/// Measures the rate over a buffer of `bytes` bytes, rounded up.
fn rate_over(bytes: usize) -> Option<ReadRate> {
    let threads = pool::threads();
    let share = bytes.div_ceil(threads);
    let mut parts: Vec<Vec<u8>> = vec![Vec::new(); threads];
    // The threads that read the buffer also write it first: memory is near the processor that first writes to it.
    pool::each_piece(&mut parts, 1, |_, part| {
        for own in part {
            if may_fail(|| own.try_reserve_exact(share)).is_ok() {
                // Uses large pages, as weights do where the system supports them, so that address translation is not
                // measured.
                pages::in_large_pages(own.spare_capacity_mut());
                own.resize(share, 1);
            }
        }
    });
    if parts.iter().any(Vec::is_empty) {
        return None;
    }
    let pieces: Vec<&[u8]> = parts.iter().flat_map(|own| own.chunks(PIECE)).collect();
    let pass = || {
        let start = Instant::now();
        black_box(read_pieces(&pieces));
        (share * threads) as f64 / start.elapsed().as_secs_f64()
    };
    pass();
    let mut rates: Vec<f64> = (0..PASSES).map(|_| pass()).collect();
    rates.sort_by(f64::total_cmp);
    Some(ReadRate { median: rates[PASSES / 2], best: rates[PASSES - 1] })
}

/// Reads a buffer with all of the pool's threads as [`read_rate`] does, for benchmarks that compare a kernel with it.
/// Returns the sum of the buffer's words. Lines at the end of a piece that do not fill all streams are not read.
pub fn read(buffer: &[u8]) -> u64 {
    read_pieces(&buffer.chunks(PIECE).collect::<Vec<_>>())
}

fn read_pieces(pieces: &[&[u8]]) -> u64 {
    let total = AtomicU64::new(0);
    pool::run_in_parts(pieces.len(), |i| {
        total.fetch_add(sum(pieces[i]), Ordering::Relaxed);
    });
    total.into_inner()
}

/// Sums a piece, taking one cache line of each stream in turn.
fn sum(piece: &[u8]) -> u64 {
    let lines: &[[u8; LINE]] = piece.as_chunks().0;
    let length = lines.len() / STREAMS;
    let streams: [&[[u8; LINE]]; STREAMS] = std::array::from_fn(|i| &lines[i * length..(i + 1) * length]);
    let mut sums = [[0u64; LINE / 8]; STREAMS];
    for line in 0..length {
        for (sums, stream) in sums.iter_mut().zip(streams) {
            let words: [u64; LINE / 8] = bytemuck::cast(stream[line]);
            sums.iter_mut().zip(words).for_each(|(sum, word)| *sum = sum.wrapping_add(word));
        }
    }
    sums.into_iter().flatten().fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_once() {
        let words = 3 * PIECE as u64 / 8;
        let buffer: Vec<u8> = (0..words).flat_map(u64::to_ne_bytes).collect();
        for threads in [1, 3] {
            assert_eq!(pool::with_threads(threads, || read(&buffer)), (words - 1) * words / 2);
        }
        assert_eq!(read(&[]), 0);
    }

    #[test]
    fn the_best_pass_is_no_slower_than_the_middle_one() {
        for threads in [1, 2] {
            let rate = pool::with_threads(threads, || rate_over(4 << 20)).unwrap();
            assert!(rate.best >= rate.median && rate.median > 0.0, "{rate:?}");
        }
    }
}
