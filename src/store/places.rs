//! The places in which checkpoints are stored.

use std::path::PathBuf;

use crate::hub::HubCache;
use crate::system::environment::{self, LOCALAPPDATA, MIST_HOME};

/// Name of the folder of checkpoints in the current folder.
const CHECKPOINTS: &str = "checkpoints";

/// The places of checkpoints and conversions on this machine.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) checkpoints: PathBuf,
    /// `None` for a user without a home folder.
    home: Option<PathBuf>,
    pub(super) cache: Option<HubCache>,
}

/// A place in which checkpoints are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `./checkpoints`.
    Checkpoints,
    /// `MIST_HOME/models`.
    Home,
    /// The hub's own cache, which is never written to.
    HubCache,
}

impl Store {
    /// Returns the store with the places that the environment variables name.
    pub fn from_environment() -> Self {
        Self { checkpoints: CHECKPOINTS.into(), home: home(), cache: HubCache::from_environment() }
    }

    /// Returns the hub's own cache.
    pub fn cache(&self) -> Option<&HubCache> {
        self.cache.as_ref()
    }

    /// Returns the folder for downloads, each of which goes to `ORG/NAME` in it: `./checkpoints` if it exists, and
    /// otherwise `MIST_HOME/models`. Returns `None` for a user without a home folder.
    pub fn downloads(&self) -> Option<PathBuf> {
        if self.checkpoints.is_dir() { Some(self.checkpoints.clone()) } else { self.models() }
    }

    /// Returns `MIST_HOME/models`.
    pub(super) fn models(&self) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join("models"))
    }

    /// Returns a place's folder.
    pub fn root(&self, place: Place) -> Option<PathBuf> {
        match place {
            Place::Checkpoints => Some(self.checkpoints.clone()),
            Place::Home => self.models(),
            Place::HubCache => Some(self.cache.as_ref()?.root().to_path_buf()),
        }
    }

    /// Returns `MIST_HOME/conversions`.
    pub(super) fn conversions_root(&self) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join("conversions"))
    }
}

/// Returns `MIST_HOME`, or `mist` in the platform's folder for user data: `~/.local/share` (or `XDG_DATA_HOME`),
/// `~/Library/Application Support`, `%LOCALAPPDATA%`.
fn home() -> Option<PathBuf> {
    if let Some(home) = environment::path(MIST_HOME) {
        return Some(home);
    }
    if cfg!(windows) {
        // Etcetera returns the roaming folder, which is copied from machine to machine: models are too large for it.
        return Some(environment::path(LOCALAPPDATA)?.join("mist"));
    }
    use etcetera::BaseStrategy;
    Some(etcetera::base_strategy::choose_native_strategy().ok()?.data_dir().join("mist"))
}
