//! PyTorch files: programs for a machine that builds objects, in an archive. Only what describes tensors is read.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::bytes::{edit_json, zip};
use crate::support::{copy_folder, copy_of, copy_of_layout, fixtures};
use crate::{refused, run};

/// Puts a `pytorch_model.bin` in the place of a checkpoint's weights.
fn with_weights(bytes: &[u8]) -> TempDir {
    let folder = copy_of("llama-old-config");
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    fs::write(folder.path().join("pytorch_model.bin"), bytes).unwrap();
    folder
}

#[track_caller]
fn folder_refused(folder: &Path, parts: &[&str]) {
    for command in ["inspect", "generate --prompt x", "convert --output-dir out"] {
        refused(folder, &format!("{command} --checkpoint-dir ."), parts);
    }
    assert!(!folder.join("out").exists());
}

/// A pickle beside one storage of 24 bytes.
#[track_caller]
fn pickle_refused(pickle: &[u8], part: &str) {
    let bytes = zip(&[("x/data.pkl", pickle), ("x/data/0", &[1; 24])]);
    folder_refused(with_weights(&bytes).path(), &["pytorch_model.bin", part]);
}

/// CVE-2025-32434 (torch): code that runs although only weights were asked for.
#[test]
fn nothing_is_executed() {
    for call in [
        &b"\x80\x02cos\nsystem\n\x8c\x0etouch executed\x85R."[..],
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0etouch executed\x85R.",
        b"\x80\x02cbuiltins\nexec\n\x8c\x1bopen('executed','w').close()\x85R.",
    ] {
        let folder = with_weights(&zip(&[("x/data.pkl", call)]));
        folder_refused(folder.path(), &["pytorch_model.bin", "asks for "]);
        assert!(!folder.path().join("executed").exists());
    }
}

/// What scanners with a list of bad names have let through (picklescan's advisories, fickling): all that is not on the
/// short list of good ones is refused, also what torch itself would build.
#[test]
fn what_is_not_known_to_be_data_is_refused() {
    for (module, name) in [
        ("importlib", "import_module"),
        ("pip._internal", "main"),
        ("timeit", "timeit"),
        ("runpy", "_run_code"),
        ("functools", "partial"),
        ("operator", "attrgetter"),
        ("torch.hub", "load"),
        ("torch.jit.unsupported_tensor_ops", "execWrapper"),
        ("torch._utils", "_rebuild_wrapper_subclass"),
        ("torch.storage", "_load_from_bytes"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("collections", "OrderedDict.__reduce__"),
        ("os", "system"),
    ] {
        let global = [b"\x80\x02c", module.as_bytes(), b"\n", name.as_bytes(), b"\n)R."].concat();
        pickle_refused(&global, "asks for ");
    }
}

/// CVE-2026-24747 (torch): an item set in what is no dict, and a storage smaller than it is said to be.
#[test]
fn objects_that_are_not_what_they_are_used_as() {
    pickle_refused(b"\x80\x02\x8c\x01tK\x01K\x02s.", "assignment to something that is not a dict");
    pickle_refused(b"\x80\x02)K\x01a.", "append to something that is not a list");
    let start = b"\x80\x02}\x8c\x01tctorch._utils\n_rebuild_tensor_v2\n((\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpu";
    let end = b"tQK\0(M\xe8\x03t(K\x01t\x89ccollections\nOrderedDict\n)RtRs.";
    pickle_refused(&[&start[..], b"M\xe8\x03", end].concat(), "a storage of 24 bytes");
}

/// candle's reader: arguments that are not there (it panics), objects that hold themselves twice (it copies them each
/// time), and tensors that it cannot read (it leaves them out).
#[test]
fn what_candle_suffers() {
    pickle_refused(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "pytorch_model.bin");
    pickle_refused(b"\x80\x02ctorch._utils\n_rebuild_parameter\n)R.", "pytorch_model.bin");
    pickle_refused(b"\x80\x02R.", "stack is empty");
    let doubled = [&b")q\0"[..], &b"h\0\x86q\0".repeat(100_000), b"."].concat();
    pickle_refused(&doubled, "no dict of tensors");
    for (name, part) in [("double.bin", "DoubleStorage"), ("transposed.bin", "strided view")] {
        let bytes = fs::read(fixtures().join("torch").join(name)).unwrap();
        folder_refused(with_weights(&bytes).path(), &["pytorch_model.bin", part]);
    }
}

/// A zip bomb needs compression, which no checkpoint has; entries on top of each other do without.
#[test]
fn archives_that_unfold() {
    let bytes = fs::read(fixtures().join("torch/compressed.bin")).unwrap();
    folder_refused(with_weights(&bytes).path(), &["compressed or encrypted"]);
    let twice = zip(&[("x/data.pkl", b"}."), ("x/data/0", &[0; 8]), ("x/data/0", &[1; 8])]);
    folder_refused(with_weights(&twice).path(), &["two entries named x/data/0"]);
}

/// The zip crate RUSTSEC-2025-0168, tar RUSTSEC-2026-0067: nothing is unpacked, so a path in an archive leads nowhere.
#[test]
fn names_in_an_archive_are_no_paths() {
    let bytes = zip(&[("../../data.pkl", b"}."), ("/etc/passwd", b"x")]);
    folder_refused(with_weights(&bytes).path(), &["pytorch_model.bin"]);
    let bytes = zip(&[("x/data.pkl", b"}."), ("../escaped", b"x")]);
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("checkpoint");
    copy_folder(with_weights(&bytes).path(), &folder);
    folder_refused(&folder, &["is missing"]);
    assert!(!outer.path().join("escaped").exists());
}

#[test]
fn an_index_that_names_files_elsewhere() {
    let folder = copy_of_layout("torch");
    assert_eq!(run(folder.path(), "convert --dry-run --checkpoint-dir .").code, Some(0));
    edit_json(&folder.path().join("pytorch_model.bin.index.json"), |index| {
        let map = index["weight_map"].as_object_mut().unwrap();
        map.values_mut().for_each(|shard| *shard = "../pytorch_model.bin".into());
    });
    refused(folder.path(), "inspect --checkpoint-dir .", &["is not a plain file name"]);
}

/// Stanza: what cannot be read safely is not read in another way.
#[test]
fn broken_weights_are_not_replaced_by_a_pickle_beside_them() {
    let folder = copy_of("llama-old-config");
    fs::copy(fixtures().join("torch/state_dict.bin"), folder.path().join("pytorch_model.bin")).unwrap();
    fs::write(folder.path().join("model.safetensors"), b"\x08\0\0\0\0\0\0\0notjson!").unwrap();
    folder_refused(folder.path(), &["model.safetensors"]);
}

/// A clone without `git lfs`, in the other layouts, and of the files beside the weights.
#[test]
fn git_lfs_pointers() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 537336\n";
    folder_refused(with_weights(pointer).path(), &["pytorch_model.bin is a Git LFS pointer"]);
    for (layout, file) in [
        ("mistral", "consolidated.safetensors"),
        ("mistral-pth", "consolidated.00.pth"),
        ("mistral-shards", "consolidated-00002-of-00002.safetensors"),
        ("litgpt", "lit_model.pth"),
    ] {
        let folder = copy_of_layout(layout);
        fs::write(folder.path().join(file), pointer).unwrap();
        folder_refused(folder.path(), &[file, "is a Git LFS pointer"]);
    }
    for file in ["config.json", "tokenizer.json"] {
        let folder = copy_of("llama-old-config");
        fs::write(folder.path().join(file), pointer).unwrap();
        refused(folder.path(), "inspect --checkpoint-dir .", &[file, "is a Git LFS pointer"]);
    }
}
