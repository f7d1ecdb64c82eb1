//! The first commands that users of other programs type, with no more than the program's name changed: each works, or its
//! hint leads to one that does. That what hints name exists is a test beside them.

use std::fs;

use crate::support::Mist;
use crate::transcript::Transcript;

/// A folder with a model in `checkpoints/` and `model.gguf`.
fn transcript() -> Transcript {
    let t = Transcript::new();
    fs::remove_dir_all(t.folder().join("checkpoints/tiny/mixtral")).unwrap();
    fs::rename(t.folder().join("tiny.gguf"), t.folder().join("model.gguf")).unwrap();
    t
}

#[test]
fn of_ollama() {
    let mut t = transcript();
    for line in ["run mistral", "pull mistral", "list", "rm mistral", "serve"] {
        t.run(line);
    }
    t.matches("others_ollama");
}

#[test]
fn of_llama_cpp() {
    let mut t = transcript();
    for line in [
        "-m model.gguf -p Hello -n 4",
        "generate -m model.gguf -p Hello -n 4 -t 2 -c 64 --temp 0",
        "generate -m model.gguf -p Hello -n 4 -t 2 -c 64 --temperature 0 --quiet",
        "chat -hf org/name-GGUF:Q4_K_M",
        "chat -m model.gguf -cnv",
        "generate -m model.gguf -ngl 99 -p Hello",
        "quantize model.gguf out.gguf Q4_K_M",
        "server -m model.gguf --port 8080",
    ] {
        t.run(line);
    }
    t.matches("others_llama_cpp");
    let bench = ["bench", "-m", "model.gguf", "-p", "8", "-n", "2", "-r", "1", "--json", "--quiet"];
    let ended = Mist::new(t.folder()).args(bench).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn of_litgpt() {
    let mut t = transcript();
    for line in [
        "download --repo_id mistralai/Mistral-7B-Instruct-v0.2 --offline",
        "convert --checkpoint_dir checkpoints/tiny/llama --dry-run --quiet",
        "chat --checkpoint_dir checkpoints/tiny/llama --temperature 0 --max_new_tokens 2 --prompt x --quiet",
        "generate tiny/llama --prompt Hello --max_new_tokens 2 --temperature 0 --quiet",
        "generate_sequentially tiny/llama",
        "generate tiny/llama --precision bf16-true",
        "pretrain pythia-14m",
        "finetune_lora tiny/llama",
    ] {
        t.run(line);
    }
    t.matches("others_litgpt");
}

#[test]
fn of_hf() {
    let mut t = transcript();
    for line in [
        "download org/name --local-dir here",
        "download org/name file.gguf",
        "download org/name --include *.gguf --token x",
        "cache ls",
        "auth login",
    ] {
        t.run(line);
    }
    t.matches("others_hf");
}

/// A flag of another program that the command has no counterpart of, and words that no program knows.
#[test]
fn flags_that_another_command_has() {
    let mut t = transcript();
    for line in [
        "list --token x",
        "inspect model.gguf --max-tokens 8",
        "chat --format json",
        "chat --prompt-file prompt.txt",
        "chat --local-dir here",
        "chat --conversation",
        "generate --include *.gguf",
        "generate --outtype f16",
        "tokenize --temp 0",
        "download -m org/name",
        "remove -m org/name",
        "list -x",
        "generate --no-such-flag 1",
        "-hf org/name-GGUF:Q4_K_M",
        "--token x",
        "--json generate",
        "--promptt x generate",
        "chat --prompts-file prompts.txt",
        "list --temperature 0",
    ] {
        t.run(line);
    }
    t.matches("others_elsewhere");
}
