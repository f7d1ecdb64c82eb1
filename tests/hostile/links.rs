//! A folder from a stranger with links in the place of what is written: nothing is written, made or deleted where they
//! lead.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use crate::support::{Ended, copy_folder, gguf, model};
use crate::{clean_error, run};

const PRECIOUS: &str = "precious";

/// A checkpoint `m` from a stranger, beside what is the user's: a file and a folder with a file.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        copy_folder(&model("llama-gqa"), &place.path("m"));
        fs::write(place.path("precious"), PRECIOUS).unwrap();
        fs::create_dir(place.path("victim")).unwrap();
        fs::write(place.path("victim/precious"), PRECIOUS).unwrap();
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// A link in the checkpoint, in place of what was there, to something beside it.
    fn link(&self, name: &str, to: &str) {
        let link = self.path("m").join(name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&link);
        symlink(self.path(to), link).unwrap();
    }

    /// Runs a command, which may fail, but cleanly.
    #[track_caller]
    fn run(&self, command: &str) -> Ended {
        let ended = run(self.0.path(), command);
        if ended.code != Some(0) {
            clean_error(&ended);
        }
        self.is_untouched(command);
        ended
    }

    /// What is the user's is as it was, and nothing came to it.
    #[track_caller]
    fn is_untouched(&self, what: &str) {
        assert_eq!(fs::read_to_string(self.path("precious")).unwrap(), PRECIOUS, "{what}");
        assert_eq!(fs::read_to_string(self.path("victim/precious")).unwrap(), PRECIOUS, "{what}");
        let names = |folder: &Path| fs::read_dir(folder).unwrap().count();
        assert_eq!(names(&self.path("victim")), 1, "{what}");
        assert!(!self.path("nowhere").exists(), "{what}");
        assert!(names(self.0.path()) <= 4, "{what}");
    }
}

const QUANTIZE: &str =
    "generate --checkpoint-dir m --quantize q8_0 --prompt x --max-new-tokens 1 --temperature 0 --quiet";

/// What a conversion to the `mist` format writes.
const OF_MIST: [&str; 4] = ["mist.json", "mist.safetensors", "tokenizer.json", "tokenizer_config.json"];

#[test]
fn a_lock_that_is_a_link_is_not_opened() {
    for to in ["precious", "nowhere", "victim"] {
        let place = Place::new();
        place.link("q8_0/.mist.lock", to);
        let ended = place.run(QUANTIZE);
        assert!(clean_error(&ended).contains("m/q8_0/.mist.lock: it is a symbolic link"), "{ended:?}");
        assert!(ended.stderr.contains("\nhint: "), "{ended:?}");
    }
}

#[test]
fn a_folder_that_is_a_link_is_not_entered() {
    for to in ["victim", "nowhere", "precious"] {
        let place = Place::new();
        for (folder, command) in [
            ("q8_0", QUANTIZE),
            ("hf", "convert --checkpoint-dir m --to hf"),
            ("litgpt", "convert --checkpoint-dir m --to litgpt"),
        ] {
            place.link(folder, to);
            let ended = place.run(command);
            let error = clean_error(&ended);
            assert!(error.contains(&format!("m/{folder}: it is a symbolic link")), "{error}");
            if command.starts_with("convert") {
                assert_eq!(place.run(&format!("{command} --force")).code, Some(1));
            }
        }
    }
}

#[test]
fn beside_a_gguf_file_as_well() {
    let place = Place::new();
    fs::copy(gguf("mixtral-quants"), place.path("m/x.gguf")).unwrap();
    place.link("x.q8_0", "victim");
    for path in ["m/x.gguf", "./m//x.gguf"] {
        let ended = place.run(&QUANTIZE.replace("m ", &format!("{path} ")));
        assert!(clean_error(&ended).contains("x.q8_0: it is a symbolic link"), "{ended:?}");
    }
    let ended = run(
        &place.path("m"),
        "generate --checkpoint-dir x.gguf --quantize q8_0 --prompt x --max-new-tokens 1 --temperature 0",
    );
    assert!(clean_error(&ended).contains("x.q8_0: it is a symbolic link"), "{ended:?}");
    place.is_untouched("in the folder");
}

#[test]
fn names_that_are_links_give_way_to_files() {
    for to in ["precious", "nowhere"] {
        for name in OF_MIST {
            let place = Place::new();
            place.link(&format!("q8_0/{name}"), to);
            place.run(QUANTIZE);
            // Of a file that is another's: not replaced unless it is asked for.
            place.run("convert --checkpoint-dir m --quantize q8_0 --output-dir m/q8_0");
            let ended = place.run("convert --checkpoint-dir m --quantize q8_0 --output-dir m/q8_0 --force");
            assert_eq!(ended.code, Some(0), "{ended:?}");
            let written = place.path("m/q8_0").join(name);
            assert!(written.symlink_metadata().unwrap().is_file(), "{name}");
        }
        for (name, format) in [
            ("mist.json", "mist"),
            ("mist.safetensors", "mist"),
            ("m.gguf", "gguf"),
            ("hf/config.json", "hf"),
            ("hf/model.safetensors", "hf"),
            ("hf/model.safetensors.index.json", "hf"),
            ("hf/tokenizer.json", "hf"),
            ("hf/generation_config.json", "hf"),
            ("litgpt/model_config.yaml", "litgpt"),
            ("litgpt/lit_model.pth", "litgpt"),
            ("litgpt/tokenizer.json", "litgpt"),
            ("litgpt/tokenizer_config.json", "litgpt"),
            ("litgpt/mist.json", "litgpt"),
        ] {
            let place = Place::new();
            place.link(name, to);
            let convert = format!("convert --checkpoint-dir m --to {format}");
            place.run(&convert);
            let ended = place.run(&format!("{convert} --force"));
            assert_eq!(ended.code, Some(0), "{name}: {ended:?}");
        }
    }
}

#[test]
fn originals_that_are_links_are_deleted_as_links() {
    let place = Place::new();
    let elsewhere = place.path("weights");
    fs::rename(place.path("m/model.safetensors"), &elsewhere).unwrap();
    let bytes = fs::read(&elsewhere).unwrap();
    place.link("model.safetensors", "weights");
    let ended = place.run("convert --checkpoint-dir m --delete-originals");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(place.path("m/model.safetensors").symlink_metadata().is_err());
    assert!(fs::read(&elsewhere).unwrap() == bytes);
}

#[test]
fn what_looks_abandoned_and_is_a_link_stays() {
    let place = Place::new();
    place.link(".mist.safetensors.Ab3dEf.partial", "precious");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::options().write(true).open(place.path("precious")).unwrap().set_modified(old).unwrap();
    assert_eq!(place.run("convert --checkpoint-dir m").code, Some(0));
    assert!(place.path("m/.mist.safetensors.Ab3dEf.partial").symlink_metadata().is_ok());
}

/// The way to a checkpoint's folder is the user's own: often it leads to another disk.
#[test]
fn the_way_to_a_folder_is_followed() {
    let place = Place::new();
    let disk = tempfile::tempdir().unwrap();
    fs::rename(place.path("m"), disk.path().join("m")).unwrap();
    fs::create_dir(disk.path().join("out")).unwrap();
    symlink(disk.path().join("m"), place.path("m")).unwrap();
    assert_eq!(place.run(QUANTIZE).code, Some(0));
    assert!(disk.path().join("m/q8_0/mist.safetensors").is_file());
    symlink(disk.path().join("out"), place.path("out")).unwrap();
    let ended = place.run("convert --checkpoint-dir m --output-dir out");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(disk.path().join("out/mist.safetensors").is_file());
    // A conversion that was moved there is used.
    fs::rename(disk.path().join("m/q8_0"), disk.path().join("moved")).unwrap();
    symlink(disk.path().join("moved"), disk.path().join("m/q8_0")).unwrap();
    assert_eq!(place.run(QUANTIZE).code, Some(0));
}

/// A limit of file sizes ends no process: it is an error as a full disk is, and nothing is left half.
#[test]
fn a_file_that_may_not_grow_is_an_error_and_leaves_nothing() {
    let place = Place::new();
    let limited = |command: &str| {
        let script = r#"ulimit -f 100; exec "$0" "$@""#;
        crate::support::Mist::shell(place.0.path(), script).args(command.split(' ')).run()
    };
    for (command, folder) in [
        ("convert --checkpoint-dir m --output-dir o", "o"),
        ("convert --checkpoint-dir m --to gguf --output-dir o", "o"),
        (QUANTIZE, "m/q8_0"),
    ] {
        let ended = limited(command);
        let error = clean_error(&ended);
        assert!(error.starts_with("error: cannot write ") && error.contains("too large"), "{error}");
        assert!(ended.stderr.contains("hint: `ulimit -f unlimited`"), "{ended:?}");
        assert!(!place.path(folder).exists(), "{command}: its folder was made, and stays");
    }
}
