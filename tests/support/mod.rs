//! What the test programs share: where the fixtures are, and how the binary is run.
// Each test program uses its own part of this.
#![allow(dead_code, clippy::panic, clippy::print_stderr)]

pub mod letters;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The folder of the fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A tiny checkpoint in Hugging Face's layout.
pub fn model(name: &str) -> PathBuf {
    fixtures().join("models").join(name)
}

/// A tiny GGUF file.
pub fn gguf(name: &str) -> PathBuf {
    fixtures().join("gguf").join(format!("{name}.gguf"))
}

/// A tiny checkpoint in Mistral's own layout or in litgpt's.
pub fn layout(name: &str) -> PathBuf {
    fixtures().join("layouts").join(name)
}

/// A test is about to be skipped, loudly, unless `MIST_REQUIRE_STARTER=1` forbids it.
pub fn skipped<T>(what: &str, why: &str) -> Option<T> {
    let required = std::env::var("MIST_REQUIRE_STARTER").is_ok_and(|v| v == "1");
    assert!(!required, "{what}: {why}");
    eprintln!("SKIPPED: {what}: {why}");
    None
}

/// The folder that the starter lies in under `checkpoints/`, kept between runs; `None` where it cannot be fetched.
pub fn starter() -> Option<&'static Path> {
    static STARTER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let fetch = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("starter");
        fs::create_dir_all(folder.join("checkpoints")).unwrap();
        // With the machine's own settings: they say how to reach the network.
        let mut fetch = Command::new(env!("CARGO_BIN_EXE_mist"));
        let fetched = fetch.args(["download", "--starter"]).current_dir(&folder).output().unwrap();
        match fetched.status.success() {
            true => Some(folder),
            false => skipped("the starter cannot be fetched", &String::from_utf8_lossy(&fetched.stderr)),
        }
    };
    STARTER.get_or_init(fetch).as_deref()
}

/// Copies the files of a folder, but for the references, which no command reads.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap();
        if name != "reference.json" {
            // Contents only: the copy must be writable whatever the original is.
            fs::write(to.join(name), fs::read(&file).unwrap()).unwrap();
        }
    }
}

/// A copy of a tiny checkpoint, to be damaged.
pub fn copy_of(name: &str) -> tempfile::TempDir {
    copy(&model(name))
}

/// A copy of a tiny checkpoint in another layout, to be damaged.
pub fn copy_of_layout(name: &str) -> tempfile::TempDir {
    copy(&layout(name))
}

fn copy(from: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(from, folder.path());
    folder
}

/// How a run of the binary ended.
#[derive(Debug)]
pub struct Ended {
    pub stdout: Vec<u8>,
    pub stderr: String,
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
}

impl Ended {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }
}

/// A run of the binary to come, out of reach of this machine's settings and of the network.
pub struct Mist {
    command: Command,
    stdin: Vec<u8>,
}

impl Mist {
    /// `mist` in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self::through(Command::new(env!("CARGO_BIN_EXE_mist")), folder)
    }

    /// A shell that runs `script` in `folder`, where `"$0"` is the binary and `"$@"` the arguments.
    pub fn shell(folder: &Path, script: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_mist")]);
        Self::through(shell, folder)
    }

    fn through(mut command: Command, folder: &Path) -> Self {
        command
            .current_dir(folder)
            .env("HF_ENDPOINT", "http://127.0.0.1:9")
            .env("HF_HOME", folder.join("hub-home"))
            .env("MIST_HOME", folder.join("mist-home"));
        for name in [
            "HF_TOKEN",
            "HF_HUB_CACHE",
            "HF_HUB_OFFLINE",
            "NO_COLOR",
            "MIST_CPU",
            "COLUMNS",
            "RUST_BACKTRACE",
        ] {
            command.env_remove(name);
        }
        Self { command, stdin: Vec::new() }
    }

    pub fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = text.into();
        self
    }

    pub fn run(mut self) -> Ended {
        let pipe = Stdio::piped;
        let mut child = self.command.stdin(pipe()).stdout(pipe()).stderr(pipe()).spawn().unwrap();
        // A command that does not read its stdin may have ended before this.
        let _ = child.stdin.take().unwrap().write_all(&self.stdin);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ended { stdout: output.stdout, stderr, code: output.status.code() }
    }
}
