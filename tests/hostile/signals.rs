//! What would end the process by a signal: a file that another program cuts short while it is mapped.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bytes::{SafeTensors, edit_json};
use crate::support::copy_of;

const WEIGHTS: &str = "model.safetensors";

fn start(folder: &Path, command: &str) -> Child {
    let mut mist = Command::new(env!("CARGO_BIN_EXE_mist"));
    mist.args(command.split(' ')).current_dir(folder).env_remove("NO_COLOR");
    mist.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// How long a process may take to come to the point where its weights are cut short.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that ended well before its weights were cut short is run again: nothing was tested then. So often, as on
/// a busy machine the test may not be scheduled in time.
const TRIES: usize = 10;

/// Runs a command on weights that are cut short as soon as `it_is_time`: it ends with 1 and one line that names the file.
#[track_caller]
fn cut_while(
    fixture: impl Fn() -> TempDir,
    command: &str,
    it_is_time: impl Fn(&Child, &Path) -> bool,
) -> TempDir {
    for _ in 0..TRIES {
        let folder = fixture();
        let mut child = start(folder.path(), command);
        // Written for nobody, but a full pipe would stop the process.
        let stdout = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || std::io::copy(&mut { stdout }, &mut std::io::sink()));
        let begun = Instant::now();
        while !it_is_time(&child, folder.path()) && child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "the weights are never used");
            sleep(Duration::from_millis(1));
        }
        cut(folder.path());
        let output = child.wait_with_output().unwrap();
        reader.join().unwrap().unwrap();
        if output.status.code() != Some(0) {
            says_so(&output);
            return folder;
        }
    }
    panic!("{command}: ended {TRIES} times before its weights were cut short");
}

fn has_weights_mapped(child: &Child, _: &Path) -> bool {
    let maps = format!("/proc/{}/maps", child.id());
    fs::read_to_string(maps).unwrap_or_default().contains(WEIGHTS)
}

fn cut(folder: &Path) {
    File::options().write(true).open(folder.join(WEIGHTS)).unwrap().set_len(4096).unwrap();
}

fn has_bytes(file: &fs::DirEntry) -> bool {
    file.metadata().is_ok_and(|data| data.len() > 0)
}

/// The process ended with 1 and one line that names the file.
#[track_caller]
fn says_so(output: &Output) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: cannot read ") && last.contains(WEIGHTS), "{stderr}");
    assert!(last.contains("cut short"), "{stderr}");
    assert_eq!(stderr.matches("error: ").count(), 1, "{stderr}");
}

/// A checkpoint whose embedding and head are zeros of 128 MiB each, which take no disk: reading them takes a while.
fn large() -> TempDir {
    const VOCABULARY: usize = 2 << 20;
    let folder = copy_of("llama-old-config");
    let path = folder.path().join(WEIGHTS);
    let mut file = SafeTensors::read(&path);
    let mut end = file.data.len();
    for name in ["model.embed_tokens.weight", "lm_head.weight"] {
        let start = end;
        end += VOCABULARY * 32 * 2;
        let entry = json!({"dtype": "BF16", "shape": [VOCABULARY, 32], "data_offsets": [start, end]});
        file.header.insert(name.into(), entry);
    }
    // What the two were before belongs to nobody, and the format wants every byte to be some tensor's.
    pack(&mut file);
    file.write(&path);
    let size = fs::metadata(&path).unwrap().len() + 2 * (VOCABULARY * 32 * 2) as u64;
    File::options().write(true).open(&path).unwrap().set_len(size).unwrap();
    edit_json(&folder.path().join("config.json"), |config| config["vocab_size"] = json!(VOCABULARY));
    folder
}

/// Gives the tensors of a file new places without gaps, in their order. What lies beyond the data keeps its length.
fn pack(file: &mut SafeTensors) {
    let offset = |entry: &Value, i: usize| entry["data_offsets"][i].as_u64().unwrap() as usize;
    let mut names: Vec<String> = file.header.keys().filter(|name| *name != "__metadata__").cloned().collect();
    names.sort_by_key(|name| offset(&file.header[name], 0));
    let (mut data, mut end) = (Vec::new(), 0);
    for name in names {
        let entry = &mut file.header[&name];
        let (from, to) = (offset(entry, 0), offset(entry, 1));
        if let Some(bytes) = file.data.get(from..to) {
            data.extend_from_slice(bytes);
        }
        entry["data_offsets"] = json!([end, end + to - from]);
        end += to - from;
    }
    file.data = data;
}

/// What the case of the issue does: between two turns.
#[test]
fn weights_cut_short_during_a_chat() {
    let folder = copy_of("llama-gqa");
    let mut child = start(folder.path(), "chat --checkpoint-dir . --max-new-tokens 4 --seed 1");
    let mut input = child.stdin.take().unwrap();
    let mut replies = BufReader::new(child.stdout.take().unwrap());
    writeln!(input, "hello").unwrap();
    replies.read_line(&mut String::new()).unwrap();
    cut(folder.path());
    writeln!(input, "hello").unwrap();
    drop(input);
    replies.read_to_end(&mut Vec::new()).unwrap();
    says_so(&child.wait_with_output().unwrap());
}

#[test]
fn weights_cut_short_while_a_text_is_generated() {
    let command = "generate --checkpoint-dir . --prompt x --max-new-tokens 1000 --ignore-eos --num-samples 1000 --seed 1";
    cut_while(|| copy_of("llama-gqa"), command, has_weights_mapped);
}

#[test]
fn weights_cut_short_while_a_text_is_scored() {
    let fixture = || {
        let folder = copy_of("llama-gqa");
        fs::write(folder.path().join("text.txt"), "The keeper wrote. ".repeat(50_000)).unwrap();
        folder
    };
    let command = "evaluate --checkpoint-dir . --file text.txt --context-length 64";
    cut_while(fixture, command, has_weights_mapped);
}

#[test]
fn weights_cut_short_while_they_are_converted() {
    for (scheme, flags) in [("bf16", "--dtype bf16"), ("q8_0", "--quantize q8_0")] {
        let command = format!("convert --checkpoint-dir . {flags} --output-dir {scheme}");
        let begun = |_: &Child, folder: &Path| {
            fs::read_dir(folder.join(scheme)).into_iter().flatten().flatten().any(|file| has_bytes(&file))
        };
        let folder = cut_while(large, &command, begun);
        assert!(!folder.path().join(scheme).join("mist.json").exists());
    }
}

#[test]
fn weights_cut_short_while_they_are_verified() {
    cut_while(large, "inspect --checkpoint-dir . --verify", has_weights_mapped);
}
