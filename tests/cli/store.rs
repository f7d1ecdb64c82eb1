//! Where checkpoints are found, listed and deleted: `./checkpoints`, `MIST_HOME`, the hub's own cache.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Ended, Mist, copy_folder, gguf, model};
use crate::transcript::Transcript;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A repository of the hub's own cache as its clients lay it out: contents under their hashes, links beside each other.
fn cached(cache: &Path, repository: &str, commit: &str, from: &Path) -> PathBuf {
    let folder = cache.join(format!("models--{}", repository.replace('/', "--")));
    let (snapshot, blobs) = (folder.join("snapshots").join(commit), folder.join("blobs"));
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(&blobs).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let file = entry.unwrap();
        let blob = format!("blob-of-{}", file.file_name().to_string_lossy());
        fs::write(blobs.join(&blob), fs::read(file.path()).unwrap()).unwrap();
        link(&Path::new("../../blobs").join(&blob), &snapshot.join(file.file_name()));
    }
    fs::create_dir_all(folder.join("refs")).unwrap();
    fs::write(folder.join("refs/main"), commit).unwrap();
    snapshot
}

#[cfg(unix)]
fn link(to: &Path, at: &Path) {
    std::os::unix::fs::symlink(to, at).unwrap();
}

#[cfg(windows)]
fn link(to: &Path, at: &Path) {
    std::os::windows::fs::symlink_file(to, at).unwrap();
}

/// Every file and link under a folder, with contents.
fn state(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    let mut left = vec![folder.to_path_buf()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.symlink_metadata().unwrap().is_dir() {
                true => left.push(path),
                false => all.push((path.clone(), fs::read(&path).ok())),
            }
        }
    }
    all.sort();
    all
}

const GREEDY: [&str; 6] = ["-p", "The keeper", "-n", "4", "--temperature", "0"];

fn generate(folder: &Path, model: &[&str]) -> Ended {
    Mist::new(folder).args(["generate", "--quiet"]).args(model).args(GREEDY).run()
}

#[test]
fn a_snapshot_of_the_hubs_cache_runs_and_nothing_is_written_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("hub-home/hub");
    cached(&cache, "org/name", COMMIT, &model("llama-gqa"));
    let before = state(&cache);
    let own = generate(folder.path(), &[model("llama-gqa").to_str().unwrap()]);
    for name in
        [&["--checkpoint-dir", "org/name"][..], &["org/name"], &["https://huggingface.co/org/name"], &[]]
    {
        let ended = generate(folder.path(), name);
        assert_eq!((ended.code, &ended.stdout), (Some(0), &own.stdout), "{name:?}: {ended:?}");
    }
    // A conversion of it goes elsewhere, once.
    for name in [&["org/name:q8_0"][..], &["org/name", "--quantize", "Q8_0"], &["org/name:none"]] {
        let ended = generate(folder.path(), name);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    let kept = folder.path().join("mist-home/conversions/org/name").join(COMMIT).join("q8_0");
    assert!(kept.join("mist.json").is_file());
    let ended = Mist::new(folder.path()).args(["convert", "org/name", "--json"]).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(Path::new(ended.json()["folder"].as_str().unwrap()).starts_with(folder.path().join("mist-home")));
    assert_eq!(state(&cache), before);
}

/// However it is named, what lies in the hub's own cache is not written to, and nothing of it is deleted.
#[test]
fn a_path_into_the_hubs_cache_and_a_link_to_it_are_only_read() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("hub-home/hub");
    let snapshot = cached(&cache, "org/name", COMMIT, &model("llama-gqa"));
    // A conversion that was published with it is not ours.
    copy_folder(&model("llama-gqa"), &snapshot.join("q8_0"));
    fs::write(snapshot.join("q8_0/mist.json"), "{}").unwrap();
    fs::create_dir_all(folder.path().join("checkpoints/org")).unwrap();
    link(&snapshot, &folder.path().join("checkpoints/org/linked"));
    let before = state(&cache);
    let path = snapshot.to_str().unwrap();
    for name in [path, "org/linked", "org/name"] {
        for args in [
            &["generate", name, "--quantize", "q4_0", "-p", "x", "-n", "1"][..],
            &["convert", name, "--force"],
        ] {
            let ended = Mist::new(folder.path()).args(args).run();
            assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        }
        let delete = ["convert", name, "--quantize", "q5_0", "--delete-originals"];
        assert_eq!(Mist::new(folder.path()).args(delete).run().code, Some(2));
    }
    for name in ["org/name:q8_0", "org/name:q4_0", "org/name", "org/linked"] {
        Mist::new(folder.path()).args(["remove", name, "--yes"]).run();
        assert_eq!(state(&cache), before, "{name}");
    }
    assert!(!folder.path().join("checkpoints/org/linked").is_symlink());
}

/// A conversion that is being written has the lock of its own folder.
#[test]
fn nothing_is_removed_while_another_writes_there() {
    let folder = tempfile::tempdir().unwrap();
    let model_folder = folder.path().join("checkpoints/org/name");
    copy_folder(&model("llama-gqa"), &model_folder);
    let remove = || Mist::new(folder.path()).args(["remove", "org/name", "--yes"]).run();
    for written in [model_folder.clone(), model_folder.join("q8_0")] {
        let claim = mist::system::files::Claim::new(None, &written, &mut || false).unwrap();
        let ended = remove();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("another mist is writing to"), "{ended:?}");
        assert!(model_folder.join("model.safetensors").exists());
        drop(claim);
    }
    assert_eq!(remove().code, Some(0));
    assert!(!model_folder.exists());
}

/// `mist list` called it by a name that `mist remove` did not know.
#[test]
fn a_conversion_in_place_is_removed_and_its_originals_stay() {
    let folder = tempfile::tempdir().unwrap();
    let model_folder = folder.path().join("checkpoints/org/name");
    copy_folder(&model("llama-gqa"), &model_folder);
    let before = state(&model_folder);
    let mist = |line: &str| Mist::new(folder.path()).args(line.split(' ')).run();
    for (flags, name) in [("--quantize q8_0", "q8_0"), ("--dtype bf16", "mist")] {
        assert_eq!(mist(&format!("convert org/name {flags}")).code, Some(0));
        assert_eq!(
            mist("list --json").json()["checkpoints"][0]["conversions"][0],
            format!("{name} in place")
        );
        let claim = mist::system::files::Claim::new(None, &model_folder, &mut || false).unwrap();
        let ended = mist(&format!("remove org/name:{name} --yes"));
        assert!(ended.stderr.contains("another mist is writing to"), "{ended:?}");
        drop(claim);
        let made = state(&model_folder).len() - before.len();
        let ended = mist(&format!("remove org/name:{name} --yes --json"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.json()["deleted"].as_array().unwrap().len(), made);
        assert_eq!(state(&model_folder), before);
    }
    assert_eq!(mist("remove org/name:q8_0 --yes").code, Some(1));
}

/// The hidden record of a check was deleted and not counted.
#[test]
fn a_removal_counts_every_file_that_it_deletes() {
    let folder = tempfile::tempdir().unwrap();
    let model_folder = folder.path().join("checkpoints/org/name");
    copy_folder(&model("llama-gqa"), &model_folder);
    assert_eq!(generate(folder.path(), &["org/name:q8_0"]).code, Some(0));
    fs::write(model_folder.join("q8_0/.mist-checked"), "checked").unwrap();
    let files = state(&model_folder);
    let bytes: usize = files.iter().map(|(_, content)| content.as_ref().unwrap().len()).sum();
    let removed = Mist::new(folder.path()).args(["remove", "org/name", "--yes", "--json"]).run().json();
    assert_eq!((&removed["deleted"][0]["files"], &removed["bytes"]), (&files.len().into(), &bytes.into()));
}

/// They were in no list, and stayed when the checkpoint was removed.
#[test]
fn what_killed_conversions_left_beside_a_file_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let org = folder.path().join("checkpoints/org");
    let left = [org.join("x.q8_0"), org.join("x.q4_0")];
    let fill = || {
        fs::create_dir_all(&org).unwrap();
        fs::write(org.join("x.gguf"), fs::read(gguf("llama-gqa-quants")).unwrap()).unwrap();
        fs::create_dir_all(org.join("x.notes")).unwrap();
        fs::write(org.join("x.notes/mine.txt"), "mine").unwrap();
        for folder in &left {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join(".mist.lock"), "").unwrap();
            fs::write(folder.join(".mist.safetensors.abcdef.partial"), "half").unwrap();
        }
    };
    let remove = |name: &str| {
        let ended = Mist::new(folder.path()).args(["remove", name, "--yes"]).run();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    };
    fill();
    let listed = Mist::new(folder.path()).args(["list", "--json"]).run().json();
    assert_eq!(listed["checkpoints"].as_array().unwrap().len(), 1);
    remove("org:q8_0");
    assert!(!left[0].exists() && left[1].exists() && org.join("x.gguf").exists());
    fill();
    remove("org/x.gguf");
    assert!(left.iter().all(|folder| !folder.exists()) && org.join("x.notes/mine.txt").exists());
}

/// What is removed is what was named, and never what lies beside or below it.
#[test]
fn removing_takes_nothing_else() {
    let mut t = Transcript::new();
    let at = |name: &str| t.folder().join("checkpoints").join(name);
    fs::write(at("tiny/x.gguf"), fs::read(gguf("llama-gqa-quants")).unwrap()).unwrap();
    fs::create_dir_all(at("notes")).unwrap();
    fs::write(at("notes/mine.txt"), "mine").unwrap();
    let before = state(&t.folder().join("checkpoints"));
    for name in ["tiny", "notes", ".", "..", "/", "checkpoints", "tiny/", "tiny/llama/config.json"] {
        t.run(&format!("remove {name} --yes"));
        assert_eq!(state(&t.folder().join("checkpoints")), before, "{name}");
    }
    t.run("remove https://huggingface.co/tiny/llama/blob/main/config.json --yes");
    t.run("remove tiny/x.gguf --yes");
    t.matches("store_remove");
}

#[test]
fn a_folder_counts_only_if_it_holds_a_checkpoint_and_the_first_place_wins() {
    let folder = tempfile::tempdir().unwrap();
    let at = |place: &str| folder.path().join(place).join("org/name");
    let scheme = |ended: Ended| {
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.json()["architecture"].as_str().unwrap().to_string()
            + " "
            + ended.json()["format"].as_str().unwrap()
    };
    let inspect = || scheme(Mist::new(folder.path()).args(["inspect", "org/name", "--json"]).run());
    cached(&folder.path().join("hub-home/hub"), "org/name", COMMIT, &model("mixtral"));
    assert_eq!(inspect(), "mixtral hf");
    copy_folder(&model("llama-gqa"), &at("mist-home/models"));
    assert_eq!(inspect(), "llama hf");
    // What was begun and is not all there hides nothing.
    fs::create_dir_all(at("checkpoints")).unwrap();
    fs::write(at("checkpoints").join("config.json"), "{}").unwrap();
    assert_eq!(inspect(), "llama hf");
    copy_folder(&model("mistral-window"), &at("checkpoints"));
    assert_eq!(inspect(), "mistral hf");
}

#[test]
fn of_several_revisions_none_is_guessed() {
    let mut t = Transcript::new();
    let cache = t.folder().join("hub-home/hub");
    for commit in ["aaaa", "bbbb"] {
        cached(&cache, "org/name", commit, &model("llama-gqa"));
    }
    fs::write(cache.join("models--org--name/refs/main"), "cccc").unwrap();
    t.run("inspect org/name");
    fs::write(cache.join("models--org--name/refs/main"), "bbbb").unwrap();
    t.run("inspect org/name --quiet");
    t.matches("store_revisions");
}

#[test]
fn what_there_is_is_listed_and_removed() {
    let mut t = Transcript::new();
    let home = t.folder().join("mist-home/models/org");
    copy_folder(&model("llama-gqa"), &home.join("whole"));
    for name in ["x.Q4_0.gguf", "x.Q8_0.gguf"] {
        fs::create_dir_all(home.join("files-GGUF")).unwrap();
        fs::write(home.join("files-GGUF").join(name), fs::read(gguf("llama-gqa-quants")).unwrap()).unwrap();
    }
    let cache = t.folder().join("hub-home/hub");
    let snapshot = cached(&cache, "org/cached", COMMIT, &model("llama-gqa"));
    t.run("generate org/whole:q8_0 -p x -n 1 --temperature 0 --quiet");
    t.run("generate org/files-GGUF:Q8_0 -p x -n 1 --temperature 0 --quiet");
    t.run("generate org/cached:q8_0 -p x -n 1 --temperature 0 --quiet");
    t.run("list");
    t.run("ls --json");
    t.run("remove org/whole");
    t.run("remove org/whole:q4_0 --yes");
    t.run("remove org/whole:q8_0 --yes");
    assert!(home.join("whole/model.safetensors").exists() && !home.join("whole/q8_0").exists());
    t.run("rm org/whole --yes --json");
    t.run("remove org/files-GGUF:Q4_0 --yes");
    t.run("remove org/cached --yes");
    t.run("remove org/cached --yes");
    t.run("remove org/nothing --yes");
    t.run("remove ../checkpoints/tiny/llama --yes");
    t.run("remove org/files-GGUF --yes");
    assert!(!home.exists() && home.parent().unwrap().exists() && snapshot.exists());
    t.run("remove tiny/llama --yes --quiet");
    t.run("remove tiny/mixtral --yes --quiet");
    t.run("list");
    t.matches("store_list");
}

#[cfg(unix)]
#[test]
fn removing_a_link_leaves_what_it_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    copy_folder(&model("llama-gqa"), &elsewhere);
    fs::create_dir_all(folder.path().join("checkpoints/org")).unwrap();
    link(&elsewhere, &folder.path().join("checkpoints/org/linked"));
    let ended = Mist::new(folder.path()).args(["remove", "org/linked", "--yes"]).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(elsewhere.join("model.safetensors").exists());
    assert!(folder.path().join("checkpoints").exists() && !folder.path().join("checkpoints/org").exists());
}

#[test]
fn what_is_not_here_is_not_fetched_unasked() {
    let mut t = Transcript::new();
    t.run("generate org/name -p x");
    t.run("chat org/name:Q4_K_M");
    t.run_with("generate org/name -p x", |m| m.env("HF_HUB_OFFLINE", "1"));
    t.run_with("generate -p x", |m| m.env("HF_HUB_OFFLINE", "1"));
    t.run("generate tiny/llama:Q3_K_M -p x");
    t.run("generate https://huggingface.co/tiny/llama/tree/v9 -p x");
    t.run("generate Tiny/LLAMA -p x");
    t.run("generate llama -p x");
    t.run("generate mistral -p x");
    t.run("generate 'Hello, my name is'");
    t.run("inspect missing/folder/deep");
    t.matches("store_missing");
}
