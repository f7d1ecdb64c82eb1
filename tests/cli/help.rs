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

/// `-h` fits on a screen.
#[test]
fn short_help_of_the_commands_with_many_flags() {
    let mut t = Transcript::new();
    t.run("chat -h");
    t.run("generate -h");
    t.matches("help_short");
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
