//! A download in little memory: it works, with fewer connections, or ends with the ordinary error.
#![cfg(target_os = "linux")]

use std::process::Command;

use crate::faults::checkpoint;
use crate::support::{Hub, MIB, Run, SECRET, command, noise};

#[test]
fn a_download_in_little_address_space_works_or_fails_with_one_line() {
    let mut whole = 0;
    // In steps of 8 MB from where the program cannot begin to where it has all that it asks for.
    for kilobytes in (40_000..200_000).step_by(8_000) {
        let (hub, out) = (Hub::start(checkpoint(noise(3 * MIB))), tempfile::tempdir().unwrap());
        let inner = command(&hub.server.address, out.path(), &["download", "org/name"]);
        let mut outer = Command::new("sh");
        let script = format!("ulimit -v {kilobytes}; exec \"$0\" \"$@\"");
        outer.args(["-c", &script]).arg(inner.get_program()).args(inner.get_args());
        outer.current_dir(out.path()).env("HF_TOKEN", SECRET);
        for (name, value) in inner.get_envs() {
            match value {
                _ if name == "HF_TOKEN" => {}
                Some(value) => drop(outer.env(name, value)),
                None => drop(outer.env_remove(name)),
            }
        }
        let ended = Run::start(outer).end();
        // Where the system cannot even load the program, it is the system that ends it.
        if ended.stderr.contains("error while loading shared libraries") || ended.code == Some(127) {
            continue;
        }
        ended.orderly().unwrap_or_else(|why| panic!("{kilobytes} kB: {why}: {ended:?}"));
        assert!(matches!(ended.code, Some(0 | 1)), "{kilobytes} kB: {ended:?}");
        whole += usize::from(ended.code == Some(0));
    }
    assert!(whole >= 5, "{whole} of 20 runs were given enough");
}
