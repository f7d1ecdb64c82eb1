//! What the tests of this program share: a repository, a hub that serves it with scripted faults, runs of the command
//! against it, and what may be expected of every run.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use mist::hub::Digest;
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::fault::{Fault, Request, SIGNATURE};
use crate::server::{Answer, Asked, Server};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const SECRET: &str = "hf_secretsecret";
pub const MIB: u64 = 1 << 20;

/// A run that takes longer hangs.
const LONGEST_RUN: Duration = Duration::from_secs(150);

/// A file of the repository that the tests serve.
#[derive(Clone)]
pub struct Served {
    pub name: &'static str,
    pub content: Arc<[u8]>,
    pub large: bool,
    sha256: String,
}

pub fn small(name: &'static str, content: &str) -> Served {
    Served { large: false, ..large(name, content) }
}

pub fn large(name: &'static str, content: impl Into<Vec<u8>>) -> Served {
    let content: Arc<[u8]> = content.into().into();
    Served { name, sha256: sha256(&content), content, large: true }
}

pub fn sha256(content: &[u8]) -> String {
    Digest(sha2::Sha256::digest(content).into()).to_string()
}

/// Bytes of which no stretch of eight comes twice, so that none can stand in another's place.
pub fn noise(length: u64) -> Vec<u8> {
    let mix = |i: u64| (i ^ (i >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    (0..length.div_ceil(8)).flat_map(|i| mix(mix(i)).to_le_bytes()).take(length as usize).collect()
}

/// The ids that a listing gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Git's: of the content, or of the note that git holds in place of a large file.
    Git,
    /// Of its own making, as some mirrors do.
    Own,
}

impl Ids {
    fn of(self, file: &Served) -> String {
        let note = format!(
            "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n",
            file.sha256,
            file.content.len()
        );
        let blob = if file.large { note.as_bytes() } else { &*file.content };
        let git = sha1::Sha1::new_with_prefix(format!("blob {}\0", blob.len())).chain_update(blob).finalize();
        match self {
            Self::Git => git.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Own => "0".repeat(40),
        }
    }
}

/// What the hub's interface says about the files; `None` for an address that is not of the interface.
pub fn api(files: &[Served], ids: Ids, asked: &Asked) -> Option<Answer> {
    let path = asked.path.strip_prefix("/api/models/org/name/")?;
    if path.starts_with("revision/main") {
        return Some(Answer::new(200, json!({ "sha": COMMIT }).to_string()));
    }
    let item = |f: &Served| match f.large {
        false => json!({ "type": "file", "path": f.name, "size": f.content.len(), "oid": ids.of(f) }),
        true => json!({
            "type": "file", "path": f.name, "size": f.content.len(), "oid": ids.of(f),
            "lfs": { "oid": f.sha256, "size": f.content.len(), "pointerSize": 135 },
        }),
    };
    // Two pages, the second behind a link to a host that must not be asked.
    let half = files.len() / 2;
    let link = "<http://192.0.2.1/api/models/org/name/tree/x?recursive=true&cursor=c2Vjb25k>; rel=\"next\"";
    match path.contains("cursor=c2Vjb25k") {
        false => {
            let items: Vec<Value> = files[..half].iter().map(item).collect();
            Some(Answer::new(200, Value::from(items).to_string()).header("Link", link))
        }
        true => {
            let items: Vec<Value> = files[half..].iter().map(item).collect();
            Some(Answer::new(200, Value::from(items).to_string()))
        }
    }
}

/// Which of the requests that leave room for a fault meet it.
#[derive(Clone, Copy, Debug)]
pub enum Hits {
    First(usize),
    Every(usize),
    Always,
}

/// A part of the addresses that are meant, which requests for them, and what happens to those.
pub type Rule = (&'static str, Hits, Fault);

/// A rule, how often there was room for it, and how often it struck.
struct Followed {
    rule: Rule,
    met: usize,
    struck: usize,
}

/// The rules in force.
#[derive(Default)]
struct Script(Mutex<Vec<Followed>>);

impl Script {
    /// Every rule that applies spoils the answer further.
    fn spoil(&self, honest: Answer, request: &Request<'_>) -> Answer {
        let mut rules = self.0.lock().unwrap();
        rules.iter_mut().fold(honest, |answer, followed| {
            let (on, hits, fault) = followed.rule;
            let over = matches!(hits, Hits::First(n) if followed.struck >= n);
            if over || !request.asked.path.contains(on) {
                return answer;
            }
            let Some(spoilt) = fault.spoil(answer.clone(), request) else { return answer };
            followed.met += 1;
            if matches!(hits, Hits::Every(n) if followed.met % n != 0) {
                return answer;
            }
            followed.struck += 1;
            spoilt
        })
    }
}

/// A hub of one repository, `org/name`, and the storage server that it may redirect to. Both do as the script says.
pub struct Hub {
    pub server: Server,
    pub storage: Server,
    files: Arc<[Served]>,
    script: Arc<Script>,
}

impl Hub {
    /// Serves `files`, which must make a checkpoint; all but a README.md belong to it.
    pub fn start(files: Vec<Served>) -> Self {
        let (files, script): (Arc<[Served]>, Arc<Script>) = (files.into(), Arc::default());
        let answer = |storage: String| {
            let (files, script) = (files.clone(), script.clone());
            move |asked: &Asked, before: usize| {
                let served = files.iter().find(|f| is_for(asked, f.name));
                let etag = served.map(|f| format!("\"{}\"", f.sha256)).unwrap_or_default();
                let honest = match (api(&files, Ids::Git, asked), served) {
                    (Some(answer), _) => answer,
                    (None, Some(f)) => Answer::file(&f.content, asked, Some(&etag)),
                    (None, None) => Answer::new(404, "").header("X-Error-Code", "EntryNotFound"),
                };
                let file = served.map(|f| (f.name, &*f.content));
                script.spoil(honest, &Request { asked, file, etag: &etag, storage: &storage, before })
            }
        };
        let storage = Server::start(answer(String::new()));
        let server = Server::start(answer(storage.address.clone()));
        Self { server, storage, files, script }
    }

    /// From now on these rules hold and no others.
    pub fn follow(&self, rules: &[Rule]) {
        let followed = rules.iter().map(|rule| Followed { rule: *rule, met: 0, struck: 0 });
        *self.script.0.lock().unwrap() = followed.collect();
    }

    /// The rules that have not struck once: a test of them has tested nothing.
    pub fn idle(&self) -> Vec<Rule> {
        let rules = self.script.0.lock().unwrap();
        rules.iter().filter(|followed| followed.struck == 0).map(|followed| followed.rule).collect()
    }

    /// Bytes sent so far of the file `name`, by both servers.
    pub fn sent(&self, name: &str) -> u64 {
        let which = |asked: &Asked| is_for(asked, name);
        self.server.sent(which) + self.storage.sent(which)
    }

    /// `mist download org/name` in `root`, with the token in the environment.
    pub fn download(&self, root: &Path, more: &[&str]) -> Run {
        let mut command = command(&self.server.address, root, &["download", "org/name"]);
        command.args(more).env("HF_TOKEN", SECRET);
        Run::start(command)
    }

    /// The same, to its end, which must be success with all files in place.
    pub fn complete(&self, root: &Path) -> Ended {
        let ended = self.download(root, &[]).end();
        let judged = self.judge(&ended, root).and_then(|()| match ended.code {
            Some(0) => Ok(()),
            _ => Err("failed".to_string()),
        });
        assert_eq!(judged, Ok(()), "{}", ended.stderr);
        ended
    }

    /// What every run owes: it succeeds with all files in place or fails with one clear line, and whatever looks
    /// finished is right.
    pub fn judge(&self, ended: &Ended, root: &Path) -> Result<(), String> {
        ended.orderly()?;
        self.nothing_wrong(root)?;
        let missing =
            self.files.iter().filter(|f| f.name != "README.md" && !folder(root).join(f.name).is_file());
        match (ended.code, missing.map(|f| f.name).collect::<Vec<_>>()) {
            (Some(0), missing) if !missing.is_empty() => Err(format!("success without {missing:?}")),
            _ => Ok(()),
        }
    }

    /// Each file that stands under its final name is the one that was served.
    pub fn nothing_wrong(&self, root: &Path) -> Result<(), String> {
        for name in visible(&folder(root)) {
            let content = fs::read(folder(root).join(&name)).unwrap();
            match self.files.iter().find(|f| f.name == name) {
                Some(served) if *served.content == *content => {}
                Some(_) => return Err(format!("{name} looks finished and is wrong")),
                None => return Err(format!("{name} is not of the repository")),
            }
        }
        Ok(())
    }
}

/// Whether a request is for the file `name`, at whatever address.
fn is_for(asked: &Asked, name: &str) -> bool {
    asked.path.split('?').next().and_then(|path| path.rsplit('/').next()) == Some(name)
}

/// Where the files land.
pub fn folder(root: &Path) -> PathBuf {
    root.join("checkpoints/org/name")
}

/// The names in a folder, if it is there, that neither are hidden nor are the download's own notes.
pub fn visible(folder: &Path) -> Vec<String> {
    let items = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = items.map(|i| i.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|n| !n.starts_with('.') && n != "mist-download.json");
    names.sort();
    names
}

/// `mist` in `folder` against `server`, out of reach of this machine's settings.
pub fn command(server: &str, folder: &Path, arguments: &[&str]) -> Command {
    // Where it exists, downloads go there.
    fs::create_dir_all(folder.join("checkpoints")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mist"));
    command
        .args(arguments)
        .current_dir(folder)
        .env("HF_ENDPOINT", server)
        .env("HF_HOME", folder)
        .env("MIST_HOME", folder.join("mist-home"))
        .env_remove("HF_HUB_CACHE")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env_remove("HF_TOKEN")
        .env_remove("HF_HUB_OFFLINE");
    command
}

/// A run of the command.
pub struct Run {
    child: Child,
    stdout: File,
    stderr: File,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub stdout: String,
    pub stderr: String,
    /// `None` where a signal ended it.
    pub code: Option<i32>,
}

impl Run {
    pub fn start(mut command: Command) -> Self {
        // Files, not pipes: nobody reads while it runs.
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        Self { child: command.spawn().unwrap(), stdout, stderr }
    }

    /// Whether it has not ended yet.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it by kill -9, unless it has ended before.
    pub fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.end()
    }

    /// Ends it as Ctrl-C does.
    #[cfg(unix)]
    pub fn interrupt(self) -> Ended {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.end()
    }

    /// Waits for its end; one that hangs is killed, which no test takes for an end.
    pub fn end(mut self) -> Ended {
        let started = Instant::now();
        while self.runs() {
            if started.elapsed() > LONGEST_RUN {
                self.child.kill().unwrap();
            }
            thread::sleep(Duration::from_millis(2));
        }
        let text = |file: &mut File| {
            let mut bytes = Vec::new();
            file.rewind().and_then(|()| file.read_to_end(&mut bytes)).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let code = self.child.wait().unwrap().code();
        Ended { stdout: text(&mut self.stdout), stderr: text(&mut self.stderr), code }
    }
}

impl Ended {
    /// The one line that says why it failed.
    pub fn error(&self) -> Option<&str> {
        self.stderr.lines().find(|line| line.starts_with("error: "))
    }

    /// Success without an error, or failure with one line `error: …` and perhaps a hint as the last words; no panic
    /// and nothing secret.
    pub fn orderly(&self) -> Result<(), String> {
        let lines: Vec<&str> = self.stderr.lines().collect();
        let errors = lines.iter().filter(|l| l.starts_with("error:")).count();
        let hints = lines.iter().filter(|l| l.starts_with("hint:")).count();
        let last = lines.iter().rfind(|l| !l.starts_with("hint:"));
        match self.code {
            Some(0) if (errors, hints) == (0, 0) && self.stdout.lines().count() == 1 => {}
            Some(1) if errors == 1 && hints <= 1 && self.stdout.is_empty() => {
                if !last.is_some_and(|l| l.starts_with("error: ") && l.len() > "error: ".len() + 10) {
                    return Err("the error is not the last word".to_string());
                }
            }
            code => return Err(format!("ended with {code:?}, {errors} errors and {hints} hints")),
        }
        for forbidden in ["panicked", "RUST_BACKTRACE", "<html", SECRET, SIGNATURE] {
            if self.stderr.contains(forbidden) || self.stdout.contains(forbidden) {
                return Err(format!("it said {forbidden}"));
            }
        }
        Ok(())
    }
}
