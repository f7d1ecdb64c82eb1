//! Faults that a review found, each of which once ended in a wrong file or in no file where there could have been one.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mist::hub::{self, Client, ClientSettings, Error, Outcome, SilentDownload};
use mist::system::hinted::Hinted;
use serde_json::{Value, json};

use crate::server::{Answer, Server};
use crate::support::{COMMIT, Ids, api};
use crate::{
    GO_ON, client, content, download, good_hub, hasty, hub_with_bodies, mist, repository, request, text,
    weights,
};

#[test]
fn pieces_of_two_answers_are_not_joined_where_no_hash_tells_that_they_fit() {
    let page = "<html>please log in</html>".repeat(40);
    let hub = hub_with_bodies(move |content, asked, before| {
        match asked.path.ends_with("tokenizer.json") && before == 0 {
            // As long as the file, and cut: a second answer would fill the rest.
            true => Answer::new(200, &page.as_bytes()[..content.len()]).cut_at(5),
            false => Answer::ranged(content, asked),
        }
    });
    let root = tempfile::tempdir().unwrap();
    download(&client(&hub, None), root.path()).unwrap();
    let tokenizer = fs::read_to_string(root.path().join("org/name/tokenizer.json")).unwrap();
    assert_eq!(tokenizer, r#"{"version":"1.0"}"#);
}

#[test]
fn a_packed_body_is_refused() {
    let hub = hub_with_bodies(|content, _, _| Answer::new(200, content).header("Content-Encoding", "gzip"));
    let root = tempfile::tempdir().unwrap();
    let error = download(&client(&hub, None), root.path()).unwrap_err();
    assert!(error.to_string().contains("is compressed"), "{error}");
}

#[test]
fn a_file_that_is_listed_without_a_size_is_refused() {
    let tree = json!([
        { "type": "file", "path": "config.json" },
        { "type": "file", "path": "model.safetensors", "size": 2 },
    ])
    .to_string();
    let server = Server::start(move |asked, _| match asked.path.contains("/revision/") {
        true => Answer::new(200, json!({ "sha": COMMIT }).to_string()),
        false => Answer::new(200, tree.clone()),
    });
    let root = tempfile::tempdir().unwrap();
    let error = download(&client(&server, None), root.path()).unwrap_err();
    assert!(error.to_string().contains("no size for config.json"), "{error}");
}

#[test]
fn one_refused_range_does_not_make_all_that_follows_begin_anew() {
    let hub =
        hub_with_bodies(|content, asked, before| match (asked.path.ends_with("model.safetensors"), before) {
            (true, 1) => Answer::new(416, ""),
            (true, _) => Answer::ranged(content, asked).cut_at(300_000),
            (false, _) => Answer::ranged(content, asked),
        });
    let root = tempfile::tempdir().unwrap();
    download(&client(&hub, None), root.path()).unwrap();
    assert_eq!(fs::read(root.path().join("org/name/model.safetensors")).unwrap(), weights());
}

#[test]
fn another_tag_of_the_same_content_does_not_cost_what_is_here() {
    let served = AtomicUsize::new(0);
    let hub = hub_with_bodies(move |content, asked, before| {
        let tag = format!("\"{}\"", before / 2);
        let answer = Answer::file(content, asked, Some(&tag));
        if !asked.path.ends_with("model.safetensors") {
            return answer;
        }
        let answer = if before == 0 { answer.cut_at(900_000) } else { answer };
        served.fetch_add(answer.body.len().min(answer.cut), Ordering::SeqCst);
        answer
    });
    let root = tempfile::tempdir().unwrap();
    download(&client(&hub, None), root.path()).unwrap();
    assert_eq!(fs::read(root.path().join("org/name/model.safetensors")).unwrap(), weights());
    // The third request asks for the range without the tag; the answer to the second was not read.
    let asked = hub.asked().into_iter().filter(|a| a.path.ends_with("model.safetensors"));
    let starts: Vec<_> = asked.map(|a| (a.range_start(), a.headers.contains_key("if-range"))).collect();
    assert!(starts.contains(&(Some(900_000), false)) || starts.len() == 2, "{starts:?}");
}

#[test]
fn shorter_ranges_than_were_asked_for_are_taken_one_after_the_other() {
    let hub = hub_with_bodies(|content, asked, before| {
        match (asked.path.ends_with("model.safetensors"), before, asked.range()) {
            (true, 0, _) => Answer::ranged(content, asked).cut_at(200_000),
            (true, _, Some((first, _))) => {
                let last = (first + 32_768).min(content.len()) - 1;
                Answer::new(206, &content[first..=last])
                    .header("Content-Range", format!("bytes {first}-{last}/{}", content.len()))
            }
            _ => Answer::ranged(content, asked),
        }
    });
    let root = tempfile::tempdir().unwrap();
    download(&client(&hub, None), root.path()).unwrap();
    assert_eq!(fs::read(root.path().join("org/name/model.safetensors")).unwrap(), weights());
}

#[test]
fn a_length_that_is_too_large_does_not_stall_a_file_that_is_whole() {
    let hub = hub_with_bodies(|content, asked, _| {
        let mut answer = Answer::ranged(content, asked);
        if asked.path.ends_with("model.safetensors") {
            answer.framing = crate::server::Framing::Length(content.len() + 10);
            answer.stall = Duration::from_secs(300);
        }
        answer
    });
    let (root, begun) = (tempfile::tempdir().unwrap(), Instant::now());
    let mut settings = ClientSettings::new(hub.address.parse().unwrap());
    settings.read_timeout = Duration::from_secs(120);
    download(&Client::new(settings).unwrap(), root.path()).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(120));
}

#[test]
fn a_server_that_sends_a_byte_now_and_then_is_given_up() {
    let hub = hub_with_bodies(|content, asked, before| {
        let mut answer = Answer::ranged(content, asked);
        if asked.path.ends_with("model.safetensors") && before == 0 {
            answer.drip = Some(Duration::from_millis(100));
        }
        answer
    });
    let root = tempfile::tempdir().unwrap();
    download(&hasty(&hub.address), root.path()).unwrap();
    assert_eq!(fs::read(root.path().join("org/name/model.safetensors")).unwrap(), weights());
}

#[test]
fn a_second_run_needs_no_right_to_write() {
    let (server, root) = (good_hub(), tempfile::tempdir().unwrap());
    let client = client(&server, None);
    download(&client, root.path()).unwrap();
    // Root may write anywhere: that nothing is written has to be seen from the lock, which is taken first.
    fs::remove_file(root.path().join("org/name/.mist.lock")).unwrap();
    let (_, outcomes) = download(&client, root.path()).unwrap();
    assert_eq!(outcomes, [Outcome::Kept; 3]);
    assert!(!root.path().join("org/name/.mist.lock").exists());
}

/// A hub whose main branch is another commit from the second time on that it is asked for it.
fn moving_hub() -> Server {
    let files = repository();
    let asked_for_main = AtomicUsize::new(0);
    let other = COMMIT.replace('0', "f");
    Server::start(move |asked, _| {
        if asked.path.ends_with("/revision/main") && asked_for_main.fetch_add(1, Ordering::SeqCst) > 0 {
            return Answer::new(200, json!({ "sha": other }).to_string());
        }
        let here = crate::server::Asked { path: asked.path.replace(&other, COMMIT), ..asked.clone() };
        match (api(&files, Ids::Own, &here), content(&files, &here)) {
            (Some(answer), _) => answer,
            (None, Some(content)) => Answer::ranged(&content, asked),
            (None, None) => Answer::new(404, ""),
        }
    })
}

#[test]
fn a_part_of_another_commit_is_not_put_beside_the_rest_of_this_one() {
    let (server, root) = (moving_hub(), tempfile::tempdir().unwrap());
    let client = client(&server, None);
    download(&client, root.path()).unwrap();
    let mut only_tokenizer = request(root.path());
    only_tokenizer.tokenizer_only = true;
    let plan = hub::plan(&client, &only_tokenizer, &mut SilentDownload).unwrap();
    let error = hub::carry_out(&client, &plan, &GO_ON, &mut SilentDownload).unwrap_err();
    assert!(matches!(error, Error::OtherCommit { .. }), "{error}");
    assert!(error.hint().unwrap().contains(COMMIT));
    // All of it may move on; weights of the same sha256 stay.
    let (_, outcomes) = download(&client, root.path()).unwrap();
    assert_eq!(outcomes, [Outcome::Fetched, Outcome::Kept, Outcome::Fetched]);
}

#[test]
fn offline_another_commit_is_not_the_one_that_was_asked_for() {
    let (server, root) = (good_hub(), tempfile::tempdir().unwrap());
    download(&client(&server, None), root.path()).unwrap();
    let mut pinned = request(root.path());
    pinned.revision = COMMIT.parse().unwrap();
    hub::on_disk(&pinned).unwrap();
    pinned.revision = "f".repeat(40).parse().unwrap();
    assert!(matches!(hub::on_disk(&pinned), Err(Error::Offline { missing, .. }) if missing.contains(COMMIT)));
}

#[test]
fn a_dry_run_says_that_the_disk_is_too_small() {
    let tree: Value = json!([
        { "type": "file", "path": "config.json", "size": 2 },
        { "type": "file", "path": "model.safetensors", "size": 1_u64 << 60 },
    ]);
    let server = Server::start(move |asked, _| match asked.path.contains("/revision/") {
        true => Answer::new(200, json!({ "sha": COMMIT }).to_string()),
        false => Answer::new(200, tree.to_string()),
    });
    let root = tempfile::tempdir().unwrap();
    let dry = mist(&server.address, root.path(), &["download", "org/name", "--dry-run"]);
    assert_eq!(dry.status.code(), Some(1));
    assert!(text(&dry.stderr).contains("are needed"), "{}", text(&dry.stderr));
}
