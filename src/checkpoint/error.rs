//! Errors of checkpoints, with hints for the user.

use std::io;
use std::path::{Path, PathBuf};

use crate::arch::config::Impossible;
use crate::system::files::{self, Refused};
use crate::system::hinted::Hinted;
use crate::system::quote::about;

/// An error in reading or writing a checkpoint. Every message names the file and, if there is one, the field or tensor.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{} does not exist", .0.display())]
    NoSuchPath(PathBuf),
    #[error("{} holds no checkpoint", .0.display())]
    NoCheckpoint(PathBuf),
    #[error("{} holds several GGUF files: {names}", folder.display())]
    SeveralGguf { folder: PathBuf, names: String },
    #[error("cannot read {}: {reason}", path.display())]
    Read { path: PathBuf, reason: io::Error },
    #[error("cannot write {}: {reason}", path.display())]
    Write { path: PathBuf, reason: io::Error },
    #[error("{} already exists", .0.display())]
    Exists(PathBuf),
    #[error("{} is a Git LFS pointer, not the file itself", .0.display())]
    LfsPointer(PathBuf),
    #[error("{}", about(path, rule))]
    Malformed { path: PathBuf, rule: String },
    #[error("{}: {what} is not supported", path.display())]
    Unsupported { path: PathBuf, what: String },
    #[error("{} asks for {what}; only plain tensors of a PyTorch file are read, and nothing is executed", path.display())]
    ForeignPickle { path: PathBuf, what: String },
    #[error("{}", about(path, rule))]
    Vocabulary { path: PathBuf, rule: String },
    #[error("{}", about(path, rule))]
    Config { path: PathBuf, rule: String },
    #[error("{}: {what} is not supported", path.display())]
    UnsupportedModel { path: PathBuf, what: String },
    #[error("{}: {what}", path.display())]
    NotUnderstood { path: PathBuf, what: String },
    #[error("{}: weights quantized by {method} are not supported ({field})", path.display())]
    Quantized { path: PathBuf, field: &'static str, method: String },
    #[error("{}: there are two tensors named {name}", path.display())]
    DuplicateTensor { path: PathBuf, name: String },
    #[error("{}: tensor {name} is missing", path.display())]
    MissingTensor { path: PathBuf, name: String },
    #[error("{}: tensor {name} has shape {found:?}, the config implies {expected:?}", path.display())]
    WrongShape { path: PathBuf, name: String, found: Vec<usize>, expected: Vec<usize> },
    #[error("{}: {} not used by this architecture: {}", path.display(), tensors(names.len()), few(names))]
    ExtraTensors { path: PathBuf, names: Vec<String> },
    #[error("{} holds a checkpoint in the layout {format}, which would be opened before the new one", folder.display())]
    OtherLayout { folder: PathBuf, format: &'static str },
    #[error("not enough disk space at {}: {needed} bytes are needed, {free} are free", path.display())]
    NoSpace { path: PathBuf, needed: u64, free: u64 },
}

impl Error {
    /// Returns the error for a file that breaks its format's rules.
    pub fn malformed(path: &Path, rule: impl Into<String>) -> Self {
        Error::Malformed { path: path.into(), rule: rule.into() }
    }

    /// Returns the error for a GGUF file whose tokenizer is incomplete or inconsistent. The file itself is complete, so
    /// it may have been published like this.
    pub fn vocabulary(path: &Path, rule: impl Into<String>) -> Self {
        Error::Vocabulary { path: path.into(), rule: rule.into() }
    }

    /// Returns the error for a config that is inconsistent, incomplete or beyond a limit.
    pub fn config(path: &Path, rule: impl Into<String>) -> Self {
        Error::Config { path: path.into(), rule: rule.into() }
    }

    /// Returns the error for an impossible model, whose description is in `path`.
    pub fn impossible(path: &Path) -> impl FnOnce(Impossible) -> Self + '_ {
        move |rule| Error::config(path, rule.to_string())
    }

    /// Returns the error for a feature that this program does not support.
    pub fn unsupported(path: &Path, what: impl Into<String>) -> Self {
        Error::Unsupported { path: path.into(), what: what.into() }
    }

    /// Returns the error for a kind of model that this program does not run.
    pub fn unsupported_model(path: &Path, what: impl Into<String>) -> Self {
        Error::UnsupportedModel { path: path.into(), what: what.into() }
    }

    /// Returns the error for an unknown setting that may change what the weights compute. `what` ends with "is not
    /// understood".
    pub fn not_understood(path: &Path, what: impl Into<String>) -> Self {
        Error::NotUnderstood { path: path.into(), what: what.into() }
    }

    /// Returns the error for a file that cannot be read.
    pub fn read(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| match files::explained(path, error) {
            error if error.kind() == io::ErrorKind::NotFound => Error::NoSuchPath(path.into()),
            reason => Error::Read { path: path.into(), reason },
        }
    }

    /// Returns the error for a file that cannot be written.
    pub fn write(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |reason| Error::Write { path: path.into(), reason }
    }

    /// Returns why this program refuses to read or write an existing file, if that is the error.
    pub fn refused(&self) -> Option<Refused> {
        match self {
            Error::Read { reason, .. } | Error::Write { reason, .. } => Refused::inside(reason),
            _ => None,
        }
    }
}

impl Hinted for Error {
    fn is_wrong_call(&self) -> bool {
        matches!(self, Error::SeveralGguf { .. })
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::NoSuchPath(_) | Error::NoCheckpoint(_) => Some(
                "fetch one with `mist download ORG/NAME`, or give a folder with config.json and *.safetensors, or a .gguf file"
                    .into(),
            ),
            Error::SeveralGguf { folder, .. } => {
                Some(format!("name one of them: {}/FILE.gguf", folder.display()))
            }
            Error::LfsPointer(_) => Some("fetch it with `git lfs pull`, or all with `mist download`".into()),
            Error::OtherLayout { .. } => Some("write to another folder".into()),
            Error::Write { reason, .. } if reason.kind() == io::ErrorKind::PermissionDenied => {
                Some("write to another folder".into())
            }
            Error::Read { reason, .. } | Error::Write { reason, .. } => reason.hint(),
            Error::Exists(_) => Some("write to another folder, or overwrite it".into()),
            Error::ForeignPickle { .. } => Some("look for the same model as *.safetensors".into()),
            Error::Malformed { .. } | Error::MissingTensor { .. } => {
                Some("the file may be incomplete: fetch it again with `mist download`".into())
            }
            Error::Vocabulary { .. } => Some(crate::text::NEW_GGUF.into()),
            Error::Config { .. } => Some(
                "`mist download` fetches it again; if the repository's own file is the same, please report its name".into(),
            ),
            Error::NotUnderstood { .. } | Error::UnsupportedModel { .. } => Some(
                "it may be a newer kind of model: `mist download` lists those that run; if this one should, please report its name"
                    .into(),
            ),
            Error::Quantized { .. } => {
                Some("look for the same model unquantized, or as a .gguf file".into())
            }
            _ => None,
        }
    }
}

fn tensors(count: usize) -> String {
    match count {
        1 => "1 tensor is".into(),
        n => format!("{n} tensors are"),
    }
}

/// Formats the first three names of a list.
fn few(names: &[String]) -> String {
    let shown = names.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > 3 { format!("{shown}, …") } else { shown }
}
