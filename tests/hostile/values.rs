//! Weights that are no numbers: a name and a shape are right, and the model is still worthless.

use crate::bytes::SafeTensors;
use crate::support::copy_of;
use crate::{refused, run};

/// A checkpoint whose f32 tensor holds one such value.
fn with_value(name: &str, value: f32) -> tempfile::TempDir {
    let folder = copy_of("llama-gqa");
    let path = folder.path().join("model.safetensors");
    let mut file = SafeTensors::read(&path);
    let start = file.span(name).start;
    file.data[start..start + 4].copy_from_slice(&value.to_le_bytes());
    file.write(&path);
    std::fs::write(folder.path().join("text.txt"), "The keeper wrote.").unwrap();
    folder
}

#[test]
fn a_model_whose_logits_are_no_numbers_says_so() {
    for value in [f32::NAN, f32::INFINITY] {
        let folder = with_value("model.norm.weight", value);
        for flags in ["", " --temperature 0", " --top-k 1", " --top-k 0", " --chat", " --devices 3"] {
            let command = format!("generate --checkpoint-dir . --prompt x --seed 1{flags}");
            refused(folder.path(), &command, &["logits that are not numbers"]);
        }
        refused(folder.path(), "evaluate --checkpoint-dir . --file text.txt", &["not numbers"]);
    }
}

/// Only in a mixture's router: the choice of experts compares what cannot be compared.
#[test]
fn a_router_that_gives_no_numbers() {
    let folder = copy_of("mixtral-window");
    let path = folder.path().join("model.safetensors");
    let mut file = SafeTensors::read(&path);
    let span = file.span("model.layers.0.block_sparse_moe.gate.weight");
    file.data[span].as_chunks_mut::<4>().0.iter_mut().for_each(|weight| *weight = f32::NAN.to_le_bytes());
    file.write(&path);
    refused(folder.path(), "generate --checkpoint-dir . --prompt x --seed 1", &["not numbers"]);
}

#[test]
fn verify_finds_a_value_that_is_no_number_wherever_it_is() {
    for name in ["model.embed_tokens.weight", "model.layers.2.mlp.down_proj.weight", "lm_head.weight"] {
        for value in [f32::NAN, f32::NEG_INFINITY] {
            let folder = with_value(name, value);
            refused(folder.path(), "inspect --checkpoint-dir . --verify", &["a weight of", "is "]);
            assert_eq!(
                run(folder.path(), "inspect --checkpoint-dir .").code,
                Some(0),
                "it was not asked to look"
            );
        }
    }
}

/// The largest numbers there are: logits of plus and minus infinity.
#[test]
fn logits_that_are_infinite() {
    let folder = copy_of("llama-gqa");
    let path = folder.path().join("model.safetensors");
    let mut file = SafeTensors::read(&path);
    let span = file.span("lm_head.weight");
    for weight in file.data[span].as_chunks_mut::<4>().0 {
        *weight = f32::MAX.copysign(f32::from_le_bytes(*weight)).to_le_bytes();
    }
    file.write(&path);
    for flags in ["", " --temperature 0", " --top-k 0 --top-p 0.5"] {
        let command = format!("generate --checkpoint-dir . --prompt x --seed 1{flags}");
        refused(folder.path(), &command, &["logits that are not numbers"]);
    }
}
