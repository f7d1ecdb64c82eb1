//! `--help` of each command.

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

/// In the order of `mist --help`.
pub const COMMANDS: [&str; 12] = [
    "download",
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
