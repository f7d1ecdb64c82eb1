//! A prompt that somebody looks on at: how far it is, and what an interruption in the middle leaves.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mist::generate::{Engine, Event, Finish, Watch};

use crate::fixture::{Fixture, engine, greedy, greedy_afresh, load, most_likely};

/// Interrupts once `stop` tokens are done; what was reported.
fn watch(engine: &mut Engine, stop: usize) -> Arc<Mutex<Vec<(usize, usize)>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (interrupt, list) = (Arc::new(AtomicBool::new(false)), told.clone());
    let flag = interrupt.clone();
    let progress = move |done, all| {
        list.lock().unwrap().push((done, all));
        interrupt.fetch_or(done >= stop, Ordering::Relaxed);
    };
    engine.watch(Watch::new(move || flag.load(Ordering::Relaxed), progress));
    told
}

/// Computes `prompt` until `stop` tokens of it are done, and gives what was reported.
fn interrupted(engine: &mut Engine, prompt: &[u32], stop: usize) -> Vec<(usize, usize)> {
    let told = watch(engine, stop);
    let id = engine.add(most_likely(prompt, 9)).unwrap();
    let on_token = &mut |_, _: &str| ControlFlow::Break(());
    let generation = engine.finish(id, on_token).unwrap().generation;
    engine.watch(Watch::default());
    let told = told.lock().unwrap().clone();
    // Less is computed than is asked to be interrupted where more of it is held.
    let is_stopped = told.iter().any(|(done, _)| *done >= stop);
    assert_eq!(generation.ids.len(), usize::from(!is_stopped));
    assert_eq!(generation.finish, Finish::Interrupted);
    told
}

#[test]
fn a_prompt_is_reported_layer_by_layer() {
    for fixture in [Fixture::model("mixtral"), Fixture::model("mistral-window")] {
        let (model, prompt) = (fixture.load(), &fixture.reference.ids[..600]);
        let told = interrupted(&mut engine(&model, 1, 1), prompt, usize::MAX);
        assert_eq!((told[0], told.last()), ((0, 600), Some(&(600, 600))));
        assert!(told.is_sorted() && told.iter().all(|(_, all)| *all == 600), "{told:?}");
        // Three chunks.
        assert_eq!(told.len(), 1 + 3 * model.config().layers, "{told:?}");
    }
}

/// Wherever it is ended, between the layers of any chunk: what stays of it serves the next prompt, and of a windowed
/// model's ring what was overwritten does not.
#[test]
fn a_prompt_that_was_interrupted_leaves_an_engine_as_good_as_a_fresh_one() {
    for name in ["llama-gqa", "mistral-window", "mixtral-window"] {
        let fixture = Fixture::model(name);
        let (model, ids) = (fixture.load(), &fixture.reference.ids);
        let (first, second) = (&ids[..200], &ids[..650]);
        let expected = [greedy_afresh(&model, first, 9), greedy_afresh(&model, second, 9)];
        for stop in [0, 1, 100, 255, 256, 257, 400, 449, 450] {
            let what = format!("{} stopped at {stop}", fixture.name);
            let mut engine = engine(&model, 1, 1);
            assert_eq!(greedy(&mut engine, first, 1).len(), 1);
            interrupted(&mut engine, second, stop);
            assert_eq!(greedy(&mut engine, first, 9), expected[0], "{what}");
            interrupted(&mut engine, second, stop);
            assert_eq!(greedy(&mut engine, second, 9), expected[1], "{what}");
        }
    }
}

#[test]
fn the_chunks_before_the_one_that_was_interrupted_stay() {
    let fixture = Fixture::model("mixtral");
    let (model, prompt) = (fixture.load(), &fixture.reference.ids[..650]);
    let mut engine = engine(&model, 1, 1);
    interrupted(&mut engine, prompt, 300);
    let told = interrupted(&mut engine, prompt, usize::MAX);
    assert_eq!(told.last(), Some(&(650 - 256, 650 - 256)), "{told:?}");
}

/// On one thread, and with a thread for each of two stages: an interruption ends the batches at work, all sequences stay as
/// they were before them, and all go on to the texts that they have alone.
#[test]
fn sequences_that_are_interrupted_in_the_middle_of_their_prompts_go_on() {
    let fixture = Fixture::model("mixtral");
    for (devices, batches) in [(1, 1), (2, 2)] {
        let model = load(&fixture.path, devices);
        let ids = &fixture.reference.ids;
        let prompts = [&ids[..600], &ids[..3], &ids[100..500]];
        for stop in [0, 1, 300, 500, 900, usize::MAX] {
            let mut engine = engine(&model, 3, batches);
            let told = watch(&mut engine, stop);
            let added = prompts.map(|prompt| engine.add(most_likely(prompt, 5)).unwrap());
            let mut ended = vec![None; prompts.len()];
            let mut interruptions = 0;
            while !engine.is_idle() {
                for (id, event) in engine.step().unwrap() {
                    if let Event::End(end) = event {
                        let at = added.iter().position(|added| *added == id).unwrap();
                        ended[at] = Some(end.unwrap().generation.ids);
                    }
                }
                if engine.is_interrupted() {
                    interruptions += 1;
                    assert_eq!(engine.step().unwrap().count(), 0);
                    engine.watch(Watch::default());
                }
            }
            assert_eq!(interruptions, usize::from(stop <= 1003));
            let told = told.lock().unwrap();
            assert!(told.iter().all(|(done, all)| *all <= 1003 && done <= all), "{told:?}");
            for (prompt, ids) in prompts.iter().zip(ended) {
                assert_eq!(ids.unwrap(), greedy_afresh(&model, prompt, 5), "stopped at {stop}");
            }
        }
    }
}
