//! Two processes at once on one folder, and one after the other.

use std::thread::sleep;
use std::time::Duration;

use crate::faults::checkpoint;
use crate::support::{Hub, MIB, noise};

const WEIGHTS: &str = "model.safetensors";
const SIZE: u64 = 24 * MIB;

fn slow_hub() -> Hub {
    let hub = Hub::start(checkpoint(noise(SIZE)));
    hub.server.throttle(24 * MIB);
    hub
}

#[test]
fn two_at_once_both_succeed_and_fetch_the_weights_once() {
    let (hub, root) = (slow_hub(), tempfile::tempdir().unwrap());
    let runs = [hub.download(root.path(), &[]), hub.download(root.path(), &[])];
    for ended in runs.map(|run| run.end()) {
        hub.judge(&ended, root.path()).unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    assert_eq!(hub.sent(WEIGHTS), SIZE);
}

#[test]
fn a_second_run_fetches_no_weights_and_says_that_all_is_here() {
    let (hub, root) = (Hub::start(checkpoint(noise(SIZE))), tempfile::tempdir().unwrap());
    hub.complete(root.path());
    let sent = hub.sent(WEIGHTS);
    let again = hub.complete(root.path());
    assert_eq!((sent, hub.sent(WEIGHTS)), (SIZE, SIZE));
    assert!(again.stderr.contains("already here"), "{}", again.stderr);
}

#[test]
fn a_kill_of_the_first_lets_the_second_go_on_from_there() {
    let (hub, root) = (slow_hub(), tempfile::tempdir().unwrap());
    let mut first = hub.download(root.path(), &[]);
    while hub.sent(WEIGHTS) < SIZE * 3 / 4 && first.runs() {
        sleep(Duration::from_millis(1));
    }
    let second = hub.download(root.path(), &[]);
    // Time enough to find the folder claimed; where it is not, the test still holds.
    sleep(Duration::from_millis(100));
    first.kill();
    let ended = second.end();
    hub.judge(&ended, root.path()).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let limit = SIZE + 16 * MIB;
    assert!(hub.sent(WEIGHTS) <= limit, "{} sent, {limit} may be", hub.sent(WEIGHTS));
}
