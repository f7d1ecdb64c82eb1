//! Rules of the source text that no lint knows.

use std::path::{Path, PathBuf};

use crate::source::House;

/// Every file of the program's source, without its unit tests.
fn sources() -> Vec<(PathBuf, String)> {
    let house = House::read();
    let files = house.files().iter().map(|(file, text)| (Path::new("src").join(file), text));
    let sources: Vec<_> = files
        .filter(|(path, _)| !path.ends_with("tests.rs"))
        .map(|(path, text)| (path, text[..text.find("mod tests {").unwrap_or(text.len())].to_string()))
        .collect();
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
