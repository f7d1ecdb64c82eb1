//! The JSON files of a folder: the index of shards, `config.json`, `mist.json`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bytes::{SafeTensors, edit_json};
use crate::support::copy_of;
use crate::{refused, run};

const INDEX: &str = "model.safetensors.index.json";

#[track_caller]
fn inspect_refused(folder: &Path, parts: &[&str]) {
    for command in ["inspect", "generate --prompt x"] {
        refused(folder, &format!("{command} --checkpoint-dir ."), parts);
    }
}

#[track_caller]
fn index_refused(change: impl FnOnce(&mut Value), parts: &[&str]) {
    let folder = copy_of("llama-tied");
    edit_json(&folder.path().join(INDEX), change);
    inspect_refused(folder.path(), parts);
}

/// transformers #47176, diffusers #14175: an index that names files outside its folder.
#[test]
fn shards_outside_the_folder() {
    let outside = copy_of("llama-tied");
    let absolute = outside.path().join("model-00001-of-00003.safetensors");
    for name in [
        "../model-00001-of-00003.safetensors",
        "a/../../model-00001-of-00003.safetensors",
        "./model-00001-of-00003.safetensors",
        "..",
        "",
        "..\\model.safetensors",
        "C:model.safetensors",
        "model\0.safetensors",
        &absolute.to_string_lossy(),
    ] {
        let change = |index: &mut Value| {
            let map = index["weight_map"].as_object_mut().unwrap();
            map.values_mut().for_each(|shard| *shard = json!(name));
        };
        index_refused(change, &[INDEX, "is not a plain file name"]);
    }
}

#[test]
fn an_index_that_is_none() {
    index_refused(|index| *index = json!([]), &[INDEX, "not an index of shards"]);
    index_refused(|index| *index = json!({}), &[INDEX, "not an index of shards", "weight_map"]);
    index_refused(|index| index["weight_map"] = json!({"x": 1}), &[INDEX, "not an index of shards"]);
    index_refused(|index| index["weight_map"] = json!({}), &["is missing"]);
    let folder = copy_of("llama-tied");
    fs::write(folder.path().join(INDEX), "[".repeat(1 << 20)).unwrap();
    inspect_refused(folder.path(), &[INDEX, "not an index of shards"]);
    fs::write(folder.path().join(INDEX), b"\xff\xfe{}").unwrap();
    inspect_refused(folder.path(), &[INDEX, "not UTF-8"]);
    // 17 MiB that take no disk.
    fs::File::create(folder.path().join(INDEX)).unwrap().set_len(17 << 20).unwrap();
    inspect_refused(folder.path(), &[INDEX, "the limit of 16777216 bytes"]);
}

#[test]
fn a_shard_that_is_not_there() {
    let folder = copy_of("llama-tied");
    fs::remove_file(folder.path().join("model-00002-of-00003.safetensors")).unwrap();
    inspect_refused(folder.path(), &["model-00002-of-00003.safetensors"]);
}

#[test]
fn a_shard_that_the_index_leaves_out() {
    let left_out = |index: &mut Value| {
        let map = index["weight_map"].as_object_mut().unwrap();
        map.retain(|_, shard| shard != "model-00002-of-00003.safetensors");
    };
    index_refused(left_out, &["tensor model.", "is missing"]);
}

/// Whichever of the two is read last must not win.
#[test]
fn a_tensor_in_two_shards() {
    let folder = copy_of("llama-tied");
    let from = SafeTensors::read(&folder.path().join("model-00001-of-00003.safetensors"));
    let path = folder.path().join("model-00002-of-00003.safetensors");
    let mut to = SafeTensors::read(&path);
    let name = from.header.keys().find(|name| *name != "__metadata__").unwrap();
    let bytes = &from.data[from.span(name)];
    let mut entry = from.header[name].clone();
    entry["data_offsets"] = json!([to.data.len(), to.data.len() + bytes.len()]);
    to.header.insert(name.clone(), entry);
    to.data.extend(bytes);
    to.write(&path);
    inspect_refused(folder.path(), &["two tensors named", name]);
}

#[track_caller]
fn config_refused(name: &str, value: Value, parts: &[&str]) {
    let folder = copy_of("mixtral");
    edit_json(&folder.path().join("config.json"), |config| config[name] = value);
    inspect_refused(folder.path(), parts);
}

/// Sizes that would be divisors, array lengths and loop counts.
#[test]
fn sizes_of_zero_and_beyond_every_limit() {
    for name in [
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "vocab_size",
        "num_attention_heads",
        "num_key_value_heads",
        "max_position_embeddings",
        "num_local_experts",
        "num_experts_per_tok",
        "head_dim",
        "sliding_window",
    ] {
        for value in
            [json!(0), json!(1u64 << 32), json!(u64::MAX), json!(1e300), json!(-1), json!(1.5), json!("8")]
        {
            config_refused(name, value, &["config.json: ", name]);
        }
    }
    for value in [json!(1), json!(4), json!(6), json!(4096)] {
        config_refused("num_hidden_layers", value, &["tensor"]);
    }
    config_refused("num_hidden_layers", json!(4097), &["num_hidden_layers is 4097"]);
}

#[test]
fn rotary_settings_that_divide_by_zero() {
    for theta in [json!(0), json!(-1.0), json!(1e-400), json!("x")] {
        config_refused(
            "rope_parameters",
            json!({"rope_type": "default", "rope_theta": theta}),
            &["rope_theta"],
        );
    }
    for factor in [json!(0), json!(-2.0)] {
        let rope = json!({"rope_type": "linear", "rope_theta": 1e4, "factor": factor});
        config_refused("rope_parameters", rope, &["factor"]);
    }
    let rope = json!({"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 4.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 512});
    config_refused("rope_parameters", rope, &["high_freq_factor"]);
    config_refused("rms_norm_eps", json!(-1.0), &["rms_norm_eps"]);
    config_refused("eos_token_id", json!(1.5), &["eos_token_id"]);
}

#[test]
fn a_config_that_is_no_object() {
    let folder = copy_of("mixtral");
    let config = folder.path().join("config.json");
    for text in ["", "null", "[]", "{", "{\"a\":}", "\u{feff}{}"] {
        fs::write(&config, text).unwrap();
        inspect_refused(folder.path(), &["config.json"]);
    }
    fs::write(&config, "[".repeat(1 << 20)).unwrap();
    inspect_refused(folder.path(), &["config.json", "not valid JSON"]);
    fs::write(&config, b"{\"architectures\": [\"\xff\"]}").unwrap();
    inspect_refused(folder.path(), &["config.json", "not UTF-8"]);
    let long = format!("{{\"architectures\": [\"{}\"]}}", "x".repeat(1 << 20));
    fs::write(&config, long).unwrap();
    inspect_refused(folder.path(), &["config.json"]);
    let escapes = r#"{"architectures": ["\u001b[2J\nerror: x\rhint: y"]}"#;
    fs::write(&config, escapes).unwrap();
    inspect_refused(folder.path(), &["config.json"]);
}

/// A context that no memory holds is only a number until positions are used.
#[test]
fn the_largest_context_allocates_nothing() {
    for name in ["llama-gqa", "mistral-window"] {
        let folder = copy_of(name);
        edit_json(&folder.path().join("config.json"), |config| {
            config["max_position_embeddings"] = json!(1 << 28);
            if !config["sliding_window"].is_null() {
                config["sliding_window"] = json!(1 << 28);
            }
        });
        let ended =
            run(folder.path(), "generate --checkpoint-dir . --prompt x --seed 1 --max-new-tokens 3 --quiet");
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    }
}

/// A converted checkpoint.
fn converted() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = crate::support::gguf("mixtral-quants");
    let ended = run(folder.path(), &format!("convert --checkpoint-dir {} --output-dir .", from.display()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    folder
}

#[track_caller]
fn description_refused(change: impl FnOnce(&mut Value), parts: &[&str]) {
    let folder = converted();
    edit_json(&folder.path().join("mist.json"), change);
    inspect_refused(folder.path(), parts);
}

#[test]
fn a_description_of_a_conversion_that_lies() {
    description_refused(|d| d["version"] = json!(2), &["version 2 of the mist format"]);
    description_refused(|d| d["version"] = json!(-1), &["mist.json"]);
    description_refused(|d| d["layout"] = json!("columns"), &["mist.json", "columns"]);
    description_refused(|d| d["extra"] = json!(1), &["mist.json", "extra"]);
    description_refused(|d| d["config"]["layers"] = json!(0), &["mist.json", "layers is 0"]);
    description_refused(|d| d["config"]["layers"] = json!(u64::MAX), &["mist.json"]);
    description_refused(|d| d["config"]["head_size"] = json!(7), &["mist.json"]);
    description_refused(|d| d["weights"] = json!([]), &["is missing"]);
    description_refused(|d| d["weights"] = json!(["mist.safetensors", "mist.safetensors"]), &["two tensors"]);
    for name in ["../mist.safetensors", "/etc/passwd", "", ".."] {
        description_refused(|d| d["weights"] = json!([name]), &["mist.json", "not a plain file name"]);
    }
    description_refused(|d| d["weights"] = json!(["mist.json"]), &["mist.json"]);
}

#[test]
fn schemes_that_are_not_those_of_the_blocks() {
    description_refused(|d| d["schemes"] = json!({}), &["of type U8", "not supported"]);
    let change = |to: &str| {
        let to = json!(to);
        move |d: &mut Value| d["schemes"].as_object_mut().unwrap().values_mut().for_each(|s| *s = to.clone())
    };
    description_refused(change("q4_k"), &["has shape"]);
    description_refused(change("q8_0"), &["has shape"]);
    description_refused(change("f32"), &["has shape"]);
    description_refused(change("q9_9"), &["mist.json", "q9_9"]);
    description_refused(|d| d["schemes"]["model.norm.weight"] = json!("q4_0"), &["model.norm.weight"]);
}
