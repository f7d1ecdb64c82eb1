//! Signals whose default action would end the process without a word.

/// Ignores the signal for a file that reaches the limit of file sizes (`ulimit -f`): the write then fails with an
/// error that can be reported, and what was written so far can be deleted.
pub fn ignore_file_size_limit() {
    #[cfg(unix)]
    // SAFETY: no handler is installed, so no code of ours runs in a signal's context.
    #[allow(unsafe_code)]
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}
