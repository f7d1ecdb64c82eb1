//! Steps on their way through the stages: while one stage computes a step, the stage before it computes the next.
//!
//! A step is some rows of tokens, of one sequence or of several. Each stage keeps the rings of its own layers, so what
//! goes from device to device is the residual stream and nothing else.
//!
//! Example, a prompt of three chunks on two stages; a column is a moment:
//!
//! | stage | | | | |
//! |---|---|---|---|---|
//! | 0 | chunk 0 | chunk 1 | chunk 2 | |
//! | 1 | | chunk 0 | chunk 1 | chunk 2 |
//!
//! Steps leave in the order in which they came, and every stage sees them in that order: chunk 1 finds the keys and
//! values of chunk 0 in every layer.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;

use candle_core::{Result, bail};
use smallvec::SmallVec;

use super::cache::{Cache, Reach, Ring};
use super::transformer::{Stage, Transformer};
use crate::kernels::attention::Heads;
use crate::quant::Rows;
use crate::system::threads;
use crate::tensor::ops::{Angles, Qkv, Queries};

/// Consecutive tokens of one sequence, among the rows of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Which of the pipeline's sequences.
    pub sequence: usize,
    /// Position of the first token.
    pub first: usize,
    /// How many tokens.
    pub tokens: usize,
}

/// Is told, on whichever thread computes, which tokens a layer has computed, and breaks to end the step there. Such a step
/// fails, and what the caches hold of it is to be overwritten.
pub type OnLayer<'p> = dyn Fn(&[Segment]) -> ControlFlow<()> + Sync + 'p;

/// What there are few of: kept without an allocation.
type Few<T> = SmallVec<[T; 4]>;

/// Rows between two stages.
struct Step {
    x: Rows, // (T, C)
    /// Of all tokens, on the host: every stage rotates by the same.
    angles: Angles, // (T, D/2)
    segments: SmallVec<[Segment; 32]>,
    /// Sequences that have ended: their memory is free.
    released: Vec<usize>,
}

/// The rings of a stage's layers, for each sequence.
pub(super) struct StageRings<'c>(Few<&'c mut [Ring]>);

/// The rings of one of the stage's layers.
pub struct LayerRings<'r, 'c> {
    rings: &'r mut StageRings<'c>,
    layer: usize,
}

impl<'c> StageRings<'c> {
    pub(super) fn layer(&mut self, layer: usize) -> LayerRings<'_, 'c> {
        LayerRings { rings: self, layer }
    }
}

impl LayerRings<'_, '_> {
    /// Puts the keys and values of all segments, whose rows follow each other in `qkv`, in the rings of their sequences.
    ///
    /// # Errors
    /// A sequence has no ring: the cache is another model's; its positions are beyond it; or what candle reports.
    pub(super) fn append(&mut self, segments: &[Segment], qkv: &Qkv, heads: Heads) -> Result<()> {
        let mut row = 0;
        for segment in segments {
            let ring = self.rings.0.get_mut(segment.sequence).and_then(|rings| rings.get_mut(self.layer));
            let Some(ring) = ring else { bail!("the cache is another model's: it has fewer layers") };
            ring.append(segment, qkv, heads, row)?;
            row += segment.tokens;
        }
        Ok(())
    }

    /// What the queries of segment `i` see, whose keys and values were appended. `None` of one that is not there.
    pub(super) fn queries(&self, segments: &[Segment], i: usize) -> Option<Queries<'_>> {
        let segment = segments.get(i)?;
        let ring = self.rings.0.get(segment.sequence)?.get(self.layer)?;
        ring.queries(segment, segments[..i].iter().map(|segment| segment.tokens).sum())
    }
}

/// The way of steps through a model, over the caches of some sequences.
pub struct Pipeline<'p> {
    model: &'p Transformer,
    on_layer: Option<&'p OnLayer<'p>>,
    reach: Few<&'p mut Reach>,
    released: Vec<usize>,
    way: Way<'p>,
    in_flight: usize,
}

/// Where steps are computed. (One to a pipeline: its size does not matter.)
#[allow(clippy::large_enum_variant)]
enum Way<'p> {
    /// All stages in turn, where the step is sent.
    Here { rings: Few<StageRings<'p>>, done: Few<Rows> },
    /// Each stage on a thread of its own.
    Threads { first: Sender<Result<Step>>, last: Receiver<Result<Step>> },
}

impl Transformer {
    /// Runs `drive` with a pipeline over `caches`, which are its sequences. Of up to `depth` steps in flight; with one,
    /// or with one stage, no thread is started. `on_layer` looks on. Where the system gives no more threads, all stages are computed in turn
    /// by the caller's.
    pub fn pipelined<'c, R>(
        &self,
        caches: impl IntoIterator<Item = &'c mut Cache>,
        depth: usize,
        on_layer: Option<&OnLayer>,
        drive: impl FnOnce(&mut Pipeline) -> R,
    ) -> R {
        let mut rings: Few<_> = self.stages().iter().map(|_| StageRings(Few::new())).collect();
        let mut reach = Few::new();
        for cache in caches {
            let (mut layers, far) = cache.parts();
            for (stage, rings) in self.stages().iter().zip(&mut rings) {
                let (own, rest) = layers.split_at_mut(stage.layers().min(layers.len()));
                rings.0.push(own);
                layers = rest;
            }
            reach.push(far);
        }
        let pipeline =
            |way| Pipeline { model: self, on_layer, reach, released: Vec::new(), way, in_flight: 0 };
        if depth <= 1 || self.stages().len() == 1 {
            return drive(&mut pipeline(Way::Here { rings, done: Few::new() }));
        }
        std::thread::scope(|scope| match start(scope, self.stages(), on_layer) {
            Ok(Started { handed, first, last }) => {
                for (to, rings) in handed.into_iter().zip(rings) {
                    // A thread that is not there is noticed by who sends it a step.
                    let _ = to.send(rings);
                }
                // The first channel goes with the pipeline, and the threads end one after the other.
                drive(&mut pipeline(Way::Threads { first, last }))
            }
            Err(_) => drive(&mut pipeline(Way::Here { rings, done: Few::new() })),
        })
    }
}

/// The threads of all stages, which wait for what they work on.
struct Started<'p> {
    /// Takes a stage's rings.
    handed: Vec<Sender<StageRings<'p>>>,
    first: Sender<Result<Step>>,
    last: Receiver<Result<Step>>,
}

/// Starts a thread for each stage. They get their rings when all are there: where one cannot be started the others end.
fn start<'scope, 'p: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    stages: &'p [Stage],
    on_layer: Option<&'p OnLayer<'p>>,
) -> std::io::Result<Started<'p>> {
    let (first, mut last) = channel();
    let mut handed = Vec::new();
    for stage in stages {
        let (to, from_here) = channel();
        let from = std::mem::replace(&mut last, from_here);
        let (sender, rings) = channel::<StageRings>();
        let run = move || rings.recv().map_or((), |rings| work(stage, on_layer, rings, from, to));
        threads::builder("stage", threads::STACK)?.spawn_scoped(scope, run)?;
        handed.push(sender);
    }
    Ok(Started { handed, first, last })
}

/// A stage's thread.
fn work(
    stage: &Stage,
    on_layer: Option<&OnLayer>,
    mut rings: StageRings,
    from: Receiver<Result<Step>>,
    to: Sender<Result<Step>>,
) {
    for step in from {
        let passed = step.and_then(|step| pass(stage, on_layer, step, &mut rings));
        if to.send(passed).is_err() {
            return;
        }
    }
}

/// Passes a step through a stage.
fn pass(stage: &Stage, on_layer: Option<&OnLayer>, step: Step, rings: &mut StageRings) -> Result<Step> {
    for sequence in &step.released {
        rings.0.get_mut(*sequence).into_iter().flat_map(|rings| rings.iter_mut()).for_each(Ring::release);
    }
    let x = stage.forward(step.x, &step.segments, &step.angles, rings, on_layer)?; // (T, C)
    Ok(Step { x, ..step })
}

impl Pipeline<'_> {
    /// Steps that were sent and not received.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Sends the next tokens of some sequences on their way, each sequence at most once.
    ///
    /// # Errors
    /// A sequence brings no tokens, more than its cache's chunk, or more than there is room for; an id is beyond the
    /// vocabulary; or what candle reports.
    pub fn send(&mut self, rows: &[(usize, &[u32])]) -> Result<()> {
        let mut segments = SmallVec::with_capacity(rows.len());
        for (sequence, ids) in rows {
            let Some(reach) = self.reach.get(*sequence) else {
                bail!("there is no sequence {sequence}");
            };
            segments.push(Segment { sequence: *sequence, first: reach.next(ids.len())?, tokens: ids.len() });
        }
        let ids: SmallVec<[u32; 32]> = rows.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        let x = self.model.embed(&ids)?; // (T, C)
        let angles = self.model.angles(&segments);
        let step = Step { x, angles, segments, released: std::mem::take(&mut self.released) };
        match &mut self.way {
            Way::Here { rings, done } => {
                let mut stages = self.model.stages().iter().zip(rings);
                let on_layer = self.on_layer;
                let pass = |step, (stage, rings)| pass(stage, on_layer, step, rings);
                let through = stages.try_fold(step, pass)?;
                done.push(through.x);
            }
            Way::Threads { first, .. } if first.send(Ok(step)).is_ok() => {}
            Way::Threads { .. } => bail!("a stage has ended early"),
        }
        for (sequence, ids) in rows {
            self.reach[*sequence].advance(ids.len());
        }
        self.in_flight += 1;
        Ok(())
    }

    /// Waits for the oldest step in flight: the residual stream of its rows after the last layer, `(T, C)`.
    ///
    /// # Errors
    /// There is none, or what went wrong on its way.
    pub fn receive(&mut self) -> Result<Rows> {
        let x = match &mut self.way {
            Way::Here { done, .. } if !done.is_empty() => Some(done.remove(0)),
            Way::Here { .. } => None,
            Way::Threads { .. } if self.in_flight == 0 => None,
            // Without an answer a stage's thread has panicked, which the end of the scope tells.
            Way::Threads { last, .. } => last.recv().ok().transpose()?.map(|step| step.x),
        };
        self.in_flight = self.in_flight.saturating_sub(1);
        x.ok_or_else(|| candle_core::Error::Msg("there is no step in flight".into()))
    }

    /// Forgets a sequence, none of whose steps is in flight: it begins again at position 0, and its memory is free with
    /// the next step.
    pub fn restart(&mut self, sequence: usize) {
        if let Some(reach) = self.reach.get_mut(sequence) {
            reach.restart();
            self.released.push(sequence);
        }
    }
}
