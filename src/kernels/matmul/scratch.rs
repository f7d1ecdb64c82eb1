//! The buffers that a thread reuses.

/// The buffers that a thread reuses.
#[derive(Default)]
pub(super) struct Scratch {
    /// Weight rows converted to f32.
    pub panel: Vec<f32>,
    /// Partial sums.
    #[cfg(target_arch = "x86_64")]
    pub sums: Vec<f32>,
}
