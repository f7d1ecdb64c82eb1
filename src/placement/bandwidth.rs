//! How fast the host's memory is read: the limit of decoding, which reads the weights once a token.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use super::memory::available_memory;
use crate::kernels::pages;

/// Bytes that are read: more than caches hold.
const BUFFER: usize = 1 << 30;

/// How often they are read, after a first time that is not counted.
const PASSES: usize = 9;

/// Words of a piece that a thread sums at once.
const PIECE: usize = 1 << 17;

/// Pieces are read in so many places at once. A processor fetches ahead within a page, so that one place after another
/// waits at each page's start: on a machine where one gave 17 GB/s and one with prefetch instructions 17, two gave 20
/// and four or eight 21.
const STREAMS: usize = 4;

/// Bytes a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadRate {
    /// The middle one of several passes.
    pub median: f64,
    /// The fastest of them.
    pub best: f64,
}

/// The rate at which `threads` threads together sum a buffer of 1 GiB; `None` where memory is too short for it: at least
/// twice as much must be free.
pub fn read_rate(threads: usize) -> Option<ReadRate> {
    if available_memory().is_some_and(|free| free < 2 * BUFFER as u64) {
        return None;
    }
    let share = (BUFFER / 8).div_ceil(threads.max(1));
    // Each thread makes its own part: memory lies near the processor that first writes to it.
    let own = || {
        let mut own: Vec<u64> = Vec::new();
        own.try_reserve_exact(share).ok()?;
        // As the weights are, where the system has large pages: the limit is to be the machine's, not the page table's.
        pages::in_large_pages(own.spare_capacity_mut());
        own.resize(share, 1);
        Some(own)
    };
    let parts: Vec<Vec<u64>> = thread::scope(|scope| {
        let made: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(own)).collect();
        made.into_iter().map(|part| part.join().ok().flatten()).collect::<Option<_>>()
    })?;
    let bytes = (8 * share * parts.len()) as f64;
    let pass = || {
        let start = Instant::now();
        thread::scope(|scope| {
            for own in &parts {
                scope.spawn(move || black_box(own.chunks(PIECE).map(sum).fold(0, u64::wrapping_add)));
            }
        });
        bytes / start.elapsed().as_secs_f64()
    };
    pass();
    let mut rates: Vec<f64> = (0..PASSES).map(|_| pass()).collect();
    rates.sort_by(f64::total_cmp);
    Some(ReadRate { median: rates[PASSES / 2], best: rates[PASSES - 1] })
}

/// The sum of a piece, a cache line of each stream in turn.
fn sum(piece: &[u64]) -> u64 {
    let length = piece.len() / STREAMS;
    let streams: [&[u64]; STREAMS] = std::array::from_fn(|i| &piece[i * length..(i + 1) * length]);
    let mut sums = [[0u64; 8]; STREAMS];
    for line in 0..length / 8 {
        for (sums, stream) in sums.iter_mut().zip(streams) {
            let words = &stream[line * 8..line * 8 + 8];
            sums.iter_mut().zip(words).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
        }
    }
    sums.into_iter().flatten().fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_piece_is_read_once() {
        let piece: Vec<u64> = (0..PIECE as u64).collect();
        assert_eq!(sum(&piece), (PIECE as u64 - 1) * PIECE as u64 / 2);
    }

    #[test]
    fn the_best_pass_is_no_slower_than_the_middle_one() {
        if let Some(rate) = read_rate(2) {
            assert!(rate.best >= rate.median && rate.median > 0.0, "{rate:?}");
        }
    }
}
