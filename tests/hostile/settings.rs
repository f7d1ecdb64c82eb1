//! Settings that say two things, that say nothing, or that suggest what cannot be: each is taken as the program takes it
//! that the model was made for, or is an error that names it; never a third result.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bytes::{Gguf, SafeTensors, Typed, edit_json, text_value, u32_value};
use crate::support::{Ended, Mist, copy_of, copy_of_layout};
use crate::{refused, run};

const GREEDY: &str = "--prompt x --temperature 0 --max-new-tokens 8 --json";

/// A run that must succeed, and what it printed.
#[track_caller]
fn done(folder: &Path, command: &str) -> Ended {
    let ended = run(folder, command);
    assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
    ended
}

/// The ids that the checkpoint `name` in `folder` gives greedily.
#[track_caller]
fn ids(folder: &Path, name: &str) -> Value {
    done(folder, &format!("generate --checkpoint-dir {name} {GREEDY}")).json()["output_ids"].clone()
}

fn f32_value(value: f32) -> Typed {
    (6, value.to_le_bytes().to_vec())
}

/// Entries that published files have and llama.cpp does not read, or reads as what is done anyway.
#[test]
fn entries_of_a_gguf_file_that_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Gguf::fixture("llama-gqa-quants");
    plain.write(folder.path());
    let expected = ids(folder.path(), "x.gguf");
    let u8_value = |value: u8| (0, vec![value]);
    let harmless: Vec<(&str, Typed)> = vec![
        ("tensor_data_layout", text_value("Meta AI original pth")),
        ("attention.causal", (7, vec![1])),
        ("pooling_type", u32_value(1)),
        ("expert_group_count", u32_value(0)),
        ("expert_group_used_count", u32_value(0)),
        ("expert_weights_scale", f32_value(1.0)),
        ("expert_weights_norm", u8_value(0)),
        ("expert_gating_func", u32_value(2)),
        ("logit_scale", f32_value(1.0)),
        ("residual_scale", f32_value(1.0)),
        ("embedding_scale", f32_value(0.0)),
        ("attn_logit_softcapping", f32_value(0.0)),
        ("final_logit_softcapping", f32_value(0.0)),
        ("attention.layer_norm_epsilon", f32_value(1e-3)),
        ("attention.max_alibi_bias", f32_value(0.0)),
        ("attention.clamp_kqv", f32_value(0.0)),
        ("attention.scale", f32_value(0.25)),
        ("use_parallel_residual", u8_value(0)),
        ("leading_dense_block_count", u32_value(0)),
        ("nextn_predict_layers", u32_value(0)),
        ("embedding_length_out", u32_value(64)),
        ("rope.dimension_count_swa", u32_value(16)),
        ("rope.scaling.yarn_beta_fast", f32_value(32.0)),
        ("hidden_activation", text_value("silu")),
        ("decoder_start_token_id", u32_value(0)),
    ];
    let insert = |gguf: Gguf, (name, value): (&str, Typed)| gguf.insert(&format!("llama.{name}"), value);
    let all = harmless.into_iter().fold(plain.clone(), insert);
    all.replace("tokenizer.ggml.add_bos_token", u8_value(1)).write(folder.path());
    assert_eq!(ids(folder.path(), "x.gguf"), expected);

    let changing: Vec<(&str, Typed)> = vec![
        ("attention.causal", (7, vec![0])),
        ("attention.causal", u8_value(0)),
        ("logit_scale", f32_value(0.5)),
        ("residual_scale", f32_value(0.22)),
        ("attn_logit_softcapping", f32_value(50.0)),
        ("attention.scale", f32_value(0.1)),
        ("use_parallel_residual", (7, vec![1])),
        ("hidden_activation", text_value("gelu")),
        ("embedding_length_out", u32_value(32)),
        ("leading_dense_block_count", u32_value(1)),
        ("something_new", u32_value(0)),
    ];
    for (name, value) in changing {
        insert(plain.clone(), (name, value)).write(folder.path());
        refused(folder.path(), "inspect --checkpoint-dir x.gguf", &[&format!("llama.{name}")]);
    }
}

/// `llama-gqa` with a head that its config says to be the embedding; `change` gets the file of weights.
fn tied(change: impl FnOnce(&mut SafeTensors)) -> tempfile::TempDir {
    let folder = copy_of("llama-gqa");
    let path = folder.path().join("model.safetensors");
    let mut file = SafeTensors::read(&path);
    change(&mut file);
    file.write(&path);
    edit_json(&folder.path().join("config.json"), |config| config["tie_word_embeddings"] = json!(true));
    folder
}

/// transformers 5 does not tie what is stored twice with different values.
#[test]
fn a_head_that_is_not_the_embedding_it_is_tied_to() {
    let expected = ids(copy_of("llama-gqa").path(), ".");
    let folder = tied(|_| ());
    let ended = done(folder.path(), &format!("generate --checkpoint-dir . {GREEDY} --quiet"));
    assert_eq!(ended.json()["output_ids"], expected);
    let warning = "warning: .: the config ties the head to the embedding, but a different head is stored; the stored head is used\n";
    assert_eq!(ended.stderr, warning);
    for (to, opened) in [("mist", "mist"), ("hf", "hf"), ("gguf", "gguf"), ("litgpt", "litgpt")] {
        let ended = done(folder.path(), &format!("convert --checkpoint-dir . --to {to} --output-dir {to}"));
        assert!(ended.stderr.contains(warning), "{ended:?}");
        assert_eq!(ids(folder.path(), opened), expected, "{to}");
        assert!(
            !done(folder.path(), &format!("inspect --checkpoint-dir {opened}")).stderr.contains("warning")
        );
    }
    let written: Value =
        serde_json::from_slice(&fs::read(folder.path().join("hf/config.json")).unwrap()).unwrap();
    assert_eq!(written["tie_word_embeddings"], false);

    let of_mistral = copy_of_layout("mistral");
    let expected = ids(of_mistral.path(), ".");
    edit_json(&of_mistral.path().join("params.json"), |params| params["tied_embeddings"] = json!(true));
    let ended = done(of_mistral.path(), &format!("generate --checkpoint-dir . {GREEDY} --quiet"));
    assert_eq!((ended.json()["output_ids"].clone(), ended.stderr.as_str()), (expected, warning));
}

#[test]
fn a_tied_head_that_is_stored_again_or_alone() {
    const EMBEDDING: &str = "model.embed_tokens.weight";
    let again = tied(|file| {
        let (embedding, head) = (file.span(EMBEDDING), file.span("lm_head.weight"));
        file.data.copy_within(embedding, head.start);
    });
    let ended = done(again.path(), &format!("generate --checkpoint-dir . {GREEDY} --quiet"));
    assert_eq!(ended.stderr, "");
    // Only the head, which is then the embedding as well.
    let alone = tied(|file| {
        let gone = file.span("lm_head.weight");
        let embedding = file.span(EMBEDDING);
        file.data.drain(gone.clone());
        file.header.remove("lm_head.weight");
        for entry in file.header.values_mut().filter(|entry| entry.get("data_offsets").is_some()) {
            for offset in entry["data_offsets"].as_array_mut().unwrap() {
                let at = offset.as_u64().unwrap() as usize;
                *offset = json!(if at > gone.start { at - gone.len() } else { at });
            }
        }
        assert_eq!(embedding.len(), gone.len());
        let entry = file.header.remove(EMBEDDING).unwrap();
        file.header.insert("lm_head.weight".into(), entry);
    });
    let other = done(alone.path(), &format!("generate --checkpoint-dir . {GREEDY} --quiet"));
    assert_eq!((&other.json()["output_ids"], other.stderr.as_str()), (&ended.json()["output_ids"], ""));
    // A head of another shape is an error, not passed over.
    let odd = tied(|file| {
        let rows = file.header["lm_head.weight"]["shape"][0].as_u64().unwrap();
        file.header["lm_head.weight"]["shape"] = json!([rows / 2, 128]);
    });
    refused(odd.path(), "inspect --checkpoint-dir .", &["lm_head.weight", "has shape"]);
}

/// Each file that describes a model, with a byte order mark before it as editors on Windows write it.
#[test]
fn a_byte_order_mark_before_a_description() {
    let files: [(&str, &[&str]); 5] = [
        ("models/mistral-window", &["config.json", "generation_config.json"]),
        ("models/llama-tied", &["model.safetensors.index.json"]),
        ("layouts/mistral", &["params.json", "generation_config.json"]),
        ("layouts/litgpt", &["model_config.yaml"]),
        ("layouts/litgpt-old", &["lit_config.json"]),
    ];
    for (checkpoint, names) in files {
        let folder = match checkpoint.split_once('/').unwrap() {
            ("models", name) => copy_of(name),
            (_, name) => copy_of_layout(name),
        };
        let expected = ids(folder.path(), ".");
        for name in names {
            let path = folder.path().join(name);
            let text = [b"\xEF\xBB\xBF", fs::read(&path).unwrap().as_slice()].concat();
            fs::write(&path, text).unwrap();
        }
        assert_eq!(ids(folder.path(), "."), expected, "{checkpoint}");
    }
}

#[test]
fn a_byte_order_mark_before_a_text() {
    let folder = copy_of("llama-gqa");
    for (name, text) in [("plain.txt", "The keeper"), ("marked.txt", "\u{feff}The keeper")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    for (command, what) in [
        ("generate --temperature 0 --json --prompts-file", "prompt_ids"),
        ("evaluate --json --file", "tokens"),
    ] {
        let [plain, marked] = ["plain.txt", "marked.txt"].map(|file| {
            done(folder.path(), &format!("{command} {file} --checkpoint-dir .")).json()[what].clone()
        });
        assert_eq!(plain, marked, "{command}");
    }
    let tokenize =
        |text: &str| Mist::new(folder.path()).args(["tokenize", "--checkpoint-dir", "."]).stdin(text).run();
    assert_eq!(tokenize("The keeper").text(), tokenize("\u{feff}The keeper").text());
}

/// Python takes the last, others the first.
#[test]
fn a_key_that_is_given_twice() {
    for (layout, name, key, value) in [
        ("", "config.json", "rms_norm_eps", "1e-3"),
        ("", "generation_config.json", "eos_token_id", "5"),
        ("mistral", "params.json", "norm_eps", "1e-3"),
        ("litgpt-old", "lit_config.json", "norm_eps", "1e-3"),
    ] {
        let folder = if layout.is_empty() { copy_of("mistral-window") } else { copy_of_layout(layout) };
        let path = folder.path().join(name);
        let text = fs::read_to_string(&path).unwrap().replacen('{', &format!("{{\"{key}\": {value},"), 1);
        fs::write(&path, text).unwrap();
        refused(
            folder.path(),
            "inspect --checkpoint-dir .",
            &[name, &format!("the key \"{key}\" is given twice")],
        );
    }
}

/// A size that is left out has a default; where that is not the weights' the file is what is wrong.
#[test]
fn a_size_that_is_left_out() {
    for name in ["hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size", "num_attention_heads"]
    {
        let folder = copy_of("llama-gqa");
        let change = |config: &mut Value| drop(config.as_object_mut().unwrap().remove(name));
        edit_json(&folder.path().join("config.json"), change);
        refused(folder.path(), "inspect --checkpoint-dir .", &["config.json", &format!("{name} is missing")]);
    }
}

/// The hint for what a repository's own file says must not be to compare it with itself.
#[test]
fn a_field_that_is_not_understood_is_not_called_damage() {
    for (name, value, error, hint) in [
        (
            "attention_multiplier",
            json!(0.5),
            "attention_multiplier (0.5) is not understood",
            "a newer kind of model",
        ),
        (
            "architectures",
            json!(["FooForCausalLM"]),
            "the architecture FooForCausalLM",
            "a newer kind of model",
        ),
        (
            "quantization_config",
            json!({"quant_method": "gptq"}),
            "quantized by gptq",
            "unquantized, or as a .gguf",
        ),
    ] {
        let folder = copy_of("llama-gqa");
        edit_json(&folder.path().join("config.json"), |config| config[name] = value);
        let ended = run(folder.path(), "inspect --checkpoint-dir .");
        let lines: Vec<&str> = ended.stderr.lines().collect();
        assert!(lines[0].contains(error) && lines[1].contains(hint), "{ended:?}");
    }
}

/// What `--json` says to be in force for `llama-gqa` with this `generation_config.json`.
fn sampling(generation: &Value, flags: &str) -> (Value, String) {
    let folder = copy_of("llama-gqa");
    fs::write(folder.path().join("generation_config.json"), generation.to_string()).unwrap();
    let command =
        format!("generate --checkpoint-dir . --prompt x --seed 1 --max-new-tokens 1 --json -q{flags}");
    let ended = done(folder.path(), &command);
    (ended.json()["sampling"].clone(), ended.stderr)
}

#[track_caller]
fn assert_sampling(found: &Value, expected: [f64; 5]) {
    let names = ["temperature", "top_k", "top_p", "min_p", "repeat_penalty"];
    assert_eq!(names.map(|name| found[name].as_f64().unwrap()), expected, "{found}");
}

#[test]
fn sampling_is_as_the_model_suggests_each_value_by_itself() {
    let ours = [0.8, 50.0, 1.0, 0.0, 1.0];
    for (generation, expected) in [
        (json!({}), ours),
        (json!({"do_sample": false}), ours),
        (json!({"do_sample": true, "temperature": 0.6, "top_p": 0.9}), [0.6, 50.0, 0.9, 0.0, 1.0]),
        (json!({"top_k": 20, "repetition_penalty": 1.05}), [0.8, 20.0, 1.0, 0.0, 1.05]),
        (json!({"min_p": 0.1, "top_k": null, "temperature": 0}), [0.0, 50.0, 1.0, 0.1, 1.0]),
        (json!({"top_k": 0}), [0.8, 0.0, 1.0, 0.0, 1.0]),
    ] {
        let (found, stderr) = sampling(&generation, "");
        assert_sampling(&found, expected);
        assert_eq!(stderr, "");
    }
    let all =
        json!({"temperature": 0.6, "top_k": 20, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.05});
    let flags = " --temperature 1 --top-k 5 --top-p 0.5 --min-p 0.2 --repeat-penalty 1.5";
    assert_sampling(&sampling(&all, flags).0, [1.0, 5.0, 0.5, 0.2, 1.5]);
    assert_sampling(&sampling(&all, " --top-k 5").0, [0.6, 5.0, 0.9, 0.1, 1.05]);
}

#[test]
fn a_suggestion_that_cannot_be_is_passed_over_with_a_word() {
    let odd =
        json!({"temperature": -0.5, "top_k": -1, "top_p": 0.9, "min_p": "much", "repetition_penalty": 0});
    let (found, stderr) = sampling(&odd, "");
    assert_sampling(&found, [0.8, 50.0, 0.9, 0.0, 1.0]);
    let expected = [
        "min_p is \"much\", it must be a number: passed over",
        "temperature is -0.5, it must be 0 or more: passed over",
        "top_k is -1, it must be a whole number, 0 or more: passed over",
        "repetition_penalty is 0, it must be above 0: passed over",
    ];
    let lines: Vec<String> =
        expected.iter().map(|text| format!("warning: ./generation_config.json: {text}")).collect();
    assert_eq!(stderr.lines().collect::<Vec<_>>(), lines);
    // They are shown as the file has them, not as 32 bits do.
    for (generation, expected) in [
        (
            json!({"top_k": 4294967296u64}),
            "top_k is 4294967296, it must be a whole number from 0 to 4294967295",
        ),
        (json!({"top_k": 1.5}), "top_k is 1.5, it must be a whole number, 0 or more"),
        (json!({"temperature": 1e308}), "temperature is 1e308, it must be at most 3.4e38"),
        (json!({"top_p": 1e-320}), "top_p is 1e-320, it must be at least 1.4e-45"),
        (json!({"top_p": 0.1 + 1.0}), "top_p is 1.1, it must be above 0, at most 1"),
        (json!({"min_p": -0.1}), "min_p is -0.1, it must be from 0 to 1"),
    ] {
        let (found, stderr) = sampling(&generation, "");
        assert_sampling(&found, [0.8, 50.0, 1.0, 0.0, 1.0]);
        let line = format!("warning: ./generation_config.json: {expected}: passed over\n");
        assert_eq!(stderr, line);
    }
    let (_, stderr) = sampling(&json!({"temperature": -0.5}), " --temperature 1");
    assert_eq!(stderr, "", "nobody asked for it");
}

/// Into every layout that has a place for them, and from a GGUF file that has them.
#[test]
fn suggestions_go_with_a_conversion() {
    let folder = copy_of("llama-gqa");
    edit_json(&folder.path().join("generation_config.json"), |generation| {
        generation["temperature"] = json!(0.6);
        generation["top_k"] = json!(20);
        generation["repetition_penalty"] = json!(1.05);
    });
    let command = "generate --prompt x --seed 1 --max-new-tokens 1 --json --checkpoint-dir";
    let check = |name: &str| {
        let found = done(folder.path(), &format!("{command} {name}")).json();
        assert_sampling(&found["sampling"], [0.6, 20.0, 1.0, 0.0, 1.05]);
    };
    done(folder.path(), "convert --checkpoint-dir . --to gguf --output-dir gguf");
    check("gguf");
    for (from, to) in
        [(".", "mist"), (".", "hf"), (".", "litgpt"), ("gguf", "mist"), ("gguf", "hf"), ("gguf", "litgpt")]
    {
        let output = format!("{to}-of-{}", from.replace('.', "folder"));
        done(folder.path(), &format!("convert --checkpoint-dir {from} --to {to} --output-dir {output}"));
        check(&output);
    }
    done(folder.path(), "convert --checkpoint-dir mist-of-gguf --to gguf --output-dir again");
    check("again");
    let ended = done(
        folder.path(),
        "chat --checkpoint-dir gguf --quantize q8_0 --prompt x --seed 1 --max-new-tokens 1",
    );
    assert!(ended.stderr.contains("Quantizing"), "{ended:?}");
    check("gguf --quantize q8_0");
}

#[test]
fn a_text_that_fills_the_context_says_why_it_ended() {
    let folder = copy_of("llama-gqa");
    fs::write(folder.path().join("prompts.txt"), "x\nThe keeper wrote down the weather.\n").unwrap();
    let full = "ended because the context of 24 tokens is full";
    for command in ["generate", "generate-sequential"] {
        let command =
            format!("{command} --checkpoint-dir . --temperature 0 --ignore-eos --context-length 24 --quiet");
        let one = done(folder.path(), &format!("{command} --prompt x"));
        assert_eq!(one.stderr, format!("warning: the text {full}\n"));
        let one = done(folder.path(), &format!("{command} --prompt x --json"));
        assert_eq!(one.json()["finish_reason"], "context");
        let short = done(folder.path(), &format!("{command} --prompt x --json --max-new-tokens 3"));
        assert_eq!((&short.json()["finish_reason"], short.stderr.as_str()), (&json!("length"), ""));
        let many = done(folder.path(), &format!("{command} --prompts-file prompts.txt"));
        assert_eq!(many.stderr, format!("warning: 2 of 2 texts {full}\n"));
        let some = done(folder.path(), &format!("{command} --prompts-file prompts.txt --max-new-tokens 16"));
        assert_eq!(some.stderr, format!("warning: 1 of 2 texts {full}\n"));
    }
}

/// Values of a layer beyond what f16 holds, which is the cache's type on the CPU.
#[test]
fn values_that_do_not_fit_the_cache_name_the_flag_that_helps() {
    let folder = copy_of("llama-gqa");
    let path = folder.path().join("model.safetensors");
    let mut file = SafeTensors::read(&path);
    let span = file.span("model.layers.1.self_attn.v_proj.weight");
    for weight in file.data[span].as_chunks_mut::<4>().0 {
        *weight = (f32::from_le_bytes(*weight) * 1e6).to_le_bytes();
    }
    file.write(&path);
    fs::write(folder.path().join("text.txt"), "The keeper wrote.").unwrap();
    for command in ["generate --prompt x --seed 1", "chat --prompt x --seed 1", "evaluate --file text.txt"] {
        for cache in ["", " --cache-dtype f16"] {
            let ended = run(folder.path(), &format!("{command} --checkpoint-dir .{cache}"));
            assert_eq!(ended.code, Some(1), "{command}: {ended:?}");
            assert!(ended.stderr.contains("not numbers"), "{ended:?}");
            assert!(
                ended.stderr.contains("hint: --cache-dtype bf16 holds keys and values beyond 65504"),
                "{ended:?}"
            );
        }
        done(folder.path(), &format!("{command} --checkpoint-dir . --cache-dtype bf16"));
    }
}
