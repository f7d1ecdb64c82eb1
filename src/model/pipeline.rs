//! Passes batches through the stages: while one stage computes a batch, the stage before it computes the next.
//!
//! A batch is rows of tokens of one or several sequences. It travels with the sequences' caches, of which each stage
//! uses those of its own layers. Only the residual stream goes from device to device.
//!
//! Example, a prompt of three chunks on two stages; time goes from left to right:
//!
//! | stage | | | | |
//! |---|---|---|---|---|
//! | 0 | chunk 0 | chunk 1 | chunk 2 | |
//! | 1 | | chunk 0 | chunk 1 | chunk 2 |
//!
//! Batches leave in the order in which they came, and every stage computes them in that order: chunk 1 finds the keys
//! and values of chunk 0 in every layer.

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

/// Observes the computation of batches.
pub trait OnLayer: Send + Sync {
    /// Called after a layer was computed, with the number of counted tokens in the batch. Breaks to end the batch,
    /// which then fails. Any computing thread may call it.
    fn on_layer(&self, tokens: usize) -> ControlFlow<()>;
}

/// The observer of a batch, and how many of its tokens are counted.
type Watched = Option<(Arc<dyn OnLayer>, usize)>;

/// A sequence's cache, and the tokens that follow those in it.
pub type NextTokens<'a> = (&'a mut Cache, &'a [u32]);

/// A batch between two stages. Lists of up to 32 sequences, the usual maximum, need no heap allocation.
struct Batch {
    x: Rows, // (T, C)
    /// The angles of all tokens, on the host. All stages rotate by the same angles.
    angles: Angles, // (T, D/2)
    slices: SmallVec<[SequenceSlice; 32]>,
    caches: SmallVec<[SharedCache; 32]>,
    watched: Watched,
}

impl Batch {
    /// Embeds the next tokens of some sequences, and advances their caches.
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

    /// Passes the batch through all stages in turn: `(T, C)`.
    fn pass_all(self, model: &Transformer) -> Result<Rows> {
        let mut stages = 0..model.stages().len();
        Ok(stages.try_fold(self, |batch, stage| batch.pass(model, stage))?.x)
    }
}

impl Transformer {
    /// Computes the residual stream after the last layer, `(T, C)`, for the tokens `ids`, which follow those in the
    /// cache.
    ///
    /// # Errors
    /// There are no tokens, more than the cache's chunk, or more than the context; an id is beyond the vocabulary. The
    /// cache is left unchanged.
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

/// Passes batches through a model's stages.
pub struct Pipeline {
    model: Arc<Transformer>,
    execution: Execution,
    in_flight: usize,
}

/// Where the stages are computed.
enum Execution {
    /// All stages in turn, on the thread that sends the batch.
    InTurn { done: SmallVec<[Rows; 4]> },
    /// Each stage on its own thread.
    Threads(Stages),
}

/// The threads of all stages, which wait for batches until the pipeline is dropped.
struct Stages {
    first: Option<Sender<Result<Batch>>>,
    last: Receiver<Result<Batch>>,
    threads: Vec<JoinHandle<()>>,
}

impl Stages {
    /// Starts a thread for each stage. On an error, the threads that were started end.
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
        // Without a sender the first thread ends, then the next.
        self.first = None;
        for thread in self.threads.drain(..) {
            // A panic was reported to the thread that waited for the batch.
            let _ = thread.join();
        }
    }
}

impl Pipeline {
    /// Creates a pipeline with up to `depth` batches in flight. The caller's thread computes all stages in turn if
    /// `depth` is 1, if there is one stage, or if the system refuses more threads.
    pub fn new(model: Arc<Transformer>, depth: usize) -> Self {
        let has_threads = depth > 1 && model.stages().len() > 1;
        let stages = has_threads.then(|| Stages::start(&model).ok()).flatten();
        let execution =
            stages.map_or_else(|| Execution::InTurn { done: SmallVec::new() }, Execution::Threads);
        Self { model, execution, in_flight: 0 }
    }

    /// Returns the number of batches that were sent and not received.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Sends a batch with the next tokens of some sequences. `on_layer` observes it; `counted` of its tokens are
    /// counted.
    ///
    /// # Errors
    /// A sequence has no tokens, more than its cache's chunk, or more than there is room for; an id is beyond the
    /// vocabulary; the computation fails. The caches may have been advanced: the caller truncates them.
    pub fn send(
        &mut self,
        rows: &mut [NextTokens],
        on_layer: Arc<dyn OnLayer>,
        counted: usize,
    ) -> Result<()> {
        let batch = Batch::new(&self.model, rows, Some((on_layer, counted)))?;
        match &mut self.execution {
            Execution::InTurn { done } => done.push(batch.pass_all(&self.model)?),
            Execution::Threads(Stages { first: Some(first), .. }) if first.send(Ok(batch)).is_ok() => {}
            Execution::Threads(_) => bail!("a stage has ended early"),
        }
        self.in_flight += 1;
        Ok(())
    }

    /// Waits for the oldest batch in flight; returns the residual stream of its rows after the last layer, `(T, C)`.
    ///
    /// # Errors
    /// No batch is in flight, or the computation failed.
    pub fn receive(&mut self) -> Result<Rows> {
        if self.in_flight == 0 {
            bail!("no batch is in flight");
        }
        self.in_flight -= 1;
        match &mut self.execution {
            Execution::InTurn { done } => Ok(done.remove(0)),
            Execution::Threads(stages) => match stages.last.recv() {
                Ok(batch) => Ok(batch?.x),
                Err(_) => bail!("a stage has ended early"),
            },
        }
    }
}
