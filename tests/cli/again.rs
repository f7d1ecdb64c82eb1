//! `generate --json` says all that a text depends on: from the object alone a run gives the text again.

use std::fs;

use serde_json::Value;

use crate::support::{Ended, Mist};
use crate::transcript::Transcript;

fn run(t: &Transcript, line: &str) -> Vec<Value> {
    let ended = mist(t, line.split_whitespace());
    let objects = serde_json::Deserializer::from_slice(&ended.stdout).into_iter();
    objects.collect::<Result<_, _>>().unwrap()
}

fn mist<'a>(t: &Transcript, args: impl Iterator<Item = &'a str>) -> Ended {
    let ended = Mist::new(t.folder()).args(args).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended
}

/// The flags of a run that gives the text of this object, from nothing else.
fn flags(json: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
    let mut flags = vec!["generate".to_string(), "--json".into()];
    let mut add = |flag: &str, value: &Value| {
        if !value.is_null() {
            flags.push(format!("--{flag}={}", text(value)));
        }
    };
    add("checkpoint-dir", &json["model"]);
    add("devices", &json["device"]);
    for name in ["quantization", "prompt", "seed"] {
        add(name.strip_suffix("ization").map_or(name, |_| "quantize"), &json[name]);
    }
    for (name, value) in json["sampling"].as_object().unwrap() {
        let flag = name.replace('_', "-");
        match value.as_array() {
            Some(values) => values.iter().for_each(|value| add(&flag, value)),
            None => add(&flag, value),
        }
    }
    let split = json["split"].as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(",");
    add("split", &split.into());
    flags
}

/// All objects of a run are run again, each alone.
#[track_caller]
fn check(t: &Transcript, line: &str) -> Vec<Value> {
    let objects = run(t, line);
    for json in &objects {
        let flags = flags(json);
        let again = mist(t, flags.iter().map(String::as_str)).json();
        for name in ["prompt_ids", "output_ids", "text", "finish_reason", "sampling", "seed", "weights"] {
            assert_eq!(again[name], json[name], "{name} of {line}\n{flags:?}");
        }
    }
    objects
}

#[test]
fn a_text_can_be_had_again_from_its_json_alone() {
    let t = Transcript::new();
    let prompt = "--json --prompt whales --max-new-tokens 12";
    let drawn = check(&t, &format!("generate --checkpoint-dir tiny/llama {prompt} --num-samples 4"));
    let samples: Vec<u64> = drawn.iter().map(|json| json["sample"].as_u64().unwrap()).collect();
    assert_eq!(samples, [0, 1, 2, 3]);
    let first = drawn[0]["seed"].as_u64().unwrap();
    assert!(drawn.iter().zip(first..).all(|(json, seed)| json["seed"] == seed));
    assert!(drawn.iter().any(|json| json["output_ids"] != drawn[0]["output_ids"]), "each has its own chance");
    let flags =
        "--seed 5 --temperature 1.3 --top-k 0 --top-p 0.95 --min-p 0.001 --repeat-penalty 1.2 --ignore-eos";
    check(
        &t,
        &format!("generate --checkpoint-dir tiny.gguf {prompt} {flags} --stop e --stop zz --activations 8"),
    );
    check(
        &t,
        &format!(
            "generate --checkpoint-dir tiny/llama {prompt} --chat --context-length 100 --cache-dtype q8_0"
        ),
    );
    check(
        &t,
        &format!("generate --checkpoint-dir tiny/mixtral {prompt} --dtype f32 --devices 3 --split 1,3,1"),
    );
    check(&t, &format!("generate --checkpoint-dir tiny/llama {prompt} --temperature 0 --num-samples 2"));
}

/// Originals and a conversion in one place, of which the object says which was run.
#[test]
fn the_weights_of_a_text_are_found_again() {
    let t = Transcript::new();
    let line = "generate --checkpoint-dir tiny/mixtral --json --prompt whales --max-new-tokens 12";
    let quantization = |flags: &str| check(&t, &format!("{line} {flags}"))[0]["quantization"].clone();
    assert_eq!(quantization("--quantize q4_0"), "q4_0");
    assert_eq!(quantization(""), "none");
    mist(&t, "convert --checkpoint-dir tiny/mixtral --quantize q8_0".split(' '));
    assert_eq!(quantization(""), "q8_0");
    assert_eq!(quantization("--quantize none"), "none");
    // No flag leads to this one but the folder that it lies in.
    mist(&t, "convert --checkpoint-dir tiny/mixtral --quantize q4_0 --pure --force".split(' '));
    assert_eq!(quantization(""), Value::Null);
}

#[test]
fn a_line_of_a_file_is_a_prompt_like_any_other() {
    let t = Transcript::new();
    fs::write(t.folder().join("prompts"), "whales\n\nThe keeper wrote\n \nA\n").unwrap();
    let line =
        "generate --checkpoint-dir tiny/llama --prompts-file prompts --num-samples 2 --max-new-tokens 9";
    let objects = run(&t, &format!("{line} --json --seed 18446744073709551614"));
    assert_eq!(objects.len(), 10);
    for (number, json) in objects.iter().enumerate() {
        assert_eq!(json["sample"], number % 2);
        if [1, 3].contains(&(number / 2)) {
            assert_eq!(json["output_ids"], Value::Array(Vec::new()));
            assert_eq!((&json["text"], &json["finish_reason"]), (&"".into(), &"stop".into()));
            continue;
        }
        let flags = flags(json);
        let again = mist(&t, flags.iter().map(String::as_str)).json();
        assert_eq!(again["output_ids"], json["output_ids"], "{flags:?}");
    }
    // One prompt by itself or in a file, the seeds are the same.
    fs::write(t.folder().join("one"), "whales\n").unwrap();
    let rest = "--json --num-samples 3 --max-new-tokens 9 --seed 7 --checkpoint-dir tiny/llama";
    let [file, flag] =
        ["--prompts-file one", "--prompt whales"].map(|prompt| run(&t, &format!("generate {rest} {prompt}")));
    for (a, b) in file.iter().zip(&flag) {
        assert_eq!((&a["output_ids"], &a["seed"]), (&b["output_ids"], &b["seed"]));
    }
}

#[test]
fn a_blank_line_is_an_empty_text_in_its_place() {
    let t = Transcript::new();
    let line = "generate --checkpoint-dir tiny/llama --prompts-file prompts --max-new-tokens 5 --temperature 0 --quiet";
    let text = |prompts: &str| {
        fs::write(t.folder().join("prompts"), prompts).unwrap();
        mist(&t, line.split(' ')).stdout
    };
    let one = text("whales\n");
    assert_eq!(text("\nwhales\n\r\nwhales\n\n"), [b"\n", &one[..], b"\n", &one, b"\n"].concat());
    assert_eq!(text("\n\n"), b"\n\n");
}

#[test]
fn length_is_told_from_context_in_a_batch_as_well() {
    let t = Transcript::new();
    fs::write(t.folder().join("prompts"), "whales\nThe keeper wrote of whales\n").unwrap();
    for prompts in ["--prompts-file prompts", "--prompt whales --num-samples 2"] {
        let line = format!(
            "generate --checkpoint-dir tiny/llama {prompts} --json --ignore-eos --seed 1 --context-length 24"
        );
        for (most, reason) in [(5, "length"), (500, "context")] {
            for json in run(&t, &format!("{line} --max-new-tokens {most}")) {
                assert_eq!(json["finish_reason"], reason);
                let [prompt, output] =
                    ["prompt_ids", "output_ids"].map(|ids| json[ids].as_array().unwrap().len());
                assert_eq!(output, if reason == "length" { 5 } else { 24 - prompt });
            }
        }
    }
}

#[test]
fn texts_are_separated_as_asked() {
    let t = Transcript::new();
    let line = "generate --checkpoint-dir tiny/llama --prompt whales --num-samples 2 --max-new-tokens 5 --temperature 0 --quiet";
    let run = |flags: &str| mist(&t, format!("{line} {flags}").split_whitespace()).text();
    let plain = run("");
    let text = &plain[..plain.len() / 2 - 1];
    assert_eq!(plain, format!("{text}\n{text}\n"));
    assert_eq!(run("--separator --"), format!("{text}\n--\n{text}\n"));
    assert_eq!(run("--separator="), format!("{text}\n\n{text}\n"));
    assert_eq!(run("-0"), format!("{text}\0{text}\0"));
    fs::write(t.folder().join("prompts"), "whales\nwhales\n").unwrap();
    let batch = line.replace("--prompt whales --num-samples 2", "--prompts-file prompts");
    let run = |flags: &str| mist(&t, format!("{batch} {flags}").split_whitespace()).text();
    assert_eq!(run("--null"), format!("{text}\0{text}\0"));
    assert_eq!(run("--separator=#"), format!("{text}\n#\n{text}\n"));
}
