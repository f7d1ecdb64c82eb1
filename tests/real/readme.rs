//! README's session, typed again: what README shows is what a new user sees.

use std::path::Path;

use regex::Regex;

use crate::support::starter;
use crate::terminal::Terminal;

const COMMAND: &str = "mist chat --temperature 0";
const PROMPT: &str = ">> Prompt: ";
/// Begins and ends a message of several lines.
const QUOTES: &str = "\"\"\"";

/// README's session, without the line of its command.
fn session() -> String {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, session) = readme.split_once(&format!("```\n$ {COMMAND}\n")).unwrap();
    session.split_once("```\n").unwrap().0.to_string()
}

/// Without times, rates and the processor's kernels, and however lines are broken.
fn without_what_differs(session: &str) -> String {
    let numbers = Regex::new(r"\d+\.\d+ (tokens/s|s\b)").unwrap();
    let kernels = Regex::new(r"cpu \(\w+\)").unwrap();
    let words: Vec<&str> = session.split_whitespace().collect();
    let text = numbers.replace_all(&words.join(" "), "N $1").into_owned();
    kernels.replace_all(&text, "cpu (kernels)").into_owned()
}

#[test]
fn the_session_of_the_readme_is_what_a_terminal_shows() {
    let Some(folder) = starter() else { return };
    let expected = session();
    let args: Vec<&str> = COMMAND.split(' ').skip(1).collect();
    let mut terminal = Terminal::start(folder, &args);
    let (mut is_quoted, mut before, mut prompts) = (false, "", 0);
    for line in expected.lines() {
        let typed = match (line.strip_prefix(PROMPT), is_quoted) {
            (Some(typed), _) => typed,
            (None, true) => line,
            (None, false) => continue,
        };
        match is_quoted {
            true => terminal.wait_for_line_below(before),
            false => {
                prompts += 1;
                terminal.wait_for_prompt(PROMPT, prompts);
            }
        }
        is_quoted ^= typed == QUOTES;
        terminal.enter(typed);
        before = line;
    }
    assert!(terminal.wait_for_end(), "{}", terminal.text());
    let [found, expected] = [&terminal.text(), &expected].map(|text| without_what_differs(text));
    assert_eq!(found, expected, "the terminal shows:\n{}", terminal.text());
}
