//! A person at `mist chat`, with a model that says `HY`, and without end `x` where it is asked for a long text.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::json;

use crate::support::Mist;
use crate::support::letters::{ASSISTANT, BOS, END, OTHER, USER, model, tokenizer};
use crate::terminal::Terminal;

const PROMPT: &str = ">> Prompt:";
const CHAT: [&str; 7] = ["chat", "--checkpoint-dir", "model", "--device", "cpu", "--temperature", "0"];

/// A reply begins with the control token that says how long it is.
const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}<|A|>{{ m.content }}<|end|>\
    {% else %}<|U|>{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}\
    {% if 'long' in messages[-1].content %}<|other|>{% else %}<|A|>{% endif %}{% endif %}";

/// More tokens than any test waits for.
const CONTEXT: usize = 1 << 18;

/// A folder with the model in it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    std::fs::create_dir(&path).unwrap();
    let [h, y, x] = [b'H', b'Y', b'x'].map(usize::from);
    model(&path, &[(ASSISTANT, h), (h, y), (y, END), (OTHER, x), (x, x)], CONTEXT);
    let settings = json!({"bos_token": "<|bos|>", "eos_token": "<|end|>", "chat_template": TEMPLATE});
    std::fs::write(path.join("tokenizer_config.json"), settings.to_string()).unwrap();
    std::fs::write(path.join("tokenizer.json"), tokenizer(&[BOS, END, USER, ASSISTANT, OTHER]).to_string())
        .unwrap();
    folder
}

/// `mist chat` at its first prompt.
fn chat(folder: &Path, args: &[&str]) -> Terminal {
    let mut terminal = Terminal::start(folder, &[&CHAT[..], args].concat());
    terminal.wait_for_line(PROMPT);
    terminal
}

/// Leaves; what is on the screen then.
fn leave(mut terminal: Terminal) -> String {
    terminal.enter("/exit");
    assert!(terminal.wait_for_end(), "{}", terminal.text());
    terminal.text()
}

/// The files of conversations that are saved in `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(chats) = std::fs::read_dir(folder.join("mist/chats")) else { return Vec::new() };
    chats.map(|entry| entry.unwrap().path()).collect()
}

/// What a person said, in every conversation that is saved, in the order of the alphabet.
fn said(folder: &Path) -> Vec<Vec<String>> {
    let messages = |file: &PathBuf| -> Vec<String> {
        let saved: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let user = saved.as_array().unwrap().iter().filter(|m| m["role"] == "user");
        user.map(|m| m["content"].as_str().unwrap().to_owned()).collect()
    };
    let mut all: Vec<_> = files(folder).iter().map(messages).collect();
    all.sort();
    all
}

/// An empty line left the chat.
#[test]
fn an_accidental_enter_does_nothing() {
    let folder = folder();
    let mut terminal = chat(folder.path(), &[]);
    for (number, line) in ["", "   ", "\t", "\"\"\"\"\"\""].into_iter().enumerate() {
        terminal.enter(line);
        terminal.wait_for_prompt(PROMPT, number + 2);
    }
    terminal.enter("hi");
    terminal.wait_for_prompt(PROMPT, 6);
    let shown = leave(terminal);
    assert_eq!(shown.matches("/help lists").count(), 1, "{shown}");
    assert_eq!(shown.matches(">> Reply: HY").count(), 1, "{shown}");
    assert_eq!(said(folder.path()), [["hi"]]);
}

/// They left the chat with an error.
#[test]
fn bytes_that_are_no_text_do_not_leave() {
    let folder = folder();
    let mut terminal = chat(folder.path(), &[]);
    terminal.keys(b"caf\xe9\r");
    terminal.wait_for("what was typed is not UTF-8 text: the line is not sent");
    terminal.enter("hi");
    terminal.wait_for(">> Reply: HY");
    leave(terminal);
    assert_eq!(said(folder.path()), [["hi"]]);
}

/// The line of the prompt's progress was drawn over the next prompt, and what was typed there was hidden.
#[test]
fn a_refused_message_leaves_the_prompt_as_it_is() {
    let folder = folder();
    let mut terminal = chat(folder.path(), &["--context-length", "8"]);
    for (number, line) in ["/retry", "a message that is too long"].into_iter().enumerate() {
        terminal.enter(line);
        terminal.wait_for_prompt(PROMPT, number + 2);
        // Longer than the progress waits before it shows itself.
        std::thread::sleep(std::time::Duration::from_secs(1));
        terminal.keys("ab");
        terminal.wait_for_line(">> Prompt: ab");
        terminal.keys("\u{7f}\u{7f}");
        terminal.wait_for_line(PROMPT);
    }
    leave(terminal);
}

/// A blank line in a paste left the chat, and the rest of the paste went to the shell.
#[test]
fn a_paste_with_blank_lines_is_one_message_or_a_turn_a_line() {
    let folder = folder();
    let mut terminal = chat(folder.path(), &[]);
    terminal.keys("\x1b[200~one\n\n\ttwo\r\rthree\n\x1b[201~");
    terminal.enter("");
    terminal.wait_for(">> Reply: HY");
    terminal.wait_for_line(PROMPT);
    terminal.keys("four\r\r\tfive\r \r/undo\rsix\r");
    terminal.wait_for_prompt(PROMPT, 8);
    leave(terminal);
    assert_eq!(said(folder.path()), [["one\n\n\ttwo\n\nthree", "four", "six"]]);
}

/// It was echoed into the reply, and Ctrl-C threw it away.
#[test]
fn what_is_typed_during_a_reply_is_the_next_prompts() {
    let folder = folder();
    let mut terminal = chat(folder.path(), &["--quiet"]);
    terminal.enter("long");
    terminal.wait_for(">> Reply: xx");
    terminal.keys("hello");
    terminal.keys("\x03");
    terminal.wait_for_line(">> Prompt: hello");
    let log = terminal.log();
    let (_, reply) = log.split_once(">> Reply: ").unwrap();
    let (reply, _) = reply.split_once('\x1b').unwrap();
    assert!(reply.len() < CONTEXT / 2, "Ctrl-C came too late");
    assert!(reply.chars().all(|c| ['x', '\r', '\n'].contains(&c)), "{reply}");

    // It is a line like any other, and can be edited.
    terminal.enter("\x7f\x7f");
    terminal.wait_for(">> Reply: HY");
    terminal.wait_for_line(PROMPT);
    terminal.enter("a long one");
    terminal.wait_for_line_of("x");
    terminal.keys("one\r\rtwo\r\x1b[200~three\n\nfour\x1b[201~\rfi");
    terminal.keys("\x03");
    terminal.wait_for_line(">> Prompt: fi");
    terminal.keys("\x03");
    terminal.wait_for_line(PROMPT);
    leave(terminal);
    assert_eq!(said(folder.path()), [["long", "hel", "a long one", "one", "two", "three\n\nfour"]]);
}

/// A terminal that edits lines itself shows what is typed at a prompt, and nothing in a reply.
#[test]
fn what_is_typed_during_a_reply_is_kept_by_a_dumb_terminal_too() {
    let folder = folder();
    let mut terminal = Terminal::of_kind("dumb", folder.path(), &[&CHAT[..], &["--quiet"]].concat());
    terminal.wait_for_line(PROMPT);
    terminal.enter("long");
    terminal.wait_for(">> Reply: xx");
    terminal.keys("hello\rthen");
    terminal.keys("\x03");
    terminal.wait_for(">> Reply: HY");
    terminal.enter("");
    terminal.wait_for_line(PROMPT);
    let log = terminal.log();
    assert!(!log.contains('\x1b') && log.contains(">> Prompt: long\r\n"), "{log}");
    terminal.enter("/exit");
    assert!(terminal.wait_for_end());
    assert_eq!(said(folder.path()), [["long", "hello", "then"]]);
}

#[test]
fn the_terminal_is_as_it_was_whatever_ended_the_chat() {
    let folder = folder();
    let ways = [
        ("exit status: 0", Ok(["\x03\x04", ""])),
        ("exit status: 0", Ok(["\x03/exit\r", ""])),
        ("exit status: 130", Ok(["\x03", "\x03"])),
        ("signal: 15 (SIGTERM)", Err(Signal::TERM)),
        ("signal: 1 (SIGHUP)", Err(Signal::HUP)),
    ];
    for (ended, way) in ways {
        let mut terminal = Terminal::start(folder.path(), &[&CHAT[..], &["--quiet"]].concat());
        terminal.wait_for_line(PROMPT);
        terminal.enter("long");
        terminal.wait_for(">> Reply: xx");
        assert_ne!(terminal.modes(), terminal.original_modes());
        match way {
            Ok([during, ""]) => terminal.keys(during),
            Ok([during, at_the_prompt]) => {
                terminal.keys(during);
                terminal.wait_for_line(PROMPT);
                terminal.keys(at_the_prompt);
            }
            Err(signal) => terminal.signal(signal),
        }
        assert_eq!(terminal.wait_for_status().to_string(), ended);
        assert_eq!(terminal.modes(), terminal.original_modes(), "{ended}");
        let log = terminal.log();
        assert!(log.rfind("\x1b[?2004l") > log.rfind("\x1b[?2004h"), "pastes are bracketed: {ended}");
    }
}

#[test]
fn a_conversation_is_gone_on_with_and_stays_one_file() {
    let folder = folder();
    let mut terminal = chat(folder.path(), &["--system", "Be brief."]);
    terminal.enter("one");
    terminal.wait_for_prompt(PROMPT, 2);
    assert_eq!(said(folder.path()), [["one"]], "while the chat goes on");
    let shown = leave(terminal);
    assert!(shown.ends_with("The same command with --continue goes on with this conversation"), "{shown}");

    let mut terminal = chat(folder.path(), &["--continue"]);
    terminal.enter("two");
    terminal.wait_for_prompt(PROMPT, 2);
    let shown = leave(terminal);
    assert!(shown.contains("Continuing a conversation of 1 turn\n"), "{shown}");
    assert_eq!(said(folder.path()), [["one", "two"]]);

    // `/load last` is another conversation than this one, and what was cleared is one.
    let mut terminal = chat(folder.path(), &[]);
    terminal.enter("other");
    terminal.wait_for_prompt(PROMPT, 2);
    terminal.enter("/load last");
    terminal.wait_for("Continuing a conversation of 2 turns");
    terminal.enter("/show");
    terminal.wait_for("system prompt   \"Be brief.\"");
    terminal.enter("three");
    terminal.wait_for_line(PROMPT);
    terminal.enter("/clear");
    terminal.wait_for("is cleared");
    terminal.enter("/load last");
    terminal.wait_for("Continuing a conversation of 3 turns");
    leave(terminal);
    assert_eq!(said(folder.path()), [vec!["one", "two", "three"], vec!["other"]]);
}

#[test]
fn two_chats_at_once_have_a_file_each() {
    let folder = folder();
    let mut terminal = chat(folder.path(), &[]);
    terminal.enter("first");
    terminal.wait_for_prompt(PROMPT, 2);
    leave(terminal);
    let mut both = [chat(folder.path(), &["--continue"]), chat(folder.path(), &["--continue"])];
    for turn in 0..2 {
        for (number, terminal) in both.iter_mut().enumerate() {
            terminal.enter(&format!("{number}, {turn}"));
            terminal.wait_for_prompt(PROMPT, turn + 2);
        }
    }
    both.into_iter().for_each(|terminal| drop(leave(terminal)));
    assert_eq!(said(folder.path()), [["first", "0, 0", "0, 1"], ["first", "1, 0", "1, 1"]]);
}

/// Where a conversation cannot be saved that is said once, and the chat goes on.
#[test]
fn a_save_that_fails_is_said_once() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("mist")).unwrap();
    std::fs::write(folder.path().join("mist/chats"), "a file").unwrap();
    let mut terminal = chat(folder.path(), &[]);
    for turn in 2..5 {
        terminal.enter("hi");
        terminal.wait_for_prompt(PROMPT, turn);
    }
    let shown = leave(terminal);
    assert_eq!(shown.matches("warning: the conversation is not saved: cannot write ").count(), 1, "{shown}");
    assert!(!shown.contains("--continue"), "{shown}");
}

#[test]
fn scripts_save_what_they_say_only_where_they_go_on() {
    let folder = folder();
    let run = |args: &[&str], input: &str| {
        let mist = Mist::new(folder.path()).env("XDG_STATE_HOME", folder.path());
        mist.args([&CHAT[..], args].concat()).stdin(input).run()
    };
    let ended = run(&["--continue"], "one\n");
    let error = "error: no conversation is saved yet\nhint: `mist chat` begins one, and saves it\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), error));
    assert_eq!(run(&[], "one\n").text(), "HY\n");
    assert_eq!(run(&["--prompt", "one"], "").text(), "HY\n");
    assert!(files(folder.path()).is_empty());

    std::fs::create_dir_all(folder.path().join("mist/chats")).unwrap();
    let file = folder.path().join("mist/chats/2026-01-01_00-00-00_Ab3dEf_org--other.json");
    let saved = r#"[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]"#;
    std::fs::write(&file, saved).unwrap();
    let ended = run(&["--continue", "--prompt", "one"], "");
    assert_eq!(ended.text(), "HY\n");
    assert!(
        ended.stderr.contains("Continuing a conversation of 1 turn, which was with org/other\n"),
        "{ended:?}"
    );
    assert_eq!(run(&["--continue"], "two\n\nthree\n").text(), "HY\nHY\n");
    assert_eq!(said(folder.path()).last().unwrap(), &["a", "one", "two", "three"]);
    assert_eq!(files(folder.path()).len(), 2, "a file of another program's is left as it is");
}
