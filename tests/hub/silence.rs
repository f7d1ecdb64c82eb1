//! A hub that accepts connections and says nothing, and one that is slow.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use mist::hub::{self, Client, ClientSettings, Error};

use crate::fault::{Fault::*, To};
use crate::faults::{RESOLVE, SIGNED, W, checkpoint};
use crate::server::{Answer, Server};
use crate::support::{COMMIT, Hits::*, Hub, MIB, Rule, command, folder, noise};
use crate::{Counts, GO_ON, request};

const C: &str = "/resolve/0123456789abcdef0123456789abcdef01234567/config.json";
const FOR_EVER: Duration = Duration::from_secs(60);

/// A client that waits so long for an attempt, and for all of them together.
fn client(address: &str, attempt: Duration, patience: Duration) -> Client {
    let mut settings = ClientSettings::new(address.parse().unwrap());
    (settings.read_timeout, settings.patience) = (attempt, patience);
    settings.first_pause = Duration::from_millis(1);
    settings.notice = Duration::from_millis(300);
    Client::new(settings).unwrap()
}

/// A download into `folder`, and what was reported.
fn download(client: &Client, folder: &std::path::Path) -> (Result<(), Error>, Vec<String>) {
    let mut counts = Counts::default();
    let root = folder.join("checkpoints");
    let plan = hub::plan(client, &request(&root), &mut counts);
    let done = plan.and_then(|plan| hub::carry_out(client, &plan, &GO_ON, &mut counts));
    (done.map(drop), counts.notes)
}

/// Of every kind of request there are two attempts, as many as there is time for. Five of them, of half a minute each, took
/// two and a half minutes.
#[test]
fn a_silent_hub_is_given_up_in_time_whatever_was_asked_for() {
    let kinds: &[(&str, &[Rule])] = &[
        ("/revision/", &[("/revision/", Always, Silence(FOR_EVER))]),
        ("/tree/", &[("/tree/", Always, Silence(FOR_EVER))]),
        ("/tree/", &[("/tree/", Always, Stall(1, FOR_EVER))]),
        (C, &[(C, Always, Silence(FOR_EVER))]),
        (W, &[(W, Always, Silence(FOR_EVER))]),
        (W, &[(W, Always, Stall(0, FOR_EVER))]),
        (SIGNED, &[(RESOLVE, Always, Moved(To::Storage)), (SIGNED, Always, Silence(FOR_EVER))]),
    ];
    thread::scope(|scope| {
        for (path, rules) in kinds {
            scope.spawn(move || {
                let (hub, root) = (Hub::start(checkpoint(noise(MIB))), tempfile::tempdir().unwrap());
                hub.follow(rules);
                let client = client(&hub.server.address, Duration::from_secs(2), Duration::from_secs(5));
                let (done, notes) = download(&client, root.path());
                let error = done.unwrap_err().to_string();
                assert!(error.contains("in time") || error.contains("timed out"), "{path}: {error}");
                let server = if *path == SIGNED { &hub.storage } else { &hub.server };
                let host = server.address.strip_prefix("http://").unwrap();
                let waiting = format!("waiting for {host}: nothing has come for ");
                assert!(notes.first().is_some_and(|note| note.starts_with(&waiting)), "{path}: {notes:?}");
                let (mut attempts, asked) = (std::collections::BTreeMap::new(), server.asked());
                for asked in asked.iter().filter(|asked| asked.path.contains(path)) {
                    *attempts.entry((&asked.path, asked.range())).or_insert(0) += 1;
                }
                // On a busy machine the first may have taken all the time there was.
                assert!(attempts.values().all(|n| (1..=2).contains(n)), "{path}: {attempts:?}, {notes:?}");
                assert!(!attempts.is_empty(), "{path}: {asked:?}");
            });
        }
    });
}

/// A hub of two files, one a few bytes long, that waits so long before each byte of the listing, of the small file and of the
/// weights.
fn dripping(listing: u64, small: u64, weights: u64) -> Server {
    let tree = format!(
        r#"[{{"type":"file","path":"config.json","size":2}},{{"type":"file","path":"model.safetensors","size":40,"lfs":{{"oid":"{}","size":40}}}}]"#,
        crate::support::sha256(&noise(40))
    );
    Server::start(move |asked, _| {
        let (answer, pause) = match &asked.path {
            p if p.contains("/revision/") => (Answer::new(200, format!(r#"{{"sha":"{COMMIT}"}}"#)), 0),
            p if p.contains("/tree/") => (Answer::new(200, tree.clone()), listing),
            p if p.ends_with("config.json") => (Answer::new(200, "{}"), small),
            _ => (Answer::ranged(&noise(40), asked), weights),
        };
        Answer { drip: Some(Duration::from_millis(pause)), ..answer }
    })
}

/// What a download from `server` asked for of a path.
fn asked(server: &Server, part: &str) -> usize {
    server.asked().iter().filter(|asked| asked.path.contains(part)).count()
}

/// A byte now and then of the listing, which would begin anew over another connection: it takes more than 4.5 s, longer than
/// an attempt and than all attempts together. A machine that stands still for 2 s breaks no attempt off.
#[test]
fn a_slow_listing_is_waited_for() {
    let (server, root) = (dripping(25, 300, 0), tempfile::tempdir().unwrap());
    let client = client(&server.address, Duration::from_secs(3), Duration::from_secs(3));
    let (done, notes) = download(&client, root.path());
    done.unwrap();
    assert_eq!((asked(&server, "/tree/"), asked(&server, "config.json")), (1, 1), "{notes:?}");
}

/// A byte now and then of weights, which go on over other connections: they take 6 s, more than the patience with attempts
/// that bring nothing. A machine that stands still for 2 s uses less of it up than there is.
#[test]
fn slow_weights_are_not_given_up() {
    let (server, root) = (dripping(0, 0, 150), tempfile::tempdir().unwrap());
    let client = client(&server.address, Duration::from_millis(700), Duration::from_secs(5));
    let (done, notes) = download(&client, root.path());
    done.unwrap();
    assert_eq!(std::fs::read(folder(root.path()).join("model.safetensors")).unwrap(), noise(40));
    let attempts = asked(&server, "model.safetensors");
    assert!(attempts > 5, "more attempts than a file gets that brings nothing: {notes:?}");
}

/// What a proxy does that serves one connection at a time.
#[test]
fn a_file_that_stays_silent_is_waited_for_while_another_one_comes() {
    const SILENT: usize = 7;
    let (hub, root) = (Hub::start(checkpoint(noise(3 * MIB))), tempfile::tempdir().unwrap());
    hub.follow(&[(C, First(SILENT), Silence(FOR_EVER))]);
    hub.server.throttle(MIB / 2);
    let client = client(&hub.server.address, Duration::from_millis(600), Duration::from_millis(2500));
    let (done, notes) = download(&client, root.path());
    done.unwrap();
    assert!(hub.idle().is_empty(), "{notes:?}");
    hub.nothing_wrong(root.path()).unwrap();
}

/// A listener whose connections the system accepts, and nobody answers.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

#[test]
fn the_command_says_who_is_waited_for() {
    let ((_listener, address), root) = (silent(), tempfile::tempdir().unwrap());
    let log = root.path().join("log");
    let mut command = command(&address, root.path(), &["download", "org/name"]);
    let mut child = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    while !said().ends_with('\n') && child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let host = address.strip_prefix("http://").unwrap();
    assert!(said().starts_with(&format!("waiting for {host}: nothing has come for ")), "{}", said());
}

/// Without Python there is no second source.
#[test]
fn the_starter_says_who_is_waited_for() {
    let ((_listener, address), root) = (silent(), tempfile::tempdir().unwrap());
    let mut command = command(&address, root.path(), &["download", "--starter"]);
    let ended = crate::support::Run::start({
        command.env("PATH", root.path());
        command
    })
    .end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let host = address.strip_prefix("http://").unwrap();
    assert!(ended.stderr.contains(&format!("\nwaiting for {host}: nothing has come for ")), "{ended:?}");
    assert!(ended.error().unwrap().contains("no answer in time"), "{ended:?}");
}
