//! Pipes, closed pipes, full disks, and what a terminal would take for a command.
#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::Mist;
use crate::transcript::Transcript;

const GREEDY: [&str; 8] = [
    "generate",
    "--checkpoint-dir",
    "tiny/llama",
    "--prompt",
    "The keeper",
    "--temperature",
    "0",
    "--json=false",
];

#[test]
fn a_closed_pipe_is_success_and_says_nothing() {
    let t = Transcript::new();
    let args =
        "generate --checkpoint-dir tiny/llama --prompt x --seed 1 --max-new-tokens 900 --quiet --ignore-eos";
    for script in
        [r#"{ "$0" "$@"; echo $? > status; } | head -c 1"#, r#"{ "$0" "$@"; echo $? > status; } | true"#]
    {
        let ended = Mist::shell(t.folder(), script).args(args.split(' ')).run();
        assert_eq!(fs::read_to_string(t.folder().join("status")).unwrap(), "0\n", "{script}");
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn an_output_file_holds_the_text_alone() {
    let t = Transcript::new();
    let ended = Mist::shell(t.folder(), r#""$0" "$@" > text 2> rest"#).args(GREEDY).run();
    assert_eq!(ended.code, Some(0));
    let direct = Mist::new(t.folder()).args(GREEDY).run();
    assert_eq!(fs::read(t.folder().join("text")).unwrap(), direct.stdout);
    let rest = fs::read_to_string(t.folder().join("rest")).unwrap();
    assert!(rest.contains("as published, on cpu") && rest.contains("tokens/s"), "{rest}");
}

#[test]
fn a_pipe_has_no_escapes_whatever_fails() {
    let t = Transcript::new();
    for args in [
        &GREEDY[..],
        &["inspect", "--checkpoint-dir", "missing"],
        &["convert", "--checkpoint-dir", "tiny/llama"],
    ] {
        let ended = Mist::new(t.folder()).args(args).env("CLICOLOR_FORCE", "1").run();
        assert!(!ended.stderr.contains('\x1b'), "{ended:?}");
        assert!(!ended.stdout.contains(&0x1b), "{ended:?}");
    }
}

/// A limit on a file's size fails a write as a full disk does, after the disk was found to have room.
#[test]
fn a_write_that_fails_leaves_nothing_that_looks_finished() {
    let t = Transcript::new();
    let script = r#"trap '' XFSZ; ulimit -f 100; exec "$0" "$@""#;
    let args = ["convert", "--checkpoint-dir", "tiny/llama", "--output-dir", "out"];
    let ended = Mist::shell(t.folder(), script).args(args).run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let error = ended.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(error.contains("cannot write") && error.contains("mist.safetensors"), "{error}");
    assert!(!t.folder().join("out").exists(), "nothing is left, nor the folder that was made for it");
    assert_eq!(Mist::new(t.folder()).args(["inspect", "--checkpoint-dir", "out"]).run().code, Some(1));
}

/// As above, with an earlier conversion that `--force` replaces: it stays as it was.
#[test]
fn a_replacement_that_fails_leaves_what_was_there() {
    let t = Transcript::new();
    let convert = ["convert", "--checkpoint-dir", "tiny/llama", "--output-dir", "out", "--force"];
    assert_eq!(Mist::new(t.folder()).args(convert).run().code, Some(0));
    let script = r#"trap '' XFSZ; ulimit -f 100; exec "$0" "$@""#;
    assert_eq!(Mist::shell(t.folder(), script).args(convert).run().code, Some(1));
    let inspect = || Mist::new(t.folder()).args(["inspect", "--checkpoint-dir", "out"]).run();
    assert_eq!(inspect().code, Some(0));
    assert_eq!(Mist::new(t.folder()).args(convert).run().code, Some(0));
    assert_eq!(inspect().code, Some(0));
}

/// A file system of 256 KiB, where this user may mount one.
#[test]
fn a_full_disk_is_found_before_the_first_byte() {
    let t = Transcript::new();
    let small = t.folder().join("small");
    fs::create_dir(&small).unwrap();
    let script = r#"mount -t tmpfs -o size=256k none small || exit 77; "$0" "$@"; code=$?; ls -A small; umount small; exit $code"#;
    let args = ["convert", "--checkpoint-dir", "tiny/llama", "--output-dir", "small/out"];
    let ended = Mist::shell(t.folder(), script).args(args).run();
    if ended.code == Some(77) {
        eprintln!("SKIPPED: no file system can be mounted here");
        return;
    }
    assert_eq!((ended.code, ended.text().as_str()), (Some(1), ""), "{ended:?}");
    let error = ended.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(error.contains("not enough disk space") && error.contains("are needed"), "{error}");
}

/// Regression: a handler of Ctrl-C was installed, and a dry run did not look at its flag.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_a_dry_run_of_convert() {
    use std::os::unix::process::ExitStatusExt;
    let t = Transcript::new();
    // stderr is full: the run waits at its first line.
    let (reader, mut stderr) = std::io::pipe().unwrap();
    stderr.write_all(&[b'x'; 1 << 16]).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_mist"))
        .args(["convert", "--checkpoint-dir", "tiny/llama", "--output-dir", "out", "--dry-run"])
        .current_dir(t.folder())
        .stdin(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(run.try_wait().unwrap().is_none());
    assert!(Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(reader);
    assert_eq!(run.wait().unwrap().signal(), Some(2));
}
