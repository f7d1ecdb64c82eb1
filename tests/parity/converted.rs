//! The `mist` format against what it was made from.

use std::path::Path;

use mist::checkpoint::convert::output::Rounding;
use mist::checkpoint::layouts::{litgpt, mist as convert};
use mist::checkpoint::open::{Checkpoint, Format};
use mist::quant::Scheme;
use mist::text::{FILES, Tokenizer};

use crate::fixture::{Fixture, MODELS, assert_same_bits, greedy_afresh, load, logits, open, tokenizer};

/// Converts a checkpoint as `mist convert` does.
fn converted(checkpoint: &Checkpoint, folder: &Path, dense: Option<Scheme>) {
    let sidecars = match checkpoint.format {
        Format::Gguf => tokenizer(checkpoint).files().unwrap(),
        _ => {
            let read =
                |name: &str| Some((name.to_string(), std::fs::read(checkpoint.folder.join(name)).ok()?));
            FILES.iter().filter_map(|name| read(name)).collect()
        }
    };
    let rounding = Rounding { dense, ..Rounding::default() };
    let plan = convert::plan(checkpoint, folder, rounding, sidecars).unwrap();
    plan.check(false).unwrap();
    let mut told = 0;
    plan.write(&mut |bytes| {
        told += bytes;
        Ok(())
    })
    .unwrap();
    assert_eq!(told, plan.weights_size(), "progress adds up to what was planned");
    assert!(plan.check(false).is_err(), "a second conversion is refused");
    plan.check(true).unwrap();
}

#[test]
fn a_converted_checkpoint_gives_the_same_bits_ids_and_tokens() {
    for fixture in Fixture::all() {
        let folder = tempfile::tempdir().unwrap();
        converted(&open(&fixture.path), folder.path(), None);
        assert_eq!(open(folder.path()).format, Format::Mist);
        let (before, after) = (fixture.load(), load(folder.path(), 1));
        let reference = &fixture.reference;
        let ids = &reference.ids;
        assert_same_bits(&logits(&after, ids, 256), &logits(&before, ids, 256), &fixture.name);
        assert_eq!(
            &Tokenizer::from_folder(folder.path()).unwrap().encode(&reference.text, true).unwrap(),
            ids
        );
        let greedy = &reference.greedy;
        let found = greedy_afresh(&after, &greedy.prompt_ids, greedy.output_ids.len());
        assert_eq!(found, greedy.output_ids, "{}", fixture.name);
    }
}

#[test]
fn converting_a_conversion_again_gives_the_same_bits() {
    for fixture in [Fixture::model("mixtral"), Fixture::gguf("mixtral-quants")] {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        converted(&open(&fixture.path), first.path(), None);
        converted(&open(first.path()), second.path(), None);
        let weights = |folder: &Path| std::fs::read(folder.join("mist.safetensors")).unwrap();
        assert!(weights(first.path()) == weights(second.path()), "{}", fixture.name);
        // Also in what it says that it was made of.
        let description = |folder: &Path| std::fs::read(folder.join("mist.json")).unwrap();
        assert!(description(first.path()) == description(second.path()), "{}", fixture.name);
    }
}

/// litgpt has no tied heads, and no name for a model without a window; what it computes is the same.
#[test]
fn a_litgpt_folder_gives_the_same_bits() {
    for fixture in MODELS.map(Fixture::model) {
        let folder = tempfile::tempdir().unwrap();
        let plan = litgpt::plan(&open(&fixture.path), folder.path(), None, "tiny", Vec::new()).unwrap();
        plan.write(&mut |_| Ok(())).unwrap();
        let checkpoint = open(folder.path());
        assert_eq!(checkpoint.format, Format::LitGpt);
        let ids = &fixture.reference.ids[..100];
        let after = logits(&load(folder.path(), 1), ids, 64);
        assert_same_bits(&after, &logits(&fixture.load(), ids, 64), &fixture.name);
    }
}

/// bf16 and f16 widen to f32 without loss: rounding back must find the same numbers.
#[test]
fn widening_to_f32_changes_no_logit() {
    for name in ["llama-tied", "mixtral"] {
        let fixture = Fixture::model(name);
        let folder = tempfile::tempdir().unwrap();
        converted(&open(&fixture.path), folder.path(), Some(Scheme::F32));
        let ids = &fixture.reference.ids[..100];
        let wide = logits(&load(folder.path(), 1), ids, 64);
        assert_same_bits(&wide, &logits(&fixture.load(), ids, 64), name);
    }
}
