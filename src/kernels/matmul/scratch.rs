//! The memory that a thread keeps between tasks.

/// What a thread keeps between tasks.
#[derive(Default)]
pub(super) struct Scratch {
    /// Widened rows.
    pub panel: Vec<f32>,
    /// Partial sums.
    #[cfg(target_arch = "x86_64")]
    pub sums: Vec<f32>,
}
