//! Texts computed together: each is what it is alone.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use mist::checkpoint::open::Checkpoint;
use mist::generate::{Batch, Event, Finish, Generation, Sampling, batch_slots};
use mist::kernels::attention::CacheType;
use mist::model::Transformer;
use mist::quant::{ActivationBits, Scheme};
use mist::tensor::Arithmetic;

use crate::fixture::{greedy_afresh, load_in, open, rounded};
use crate::random::{Shape, convert_to, ids};

const MOST: usize = 9;

const DEFAULT: Arithmetic = rounded(ActivationBits::Sixteen);

/// Of a token, of more than a chunk, and between; more than are computed at once.
fn prompts() -> Vec<Vec<u32>> {
    let lengths = [1, 5, 300, 2, 40, 700, 12, 1, 256, 257, 3].into_iter().chain((0..30).map(|i| 3 + i % 7));
    lengths.zip(50..).map(|(length, seed)| ids(length, seed)).collect()
}

fn batch<'m>(model: &'m Transformer, end_ids: &'m [u32], slots: usize, steps: usize) -> Batch<'m> {
    let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
    let cache_dtype = CacheType::F32;
    Batch { model, cache_dtype, slots, steps, end_ids, most: MOST, samples: 1, sampling, seed: 0 }
}

/// What became of each text.
fn generate(
    model: &Transformer,
    prompts: &[Vec<u32>],
    end_ids: &[u32],
    (slots, steps): (usize, usize),
    on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
) -> BTreeMap<usize, Generation> {
    let mut ended = BTreeMap::new();
    let on_event = &mut |number, event| match event {
        Event::Token(id) => on_token(number, id),
        Event::End(generation) => {
            assert!(ended.insert(number, generation).is_none(), "text {number} ended twice");
            ControlFlow::Continue(())
        }
    };
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    batch(model, end_ids, slots, steps).run(&prompts, &AtomicBool::new(false), on_event).unwrap();
    ended
}

fn go_on(_: usize, _: u32) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[track_caller]
fn assert_each_is_what_it_is_alone(checkpoint: &Checkpoint, what: &str) {
    let prompts = prompts();
    let one = load_in(checkpoint, 1, DEFAULT);
    let alone: Vec<Vec<u32>> = prompts.iter().map(|prompt| greedy_afresh(&one, prompt, MOST)).collect();
    let context = batch_slots(one.config(), usize::MAX, usize::MAX);
    for (devices, steps, slots) in [
        (1, 1, 32 * context),
        (1, 1, 1),
        (1, 1, 2 * context),
        (3, 1, 8 * context),
        (3, 2, 4 * context),
        (5, 5, 32 * context),
    ] {
        let model = load_in(checkpoint, devices, DEFAULT);
        let ended = generate(&model, &prompts, &[], (slots, steps), &mut go_on);
        assert_eq!(ended.len(), prompts.len());
        for (number, generation) in ended {
            let what = format!("{what}: text {number} on {devices} devices, {steps} steps, {slots} slots");
            assert_eq!(generation.ids, alone[number], "{what}");
            assert_eq!(generation.finish, Finish::Length, "{what}");
            let timings = generation.timings;
            assert_eq!(
                (timings.prompt_tokens, timings.generated_tokens),
                (prompts[number].len(), MOST),
                "{what}"
            );
        }
    }
}

#[test]
fn of_a_mixture_and_of_a_window() {
    for shape in
        [Shape { layers: 5, experts: 4, window: None }, Shape { layers: 5, experts: 0, window: Some(20) }]
    {
        let folder = tempfile::tempdir().unwrap();
        shape.write(folder.path());
        let original = open(folder.path());
        let what = format!("{} experts", shape.experts);
        assert_each_is_what_it_is_alone(&original, &what);
        let folder = tempfile::tempdir().unwrap();
        let converted = convert_to(&original, folder.path(), Some(Scheme::Q4K));
        assert_each_is_what_it_is_alone(&converted, &format!("{what}, q4_k"));
    }
}

#[test]
fn end_tokens_stops_and_interruptions_end_one_text_each_or_all() {
    let folder = tempfile::tempdir().unwrap();
    Shape { layers: 2, experts: 0, window: None }.write(folder.path());
    let model = load_in(&open(folder.path()), 2, DEFAULT);
    let prompts = prompts();
    let alone: Vec<Vec<u32>> = prompts.iter().map(|prompt| greedy_afresh(&model, prompt, MOST)).collect();
    let room = (batch_slots(model.config(), usize::MAX, usize::MAX) * 32, 2);

    // An end token: where a text would have it, it ends before it.
    let end = alone[4][3];
    for (number, generation) in generate(&model, &prompts, &[end], room, &mut go_on) {
        let until = alone[number].iter().position(|id| *id == end);
        assert_eq!(generation.ids, alone[number][..until.unwrap_or(MOST)]);
        assert_eq!(generation.finish == Finish::Stop, until.is_some());
    }

    // The caller stops one text after its second token.
    let mut seen = 0;
    let ended = generate(&model, &prompts, &[], room, &mut |number, _| {
        seen += usize::from(number == 6);
        if number == 6 && seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    for (number, generation) in ended {
        let length = if number == 6 { 2 } else { MOST };
        assert_eq!(generation.ids, alone[number][..length]);
    }

    // An interruption: those at work end as they are.
    let interrupt = AtomicBool::new(false);
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let mut finishes = Vec::new();
    let on_event = &mut |number: usize, event| {
        match event {
            Event::Token(_) => interrupt.store(true, Ordering::Relaxed),
            Event::End(generation) => {
                assert_eq!(generation.ids, alone[number][..generation.ids.len()]);
                finishes.push(generation.finish);
            }
        }
        ControlFlow::Continue(())
    };
    batch(&model, &[], room.0, 2).run(&prompts, &interrupt, on_event).unwrap();
    assert!(!finishes.is_empty() && finishes.iter().all(|finish| *finish == Finish::Interrupted));
}

#[test]
fn a_batch_with_a_prompt_that_cannot_be_is_refused_before_anything_is_computed() {
    let folder = tempfile::tempdir().unwrap();
    Shape { layers: 1, experts: 0, window: None }.write(folder.path());
    let model = load_in(&open(folder.path()), 1, DEFAULT);
    for (wrong, why) in [(vec![], "the prompt is empty"), (ids(1024, 1), "there is no room for a reply")] {
        let first = ids(3, 1);
        let prompts = [first.as_slice(), wrong.as_slice()];
        let on_event = &mut |_, event| panic!("{event:?}");
        let error = batch(&model, &[], 9999, 1)
            .run(&prompts, &AtomicBool::new(false), on_event)
            .unwrap_err()
            .to_string();
        assert!(error.contains(why), "{error}");
    }
}
