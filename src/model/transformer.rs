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
    /// Whether the weights may not be in memory when they are needed.
    reads_ahead: bool,
    /// How the residual stream is copied to this stage's device.
    link: Link,
}

impl Stage {
    /// Creates a stage without layers, whose weights go to `target`.
    pub fn new(target: Target) -> Self {
        Self { target, blocks: Vec::new(), reads_ahead: false, link: Link::Direct }
    }

    /// Sets whether to hint to the system which experts are needed next, for weights that do not all fit into memory.
    pub fn reading_ahead(self, reads_ahead: bool) -> Self {
        Self { reads_ahead, ..self }
    }

    /// Loads the next layer's weights to the device.
    ///
    /// # Errors
    /// The device has too little memory, or reports another error.
    pub fn push(&mut self, config: &Config, weights: &LayerWeights) -> Result<()> {
        let mut block = Block::load(config, weights, &self.target)?;
        if self.reads_ahead {
            block.read_ahead();
        }
        self.blocks.push(block);
        Ok(())
    }

    /// Returns the number of layers.
    pub fn layers(&self) -> usize {
        self.blocks.len()
    }

    /// Passes `x (T, C)`, whose rows are the slices of a batch, through the stage's layers; returns `(T, C)`. `angles`
    /// is on the host. `on_layer` is called after each layer, and breaks to end the batch.
    ///
    /// # Errors
    /// A cache belongs to another model or has too few positions; `on_layer` breaks.
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

/// A model that is ready to run. The embedding is on the device of the first stage, the final norm and the head on that
/// of the last.
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
    /// Assembles the stages, the embedding, the final norm and the head, and chooses the links between the stages.
    ///
    /// # Errors
    /// There is no stage; a device error.
    pub fn new(config: Config, weights: &Weights, mut stages: Vec<Stage>) -> Result<Self> {
        for i in 1..stages.len() {
            stages[i].link = Link::between(&stages[i - 1].target.device, &stages[i].target.device);
        }
        let (Some(first), Some(last)) = (stages.first(), stages.last()) else {
            bail!("a model has at least one stage");
        };
        // The embedding is packed into panels only if it is the head as well; otherwise only single rows of it are
        // read.
        let is_head = config.tied_head && stages.len() == 1;
        let target = Target { packs: first.target.packs && is_head, ..first.target.clone() };
        let embedding = Weight::load(&weights.embedding, &target)?;
        let norm = Vector::load(&weights.norm, &last.target)?;
        // A tied head shares the embedding if one device holds both.
        let head = match is_head {
            true => embedding.clone(),
            false => Weight::load(&weights.head, &last.target)?,
        };
        let rope = RopeTable::new(&config.rope, config.head_size);
        Ok(Self { config, rope, embedding, stages, norm, head })
    }

    /// Returns the description of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the stages, in the order of their layers.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Returns how many batches can be computed at the same time: the number of devices. Logical CPU devices count as
    /// one.
    pub fn devices(&self) -> usize {
        let is_first = |i: &usize| {
            let device = &self.stages[*i].target.device;
            !self.stages[..*i].iter().any(|stage| stage.target.device.same_device(device))
        };
        (0..self.stages.len()).filter(is_first).count()
    }

    /// Creates an empty cache for up to `positions`, limited to the context, for batches with up to `chunk` tokens of the
    /// sequence. Each layer's cache is on the layer's device, in `dtype`.
    pub fn cache(&self, dtype: CacheType, chunk: usize, positions: usize) -> Cache {
        let stages = self.stages.iter().map(|s| (s.layers(), s.target.device.clone()));
        Cache::new(&self.config, stages, dtype, chunk, positions)
    }

    /// Looks up embedding rows: `(T, C)`.
    ///
    /// # Errors
    /// An id is beyond the vocabulary; a device error.
    pub(super) fn embed(&self, ids: &[u32]) -> Result<Rows> {
        ops::embed(ids, &self.embedding, &self.stages[0].target.device) // (T, C)
    }

    /// Computes the angles of the tokens of all slices, in order: `(T, D/2)`, on the host.
    pub(super) fn angles(&self, slices: &[SequenceSlice]) -> Angles {
        let positions: SmallVec<[usize; 32]> =
            slices.iter().flat_map(|s| s.first..s.first + s.tokens).collect();
        self.rope.angles(&positions)
    }

    /// Computes the logits after each row of `hidden (T, C)`: `(T, V)`, on the host.
    ///
    /// # Errors
    /// The device has too little memory, or reports another error.
    pub fn logits(&self, hidden: &Rows) -> Result<HostRows> {
        let normed = ops::rms_norm(hidden, &self.norm, self.config.norm_epsilon)?; // (T, C)
        ops::linear(&normed, &self.head)?.to_host() // (T, V)
    }
}
