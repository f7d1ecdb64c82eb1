//! Mistral's own layout and litgpt's: their configs, their names, their shards.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bytes::{SafeTensors, edit_json};
use crate::refused;
use crate::support::copy_of_layout;

#[track_caller]
fn inspect_refused(folder: &Path, parts: &[&str]) {
    for command in ["inspect", "generate --prompt x"] {
        refused(folder, &format!("{command} --checkpoint-dir ."), parts);
    }
}

#[track_caller]
fn params_refused(name: &str, value: Value, parts: &[&str]) {
    let folder = copy_of_layout("mistral");
    edit_json(&folder.path().join("params.json"), |params| params[name] = value);
    inspect_refused(folder.path(), parts);
}

#[test]
fn sizes_of_zero_and_beyond_every_limit() {
    for name in
        ["n_layers", "dim", "hidden_dim", "vocab_size", "n_heads", "n_kv_heads", "head_dim", "max_seq_len"]
    {
        for value in [json!(0), json!(1u64 << 32), json!(u64::MAX), json!(1e300), json!(-1), json!("8")] {
            params_refused(name, value, &["params.json: "]);
        }
    }
    params_refused("n_layers", json!(4), &["tensor layers.2."]);
    params_refused("n_layers", json!(1), &["not used by this architecture", "layers.1.attention"]);
    params_refused("dim", json!(42), &["has shape"]);
    params_refused("moe", json!({"num_experts": 1 << 30, "num_experts_per_tok": 2}), &["num_experts is"]);
    params_refused("sliding_window", json!([8, 16]), &["one whole number for all layers"]);
}

/// Each would run, and answer with something else than the model does.
#[test]
fn fields_that_change_the_function() {
    for name in ["yarn", "llama_4_scaling", "quantization", "vision_encoder", "lora", "something_new"] {
        params_refused(name, json!({"factor": 2}), &["params.json: ", name, "is not understood"]);
    }
}

#[track_caller]
fn tensors_refused(change: impl FnOnce(&mut SafeTensors), parts: &[&str]) {
    let folder = copy_of_layout("mistral");
    let path = folder.path().join("consolidated.safetensors");
    let mut file = SafeTensors::read(&path);
    change(&mut file);
    file.write(&path);
    inspect_refused(folder.path(), parts);
}

fn rename(file: &mut SafeTensors, from: &str, to: &str) {
    let entry = file.header.remove(from).unwrap();
    file.header.insert(to.into(), entry);
}

#[test]
fn tensors_of_other_names_and_shapes() {
    let key = "layers.0.attention.wk.weight";
    tensors_refused(|f| rename(f, key, "layers.0.attention.wx.weight"), &["layers.0.attention.wx.weight"]);
    // In Hugging Face's names rotary pairs lie otherwise.
    let theirs = "model.layers.0.self_attn.k_proj.weight";
    tensors_refused(|f| rename(f, key, theirs), &["1 tensor is not used", theirs]);
    tensors_refused(|f| rename(f, key, "layers.7.attention.wk.weight"), &["is missing"]);
    tensors_refused(|f| f.header[key]["shape"] = json!([12, 80]), &["has shape [12, 80]", "[24, 40]"]);
    tensors_refused(|f| f.header["norm.weight"]["shape"] = json!([1, 40]), &["has shape [1, 40]"]);
    tensors_refused(
        |f| rename(f, key, "layers.0.block_sparse_moe.w2"),
        &["the experts stacked", "not supported"],
    );
}

#[test]
fn shards_that_are_cut_missing_or_elsewhere() {
    let index = "consolidated.safetensors.index.json";
    let folder = copy_of_layout("mistral-shards");
    fs::remove_file(folder.path().join("consolidated-00002-of-00002.safetensors")).unwrap();
    inspect_refused(folder.path(), &[index, "which is missing"]);
    fs::remove_file(folder.path().join(index)).unwrap();
    inspect_refused(folder.path(), &["is missing"]);
    let folder = copy_of_layout("mistral-shards");
    edit_json(&folder.path().join(index), |index| {
        index["weight_map"]["norm.weight"] = json!("../x.safetensors")
    });
    inspect_refused(folder.path(), &[index, "not a plain file name"]);
    // Parts of the same tensors in each, as Llama was published.
    let folder = copy_of_layout("mistral-pth");
    let part = fs::read(folder.path().join("consolidated.00.pth")).unwrap();
    fs::write(folder.path().join("consolidated.01.pth"), part).unwrap();
    inspect_refused(folder.path(), &["consolidated.01.pth", "cut for several devices", "not supported"]);
}

/// Shards are found by their names where no index names them.
#[test]
fn shards_without_an_index_are_opened() {
    let folder = copy_of_layout("mistral-shards");
    fs::remove_file(folder.path().join("consolidated.safetensors.index.json")).unwrap();
    assert_eq!(crate::run(folder.path(), "inspect --checkpoint-dir .").code, Some(0));
}

#[track_caller]
fn yaml_refused(from: &str, to: &str, parts: &[&str]) {
    let folder = copy_of_layout("litgpt");
    let path = folder.path().join("model_config.yaml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(&path, text.replace(from, to)).unwrap();
    inspect_refused(folder.path(), parts);
}

/// A few hundred bytes that say 3^30 values.
#[test]
fn a_yaml_bomb() {
    let mut bomb = String::from("a0: &a0 [1, 1, 1]\n");
    (1..30).for_each(|i| bomb += &format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}]\n", i - 1));
    yaml_refused("attn_bias: false\n", &bomb, &["model_config.yaml", "an anchor"]);
}

#[test]
fn yaml_that_is_more_than_data() {
    let name = "\nname: litgpt\n";
    yaml_refused(name, "\nname: !!python/object/apply:os.system [x]\n", &["model_config.yaml", "a tag"]);
    yaml_refused(name, "\n<<: *x\n", &["model_config.yaml"]);
    yaml_refused(name, "\nn_layer: 3\n", &["a repeated key"]);
    yaml_refused(name, &format!("\nname: {}\n", "[".repeat(60_000)), &["model_config.yaml"]);
    yaml_refused(name, &format!("\nname: {}\n", "x".repeat(1 << 20)), &["at most 65536 are read"]);
    yaml_refused(name, "\nname: x\n\u{1b}[2J: 1\n", &["model_config.yaml"]);
    yaml_refused(name, "\nname: x\n\"\\n\\e[2J\": 1\n", &["model_config.yaml"]);
}

#[test]
fn litgpt_configs_of_other_families_and_sizes() {
    yaml_refused("n_layer: 3", "n_layer: 0", &["n_layer is 0"]);
    yaml_refused("n_layer: 3", "n_layer: 99999999999", &["model_config.yaml"]);
    yaml_refused("n_layer: 3", "n_layer: 2", &["not used by this architecture", "transformer.h.2."]);
    yaml_refused("n_layer: 3", "n_layer: 4", &["sliding_window_indices"]);
    yaml_refused("n_head: 4", "n_head: 0", &["n_head is 0"]);
    yaml_refused("norm_eps: 1.0e-05", "norm_eps: .nan", &["norm_eps is \".nan\""]);
    yaml_refused("parallel_residual: false", "parallel_residual: true", &["parallel_residual is true"]);
    yaml_refused("RMSNorm", "LayerNorm", &["norm_class_name"]);
    yaml_refused("LLaMAMLP", "GemmaMLP", &["mlp_class_name GemmaMLP", "not supported"]);
    yaml_refused("padded_vocab_size: 320", "padded_vocab_size: 384", &["has shape [320, 64]"]);
}

/// Changes names in the pickle; they keep their length, so everything else stays where it is.
#[track_caller]
fn pickle_refused(layout: &str, from: &str, to: &str, parts: &[&str]) {
    assert_eq!(from.len(), to.len());
    let folder = copy_of_layout(layout);
    let path = folder.path().join("lit_model.pth");
    let mut bytes = fs::read(&path).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|i| bytes[*i..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty(), "{from}");
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    }
    fs::write(&path, bytes).unwrap();
    inspect_refused(folder.path(), parts);
}

#[test]
fn litgpt_tensors_that_are_missing_extra_or_there_twice() {
    let qkv = "transformer.h.1.attn.qkv.weight";
    pickle_refused("litgpt", qkv, "transformer.h.1.attn.qkx.weight", &["not used", "attn.qkx"]);
    pickle_refused("litgpt", qkv, "transformer.h.0.attn.qkv.weight", &["two tensors named", "h.0.attn.qkv"]);
    pickle_refused("litgpt", qkv, "transformer.h.9.attn.qkv.weight", &["is missing"]);
    pickle_refused(
        "litgpt",
        "transformer.ln_f.weight",
        "transformer.ln_f.weighs",
        &["not used", "ln_f.weighs"],
    );
    let grouped = "transformer.h.1.attn.attn.weight";
    pickle_refused("litgpt-old", grouped, "transformer.h.1.attn.proj.weight", &["two tensors named"]);
}

#[test]
fn a_layout_that_lacks_a_half() {
    for (layout, file, part) in [
        ("mistral", "consolidated.safetensors", "no consolidated.safetensors beside it"),
        ("mistral", "params.json", "params.json does not exist"),
        ("litgpt", "lit_model.pth", "lit_model.pth does not exist"),
        ("litgpt", "model_config.yaml", "model_config.yaml does not exist"),
    ] {
        let folder = copy_of_layout(layout);
        fs::remove_file(folder.path().join(file)).unwrap();
        inspect_refused(folder.path(), &[part]);
    }
}
