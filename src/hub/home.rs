//! Where the hub's own clients keep a user's things.

use std::path::PathBuf;

use crate::environment::{self, HF_HOME, XDG_CACHE_HOME};

/// `HF_HOME`, else `huggingface` in the user's cache folder; `None` for a user without a home.
pub(super) fn home() -> Option<PathBuf> {
    if let Some(home) = environment::value(HF_HOME) {
        return Some(home.into());
    }
    let cache = match environment::value(XDG_CACHE_HOME) {
        Some(cache) => PathBuf::from(cache),
        None => std::env::home_dir()?.join(".cache"),
    };
    Some(cache.join("huggingface"))
}
