//! The token is the hub's and nobody else's, whatever happens on the way.

use std::path::Path;
use std::thread;

use crate::fault::{Fault::*, SIGNATURE, To};
use crate::faults::{MOVED, RESOLVE, SIGNED, W, checkpoint};
use crate::server::Server;
use crate::support::{Ended, Hits::*, Hub, MIB, Rule, Run, SECRET, command, noise};

fn nothing_secret(server: &Server) {
    for asked in server.asked() {
        let all = format!("{asked:?}").to_ascii_lowercase();
        for word in ["authorization", "cookie", "referer", SECRET] {
            assert!(!all.contains(word), "storage was told: {all}");
        }
    }
}

/// Downloads with `--access-token` and `--verbose`, and looks at the logs of both servers.
fn download(hub: &Hub, root: &Path) -> Ended {
    let arguments = ["download", "org/name", "--access-token", SECRET, "--verbose"];
    let ended = Run::start(command(&hub.server.address, root, &arguments)).end();
    hub.judge(&ended, root).unwrap();
    nothing_secret(&hub.storage);
    let bearer = format!("Bearer {SECRET}");
    for asked in hub.server.asked() {
        // What the storage server sends back to the hub may come without it.
        let needs = asked.path.starts_with("/api/") || asked.path.contains(RESOLVE);
        let token = asked.headers.get("authorization");
        assert!(token == Some(&bearer) || token.is_none() && !needs, "{asked:?}");
        assert!(!asked.path.contains(SECRET), "{asked:?}");
    }
    ended
}

#[test]
fn the_token_stays_with_the_hub_over_ranges_retries_and_redirects() {
    let cases: &[&[Rule]] = &[
        &[],
        &[(RESOLVE, Always, Moved(To::Storage))],
        &[(RESOLVE, Always, Moved(To::Hub))],
        &[(RESOLVE, Always, Moved(To::Hub)), (MOVED, Always, Moved(To::Storage))],
        &[(RESOLVE, Always, MovedLying(To::Storage)), (SIGNED, Every(3), Cut(1_000_000))],
        &[(RESOLVE, Always, Moved(To::Storage)), (SIGNED, First(2), Later(503, "0"))],
        &[(RESOLVE, First(1), Later(503, "0")), (RESOLVE, Every(2), Moved(To::Storage))],
        &[(W, Always, Moved(To::Storage)), (SIGNED, First(1), Reset(0)), (SIGNED, Every(2), NoRanges)],
    ];
    for rules in cases {
        let (hub, root) = (Hub::start(checkpoint(noise(20 * MIB))), tempfile::tempdir().unwrap());
        hub.follow(rules);
        let ended = download(&hub, root.path());
        assert_eq!(ended.code, Some(0), "{rules:?}:\n{}", ended.stderr);
        let to_storage =
            rules.iter().any(|rule| matches!(rule.2, Moved(To::Storage) | MovedLying(To::Storage)));
        assert_eq!(!hub.storage.asked().is_empty(), to_storage, "{rules:?}");
    }
}

#[test]
fn a_further_redirect_within_the_storage_server_does_not_bring_the_token_back() {
    // An HTTP client that compares each hop with the one before sees nothing to hide in the second.
    let (hub, root) = (Hub::start(checkpoint(noise(MIB))), tempfile::tempdir().unwrap());
    hub.follow(&[(RESOLVE, Always, Moved(To::Storage)), (SIGNED, First(1), Moved(To::Itself))]);
    let ended = download(&hub, root.path());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn failures_at_a_signed_address_do_not_tell_it() {
    let fails = |fault| {
        let (hub, root) = (Hub::start(checkpoint(noise(MIB))), tempfile::tempdir().unwrap());
        hub.follow(&[(W, Always, Moved(To::Storage)), (SIGNED, Always, fault)]);
        let ended = download(&hub, root.path());
        assert_eq!(ended.code, Some(1), "{fault:?}:\n{}", ended.stderr);
        assert!(!ended.stderr.contains(SIGNATURE) && !ended.stderr.contains(SIGNED), "{}", ended.stderr);
    };
    // At once: they wait for their retries.
    thread::scope(|scope| {
        for fault in [Status(403), Status(404), Status(500), Cut(0), Corrupt(7), HeadCut, Garbage, Page] {
            scope.spawn(move || fails(fault));
        }
    });
}

#[test]
fn the_hub_called_by_another_name_is_another_host() {
    let (hub, root) = (Hub::start(checkpoint(noise(MIB))), tempfile::tempdir().unwrap());
    hub.follow(&[(RESOLVE, Always, Moved(To::HubByAnotherName))]);
    let ended = download(&hub, root.path());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let asked = hub.server.asked();
    let moved: Vec<_> = asked.iter().filter(|a| a.path.starts_with(MOVED)).collect();
    assert!(!moved.is_empty() && moved.iter().all(|a| !a.headers.contains_key("authorization")), "{moved:?}");
}
