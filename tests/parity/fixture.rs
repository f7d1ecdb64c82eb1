//! The fixtures with their references, and the few calls that every comparison makes.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::DType;
use mist::checkpoint::open::Checkpoint;
use mist::generate::{Engine, Limits, Request, Sampler, Sampling, sequence_slots};
use mist::kernels::attention::CacheType;
use mist::model::Transformer;
use mist::placement::{self, DeviceName, MemoryRequirement, Place, PlacementPlan};
use mist::quant::ActivationBits;
use mist::tensor::Arithmetic;
use mist::text::Tokenizer;
use serde::Deserialize;

use crate::support;

pub const MODELS: [&str; 9] = [
    "llama-gqa",
    "llama-old-config",
    "llama-tied",
    "llama-rope-llama3",
    "llama-rope-linear",
    "mistral-window",
    "mistral-head-dim",
    "mixtral",
    "mixtral-window",
];

pub const GGUFS: [&str; 6] =
    ["llama-gqa", "mistral-window", "mixtral", "llama-gqa-quants", "mixtral-quants", "llama-k-quants"];

/// The same weights in other layouts: where they are, and the reference of those whose weights they are.
const LAYOUTS: [(&str, &str); 10] = [
    ("layouts/torch", "models/llama-tied/reference.json"),
    ("layouts/mistral", "models/mistral-head-dim/reference.json"),
    ("layouts/mistral-pth", "models/mistral-head-dim/reference.json"),
    ("layouts/mistral-shards", "models/mistral-head-dim/reference.json"),
    ("layouts/mistral-experts", "models/mixtral-window/reference.json"),
    ("layouts/litgpt", "models/mistral-window/reference.json"),
    ("layouts/litgpt-old", "models/llama-old-config/reference.json"),
    ("layouts/litgpt-experts-old", "models/mixtral-window/reference.json"),
    ("gguf/mixtral-per-expert.gguf", "models/mixtral-window/reference.json"),
    ("gguf/split/llama-gqa-quants-00001-of-00003.gguf", "gguf/llama-gqa-quants.reference.json"),
];

/// What transformers computed.
#[derive(Deserialize)]
pub struct Reference {
    pub text: String,
    pub ids: Vec<u32>,
    pub logits: Rows,
    pub nll_mean: f64,
    pub greedy: Greedy,
}

/// Rows of logits: row i is the prediction after `ids[positions[i]]`.
#[derive(Deserialize)]
pub struct Rows {
    pub positions: Vec<usize>,
    pub values: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
pub struct Greedy {
    pub prompt: String,
    pub prompt_ids: Vec<u32>,
    pub output_ids: Vec<u32>,
}

/// A checkpoint with its reference.
pub struct Fixture {
    /// What a failure names.
    pub name: String,
    pub path: PathBuf,
    pub reference: Reference,
}

impl Fixture {
    pub fn model(name: &str) -> Self {
        let path = support::model(name);
        let reference = read(&path.join("reference.json"));
        Self { name: format!("models/{name}"), path, reference }
    }

    pub fn gguf(name: &str) -> Self {
        let path = support::gguf(name);
        let reference = read(&path.with_extension("reference.json"));
        Self { name: format!("gguf/{name}"), path, reference }
    }

    fn layout(name: &str, reference: &str) -> Self {
        let (path, reference) = (support::fixtures().join(name), read(&support::fixtures().join(reference)));
        Self { name: name.into(), path, reference }
    }

    pub fn all() -> impl Iterator<Item = Self> {
        let models = MODELS.iter().map(|name| Self::model(name));
        let layouts = LAYOUTS.iter().map(|(name, reference)| Self::layout(name, reference));
        models.chain(GGUFS.iter().map(|name| Self::gguf(name))).chain(layouts)
    }

    pub fn load(&self) -> Arc<Transformer> {
        load(&self.path, 1)
    }
}

fn read(path: &Path) -> Reference {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path).unwrap_or_else(|e| panic!("{e}"))
}

pub fn tokenizer(checkpoint: &Checkpoint) -> Tokenizer {
    match &checkpoint.gguf {
        Some(gguf) => Tokenizer::from_vocabulary(gguf.vocabulary().unwrap()).unwrap(),
        None => Tokenizer::from_folder(&checkpoint.folder).unwrap(),
    }
}

/// The model at `path` over so many logical CPU devices.
pub fn load(path: &Path, devices: usize) -> Arc<Transformer> {
    let checkpoint = open(path);
    load_in(&checkpoint, devices, F32)
}

/// Activations are not rounded.
pub const F32: Arithmetic = Arithmetic { dtype: Some(DType::F32), activations: ActivationBits::Sixteen };

/// Activations are rounded to so many bits for products with blocks.
pub const fn rounded(activations: ActivationBits) -> Arithmetic {
    Arithmetic { dtype: None, activations }
}

/// The same, computed in `arithmetic`.
pub fn load_in(checkpoint: &Checkpoint, devices: usize, arithmetic: Arithmetic) -> Arc<Transformer> {
    let dtype = arithmetic.dtype;
    let places = Place::all(&vec![DeviceName::Cpu; devices], None).unwrap();
    let requirement = MemoryRequirement::new(checkpoint, dtype, CacheType::F32, 0);
    let plan = PlacementPlan::fit(&requirement, &places).unwrap();
    Arc::new(placement::load(checkpoint, &plan, &requirement, arithmetic, &mut |_, _| ()).unwrap())
}

/// The logits after every one of `ids`, computed `chunk` tokens at a time: row after row.
pub fn logits(model: &Transformer, ids: &[u32], chunk: usize) -> Vec<f32> {
    logits_with(model, ids, chunk, CacheType::F32)
}

/// The same with another cache.
pub fn logits_with(model: &Transformer, ids: &[u32], chunk: usize, cache: CacheType) -> Vec<f32> {
    let mut cache = model.cache(cache, chunk, usize::MAX);
    let mut rows = Vec::new();
    for ids in ids.chunks(chunk) {
        let hidden = model.hidden(ids, &mut cache).unwrap();
        rows.extend_from_slice(&model.logits(&hidden).unwrap());
    }
    rows
}

/// An engine with memory for so many sequences that fill the context, and so many batches in flight.
pub fn engine(model: &Arc<Transformer>, sequences: usize, batches: usize) -> Engine {
    let slots = sequences * sequence_slots(model.config(), usize::MAX);
    Engine::new(model.clone(), Limits { batches, ..Limits::new(model, CacheType::F32, slots) })
}

/// A request of the most likely tokens that follow `prompt`.
pub fn most_likely(prompt: &[u32], most: usize) -> Request {
    let sampler = Sampler::new(Sampling { temperature: 0.0, ..Sampling::default() }, 0).unwrap();
    Request { most: Some(most), ..Request::new(prompt.to_vec(), sampler) }
}

/// The most likely tokens that follow `prompt`, with what `engine` holds.
pub fn greedy(engine: &mut Engine, prompt: &[u32], most: usize) -> Vec<u32> {
    let id = engine.add(most_likely(prompt, most)).unwrap();
    engine.finish(id, &mut |_, _| ControlFlow::Continue(())).unwrap().generation.ids
}

/// The most likely tokens that follow `prompt` in an engine of their own.
pub fn greedy_afresh(model: &Arc<Transformer>, prompt: &[u32], most: usize) -> Vec<u32> {
    greedy(&mut engine(model, 1, model.devices()), prompt, most)
}

/// Fails, naming the first difference, if two lists of numbers differ in any bit.
#[track_caller]
pub fn assert_same_bits(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let differs = found.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits());
    if let Some(i) = differs {
        panic!("{what}: element {i} is {} and should be {}", found[i], expected[i]);
    }
}

/// The largest difference between two lists of numbers; infinite if one of them is not finite.
#[track_caller]
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |most, d| if d.is_nan() { f32::INFINITY } else { d.max(most) })
}
