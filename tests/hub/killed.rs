//! Runs ended by kill -9: nothing that looks finished is wrong, and what was fetched is not fetched again.

use std::path::Path;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::faults::checkpoint;
use crate::support::{Hub, MIB, Served, large, noise, small};

const WEIGHTS: &str = "model.safetensors";
const SIZE: u64 = 64 * MIB;
/// What a kill may cost: bytes on the way, and those that were written and not yet noted.
const LOST: u64 = 16 * MIB;

fn files() -> Vec<Served> {
    static NOISE: OnceLock<Vec<Served>> = OnceLock::new();
    NOISE.get_or_init(|| checkpoint(noise(SIZE))).clone()
}

/// The same bytes as two shards: kills fall between files as well.
fn shards() -> Vec<Served> {
    let (first, second) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    let index = format!(r#"{{"weight_map":{{"a":"{first}","b":"{second}"}}}}"#);
    let all = noise(SIZE);
    let (a, b) = all.split_at(40 * MIB as usize + 3);
    vec![
        small("config.json", "{}"),
        large(first, a),
        large(second, b),
        small("model.safetensors.index.json", &index),
        small("tokenizer.json", r#"{"version":"1.0"}"#),
    ]
}

/// A run that is killed after `delay`, or has ended before; says whether it was killed.
fn killed_after(delay: Duration, hub: &Hub, root: &Path) -> bool {
    let run = hub.download(root, &[]);
    sleep(delay);
    let ended = run.kill();
    hub.nothing_wrong(root).unwrap();
    if ended.code.is_some() {
        hub.judge(&ended, root).unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    ended.code.is_none()
}

#[test]
fn twenty_kills_on_the_way_and_then_all_files_are_whole() {
    let (hub, mut random) = (Hub::start(shards()), ChaCha8Rng::seed_from_u64(20));
    hub.server.throttle(32 * MIB);
    let mut root = tempfile::tempdir().unwrap();
    let mut kills = 0;
    // A run that gets to the end anew each time is no test of kills.
    for _ in 0..80 {
        match killed_after(Duration::from_millis(random.random_range(0..350)), &hub, root.path()) {
            true => kills += 1,
            false => root = tempfile::tempdir().unwrap(),
        }
        if kills == 20 {
            break;
        }
    }
    assert_eq!(kills, 20);
    hub.complete(root.path());
}

#[test]
fn twenty_kills_of_a_fast_download_in_its_last_half_lose_no_more_than_may_be() {
    let (hub, mut random) = (Hub::start(files()), ChaCha8Rng::seed_from_u64(21));
    let root = tempfile::tempdir().unwrap();
    let started = Instant::now();
    hub.complete(root.path());
    let whole = started.elapsed();
    for _ in 0..20 {
        let root = tempfile::tempdir().unwrap();
        let before = hub.sent(WEIGHTS);
        killed_after(whole.mul_f64(random.random_range(0.5..1.1)), &hub, root.path());
        finish_cheaply(&hub, before, root.path());
    }
}

/// Runs to the end a download of which all bytes but the first `before` were sent; what was fetched already is not
/// fetched again, but for what a kill may cost.
fn finish_cheaply(hub: &Hub, before: u64, root: &Path) {
    let sent = hub.sent(WEIGHTS) - before;
    hub.complete(root);
    let again = hub.sent(WEIGHTS) - before - sent;
    let limit = SIZE.saturating_sub(sent) + LOST;
    assert!(again <= limit, "killed after {sent} bytes of {SIZE}, then {again} more, {limit} may be");
}

fn killed_at(percent: u64, bytes_per_second: u64) {
    let (hub, root) = (Hub::start(files()), tempfile::tempdir().unwrap());
    hub.server.throttle(bytes_per_second);
    let mut run = hub.download(root.path(), &[]);
    while hub.sent(WEIGHTS) < SIZE * percent / 100 && run.runs() {
        sleep(Duration::from_micros(200));
    }
    run.kill();
    hub.nothing_wrong(root.path()).unwrap();
    finish_cheaply(&hub, 0, root.path());
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_it_at_once_and_keeps_what_has_come() {
    // On a busy machine the interrupt may come after the end.
    for _ in 0..10 {
        let (hub, root) = (Hub::start(files()), tempfile::tempdir().unwrap());
        hub.server.throttle(32 * MIB);
        let mut run = hub.download(root.path(), &[]);
        while hub.sent(WEIGHTS) < SIZE / 2 && run.runs() {
            sleep(Duration::from_millis(1));
        }
        if !run.runs() {
            continue;
        }
        let ended = run.interrupt();
        if ended.code == Some(0) {
            continue;
        }
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(130), ""), "{}", ended.stderr);
        hub.nothing_wrong(root.path()).unwrap();
        hub.server.throttle(0);
        return finish_cheaply(&hub, 0, root.path());
    }
    panic!("it ended each time before the interrupt");
}

#[test]
fn after_a_kill_of_a_slow_download_the_rest_is_fetched_and_little_more() {
    for percent in [25, 50, 75] {
        killed_at(percent, 48 * MIB);
    }
}

#[test]
fn after_a_kill_of_a_fast_download_the_rest_is_fetched_and_little_more() {
    for percent in [25, 50, 75] {
        killed_at(percent, 0);
    }
}
