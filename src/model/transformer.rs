//! The whole model, in stages: each stage is a run of layers on one device.

use std::ops::ControlFlow;

use candle_core::{Result, bail};
use smallvec::SmallVec;

use super::block::Block;
use super::cache::{Cache, SequenceSlice};
use super::link::Link;
use super::rope::RopeTable;
use super::stage_cache::StageCache;
use crate::arch::{Config, LayerWeights, Weights};
use crate::kernels::attention::CacheType;
use crate::quant::{HostRows, Rows};
use crate::tensor::ops::{self, Angles};
use crate::tensor::{Target, Vector, Weight};

/// A run of layers on one device.
#[derive(Debug)]
pub struct Stage {
    target: Target,
    blocks: Vec<Block>,
    /// The weights may not be in memory when they are needed.
    reads_ahead: bool,
    /// How the residual stream comes here.
    link: Link,
}

impl Stage {
    /// A stage without layers, whose weights go to `target`.
    pub fn new(target: Target) -> Self {
        Self { target, blocks: Vec::new(), reads_ahead: false, link: Link::Direct }
    }

    /// The same, with weights that do not all fit into memory: which experts come next is told to the system.
    pub fn reading_ahead(self, reads_ahead: bool) -> Self {
        Self { reads_ahead, ..self }
    }

    /// Puts the next layer's weights on the device.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn push(&mut self, config: &Config, weights: &LayerWeights) -> Result<()> {
        let mut block = Block::load(config, weights, &self.target)?;
        if self.reads_ahead {
            block.read_ahead();
        }
        self.blocks.push(block);
        Ok(())
    }

    /// How many layers it has.
    pub fn layers(&self) -> usize {
        self.blocks.len()
    }

    /// Passes `x (T, C)`, the slices of a batch with their `angles` on the host, through the stage's layers: `(T, C)`.
    /// `on_layer` is asked after each, and breaks to end the batch there.
    ///
    /// # Errors
    /// A cache is another model's, its positions are fewer, or `on_layer` breaks.
    pub(super) fn forward(
        &self,
        x: Rows,
        angles: &Angles,
        caches: &mut StageCache,
        on_layer: impl Fn() -> ControlFlow<()>,
    ) -> Result<Rows> {
        let mut x = self.link.carry(x, &self.target.device, self.target.activations())?; // (T, C)
        let copied = angles.copied_to(&self.target.device)?; // (T, D/2)
        let angles = copied.as_ref().unwrap_or(angles);
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, angles, caches, layer)?; // (T, C)
            if on_layer().is_break() {
                bail!("the computation was ended after a layer");
            }
        }
        Ok(x)
    }
}

/// A model ready to run. The embedding lives with the first stage, the final norm and the head with the last.
#[derive(Debug)]
pub struct Transformer {
    config: Config,
    rope: RopeTable,
    embedding: Weight, // (V, C)
    stages: Vec<Stage>,
    norm: Vector, // (C)
    head: Weight, // (V, C)
}

impl Transformer {
    /// Puts the stages together with the tables around them, and finds out how the residual stream goes from each to
    /// the next.
    ///
    /// # Errors
    /// There is no stage, or errors of the device.
    pub fn new(config: Config, weights: &Weights, mut stages: Vec<Stage>) -> Result<Self> {
        for i in 1..stages.len() {
            stages[i].link = Link::between(&stages[i - 1].target.device, &stages[i].target.device);
        }
        let (Some(first), Some(last)) = (stages.first(), stages.last()) else {
            bail!("a model has at least one stage");
        };
        // Single rows of an embedding are read as they lie, unless it is the head as well.
        let is_head = config.tied_head && stages.len() == 1;
        let target = Target { packs: first.target.packs && is_head, ..first.target.clone() };
        let embedding = Weight::load(&weights.embedding, &target)?;
        let norm = Vector::load(&weights.norm, &last.target)?;
        // A tied head is the embedding itself, where one device holds both.
        let head = match is_head {
            true => embedding.clone(),
            false => Weight::load(&weights.head, &last.target)?,
        };
        let rope = RopeTable::new(&config.rope, config.head_size);
        Ok(Self { config, rope, embedding, stages, norm, head })
    }

    /// The description of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The stages, in the order of their layers.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// How many steps can be computed at the same time: the devices that the stages are on. Logical CPU devices share
    /// one CPU.
    pub fn devices(&self) -> usize {
        let is_first = |i: &usize| {
            let device = &self.stages[*i].target.device;
            !self.stages[..*i].iter().any(|stage| stage.target.device.same_device(device))
        };
        (0..self.stages.len()).filter(is_first).count()
    }

    /// An empty cache for up to `positions`, at most the context, in batches of up to `chunk` tokens; each layer's is on its
    /// device, in `dtype`.
    pub fn cache(&self, dtype: CacheType, chunk: usize, positions: usize) -> Cache {
        let stages = self.stages.iter().map(|s| (s.layers(), s.target.device.clone()));
        Cache::new(&self.config, stages, dtype, chunk, positions)
    }

    /// Rows of the embedding: `(T, C)`.
    ///
    /// # Errors
    /// An id is beyond the vocabulary, or errors of the device.
    pub(super) fn embed(&self, ids: &[u32]) -> Result<Rows> {
        ops::embed(ids, &self.embedding, &self.stages[0].target.device) // (T, C)
    }

    /// The angles of the tokens of `slices`, one after another: `(T, D/2)`, on the host.
    pub(super) fn angles(&self, slices: &[SequenceSlice]) -> Angles {
        let positions: SmallVec<[usize; 32]> =
            slices.iter().flat_map(|s| s.first..s.first + s.tokens).collect();
        self.rope.angles(&positions)
    }

    /// The logits that follow each row of `hidden (T, C)`: `(T, V)`, on the host.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn logits(&self, hidden: &Rows) -> Result<HostRows> {
        let normed = ops::rms_norm(hidden, &self.norm, self.config.norm_epsilon)?; // (T, C)
        ops::linear(&normed, &self.head)?.to_host() // (T, V)
    }
}
