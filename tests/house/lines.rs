//! Rules of the source text that no lint knows.

use std::fs;
use std::path::{Path, PathBuf};

/// Every file of the program's source, without its unit tests.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let tests = text.find("mod tests {").unwrap_or(text.len());
                sources.push((path, text[..tests].to_string()));
            }
        }
    }
    assert!(sources.len() > 100);
    sources
}

/// No line of the source but those in the file `allowed` holds any of `words`. What is in a comment does not count.
#[track_caller]
fn is_only_in(allowed: &[&str], words: &[&str], reason: &str) {
    for (path, text) in sources() {
        let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        let mut found = code.enumerate().filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        if let Some((number, line)) = found.next()
            && !allowed.iter().any(|allowed| path.ends_with(allowed))
        {
            panic!("{}:{}: {}: {reason}", path.display(), number + 1, line.trim());
        }
    }
}

/// `Device::new_cuda` takes a stream of the calling thread, and two stages' threads are then not ordered.
#[test]
fn cards_are_opened_in_one_place_with_a_stream_of_their_own() {
    let openers = ["new_cuda", "cuda_if_available", "CudaDevice::new"];
    is_only_in(&["src/placement/device.rs"], &openers, "open a card by DeviceName::open");
    is_only_in(&[], &["new_cuda(", "cuda_if_available"], "open a card with a stream of its own");
}

/// These panic where the system gives no more threads; `thread::Builder` returns an error.
#[test]
fn every_thread_is_started_by_what_can_fail() {
    let panicking = ["thread::spawn(", "scope.spawn(", "s.spawn(", "enable_steady_tick(", "rayon::"];
    is_only_in(&[], &panicking, "start a thread by thread::Builder, and handle its error");
}
