//! `bench`: what it says, but for how fast this machine is.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::support::{Ended, Mist, copy_folder, model};
use crate::transcript::Transcript;

const SHORT: &str = "--prompt-tokens 9 --generate-tokens 5 --repetitions 3";

/// Each run reads a buffer of 1 GiB: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn bench(t: &Transcript, line: &str) -> Ended {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Mist::new(t.folder()).args(["bench"]).args(line.split_whitespace()).run()
}

fn json(t: &Transcript, line: &str) -> Value {
    let ended = bench(t, &format!("{line} --json --quiet"));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    ended.json()
}

fn number(json: &Value, name: &str) -> f64 {
    let number = json[name].as_f64();
    assert!(number.is_some(), "{name} in {json}");
    number.unwrap()
}

#[test]
fn what_is_wrong_with_a_call() {
    let mut t = Transcript::new();
    t.run("bench");
    t.run("bench --checkpoint-dir tiny/llama --prompt-tokens 0 --generate-tokens 0");
    t.run("bench --checkpoint-dir tiny/llama --prompt-tokens many");
    t.run("bench --checkpoint-dir tiny/llama --repetitions 0");
    t.run("bench --checkpoint-dir tiny/llama --sequences 33");
    t.run("bench --checkpoint-dir tiny/llama --sequences 0");
    t.run("bench --checkpoint-dir tiny/llama --prompt 512");
    for tokens in [
        "--prompt-tokens 1025",
        "--generate-tokens 4096",
        "--depth 1000",
        "--depth 1000 --prompt-tokens 2000",
        "--depth 18446744073709551615",
        "--prompt-tokens 2000 --generate-tokens 3000",
    ] {
        t.run(&format!("bench --checkpoint-dir tiny/llama {tokens}"));
    }
    t.run("bench --checkpoint-dir tiny/llama --memory 300KiB");
    t.run("bench --checkpoint-dir tiny/llama --devices cuda:0,cpu --memory 1GiB --cache-dtype q8_0");
    t.matches("bench_errors");
}

#[test]
fn the_fields_and_how_they_hang_together() {
    let t = Transcript::new();
    let json = json(&t, &format!("--checkpoint-dir tiny/llama {SHORT} --threads 2 --depth 3"));
    for part in ["prompt_tokens_per_second", "generate_tokens_per_second"] {
        let rates = &json[part];
        let samples: Vec<f64> =
            rates["samples"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
        assert_eq!(samples.len(), 3);
        assert!(samples.iter().all(|sample| sample.is_finite() && *sample > 0.0), "{rates}");
        let mean = samples.iter().sum::<f64>() / 3.0;
        assert!((number(rates, "mean") / mean - 1.0).abs() < 1e-9, "{rates}");
        assert!(samples.contains(&number(rates, "median")), "{rates}");
        let variance = samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 2.0;
        assert!((number(rates, "stddev") - variance.sqrt()).abs() < 1e-6 * mean, "{rates}");
    }
    // Keys and values of two layers' two heads of 16, in f16: 4 to 8 positions are seen, 6 on average.
    let config = model("llama-gqa").join("config.json");
    let config: Value = serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
    let of = |name: &str| config[name].as_u64().unwrap();
    let head = config["head_dim"].as_u64().unwrap_or(of("hidden_size") / of("num_attention_heads"));
    let position = of("num_hidden_layers") * 2 * of("num_key_value_heads") * head * 2;
    assert_eq!(number(&json, "cache_bytes_per_token"), (6 * position) as f64);
    let read_a_token = number(&json, "weights_bytes_per_token") + number(&json, "cache_bytes_per_token");
    let effective = number(&json, "effective_bandwidth_bytes_per_second");
    let rate = number(&json["generate_tokens_per_second"], "median");
    assert!((effective / (rate * read_a_token) - 1.0).abs() < 1e-9, "{json}");
    // Nothing is read where memory is short.
    match json["read_bandwidth_bytes_per_second"].as_f64() {
        Some(read) => {
            assert!(read > 1e8 && number(&json, "best_read_bandwidth_bytes_per_second") >= read, "{json}");
            assert!((number(&json, "bandwidth_share") - effective / read).abs() < 1e-9, "{json}");
            let weights = number(&json, "weights_bytes_per_token") * rate;
            assert!((number(&json, "weights_share") - weights / read).abs() < 1e-9, "{json}");
        }
        None => {
            assert!(json["bandwidth_share"].is_null() && json["read_bandwidth_bytes_per_second"].is_null());
            assert!(json["weights_share"].is_null(), "{json}");
        }
    }
    // Only of a conversion, which is read from its map.
    assert!(json["large_pages_share"].is_null(), "{json}");
    assert!(number(&json, "load_seconds") > 0.0);
    if cfg!(target_os = "linux") {
        // The buffer of 1 GiB is no memory of the model.
        assert!((1e5..5e8).contains(&number(&json, "peak_memory_bytes")), "{json}");
    }
    for (name, expected) in [("device", "cpu"), ("scheme", "f32"), ("cache_dtype", "f16")] {
        assert_eq!(json[name], expected);
    }
    assert!(json["kernels"].is_string());
    let counts = ["threads", "prompt_tokens", "generate_tokens", "depth", "sequences", "repetitions"];
    assert_eq!(counts.map(|name| json[name].as_u64().unwrap()), [2, 9, 5, 3, 1, 3]);
}

#[test]
fn a_part_of_no_tokens_is_left_out() {
    let t = Transcript::new();
    let prompt = json(&t, "--checkpoint-dir tiny.gguf --prompt-tokens 4 --generate-tokens 0 --repetitions 1");
    let (prompts, generated) = (&prompt["prompt_tokens_per_second"], &prompt["generate_tokens_per_second"]);
    // One repetition says nothing of others.
    assert_eq!((prompts["samples"].as_array().unwrap().len(), &prompts["stddev"]), (1, &Value::Null));
    let nothing = [generated, &prompt["bandwidth_share"], &prompt["cache_bytes_per_token"]];
    assert!(nothing.into_iter().all(Value::is_null), "{prompt}");
    let generate =
        json(&t, "--checkpoint-dir tiny.gguf --prompt-tokens 0 --generate-tokens 4 --repetitions 1");
    assert!(generate["prompt_tokens_per_second"].is_null(), "{generate}");
    assert!(number(&generate["generate_tokens_per_second"], "mean") > 0.0);
}

#[test]
fn one_repetition_has_no_deviation() {
    let t = Transcript::new();
    for (repetitions, has_deviation) in [(1, false), (2, true)] {
        let line = format!(
            "--checkpoint-dir tiny.gguf --prompt-tokens 4 --generate-tokens 4 --repetitions {repetitions}"
        );
        let ended = bench(&t, &line);
        let rows: Vec<String> =
            ended.text().lines().filter(|l| l.starts_with(['p', 'g'])).map(str::to_string).collect();
        assert!(rows.len() == 2 && rows.iter().all(|row| row.contains('±') == has_deviation), "{ended:?}");
    }
}

/// Sequences share the reading of weights, but not that of caches; which experts they share is not known.
#[test]
fn sequences_are_generated_together() {
    let t = Transcript::new();
    for devices in ["", "--devices 3"] {
        let four = json(&t, &format!("--checkpoint-dir tiny/llama {SHORT} --sequences 4 {devices}"));
        let rate = number(&four["generate_tokens_per_second"], "median");
        let read = number(&four, "weights_bytes_per_token") / 4.0 + number(&four, "cache_bytes_per_token");
        let effective = number(&four, "effective_bandwidth_bytes_per_second");
        assert!((effective / (rate * read) - 1.0).abs() < 1e-9, "{four}");
        assert_eq!(four["device"], if devices.is_empty() { "cpu" } else { "3 x cpu" });
    }
    let experts = json(&t, &format!("--checkpoint-dir tiny/mixtral {SHORT} --sequences 2"));
    assert!(experts["effective_bandwidth_bytes_per_second"].is_null(), "{experts}");
    assert!(number(&experts["generate_tokens_per_second"], "mean") > 0.0);
}

/// `auto` is f16 on the CPU, but where computing is to be in f32.
#[test]
fn the_cache_is_of_the_type_that_is_asked_for() {
    let t = Transcript::new();
    let tiny = "--checkpoint-dir tiny.gguf --prompt-tokens 4 --generate-tokens 2 --repetitions 1";
    let positions = |json: &Value| number(json, "cache_bytes_per_token");
    let wide = json(&t, &format!("{tiny} --dtype f32"));
    assert_eq!(wide["cache_dtype"], "f32");
    let q8_0 = json(&t, &format!("{tiny} --cache-dtype q8_0"));
    assert_eq!(q8_0["cache_dtype"], "q8_0");
    // Two bytes of scale for 32 values of a byte; heads of 16 take a block each.
    assert!(positions(&q8_0) < positions(&wide), "{q8_0}");
    assert!(number(&q8_0["generate_tokens_per_second"], "mean") > 0.0);
}

/// Then bytes are read that are not those of the file.
#[test]
fn weights_that_are_rounded_give_no_bandwidth() {
    let t = Transcript::new();
    let rounded = json(&t, &format!("--checkpoint-dir tiny/llama {SHORT} --dtype bf16"));
    for name in ["effective_bandwidth_bytes_per_second", "bandwidth_share", "weights_share"] {
        assert!(rounded[name].is_null(), "{name} of {rounded}");
    }
}

/// A conversion takes long, and would be for nothing.
#[test]
fn too_deep_is_said_before_anything_is_converted() {
    let t = Transcript::new();
    let ended = bench(&t, "--checkpoint-dir tiny/llama --depth 1000 --quantize q8_0");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.starts_with("error: a depth of 1000 and 512 tokens are 1512 positions"),
        "{ended:?}"
    );
    assert!(!t.folder().join("checkpoints/tiny/llama/q8_0").exists());
}

/// A ring has then overwritten what a token at the depth sees: it is filled again for each repetition.
#[test]
fn a_depth_beyond_the_window() {
    let t = Transcript::new();
    copy_folder(&model("mistral-window"), &t.folder().join("window"));
    let whole = json(
        &t,
        "--checkpoint-dir window --depth 300 --prompt-tokens 300 --generate-tokens 9 --repetitions 2",
    );
    assert_eq!(whole["prompt_tokens_per_second"]["samples"].as_array().unwrap().len(), 2);
}

#[test]
fn a_table_for_a_person() {
    let t = Transcript::new();
    let ended = bench(&t, &format!("--checkpoint-dir tiny/llama {SHORT} --threads 1"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = ended.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["tokens/s", "GB/s", "of", "reading", "weights", "alone"]
    );
    assert!(lines[1].starts_with("prompt of 9 ") && lines[1].contains(" ± "), "{text}");
    assert!(lines[2].starts_with("generating 5 ") && lines[2].contains(" ± "), "{text}");
    let stderr: Vec<&str> = ended.stderr.lines().collect();
    assert!(
        stderr[1].starts_with("On cpu: 1 thread, ") && stderr[1].ends_with("weights f32 100.0 %; cache f16"),
        "{stderr:?}"
    );
    assert!(
        stderr[2].starts_with("A token reads ") && stderr[2].contains(" of weights. Loaded in "),
        "{stderr:?}"
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_with_130_and_no_result() {
    let t = Transcript::new();
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // The first comes before the handler is there, if it takes longer than a second.
    let script = r#""$0" "$@" & while sleep 1; kill -INT $! 2> /dev/null; do :; done; wait $!"#;
    let args = "bench --checkpoint-dir tiny/llama --json --quiet --repetitions 65535";
    let ended = Mist::shell(t.folder(), script).args(args.split(' ')).run();
    assert_eq!((ended.code, ended.text().as_str(), ended.stderr.as_str()), (Some(130), "", ""));
}
