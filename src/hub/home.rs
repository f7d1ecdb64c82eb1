//! The home folder of the hub's own clients.

use std::path::PathBuf;

use crate::system::environment::{self, HF_HOME, XDG_CACHE_HOME};

/// Returns the home folder: `HF_HOME`, else `huggingface` in the user's cache folder; `None` for a user without a home.
pub(super) fn home() -> Option<PathBuf> {
    if let Some(home) = environment::path(HF_HOME) {
        return Some(home);
    }
    let cache = match environment::path(XDG_CACHE_HOME) {
        Some(cache) => cache,
        None => std::env::home_dir()?.join(".cache"),
    };
    Some(cache.join("huggingface"))
}
