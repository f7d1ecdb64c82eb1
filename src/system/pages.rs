//! Hints to the system about pages of memory. They change speed and memory use, not results. Systems other than Unix
//! get none.

/// Hints that mapped bytes are about to be read. The system then reads pages that are not in memory from the disk, in
/// large pieces and while the program computes.
pub fn will_need(bytes: &[u8]) {
    bytes.chunks(PIECE).for_each(|piece| advise(piece, Hint::WillNeed));
}

/// Hints that mapped bytes will not be read soon, for example after their copy to an accelerator. Their pages stop
/// counting as this process's memory, and come back if they are read.
pub fn release(bytes: &[u8]) {
    advise(bytes, Hint::Release);
}

/// Asks for large pages for memory that is about to be written for the first time. Fewer pages then cause fewer faults
/// and address translations.
pub fn in_large_pages<T>(memory: &[T]) {
    if size_of_val(memory) >= LARGE {
        advise(memory, Hint::Large);
    }
}

/// Minimum size in bytes of memory that is put in large pages.
const LARGE: usize = 4 << 20;

/// Bytes per hint: Linux truncates a longer one to the disk's read-ahead.
const PIECE: usize = 512 << 10;

#[derive(Clone, Copy)]
enum Hint {
    WillNeed,
    Release,
    Large,
}

#[cfg(unix)]
fn advise<T>(memory: &[T], hint: Hint) {
    use rustix::mm::{Advice, madvise};
    let advice = match hint {
        Hint::WillNeed => Advice::WillNeed,
        #[cfg(target_os = "linux")]
        Hint::Release => Advice::LinuxPageOut,
        #[cfg(target_os = "linux")]
        Hint::Large => Advice::LinuxHugepage,
        #[cfg(not(target_os = "linux"))]
        Hint::Release | Hint::Large => return,
    };
    // The system takes whole pages. No hint harms other bytes on the first and the last page.
    let page = rustix::param::page_size();
    let address = memory.as_ptr().addr();
    let before = address % page;
    let start = memory.as_ptr().cast::<u8>().wrapping_sub(before).cast_mut();
    // SAFETY: the pages of `memory` are mapped while it lives. No hint changes what is read from them: pages that were
    // paged out come back from their file or from swap, unlike after `MADV_DONTNEED`.
    #[allow(unsafe_code)]
    let result = unsafe { madvise(start.cast(), before + size_of_val(memory), advice) };
    // An error means that the system does not know the hint, or has no memory for it now.
    let _ = result;
}

#[cfg(not(unix))]
fn advise<T>(_: &[T], _: Hint) {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives the hints for memory that is not a map of a file.
    #[test]
    fn hints_leave_every_byte_as_it_was() {
        let bytes: Vec<u8> = (0..100_003u32 * 4).map(|i| i as u8).collect();
        let hinted = bytes.clone();
        will_need(&hinted);
        release(&hinted);
        let large = vec![7u8; LARGE + 1];
        in_large_pages(&large);
        assert!(large.iter().all(|byte| *byte == 7));
        assert_eq!(hinted, bytes);
    }
}
