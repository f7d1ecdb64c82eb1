//! The error type of the library's API.

use std::io;
use std::path::PathBuf;

use crate::chat::{ConversationError, FitError};
use crate::cpu::UnknownLevel;
use crate::generate::{GenerationError, SamplingError};
use crate::quant::Scheme;
use crate::system::hinted::Hinted;
use crate::system::quote::{counted, quoted};
use crate::{checkpoint, hub, placement, text};

/// An error in finding, opening, converting or running a model. Errors of other modules are passed through. An error
/// whose text a message contains is a `reason` and no [`source`](std::error::Error::source), so that a chain shows it
/// once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Error {
    #[error("there is no file, folder or checkpoint {}", quoted(typed))]
    Unknown { typed: String, hint: String },
    #[error("{asked} is not on this machine")]
    NotHere { asked: String },
    #[error("{asked} is not on this machine")]
    OtherLetters { asked: String, here: String },
    #[error("{asked} is not on this machine, and HF_HUB_OFFLINE is set: nothing is fetched")]
    Offline { asked: String },
    #[error("{asked} was downloaded, but is not found")]
    Vanished { asked: String },
    #[error("there is no checkpoint on this machine{}", if *offline { ", and HF_HUB_OFFLINE is set: nothing is fetched" } else { "" })]
    NoCheckpoints { offline: bool },
    #[error("there are {} checkpoints on this machine: {}", names.len(), names.join(", "))]
    Several { names: Vec<String> },
    #[error("there is no scheme {variant}, and {name} has no GGUF file of that name")]
    NoScheme { name: String, variant: String },
    #[error("{name} on this machine is not known to be {revision}")]
    OtherRevision { name: String, revision: String },
    #[error("the model is named with one scheme, and the settings name another")]
    TwoSchemes,
    #[error("{repository} has {} GGUF files: {}", files.len(), files.join(", "))]
    SeveralGguf { repository: String, files: Vec<String>, variant: Option<String> },
    #[error("{repository} has no GGUF file {variant}, only {}", files.join(", "))]
    NoGguf { repository: String, variant: String, files: Vec<String> },
    #[error("there is no folder for models: neither HOME nor MIST_HOME is set")]
    NoHome,
    #[error("{name} has no conversion to {scheme}")]
    NoConversion { name: String, scheme: Scheme },
    #[error("{} has no conversion to {scheme} to plan with", path.display())]
    NotPlanned { path: PathBuf, scheme: Scheme },
    #[error("{name} is read-only, and there is no folder for its conversion")]
    NoPlace { name: String },
    #[error("{reason}")]
    InTheWay { folder: PathBuf, reason: Box<checkpoint::Error> },
    #[error("{} opens as another checkpoint: nothing was deleted", .0.display())]
    OpensAsAnother(PathBuf),
    #[error("cannot delete {}: {reason}", path.display())]
    Delete { path: PathBuf, reason: io::Error },
    #[error("{} is partly updated to {snapshot}: {file} is still the old version", folder.display())]
    HalfDownloaded { folder: PathBuf, snapshot: String, file: String, repository: String },
    /// [`Report::is_stopped`](super::Report::is_stopped) returned `true`.
    #[error("interrupted")]
    Interrupted,
    #[error("a KV cache of q8_0 is only supported on the CPU")]
    CacheOnAccelerator,
    #[error("the context cannot have {}, the model's has {context}", counted(*asked, "token"))]
    Context { asked: usize, context: usize },
    #[error("{asked} threads, at most {most} are possible")]
    Threads { asked: usize, most: usize },
    #[error("{} in one window, the model's context is {context}", counted(*tokens, "token"))]
    Window { tokens: usize, context: usize, asked: bool },
    #[error("{}, at least 2 are needed", counted(*tokens, "token"))]
    NothingToScore { tokens: usize },
    #[error("the model gave likelihoods that are not numbers")]
    NotNumbers { narrow_cache: bool },
    #[error("{}: the embedding has {rows} rows, none for tokens that texts lead to: {tokens}", folder.display())]
    NoRows { folder: PathBuf, rows: usize, tokens: String },
    #[error("{}: {reason}", path.display())]
    GgufTokenizer { path: PathBuf, reason: Box<text::Error> },
    #[error(transparent)]
    Cpu(#[from] UnknownLevel),
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    #[error(transparent)]
    Text(#[from] text::Error),
    #[error(transparent)]
    Hub(#[from] hub::Error),
    #[error(transparent)]
    Placement(#[from] placement::Error),
    #[error("{reason}")]
    Generation { reason: GenerationError, narrow_cache: bool },
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    #[error(transparent)]
    Fit(#[from] FitError<text::Error>),
}

impl Error {
    /// Returns what the user can do about the error, if anything.
    pub fn hint(&self) -> Option<String> {
        Hinted::hint(self)
    }
}

impl Hinted for Error {
    fn is_wrong_call(&self) -> bool {
        match self {
            Self::OtherLetters { .. }
            | Self::NoCheckpoints { .. }
            | Self::Several { .. }
            | Self::NoScheme { .. }
            | Self::OtherRevision { .. }
            | Self::TwoSchemes
            | Self::SeveralGguf { .. }
            | Self::CacheOnAccelerator
            | Self::Threads { .. }
            | Self::Context { .. } => true,
            Self::Window { asked, .. } => *asked,
            Self::Checkpoint(error) => error.is_wrong_call(),
            Self::Hub(error) => error.is_wrong_call(),
            Self::Placement(error) => error.is_wrong_call(),
            Self::Sampling(error) => error.is_wrong_call(),
            _ => false,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown { hint, .. } => hint.clone(),
            Self::NotHere { asked } => format!("`mist download {asked}` fetches it"),
            Self::OtherLetters { here, .. } => format!("did you mean {here}?"),
            Self::Offline { .. } => "`mist list` shows what is on this machine".into(),
            Self::NoCheckpoints { offline: true } => "name the folder of one".into(),
            Self::NoCheckpoints { offline: false } => {
                "`mist download --starter` fetches a small one (98 MB), `mist download` lists others".into()
            }
            Self::Several { names } => format!("name one, such as {}", names.first()?),
            Self::NoScheme { .. } => "`mist convert --help` lists the schemes".into(),
            Self::OtherRevision { name, revision } => {
                format!("`mist download {name} --revision {revision}` fetches it; then name it without")
            }
            Self::TwoSchemes => "leave one of them out".into(),
            Self::SeveralGguf { repository, files, variant } => match variant {
                Some(first) => format!("name one by its quantization: {repository}:{first}"),
                None => format!("`mist download {repository} --file {}` fetches one", files.first()?),
            },
            Self::NoHome => "set MIST_HOME to a folder, or make the folder checkpoints here".into(),
            Self::NoConversion { name, scheme } => format!("`mist convert {name}:{scheme}` makes it"),
            Self::NotPlanned { scheme, .. } => {
                format!("opening the model with {scheme} makes and keeps it")
            }
            Self::NoPlace { .. } => "set MIST_HOME to a folder".into(),
            Self::InTheWay { folder, .. } => format!("delete or rename {}", folder.display()),
            Self::HalfDownloaded { repository, .. } => {
                format!("`mist download {repository}` fetches the rest")
            }
            Self::CacheOnAccelerator => "choose f16".into(),
            Self::Context { context, .. } | Self::Window { context, .. } => {
                format!("at most {}", counted(*context, "token"))
            }
            Self::NotNumbers { narrow_cache }
            | Self::Generation {
                reason: GenerationError::Sampling(SamplingError::NotNumbers),
                narrow_cache,
            } => not_numbers(*narrow_cache),
            Self::GgufTokenizer { reason, .. } => return reason.hint(),
            Self::Delete { reason, .. } => return reason.hint(),
            Self::Cpu(error) => return error.hint(),
            Self::Text(error) => return error.hint(),
            Self::Checkpoint(error) => return error.hint(),
            Self::Hub(error) => return error.hint(),
            Self::Placement(error) => return error.hint(),
            Self::Conversation(error) => return error.hint(),
            Self::Fit(error) => return error.hint(),
            _ => return None,
        })
    }
}

/// Returns the hint for logits that are not numbers. An f16 cache holds no keys and values beyond 65504. A q8_0 cache has
/// f16 scales with the same limit.
fn not_numbers(narrow_cache: bool) -> String {
    let verify = "`mist inspect --verify` finds damaged weights";
    match narrow_cache {
        true => {
            format!("a cache of bf16 holds keys and values beyond 65504, which f16 does not; {verify}")
        }
        false => format!("f32 holds the largest numbers; {verify}"),
    }
}
