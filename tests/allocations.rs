//! A token takes no memory that the tokens before it have not taken: with the allocator of this program, which counts.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use candle_core::DType;
use mist::checkpoint::open::Checkpoint;
use mist::generate::{Batch, Event, Sampler, Sampling, Session, TextStream};
use mist::kernels::attention::CacheType;
use mist::model::Transformer;
use mist::placement::{self, DeviceName, Needs, Place, Plan};
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

fn load(path: &Path, dtype: Option<DType>, devices: usize) -> (Transformer, Tokenizer) {
    let checkpoint = Checkpoint::open(path).unwrap();
    let devices = devices.min(checkpoint.config.layers);
    let places = Place::all(&vec![DeviceName::Cpu; devices], None).unwrap();
    let needs = Needs::new(&checkpoint, dtype, CacheType::F32, 0);
    let plan = Plan::fit(&needs, &places).unwrap();
    let arithmetic = Arithmetic { dtype, activations: checkpoint.config.activation_bits() };
    let tokenizer = match &checkpoint.gguf {
        Some(gguf) => Tokenizer::from_vocabulary(gguf.vocabulary().unwrap()).unwrap(),
        None => Tokenizer::from_folder(&checkpoint.folder).unwrap(),
    };
    (placement::load(&checkpoint, &plan, &needs, arithmetic, &mut |_, _| ()).unwrap(), tokenizer)
}

fn prompt(seed: u32) -> Vec<u32> {
    (0..PROMPT as u32).map(|i| (i * 7919 + seed * 31) % 300).collect()
}

/// Everything that a sampler can be asked for.
fn sampling() -> Sampling {
    Sampling { temperature: 0.9, top_k: 40, top_p: 0.95, min_p: 0.01, repeat_penalty: 1.1 }
}

/// How often a token of a session asked for memory, from the ninth on.
fn of_a_session(model: &Transformer, tokenizer: &Tokenizer, cache: CacheType) -> Vec<usize> {
    let mut session = Session::new(model, cache, usize::MAX);
    let mut sampler = Sampler::new(sampling(), 1).unwrap();
    let mut stream = TextStream::new(tokenizer.detokenizer(), &["a text that does not come".into()]);
    let mut counts = Vec::with_capacity(TOKENS + 1);
    let never = AtomicBool::new(false);
    let on_token = &mut |id| {
        stream.push(id);
        counts.push(COUNT.load(Ordering::Relaxed));
        ControlFlow::Continue(())
    };
    session.generate(&prompt(0), &mut sampler, &[], Some(TOKENS), &never, on_token).unwrap();
    counts[FIRST..].windows(2).map(|two| two[1] - two[0]).collect()
}

/// How often a step of 5 texts generated together asked for memory, from the ninth on, and before texts end.
fn of_a_batch(model: &Transformer) -> Vec<usize> {
    let prompts: Vec<_> = (0..5).map(prompt).collect();
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let batch = Batch {
        model,
        cache_dtype: CacheType::F16,
        slots: usize::MAX,
        steps: 1,
        end_ids: &[],
        most: TOKENS,
        samples: 1,
        sampling: sampling(),
        seed: 1,
    };
    let mut counts = Vec::with_capacity(TOKENS + 1);
    let on_event = &mut |text, event| {
        if let (4, Event::Token(_)) = (text, event) {
            counts.push(COUNT.load(Ordering::Relaxed));
        }
        ControlFlow::Continue(())
    };
    batch.run(&prompts, &AtomicBool::new(false), on_event).unwrap();
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
                    let run = || of_a_session(&model, &tokenizer, cache);
                    assert_none_at_last(&format!("{what}, cache in {cache}"), run);
                }
                assert_none_at_last(&format!("{what}, texts together"), || of_a_batch(&model));
            }
        }
    }
}
