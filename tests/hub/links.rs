//! A folder from a stranger that something is downloaded to: links and pipes in the place of what a download writes.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::faults::checkpoint;
use crate::support::{Hub, MIB, Run, command, folder, noise};

const LOCK: &str = ".mist.lock";
const NAMES: [&str; 7] = [
    LOCK,
    ".model.safetensors.partial",
    ".model.safetensors.journal",
    ".model.safetensors.journal.new",
    "mist-download.json",
    "model.safetensors",
    "config.json",
];

#[test]
fn nothing_is_written_where_a_link_leads() {
    let hub = Hub::start(checkpoint(noise(MIB)));
    for name in NAMES {
        for to in ["precious", "nowhere", "victim"] {
            let root = tempfile::tempdir().unwrap();
            let at = |name: &str| root.path().join(name);
            fs::write(at("precious"), "precious").unwrap();
            fs::create_dir(at("victim")).unwrap();
            fs::create_dir_all(folder(root.path())).unwrap();
            symlink(at(to), folder(root.path()).join(name)).unwrap();
            let ended = hub.download(root.path(), &[]).end();
            assert_eq!(hub.judge(&ended, root.path()), Ok(()), "{name} to {to}: {}", ended.stderr);
            // The lock is the same file for all, so it is not replaced.
            assert_eq!(ended.code, Some(i32::from(name == LOCK)), "{name} to {to}: {}", ended.stderr);
            let said = ended.error().is_none_or(|e| e.contains(".mist.lock: it is a symbolic link"));
            assert!(said, "{}", ended.stderr);
            assert_eq!(fs::read(at("precious")).unwrap(), b"precious", "{name} to {to}");
            assert!(!at("nowhere").exists() && fs::read_dir(at("victim")).unwrap().next().is_none());
        }
    }
}

/// A file with another name elsewhere is not gone on with: that name's content would change.
#[test]
fn a_partial_file_that_is_another_file_too_is_left_to_the_other() {
    let hub = Hub::start(checkpoint(noise(MIB)));
    for name in NAMES {
        let root = tempfile::tempdir().unwrap();
        let precious = root.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        fs::create_dir_all(folder(root.path())).unwrap();
        fs::hard_link(&precious, folder(root.path()).join(name)).unwrap();
        hub.complete(root.path());
        assert_eq!(fs::read(&precious).unwrap(), b"precious", "{name}");
    }
}

#[test]
fn no_pipe_is_waited_for() {
    let hub = Hub::start(checkpoint(noise(MIB)));
    for name in NAMES {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder(root.path())).unwrap();
        mkfifoat(CWD, folder(root.path()).join(name), Mode::RWXU).unwrap();
        let ended = hub.download(root.path(), &[]).end();
        ended.orderly().unwrap();
        assert_eq!(ended.code, Some(i32::from(name == LOCK)), "{name}: {}", ended.stderr);
    }
    // What is no token file is no token.
    let root = tempfile::tempdir().unwrap();
    mkfifoat(CWD, root.path().join("token"), Mode::RWXU).unwrap();
    let ended = Run::start(command(&hub.server.address, root.path(), &["download", "org/name"])).end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// `checkpoints/`, `org/` and `name/` are the user's own way to another disk.
#[test]
fn the_way_to_the_folder_is_followed() {
    let hub = Hub::start(checkpoint(noise(MIB)));
    for link in ["checkpoints", "checkpoints/org", "checkpoints/org/name"] {
        let (root, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let link = root.path().join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(disk.path(), &link).unwrap();
        hub.complete(root.path());
        assert!(fs::read_dir(disk.path()).unwrap().next().is_some());
        assert!(link.symlink_metadata().unwrap().is_symlink());
    }
}

/// A limit of file sizes ends no process by its signal.
#[test]
fn a_file_that_may_not_grow_is_an_error_and_is_gone_on_with_later() {
    let (hub, root) = (Hub::start(checkpoint(noise(MIB))), tempfile::tempdir().unwrap());
    let limited = |root: &Path| {
        let mut shell = std::process::Command::new("sh");
        let script = r#"ulimit -f 200; exec "$0" download org/name"#;
        shell.args(["-c", script, env!("CARGO_BIN_EXE_mist")]).current_dir(root);
        shell
            .env("HF_ENDPOINT", &hub.server.address)
            .env("HF_HOME", root)
            .env("MIST_HOME", root)
            .env("NO_PROXY", "127.0.0.1");
        Run::start(shell).end()
    };
    let ended = limited(root.path());
    assert_eq!(hub.judge(&ended, root.path()), Ok(()), "{}", ended.stderr);
    assert!(ended.error().is_some_and(|e| e.contains("cannot write") && e.contains("too large")));
    assert!(ended.stderr.contains("hint: `ulimit -f unlimited`"), "{}", ended.stderr);
    hub.complete(root.path());
}
