//! Reports an engine's progress through prompts, and interrupts it.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::model::OnLayer;

/// Callbacks that observe an engine and can interrupt it. The computing threads call them between layers.
#[derive(Clone)]
pub struct Watch {
    interrupt: Arc<dyn Fn() -> bool + Send + Sync>,
    progress: Arc<Progress>,
}

/// Gets the number of computed tokens and of all tokens.
type Progress = dyn Fn(usize, usize) + Send + Sync;

impl Watch {
    /// Creates a watch that ends a computation once `interrupt` returns true. `progress` gets the number of computed
    /// prompt tokens and of all prompt tokens.
    pub fn new(
        interrupt: impl Fn() -> bool + Send + Sync + 'static,
        progress: impl Fn(usize, usize) + Send + Sync + 'static,
    ) -> Self {
        Self { interrupt: Arc::new(interrupt), progress: Arc::new(progress) }
    }

    /// Returns the watch without progress reports.
    pub fn silent(&self) -> Self {
        Self { progress: Arc::new(|_, _| ()), ..self.clone() }
    }

    /// Returns whether the computation must end.
    pub fn is_interrupted(&self) -> bool {
        (self.interrupt)()
    }

    /// Reports that `done` of `all` tokens are computed.
    pub fn report(&self, done: usize, all: usize) {
        (self.progress)(done, all);
    }
}

/// A watch that never interrupts and reports nothing.
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

/// Counts the prompt tokens that a model has computed, layer by layer.
///
/// Example, 512 tokens through 32 layers: after the first layer of the first chunk of 256 tokens, 256 / 32 = 8 tokens
/// are done; after its last layer, 256.
#[derive(Debug)]
pub(super) struct Meter {
    watch: Watch,
    layers: usize,
    /// Number of prompt tokens to compute, including computed ones.
    tokens: AtomicUsize,
    /// Number of computed tokens times layers.
    computed: AtomicUsize,
    /// Whether a batch was ended by an interrupt. Successive meters share it, since the batch may have been sent with
    /// the previous meter.
    stopped: Arc<AtomicBool>,
}

impl Meter {
    /// Creates a meter for a model of `layers` layers, without a watch.
    pub fn new(layers: usize) -> Self {
        let (tokens, computed, stopped) = Default::default();
        Self { watch: Watch::default(), layers: layers.max(1), tokens, computed, stopped }
    }

    /// Returns a meter that replaces this one and counts `tokens` tokens for `watch`.
    pub fn next(&self, watch: Watch, tokens: usize) -> Self {
        let (tokens, computed) = (AtomicUsize::new(tokens), AtomicUsize::new(0));
        Self { watch, layers: self.layers, tokens, computed, stopped: self.stopped.clone() }
    }

    /// Adds `tokens` tokens to compute.
    pub fn expect(&self, tokens: usize) {
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    /// Removes `tokens` tokens that need not be computed.
    pub fn skip(&self, tokens: usize) {
        self.tokens.fetch_sub(tokens, Ordering::Relaxed);
    }

    /// Reports the number of computed tokens to the watch.
    pub fn report(&self) {
        let (computed, tokens) = (&self.computed, self.tokens.load(Ordering::Relaxed));
        self.watch.report((computed.load(Ordering::Relaxed) / self.layers).min(tokens), tokens);
    }

    /// Returns whether the computation must end.
    pub fn is_interrupted(&self) -> bool {
        self.watch.is_interrupted()
    }

    /// Returns whether a batch was ended by an interrupt since the last call. Its error is not a failure.
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
        let (interrupt, reported) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (flag, list) = (interrupt.clone(), reported.clone());
        let progress = move |done, all| list.lock().unwrap().push((done, all));
        let watch = Watch::new(move || flag.load(Ordering::Relaxed), progress);
        let meter = Meter::new(4).next(watch, 12);
        for tokens in [8, 8, 8, 8, 0, 4] {
            assert!(meter.on_layer(tokens).is_continue() && !meter.take_stopped());
        }
        interrupt.store(true, Ordering::Relaxed);
        assert!(meter.on_layer(4).is_break() && meter.take_stopped() && !meter.take_stopped());
        let expected = [2, 4, 6, 8, 9, 10].map(|done| (done, 12));
        assert_eq!(*reported.lock().unwrap(), expected);
    }
}
