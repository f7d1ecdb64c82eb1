//! Against transformers' results.

use mist::evaluate::likelihood;
use mist::kernels::attention::CacheType;

use crate::fixture::{Fixture, greedy_afresh, largest_difference, logits, open, tokenizer};

/// Measured: 8e-5 (`mixtral-window`), of logits with a standard deviation of 2.5; f32 alone explains it.
const LOGITS: f32 = 4e-4;

/// Measured: 1.3e-6 (`gguf/mixtral-quants`), elsewhere 2e-7.
const NLL: f64 = 7e-6;

#[test]
fn texts_become_the_same_ids() {
    for fixture in Fixture::all() {
        let tokenizer = tokenizer(&open(&fixture.path));
        let reference = &fixture.reference;
        assert!(tokenizer.adds_bos(), "{}", fixture.name);
        for (text, ids) in
            [(&reference.text, &reference.ids), (&reference.greedy.prompt, &reference.greedy.prompt_ids)]
        {
            assert_eq!(&tokenizer.encode(text, true).unwrap(), ids, "{}", fixture.name);
        }
    }
}

#[test]
fn logits_are_the_same_at_every_listed_position() {
    for fixture in Fixture::all() {
        let reference = &fixture.reference;
        let found = logits(&fixture.load(), &reference.ids, 256);
        let vocabulary = found.len() / reference.ids.len();
        let mut most = 0.0f32;
        for (position, expected) in reference.logits.positions.iter().zip(&reference.logits.values) {
            let difference = largest_difference(&found[position * vocabulary..][..vocabulary], expected);
            most = most.max(difference);
            assert!(difference <= LOGITS, "{} at {position}: {difference}", fixture.name);
        }
        println!("{}: logits differ by at most {most:e}", fixture.name);
    }
}

#[test]
fn likelihoods_are_the_same() {
    for fixture in Fixture::all() {
        let ids = &fixture.reference.ids;
        let found = likelihood(&fixture.load(), ids, ids.len(), CacheType::F32, |_| ()).unwrap();
        let difference = (found.mean() - fixture.reference.nll_mean).abs();
        println!("{}: nll differs by {difference:e}", fixture.name);
        assert_eq!(found.scored, ids.len() - 1);
        assert!(difference <= NLL, "{}: {difference}", fixture.name);
    }
}

#[test]
fn greedy_tokens_are_the_same() {
    for fixture in Fixture::all() {
        let greedy = &fixture.reference.greedy;
        let found = greedy_afresh(&fixture.load(), &greedy.prompt_ids, greedy.output_ids.len());
        assert_eq!(found, greedy.output_ids, "{}", fixture.name);
    }
}
