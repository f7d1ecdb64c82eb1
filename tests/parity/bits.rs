//! The same bits on every processor: what the model computes with each set of kernels is what `bits.txt` holds, which was made
//! once with the portable ones. `MIST_CPU` chooses the set; without, it is the best of this processor.
//!
//! `MIST_UPDATE_BITS=1 MIST_CPU=portable cargo test --release --test parity bits` makes the table anew, where the order of
//! sums was changed on purpose.

use std::fmt::Write;
use std::path::Path;

use mist::cpu;
use mist::kernels::attention::CacheType;
use mist::quant::ActivationBits;
use mist::tensor::Arithmetic;
use sha2::{Digest, Sha256};

use crate::fixture::{F32, Fixture, load_in, logits_with, open, rounded};

const TABLE: &str = include_str!("bits.txt");

/// Each arithmetic with the cache that it has by default, and every other cache.
const SETTINGS: [(&str, Arithmetic, CacheType); 6] = [
    ("f32", F32, CacheType::F32),
    ("8", rounded(ActivationBits::Eight), CacheType::F16),
    ("16", rounded(ActivationBits::Sixteen), CacheType::F16),
    ("16-f32", rounded(ActivationBits::Sixteen), CacheType::F32),
    ("16-bf16", rounded(ActivationBits::Sixteen), CacheType::Bf16),
    ("16-q8_0", rounded(ActivationBits::Sixteen), CacheType::Q8_0),
];

/// Tokens of each text: more than two of attention's spans of positions, and as prompts are cut, chunks of all heights.
const TOKENS: usize = 300;
const CHUNK: usize = 23;

#[test]
fn every_fixture_has_the_bits_that_every_processor_gives() {
    // A set that this processor does not run is no pass of another.
    cpu::choose_from_environment().unwrap();
    let mut found = String::new();
    for fixture in Fixture::all() {
        let checkpoint = open(&fixture.path);
        let ids = &fixture.reference.ids[..TOKENS.min(fixture.reference.ids.len())];
        for (setting, arithmetic, cache) in SETTINGS {
            let model = load_in(&checkpoint, 1, arithmetic);
            let mut hash = Sha256::new();
            for logit in logits_with(&model, ids, CHUNK, cache) {
                assert!(logit.is_finite());
                hash.update(logit.to_bits().to_le_bytes());
            }
            let hash: String = hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(found, "{} {setting} {hash}", fixture.name).unwrap();
        }
    }
    if std::env::var_os("MIST_UPDATE_BITS").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/bits.txt"), &found).unwrap();
        return;
    }
    for (found, expected) in found.lines().zip(TABLE.lines()) {
        assert_eq!(found, expected, "with {} kernels", cpu::level().name());
    }
    assert_eq!(found.lines().count(), TABLE.lines().count());
}
