//! A prompt on a terminal: its progress is seen while it is computed, and nothing of it after.

use std::fs;

use regex::Regex;

use crate::support::{Ended, Mist, copy_of};
use crate::terminal::Terminal;
use crate::transcript::Transcript;

/// More tokens than any machine computes before it is asked to stop.
const LONG: usize = 200_000;

/// The terminal shows `^C`.
const CTRL_C: &str = "\x03";

const GENERATE: &str = r#""$0" generate --checkpoint-dir . --temperature 0 --max-new-tokens 3"#;

/// A tiny model with a long context, and a prompt that fills most of it, or few of it.
fn model(words: usize) -> tempfile::TempDir {
    let folder = copy_of("llama-gqa");
    let config = folder.path().join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    let wide = text.replace(r#""max_position_embeddings": 1024"#, r#""max_position_embeddings": 1000000"#);
    assert_ne!(text, wide);
    fs::write(config, wide).unwrap();
    fs::write(folder.path().join("prompt.txt"), "a ".repeat(words)).unwrap();
    folder
}

fn progress(label: &str) -> Regex {
    Regex::new(&format!(r"^{label} \d+/\d+( tokens|, [\d:]+ left, [\d.]+ tokens/s)( =*>)?$")).unwrap()
}

/// Each command that computes a prompt shows it, ends at once when it is asked to, and wipes the line out.
#[test]
fn a_long_prompt_shows_how_far_it_is_until_it_is_interrupted() {
    let folder = model(LONG);
    let chat = "\"$0\" chat --checkpoint-dir . --prompt \"$(head -c 100000 prompt.txt)\"";
    let bench = "\"$0\" bench --checkpoint-dir . --prompt-tokens 200000 --generate-tokens 0";
    for (script, label) in [
        (format!("exec {GENERATE} --prompt - < prompt.txt"), "Prompt"),
        (format!("exec {chat}"), "Prompt"),
        (format!("exec {bench}"), "Warming up"),
    ] {
        let mut terminal = Terminal::start_shell(folder.path(), &script);
        terminal.wait_for_match(&progress(label));
        terminal.keys(CTRL_C);
        assert!(!terminal.wait_for_end(), "{}", terminal.text());
        let text = terminal.text();
        assert!(!text.lines().any(|line| line.starts_with(label) && line.contains('/')), "{script}:\n{text}");
        assert!(!text.contains("error"), "{script}:\n{text}");
    }
}

/// `evaluate` ends at once, as it has nothing to keep.
#[test]
fn evaluate_says_how_long_it_will_take() {
    let folder = model(LONG);
    let script = r#"exec "$0" evaluate --checkpoint-dir . --file prompt.txt"#;
    let mut terminal = Terminal::start_shell(folder.path(), script);
    terminal.wait_for_match(&Regex::new(r"^Scoring \d+/\d+, [\d:]+ left, [\d.]+ tokens/s").unwrap());
}

#[test]
fn several_prompts_show_how_far_they_are() {
    let folder = model(LONG);
    fs::write(folder.path().join("prompts"), format!("{}\nshort\n", "a ".repeat(LONG))).unwrap();
    let script = format!("exec {GENERATE} --prompts-file prompts");
    let mut terminal = Terminal::start_shell(folder.path(), &script);
    terminal.wait_for_match(&Regex::new(r"^Generating 0/2 texts, prompts \d+/\d+").unwrap());
    // indicatif's bar stays where the terminal shows `^C`.
    terminal.signal(rustix::process::Signal::INT);
    assert!(!terminal.wait_for_end(), "{}", terminal.text());
    assert!(!terminal.text().contains("Generating"), "{}", terminal.text());
}

#[test]
fn nothing_is_left_of_the_progress_when_the_text_comes() {
    let folder = model(3000);
    let mut terminal =
        Terminal::start_shell(folder.path(), &format!("{GENERATE} --echo --prompt - < prompt.txt"));
    assert!(terminal.wait_for_end(), "{}", terminal.text());
    let text = terminal.text();
    assert!(!text.lines().any(|line| line.starts_with("Prompt ")), "{text}");
    assert!(text.contains("a a a") && text.contains("\nPrompt: 3"), "{text}");
}

#[test]
fn only_a_terminal_shows_progress_and_not_when_it_is_to_be_quiet() {
    let folder = model(6000);
    let run = |script: &str| -> Ended { Mist::shell(folder.path(), script).run() };
    let piped = run(&format!("{GENERATE} --prompt - < prompt.txt"));
    assert!(piped.code == Some(0) && !piped.stderr.contains(['\x1b', '\r']), "{piped:?}");
    let mut terminal =
        Terminal::start_shell(folder.path(), &format!("{GENERATE} -q --prompt - < prompt.txt"));
    assert!(terminal.wait_for_end());
    assert_eq!(terminal.text().trim_end(), piped.text().trim_end());
}

/// What a terminal shows of a text in a pipe or in a file, and of the lines on stderr after it.
#[test]
fn statistics_begin_a_line_wherever_the_text_goes() {
    let t = Transcript::new();
    let generate = r#""$0" generate --checkpoint-dir tiny/llama --prompt 'The keeper' --echo --temperature 0 --max-new-tokens 1"#;
    let text = Mist::shell(t.folder(), &format!("{generate} -q")).run().text();
    assert!(!text.is_empty() && !text.contains('\n'));
    let text = text.as_str();
    for (to, above) in [("", text), (" | cat", text), (" 2>&1 | cat", text), (" > file", "")] {
        let mut terminal = Terminal::start_shell(t.folder(), &format!("{generate}{to}"));
        assert!(terminal.wait_for_end(), "{}", terminal.text());
        let screen = terminal.text();
        let lines: Vec<&str> = screen.lines().filter(|line| !line.starts_with("seed")).collect();
        let at = lines.iter().position(|line| line.starts_with("Prompt: "));
        let before = at.and_then(|at| lines.get(at - 1)).copied().unwrap_or_default();
        match above {
            // Nobody tells when `cat` has shown what it has read: on a busy machine it may be after the statistics.
            above if to == " | cat" => {
                assert!(at.is_some() && screen.contains(above.trim()), "{to}:\n{screen}")
            }
            "" => assert!(at.is_some() && !before.is_empty(), "{to}: no line is left empty:\n{screen}"),
            above => assert_eq!(before.trim(), above.trim(), "{to}:\n{screen}"),
        }
    }
    assert_eq!(fs::read_to_string(t.folder().join("file")).unwrap(), text);
    let both = Mist::shell(t.folder(), &format!("{generate} > both 2>&1")).run();
    assert_eq!(both.code, Some(0));
    let both = fs::read_to_string(t.folder().join("both")).unwrap();
    assert!(both.contains(&format!("{text}\nPrompt: ")), "{both}");
}
