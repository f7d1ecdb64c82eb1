//! What the system is told about the pages of mapped weights: hints, without which everything is the same but slower or
//! larger. Off Unix they are not given.

/// Says that mapped bytes are about to be read: what of them is not in memory begins to come from the disk, in large pieces
/// and while something else is computed.
pub fn will_need(bytes: &[u8]) {
    bytes.chunks(PIECE).for_each(|piece| advise(piece, Hint::WillNeed));
}

/// Says that mapped bytes will not be read again soon, as after their copy to an accelerator: their pages stop counting as
/// this process's memory. They come back if they are read all the same.
pub fn release(bytes: &[u8]) {
    advise(bytes, Hint::Release);
}

/// Asks for memory that is about to be written for the first time to be in large pages: fewer of them have to be found, when
/// it is written and whenever it is read.
pub fn in_large_pages<T>(memory: &[T]) {
    if size_of_val(memory) >= LARGE {
        advise(memory, Hint::Large);
    }
}

/// Where large pages begin to be worth their whole memory, in bytes.
const LARGE: usize = 4 << 20;

/// Bytes of one hint: Linux cuts a longer one short, at the read-ahead of the disk.
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
    // The system takes whole pages. A page at the edge that also holds other bytes is not harmed by any hint.
    let page = rustix::param::page_size();
    let address = memory.as_ptr().addr();
    let before = address % page;
    let start = memory.as_ptr().cast::<u8>().wrapping_sub(before).cast_mut();
    // SAFETY: the pages of `memory` are mapped while it lives. No hint changes what is read from them: pages that are
    // paged out come back from their file or from swap, unlike those of `MADV_DONTNEED`.
    #[allow(unsafe_code)]
    let told = unsafe { madvise(start.cast(), before + size_of_val(memory), advice) };
    // A system that does not know the hint, or has no memory for it now, does without.
    let _ = told;
}

#[cfg(not(unix))]
fn advise<T>(_: &[T], _: Hint) {}

#[cfg(test)]
mod tests {
    use super::*;

    /// On memory that is no map of a file the hints must do no harm either.
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
