//! A computation that takes long: how far it is, and what ends it early.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What looks on while a prompt is computed. It is asked between layers, from the threads that compute.
#[derive(Clone, Copy)]
pub struct Watch<'w> {
    interrupt: &'w AtomicBool,
    progress: Option<&'w Progress<'w>>,
}

/// Takes how many tokens are done, of how many.
type Progress<'w> = dyn Fn(usize, usize) + Sync + 'w;

impl<'w> Watch<'w> {
    /// Ends the computation once `interrupt` is set, and tells `progress` how many tokens are done, of how many.
    pub fn new(interrupt: &'w AtomicBool, progress: &'w (dyn Fn(usize, usize) + Sync + 'w)) -> Self {
        Self { interrupt, progress: Some(progress) }
    }

    /// Whether the computation has to end.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// `done` of `all` tokens are computed.
    pub fn report(&self, done: usize, all: usize) {
        if let Some(progress) = self.progress {
            progress(done, all);
        }
    }
}

/// Ends a computation and is told nothing.
impl<'w> From<&'w AtomicBool> for Watch<'w> {
    fn from(interrupt: &'w AtomicBool) -> Self {
        Self { interrupt, progress: None }
    }
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("interrupt", self.interrupt).finish_non_exhaustive()
    }
}

/// Adds up what the layers of a model have computed.
///
/// Example, 512 tokens through 32 layers: after the first layer of the first chunk of 256 tokens 256 / 32 = 8 tokens are
/// done, after its last layer 256.
#[derive(Debug)]
pub(super) struct Meter<'w> {
    watch: Watch<'w>,
    layers: usize,
    tokens: usize,
    /// Tokens times layers.
    computed: AtomicUsize,
    stopped: AtomicBool,
}

impl<'w> Meter<'w> {
    /// Of `tokens` through `layers`.
    pub fn new(watch: Watch<'w>, layers: usize, tokens: usize) -> Self {
        watch.report(0, tokens);
        let (computed, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { watch, layers: layers.max(1), tokens, computed, stopped }
    }

    /// A layer has computed `tokens`. Breaks where the computation has to end.
    pub fn add(&self, tokens: usize) -> ControlFlow<()> {
        if tokens > 0 {
            let computed = self.computed.fetch_add(tokens, Ordering::Relaxed) + tokens;
            self.watch.report(computed / self.layers, self.tokens);
        }
        match self.watch.is_interrupted() {
            true => {
                self.stopped.store(true, Ordering::Relaxed);
                ControlFlow::Break(())
            }
            false => ControlFlow::Continue(()),
        }
    }

    /// Whether a layer was told to end: what it reports then is no fault.
    pub fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn tokens_are_counted_through_the_layers_until_the_interrupt() {
        let (interrupt, told) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let progress = |done, all| told.lock().unwrap().push((done, all));
        let meter = Meter::new(Watch::new(&interrupt, &progress), 4, 12);
        for tokens in [8, 8, 8, 8, 0, 4] {
            assert!(meter.add(tokens).is_continue() && !meter.has_stopped());
        }
        interrupt.store(true, Ordering::Relaxed);
        assert!(meter.add(4).is_break() && meter.has_stopped());
        let expected = [0, 2, 4, 6, 8, 9, 10].map(|done| (done, 12));
        assert_eq!(*told.lock().unwrap(), expected);
    }
}
