//! What coarser numbers and other kernels cost.

use std::path::Path;

use mist::cpu::Level;
use mist::evaluate::likelihood;
use mist::kernels::attention::CacheType;
use mist::kernels::packed;
use mist::quant::{ActivationBits, Scheme};

use crate::fixture::{F32, Fixture, load_in, open, rounded};
use crate::random::{Shape, convert_to};
use crate::support::{self, Mist, fixtures};

/// Measured on the dense models: 3.2e-4 (f16) and 1.4e-3 (bf16) of about 9.
const CACHE: f64 = 7e-3;

/// Measured on the mixtures: 4.4e-3 (f16) and 1.4e-2 (bf16). The routers of random weights decide by a hair, and with
/// less than f32 some tokens take another expert (`tests/fixtures/README.md`).
const CACHE_OF_A_MIXTURE: f64 = 7e-2;

#[test]
fn a_cache_in_half_precision_costs_little() {
    for fixture in Fixture::all() {
        let (model, ids) = (fixture.load(), &fixture.reference.ids);
        let nll = |cache| likelihood(&model, ids, ids.len(), cache, |_| ()).unwrap().mean();
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
fn every_kernel_set_gives_the_likelihood_of_the_portable_one() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, &Fixture::model("llama-gqa").reference.text).unwrap();
    for checkpoint in
        ["models/mixtral", "models/mistral-head-dim", "gguf/mixtral-quants.gguf", "gguf/llama-k-quants.gguf"]
    {
        for settings in [["--dtype", "f32"], ["--activations", "8"], ["--activations", "16"]] {
            let nll = |level| nll(&fixtures().join(checkpoint), &text, &settings, level);
            let portable = nll(Level::Portable);
            for level in Level::available() {
                assert_eq!(nll(level), portable, "{checkpoint} {settings:?} {}", level.name());
            }
        }
    }
}

/// In nats of about 9, on the models whose weights are blocks. Measured: 8 bits 1.7e-4 (1.5e-3 `gguf/mixtral-quants`, by its
/// routers), 16 bits 1.4e-6.
#[test]
fn activations_of_16_bits_cost_next_to_nothing() {
    for fixture in ["mixtral-quants", "llama-gqa-quants", "llama-k-quants"].map(Fixture::gguf) {
        let ids = &fixture.reference.ids;
        let nll = |arithmetic| {
            let model = load_in(&open(&fixture.path), 1, arithmetic);
            likelihood(&model, ids, ids.len(), CacheType::F32, |_| ()).unwrap().mean()
        };
        let exact = nll(F32);
        let [eight, sixteen] =
            [ActivationBits::Eight, ActivationBits::Sixteen].map(|bits| (nll(rounded(bits)) - exact).abs());
        println!("{}: nll differs by {eight:e} with 8 bits, {sixteen:e} with 16", fixture.name);
        assert!(sixteen < eight / 20.0 && eight < 0.1, "{}", fixture.name);
    }
}

/// The mean likelihood of a text in nats. Kernels are chosen once a process: hence the binary.
fn nll(checkpoint: &Path, text: &Path, settings: &[&str], level: Level) -> f64 {
    let ended = Mist::new(&fixtures())
        .args(["evaluate", "--json"].iter().chain(settings).chain(&["--checkpoint-dir"]))
        .args([checkpoint, Path::new("--file"), text])
        .env("MIST_CPU", level.name())
        .run();
    match ended.code {
        Some(0) => ended.json()["nll"].as_f64().unwrap(),
        _ => panic!("{ended:?}"),
    }
}

#[test]
fn every_kernel_set_gives_every_scheme_the_likelihood_of_the_portable_one() {
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
        let portable = nll(&converted, &text, &[], Level::Portable);
        for level in Level::available() {
            assert_eq!(nll(&converted, &text, &[], level), portable, "{scheme} by {}", level.name());
        }
    }
}
