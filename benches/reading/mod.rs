//! The rate at which memory can be read: what decode is compared with.

use std::sync::atomic::{AtomicU64, Ordering};

use mist::kernels::pool;

/// The sum of a buffer, by all threads: line by line, asking for those to come, which is faster than without.
pub fn sum(buffer: &[u8]) -> u64 {
    let of_line = |sum: u64, line: &[u8; 64]| {
        prefetch(line.as_ptr());
        let words: [u64; 8] = bytemuck::cast(*line);
        words.iter().fold(sum, |a, b| a.wrapping_add(*b))
    };
    let pieces: Vec<&[u8]> = buffer.chunks(1 << 19).collect();
    let total = AtomicU64::new(0);
    pool::run(pieces.len(), |i| {
        total.fetch_add(pieces[i].as_chunks().0.iter().fold(0u64, of_line), Ordering::Relaxed);
    });
    total.into_inner()
}

/// Asks for what lies 8 KiB ahead: wherever that is, the hint does no harm.
#[inline(always)]
fn prefetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address is allowed; SSE is part of x86-64.
        #[allow(unsafe_code, unused_unsafe)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(8192).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
