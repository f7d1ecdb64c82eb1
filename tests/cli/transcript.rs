//! Commands and what they print, as one text.

use std::path::Path;

use regex::Regex;

use crate::support::{Ended, Mist, copy_folder, gguf, model};

/// What differs from run to run and from machine to machine, and what stands for it.
const VARIABLE: [(&str, &str); 14] = [
    // The last digits depend on the kernels.
    (r#"(perplexity"?[: ]\d+)\.\d+"#, "$1.[…]"),
    (r#"(nll"?[: ]\d+\.\d{4})\d+"#, "$1[…]"),
    (r"\d+\.\d+ tokens/s", "[rate] tokens/s"),
    (r"(\d+ texts? in) \d+\.\d+ s", "$1 [time] s"),
    (r"after \d+\.\d+ s", "after [time] s"),
    (r"Seed: \d+", "Seed: [seed]"),
    (r#"("\w+_per_second"|"\w+_seconds"):[-+.e\d]+"#, "$1:[number]"),
    (r#""(disk_bytes_per_token)":[-+.e\d]+"#, r#""$1":[bytes]"#),
    (r#""(peak_memory_bytes|memory_bytes)":(\d+|null)"#, r#""$1":[bytes]"#),
    (r#""threads":\d+"#, r#""threads":[count]"#),
    (r#""kernels":"\w+""#, r#""kernels":"[kernels]""#),
    (
        r"cpu  \d+ threads(, [.\d]+ GiB of memory)?, \w+ kernels",
        "cpu  [count] threads, [size] of memory, [kernels] kernels",
    ),
    (r"on (\d+ x )?cpu \(\w+\)", "on ${1}cpu ([kernels])"),
    (r"this processor runs [\w, ]+", "this processor runs [kernels]"),
];

/// A folder to run commands in, and what they printed so far.
pub struct Transcript {
    folder: tempfile::TempDir,
    text: String,
}

impl Transcript {
    /// A folder with tiny checkpoints as a user would have them: `checkpoints/tiny/llama`, `checkpoints/tiny/mixtral`
    /// and `tiny.gguf`.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, copy) in [("llama-gqa", "llama"), ("mixtral", "mixtral")] {
            copy_folder(&model(name), &folder.path().join("checkpoints/tiny").join(copy));
        }
        std::fs::write(folder.path().join("tiny.gguf"), std::fs::read(gguf("llama-gqa-quants")).unwrap())
            .unwrap();
        Self { folder, text: String::new() }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command line: words between spaces, or in single quotes.
    pub fn run(&mut self, line: &str) -> Ended {
        self.run_with(line, |mist| mist)
    }

    /// Runs a command line with an environment or a stdin.
    pub fn run_with(&mut self, line: &str, with: impl Fn(Mist) -> Mist) -> Ended {
        let ended = with(Mist::new(self.folder.path()).args(words(line))).run();
        self.record(&format!("mist {line}"), &ended);
        ended
    }

    /// Adds a run to the text.
    pub fn record(&mut self, line: &str, ended: &Ended) {
        let code = ended.code.map_or("a signal".to_string(), |code| code.to_string());
        self.text.push_str(&format!("$ {line}\n"));
        for (name, text) in [("stdout", ended.text()), ("stderr", ended.stderr.clone())] {
            if !text.is_empty() {
                let newline = if text.ends_with('\n') { "" } else { "[no newline]\n" };
                self.text.push_str(&format!("--- {name}\n{text}{newline}"));
            }
        }
        self.text.push_str(&format!("--- exit {code}\n\n"));
    }

    /// Compares all that was printed with the snapshot of this name.
    #[track_caller]
    pub fn matches(&self, name: &str) {
        let mut text = self.text.replace(&*self.folder.path().to_string_lossy(), "[folder]");
        for (pattern, stand_in) in VARIABLE {
            text = Regex::new(pattern).unwrap().replace_all(&text, stand_in).into_owned();
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        // Control characters would make the snapshot a binary file to others.
        let text: String = text.chars().map(visible).collect();
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

/// Control characters as their pictures (U+2400 and on), newlines as they are.
fn visible(c: char) -> char {
    match c {
        '\n' => c,
        c if c.is_ascii_control() => char::from_u32(0x2400 + c as u32).unwrap_or('\u{2421}'),
        c => c,
    }
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (i, piece) in line.split('\'').enumerate() {
        match i % 2 {
            0 => words.extend(piece.split_whitespace().map(str::to_string)),
            _ => words.push(piece.to_string()),
        }
    }
    words
}
