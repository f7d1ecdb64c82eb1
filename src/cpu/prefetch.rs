//! Asking for memory before it is loaded. Off x86-64 nothing is asked for.

/// How far ahead of its loads a kernel that reads on and on asks, in bytes: for the second-level cache, which takes more
/// requests at once than the first, and from there for the first, where a load of two lines would otherwise wait for both.
const AHEAD: [usize; 2] = [4096, 2048];

/// Asks for the line at `at`, for the first-level cache. Wherever it is, the hint does no harm.
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

/// Asks for what a kernel that reads on and on will load some time after what is at `at`.
#[inline(always)]
pub(crate) fn ahead<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: as above.
        #[allow(unsafe_code)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(at.cast::<i8>().wrapping_add(AHEAD[0]));
        }
    }
    line(at.cast::<i8>().wrapping_add(AHEAD[1]));
}
