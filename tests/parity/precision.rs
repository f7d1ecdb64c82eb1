//! What coarser numbers and other kernels cost.

use std::path::Path;

use mist::evaluate::likelihood;
use mist::kernels::attention::CacheType;
use mist::kernels::cpu::Level;
use mist::kernels::{Scheme, packed};

use crate::fixture::{Fixture, open};
use crate::random::{Shape, convert_to};
use crate::support::{self, Mist, fixtures};

/// Measured on the dense models: 3.2e-4 (f16) and 1.4e-3 (bf16) of about 9.
const CACHE: f64 = 7e-3;

/// Measured on the mixtures: 4.4e-3 (f16) and 1.4e-2 (bf16). The routers of random weights decide by a hair, and with
/// less than f32 some tokens take another expert (`tests/fixtures/README.md`).
const CACHE_OF_A_MIXTURE: f64 = 7e-2;

/// Measured: 5.6e-8.
const KERNELS: f64 = 5e-7;

/// Measured: 1.5e-3 (`gguf/mixtral-quants`, by its routers), elsewhere 1.7e-4.
const ROUNDED_KERNELS: f64 = 7e-3;

#[test]
fn a_cache_in_half_precision_costs_little() {
    for fixture in Fixture::all() {
        let (model, ids) = (fixture.load(), &fixture.reference.ids);
        let nll = |cache| likelihood(&model, ids, ids.len(), cache, &mut |_| ()).unwrap().mean();
        let wide = nll(CacheType::F32);
        for cache in [CacheType::F16, CacheType::Bf16, CacheType::Q8_0] {
            let difference = (nll(cache) - wide).abs();
            println!("{} with a cache in {cache}: nll differs by {difference:e}", fixture.name);
            let limit = if model.config().experts.is_some() { CACHE_OF_A_MIXTURE } else { CACHE };
            // A cache that was kept in f32 all the same would differ by nothing.
            assert!(difference > 0.0 && difference <= limit, "{}, {cache}: {difference}", fixture.name);
        }
    }
}

#[test]
fn portable_kernels_and_those_of_this_processor_agree() {
    for (checkpoint, difference) in differences_of_kernels("f32") {
        println!("{checkpoint}: portable and this processor's kernels differ by {difference:e} in nll");
        assert!(difference <= KERNELS, "{checkpoint}: {difference}");
    }
}

/// Products in integers are the same bit for bit; what is left in f32 differs in its last bits, and moves an activation
/// from one of 255 values to the next now and then.
#[test]
fn portable_kernels_and_those_of_this_processor_agree_where_activations_are_rounded() {
    for (checkpoint, difference) in differences_of_kernels("auto") {
        println!("{checkpoint}: with rounded activations they differ by {difference:e}");
        assert!(difference <= ROUNDED_KERNELS, "{checkpoint}: {difference}");
    }
}

/// How far the best kernels' mean likelihood is from the portable ones', in nats; 0 where those are the best.
fn differences_of_kernels(dtype: &str) -> Vec<(&'static str, f64)> {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, &Fixture::model("llama-gqa").reference.text).unwrap();
    let checkpoints = [
        "models/llama-gqa",
        "models/mixtral",
        "models/mistral-head-dim",
        "gguf/mixtral-quants.gguf",
        "gguf/llama-gqa-quants.gguf",
        "gguf/llama-k-quants.gguf",
    ];
    let difference = |checkpoint| {
        let nll = |level| nll(&fixtures().join(checkpoint), &text, dtype, level);
        (checkpoint, (nll(Level::detect()) - nll(Level::Portable)).abs())
    };
    checkpoints.map(difference).into()
}

/// The mean likelihood of a text in nats. Kernels are chosen once a process: hence the binary.
fn nll(checkpoint: &Path, text: &Path, dtype: &str, level: Level) -> f64 {
    let ended = Mist::new(&fixtures())
        .args(["evaluate", "--json", "--dtype", dtype, "--checkpoint-dir"])
        .args([checkpoint, Path::new("--file"), text])
        .env("MIST_CPU", level.name())
        .run();
    match ended.code {
        Some(0) => ended.json()["nll"].as_f64().unwrap(),
        _ => panic!("{ended:?}"),
    }
}

/// A tenth of a percent of the perplexity. Measured: 7.4e-4 (q5_0, random weights, 700 tokens).
const SCHEMES: f64 = 1e-3;

#[test]
fn every_kernel_set_gives_every_scheme_the_perplexity_of_the_portable_one() {
    let folder = tempfile::tempdir().unwrap();
    let (published, text) = (folder.path().join("published"), folder.path().join("text.txt"));
    std::fs::create_dir(&published).unwrap();
    // As many tokens as the fixtures' tokenizers have.
    Shape { layers: 4, experts: 0, window: None }.write_with(&published, 320);
    std::fs::write(&text, &Fixture::model("llama-gqa").reference.text).unwrap();
    for scheme in Scheme::all().filter(|scheme| packed::activation_block(*scheme).is_some()) {
        let converted = folder.path().join(scheme.name());
        convert_to(&open(&published), &converted, Some(scheme));
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(support::model("llama-gqa").join(file), converted.join(file)).unwrap();
        }
        let portable = nll(&converted, &text, "auto", Level::Portable);
        for level in Level::available() {
            let difference = (nll(&converted, &text, "auto", level) - portable).abs();
            println!("{scheme} by {}: nll {portable} differs by {difference:e}", level.name());
            assert!(difference <= SCHEMES, "{scheme} by {}: {difference}", level.name());
        }
    }
}
