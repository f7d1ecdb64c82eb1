//! Every file that is read, with something else in its place: a device, a file that never ends, a pipe, a folder, a
//! socket. Each is refused at once, in one line that names it, and takes no memory.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use tempfile::TempDir;

use crate::clean_error;
use crate::support::{Ended, Mist, copy_of, copy_of_layout, gguf};

/// What lies in the place of a file.
const INSTEAD: [&str; 7] = ["device", "endless", "waiting", "pipe", "link to a pipe", "folder", "socket"];

/// Puts it there.
fn put(instead: &str, file: &Path) {
    match fs::symlink_metadata(file) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(file).unwrap(),
        Ok(_) => fs::remove_file(file).unwrap(),
        Err(_) => {}
    }
    match instead {
        "device" => symlink("/dev/zero", file).unwrap(),
        // The system says that it has 0 bytes, and it has 2^39. Elsewhere there is no such file.
        "endless" if cfg!(target_os = "linux") => symlink("/proc/self/pagemap", file).unwrap(),
        // It has 0 bytes and is a regular file, and reading it waits for the kernel's next message.
        "waiting" if Path::new("/proc/kmsg").exists() => symlink("/proc/kmsg", file).unwrap(),
        "endless" | "waiting" => symlink("/dev/zero", file).unwrap(),
        "pipe" => pipe(file),
        "link to a pipe" => {
            let pipe_path = file.with_file_name("a-pipe");
            if !pipe_path.exists() {
                pipe(&pipe_path);
            }
            symlink("a-pipe", file).unwrap();
        }
        "folder" => fs::create_dir(file).unwrap(),
        // Its file stays when the listener is gone.
        _ => drop(UnixListener::bind(file).unwrap()),
    }
}

fn pipe(path: &Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RWXU).unwrap();
}

/// Runs a command that would hang or take all memory if it read what is there.
fn run(folder: &Path, command: &str) -> Ended {
    // `timeout` is not everywhere; without it a fault shows as a test that does not end.
    let script = r#"ulimit -v 2097152 2>/dev/null; ulimit -d 262144 2>/dev/null; ulimit -t 20
        if command -v timeout >/dev/null; then exec timeout 60 "$0" "$@"; fi; exec "$0" "$@""#;
    Mist::shell(folder, script).args(command.split(' ')).run()
}

/// Runs the command once as things are, and once with each other thing in the place of `file`.
#[track_caller]
fn refused_whatever_it_is(folder: &TempDir, file: &str, command: &str) {
    for instead in INSTEAD {
        put(instead, &folder.path().join(file));
        let ended = run(folder.path(), command);
        let error = clean_error(&ended);
        assert!(error.contains(file), "{file}, {instead}: {error}");
    }
}

const GENERATE: &str = "generate --checkpoint-dir . --prompt x --max-new-tokens 1 --temperature 0 --quiet";

#[test]
fn the_files_of_a_folder_of_hugging_face() {
    for file in [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "mist-download.json",
    ] {
        refused_whatever_it_is(&copy_of("llama-gqa"), file, GENERATE);
    }
    for file in ["tekken.json", "tokenizer.model.v3", "tokenizer.model"] {
        let folder = copy_of("llama-gqa");
        fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
        refused_whatever_it_is(&folder, file, GENERATE);
    }
    for file in ["model.safetensors.index.json", "model-00002-of-00003.safetensors"] {
        refused_whatever_it_is(&copy_of("llama-tied"), file, GENERATE);
    }
}

/// A snapshot of the hub's cache that was copied without its blobs: without a file that is named there the others mean
/// something else.
#[test]
fn a_link_that_leads_nowhere_is_no_absent_file() {
    let dangles = |folder: &TempDir, file: &str, command: &str| {
        let path = folder.path().join(file);
        let _ = fs::remove_file(&path);
        symlink("../../blobs/0123", &path).unwrap();
        let ended = run(folder.path(), command);
        let error = clean_error(&ended);
        let why = format!("{file}: it is a symbolic link to \"../../blobs/0123\", which does not exist");
        assert!(error.ends_with(&why), "{file}: {error}");
        assert!(ended.stderr.contains("hint: ") && ended.stderr.contains("`cp -rL`"), "{ended:?}");
    };
    for file in [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "model.safetensors.index.json",
        "mist.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
    ] {
        dangles(&copy_of("llama-gqa"), file, GENERATE);
    }
    let folder = tempfile::tempdir().unwrap();
    let model = crate::support::fixtures().join("text/mistral/tokenizer.model.v7");
    fs::copy(model, folder.path().join("tokenizer.model")).unwrap();
    dangles(&folder, "added_tokens.json", "tokenize --checkpoint-dir . --text x");
    for command in ["convert --checkpoint-dir . --output-dir out", "inspect --checkpoint-dir ."] {
        dangles(&copy_of("llama-gqa"), "generation_config.json", command);
    }
    dangles(&copy_of_layout("litgpt"), "model_config.yaml", GENERATE);
}

#[test]
fn the_files_beside_a_sentence_piece_model() {
    let folder = tempfile::tempdir().unwrap();
    let model = crate::support::fixtures().join("text/mistral/tokenizer.model.v7");
    fs::copy(model, folder.path().join("tokenizer.model")).unwrap();
    let tokenize = "tokenize --checkpoint-dir . --text x";
    assert_eq!(run(folder.path(), tokenize).code, Some(0));
    refused_whatever_it_is(&folder, "added_tokens.json", tokenize);
}

#[test]
fn the_files_of_other_layouts() {
    for (layout, file) in [
        ("mistral", "params.json"),
        ("mistral", "consolidated.safetensors"),
        ("mistral-shards", "consolidated.safetensors.index.json"),
        ("mistral-shards", "consolidated-00002-of-00002.safetensors"),
        ("mistral-pth", "consolidated.00.pth"),
        ("mistral-experts", "consolidated.01.pt"),
        ("litgpt", "model_config.yaml"),
        ("litgpt", "lit_model.pth"),
        ("litgpt", "generation_config.json"),
        ("litgpt-old", "lit_config.json"),
        ("torch", "pytorch_model.bin.index.json"),
        ("torch", "pytorch_model-00002-of-00002.bin"),
    ] {
        refused_whatever_it_is(&copy_of_layout(layout), file, GENERATE);
    }
}

#[test]
fn a_gguf_file() {
    for instead in INSTEAD {
        let folder = tempfile::tempdir().unwrap();
        put(instead, &folder.path().join("x.gguf"));
        for path in [".", "x.gguf"] {
            // A folder of that name is one to look into.
            let ended = run(folder.path(), &format!("inspect --checkpoint-dir {path}"));
            let error = clean_error(&ended);
            assert!(instead == "folder" || error.contains("x.gguf"), "{instead}: {error}");
        }
    }
}

#[test]
fn the_files_of_a_conversion() {
    for file in ["mist.json", "mist.safetensors"] {
        let folder = tempfile::tempdir().unwrap();
        let from = gguf("mixtral-quants");
        let converted =
            run(folder.path(), &format!("convert --checkpoint-dir {} --output-dir .", from.display()));
        assert_eq!(converted.code, Some(0), "{converted:?}");
        refused_whatever_it_is(&folder, file, GENERATE);
    }
    let folder = copy_of("llama-gqa");
    let quantized = format!("{GENERATE} --quantize q8_0");
    assert_eq!(run(folder.path(), &quantized).code, Some(0));
    refused_whatever_it_is(&folder, "q8_0/mist.json", &quantized);
}

#[test]
fn what_is_copied_beside_a_conversion() {
    for file in ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "tokenizer.model.v1"] {
        let convert = "convert --checkpoint-dir . --output-dir o";
        refused_whatever_it_is(&copy_of("llama-gqa"), file, convert);
    }
}

/// There a pipe is usual, as `--file <(…)` gives one; a device may be the terminal, and has an end all the same.
#[test]
fn what_the_user_names_may_be_a_pipe_and_has_an_end() {
    let folder = copy_of("llama-gqa");
    let text = "a text that is long enough";
    let messages = r#"[{"role":"user","content":"hi"}]"#;
    for (command, given) in [
        ("generate --checkpoint-dir . --max-new-tokens 1 --temperature 0 --quiet --prompts-file", text),
        ("evaluate --checkpoint-dir . --file", text),
        ("tokenize --checkpoint-dir . --messages", messages),
    ] {
        for source in ["/dev/stdin", "link"] {
            let _ = fs::remove_file(folder.path().join("link"));
            symlink("/dev/stdin", folder.path().join("link")).unwrap();
            let args = command.split(' ').chain([source]);
            let ended = Mist::new(folder.path()).args(args).stdin(given).run();
            // The tiny model has no chat format, which is found out after the messages were read.
            let read = ended.code == Some(0) || ended.stderr.contains("no chat format");
            assert!(read, "{command} {source}: {ended:?}");
        }
        put("folder", &folder.path().join("a-folder"));
        let ended = run(folder.path(), &format!("{command} a-folder"));
        let error = clean_error(&ended);
        assert!(error.contains("a-folder: it is a folder"), "{error}");
    }
    let script = r#"ulimit -v 2097152 2>/dev/null; exec "$0" "$@""#;
    let args = ["tokenize", "--checkpoint-dir", ".", "--messages", "/dev/zero"];
    let ended = Mist::shell(folder.path(), script).args(args).run();
    assert!(clean_error(&ended).contains("limit of"), "{ended:?}");
}
