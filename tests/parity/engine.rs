//! Sequences computed together: each is what it is alone, whenever it comes and goes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use mist::checkpoint::open::Checkpoint;
use mist::generate::{
    Engine, Event, Finish, Generation, Id, Limits, NextToken, Request, TextStream, sequence_slots,
};
use mist::kernels::attention::CacheType;
use mist::model::{CHUNK, Transformer};
use mist::quant::{ActivationBits, Scheme};
use mist::tensor::Arithmetic;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fixture::{
    Fixture, engine, greedy, greedy_afresh, load_in, most_likely, open, rounded, tokenizer,
};
use crate::random::{Shape, convert_to, ids};

const MOST: usize = 9;

const DEFAULT: Arithmetic = rounded(ActivationBits::Sixteen);

/// Of a token, of more than a chunk, and between; more than are computed at once.
fn prompts() -> Vec<Vec<u32>> {
    let lengths = [1, 5, 300, 2, 40, 700, 12, 1, 256, 257, 3].into_iter().chain((0..30).map(|i| 3 + i % 7));
    lengths.zip(50..).map(|(length, seed)| ids(length, seed)).collect()
}

fn with_slots(model: &Arc<Transformer>, batches: usize, slots: usize) -> Engine {
    Engine::new(model.clone(), Limits { batches, ..Limits::new(model, CacheType::F32, slots) })
}

/// What became of each sequence.
fn ended(engine: &mut Engine) -> BTreeMap<Id, Generation> {
    let mut all = BTreeMap::new();
    while !engine.is_idle() {
        for (id, event) in engine.step().unwrap() {
            if let Event::End(ended) = event {
                let generation = ended.unwrap().generation;
                assert!(all.insert(id, generation).is_none(), "{id:?} ended twice");
            }
        }
    }
    all
}

fn add(engine: &mut Engine, prompts: &[Vec<u32>], end_ids: &[u32]) -> Vec<Id> {
    let request = |prompt: &Vec<u32>| Request { end_ids: end_ids.to_vec(), ..most_likely(prompt, MOST) };
    prompts.iter().map(|prompt| engine.add(request(prompt)).unwrap()).collect()
}

#[track_caller]
fn assert_each_is_what_it_is_alone(checkpoint: &Checkpoint, what: &str) {
    let prompts = prompts();
    let one = load_in(checkpoint, 1, DEFAULT);
    let alone: Vec<Vec<u32>> = prompts.iter().map(|prompt| greedy_afresh(&one, prompt, MOST)).collect();
    let context = sequence_slots(one.config(), usize::MAX);
    for (devices, batches, slots) in [
        (1, 1, 32 * context),
        (1, 1, context),
        (1, 1, 2 * context),
        (3, 1, 8 * context),
        (3, 2, 4 * context),
        (5, 5, 32 * context),
    ] {
        let model = load_in(checkpoint, devices, DEFAULT);
        let mut engine = with_slots(&model, batches, slots);
        let added = add(&mut engine, &prompts, &[]);
        let ended = ended(&mut engine);
        assert_eq!(ended.len(), prompts.len());
        for (id, generation) in ended {
            let number = added.iter().position(|added| *added == id).unwrap();
            let what = format!("{what}: {number} on {devices} devices, {batches} batches, {slots} slots");
            assert_eq!(generation.ids, alone[number], "{what}");
            assert_eq!(generation.finish, Finish::Length, "{what}");
            let timings = generation.timings;
            let prompt = timings.prompt_tokens + timings.cached_tokens;
            assert_eq!((prompt, timings.generated_tokens), (prompts[number].len(), MOST), "{what}");
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

/// Sequences come at random steps, some begin alike, and some are cancelled at random steps.
#[test]
fn sequences_that_come_and_go_at_random_are_what_they_are_alone() {
    for shape in
        [Shape { layers: 5, experts: 4, window: None }, Shape { layers: 5, experts: 0, window: Some(20) }]
    {
        let folder = tempfile::tempdir().unwrap();
        shape.write(folder.path());
        let checkpoint = open(folder.path());
        for devices in 1..=5 {
            let model = load_in(&checkpoint, devices, DEFAULT);
            come_and_go(&model, devices, devices as u64);
        }
    }
}

fn come_and_go(model: &Arc<Transformer>, batches: usize, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (long, context) = (ids(700, seed), sequence_slots(model.config(), usize::MAX));
    // 40 sequences: what each is asked, the step at which it comes, and for some how many steps later it goes.
    let mut plans: Vec<(Vec<u32>, usize, usize, Option<usize>)> = (0..40)
        .map(|i| {
            let (length, shared) =
                (rng.random_range(1..400), rng.random_range(0..2) * rng.random_range(0..300));
            let prompt = [&long[..shared], &ids(length, 1000 + i)].concat();
            let gone = rng.random_bool(0.3).then(|| rng.random_range(0..12));
            (prompt, rng.random_range(0..30), rng.random_range(0..60), gone)
        })
        .collect();
    plans.sort_by_key(|(_, _, step, _)| *step);
    let mut engine = with_slots(model, batches, 3 * context);
    let mut added: Vec<(Id, Vec<u32>, usize, Option<usize>)> = Vec::new();
    let mut results = BTreeMap::new();
    let (mut plans, mut cancelled) = (plans.into_iter().peekable(), 0);
    for step in 0.. {
        while let Some((prompt, most, _, gone)) = plans.next_if(|(_, _, at, _)| *at <= step) {
            let id = engine.add(most_likely(&prompt, most)).unwrap();
            added.push((id, prompt, most, gone.map(|after| step + after)));
        }
        for (id, event) in engine.step().unwrap() {
            if let Event::End(ended) = event {
                assert!(results.insert(id, ended.unwrap().generation).is_none());
            }
        }
        for (id, ..) in added.iter().filter(|(.., gone)| *gone == Some(step)) {
            if let Some(ended) = engine.cancel(*id) {
                assert_eq!(ended.generation.finish, Finish::Interrupted);
                assert!(engine.cancel(*id).is_none());
                assert!(results.insert(*id, ended.generation).is_none());
                cancelled += 1;
            }
        }
        if plans.peek().is_none() && engine.is_idle() {
            break;
        }
    }
    assert!(cancelled > 2, "{cancelled}");
    assert_eq!((added.len(), results.len()), (40, 40));
    let mut cached = 0;
    for (id, prompt, most, _) in added {
        let Generation { ids, finish, timings, .. } = &results[&id];
        let alone = greedy_afresh(model, &prompt, most);
        cached += timings.cached_tokens;
        match finish {
            Finish::Interrupted => assert_eq!(*ids, alone[..ids.len()]),
            _ => assert_eq!(*ids, alone, "a prompt of {}", prompt.len()),
        }
    }
    // A window of 20 has overwritten what most would begin with.
    assert!(cached > 100 || model.config().window.is_some(), "{cached}");
}

#[test]
fn end_tokens_stop_texts_and_cancelling_end_one_sequence_each() {
    let folder = tempfile::tempdir().unwrap();
    Shape { layers: 2, experts: 0, window: None }.write(folder.path());
    let model = load_in(&open(folder.path()), 2, DEFAULT);
    let prompts = prompts();
    let alone: Vec<Vec<u32>> = prompts.iter().map(|prompt| greedy_afresh(&model, prompt, MOST)).collect();

    // An end token: where a text would have it, it ends before it.
    let end = alone[4][3];
    let mut all = engine(&model, 32, 2);
    let added = add(&mut all, &prompts, &[end]);
    for (id, generation) in ended(&mut all) {
        let number = added.iter().position(|added| *added == id).unwrap();
        let until = alone[number].iter().position(|id| *id == end);
        assert_eq!(generation.ids, alone[number][..until.unwrap_or(MOST)]);
        assert_eq!(generation.finish == Finish::Stop, until.is_some());
    }

    // One is cancelled after its second token.
    let mut all = engine(&model, 32, 2);
    let added = add(&mut all, &prompts, &[]);
    let (mut tokens, mut others) = (0, 0);
    while !all.is_idle() {
        for (id, event) in all.step().unwrap() {
            let number = added.iter().position(|added| *added == id).unwrap();
            match event {
                Event::Token { .. } => tokens += usize::from(number == 6),
                Event::End(ended) => {
                    assert_eq!(ended.unwrap().generation.ids, alone[number]);
                    others += 1;
                }
                Event::Scores(_) => panic!("no scores were asked for"),
            }
        }
        if tokens == 2
            && let Some(ended) = all.cancel(added[6])
        {
            assert_eq!(ended.generation.ids, alone[6][..2]);
        }
    }
    assert_eq!((tokens, others), (2, prompts.len() - 1));
}

/// The stop text is found in the text, and the sequence ends with the token that completes it.
#[test]
fn a_stop_text_ends_its_sequence_and_is_no_part_of_its_text() {
    let fixture = Fixture::model("llama-gqa");
    let (model, tokenizer) = (fixture.load(), tokenizer(&open(&fixture.path)));
    let greedy = &fixture.reference.greedy;
    let whole = tokenizer.decode(&greedy.output_ids);
    let stop: String = whole.chars().skip(9).take(3).collect();
    let mut engine = engine(&model, 2, 1);
    let texts = [vec![], vec![stop.clone()]].map(|stops| {
        let text = Some(TextStream::new(tokenizer.detokenizer(), &stops));
        let id = engine.add(Request { text, ..most_likely(&greedy.prompt_ids, 64) }).unwrap();
        (id, String::new())
    });
    let mut texts = BTreeMap::from(texts);
    let mut ends = Vec::new();
    while !engine.is_idle() {
        for (id, event) in engine.step().unwrap() {
            let so_far = texts.get_mut(&id).unwrap();
            match event {
                Event::Token { text, .. } => so_far.push_str(text),
                Event::End(ended) => {
                    let ended = ended.unwrap();
                    so_far.push_str(&ended.rest);
                    ends.push((ended.generation.stop_text, ended.generation.finish));
                }
                Event::Scores(_) => panic!("no scores were asked for"),
            }
        }
    }
    let texts: Vec<String> = texts.into_values().collect();
    assert_eq!(texts[1], texts[0].split(&stop).next().unwrap());
    assert_eq!(ends, [(true, Finish::Stop), (false, Finish::Length)]);
}

#[test]
fn a_request_that_cannot_be_is_refused_before_anything_is_computed() {
    let folder = tempfile::tempdir().unwrap();
    Shape { layers: 1, experts: 0, window: None }.write(folder.path());
    let model = load_in(&open(folder.path()), 1, DEFAULT);
    let mut engine = with_slots(&model, 1, 500);
    for (wrong, why) in [
        (vec![], "the prompt is empty"),
        (ids(1024, 1), "there is no room for a reply"),
        (vec![1, 96], "token 96 is beyond the vocabulary of 96"),
        (ids(500, 1), "does not fit into the KV caches"),
    ] {
        let error = engine.add(most_likely(&wrong, MOST)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(engine.is_idle());
}

/// A model of which only the sequences' lengths matter.
fn small() -> Arc<Transformer> {
    let folder = tempfile::tempdir().unwrap();
    Shape { layers: 2, experts: 0, window: None }.write(folder.path());
    load_in(&open(folder.path()), 1, DEFAULT)
}

#[test]
fn what_a_prompt_shares_with_a_sequence_that_is_held_is_not_computed_again() {
    let model = small();
    let mut engine = engine(&model, 2, 1);
    let first = ids(300, 1);
    let mut computed = |prompt: &[u32]| {
        let id = engine.add(most_likely(prompt, MOST)).unwrap();
        let generation = engine.finish(id, &mut |_, _| ControlFlow::Continue(())).unwrap().generation;
        assert_eq!(generation.ids, greedy_afresh(&model, prompt, MOST));
        assert_eq!(generation.timings.prompt_tokens + generation.timings.cached_tokens, prompt.len());
        (generation.timings.prompt_tokens, generation.ids)
    };
    let (tokens, reply) = computed(&first);
    assert_eq!(tokens, 300);
    // The last token of the reply was not computed, and the last of a prompt is needed for its logits.
    let second = [&first[..], &reply, &ids(20, 2)].concat();
    assert_eq!(computed(&second).0, 1 + 20);
    assert_eq!(computed(&second).0, 1);
    assert_eq!(computed(&second[..100]).0, 1);
    // Another sequence takes the memory of none of them.
    assert_eq!(computed(&ids(50, 3)).0, 50);
    assert_eq!(computed(&second).0, 1);
}

#[test]
fn sequences_that_begin_alike_leave_each_other_what_they_hold() {
    let model = small();
    let mut engine = engine(&model, 4, 1);
    let system = ids(200, 1);
    let prompts: Vec<_> = (0..3).map(|i| [&system[..], &ids(60, 10 + i)].concat()).collect();
    let mut computed = |prompt: &[u32]| {
        let id = engine.add(most_likely(prompt, MOST)).unwrap();
        let generation = engine.finish(id, &mut |_, _| ControlFlow::Continue(())).unwrap().generation;
        assert_eq!(generation.ids, greedy_afresh(&model, prompt, MOST));
        generation.timings.prompt_tokens
    };
    assert_eq!(prompts.iter().map(|prompt| computed(prompt)).collect::<Vec<_>>(), [260, 60, 60]);
    assert_eq!(prompts.iter().map(|prompt| computed(prompt)).collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn memory_for_two_makes_the_others_wait_and_what_was_used_last_is_held_longest() {
    let model = small();
    let prompts: Vec<Vec<u32>> = (0..7).map(|i| ids(290, i)).collect();
    let each = sequence_slots(model.config(), 290 + MOST);
    let mut engine = with_slots(&model, 1, 2 * each);
    let added = add(&mut engine, &prompts, &[]);
    let mut ended = Vec::new();
    while !engine.is_idle() {
        for (id, event) in engine.step().unwrap() {
            if let Event::End(end) = event {
                let number = added.iter().position(|added| *added == id).unwrap();
                assert_eq!(end.unwrap().generation.ids, greedy_afresh(&model, &prompts[number], MOST));
                ended.push(number);
            }
        }
        let ((_, running), (taken, held)) = (engine.counts(), engine.slots());
        assert!(running <= 2 && taken + held <= 2 * each, "{running} {taken} {held}");
    }
    assert_eq!(ended, [0, 1, 2, 3, 4, 5, 6]);
    // The last two are held, those before them are not.
    let mut cached = |number: usize| {
        let id = engine.add(most_likely(&prompts[number], MOST)).unwrap();
        engine.finish(id, &mut |_, _| ControlFlow::Continue(())).unwrap().generation.timings.cached_tokens
    };
    assert!(cached(5) == 289 && cached(6) == 289);
    assert!(cached(0) < 20);
    // It took the place of 5, which was used before 6.
    assert!(cached(6) == 289 && cached(5) < 20);
}

#[test]
fn a_sequence_that_is_cancelled_gives_its_memory_to_those_that_wait() {
    let model = small();
    for batches in [1, 2] {
        let mut engine = with_slots(&model, batches, sequence_slots(model.config(), usize::MAX));
        let prompts: Vec<Vec<u32>> = (0..3).map(|i| ids(600, i)).collect();
        let added: Vec<Id> = prompts.iter().map(|p| engine.add(most_likely(p, 400)).unwrap()).collect();
        // In the middle of its prompt.
        engine.step().unwrap().for_each(drop);
        assert_eq!(engine.counts(), (2, 1));
        assert!(engine.cancel(added[0]).is_some());
        // While it waits.
        assert!(engine.cancel(added[1]).is_some());
        // Its memory is free when nothing of it is in flight any more.
        (0..batches).for_each(|_| engine.step().unwrap().for_each(drop));
        assert_eq!(engine.counts(), (0, 1));
        assert!(engine.cancel(added[2]).is_some());
        (0..batches).for_each(|_| engine.step().unwrap().for_each(drop));
        assert!(engine.is_idle() && engine.slots().0 == 0);
        assert_eq!(greedy(&mut engine, &prompts[1], MOST), greedy_afresh(&model, &prompts[1], MOST));
    }
}

#[test]
fn a_long_prompt_beside_texts_does_not_stop_them() {
    let model = small();
    let mut engine = engine(&model, 4, 1);
    let short: Vec<Id> = (0..3).map(|i| engine.add(most_likely(&ids(5, i), 200)).unwrap()).collect();
    engine.step().unwrap().for_each(drop);
    let long = engine.add(most_likely(&ids(1000, 9), MOST)).unwrap();
    let mut steps = 0;
    loop {
        let mut new: Vec<Id> = Vec::new();
        for (id, event) in engine.step().unwrap() {
            new.extend(matches!(event, Event::Token { .. }).then_some(id));
        }
        steps += 1;
        // One token of each in every step.
        assert!(short.iter().all(|id| new.contains(id)), "{new:?}");
        if new.contains(&long) {
            break;
        }
    }
    assert!((1000usize.div_ceil(CHUNK)..=6).contains(&steps), "{steps}");
}

/// Tokens that are given are computed with everything a chosen one has, and prompts are scored by the row before each.
#[test]
fn given_tokens_and_scores_are_those_of_the_chosen_ones() {
    let fixture = Fixture::model("llama-gqa");
    let (model, ids) = (fixture.load(), &fixture.reference.ids);
    let mut engine = engine(&model, 2, 1);
    let given = |tokens: &[u32]| NextToken::Given(tokens.iter().copied().collect());
    let request = |prompt: &[u32], next: &[u32]| Request { next: given(next), ..most_likely(prompt, 0) };
    let id = engine.add(Request { most: None, ..request(&ids[..40], &ids[40..60]) }).unwrap();
    let generation = engine.finish(id, &mut |_, _| ControlFlow::Continue(())).unwrap().generation;
    assert_eq!((&generation.ids[..], generation.finish), (&ids[40..60], Finish::Length));
    // All of them are in the cache that is held.
    let id = engine.add(request(&ids[..61], &[])).unwrap();
    let generation = engine.finish(id, &mut |_, _| ControlFlow::Continue(())).unwrap().generation;
    assert_eq!((generation.timings.cached_tokens, generation.ids.len()), (60, 0));

    engine.add(Request { scores: true, ..request(ids, &[]) }).unwrap();
    let mut scores = Vec::new();
    while !engine.is_idle() {
        for (_, event) in engine.step().unwrap() {
            if let Event::Scores(some) = event {
                scores.extend_from_slice(some);
            }
        }
    }
    // What was cached is not scored.
    assert_eq!(scores.len(), ids.len() - 1 - 61);
    let logits = crate::fixture::logits(&model, ids, 64);
    let width = logits.len() / ids.len();
    let (row, id) = (&logits[100 * width..101 * width], ids[101] as usize);
    let sum: f64 = row.iter().map(|logit| f64::from(logit - row[id]).exp()).sum();
    assert!((scores[100 - 61] + sum.ln()).abs() < 1e-5);
}
