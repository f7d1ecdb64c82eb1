//! Every prefix of a file of each format is refused. The sweep asks the library, which ends the test if it panics; a few
//! prefixes go through the binary.

use std::fs;
use std::path::Path;

use mist::checkpoint::open::Checkpoint;
use mist::text::Tokenizer;

use crate::support::{copy_of, copy_of_layout, gguf};
use crate::{refused, run};

/// Cuts a file of a folder to every length, and expects the checkpoint to be refused each time.
#[track_caller]
fn sweep(folder: &Path, name: &str) {
    let path = folder.join(name);
    let bytes = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let opens = || match Checkpoint::open(folder) {
        Ok(checkpoint) if checkpoint.gguf.is_none() => Tokenizer::from_folder(folder).is_ok(),
        Ok(_) => true,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            false
        }
    };
    assert!(opens(), "the whole file is accepted");
    // From the longest to the shortest: the file is cut, never written anew.
    // Without the newline at its end a JSON file is whole.
    for length in (0..bytes.trim_ascii_end().len()).rev() {
        file.set_len(length as u64).unwrap();
        assert!(!opens(), "{name} cut to {length} of {} bytes is accepted", bytes.len());
    }
}

#[test]
fn weights_in_safetensors() {
    sweep(copy_of("llama-old-config").path(), "model.safetensors");
}

#[test]
fn a_shard() {
    sweep(copy_of("llama-tied").path(), "model-00003-of-00003.safetensors");
}

#[test]
fn the_index() {
    sweep(copy_of("llama-tied").path(), "model.safetensors.index.json");
}

#[test]
fn config_json() {
    sweep(copy_of("llama-old-config").path(), "config.json");
}

#[test]
fn tokenizer_json() {
    sweep(copy_of("llama-old-config").path(), "tokenizer.json");
}

#[test]
fn a_gguf_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(gguf("llama-gqa-quants"), folder.path().join("x.gguf")).unwrap();
    sweep(folder.path(), "x.gguf");
}

#[test]
fn weights_saved_by_torch() {
    for file in ["pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"] {
        sweep(copy_of_layout("torch").path(), file);
    }
}

#[test]
fn mistrals_own_layout() {
    sweep(copy_of_layout("mistral").path(), "consolidated.safetensors");
    sweep(copy_of_layout("mistral").path(), "params.json");
    sweep(copy_of_layout("mistral-experts").path(), "consolidated.01.pt");
}

#[test]
fn litgpts_layout() {
    sweep(copy_of_layout("litgpt-old").path(), "lit_model.pth");
    sweep(copy_of_layout("litgpt-old").path(), "lit_config.json");
}

/// A YAML file has no end of its own; only the digits of the last line's number may be cut unseen, which nothing needs.
#[test]
fn litgpts_yaml() {
    let folder = copy_of_layout("litgpt");
    let path = folder.path().join("model_config.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let last = "\nvocab_size: ";
    for length in 0..=text.find(last).unwrap() + last.len() {
        fs::write(&path, &text[..length]).unwrap();
        match Checkpoint::open(folder.path()) {
            Ok(_) => panic!("cut to {length} of {} bytes it is accepted", text.len()),
            Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        }
    }
}

#[test]
fn a_converted_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let from = gguf("mixtral-quants");
    let ended = run(folder.path(), &format!("convert --checkpoint-dir {} --output-dir .", from.display()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    sweep(folder.path(), "mist.safetensors");
    let whole = tempfile::tempdir().unwrap();
    run(whole.path(), &format!("convert --checkpoint-dir {} --output-dir .", from.display()));
    sweep(whole.path(), "mist.json");
}

#[test]
fn the_binary_says_so_in_one_line() {
    for (name, fractions) in [
        ("model.safetensors", [0, 1, 50, 99]),
        ("config.json", [0, 1, 50, 99]),
        ("tokenizer.json", [0, 1, 50, 99]),
    ] {
        let folder = copy_of("llama-old-config");
        let path = folder.path().join(name);
        let bytes = fs::read(&path).unwrap();
        for percent in fractions {
            fs::write(&path, &bytes[..bytes.len() * percent / 100]).unwrap();
            for command in ["inspect", "generate --prompt x", "convert --output-dir out"] {
                if name == "tokenizer.json" && command.starts_with("convert") {
                    continue;
                }
                refused(folder.path(), &format!("{command} --checkpoint-dir ."), &[name]);
            }
        }
    }
}
