//! `--help` of each command.

use crate::support::Mist;
use crate::transcript::Transcript;

#[test]
fn help_of_every_command() {
    let mut t = Transcript::new();
    t.run("--help");
    t.run("--version");
    t.run("");
    t.matches("help");
    for command in COMMANDS {
        let mut t = Transcript::new();
        t.run(&format!("{command} --help"));
        t.matches(&format!("help_{command}"));
    }
}

/// `-h` fits on a screen.
#[test]
fn short_help_of_the_commands_with_many_flags() {
    let mut t = Transcript::new();
    t.run("chat -h");
    t.run("generate -h");
    t.matches("help_short");
}

/// With `--help` behind it an example is read and does nothing.
#[test]
fn every_help_ends_with_one_example_of_the_command_that_can_be_typed() {
    let folder = tempfile::tempdir().unwrap();
    let help = |words: &[&str]| Mist::new(folder.path()).args(words.iter().chain(&["--help"])).run().text();
    for command in COMMANDS {
        let text = help(&[command]);
        let (_, example) = text.trim_end().split_once("\nExample:\n  ").unwrap();
        assert!(example.lines().all(|line| line.len() <= 78), "wraps on a narrow terminal: {example}");
        let line = example.replace("\\\n", " ");
        // What follows is the shell's.
        let line = line.split(" > ").next().unwrap().strip_prefix("mist ").unwrap();
        assert!(help(&words(line)).contains(&format!("Usage: mist {command}")), "{line}");
    }
}

/// The words of a line, of which some may be in double quotes.
fn words(line: &str) -> Vec<&str> {
    let pieces = line.split('"').enumerate();
    pieces
        .flat_map(|(i, piece)| if i % 2 == 0 { piece.split_whitespace().collect() } else { vec![piece] })
        .collect()
}

/// In the order of `mist --help`.
pub const COMMANDS: [&str; 14] = [
    "download",
    "list",
    "remove",
    "convert",
    "chat",
    "generate",
    "generate-sequential",
    "evaluate",
    "bench",
    "tokenize",
    "inspect",
    "devices",
    "completions",
    "man",
];
