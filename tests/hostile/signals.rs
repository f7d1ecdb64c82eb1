//! What would end the process by a signal: a file that another program cuts short while it is mapped.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bytes::{SafeTensors, edit_json};
use crate::support::copy_of;

const WEIGHTS: &str = "model.safetensors";

fn start(folder: &Path, command: &str) -> Child {
    let mut mist = Command::new(env!("CARGO_BIN_EXE_mist"));
    mist.args(command.split(' ')).current_dir(folder).env_remove("NO_COLOR");
    mist.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until the process has the weights mapped, and cuts them short.
fn cut_when_mapped(child: &Child, folder: &Path) {
    let maps = format!("/proc/{}/maps", child.id());
    cut_when(folder, || fs::read_to_string(&maps).unwrap_or_default().contains(WEIGHTS));
}

fn cut_when(folder: &Path, it_is_time: impl Fn() -> bool) {
    let begun = Instant::now();
    while !it_is_time() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the weights are never used");
        sleep(Duration::from_millis(1));
    }
    cut(folder);
}

fn cut(folder: &Path) {
    File::options().write(true).open(folder.join(WEIGHTS)).unwrap().set_len(4096).unwrap();
}

fn has_bytes(file: &fs::DirEntry) -> bool {
    file.metadata().is_ok_and(|data| data.len() > 0)
}

/// The process ends with 1 and one line that names the file.
#[track_caller]
fn says_so(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: cannot read ") && last.contains(WEIGHTS), "{stderr}");
    assert!(last.contains("cut short"), "{stderr}");
    assert_eq!(stderr.matches("error: ").count(), 1, "{stderr}");
}

/// A checkpoint whose embedding and head are zeros of 128 MiB each, which take no disk: reading them takes a while.
fn large() -> tempfile::TempDir {
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
    says_so(child);
}

#[test]
fn weights_cut_short_while_a_text_is_generated() {
    let folder = copy_of("llama-gqa");
    let command = "generate --checkpoint-dir . --prompt x --max-new-tokens 1000 --ignore-eos --num-samples 100 --seed 1";
    let mut child = start(folder.path(), command);
    cut_when_mapped(&child, folder.path());
    child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    says_so(child);
}

#[test]
fn weights_cut_short_while_a_text_is_scored() {
    let folder = copy_of("llama-gqa");
    fs::write(folder.path().join("text.txt"), "The keeper wrote. ".repeat(5000)).unwrap();
    let child = start(folder.path(), "evaluate --checkpoint-dir . --file text.txt --context-length 64");
    cut_when_mapped(&child, folder.path());
    says_so(child);
}

#[test]
fn weights_cut_short_while_they_are_converted() {
    let folder = large();
    let size = fs::metadata(folder.path().join(WEIGHTS)).unwrap().len();
    for scheme in ["bf16", "q8_0"] {
        let flags = if scheme == "bf16" { "--dtype bf16" } else { "--quantize q8_0" };
        let child =
            start(folder.path(), &format!("convert --checkpoint-dir . {flags} --output-dir {scheme}"));
        let output = folder.path().join(scheme);
        let begun = || fs::read_dir(&output).into_iter().flatten().flatten().any(|file| has_bytes(&file));
        cut_when(folder.path(), begun);
        says_so(child);
        assert!(!output.join("mist.json").exists());
        // The tail is zeros, as it was.
        File::options().write(true).open(folder.path().join(WEIGHTS)).unwrap().set_len(size).unwrap();
    }
}

#[test]
fn weights_cut_short_while_they_are_verified() {
    let folder = large();
    let child = start(folder.path(), "inspect --checkpoint-dir . --verify");
    cut_when_mapped(&child, folder.path());
    says_so(child);
}
