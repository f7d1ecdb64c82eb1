//! What a person sees on a terminal where another program would get a pipe, byte by byte.
#![cfg(unix)]

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::transcript::Transcript;

/// All that a run writes to a terminal of this kind, with the terminal's line ends.
fn written(t: &Transcript, term: &str, args: &str) -> String {
    written_with(t, &[("TERM", term)], args)
}

/// The same with variables of the environment.
fn written_with(t: &Transcript, variables: &[(&str, &str)], args: &str) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    // Not the terminal that controls the tests.
    let flags = OFlags::NOCTTY.bits() as i32;
    let open = || OpenOptions::new().read(true).write(true).custom_flags(flags).open(&name).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_mist"))
        .args(args.split_whitespace())
        .current_dir(t.folder())
        .env_remove("NO_COLOR")
        .env_remove("COLUMNS")
        .envs(variables.iter().copied())
        .stdin(open())
        .stdout(open())
        .stderr(open())
        .spawn()
        .unwrap();
    let (mut terminal, mut bytes, mut piece) = (File::from(terminal), Vec::new(), [0; 4096]);
    // An error is the end: the program, which was the last that had the terminal, closed it.
    while let Ok(count @ 1..) = terminal.read(&mut piece) {
        bytes.extend_from_slice(&piece[..count]);
    }
    program.wait().unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_dumb_terminal_gets_no_codes() {
    let t = Transcript::new();
    for args in [
        "inspect --checkpoint-dir missing",
        "generate --no-such-flag",
        "generate --help",
        "generate --checkpoint-dir tiny/llama --prompt x --temperature 0 --max-new-tokens 3",
        "generate --checkpoint-dir tiny/llama --prompts-file prompts --temperature 0 --max-new-tokens 3",
        "convert --checkpoint-dir tiny/llama --force",
    ] {
        std::fs::write(t.folder().join("prompts"), "a\nb\n").unwrap();
        let text = written(&t, "dumb", args);
        assert!(!text.is_empty() && !text.contains('\x1b'), "{args}: {text:?}");
    }
    assert!(written(&t, "xterm", "inspect --checkpoint-dir missing").contains("\x1b[1;31m"));
}

/// Errors, help and the page for a command without arguments ask the same question, whatever else an environment says:
/// `CI` and `CLICOLOR` were taken for a terminal with colours.
#[test]
fn every_page_asks_the_same_whether_it_may_have_colours() {
    let t = Transcript::new();
    let others = [("CI", "true"), ("CLICOLOR", "1"), ("CLICOLOR_FORCE", "1")];
    for args in ["", "generate --help", "--version", "inspect --checkpoint-dir missing"] {
        for none in [("TERM", "dumb"), ("NO_COLOR", "1")] {
            let text = written_with(&t, &[&others[..], &[none]].concat(), args);
            assert!(!text.is_empty() && !text.contains('\x1b'), "{none:?} {args}: {text:?}");
        }
        let coloured = written_with(&t, &[("TERM", "xterm"), ("CLICOLOR", "0")], args);
        assert_eq!(coloured.contains('\x1b'), args != "--version", "{args}: {coloured:?}");
    }
}

#[test]
fn texts_on_a_terminal_are_separated_by_a_line() {
    let t = Transcript::new();
    let line =
        "generate --checkpoint-dir tiny/llama --prompt whales --max-new-tokens 5 --temperature 0 --quiet";
    let one = written(&t, "dumb", line);
    assert!(!one.contains("---"), "{one:?}");
    assert_eq!(written(&t, "dumb", &format!("{line} --num-samples 2")), format!("{one}---\r\n{one}"));
    assert_eq!(
        written(&t, "dumb", &format!("{line} --num-samples 2 --separator ==")),
        format!("{one}==\r\n{one}")
    );
    std::fs::write(t.folder().join("prompts"), "whales\nwhales\n").unwrap();
    let batch = line.replace("--prompt whales", "--prompts-file prompts");
    assert_eq!(written(&t, "dumb", &batch), format!("{one}---\r\n{one}"));
}

#[test]
fn tokens_on_a_terminal_are_a_table() {
    let t = Transcript::new();
    let text = written(&t, "dumb", "tokenize --checkpoint-dir tiny/llama --text The --quiet");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [["id", "token"], ["0", "<s>"], ["292", "The"]], "{text}");
}
