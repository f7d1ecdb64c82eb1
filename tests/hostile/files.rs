//! Links, and files that are written while they are mapped.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use mist::checkpoint::open::Checkpoint;

use crate::run;
use crate::support::{copy_of, model};

/// transformers PR #46237, mellea #1492: a check of paths that refuses the links of the hub's own cache, whose files are
/// links to blobs beside the snapshots.
#[test]
fn the_links_of_the_hubs_cache_are_followed() {
    let cache = tempfile::tempdir().unwrap();
    let (blobs, snapshot) = (cache.path().join("blobs"), cache.path().join("snapshots/abc"));
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    for (i, entry) in fs::read_dir(model("llama-tied")).unwrap().enumerate() {
        let file = entry.unwrap().path();
        fs::copy(&file, blobs.join(i.to_string())).unwrap();
        symlink(Path::new("../../blobs").join(i.to_string()), snapshot.join(file.file_name().unwrap()))
            .unwrap();
    }
    let ended = run(&snapshot, "generate --checkpoint-dir . --prompt x --max-new-tokens 3 --temperature 0");
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_link_to_nowhere_or_to_itself_is_an_error() {
    for target in ["nowhere", "model.safetensors"] {
        let folder = copy_of("llama-old-config");
        let weights = folder.path().join("model.safetensors");
        fs::remove_file(&weights).unwrap();
        symlink(target, &weights).unwrap();
        crate::refused(folder.path(), "inspect --checkpoint-dir .", &["model.safetensors"]);
    }
}

/// safetensors PR #764: a writer that cuts a file short while another program has it mapped ends that program. Ours gives
/// its name to a new file; who has the old one keeps it.
#[test]
fn a_conversion_over_one_that_is_mapped_leaves_it_whole() {
    let folder = copy_of("llama-old-config");
    let convert = |command: &str| {
        let ended = run(folder.path(), command);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    };
    convert("convert --checkpoint-dir .");
    let mapped = Checkpoint::open(folder.path()).unwrap();
    let before = mapped.weights.head.to_f32();
    convert("convert --checkpoint-dir . --force --dtype f32");
    assert_eq!(mapped.weights.head.to_f32(), before);
    assert_eq!(Checkpoint::open(folder.path()).unwrap().weights.head.to_f32(), before);
}
