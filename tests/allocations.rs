//! A token takes no memory that the tokens before it have not taken: with the allocator of this program, which counts.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::DType;
use mist::checkpoint::open::Checkpoint;
use mist::generate::{Engine, Event, Limits, NextToken, Request, Sampler, Sampling, TextStream};
use mist::kernels::attention::CacheType;
use mist::model::Transformer;
use mist::placement::{self, DeviceName, MemoryRequirement, Place, PlacementPlan};
use mist::tensor::Arithmetic;
use mist::text::Tokenizer;

#[path = "support/mod.rs"]
mod support;

/// The system's allocator, with a count of the times it was asked for memory, by whatever thread.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it is.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: by the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: by the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: by the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Neither a list of ids, which doubles, nor a cache, which begins with 256 positions, grows while tokens are counted.
const PROMPT: usize = 129;
const TOKENS: usize = 120;

/// Tokens whose memory is what those after them use again.
const FIRST: usize = 8;

fn load(path: &Path, dtype: Option<DType>, devices: usize) -> (Arc<Transformer>, Tokenizer) {
    let checkpoint = Checkpoint::open(path).unwrap();
    let devices = devices.min(checkpoint.config.layers);
    let places = Place::all(&vec![DeviceName::Cpu; devices], None).unwrap();
    let requirement = MemoryRequirement::new(&checkpoint, dtype, CacheType::F32, 0);
    let plan = PlacementPlan::fit(&requirement, &places).unwrap();
    let arithmetic = Arithmetic { dtype, activations: checkpoint.config.activation_bits() };
    let tokenizer = match &checkpoint.gguf {
        Some(gguf) => Tokenizer::from_vocabulary(gguf.vocabulary().unwrap()).unwrap(),
        None => Tokenizer::from_folder(&checkpoint.folder).unwrap(),
    };
    let model = placement::load(&checkpoint, &plan, &requirement, arithmetic, &mut |_, _| ()).unwrap();
    (Arc::new(model), tokenizer)
}

fn prompt(seed: u32) -> Vec<u32> {
    (0..PROMPT as u32).map(|i| (i * 7919 + seed * 31) % 300).collect()
}

/// Everything that a sampler can be asked for.
fn sampling() -> Sampling {
    Sampling { temperature: 0.9, top_k: 40, top_p: 0.95, min_p: 0.01, repeat_penalty: 1.1 }
}

fn engine(model: &Arc<Transformer>, cache: CacheType) -> Engine {
    let slots = 5 * (PROMPT + TOKENS);
    Engine::new(model.clone(), Limits { batches: 1, ..Limits::new(model, cache, slots) })
}

fn request(tokenizer: &Tokenizer, seed: u32) -> Request {
    Request {
        prompt: prompt(seed),
        next: NextToken::Sampled(Box::new(Sampler::new(sampling(), 1 + u64::from(seed)).unwrap())),
        most: Some(TOKENS),
        end_ids: Vec::new(),
        text: Some(TextStream::new(tokenizer.detokenizer(), &["a text that does not come".into()])),
        scores: false,
        reuse: usize::MAX,
    }
}

/// How often a token of a sequence alone asked for memory, from the ninth on, and before the last, with which it ends.
fn of_one(model: &Arc<Transformer>, tokenizer: &Tokenizer, cache: CacheType) -> Vec<usize> {
    let mut engine = engine(model, cache);
    let mut counts = Vec::with_capacity(TOKENS + 1);
    let id = engine.add(request(tokenizer, 0)).unwrap();
    let on_token = &mut |_, _: &str| {
        counts.push(COUNT.load(Ordering::Relaxed));
        ControlFlow::Continue(())
    };
    engine.finish(id, on_token).unwrap();
    counts[FIRST..TOKENS - 1].windows(2).map(|two| two[1] - two[0]).collect()
}

/// How often a step of 5 sequences together asked for memory, from the ninth on, and before they end.
fn of_several(model: &Arc<Transformer>, tokenizer: &Tokenizer) -> Vec<usize> {
    let mut engine = engine(model, CacheType::F16);
    for seed in 0..5 {
        engine.add(request(tokenizer, seed)).unwrap();
    }
    let mut counts = Vec::with_capacity(TOKENS + 9);
    while !engine.is_idle() {
        let tokens = engine.step().unwrap().filter(|(_, event)| matches!(event, Event::Token { .. })).count();
        assert!(tokens == 5 || !(FIRST..TOKENS - 4).contains(&counts.len()));
        counts.push(COUNT.load(Ordering::Relaxed));
    }
    counts[FIRST..TOKENS - 4].windows(2).map(|two| two[1] - two[0]).collect()
}

/// Fails unless one of some runs asks for no memory: what a thread keeps it takes when it computes such a task for the first
/// time, and which thread computes which is left to chance.
fn assert_none_at_last(what: &str, run: impl Fn() -> Vec<usize>) {
    let mut counts = run();
    for _ in 0..20 {
        if counts.iter().all(|count| *count == 0) {
            return;
        }
        counts = run();
    }
    panic!("{what}: {counts:?}");
}

/// One test, so that no other one allocates beside it.
#[test]
fn a_token_takes_no_memory_that_those_before_it_have_not_taken() {
    let kept = [CacheType::F32, CacheType::F16, CacheType::Bf16, CacheType::Q8_0];
    let checkpoints = [
        support::model("llama-gqa"),
        support::model("mistral-window"),
        support::model("mixtral"),
        support::gguf("llama-k-quants"),
        support::gguf("llama-gqa-quants"),
        support::gguf("mixtral-quants"),
    ];
    for path in checkpoints {
        for dtype in [None, Some(DType::F32)] {
            for devices in [1, 2] {
                let what = format!("{}, {dtype:?}, {devices} devices", path.display());
                let (model, tokenizer) = load(&path, dtype, devices);
                for cache in kept {
                    let run = || of_one(&model, &tokenizer, cache);
                    assert_none_at_last(&format!("{what}, cache in {cache}"), run);
                }
                assert_none_at_last(&format!("{what}, sequences together"), || {
                    of_several(&model, &tokenizer)
                });
            }
        }
    }
}
