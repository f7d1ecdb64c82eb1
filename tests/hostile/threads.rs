//! Systems that give no more threads: an error that says so, or the work done with the threads there are.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Mist, copy_folder, model};

/// Any user but root, for whom the limit does not hold. A user of many processes has more than the limit already.
const NOBODY: u32 = 65534;

/// A folder that anybody can read and write, with the program and two checkpoints.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    open(folder.path());
    fs::copy(env!("CARGO_BIN_EXE_mist"), folder.path().join("mist")).unwrap();
    open(&folder.path().join("mist"));
    for name in ["llama-gqa", "mixtral"] {
        copy_folder(&model(name), &folder.path().join(name));
        open(&folder.path().join(name));
    }
    fs::write(folder.path().join("texts"), "The keeper wrote.\nHe wrote again.\n").unwrap();
    fs::write(folder.path().join("turns"), r#"[{"role": "user", "content": "hi"}]"#).unwrap();
    folder
}

/// Runs a command whose user may have so many processes and threads.
fn run(folder: &Path, command: &str, threads: u64) -> Output {
    let mut mist = Command::new(folder.join("mist"));
    mist.args(command.split(' ')).current_dir(folder).env("HOME", folder);
    mist.env("HF_ENDPOINT", "http://localhost:9").env_remove("HF_TOKEN").env_remove("HF_HUB_OFFLINE");
    // No Python to fetch the starter with.
    mist.env("PATH", folder);
    // SAFETY: asks for a number.
    if unsafe { libc::geteuid() } == 0 {
        mist.uid(NOBODY);
    }
    let limit = libc::rlimit { rlim_cur: threads, rlim_max: threads };
    // SAFETY: between fork and exec one call of the system is made, with memory that was there before.
    unsafe {
        mist.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    loop {
        match mist.output() {
            // A process that another test has just begun still holds the copy as it was written.
            Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
            output => return output.unwrap(),
        }
    }
}

/// Runs a command with one thread and more, up to what it needs; it must always end well or say that it got no thread.
#[track_caller]
fn runs_or_says_so(command: &str) {
    let folder = folder();
    for threads in [1, 2, 3, 4, 6, 8] {
        let output = run(folder.path(), command, threads);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let says_so = || stderr.lines().any(|l| l.starts_with("error: ") && l.contains("thread"));
        let code = output.status.code();
        assert!(code == Some(0) || code == Some(1) && says_so(), "{threads} threads: {output:?}");
        assert!(!stderr.contains("bug in mist") && !stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn a_text_is_generated() {
    runs_or_says_so("generate --checkpoint-dir llama-gqa --prompt x --seed 1 --max-new-tokens 4");
}

#[test]
fn texts_are_generated_over_several_devices() {
    let command = "generate-sequential --checkpoint-dir mixtral --devices 4 --prompts-file texts --max-new-tokens 4 --seed 1";
    runs_or_says_so(command);
}

#[test]
fn a_reply_is_given() {
    runs_or_says_so("chat --checkpoint-dir llama-gqa --prompt x --seed 1 --max-new-tokens 4");
}

#[test]
fn a_text_is_scored() {
    runs_or_says_so("evaluate --checkpoint-dir llama-gqa --file texts");
}

#[test]
fn a_conversation_is_tokenized() {
    let command = "tokenize --checkpoint-dir llama-gqa --messages turns";
    runs_or_says_so(command);
    let output = run(folder().path(), command, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("\nhint: `ulimit -u` shows"), "{output:?}");
}

/// The first thread's stack is the shell's to limit; the command has one of its own.
#[test]
fn a_small_stack_of_the_first_thread_is_enough() {
    let folder = folder();
    for command in [
        "generate --checkpoint-dir llama-gqa --prompt x --seed 1 --max-new-tokens 4",
        "tokenize --checkpoint-dir mixtral --messages turns",
        "generate --help",
    ] {
        let small = Mist::shell(folder.path(), r#"ulimit -s 64; exec "$0" "$@""#);
        let ended = small.args(command.split(' ')).run();
        assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
    }
}

/// A template's thread took 256 MiB of address space, and its failure was told as one of threads. Arenas of glibc, one for
/// each thread that allocates, took what was left, or not, by chance: at 350 MB every second run failed.
#[test]
fn a_template_runs_in_little_address_space_or_asks_for_memory() {
    let folder = folder();
    let run = |kib: u32| {
        let little = Mist::shell(folder.path(), &format!(r#"ulimit -v {kib}; exec "$0" "$@""#));
        little.args("tokenize --checkpoint-dir llama-gqa --messages turns".split(' ')).run()
    };
    for kib in [100_000, 120_000, 140_000, 160_000, 180_000] {
        let ended = run(kib);
        let asks = ended.stderr.starts_with("error: ") && ended.stderr.contains("memory");
        assert!(ended.code == Some(0) || ended.code == Some(1) && asks, "{kib}: {ended:?}");
        assert!(ended.code == Some(0) || ended.stderr.contains("\nhint: "), "{kib}: {ended:?}");
    }
    for _ in 0..10 {
        let ended = run(350_000);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[test]
fn a_checkpoint_is_converted() {
    runs_or_says_so("convert --checkpoint-dir llama-gqa --output-dir out --force");
    runs_or_says_so("inspect --checkpoint-dir llama-gqa --verify");
}

/// Whatever thread is missing: of the connection, or the one that looks the host's name up.
#[test]
fn a_repository_is_asked_for() {
    let folder = folder();
    for threads in 1..4 {
        let output = run(folder.path(), "download a/b", threads);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let error = stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        // What runs beside this test as the same user counts as well.
        let expected = ["no thread could be started", "localhost:9 cannot be reached"];
        let least = if threads == 1 { 1 } else { 2 };
        assert!(expected[..least].iter().any(|e| error.contains(e)), "{threads} threads: {output:?}");
        assert!(!stderr.contains("bug in mist"), "{stderr}");
    }
}
