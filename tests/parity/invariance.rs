//! A row's result does not depend on how many rows, threads, devices or earlier tokens it is computed with.

use mist::cpu::pool;
use mist::kernels::attention::CacheType;
use mist::model::Transformer;

use crate::fixture::{Fixture, assert_same_bits, engine, greedy, greedy_afresh, load, logits};

#[test]
fn chunks_of_any_size_give_the_same_bits() {
    for fixture in Fixture::all() {
        let (model, ids) = (fixture.load(), &fixture.reference.ids);
        let whole = logits(&model, ids, 700);
        for chunk in [1, 7, 64] {
            let what = format!("{} in chunks of {chunk}", fixture.name);
            assert_same_bits(&logits(&model, ids, chunk), &whole, &what);
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for fixture in
        [Fixture::model("mixtral"), Fixture::model("mistral-window"), Fixture::gguf("mixtral-quants")]
    {
        let (model, ids) = (fixture.load(), &fixture.reference.ids[..200]);
        let on = |threads: usize| pool::with_threads(threads, || logits(&model, ids, 64));
        let one = on(1);
        for threads in [2, 3, 8] {
            assert_same_bits(&on(threads), &one, &format!("{} on {threads} threads", fixture.name));
        }
    }
}

#[test]
fn any_number_of_devices_gives_the_same_bits_and_tokens() {
    for fixture in [Fixture::model("mixtral"), Fixture::model("mixtral-window"), Fixture::model("llama-tied")]
    {
        let reference = &fixture.reference;
        let one = fixture.load();
        let layers = one.config().layers;
        let expected = logits(&one, &reference.ids, 64);
        for devices in 2..=layers {
            let what = format!("{} on {devices} devices", fixture.name);
            let model = load(&fixture.path, devices);
            assert_same_bits(&logits(&model, &reference.ids, 64), &expected, &what);
            let greedy = greedy_afresh(&model, &reference.greedy.prompt_ids, 64);
            assert_eq!(greedy, reference.greedy.output_ids, "{what}");
        }
    }
}

/// Prompts that share a beginning with the one before, as turns of a conversation, an undo and a retry do.
#[test]
fn an_engine_that_goes_back_gives_the_tokens_of_a_fresh_one() {
    for fixture in Fixture::all() {
        let (model, ids) = (fixture.load(), &fixture.reference.ids);
        let mut other = ids[..150].to_vec();
        other[140] = (other[140] + 1) % 300;
        let prompts: [&[u32]; 9] = [
            &ids[..150],
            &ids[..150],
            &other,
            &ids[..149],
            &ids[..180],
            &ids[..12],
            &ids[..13],
            &ids[100..120],
            &ids[..90],
        ];
        let mut engine = engine(&model, 1, 1);
        for prompt in prompts {
            let what = format!("{}: {} tokens", fixture.name, prompt.len());
            assert_eq!(greedy(&mut engine, prompt, 20), greedy_afresh(&model, prompt, 20), "{what}");
        }
    }
}

/// Every step back that a cache grants, after rings have wrapped, and the bits of what follows.
#[test]
fn a_cache_cut_anywhere_goes_on_with_the_same_bits() {
    for name in ["mistral-window", "mixtral-window", "llama-gqa"] {
        let fixture = Fixture::model(name);
        let (model, ids) = (fixture.load(), &fixture.reference.ids[..120]);
        let whole = logits(&model, ids, 32);
        let row = whole.len() / ids.len();
        let window = model.config().window;
        let mut granted = 0;
        for length in (0..ids.len()).step_by(7) {
            for chunk in [1, 5, 32] {
                let mut cache = model.cache(CacheType::F32, chunk, usize::MAX);
                feed(&model, ids, chunk, &mut cache);
                let kept = cache.truncate(length);
                assert!(kept == length || (kept == 0 && window.is_some()), "{name}: {length} became {kept}");
                assert_eq!(cache.len(), kept);
                granted += usize::from(kept == length && length > 0);
                let next = feed(&model, &ids[kept..], chunk, &mut cache);
                let what = format!("{name} from {length} ({kept} kept) in chunks of {chunk}");
                assert_same_bits(&next, &whole[kept * row..], &what);
            }
        }
        assert!(granted > 0, "{name} never went back");
    }
}

fn feed(model: &Transformer, ids: &[u32], chunk: usize, cache: &mut mist::model::Cache) -> Vec<f32> {
    let mut rows = Vec::new();
    for ids in ids.chunks(chunk) {
        let hidden = model.hidden(ids, cache).unwrap();
        rows.extend_from_slice(&model.logits(&hidden).unwrap());
    }
    rows
}
