//! Prefetches memory. On architectures other than x86-64, these functions do nothing.

/// Prefetch distances of a kernel that reads sequentially, in bytes. The first is for the L2 cache, which accepts
/// more requests at once than L1. The second is from L2 to L1, where a load that touches two lines would otherwise
/// wait for both.
const AHEAD: [usize; 2] = [4096, 2048];

/// Prefetches the line at `at` to the L1 cache. Any address is allowed.
#[inline(always)]
pub(crate) fn line<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address is allowed; SSE is part of x86-64.
        #[allow(unsafe_code)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(at.cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Prefetches what a kernel that reads sequentially will load some time after `at`.
#[inline(always)]
pub(crate) fn ahead<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch of any address is allowed; SSE is part of x86-64.
        #[allow(unsafe_code)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(at.cast::<i8>().wrapping_add(AHEAD[0]));
        }
    }
    line(at.cast::<i8>().wrapping_add(AHEAD[1]));
}
