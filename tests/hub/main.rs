//! Downloads from a hub on the loopback device: what is sent to whom, what is written, what is said.
// The lint knows functions marked as tests, not their helpers; a helper that fails here is a failed test.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod catalogue;
mod fault;
mod faults;
mod full;
mod killed;
mod leftovers;
mod links;
mod memory;
mod named;
mod nothing;
mod reviewed;
mod server;
mod silence;
mod support;
mod together;
mod token;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mist::hub::{
    self, Client, ClientSettings, DownloadPlan, DownloadReport, Error, FileName, Outcome, Request, Revision,
    SilentDownload,
};
use mist::system::hinted::Hinted;
use serde_json::{Value, json};
use server::{Answer, Asked, Server};
use support::{COMMIT, Ids, SECRET, Served, api, command, large, small};

fn weights() -> Vec<u8> {
    (0..300_000_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_le_bytes()).collect()
}

fn repository() -> Vec<Served> {
    vec![
        small("README.md", "hello"),
        small("config.json", "{}"),
        small("tokenizer.json", r#"{"version":"1.0"}"#),
        large("model.safetensors", weights()),
        large("consolidated.safetensors", "the same weights again"),
    ]
}

fn content(files: &[Served], asked: &Asked) -> Option<Vec<u8>> {
    let name = asked.path.strip_prefix(&format!("/org/name/resolve/{COMMIT}/"))?;
    files.iter().find(|f| f.name == name).map(|f| f.content.to_vec())
}

/// A hub that works.
fn good_hub() -> Server {
    let files = repository();
    Server::start(move |asked, _| match (api(&files, Ids::Own, asked), content(&files, asked)) {
        (Some(answer), _) => answer,
        (None, Some(content)) => Answer::ranged(&content, asked),
        (None, None) => Answer::new(404, "").header("X-Error-Code", "EntryNotFound"),
    })
}

/// A hub whose interface works and whose file contents come from `body`, which is given the content, the request and
/// how many requests for this file came before.
fn hub_with_bodies(body: impl Fn(&[u8], &Asked, usize) -> Answer + Send + Sync + 'static) -> Server {
    let files = repository();
    let before = std::sync::Mutex::new(std::collections::BTreeMap::<String, usize>::new());
    Server::start(move |asked, _| match (api(&files, Ids::Own, asked), content(&files, asked)) {
        (Some(answer), _) => answer,
        (None, Some(content)) => {
            let n = {
                let mut before = before.lock().unwrap();
                let n = before.entry(asked.path.clone()).or_default();
                *n += 1;
                *n - 1
            };
            body(&content, asked, n)
        }
        (None, None) => Answer::new(404, ""),
    })
}

fn client(server: &Server, token: Option<&str>) -> Client {
    let mut settings = ClientSettings::new(server.address.parse().unwrap());
    settings.token = token.map(|t| t.parse().unwrap());
    settings.first_pause = Duration::from_millis(1);
    settings.read_timeout = Duration::from_secs(5);
    Client::new(settings).unwrap()
}

fn request(root: &Path) -> Request {
    Request {
        repo: "org/name".parse().unwrap(),
        revision: Revision::default(),
        root: root.to_path_buf(),
        tokenizer_only: false,
        file: None,
        cache: None,
    }
}

static GO_ON: AtomicBool = AtomicBool::new(false);

fn download(client: &Client, root: &Path) -> Result<(DownloadPlan, Vec<Outcome>), Error> {
    let plan = hub::plan(client, &request(root), &mut SilentDownload)?;
    let outcomes = hub::carry_out(client, &plan, &GO_ON, &mut SilentDownload)?;
    Ok((plan, outcomes))
}

/// The names in the folder that look finished: not the hidden ones, and not the manifest.
fn names_in(folder: &Path) -> Vec<String> {
    let items = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = items.map(|i| i.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|n| !n.starts_with('.') && n != "mist-download.json");
    names.sort();
    names
}

#[test]
fn a_repository_is_planned_over_both_pages_and_its_weights_are_fetched_once() {
    let (server, root) = (good_hub(), tempfile::tempdir().unwrap());
    let client = client(&server, None);
    let (plan, outcomes) = download(&client, root.path()).unwrap();
    let planned: Vec<&str> = plan.files.iter().map(|f| f.entry.name.as_str()).collect();
    assert_eq!(planned, ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(plan.commit.as_ref().unwrap().as_str(), COMMIT);
    assert_eq!(outcomes, [Outcome::Fetched; 3]);
    let folder = root.path().join("org/name");
    assert_eq!(names_in(&folder), planned);
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());

    let requests = server.asked().len();
    let (plan, outcomes) = download(&client, root.path()).unwrap();
    assert_eq!((outcomes, plan.missing()), (vec![Outcome::Kept; 3], 0));
    assert!(server.asked()[requests..].iter().all(|a| a.path.starts_with("/api/")));

    // Where nothing says what it was, the size of a small file says nothing, and the weights are read.
    fs::remove_file(folder.join("mist-download.json")).unwrap();
    let (_, outcomes) = download(&client, root.path()).unwrap();
    assert_eq!(outcomes, [Outcome::Fetched, Outcome::Kept, Outcome::Fetched]);

    // Who changes a file gets the repository's again; the others are not read.
    fs::write(folder.join("config.json"), "[]").unwrap();
    let (_, outcomes) = download(&client, root.path()).unwrap();
    assert_eq!(outcomes, [Outcome::Fetched, Outcome::Kept, Outcome::Kept]);
    assert_eq!(fs::read_to_string(folder.join("config.json")).unwrap(), "{}");
}

#[test]
fn files_are_taken_from_the_commit_and_not_from_the_branch() {
    let (server, root) = (good_hub(), tempfile::tempdir().unwrap());
    download(&client(&server, None), root.path()).unwrap();
    let resolved: Vec<Asked> = server.asked().into_iter().filter(|a| a.path.contains("/resolve/")).collect();
    assert_eq!(resolved.len(), 3);
    assert!(resolved.iter().all(|a| a.path.contains(COMMIT)));
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_where_it_redirects() {
    let storage = Server::start(|asked, _| Answer::ranged(&weights(), asked));
    let target = storage.address.clone();
    let hub = hub_with_bodies(move |content, asked, _| match asked.path.ends_with("model.safetensors") {
        true => Answer::new(302, "").header("Location", format!("{target}/signed?key=1")),
        false => Answer::ranged(content, asked),
    });
    let root = tempfile::tempdir().unwrap();
    download(&client(&hub, Some(SECRET)), root.path()).unwrap();
    assert!(!hub.asked().is_empty() && !storage.asked().is_empty());
    let bearer = format!("Bearer {SECRET}");
    assert!(hub.asked().iter().all(|a| a.headers.get("authorization") == Some(&bearer)));
    for asked in storage.asked() {
        let all = format!("{asked:?}");
        assert!(!all.contains("authorization") && !all.contains("referer") && !all.contains(SECRET), "{all}");
    }
}

#[test]
fn a_body_cut_short_is_continued_where_it_ended() {
    let hub = hub_with_bodies(|content, asked, before| {
        let answer = Answer::ranged(content, asked);
        if asked.path.ends_with("model.safetensors") && before < 2 { answer.cut_at(400_000) } else { answer }
    });
    let root = tempfile::tempdir().unwrap();
    download(&client(&hub, None), root.path()).unwrap();
    assert_eq!(fs::read(root.path().join("org/name/model.safetensors")).unwrap(), weights());
    let starts: Vec<Option<usize>> = hub
        .asked()
        .iter()
        .filter(|a| a.path.ends_with("model.safetensors"))
        .map(Asked::range_start)
        .collect();
    assert_eq!(starts, [None, Some(400_000), Some(800_000)]);
}

#[test]
fn a_server_without_ranges_sends_all_again_and_the_file_is_right() {
    let hub = hub_with_bodies(|content, asked, before| {
        let answer = Answer::new(200, content);
        if asked.path.ends_with("model.safetensors") && before == 0 { answer.cut_at(400_000) } else { answer }
    });
    let root = tempfile::tempdir().unwrap();
    download(&client(&hub, None), root.path()).unwrap();
    assert_eq!(fs::read(root.path().join("org/name/model.safetensors")).unwrap(), weights());
}

#[test]
fn another_range_than_the_one_asked_for_is_refused() {
    let hub =
        hub_with_bodies(|content, asked, before| match (asked.path.ends_with("model.safetensors"), before) {
            (false, _) => Answer::ranged(content, asked),
            (true, 0) => Answer::new(200, content).cut_at(400_000),
            (true, _) => {
                Answer::new(206, &content[..400_000]).header("Content-Range", "bytes 0-399999/1200000")
            }
        });
    let root = tempfile::tempdir().unwrap();
    let error = download(&client(&hub, None), root.path()).unwrap_err();
    assert!(matches!(error, Error::Status { status: 206, .. }), "{error}");
    assert!(!names_in(&root.path().join("org/name")).contains(&"model.safetensors".to_string()));
}

#[test]
fn a_body_that_never_comes_whole_fails_after_a_few_attempts_and_keeps_what_came() {
    let hub = hub_with_bodies(|content, asked, _| match asked.path.ends_with("model.safetensors") {
        true => Answer::ranged(content, asked).cut_at(10),
        false => Answer::ranged(content, asked),
    });
    let root = tempfile::tempdir().unwrap();
    let error = download(&client(&hub, None), root.path()).unwrap_err();
    assert!(matches!(error, Error::Cut { here: 50, .. }), "{error}");
    assert!(!names_in(&root.path().join("org/name")).contains(&"model.safetensors".to_string()));
    let plan = hub::plan(&client(&good_hub(), None), &request(root.path()), &mut SilentDownload).unwrap();
    assert_eq!(plan.files[1].here, 50);
}

#[test]
fn a_wrong_hash_deletes_the_part_and_is_tried_again_once() {
    let hub = hub_with_bodies(|content, asked, _| {
        let mut content = content.to_vec();
        if asked.path.ends_with("model.safetensors") {
            content[77_777] ^= 1;
        }
        Answer::ranged(&content, asked)
    });
    let root = tempfile::tempdir().unwrap();
    let error = download(&client(&hub, None), root.path()).unwrap_err();
    assert!(matches!(error, Error::Hash { .. }), "{error}");
    let folder = root.path().join("org/name");
    assert!(!names_in(&folder).contains(&"model.safetensors".to_string()));
    assert!(!folder.join(".model.safetensors.partial").exists());
    // Where the machine is busy a second connection may take the end of a file: its beginnings are its attempts.
    let begins = |a: &&Asked| a.path.ends_with("model.safetensors") && a.range_start().unwrap_or(0) == 0;
    let asked = hub.asked();
    assert_eq!(asked.iter().filter(begins).count(), 2, "{asked:?}");
}

#[test]
fn a_body_longer_than_the_listing_says_is_refused_where_no_hash_tells_that_it_is_right() {
    let hub = hub_with_bodies(|content, _, _| Answer::new(200, [content, b"more"].concat()));
    let root = tempfile::tempdir().unwrap();
    let error = download(&client(&hub, None), root.path()).unwrap_err();
    assert!(matches!(error, Error::Answer { .. }) && error.to_string().contains("bytes long"), "{error}");
    let names = names_in(&root.path().join("org/name"));
    assert!(!names.contains(&"config.json".to_string()), "{names:?}");
}

#[test]
fn an_error_page_never_becomes_a_file_and_a_busy_hub_is_asked_again() {
    let hub = hub_with_bodies(|content, asked, before| match before {
        0 => Answer::new(503, "<html>busy</html>"),
        1 => Answer::new(429, "slow down").header("Retry-After", "0"),
        _ => Answer::ranged(content, asked),
    });
    let root = tempfile::tempdir().unwrap();
    download(&client(&hub, None), root.path()).unwrap();
    assert_eq!(fs::read_to_string(root.path().join("org/name/config.json")).unwrap(), "{}");

    let hub = hub_with_bodies(|_, _, _| Answer::new(500, "<html>broken</html>"));
    let root = tempfile::tempdir().unwrap();
    let error = download(&client(&hub, None), root.path()).unwrap_err();
    assert!(matches!(error, Error::Status { status: 500, .. }), "{error}");
    assert_eq!(names_in(&root.path().join("org/name")), [""; 0]);
}

#[test]
fn each_refusal_has_its_own_error_and_hint() {
    let refused = |status: u16, code: &'static str, token: Option<&str>| {
        let server = Server::start(move |_, _| Answer::new(status, "no").header("X-Error-Code", code));
        let root = tempfile::tempdir().unwrap();
        let error = download(&client(&server, token), root.path()).unwrap_err();
        let hint = error.hint().unwrap_or_default();
        assert!(!format!("{error} {error:?} {hint}").contains(SECRET));
        assert_eq!(server.asked().len(), 1, "a refusal is final");
        (error, hint)
    };
    let (error, hint) = refused(404, "RepoNotFound", None);
    assert!(
        matches!(error, Error::NotFound { with_token: false, .. }) && hint.contains("HF_TOKEN"),
        "{error}"
    );
    let (error, hint) = refused(401, "", None);
    assert!(
        matches!(error, Error::NotFound { with_token: false, .. }) && hint.contains("private"),
        "{error}"
    );
    let (error, _) = refused(404, "RepoNotFound", Some(SECRET));
    assert!(matches!(error, Error::NotFound { with_token: true, .. }), "{error}");
    let (error, hint) = refused(401, "GatedRepo", None);
    assert!(
        matches!(error, Error::GatedWithoutToken { .. }) && hint.contains("huggingface.co/org/name"),
        "{error}"
    );
    let (error, hint) = refused(403, "GatedRepo", Some(SECRET));
    assert!(matches!(error, Error::GatedWithoutAccess { .. }) && hint.contains("that account"), "{error}");
    let (error, hint) = refused(401, "", Some(SECRET));
    assert!(matches!(error, Error::TokenRefused { .. }) && hint.contains("settings/tokens"), "{error}");
    let (error, hint) = refused(404, "RevisionNotFound", None);
    assert!(matches!(error, Error::NoRevision { .. }) && hint.contains("leave the revision out"), "{error}");
}

#[test]
fn answers_that_make_no_sense_are_refused_before_anything_is_written() {
    for (revision, tree) in [
        ("<html>", "[]"),
        (r#"{"sha":"main"}"#, "[]"),
        (r#"{"sha":"../../../../../../../../../../../../x/y/"}"#, "[]"),
        (r#"{"sha":"0123456789abcdef0123456789abcdef01234567"}"#, "{}"),
        (
            r#"{"sha":"0123456789abcdef0123456789abcdef01234567"}"#,
            r#"[{"type":"file","path":"model.safetensors","size":1,"lfs":{"oid":"../../x","size":1}}]"#,
        ),
        (
            r#"{"sha":"0123456789abcdef0123456789abcdef01234567"}"#,
            r#"[{"type":"file","path":"config.json","size":-1}]"#,
        ),
    ] {
        let server = Server::start(move |asked, _| match asked.path.contains("/revision/") {
            true => Answer::new(200, revision),
            false => Answer::new(200, tree),
        });
        let root = tempfile::tempdir().unwrap();
        let error = download(&client(&server, None), root.path()).unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{revision} {tree}: {error}");
        assert!(!root.path().join("org").exists());
    }
}

#[test]
fn hostile_names_in_the_listing_touch_neither_disk_nor_address() {
    let files = [
        "../../evil.safetensors",
        "/etc/tokenizer.json",
        "tokenizer\\..\\evil",
        "tokenizer:stream",
        "tokenizer/x.json",
    ];
    let tree: Vec<Value> = ["config.json", "model.safetensors"]
        .iter()
        .chain(&files)
        .map(|path| json!({ "type": "file", "path": path, "size": 2 }))
        .collect();
    let tree = Value::from(tree).to_string();
    let server = Server::start(move |asked, _| match &asked.path {
        p if p.contains("/revision/") => Answer::new(200, json!({ "sha": COMMIT }).to_string()),
        p if p.contains("/tree/") => Answer::new(200, tree.clone()),
        _ => Answer::new(200, "{}"),
    });
    let root = tempfile::tempdir().unwrap();
    download(&client(&server, None), root.path()).unwrap();
    assert_eq!(names_in(&root.path().join("org/name")), ["config.json", "model.safetensors"]);
    assert_eq!(names_in(root.path()), ["org"]);
    assert!(server.asked().iter().all(|a| !a.path.contains("evil") && !a.path.contains("..")));
}

#[test]
fn a_listing_larger_than_the_disk_is_refused_before_the_first_byte() {
    let tree = json!([
        { "type": "file", "path": "config.json", "size": 2 },
        { "type": "file", "path": "model.safetensors", "size": u64::MAX },
    ])
    .to_string();
    let server = Server::start(move |asked, _| match asked.path.contains("/revision/") {
        true => Answer::new(200, json!({ "sha": COMMIT }).to_string()),
        false => Answer::new(200, tree.clone()),
    });
    let root = tempfile::tempdir().unwrap();
    let error = download(&client(&server, None), root.path()).unwrap_err();
    assert!(matches!(error, Error::Space { .. }), "{error}");
    assert!(!root.path().join("org").exists());
    assert!(server.asked().iter().all(|a| a.path.starts_with("/api/")));
}

/// A client that gives up on a silent server after a moment.
fn hasty(address: &str) -> Client {
    let mut settings = ClientSettings::new(address.parse().unwrap());
    settings.read_timeout = Duration::from_millis(1500);
    settings.first_pause = Duration::from_millis(1);
    Client::new(settings).unwrap()
}

#[test]
fn a_server_that_takes_connections_and_never_answers_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let root = tempfile::tempdir().unwrap();
    let error = download(&hasty(&address), root.path()).unwrap_err();
    assert!(matches!(&error, Error::Unreachable { cause, .. } if cause == "no answer in time"), "{error}");
}

#[test]
fn a_body_that_stalls_is_given_up_and_continued() {
    let hub = hub_with_bodies(|content, asked, before| {
        let answer = Answer::ranged(content, asked);
        match asked.path.ends_with("model.safetensors") && before == 0 {
            true => answer.cut_at(400_000).stall(Duration::from_secs(20)),
            false => answer,
        }
    });
    let root = tempfile::tempdir().unwrap();
    download(&hasty(&hub.address), root.path()).unwrap();
    assert_eq!(fs::read(root.path().join("org/name/model.safetensors")).unwrap(), weights());
    assert!(hub.asked().iter().any(|a| a.range_start() == Some(400_000)));
}

/// Counts what is reported.
#[derive(Default)]
struct Counts {
    plans: usize,
    here: BTreeMap<FileName, u64>,
    ended: Vec<FileName>,
    notes: Vec<String>,
}

impl DownloadReport for Counts {
    fn plan(&mut self, _: &DownloadPlan) {
        self.plans += 1;
    }
    fn begin(&mut self, file: &FileName, _: u64, here: u64) {
        self.here.insert(file.clone(), here);
    }
    fn progress(&mut self, file: &FileName, here: u64) {
        assert!(self.here.insert(file.clone(), here).is_some(), "{file} was not begun");
    }
    fn end(&mut self, file: &FileName) {
        self.ended.push(file.clone());
    }
    fn note(&mut self, line: &str) {
        self.notes.push(line.to_string());
    }
}

#[test]
fn the_bytes_reported_are_the_plans_total_even_after_a_cut() {
    let hub = hub_with_bodies(|content, asked, before| match before {
        0 => Answer::new(200, content).cut_at(content.len() / 2),
        _ => Answer::ranged(content, asked),
    });
    let (root, mut counts) = (tempfile::tempdir().unwrap(), Counts::default());
    let client = client(&hub, Some(SECRET));
    let plan = hub::plan(&client, &request(root.path()), &mut counts).unwrap();
    hub::carry_out(&client, &plan, &GO_ON, &mut counts).unwrap();
    assert_eq!((counts.plans, counts.here.values().sum()), (1, plan.total()));
    assert_eq!(counts.ended.len(), 3);
    assert_eq!(counts.notes.len(), 3, "one for each file that was cut: {:?}", counts.notes);
    assert!(counts.notes.iter().all(|n| n.contains("cut short") && !n.contains(SECRET)));
}

/// Runs `mist` in `folder` against `server`.
fn mist(server: &str, folder: &Path, arguments: &[&str]) -> Output {
    command(server, folder, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_command_prints_the_plan_on_stderr_and_the_folder_on_stdout() {
    let (server, root) = (good_hub(), tempfile::tempdir().unwrap());
    let dry = mist(&server.address, root.path(), &["download", "org/name", "--dry-run"]);
    assert!(dry.status.success() && dry.stdout.is_empty());
    assert!(text(&dry.stderr).contains("model.safetensors") && !root.path().join("checkpoints/org").exists());

    let done = mist(
        &server.address,
        root.path(),
        &["download", "--repo_id", "org/name", "--from_safetensors", "true"],
    );
    assert!(done.status.success(), "{}", text(&done.stderr));
    let folder = Path::new("checkpoints").join("org").join("name");
    assert_eq!(text(&done.stdout), format!("{}\n", folder.display()));

    let again = mist("http://127.0.0.1:9", root.path(), &["download", "org/name", "--offline", "--json"]);
    let json: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&json["files"][0]["status"], &json["missing_bytes"]), (&json!("kept"), &json!(0)));
}

#[test]
fn the_command_fails_with_one_line_and_a_hint() {
    let server = Server::start(|_, _| Answer::new(401, "").header("X-Error-Code", "RepoNotFound"));
    let root = tempfile::tempdir().unwrap();
    let failed = mist(&server.address, root.path(), &["download", "mistralai/Mistral-7B-v01"]);
    assert_eq!(failed.status.code(), Some(1));
    let lines = "error: there is no repository mistralai/Mistral-7B-v01, or it is private\n\
                 hint: did you mean mistralai/Mistral-7B-v0.1?\n";
    assert_eq!(text(&failed.stderr), lines);

    let quantize = mist(&server.address, root.path(), &["download", "org/name", "--quantize", "q9"]);
    assert!(quantize.status.code() == Some(2) && text(&quantize.stderr).contains("[possible values: q8_0"));
    let offline = mist(&server.address, root.path(), &["download", "org/name", "--offline"]);
    assert!(
        text(&offline.stderr).starts_with("error: org/name was never fetched"),
        "{}",
        text(&offline.stderr)
    );
    assert_eq!(server.asked().len(), 1, "neither asked the hub");
}

#[test]
fn the_catalogue_in_a_pipe_is_names_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let listed = mist("http://127.0.0.1:9", root.path(), &["download"]);
    let names = text(&listed.stdout);
    assert!(names.starts_with("mistralai/Mistral-7B-v0.1\nmistralai/Mistral-7B-Instruct-v0.1\n"));
    assert!(names.lines().all(|l| l.split('/').count() == 2 && !l.contains(' ')));
    assert!(listed.stderr.is_empty());
}

/// The hub's own cache as its clients leave it: the content of each file under its hash.
fn cache_of(files: &[Served], root: &Path) -> hub::HubCache {
    let blobs = root.join("models--org--name/blobs");
    fs::create_dir_all(&blobs).unwrap();
    for file in files.iter().filter(|file| file.large) {
        fs::write(blobs.join(support::sha256(&file.content)), &file.content).unwrap();
    }
    hub::HubCache::at(root.to_path_buf())
}

/// A file that lies in the hub's own cache is not fetched; one with another content than its name says is.
#[test]
fn what_the_hubs_own_cache_holds_is_not_fetched() {
    let (server, root) = (good_hub(), tempfile::tempdir().unwrap());
    let cache = cache_of(&repository(), &root.path().join("cache"));
    let client = client(&server, None);
    let fetch = |name: &str| {
        let request = Request { cache: Some(cache.clone()), ..request(&root.path().join(name)) };
        let plan = hub::plan(&client, &request, &mut SilentDownload).unwrap();
        let missing = plan.missing();
        (missing, hub::carry_out(&client, &plan, &GO_ON, &mut SilentDownload).unwrap(), plan)
    };
    let (missing, outcomes, plan) = fetch("first");
    assert!(missing < 1000, "{missing}");
    let weights = plan.files.iter().position(|file| file.entry.name.as_str() == "model.safetensors").unwrap();
    assert_eq!(outcomes[weights], Outcome::Cached);
    assert!(!server.asked().iter().any(|asked| asked.path.ends_with("model.safetensors")));
    assert_eq!(fs::read(plan.folder.join("model.safetensors")).unwrap(), self::weights());
    // It is whole for whoever looks next.
    let again = hub::plan(&client, &request(&root.path().join("first")), &mut SilentDownload).unwrap();
    assert_eq!(again.missing(), 0);
    let blob = root.path().join("cache/models--org--name/blobs").join(support::sha256(&self::weights()));
    let mut damaged = self::weights();
    damaged[0] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, &damaged).unwrap();
    let (_, outcomes, plan) = fetch("second");
    assert_eq!(outcomes[weights], Outcome::Fetched);
    assert_eq!(fs::read(plan.folder.join("model.safetensors")).unwrap(), self::weights());
    assert_eq!(fs::read(&blob).unwrap(), damaged, "the cache is only read");
}
