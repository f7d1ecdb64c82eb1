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
pub enum Error {
    /// A model's name is not a path that exists, and not a name that a repository can have.
    #[error("there is no file, folder or checkpoint {}", quoted(typed))]
    Unknown {
        /// The name.
        typed: String,
        /// Its probable meaning, or where names are listed.
        hint: String,
    },
    /// A repository is not on this machine. The library downloads nothing.
    #[error("{asked} is not on this machine")]
    NotHere {
        /// The repository, `ORG/NAME` or `ORG/NAME:VARIANT`.
        asked: String,
    },
    /// A repository is not on this machine, but one with the same name in other capitals is.
    #[error("{asked} is not on this machine")]
    OtherLetters {
        /// The name that was asked for.
        asked: String,
        /// The name on this machine.
        here: String,
    },
    /// A repository is not on this machine, and `HF_HUB_OFFLINE` forbids its download.
    #[error("{asked} is not on this machine, and HF_HUB_OFFLINE is set: nothing is fetched")]
    Offline {
        /// The repository, `ORG/NAME` or `ORG/NAME:VARIANT`.
        asked: String,
    },
    /// A model was downloaded, but a search does not find it. Another program may have removed it.
    #[error("{asked} was downloaded, but is not found")]
    Vanished {
        /// The model's name.
        asked: String,
    },
    /// No model was named, and there is none on this machine.
    #[error("there is no checkpoint on this machine{}", if *offline { ", and HF_HUB_OFFLINE is set: nothing is fetched" } else { "" })]
    NoCheckpoints {
        /// Whether `HF_HUB_OFFLINE` forbids downloads.
        offline: bool,
    },
    /// No model was named, and there are several on this machine.
    #[error("there are {} checkpoints on this machine: {}", names.len(), names.join(", "))]
    Several {
        /// Their names.
        names: Vec<String>,
    },
    /// The variant in a name `NAME:VARIANT` is neither a quantization scheme nor a GGUF file of the model.
    #[error("there is no scheme {variant}, and {name} has no GGUF file of that name")]
    NoScheme {
        /// The model's name.
        name: String,
        /// The variant.
        variant: String,
    },
    /// A URL names a revision, and the model on this machine is of another or of an unknown one.
    #[error("{name} on this machine is not known to be {revision}")]
    OtherRevision {
        /// The model's name.
        name: String,
        /// The revision of the URL.
        revision: String,
    },
    /// The model's name and [`Builder::quantize`](super::Builder::quantize) select different weights.
    #[error("the model is named with one scheme, and the settings name another")]
    TwoSchemes,
    /// A repository to download has several GGUF files, and none was chosen.
    #[error("{repository} has {} GGUF files: {}", files.len(), files.join(", "))]
    SeveralGguf {
        /// The repository.
        repository: String,
        /// The names of the files.
        files: Vec<String>,
        /// The variant of the first of them, such as `Q4_K_M`, if its name has one.
        variant: Option<String>,
    },
    /// A repository to download has GGUF files, and none of the requested variant.
    #[error("{repository} has no GGUF file {variant}, only {}", files.join(", "))]
    NoGguf {
        /// The repository.
        repository: String,
        /// The requested variant.
        variant: String,
        /// The names of its GGUF files.
        files: Vec<String>,
    },
    /// There is no folder for downloads: the user has no home, and there is no folder `checkpoints`.
    #[error("there is no folder for models: neither HOME nor MIST_HOME is set")]
    NoHome,
    /// A conversion that must exist does not.
    #[error("{name} has no conversion to {scheme}")]
    NoConversion {
        /// The model's name.
        name: String,
        /// The scheme of the conversion.
        scheme: Scheme,
    },
    /// A placement is to be planned for a conversion that does not exist yet.
    #[error("{} has no conversion to {scheme} to plan with", path.display())]
    NotPlanned {
        /// The checkpoint.
        path: PathBuf,
        /// The scheme of the conversion.
        scheme: Scheme,
    },
    /// A checkpoint is in the hub's own cache, which is only read, and the user has no folder for conversions.
    #[error("{name} is read-only, and there is no folder for its conversion")]
    NoPlace {
        /// The model's name.
        name: String,
    },
    /// The folder for a conversion holds something that is not an earlier version of it.
    #[error("{reason}")]
    InTheWay {
        /// The folder.
        folder: PathBuf,
        /// The error of writing there.
        reason: Box<checkpoint::Error>,
    },
    /// A conversion was written, but its folder opens as a checkpoint of another layout. The originals are kept.
    #[error("{} opens as another checkpoint: nothing was deleted", .0.display())]
    OpensAsAnother(PathBuf),
    /// A file of the originals cannot be deleted after a conversion.
    #[error("cannot delete {}: {reason}", path.display())]
    Delete {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// An update of a download was interrupted, so that the folder has files of two commits.
    #[error("{} is partly updated to {snapshot}: {file} is still the old version", folder.display())]
    HalfDownloaded {
        /// The folder.
        folder: PathBuf,
        /// The repository and the commit of the update.
        snapshot: String,
        /// The name of a file of the earlier commit.
        file: String,
        /// The repository.
        repository: String,
    },
    /// [`Report::is_stopped`](super::Report::is_stopped) returned `true`.
    #[error("interrupted")]
    Interrupted,
    /// [`Builder::cache`](super::Builder::cache) is q8_0, and a device is not the CPU.
    #[error("a KV cache of q8_0 is only supported on the CPU")]
    CacheOnAccelerator,
    /// [`Builder::context`](super::Builder::context) is 0 or longer than the model's context.
    #[error("the context cannot have {}, the model's has {context}", counted(*asked, "token"))]
    Context {
        /// The requested number of tokens.
        asked: usize,
        /// Tokens of the model's context.
        context: usize,
    },
    /// [`Builder::threads`](super::Builder::threads) exceeds the limit.
    #[error("{asked} threads, at most {most} are possible")]
    Threads {
        /// The requested number of threads.
        asked: usize,
        /// The limit.
        most: usize,
    },
    /// A text to score is longer than the model's context.
    #[error("{} in one window, the model's context is {context}", counted(*tokens, "token"))]
    Window {
        /// Tokens of the window.
        tokens: usize,
        /// Tokens of the model's context.
        context: usize,
        /// Whether the caller chose the length of the window.
        asked: bool,
    },
    /// A text to score is too short: its first token is not scored.
    #[error("{}, at least 2 are needed", counted(*tokens, "token"))]
    NothingToScore {
        /// Tokens of the text.
        tokens: usize,
    },
    /// The likelihood of a text is NaN or infinite: weights are damaged, or a type has too small a range.
    #[error("the model gave likelihoods that are not numbers")]
    NotNumbers {
        /// Whether the KV cache has the range of f16.
        narrow_cache: bool,
    },
    /// Plain text may encode to tokens that the embedding has no row for: the tokenizer is that of another model.
    #[error("{}: the embedding has {rows} rows, none for tokens that texts lead to: {tokens}", folder.display())]
    NoRows {
        /// The checkpoint's folder.
        folder: PathBuf,
        /// Rows of the embedding.
        rows: usize,
        /// The first of these tokens, with their ids.
        tokens: String,
    },
    /// The tokenizer in a GGUF file cannot be used.
    #[error("{}: {reason}", path.display())]
    GgufTokenizer {
        /// The file.
        path: PathBuf,
        /// The tokenizer's error.
        reason: Box<text::Error>,
    },
    /// `MIST_CPU` names no kernels, or kernels that this processor does not have.
    #[error(transparent)]
    Cpu(#[from] UnknownLevel),
    /// A file of a checkpoint cannot be read, written or understood.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// A tokenizer cannot be read, or cannot encode a text or a conversation.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// A download failed, or the record of one cannot be read.
    #[error(transparent)]
    Hub(#[from] hub::Error),
    /// The devices do not exist, have too little memory, contradict the settings, or report an error.
    #[error(transparent)]
    Placement(#[from] placement::Error),
    /// A text cannot be generated or scored.
    #[error("{reason}")]
    Generation {
        /// The engine's error.
        reason: GenerationError,
        /// Whether the KV cache has the range of f16.
        narrow_cache: bool,
    },
    /// A sampling setting is out of its range.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// A conversation cannot be changed like this, such as [`Chat::retry`](super::Chat::retry) before the first message.
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    /// The system prompt and the newest message do not fit into the context, even without earlier turns.
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
            Self::CacheOnAccelerator => "choose a cache of f16".into(),
            Self::Context { context, .. } | Self::Window { context, .. } => {
                format!("choose a context of at most {}", counted(*context, "token"))
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
