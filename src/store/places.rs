//! The places in which checkpoints lie.

use std::path::PathBuf;

use crate::hub::HubCache;
use crate::system::environment::{self, LOCALAPPDATA, MIST_HOME};

/// The folder of checkpoints in the current folder.
const CHECKPOINTS: &str = "checkpoints";

/// Where checkpoints lie on this machine.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) checkpoints: PathBuf,
    /// None for a user without a home.
    home: Option<PathBuf>,
    pub(super) cache: Option<HubCache>,
}

/// One of the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `./checkpoints`.
    Checkpoints,
    /// `MIST_HOME/models`.
    Home,
    /// The hub's own cache, which is only read.
    HubCache,
}

impl Store {
    /// The places that the environment names.
    pub fn from_environment() -> Self {
        Self { checkpoints: CHECKPOINTS.into(), home: home(), cache: HubCache::from_environment() }
    }

    /// The same with another folder in the place of `./checkpoints`.
    pub fn with_checkpoints(self, checkpoints: PathBuf) -> Self {
        Self { checkpoints, ..self }
    }

    /// The hub's own cache.
    pub fn cache(&self) -> Option<&HubCache> {
        self.cache.as_ref()
    }

    /// The folder that downloads go to, each to `ORG/NAME` in it: `./checkpoints` where that exists, else
    /// `MIST_HOME/models`; `None` for a user without a home.
    pub fn downloads(&self) -> Option<PathBuf> {
        if self.checkpoints.is_dir() { Some(self.checkpoints.clone()) } else { self.models() }
    }

    /// `MIST_HOME/models`.
    pub(super) fn models(&self) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join("models"))
    }

    /// A place's folder.
    pub fn root(&self, place: Place) -> Option<PathBuf> {
        match place {
            Place::Checkpoints => Some(self.checkpoints.clone()),
            Place::Home => self.models(),
            Place::HubCache => Some(self.cache.as_ref()?.root().to_path_buf()),
        }
    }

    /// `MIST_HOME/conversions`.
    pub(super) fn conversions_root(&self) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join("conversions"))
    }
}

/// `MIST_HOME`, else `mist` in the platform's folder for a user's data: `~/.local/share` (or `XDG_DATA_HOME`),
/// `~/Library/Application Support`, `%LOCALAPPDATA%`.
fn home() -> Option<PathBuf> {
    if let Some(home) = environment::path(MIST_HOME) {
        return Some(home);
    }
    if cfg!(windows) {
        // Etcetera names the folder that follows a user from machine to machine: too small for models.
        return Some(environment::path(LOCALAPPDATA)?.join("mist"));
    }
    use etcetera::BaseStrategy;
    Some(etcetera::base_strategy::choose_native_strategy().ok()?.data_dir().join("mist"))
}
