//! Calls that are wrong end with 2, and no message has words of the languages and libraries that `mist` is made of.

use std::fs;

use crate::support::{Ended, Mist};
use crate::transcript::Transcript;

/// What Rust's standard library, serde, clap's number parsers and reqwest say: words about types, and not about what was
/// typed or is in a file.
const RETIRED: [&str; 30] = [
    "invalid digit found",
    "invalid float literal",
    "cannot parse integer",
    "cannot parse float",
    "number too large to fit",
    "number too small to fit",
    "number would be zero",
    "is not in 1..",
    "is not in 2..",
    "18446744073709551615..",
    "entity not found",
    "entity already exists",
    "invalid type:",
    "invalid value: ",
    "invalid length",
    "missing field",
    "duplicate field",
    "expected value at",
    "expected ident",
    "EOF while parsing",
    "trailing characters",
    "struct ",
    "a sequence",
    "a map",
    "u32",
    "usize",
    "did not contain valid UTF-8",
    "failed to fill whole buffer",
    "error sending request",
    "relative URL without a base",
];

/// What is wrong with how a call ended that should have failed with `code`.
fn faults(line: &str, ended: &Ended, code: i32) -> Vec<String> {
    let said = format!("{}{}", ended.text(), ended.stderr);
    let words = RETIRED.iter().filter(|words| said.contains(*words)).map(|words| format!("{words:?}"));
    let mut faults: Vec<String> = words.collect();
    if ended.code != Some(code) {
        faults.push(format!("exit {:?}", ended.code));
    }
    if !ended.stdout.is_empty() {
        faults.push("stdout".into());
    }
    if ended.stderr.lines().filter(|line| line.starts_with("error: ")).count() != 1 {
        faults.push("not one error".into());
    }
    if said.matches("No such file or directory").count() > 1 {
        faults.push("said twice".into());
    }
    faults.into_iter().map(|fault| format!("{fault} of `mist {line}`: {said}")).collect()
}

/// A line of words between spaces; two quotation marks are an empty word.
fn run(t: &Transcript, line: &str) -> Ended {
    let words = line.split_whitespace().map(|word| if word == "''" { "" } else { word });
    Mist::new(t.folder()).args(words).run()
}

#[test]
fn wrong_calls_exit_with_2_and_speak_of_what_was_typed() {
    let t = Transcript::new();
    fs::create_dir(t.folder().join("two")).unwrap();
    for name in ["a.gguf", "b.gguf"] {
        fs::copy(t.folder().join("tiny.gguf"), t.folder().join("two").join(name)).unwrap();
    }
    fs::write(t.folder().join("text.txt"), "The keeper").unwrap();
    let model = "--checkpoint-dir tiny/mixtral";
    let mut lines = vec![
        "download a/b/c".into(),
        "download org/na:me".into(),
        "download ..".into(),
        "download ''".into(),
        "download org/name --revision ''".into(),
        "download org/name --revision ../main".into(),
        "download org/name --file ../x.gguf".into(),
        "download org/name --access-token a\u{e9}".into(),
        "generate --prompt x --checkpoint-dir two".into(),
        "inspect".into(),
        "tokenize --text x".into(),
        "evaluate --file text.txt".into(),
        "bench".into(),
        "convert".into(),
        "chat --prompt x --top-k".into(),
        format!("convert {model} --to hf --quantize q8_0"),
        format!("convert {model} --pure"),
        format!("tokenize {model} --decode many"),
        format!("tokenize {model} --decode 1.5"),
        format!("tokenize {model} --decode 4294967296"),
        format!("tokenize {model} --decode 320"),
        format!("evaluate {model} --file text.txt --context-length 1"),
        format!("bench {model} --depth 9999"),
        format!("bench {model} --repetitions 0"),
        format!("bench {model} --sequences 33"),
        format!("chat {model} --max-new-tokens 0 --prompt x"),
    ];
    for flags in [
        "--seed many",
        "--seed -1",
        "--seed 1.5",
        "--seed 99999999999999999999",
        "--seed=",
        "--top-k 1.5",
        "--top-k -1",
        "--temperature warm",
        "--temperature -1",
        "--temperature=",
        "--top-p 1,5",
        "--min-p much",
        "--repeat-penalty none",
        "--max-new-tokens few",
        "--max-new-tokens -1",
        "--num-samples 0",
        "--num-samples 4294967296",
        "--threads 0",
        "--threads 1025",
        "--threads all",
        "--context-length 0",
        "--context-length all",
        "--context-length 999999",
        "--split 1;4",
        "--split 1,x --devices 2",
        "--split 1,,4 --devices 2",
        "--split 1,5 --devices 2",
        "--split 0,5 --devices 2",
        "--split 1,2,2 --devices 2",
        "--devices 0",
        "--devices 6",
        "--devices gpu",
        "--devices ''",
        "--devices cpu,,cpu",
        "--device gpu",
        "--device cuda:x",
        "--memory plenty",
        "--memory 1GiB,",
        "--memory 1XB",
        "--devices 2 --memory 1GiB,1GiB,1GiB",
        "--quantize q4",
        "--dtype int8",
        "--activations 12",
        "--json=maybe",
        "--no-such-flag",
        "--prompt y",
    ] {
        lines.push(format!("generate {model} --prompt x {flags}"));
    }
    let faults: Vec<String> = lines.iter().flat_map(|line| faults(line, &run(&t, line), 2)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Which files a command reads, and what may be wrong with each.
#[test]
fn files_that_are_wrong_are_spoken_of_as_files() {
    let texts: [&[u8]; 14] = [
        b"",
        b"{",
        b"[",
        b"[]",
        b"{}",
        b"null",
        b"oops",
        b"\"text\"",
        b"{} {}",
        b"{\"a\": 1, \"a\": 2}",
        b"{\"version\": -1, \"weight_map\": [], \"model\": 3, \"hidden_size\": {}}",
        b"[{\"role\": 1}]",
        b"[{\"content\": \"x\"}]",
        b"\xff\xfe",
    ];
    let mut found = Vec::new();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "mist.json"] {
        let t = Transcript::new();
        let folder = t.folder().join("checkpoints/tiny/llama");
        if name == "mist.json" {
            let done = run(&t, "convert --checkpoint-dir tiny/llama");
            assert_eq!(done.code, Some(0), "{done:?}");
        }
        for text in texts {
            fs::write(folder.join(name), text).unwrap();
            let line = "generate --checkpoint-dir tiny/llama --prompt x --seed 1 --max-new-tokens 1";
            let ended = run(&t, line);
            let what = format!("{name} is {}", String::from_utf8_lossy(text));
            if ended.code != Some(0) {
                found.extend(faults(&what, &ended, 1));
            }
        }
    }
    let t = Transcript::new();
    let index = t.folder().join("checkpoints/tiny/mixtral/model.safetensors.index.json");
    for text in texts {
        fs::write(&index, text).unwrap();
        fs::write(t.folder().join("file"), text).unwrap();
        for line in [
            "inspect --checkpoint-dir tiny/mixtral",
            "tokenize --checkpoint-dir tiny/llama --messages file",
            "inspect --checkpoint-dir file",
        ] {
            let what = format!("{line} with {}", String::from_utf8_lossy(text));
            // A conversation may be empty.
            if text != b"[]" || !line.starts_with("tokenize") {
                found.extend(faults(&what, &run(&t, line), 1));
            }
        }
    }
    for line in [
        "generate --checkpoint-dir tiny/llama --prompts-file missing.txt",
        "generate --checkpoint-dir missing --prompt x",
        "evaluate --checkpoint-dir tiny/llama --file missing.txt",
        "tokenize --checkpoint-dir tiny/llama --messages missing.json",
        "inspect --checkpoint-dir missing/deeper/still",
        "inspect --checkpoint-dir /dev/null",
        "generate --checkpoint-dir tiny/llama --prompts-file checkpoints",
    ] {
        found.extend(faults(line, &run(&t, line), 1));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
