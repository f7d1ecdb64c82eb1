//! Long texts where a message repeats a text of the file: it shows the beginning, and makes no more of it.
#![cfg(target_os = "linux")]

use std::fs;

use crate::bytes::{Gguf, text_value, texts_value, write_safetensors};
use crate::memory::{MIB, bounded};
use crate::support::{copy_of, gguf};

const SIZE: usize = 15 * MIB;

const INSPECT: &str = "inspect --checkpoint-dir .";
const GENERATE: &str = "generate --checkpoint-dir . --prompt a --max-new-tokens 1";

#[test]
fn a_message_shows_the_beginning_of_a_text_of_a_gguf() {
    let text = "\x01".repeat(SIZE);
    let tokens = texts_value(&[text.as_str()]);
    for (key, value, kept) in [
        ("llama.foo", text_value(&text), 0),
        ("llama.rope.scaling.type", text_value(&text), 0),
        ("general.sampling.temp", text_value(&text), 0),
        ("general.architecture", text_value(&text), 0),
        ("tokenizer.ggml.model", text_value(&text), 0),
        ("tokenizer.ggml.pre", text_value(&text), 0),
        ("tokenizer.ggml.merges", tokens.clone(), SIZE),
        ("tokenizer.ggml.tokens", texts_value(&[&text[..SIZE / 2], &text[..SIZE / 2]]), SIZE),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let whole = fs::read(gguf("llama-gqa-quants")).unwrap();
        let has_it = whole.windows(key.len()).any(|bytes| bytes == key.as_bytes());
        let file = Gguf(whole);
        let file = if has_it { file.replace(key, value) } else { file.insert(key, value) };
        fs::write(folder.path().join("model.gguf"), file.0).unwrap();
        for command in [INSPECT, GENERATE] {
            bounded(&format!("{key}, {command}"), folder.path(), command, kept);
        }
    }
}

#[test]
fn a_message_shows_the_beginning_of_a_name_in_a_safetensors_header() {
    for text in ["\n", "x"] {
        let long = text.repeat(SIZE).escape_default().to_string();
        let long = &long[..SIZE];
        let tensor = |name: &str, kind: &str| {
            format!("{{\"{name}\":{{\"dtype\":\"{kind}\",\"shape\":[1],\"data_offsets\":[0,4]}}}}")
        };
        for header in [tensor(long, "F64"), tensor(long, "F32"), tensor("a", long)] {
            let folder = copy_of("llama-gqa");
            write_safetensors(&folder.path().join("model.safetensors"), &header, &[0; 4]);
            bounded("a name", folder.path(), INSPECT, SIZE);
        }
    }
}

#[test]
fn a_message_shows_the_beginning_of_a_setting() {
    let text = "x".repeat(SIZE);
    for (file, name, command) in [
        ("config.json", "unknown", INSPECT),
        ("config.json", "hidden_act", INSPECT),
        ("config.json", "hidden_size", INSPECT),
        ("generation_config.json", "temperature", GENERATE),
        ("generation_config.json", "eos_token_id", GENERATE),
    ] {
        let folder = copy_of("llama-gqa");
        let path = folder.path().join(file);
        let old = fs::read_to_string(&path).unwrap_or_else(|_| "{}".into());
        let mut settings: serde_json::Value = serde_json::from_str(&old).unwrap();
        settings[name] = text.as_str().into();
        fs::write(path, settings.to_string()).unwrap();
        bounded(&format!("{name} of {file}"), folder.path(), command, 0);
    }
}
