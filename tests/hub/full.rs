//! A disk that fills up: a small file system in memory, mounted where only one shell sees it.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::faults::checkpoint;
use crate::support::{Ended, Hub, MIB, Run, SECRET, command, noise};

const WEIGHTS: &str = "model.safetensors";
const SIZE: u64 = 40 * MIB;

/// A way to have mounts of one's own: as root, or by way of a user namespace.
fn namespace() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    ways.into_iter().find(|way| {
        let mount = "d=$(mktemp -d) && mount -t tmpfs -o size=1m none $d; s=$?; umount $d; rmdir $d; exit $s";
        let tried = Command::new("unshare").args(*way).args(["sh", "-c", mount]).output();
        tried.is_ok_and(|t| t.status.success())
    })
}

/// Mounts a file system of `size`, then runs `script` in it with `"$@"` for the download. What `script` leaves in
/// `"$OUT"`, which is outside, is read by the caller.
fn in_small_disk(hub: &Hub, way: &[&str], size: &str, script: &str, out: &Path) -> Ended {
    let inner = command(&hub.server.address, out, &["download", "org/name"]);
    let script = format!(
        "mkdir disk && mount -t tmpfs -o size={size} none disk && cd disk && mkdir checkpoints\n{script}"
    );
    let mut outer = Command::new("unshare");
    outer.args(way).args(["bash", "-c", &script, "bash"]).arg(inner.get_program()).args(inner.get_args());
    outer.current_dir(out).env("OUT", out).env("HF_TOKEN", SECRET);
    for (name, value) in inner.get_envs() {
        match value {
            _ if name == "HF_TOKEN" => {}
            Some(value) => drop(outer.env(name, value)),
            None => drop(outer.env_remove(name)),
        }
    }
    Run::start(outer).end()
}

/// The end of a download in a script: its status and its streams, under `name`.
fn noted(out: &Path, name: &str) -> Ended {
    let read = |kind: &str| fs::read_to_string(out.join(format!("{name}.{kind}"))).unwrap_or_default();
    Ended { stdout: read("out"), stderr: read("err"), code: read("status").trim().parse().ok() }
}

#[allow(clippy::print_stderr)]
fn skipped() {
    eprintln!("skipped: this machine lets nobody mount a file system of one's own");
}

/// Tests a disk of `size` by `script`, then a download after room was made.
fn fails_then_resumes(size: &str, script: &str, throttle: u64) -> Option<(Ended, u64, u64)> {
    let Some(way) = namespace() else {
        skipped();
        return None;
    };
    let (hub, out) = (Hub::start(checkpoint(noise(SIZE))), tempfile::tempdir().unwrap());
    hub.server.throttle(throttle);
    let script = format!(
        r#"
        {script}
        echo $? > $OUT/first.status
        # Until the test has read the count.
        touch $OUT/failed; until [ -e $OUT/go ]; do sleep 0.01; done
        rm -f filler; mount -o remount,size=100m "$PWD"
        "$@" > $OUT/second.out 2> $OUT/second.err
        echo $? > $OUT/second.status
        mkdir -p $OUT/checkpoints/org && cp -r checkpoints/org/name $OUT/checkpoints/org/
        "#
    );
    let first = thread::scope(|scope| {
        let count = scope.spawn(|| {
            while !out.path().join("failed").exists() {
                thread::sleep(Duration::from_millis(5));
            }
            let sent = hub.sent(WEIGHTS);
            hub.server.throttle(0);
            fs::write(out.path().join("go"), "").unwrap();
            sent
        });
        let whole = in_small_disk(&hub, way, size, &script, out.path());
        assert_eq!(whole.code, Some(0), "{}", whole.stderr);
        count.join().unwrap()
    });
    let (failed, resumed) = (noted(out.path(), "first"), noted(out.path(), "second"));
    failed.orderly().unwrap();
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    hub.judge(&resumed, out.path()).unwrap();
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    Some((failed, first, hub.sent(WEIGHTS) - first))
}

#[test]
fn a_disk_that_is_too_small_from_the_start_is_refused_before_the_first_byte() {
    let script = r#""$@" > $OUT/first.out 2> $OUT/first.err"#;
    let Some((failed, first, rest)) = fails_then_resumes("8m", script, 0) else { return };
    assert!(failed.error().is_some_and(|line| line.contains("free")), "{}", failed.stderr);
    assert_eq!((first, rest), (0, SIZE));
}

#[test]
fn a_disk_that_fills_up_on_the_way_is_one_clear_error_and_the_rest_follows_when_there_is_room() {
    // Half of the weights, then all that is left is taken, for which the download waits.
    let script = r#"
        "$@" > $OUT/first.out 2> $OUT/first.err &
        until [ "$(du -sk checkpoints 2>/dev/null | cut -f1)" -gt 20480 ] 2>/dev/null; do sleep 0.005; done
        kill -STOP $!; dd if=/dev/zero of=filler bs=64k 2>/dev/null; kill -CONT $!
        wait $!"#;
    let Some((failed, first, rest)) = fails_then_resumes("60m", script, 8 * MIB) else { return };
    assert!(failed.error().is_some_and(|line| line.contains("No space left")), "{}", failed.stderr);
    let limit = SIZE.saturating_sub(first) + 16 * MIB;
    assert!(rest <= limit, "full after {first} bytes of {SIZE}, then {rest} more, {limit} may be");
}
