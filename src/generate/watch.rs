//! Who looks on while an engine computes: how far its prompts are, and what ends it early.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::model::OnLayer;

/// Looks on while an engine computes. It is asked between layers, by the threads that compute.
#[derive(Clone)]
pub struct Watch {
    interrupt: Arc<dyn Fn() -> bool + Send + Sync>,
    progress: Arc<Progress>,
}

/// Takes how many tokens are done, of how many.
type Progress = dyn Fn(usize, usize) + Send + Sync;

impl Watch {
    /// Ends a computation once `interrupt` is true, and tells `progress` how many tokens of prompts are computed, of how
    /// many.
    pub fn new(
        interrupt: impl Fn() -> bool + Send + Sync + 'static,
        progress: impl Fn(usize, usize) + Send + Sync + 'static,
    ) -> Self {
        Self { interrupt: Arc::new(interrupt), progress: Arc::new(progress) }
    }

    /// The same, which is told nothing.
    pub fn silent(&self) -> Self {
        Self { progress: Arc::new(|_, _| ()), ..self.clone() }
    }

    /// Whether the computation has to end.
    pub fn is_interrupted(&self) -> bool {
        (self.interrupt)()
    }

    /// `done` of `all` tokens are computed.
    pub fn report(&self, done: usize, all: usize) {
        (self.progress)(done, all);
    }
}

/// Ends nothing and reports nothing.
impl Default for Watch {
    fn default() -> Self {
        Self::new(|| false, |_, _| ())
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// Adds up what the layers of a model have computed of prompts.
///
/// Example, 512 tokens through 32 layers: after the first layer of the first chunk of 256 tokens 256 / 32 = 8 tokens are
/// done, after its last layer 256.
#[derive(Debug)]
pub(super) struct Meter {
    watch: Watch,
    layers: usize,
    /// Tokens of all prompts.
    tokens: AtomicUsize,
    /// Tokens times layers.
    computed: AtomicUsize,
    /// A batch was told to end. Meters that follow each other share it: the batch may be of the one before.
    stopped: Arc<AtomicBool>,
}

impl Meter {
    /// Of a model of `layers` layers, without anyone who looks on.
    pub fn new(layers: usize) -> Self {
        let (tokens, computed, stopped) = Default::default();
        Self { watch: Watch::default(), layers: layers.max(1), tokens, computed, stopped }
    }

    /// The meter that follows this one, which counts `tokens` tokens for `watch`.
    pub fn next(&self, watch: Watch, tokens: usize) -> Self {
        let (tokens, computed) = (AtomicUsize::new(tokens), AtomicUsize::new(0));
        Self { watch, layers: self.layers, tokens, computed, stopped: self.stopped.clone() }
    }

    /// There are `tokens` more to compute.
    pub fn expect(&self, tokens: usize) {
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    /// There are `tokens` fewer to compute.
    pub fn spare(&self, tokens: usize) {
        self.tokens.fetch_sub(tokens, Ordering::Relaxed);
    }

    /// Reports how many tokens are computed.
    pub fn report(&self) {
        let (computed, tokens) = (&self.computed, self.tokens.load(Ordering::Relaxed));
        self.watch.report((computed.load(Ordering::Relaxed) / self.layers).min(tokens), tokens);
    }

    /// Whether the computation has to end.
    pub fn is_interrupted(&self) -> bool {
        self.watch.is_interrupted()
    }

    /// Whether a batch was told to end, since this was asked last: its failure is no fault.
    pub fn take_stopped(&self) -> bool {
        self.stopped.swap(false, Ordering::Relaxed)
    }
}

impl OnLayer for Meter {
    fn on_layer(&self, tokens: usize) -> ControlFlow<()> {
        if tokens > 0 {
            self.computed.fetch_add(tokens, Ordering::Relaxed);
            self.report();
        }
        if !self.is_interrupted() {
            return ControlFlow::Continue(());
        }
        self.stopped.store(true, Ordering::Relaxed);
        ControlFlow::Break(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn tokens_are_counted_through_the_layers_until_the_interrupt() {
        let (interrupt, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (flag, list) = (interrupt.clone(), told.clone());
        let progress = move |done, all| list.lock().unwrap().push((done, all));
        let watch = Watch::new(move || flag.load(Ordering::Relaxed), progress);
        let meter = Meter::new(4).next(watch, 12);
        for tokens in [8, 8, 8, 8, 0, 4] {
            assert!(meter.on_layer(tokens).is_continue() && !meter.take_stopped());
        }
        interrupt.store(true, Ordering::Relaxed);
        assert!(meter.on_layer(4).is_break() && meter.take_stopped() && !meter.take_stopped());
        let expected = [2, 4, 6, 8, 9, 10].map(|done| (done, 12));
        assert_eq!(*told.lock().unwrap(), expected);
    }
}
