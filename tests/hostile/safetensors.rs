//! safetensors files: what the format's own attack scripts do, and what a header leaves out.

use std::path::Path;

use serde_json::json;

use crate::bytes::{SafeTensors, write_safetensors};
use crate::support::copy_of;
use crate::{refused, run};

const QUERY: &str = "model.layers.0.self_attn.q_proj.weight";
const KEY: &str = "model.layers.0.self_attn.k_proj.weight";
const VALUE: &str = "model.layers.0.self_attn.v_proj.weight";

/// Changes the weights of a tiny checkpoint; every command that reads weights must refuse them.
#[track_caller]
fn weights_refused(change: impl FnOnce(&mut SafeTensors), parts: &[&str]) {
    let folder = copy_of("llama-old-config");
    let path = folder.path().join("model.safetensors");
    let mut file = SafeTensors::read(&path);
    change(&mut file);
    file.write(&path);
    folder_refused(folder.path(), parts);
}

#[track_caller]
fn folder_refused(folder: &Path, parts: &[&str]) {
    for command in ["inspect", "generate --prompt x", "convert --output-dir out"] {
        refused(folder, &format!("{command} --checkpoint-dir ."), parts);
        assert!(!folder.join("out/mist.json").exists());
    }
}

#[track_caller]
fn bytes_refused(bytes: &[u8], parts: &[&str]) {
    let folder = copy_of("llama-old-config");
    std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    folder_refused(folder.path(), parts);
}

#[test]
fn a_file_taken_apart_and_put_together_is_accepted() {
    let folder = copy_of("llama-old-config");
    let path = folder.path().join("model.safetensors");
    SafeTensors::read(&path).write(&path);
    let ended = run(folder.path(), "generate --checkpoint-dir . --prompt x --seed 1 --quiet");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

/// safetensors `attacks/`: a length prefix that asks for everything.
#[test]
fn a_header_longer_than_the_file() {
    for length in [64u64, 100_000_000, 100_000_001, 1 << 32, 1 << 63, u64::MAX, u64::MAX - 7] {
        let bytes = [&length.to_le_bytes()[..], &[b' '; 32]].concat();
        bytes_refused(&bytes, &["model.safetensors: not a whole safetensors file"]);
    }
}

#[test]
fn headers_that_are_no_description() {
    for header in ["", "{", "[]", "null", "\"x\"", "{\"x\": 1}", "{\"x\": {\"dtype\": \"F32\"}}"] {
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        bytes_refused(&bytes, &["model.safetensors: not a whole safetensors file"]);
    }
    let bytes = [&4u64.to_le_bytes()[..], b"\xff\xfe\xff\xfe"].concat();
    bytes_refused(&bytes, &["model.safetensors: not a whole safetensors file"]);
    // JSON within JSON: a reader that calls itself runs out of stack.
    let deep = "[".repeat(1_000_000);
    let bytes = [&(deep.len() as u64).to_le_bytes()[..], deep.as_bytes()].concat();
    bytes_refused(&bytes, &["model.safetensors: not a whole safetensors file"]);
}

/// safetensors `attacks/`: millions of entries in a small file.
#[test]
fn more_tensors_than_a_model_has() {
    let folder = copy_of("llama-old-config");
    let entry = |i: u32| format!("\"{i}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    let entries: Vec<String> = (0..140_000).map(entry).collect();
    write_safetensors(&folder.path().join("model.safetensors"), &format!("{{{}}}", entries.join(",")), &[]);
    folder_refused(folder.path(), &["more than 131072 tensors"]);
}

/// lattice #752, openasr PR #73, h3.c PR #48: keys and values on the same bytes pass a check of each alone.
#[test]
fn two_tensors_on_the_same_bytes() {
    weights_refused(
        |file| {
            let span = file.header[KEY]["data_offsets"].clone();
            file.header[VALUE]["data_offsets"] = span;
        },
        &["model.safetensors: "],
    );
}

#[test]
fn bytes_that_belong_to_no_tensor() {
    weights_refused(
        |file| {
            file.header.remove("model.norm.weight").unwrap();
        },
        &["model.safetensors: "],
    );
    // After the last tensor.
    weights_refused(|file| file.data.extend([0; 64]), &["model.safetensors: "]);
}

#[test]
fn spans_that_do_not_fit_shape_or_file() {
    let spans =
        [json!([0, 1u64 << 40]), json!([8, 0]), json!([u64::MAX, u64::MAX]), json!([-8, 0]), json!([0])];
    for span in spans {
        weights_refused(|file| file.header[QUERY]["data_offsets"] = span, &["model.safetensors: "]);
    }
}

#[test]
fn dimensions_whose_product_wraps() {
    for shape in
        [json!([1u64 << 63, 2]), json!([1u64 << 32, 1u64 << 32]), json!([u64::MAX, u64::MAX, u64::MAX])]
    {
        weights_refused(|file| file.header[QUERY]["shape"] = shape, &["model.safetensors: "]);
    }
}

#[test]
fn shapes_that_the_config_does_not_imply() {
    let shape = |file: &SafeTensors| file.header[QUERY]["shape"].as_array().unwrap().clone();
    weights_refused(
        |file| {
            let wide = shape(file);
            file.header[QUERY]["shape"] =
                json!([wide[1].as_u64().unwrap() / 2, wide[0].as_u64().unwrap() * 2]);
        },
        &[QUERY, "has shape", "the config implies"],
    );
    weights_refused(
        |file| {
            let wide = shape(file);
            file.header[QUERY]["shape"] = json!([1, wide[0], wide[1]]);
        },
        &[QUERY, "has shape", "the config implies"],
    );
}

#[test]
fn tensors_that_are_missing_or_too_many() {
    weights_refused(
        |file| {
            let query = file.header.remove(QUERY).unwrap();
            file.header.insert("model.layers.0.self_attn.q_proj.bias".into(), query);
        },
        &[QUERY, "is missing"],
    );
    let empty = json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]});
    weights_refused(
        |file| {
            file.header.insert("model.layers.0.self_attn.q_proj.bias".into(), empty);
        },
        &["1 tensor is not used", "q_proj.bias"],
    );
}

/// safetensors #401: the format forbids a name twice, "not all parsers respect this". The first entry here has another
/// type of the same size: who takes the first and who takes the last see different weights.
#[test]
fn a_name_that_comes_twice() {
    let folder = copy_of("llama-old-config");
    let path = folder.path().join("model.safetensors");
    let file = SafeTensors::read(&path);
    let entries: Vec<String> = file.header.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
    let mut norm = file.header["model.norm.weight"].clone();
    assert_eq!(norm["dtype"], "BF16");
    norm["dtype"] = json!("F16");
    let header = format!("{{\"model.norm.weight\":{norm},{}}}", entries.join(","));
    write_safetensors(&path, &header, &file.data);
    folder_refused(folder.path(), &["two tensors named model.norm.weight"]);
}

#[test]
fn types_that_no_weight_has() {
    for (dtype, factor) in [("I16", 1), ("U16", 1), ("F8_E4M3", 2), ("I8", 2), ("U8", 2), ("BOOL", 2)] {
        weights_refused(
            |file| {
                let rows = file.header[QUERY]["shape"][0].as_u64().unwrap();
                file.header[QUERY]["shape"][0] = json!(rows * factor);
                file.header[QUERY]["dtype"] = json!(dtype);
            },
            &[QUERY, "of type", "not supported"],
        );
    }
}

/// A clone of a repository without `git lfs` holds these instead of weights.
#[test]
fn a_git_lfs_pointer() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 537336\n";
    bytes_refused(pointer.as_bytes(), &["model.safetensors is a Git LFS pointer"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.gguf"), pointer).unwrap();
    refused(folder.path(), "inspect --checkpoint-dir x.gguf", &["x.gguf is a Git LFS pointer"]);
}

/// Weights of another kind under the expected name.
#[test]
fn pickles_archives_and_folders() {
    for bytes in [&b"PK\x03\x04archive/data.pkl"[..], b"\x80\x02}q\x00.", b"GGUF\x03\0\0\0", &[0; 4096]] {
        bytes_refused(bytes, &["model.safetensors: "]);
    }
    let folder = copy_of("llama-old-config");
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    std::fs::create_dir(folder.path().join("model.safetensors")).unwrap();
    folder_refused(folder.path(), &["model.safetensors"]);
}
