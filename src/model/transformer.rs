//! The whole model, in stages: each stage is a run of layers on one device.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::block::{Block, vector};
use super::cache::Cache;
use super::rope::RopeTable;
use crate::checkpoint::{Config, LayerWeights, Weights};
use crate::kernels::{Weight, ops};

/// A run of layers on one device.
#[derive(Debug)]
pub struct Stage {
    /// The device.
    pub device: Device,
    /// The type of computation there: f32 on the CPU.
    dtype: DType,
    rope: RopeTable,
    blocks: Vec<Block>,
}

impl Stage {
    /// A stage without layers. `dtype` is the type of computation: of sums on an accelerator, and of dense weights.
    pub fn new(config: &Config, device: &Device, dtype: DType) -> Self {
        let rope = RopeTable::new(&config.rope, config.head_size, device);
        Self { device: device.clone(), dtype, rope, blocks: Vec::new() }
    }

    /// Puts the next layer's weights on the device.
    ///
    /// # Errors
    /// What candle reports.
    pub fn push(&mut self, config: &Config, weights: &LayerWeights) -> Result<()> {
        self.blocks.push(Block::load(config, weights, &self.device, self.dtype)?);
        Ok(())
    }

    /// `x` on this stage's device, in its type.
    fn take(&self, x: &Tensor) -> Result<Tensor> {
        let activations = if self.device.is_cpu() { DType::F32 } else { self.dtype };
        x.to_device(&self.device)?.to_dtype(activations) // (T, C)
    }
}

/// A model ready to run. The embedding lives with the first stage, the final norm and the head with the last.
#[derive(Debug)]
pub struct Transformer {
    config: Config,
    embedding: Weight, // (V, C)
    stages: Vec<Stage>,
    norm: Tensor, // (C)
    head: Weight, // (V, C)
}

impl Transformer {
    /// Puts the stages together with the tables around them.
    ///
    /// # Errors
    /// There is no stage, or what candle reports.
    pub fn new(config: Config, weights: &Weights, stages: Vec<Stage>) -> Result<Self> {
        let (Some(first), Some(last)) = (stages.first(), stages.last()) else {
            bail!("a model has at least one stage");
        };
        let embedding = Weight::load(&weights.embedding, &first.device, first.dtype)?;
        let norm = vector(&weights.norm, &last.device)?;
        // A tied head is the embedding itself, where one device holds both.
        let head = match config.tied_head && stages.len() == 1 {
            true => embedding.clone(),
            false => Weight::load(&weights.head, &last.device, last.dtype)?,
        };
        Ok(Self { config, embedding, stages, norm, head })
    }

    /// The description of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// An empty cache for calls of up to `chunk` tokens; each layer's ring is on its device, in `dtype`.
    pub fn cache(&self, dtype: DType, chunk: usize) -> Cache {
        let devices = self.stages.iter().flat_map(|s| s.blocks.iter().map(|_| s.device.clone()));
        Cache::new(&self.config, devices, dtype, chunk.max(1))
    }

    /// The residual stream after the last layer for the tokens `ids`, which follow those in the cache: `(T, C)`.
    ///
    /// # Errors
    /// There are no tokens, more than the cache's chunk, or beyond the context; an id is beyond the vocabulary;
    /// or what candle reports.
    pub fn hidden(&self, ids: &[u32], cache: &mut Cache) -> Result<Tensor> {
        if ids.is_empty() || ids.len() > cache.chunk() {
            bail!("a call brings 1 to {} tokens, this one {}", cache.chunk(), ids.len());
        }
        let (mut layers, first) = cache.parts();
        let (end, context) = (first + ids.len(), self.config.context_length);
        if end > context {
            bail!("position {} is beyond the context of {context}", end - 1);
        }
        let mut x = ops::embed(ids, &self.embedding, &self.stages[0].device)?; // (T, C)
        for stage in &self.stages {
            x = stage.take(&x)?; // (T, C)
            let angles = stage.rope.angles(first, ids.len())?; // (T, D/2)
            for block in &stage.blocks {
                let Some((layer, rest)) = layers.split_first_mut() else {
                    bail!("the cache is another model's: it has fewer layers");
                };
                x = block.forward(&x, first, &angles, layer)?; // (T, C)
                layers = rest;
            }
        }
        cache.advance(ids.len());
        Ok(x)
    }

    /// The logits that follow each row of `hidden (T, C)`: `(T, V)`, on the host in f32, row after row.
    ///
    /// # Errors
    /// What candle reports.
    pub fn logits(&self, hidden: &Tensor) -> Result<Vec<f32>> {
        let normed = ops::rms_norm(hidden, &self.norm, self.config.norm_epsilon)?; // (T, C)
        ops::to_host(&ops::linear(&normed, &self.head)?) // (T, V)
    }
}
