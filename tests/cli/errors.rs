//! What fails: one line what is wrong, one line what to do, and the exit code.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Mist, copy_folder, layout};
use crate::transcript::Transcript;

/// Every command that opens a checkpoint.
const COMMANDS: [&str; 8] = [
    "chat --prompt x",
    "generate --prompt x",
    "generate-sequential --prompt x",
    "evaluate --file text.txt",
    "bench",
    "convert",
    "inspect",
    "tokenize --text x",
];

#[test]
fn nothing_to_open() {
    let mut t = Transcript::new();
    fs::create_dir(t.folder().join("empty")).unwrap();
    fs::write(t.folder().join("text.txt"), "The keeper").unwrap();
    for command in COMMANDS {
        t.run(&format!("{command} --checkpoint-dir missing"));
    }
    t.run("inspect --checkpoint-dir empty");
    t.run("inspect --checkpoint-dir tiny/lama");
    t.run("inspect");
    t.run("generate --prompt x");
    fs::create_dir(t.folder().join("two")).unwrap();
    for name in ["a.gguf", "b.gguf"] {
        fs::copy(t.folder().join("tiny.gguf"), t.folder().join("two").join(name)).unwrap();
    }
    t.run("inspect --checkpoint-dir two");
    t.run("inspect --checkpoint-dir two/a.gguf --quiet");
    fs::create_dir(t.folder().join("weights")).unwrap();
    fs::write(t.folder().join("weights/pytorch_model.bin"), "PK").unwrap();
    t.run("inspect --checkpoint-dir weights");
    t.matches("errors_nothing_to_open");
}

/// All commands that need weights say the same about weights that are cut.
#[test]
fn weights_cut_short() {
    let mut t = Transcript::new();
    fs::write(t.folder().join("text.txt"), "The keeper").unwrap();
    let weights = t.folder().join("checkpoints/tiny/llama/model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() - 4096]).unwrap();
    for command in COMMANDS {
        t.run(&format!("{command} --checkpoint-dir tiny/llama"));
    }
    fs::write(&weights, &bytes[..1000]).unwrap();
    t.run("inspect --checkpoint-dir tiny/llama");
    fs::write(&weights, "").unwrap();
    t.run("inspect --checkpoint-dir tiny/llama");
    fs::remove_file(&weights).unwrap();
    t.run("inspect --checkpoint-dir tiny/llama");
    fs::remove_file(t.folder().join("checkpoints/tiny/mixtral/model-00002-of-00004.safetensors")).unwrap();
    t.run("inspect --checkpoint-dir tiny/mixtral");
    t.matches("errors_weights_cut_short");
}

/// Mistral's own layout and litgpt's, whole and not.
#[test]
fn other_layouts() {
    let mut t = Transcript::new();
    for (name, config, field, value) in [
        ("mistral-experts", "params.json", "yarn", json!({"factor": 16})),
        ("litgpt-old", "lit_config.json", "parallel_residual", json!(true)),
    ] {
        let folder = t.folder().join(name);
        copy_folder(&layout(name), &folder);
        t.run(&format!("inspect --checkpoint-dir {name}"));
        edit(&folder.join(config), |config| config[field] = value.clone());
        t.run(&format!("inspect --checkpoint-dir {name}"));
        fs::remove_file(folder.join(config)).unwrap();
        t.run(&format!("inspect --checkpoint-dir {name}"));
        copy_folder(&layout(name), &folder);
        for weights in ["consolidated.00.pt", "consolidated.01.pt", "lit_model.pth"] {
            let _ = fs::remove_file(folder.join(weights));
        }
        t.run(&format!("inspect --checkpoint-dir {name}"));
    }
    t.matches("errors_other_layouts");
}

fn edit(path: &Path, change: impl Fn(&mut Value)) {
    let mut value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

#[test]
fn configs_that_are_wrong_or_not_understood() {
    let mut t = Transcript::new();
    let config = t.folder().join("checkpoints/tiny/llama/config.json");
    let original = fs::read(&config).unwrap();
    let changes: [(&str, Value); 8] = [
        ("architectures", json!(["GPT2LMHeadModel"])),
        ("rope_parameters", json!({"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0})),
        ("num_hidden_layers", json!(4)),
        ("num_hidden_layers", json!(2)),
        ("hidden_size", json!(65)),
        ("num_key_value_heads", json!(3)),
        ("attention_multiplier", json!(0.5)),
        ("vocab_size", json!("320")),
    ];
    for (name, value) in changes {
        fs::write(&config, &original).unwrap();
        edit(&config, |config| config[name] = value.clone());
        let ended = Mist::new(t.folder()).args(["inspect", "--checkpoint-dir", "tiny/llama"]).run();
        t.record(&format!("mist inspect --checkpoint-dir tiny/llama   # {name} is {value}"), &ended);
    }
    for text in ["{\"architectures\": [", "[]", ""] {
        fs::write(&config, text).unwrap();
        let ended = Mist::new(t.folder()).args(["inspect", "--checkpoint-dir", "tiny/llama"]).run();
        t.record(&format!("mist inspect --checkpoint-dir tiny/llama   # config.json is {text:?}"), &ended);
    }
    fs::write(&config, &original).unwrap();
    fs::remove_file(config.with_file_name("tokenizer.json")).unwrap();
    t.run("inspect --checkpoint-dir tiny/llama");
    t.run("tokenize --checkpoint-dir tiny/llama --text x");
    fs::write(config.with_file_name("tokenizer.json"), "{}").unwrap();
    t.run("inspect --checkpoint-dir tiny/llama");
    t.matches("errors_configs");
}

#[test]
fn calls_that_are_wrong() {
    let mut t = Transcript::new();
    t.run("generat --prompt x");
    t.run("generate --checkpoint-dir tiny/llama --prompt x --top-q 5");
    t.run("generate --checkpoint-dir tiny/llama --prompt x --top-k many");
    t.run("generate --checkpoint-dir tiny/llama --prompt x --threads 0");
    t.run("generate --checkpoint-dir tiny/llama --prompt x --dtype f64");
    t.run("generate --checkpoint-dir tiny/llama --prompt x --json=maybe");
    t.run("evaluate --checkpoint-dir tiny/llama");
    t.run("evaluate --checkpoint-dir tiny/llama --file x --context-length 1");
    t.run("inspect --checkpoint-dir tiny/llama --context-length=-1");
    t.matches("errors_usage");
}

#[test]
fn values_that_are_out_of_range() {
    let mut t = Transcript::new();
    let long = "The keeper wrote. ".repeat(400);
    for flags in [
        "--temperature -1",
        "--temperature nan",
        "--top-p 0",
        "--min-p 2",
        "--repeat-penalty 0",
        "--device gpu",
        "--device cuda",
        "--devices 99",
        "--device cpu --devices 2",
        "--cache-dtype q4_0",
        "--quantize q4",
        "--memory plenty",
        "--devices 2 --memory 1GiB,1GiB,1GiB",
        "--context-length 9999",
        "--context-length 0",
    ] {
        t.run(&format!("generate --checkpoint-dir tiny/llama --prompt x {flags}"));
    }
    t.run("generate --checkpoint-dir tiny/llama --prompts-file missing.txt");
    t.run_with("generate --checkpoint-dir tiny/llama --prompt -", |m| m.stdin(long.as_bytes()));
    t.run_with("generate --checkpoint-dir tiny/llama --prompt -", |m| m.stdin(*b"\xff\xfe"));
    t.matches("errors_values");
}
