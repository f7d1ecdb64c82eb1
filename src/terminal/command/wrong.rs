//! Converts clap's error for an invalid command line to a one-line message and a hint.

use std::error::Error;

use clap::Command;

use super::others;
use crate::system::numbers;

/// Returns the message and the hint for an invalid command line. `called` is the command, such as `mist chat`, if it
/// was recognised; `program` is the command tree of `mist`.
pub fn explained(error: &clap::Error, called: &str, program: &Command) -> (String, String) {
    let mut text = error.render().to_string();
    if let Some(source) = error.source()
        && let Some(words) = numbers::worded(source)
    {
        text = text.replacen(&source.to_string(), words, 1);
    }
    let (message, hint) = lines(&text, called);
    match others::explained(error, called, program) {
        Some((ours, hint)) => (ours.unwrap_or(message), hint),
        None => (message, hint),
    }
}

/// Splits clap's text into a message and a hint. Its paragraphs are the error, tips, the usage, and a pointer to `--help`.
fn lines(text: &str, command: &str) -> (String, String) {
    let joined = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let paragraphs: Vec<String> = text.split("\n\n").map(joined).collect();
    let message = paragraphs.first().map_or("", String::as_str);
    let message = message.strip_prefix("error: ").unwrap_or(message).to_string();
    // The tip to put a flag after `--` does not help with a misspelt flag.
    let mut tips = text.lines().filter_map(|line| line.trim_start().strip_prefix("tip: "));
    let tip = tips.find(|tip| !tip.starts_with("to pass '"));
    let hint = match tip {
        Some(tip) => match tip.strip_prefix('\'').and_then(|tip| tip.strip_suffix("' exists")) {
            Some(line) => format!("a flag follows its command: `mist {line}`"),
            None => tip.into(),
        },
        None => format!("`{command} --help` lists the arguments"),
    };
    (message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_call_is_one_line_and_one_hint() {
        let unknown = "error: unexpected argument '--tempo' found\n\n  tip: a similar argument exists: '--temperature'\n\n\
                       Usage: mist generate --temperature <T>\n\nFor more information, try '--help'.\n";
        let expected = ("unexpected argument '--tempo' found", "a similar argument exists: '--temperature'");
        assert_eq!(lines(unknown, "mist generate"), (expected.0.into(), expected.1.into()));
        let missing = "error: the following required arguments were not provided:\n  --file <TEXT.txt>\n\n\
                       Usage: mist evaluate --file <TEXT.txt>\n\nFor more information, try '--help'.\n";
        let (message, hint) = lines(missing, "mist evaluate");
        assert_eq!(message, "the following required arguments were not provided: --file <TEXT.txt>");
        assert_eq!(hint, "`mist evaluate --help` lists the arguments");
        let escaped = "error: unexpected argument '-x' found\n\n  tip: to pass '-x' as a value, use '-- -x'\n\n\
                       Usage: mist chat [MODEL]\n\nFor more information, try '--help'.\n";
        assert_eq!(lines(escaped, "mist chat").1, "`mist chat --help` lists the arguments");
    }
}
