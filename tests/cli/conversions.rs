//! What conversions replace, delete and believe: each of these went wrong once.

use std::fs;
use std::path::Path;

use crate::support::{Ended, Mist, copy_folder, fixtures, layout, model};

/// Two runs wrote the description of one model beside the weights of the other, and both said that it was well.
#[test]
fn two_conversions_into_one_folder_at_once_leave_one_whole_checkpoint() {
    for round in 0..12 {
        let folder = Folder::with(&model("llama-gqa"));
        copy_folder(&model("llama-tied"), &folder.0.path().join("other"));
        let more = if round % 2 == 0 { "" } else { " --force" };
        let convert = |source: &str| {
            folder.mist(&format!("convert --checkpoint-dir {source} --output-dir out{more} --quiet"))
        };
        let (first, second) = std::thread::scope(|scope| {
            let first = scope.spawn(|| convert("m"));
            let second = convert("other");
            (first.join().unwrap(), second)
        });
        let succeeded = [&first, &second].iter().filter(|ended| ended.code == Some(0)).count();
        assert_eq!(succeeded, if more.is_empty() { 1 } else { 2 }, "{first:?} {second:?}");
        if more.is_empty() {
            assert!([&first, &second].iter().any(|ended| ended.stderr.contains("already exists")));
        }
        folder.done("inspect --checkpoint-dir out --verify");
        folder.done(&format!("generate --checkpoint-dir out {GREEDY}"));
        assert!(!folder.has("out/.mist.lock"));
    }
}

/// What a failed conversion had made for its files stayed: an empty folder, a lock.
#[test]
fn a_conversion_that_fails_leaves_no_folder_of_its_own() {
    let folder = Folder::with(&model("llama-gqa"));
    folder.write("m/model.safetensors", b"no weights");
    folder.refused("convert --checkpoint-dir m --output-dir new/out", "m/model.safetensors");
    folder.refused("convert --checkpoint-dir m --to gguf --quantize q4_k --output-dir new/out", "");
    assert!(!folder.has("new") && !folder.has("m/.mist.lock"));
    let good = Folder::with(&model("llama-gqa"));
    good.done("convert --checkpoint-dir m --output-dir new/out --dry-run");
    assert!(!good.has("new"));
    good.write("m/mist.json", b"{}");
    good.refused("convert --checkpoint-dir m", "mist.json already exists");
    assert!(!good.has("m/.mist.lock"));
}

const GREEDY: &str = "--prompt x --max-new-tokens 8 --temperature 0 --quiet";

struct Folder(tempfile::TempDir);

impl Folder {
    /// A folder with `m`, a copy of a tiny checkpoint.
    fn with(source: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(source, &folder.path().join("m"));
        Self(folder)
    }

    fn mist(&self, line: &str) -> Ended {
        Mist::new(self.0.path()).args(line.split_whitespace()).run()
    }

    #[track_caller]
    fn done(&self, line: &str) -> Ended {
        let ended = self.mist(line);
        assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
        ended
    }

    #[track_caller]
    fn refused(&self, line: &str, part: &str) {
        let ended = self.mist(line);
        assert!(ended.code == Some(1) && ended.stderr.contains(part), "{line}: {ended:?}");
    }

    fn has(&self, file: &str) -> bool {
        self.0.path().join(file).exists()
    }

    /// The sorted names of what a folder holds.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.path().join(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.0.path().join(file)).unwrap()
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(file), bytes).unwrap();
    }

    fn delete(&self, file: &str) {
        fs::remove_file(self.0.path().join(file)).unwrap();
    }

    /// What a run generates.
    #[track_caller]
    fn quantized(&self, path: &str, scheme: &str) -> Vec<u8> {
        self.done(&format!("generate --checkpoint-dir {path} --quantize {scheme} {GREEDY}")).stdout
    }

    /// Whether a run converts first.
    #[track_caller]
    fn converts(&self, path: &str, scheme: &str) -> bool {
        let greedy = GREEDY.replace(" --quiet", "");
        let ended = self.done(&format!("generate --checkpoint-dir {path} --quantize {scheme} {greedy}"));
        ended.stderr.contains("Quantizing")
    }
}

#[test]
fn originals_that_are_the_result_by_another_name_stay() {
    let t = Folder::with(&model("llama-gqa"));
    t.done("convert --checkpoint-dir m --delete-originals");
    assert!(t.has("m/mist.safetensors") && !t.has("m/model.safetensors"));
    for (folder, dtype) in [("./m".to_string(), "bf16"), (t.0.path().join("m").display().to_string(), "f16")]
    {
        let line = format!(
            "convert --checkpoint-dir m --dtype {dtype} --force --delete-originals --output-dir {folder}"
        );
        let ended = t.done(&line);
        assert!(!ended.stderr.contains("Deleted"), "{}", ended.stderr);
        t.done(&format!("generate --checkpoint-dir m {GREEDY}"));
    }
}

#[test]
fn of_the_originals_only_what_was_converted_is_deleted() {
    let t = Folder::with(&model("llama-tied"));
    t.write("m/x.gguf", &fs::read(fixtures().join("gguf/llama-gqa.gguf")).unwrap());
    t.done("convert --checkpoint-dir m/x.gguf --output-dir out --delete-originals");
    assert!(!t.has("m/x.gguf") && t.has("m/model.safetensors.index.json"));
    t.done("convert --checkpoint-dir m --output-dir again --delete-originals");
    assert!(!t.has("m/model.safetensors.index.json") && !t.has("m/model-00001-of-00003.safetensors"));
    assert!(t.has("m/config.json"));
}

#[test]
fn all_parts_of_a_split_file_are_originals() {
    let t = Folder::with(&fixtures().join("gguf/split"));
    t.done("convert --checkpoint-dir m --output-dir out --delete-originals");
    assert_eq!(fs::read_dir(t.0.path().join("m")).unwrap().count(), 0);
    let origin = String::from_utf8(t.read("out/mist.json")).unwrap();
    assert!(origin.contains("llama-gqa-quants-00003-of-00003.gguf"), "{origin}");
}

#[test]
fn a_run_replaces_its_own_conversion_and_no_other() {
    let t = Folder::with(&model("llama-gqa"));
    t.done("convert --checkpoint-dir m --quantize q4_0 --pure --output-dir m/q4_0");
    let pure = t.read("m/q4_0/mist.safetensors");
    t.refused(&format!("generate --checkpoint-dir m --quantize q4_0 {GREEDY}"), "already exists");
    assert_eq!(t.read("m/q4_0/mist.safetensors"), pure);
}

#[test]
fn a_dry_run_deletes_nothing_and_a_pipe_of_a_temporary_name_is_not_waited_for() {
    let t = Folder::with(&model("llama-gqa"));
    let (left, pipe) = ("m/.mist.safetensors.abcdef.partial", "m/.mist.json.abcdef.partial");
    t.write(left, b"half");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    fs::File::options().write(true).open(t.0.path().join(left)).unwrap().set_modified(old).unwrap();
    let made = std::process::Command::new("mkfifo").arg(t.0.path().join(pipe)).status();
    t.done("convert --checkpoint-dir m --dry-run");
    assert!(t.has(left));
    t.done("convert --checkpoint-dir m");
    assert!(!t.has(left));
    assert!(made.is_err() || t.has(pipe));
}

/// The new conversion had no tokenizer, which was found out after it had taken the place of one that had.
#[test]
fn a_conversion_is_not_lost_for_one_that_would_not_open() {
    let t = Folder::with(&model("llama-gqa"));
    let right = t.quantized("m", "q8_0");
    let state = |t: &Folder| {
        t.names("m/q8_0").into_iter().map(|n| t.read(&format!("m/q8_0/{n}"))).collect::<Vec<_>>()
    };
    let before = state(&t);
    let tokenizer = t.read("m/tokenizer.json");
    let run = format!("generate --checkpoint-dir m --quantize q8_0 {GREEDY}");
    t.delete("m/tokenizer.json");
    t.refused(&run, "no tokenizer in m (");
    assert_eq!(state(&t), before);
    t.write("m/tokenizer.json", b"{}");
    t.refused(&run, "m/tokenizer.json");
    assert_eq!(state(&t), before);
    t.write("m/tokenizer.json", &tokenizer);
    assert_eq!(t.quantized("m", "q8_0"), right);
    assert!(!t.converts("m", "q8_0"));
}

/// What a killed conversion leaves: the lock of the folder, and a file under a temporary name that nobody has open.
fn left_by_a_killed_conversion(t: &Folder, folder: &str, seconds: u64) -> String {
    let left = format!("{folder}/.mist.safetensors.abcdef.partial");
    fs::create_dir_all(t.0.path().join(folder)).unwrap();
    t.write(&format!("{folder}/.mist.lock"), b"");
    t.write(&left, b"half");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(seconds);
    fs::File::options().write(true).open(t.0.path().join(&left)).unwrap().set_modified(old).unwrap();
    left
}

/// What was killed just before the next conversion stayed for ever, since that one was complete.
#[test]
fn what_a_killed_conversion_left_is_deleted_by_a_later_one() {
    let t = Folder::with(&model("llama-gqa"));
    let young = left_by_a_killed_conversion(&t, "m", 0);
    t.done("convert --checkpoint-dir m");
    assert!(t.has(&young));
    left_by_a_killed_conversion(&t, "m", 60);
    t.refused("convert --checkpoint-dir m --quiet", "already exists");
    assert!(!t.has(&young));
    let old = left_by_a_killed_conversion(&t, "m/q8_0", 60);
    assert!(t.converts("m", "q8_0") && !t.has(&old));
}

#[test]
fn a_conversion_of_a_conversion_is_of_the_first_originals() {
    let t = Folder::with(&model("llama-gqa"));
    t.done("convert --checkpoint-dir m --delete-originals");
    assert!(t.converts("m", "q8_0") && !t.converts("m", "q8_0"));
    let again = t.done(&format!("generate --checkpoint-dir m --quantize q8_0 {GREEDY}"));
    assert_eq!(again.stderr, "");
    t.done("convert --checkpoint-dir m --quantize q8_0 --output-dir b");
    assert!(!t.converts("b", "q8_0"));
    assert!(!t.has("b/q8_0"));
}

/// q8_0 of what was rounded to q4_0 is not the q8_0 of the originals.
#[test]
fn what_was_rounded_twice_is_not_what_was_rounded_once() {
    let t = Folder::with(&model("llama-gqa"));
    let original = t.read("m/model.safetensors");
    let once = t.quantized("m", "q8_0");
    fs::remove_dir_all(t.0.path().join("m/q8_0")).unwrap();
    t.done("convert --checkpoint-dir m --quantize q4_0 --delete-originals");
    t.done("convert --checkpoint-dir m --quantize q8_0 --force");
    t.write("m/model.safetensors", &original);
    assert_eq!(t.quantized("m", "q8_0"), once);
    assert!(t.has("m/q8_0/mist.json"));
}

#[test]
fn a_kept_conversion_is_made_anew_when_anything_it_was_made_of_is_other() {
    let t = Folder::with(&model("llama-tied"));
    assert!(t.converts("m", "q8_0") && !t.converts("m", "q8_0"));
    let config = String::from_utf8(t.read("m/config.json")).unwrap();
    t.write("m/config.json", config.replace("\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 1e-04").as_bytes());
    assert!(t.converts("m", "q8_0") && !t.converts("m", "q8_0"));
    let tokenizer = t.read("m/tokenizer_config.json");
    t.write("m/tokenizer_config.json", &[&tokenizer[..], b"\n"].concat());
    assert!(t.converts("m", "q8_0") && !t.converts("m", "q8_0"));
    for damage in [&b""[..], b"{}"] {
        t.write("m/q8_0/mist.json", damage);
        let ended = t.mist(&format!("generate --checkpoint-dir m --quantize q8_0 {GREEDY}"));
        assert!(ended.code == Some(1) && ended.stderr.contains("hint: delete or rename"), "{ended:?}");
        fs::remove_dir_all(t.0.path().join("m/q8_0")).unwrap();
        assert!(t.converts("m", "q8_0"));
    }
    t.delete("m/q8_0/mist.safetensors");
    assert!(t.converts("m", "q8_0") && !t.converts("m", "q8_0"));
    t.delete("m/q8_0/tokenizer.json");
    assert!(t.converts("m", "q8_0") && !t.converts("m", "q8_0"));
    // The same weights in other files are other originals.
    for n in 1..=3 {
        t.delete(&format!("m/model-0000{n}-of-00003.safetensors"));
    }
    t.delete("m/model.safetensors.index.json");
    copy_folder(&layout("torch"), &t.0.path().join("m"));
    assert!(t.converts("m", "q8_0") && !t.converts("m", "q8_0"));
    // Without any it is what there is.
    for n in 1..=2 {
        t.delete(&format!("m/pytorch_model-0000{n}-of-00002.bin"));
    }
    for file in ["pytorch_model.bin.index.json", "config.json"] {
        t.delete(&format!("m/{file}"));
    }
    assert!(!t.converts("m", "q8_0"));
}

#[test]
fn a_layout_that_would_not_be_opened_is_not_written_beside_a_conversion() {
    for to in ["hf", "litgpt"] {
        let t = Folder::with(&model("llama-gqa"));
        t.done("convert --checkpoint-dir m --output-dir out");
        copy_folder(&model("mixtral"), &t.0.path().join("n"));
        t.refused(
            &format!("convert --checkpoint-dir n --to {to} --output-dir out"),
            "mist.json already exists",
        );
        t.done(&format!("convert --checkpoint-dir n --to {to} --output-dir out --force"));
        let inspected = t.done("inspect --checkpoint-dir out --json").json();
        assert_eq!((&inspected["format"], &inspected["architecture"]), (&to.into(), &"mixtral".into()));
    }
}

#[test]
fn a_plan_makes_no_conversion() {
    let t = Folder::with(&model("llama-gqa"));
    let plan = "generate-sequential --checkpoint-dir m --quantize q8_0 --devices 2 --plan";
    t.refused(plan, "hint: a run with --quantize q8_0 makes and keeps it");
    assert!(!t.has("m/q8_0"));
    t.done("convert --checkpoint-dir m --quantize q8_0");
    t.done(plan);
}

#[test]
fn what_is_kept_beside_a_gguf_file_is_no_checkpoint_of_its_own() {
    let t = Folder::with(&model("llama-gqa"));
    fs::remove_dir_all(t.0.path().join("m")).unwrap();
    fs::create_dir(t.0.path().join("checkpoints")).unwrap();
    t.write("checkpoints/x.gguf", &fs::read(fixtures().join("gguf/llama-gqa.gguf")).unwrap());
    for _ in 0..2 {
        t.done("chat --quantize q8_0 --prompt x --max-new-tokens 3 --quiet");
    }
    assert!(t.has("checkpoints/x.q8_0/mist.json"));
    // Whether the file is named or its folder.
    assert!(!t.converts("checkpoints/x.gguf", "q8_0") && !t.converts("checkpoints", "q8_0"));
}

/// The conversion lay in the file's own folder, which then ran it without a word, whatever other files were there.
#[test]
fn a_conversion_of_a_gguf_file_goes_to_a_folder_of_its_own_beside_it() {
    let t = Folder::with(&model("llama-gqa"));
    fs::remove_dir_all(t.0.path().join("m")).unwrap();
    fs::create_dir_all(t.0.path().join("checkpoints/org/m")).unwrap();
    let bytes = fs::read(fixtures().join("gguf/llama-gqa.gguf")).unwrap();
    t.write("checkpoints/org/m/x.gguf", &bytes);
    let right = t.done(&format!("generate --checkpoint-dir org/m {GREEDY}")).text();
    for (flags, folder) in [
        ("", "x.mist"),
        ("--quantize q8_0", "x.q8_0"),
        ("--dtype f16 --quantize q4_0 --pure", "x.f16-q4_0-pure"),
        ("--to gguf --quantize q4_0", "gguf"),
        ("--to hf", "hf"),
    ] {
        for source in ["checkpoints/org/m/x.gguf", "org/m"] {
            let ended = t.done(&format!("convert --checkpoint-dir {source} --force --json {flags}"));
            assert_eq!(ended.json()["folder"], format!("checkpoints/org/m/{folder}"));
            let wrote = format!("Wrote checkpoints/org/m/{folder}\n");
            assert!(ended.stderr.contains(&wrote), "{}", ended.stderr);
        }
        t.done(&format!("generate --checkpoint-dir checkpoints/org/m/{folder} {GREEDY}"));
    }
    assert!(t.has("checkpoints/org/m/gguf/x-q4_0.gguf"));
    let left = ["gguf", "hf", "x.f16-q4_0-pure", "x.gguf", "x.mist", "x.q8_0"];
    assert_eq!(t.names("checkpoints/org/m"), left);
    for path in ["org/m", "checkpoints/org/m/x.gguf", "checkpoints/org/m/x.mist"] {
        assert_eq!(t.done(&format!("generate --checkpoint-dir {path} {GREEDY}")).text(), right, "{path}");
    }
    assert!(!t.converts("org/m", "q8_0"), "the conversion that `convert` made is used");
}

#[test]
fn a_bare_name_of_a_file_is_in_this_folder() {
    let t = Folder::with(&model("llama-gqa"));
    t.write("x.gguf", &fs::read(fixtures().join("gguf/llama-gqa.gguf")).unwrap());
    let json = t.done("convert --checkpoint-dir x.gguf --json").json();
    assert_eq!(json["folder"], "x.mist");
    assert!(t.has("x.mist/mist.json") && !t.has("mist.json"));
}

/// Who may not read the originals may run the conversion.
#[cfg(unix)]
#[test]
fn originals_that_cannot_be_read_do_not_end_a_run() {
    use std::os::unix::fs::symlink;
    let t = Folder::with(&model("llama-gqa"));
    t.done("convert --checkpoint-dir m");
    t.delete("m/model.safetensors");
    symlink("nowhere", t.0.path().join("m/model.safetensors")).unwrap();
    t.done(&format!("generate --checkpoint-dir m {GREEDY}"));
}

/// Weights of the same names and sizes, as fine-tunes of one model have.
fn other(weights: &[u8]) -> Vec<u8> {
    let header = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize + 8;
    let flipped = weights.iter().enumerate().map(|(i, byte)| match i >= header && i % 4 == 3 {
        true => byte ^ 0x80,
        false => *byte,
    });
    flipped.collect()
}

#[test]
fn a_conversion_of_other_weights_is_not_believed_for_being_younger() {
    let t = Folder::with(&model("llama-gqa"));
    let theirs = other(&t.read("m/model.safetensors"));
    copy_folder(&model("llama-gqa"), &t.0.path().join("n"));
    t.write("n/model.safetensors", &theirs);
    let right = t.quantized("n", "q8_0");
    fs::remove_dir_all(t.0.path().join("n/q8_0")).unwrap();
    t.done("convert --checkpoint-dir m --quantize q8_0 --output-dir n/q8_0");
    assert_eq!(t.quantized("n", "q8_0"), right);
    t.done("convert --checkpoint-dir m --output-dir n");
    assert!(t.done("inspect --checkpoint-dir n").stderr.contains("was not converted from"));
}

#[test]
fn litgpts_layout_is_not_written_where_another_would_be_opened() {
    for (source, format) in [(model("llama-gqa"), "hf"), (layout("mistral"), "mistral")] {
        let t = Folder::with(&source);
        copy_folder(&model("mixtral"), &t.0.path().join("n"));
        let line = "convert --checkpoint-dir n --to litgpt --output-dir m --delete-originals --force";
        t.refused(line, &format!("in the layout {format}, which would be opened before"));
        assert!(t.has("n/model-00001-of-00004.safetensors") && !t.has("m/lit_model.pth"));
    }
}

#[test]
fn originals_that_the_result_took_the_place_of_are_gone_already() {
    let t = Folder::with(&model("llama-tied"));
    let line = "convert --checkpoint-dir m --to hf --output-dir m --force --delete-originals --json";
    assert_eq!(t.done(line).json()["written"], true);
    assert!(!t.has("m/model-00001-of-00003.safetensors") && !t.has("m/model.safetensors.index.json"));
    t.done(&format!("generate --checkpoint-dir m {GREEDY}"));
}

#[test]
fn a_deleted_conversion_leaves_no_description() {
    let t = Folder::with(&model("llama-gqa"));
    t.done("convert --checkpoint-dir m --delete-originals");
    t.done("convert --checkpoint-dir m --to gguf --delete-originals");
    assert!(!t.has("m/mist.json") && !t.has("m/mist.safetensors"));
    t.delete("m/config.json");
    assert_eq!(t.done("inspect --checkpoint-dir m --json").json()["format"], "gguf");
}

#[test]
fn what_was_made_of_a_conversion_is_not_its_original() {
    let t = Folder::with(&model("llama-gqa"));
    let right = t.quantized("m", "q8_0");
    t.done("convert --checkpoint-dir m --delete-originals");
    t.done("convert --checkpoint-dir m --to gguf --quantize q4_0");
    assert!(t.has("m/m-q4_0.gguf"));
    assert_eq!(t.quantized("m", "q8_0"), right);
}

#[test]
fn what_was_kept_runs_without_its_originals() {
    let t = Folder::with(&model("llama-gqa"));
    let right = t.quantized("m", "q8_0");
    t.delete("m/model.safetensors");
    assert_eq!(t.quantized("m", "q8_0"), right);
    t.write("x.gguf", &fs::read(fixtures().join("gguf/llama-gqa.gguf")).unwrap());
    let right = t.quantized("x.gguf", "q8_0");
    t.delete("x.gguf");
    assert_eq!(t.quantized("x.gguf", "q8_0"), right);
}

#[test]
fn runs_at_once_make_one_conversion() {
    let t = Folder::with(&model("mixtral"));
    for _ in 0..4 {
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| t.quantized("m", "q8_0"))).collect();
            let texts: Vec<_> = runs.into_iter().map(|run| run.join().unwrap()).collect();
            assert!(texts.iter().all(|text| *text == texts[0]));
        });
        fs::remove_dir_all(t.0.path().join("m/q8_0")).unwrap();
    }
}

#[test]
fn a_template_that_is_gone_is_not_kept() {
    let t = Folder::with(&model("llama-gqa"));
    t.write("m/chat_template.jinja", b"{{ messages[0].content }}");
    assert!(t.converts("m", "q8_0") && t.has("m/q8_0/chat_template.jinja"));
    t.delete("m/chat_template.jinja");
    assert!(t.converts("m", "q8_0") && !t.has("m/q8_0/chat_template.jinja"));
    assert!(!t.converts("m", "q8_0"));
}

#[test]
fn what_is_kept_of_a_rounded_conversion_is_made_anew() {
    let t = Folder::with(&model("llama-gqa"));
    t.done("convert --checkpoint-dir m --dtype f16 --delete-originals");
    assert!(t.converts("m", "q8_0") && !t.converts("m", "q8_0"));
    let tokenizer = t.read("m/tokenizer_config.json");
    t.write("m/tokenizer_config.json", &[&tokenizer[..], b"\n"].concat());
    assert!(t.converts("m", "q8_0") && !t.converts("m", "q8_0"));
}

#[test]
fn files_that_differ_after_the_last_dot_keep_apart() {
    let t = Folder::with(&model("llama-gqa"));
    for (name, gguf) in [("l-3.1", "llama-gqa"), ("l-3.2", "mistral-window")] {
        t.write(name, &fs::read(fixtures().join("gguf").join(format!("{gguf}.gguf"))).unwrap());
    }
    assert!(t.converts("l-3.1", "q8_0") && t.converts("l-3.2", "q8_0"));
    assert!(!t.converts("l-3.1", "q8_0") && !t.converts("l-3.2", "q8_0"));
}

/// Weights can be converted without a tokenizer, which a model is only run with.
#[test]
fn weights_without_a_tokenizer_go_to_another_folder() {
    let folder = Folder::with(&layout("mistral"));
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        fs::remove_file(folder.0.path().join("m").join(file)).unwrap();
    }
    folder.done("convert --checkpoint-dir m --output-dir out");
    assert!(folder.has("out/mist.safetensors") && !folder.has("out/tokenizer.json"));
    folder.refused("generate --checkpoint-dir out --prompt x", "no tokenizer in");
}
