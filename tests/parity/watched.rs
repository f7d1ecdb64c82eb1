//! A prompt that somebody looks on at: how far it is, and what an interruption in the middle leaves.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use mist::generate::{Batch, Event, Finish, Sampler, Sampling, Session, Watch};
use mist::kernels::attention::CacheType;

use crate::fixture::{Fixture, greedy, greedy_afresh, load};

fn most_likely() -> Sampling {
    Sampling { temperature: 0.0, ..Sampling::default() }
}

/// Computes `prompt` until `stop` tokens of it are done, and gives what was reported.
fn interrupted(session: &mut Session, prompt: &[u32], stop: usize) -> Vec<(usize, usize)> {
    let (interrupt, told) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let progress = |done, all| {
        told.lock().unwrap().push((done, all));
        interrupt.fetch_or(done >= stop, Ordering::Relaxed);
    };
    let mut sampler = Sampler::new(most_likely(), 0).unwrap();
    let on_token = &mut |_| ControlFlow::Break(());
    let watch = Watch::new(&interrupt, &progress);
    let generation = session.generate(prompt, &mut sampler, &[], Some(9), watch, on_token).unwrap();
    assert_eq!(generation.finish == Finish::Interrupted, stop <= prompt.len());
    assert!(generation.ids.len() <= 1);
    told.into_inner().unwrap()
}

#[test]
fn a_prompt_is_reported_layer_by_layer() {
    for fixture in [Fixture::model("mixtral"), Fixture::model("mistral-window")] {
        let (model, prompt) = (fixture.load(), &fixture.reference.ids[..600]);
        let told = interrupted(&mut Session::new(&model, CacheType::F32, usize::MAX), prompt, usize::MAX);
        assert_eq!((told[0], told.last()), ((0, 600), Some(&(600, 600))));
        assert!(told.is_sorted() && told.iter().all(|(_, all)| *all == 600), "{told:?}");
        // Three chunks.
        assert_eq!(told.len(), 1 + 3 * model.config().layers, "{told:?}");
    }
}

/// Wherever it is ended, between the layers of any chunk: what stays of it serves the next prompt, and of a windowed
/// model's ring what was overwritten does not.
#[test]
fn a_prompt_that_was_interrupted_leaves_a_session_as_good_as_a_fresh_one() {
    for name in ["llama-gqa", "mistral-window", "mixtral-window"] {
        let fixture = Fixture::model(name);
        let (model, ids) = (fixture.load(), &fixture.reference.ids);
        let (first, second) = (&ids[..200], &ids[..650]);
        let expected = [greedy_afresh(&model, first, 9), greedy_afresh(&model, second, 9)];
        for stop in [0, 1, 100, 255, 256, 257, 400, 449, 450] {
            let what = format!("{} stopped at {stop}", fixture.name);
            let mut session = Session::new(&model, CacheType::F32, usize::MAX);
            assert_eq!(greedy(&mut session, first, 1).len(), 1);
            interrupted(&mut session, second, stop);
            assert_eq!(greedy(&mut session, first, 9), expected[0], "{what}");
            interrupted(&mut session, second, stop);
            assert_eq!(greedy(&mut session, second, 9), expected[1], "{what}");
        }
    }
}

#[test]
fn the_chunks_before_the_one_that_was_interrupted_stay() {
    let fixture = Fixture::model("mixtral");
    let (model, prompt) = (fixture.load(), &fixture.reference.ids[..650]);
    let mut session = Session::new(&model, CacheType::F32, usize::MAX);
    interrupted(&mut session, prompt, 300);
    let told = interrupted(&mut session, prompt, usize::MAX);
    assert_eq!(told.last(), Some(&(650 - 256, 650 - 256)), "{told:?}");
}

/// On one thread, and with a thread for each of two stages.
#[test]
fn texts_that_are_interrupted_in_the_middle_of_their_prompts_all_end() {
    let fixture = Fixture::model("mixtral");
    for (devices, steps) in [(1, 1), (2, 2)] {
        let model = load(&fixture.path, devices);
        let ids = &fixture.reference.ids;
        let prompts = [&ids[..600], &ids[..3], &ids[..400]];
        let batch = Batch {
            model: &model,
            cache_dtype: CacheType::F32,
            slots: usize::MAX,
            steps,
            end_ids: &[],
            most: 2,
            samples: 2,
            sampling: most_likely(),
            seed: 0,
        };
        for stop in [0, 500, usize::MAX] {
            let (interrupt, told) = (AtomicBool::new(false), Mutex::new(Vec::new()));
            let progress = |done, all| {
                told.lock().unwrap().push((done, all));
                interrupt.fetch_or(done >= stop, Ordering::Relaxed);
            };
            let mut ended = Vec::new();
            let on_event = &mut |number, event| {
                if let Event::End(generation) = event {
                    ended.push((number, generation.finish));
                }
                ControlFlow::Continue(())
            };
            batch.run(&prompts, Watch::new(&interrupt, &progress), on_event).unwrap();
            let told = told.into_inner().unwrap();
            assert!(told.iter().all(|(done, all)| *all == 2006 && done <= all), "{told:?}");
            let interrupted = ended.iter().filter(|(_, finish)| *finish == Finish::Interrupted).count();
            match stop {
                // None has begun.
                0 => assert_eq!(ended, []),
                500 => assert!(interrupted > 0 && ended.len() == 6, "{ended:?}"),
                _ => {
                    assert_eq!((ended.len(), interrupted), (6, 0), "{ended:?}");
                    assert!(told.contains(&(2006, 2006)), "{told:?}");
                }
            }
        }
    }
}
