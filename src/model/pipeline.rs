//! Batches on their way through the stages: while one stage computes a batch, the stage before it computes the next.
//!
//! A batch is some rows of tokens, of one sequence or of several, and travels with their caches, of which each stage uses
//! those of its own layers. What goes from device to device is the residual stream and nothing else.
//!
//! Example, a prompt of three chunks on two stages; a column is a moment:
//!
//! | stage | | | | |
//! |---|---|---|---|---|
//! | 0 | chunk 0 | chunk 1 | chunk 2 | |
//! | 1 | | chunk 0 | chunk 1 | chunk 2 |
//!
//! Batches leave in the order in which they came, and every stage sees them in that order: chunk 1 finds the keys and
//! values of chunk 0 in every layer.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use candle_core::{Result, bail};
use smallvec::SmallVec;

use super::cache::{Cache, SequenceSlice, SharedCache};
use super::stage_cache::StageCache;
use super::transformer::Transformer;
use crate::quant::Rows;
use crate::system::threads;
use crate::tensor::ops::Angles;

/// Looks on while batches are computed.
pub trait OnLayer: Send + Sync {
    /// A layer was computed for `tokens` of the tokens that are counted. Breaks to end the batch there, which then fails.
    /// Called by whichever thread computes.
    fn on_layer(&self, tokens: usize) -> ControlFlow<()>;
}

/// Who looks on, and how many tokens of the batch are counted.
type Watched = Option<(Arc<dyn OnLayer>, usize)>;

/// A sequence's cache and the tokens that follow those in it.
pub type NextTokens<'a> = (&'a mut Cache, &'a [u32]);

/// Rows between two stages. There are seldom more than 32 sequences: kept without an allocation.
struct Batch {
    x: Rows, // (T, C)
    /// Of all tokens, on the host: every stage rotates by the same.
    angles: Angles, // (T, D/2)
    slices: SmallVec<[SequenceSlice; 32]>,
    caches: SmallVec<[SharedCache; 32]>,
    watched: Watched,
}

impl Batch {
    /// The embeddings of the next tokens of some sequences, whose caches are advanced.
    fn new(model: &Transformer, rows: &mut [NextTokens], watched: Watched) -> Result<Self> {
        let slices: SmallVec<_> =
            rows.iter().map(|(cache, ids)| cache.next(ids.len())).collect::<Result<_>>()?;
        let ids: SmallVec<[u32; 32]> = rows.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        let x = model.embed(&ids)?; // (T, C)
        let angles = model.angles(&slices);
        let caches = rows.iter_mut().map(|(cache, ids)| cache.advance(ids.len())).collect();
        Ok(Self { x, angles, slices, caches, watched })
    }

    /// Passes the batch through stage `stage` of the model.
    fn pass(self, model: &Transformer, stage: usize) -> Result<Self> {
        let Self { x, angles, slices, caches, watched } = self;
        let mut locked = StageCache::lock(&slices, &caches, stage)?;
        let on_layer = || match &watched {
            Some((watch, tokens)) => watch.on_layer(*tokens),
            None => ControlFlow::Continue(()),
        };
        let x = model.stages()[stage].forward(x, &angles, &mut locked, on_layer)?; // (T, C)
        drop(locked);
        Ok(Self { x, angles, slices, caches, watched })
    }

    /// Passes it through all stages in turn: `(T, C)`.
    fn pass_all(self, model: &Transformer) -> Result<Rows> {
        let mut stages = 0..model.stages().len();
        Ok(stages.try_fold(self, |batch, stage| batch.pass(model, stage))?.x)
    }
}

impl Transformer {
    /// The residual stream after the last layer for the tokens `ids`, which follow those in the cache: `(T, C)`.
    ///
    /// # Errors
    /// There are no tokens, more than the cache's chunk, or beyond the context; an id is beyond the vocabulary. The cache
    /// is then as it was.
    pub fn hidden(&self, ids: &[u32], cache: &mut Cache) -> Result<Rows> {
        let before = cache.len();
        let batch = Batch::new(self, &mut [(&mut *cache, ids)], None);
        let passed = batch.and_then(|batch| batch.pass_all(self));
        if passed.is_err() {
            cache.truncate(before);
        }
        passed
    }
}

/// The way of batches through a model.
pub struct Pipeline {
    model: Arc<Transformer>,
    way: Way,
    in_flight: usize,
}

/// Where batches are computed.
enum Way {
    /// All stages in turn, where the batch is sent.
    Here { done: SmallVec<[Rows; 4]> },
    /// Each stage on a thread of its own.
    Threads(Stages),
}

/// The threads of all stages, which wait for batches until the pipeline is dropped.
struct Stages {
    first: Option<Sender<Result<Batch>>>,
    last: Receiver<Result<Batch>>,
    threads: Vec<JoinHandle<()>>,
}

impl Stages {
    /// Starts a thread for each stage. Where the system gives no more, those that were started end.
    fn start(model: &Arc<Transformer>) -> std::io::Result<Self> {
        let (first, last) = channel();
        let mut stages = Self { first: Some(first), last, threads: Vec::new() };
        for stage in 0..model.stages().len() {
            let (to, from_here) = channel();
            let from = std::mem::replace(&mut stages.last, from_here);
            let model = model.clone();
            let run = move || {
                for batch in from {
                    let passed = batch.and_then(|batch: Batch| batch.pass(&model, stage));
                    if to.send(passed).is_err() {
                        return;
                    }
                }
            };
            stages.threads.push(threads::builder("stage", threads::STACK)?.spawn(run)?);
        }
        Ok(stages)
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        // The threads end one after the other.
        self.first = None;
        for thread in self.threads.drain(..) {
            // One that has panicked was noticed by who waited for its batch.
            let _ = thread.join();
        }
    }
}

impl Pipeline {
    /// A pipeline of which up to `depth` batches are in flight. With one, with one stage, and where the system gives no
    /// more threads, all stages are computed in turn by the caller's thread.
    pub fn new(model: Arc<Transformer>, depth: usize) -> Self {
        let has_threads = depth > 1 && model.stages().len() > 1;
        let stages = has_threads.then(|| Stages::start(&model).ok()).flatten();
        let way = stages.map_or_else(|| Way::Here { done: SmallVec::new() }, Way::Threads);
        Self { model, way, in_flight: 0 }
    }

    /// Batches that were sent and not received.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Sends a batch on its way: the next tokens of some sequences. `on_layer` looks on, and counts the given number of
    /// them.
    ///
    /// # Errors
    /// A sequence brings no tokens, more than its cache's chunk, or more than there is room for; an id is beyond the
    /// vocabulary; or what goes wrong on its way. The caches may have been advanced: the caller truncates them.
    pub fn send(
        &mut self,
        rows: &mut [NextTokens],
        on_layer: Arc<dyn OnLayer>,
        counted: usize,
    ) -> Result<()> {
        let batch = Batch::new(&self.model, rows, Some((on_layer, counted)))?;
        match &mut self.way {
            Way::Here { done } => done.push(batch.pass_all(&self.model)?),
            Way::Threads(Stages { first: Some(first), .. }) if first.send(Ok(batch)).is_ok() => {}
            Way::Threads(_) => bail!("a stage has ended early"),
        }
        self.in_flight += 1;
        Ok(())
    }

    /// Waits for the oldest batch in flight: the residual stream of its rows after the last layer, `(T, C)`.
    ///
    /// # Errors
    /// There is none, or what went wrong on its way.
    pub fn receive(&mut self) -> Result<Rows> {
        if self.in_flight == 0 {
            bail!("there is no batch in flight");
        }
        self.in_flight -= 1;
        match &mut self.way {
            Way::Here { done } => Ok(done.remove(0)),
            Way::Threads(stages) => match stages.last.recv() {
                Ok(batch) => Ok(batch?.x),
                Err(_) => bail!("a stage has ended early"),
            },
        }
    }
}
