//! The environment variables that `mist` reads, all of them, in one place.

use std::path::PathBuf;

/// Access token for gated or private repositories of the hub.
pub const HF_TOKEN: &str = "HF_TOKEN";
/// Where the hub's own clients keep their token and cache; default `~/.cache/huggingface`.
pub const HF_HOME: &str = "HF_HOME";
/// Where the hub's own clients keep what they fetched; default `HF_HOME/hub`.
pub const HF_HUB_CACHE: &str = "HF_HUB_CACHE";
/// Where a user's programs cache what can be fetched again (XDG base directories); default `~/.cache`.
pub const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
/// Where models and conversions are kept; default `mist` in the platform's folder for a user's data.
pub const MIST_HOME: &str = "MIST_HOME";
/// Base address of the hub, for mirrors; default `https://huggingface.co`.
pub const HF_ENDPOINT: &str = "HF_ENDPOINT";
/// When set to a true value, nothing is fetched.
pub const HF_HUB_OFFLINE: &str = "HF_HUB_OFFLINE";
/// When set and not empty, output has no colour.
pub const NO_COLOR: &str = "NO_COLOR";
/// The proxy of requests to https addresses; this and the two below also in lower case.
pub const HTTPS_PROXY: &str = "HTTPS_PROXY";
/// The proxy of requests to http addresses.
pub const HTTP_PROXY: &str = "HTTP_PROXY";
/// The proxy of all requests that have none of their own.
pub const ALL_PROXY: &str = "ALL_PROXY";
/// The kind of terminal; a `dumb` one gets no colour and no progress bars.
pub const TERM: &str = "TERM";
/// Where a user's programs keep state between runs (XDG base directories); default `~/.local/state`.
pub const XDG_STATE_HOME: &str = "XDG_STATE_HOME";
/// The same on Windows.
pub const LOCALAPPDATA: &str = "LOCALAPPDATA";
/// Forces one CPU kernel set: `portable`, `neon`, `avx2`, `avxvnni`, `avx512` or `amx`.
pub const MIST_CPU: &str = "MIST_CPU";

/// The value of a variable, if it is set to something that is not empty.
pub fn value(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// The path that a variable holds, whatever its bytes are, if it is set to something that is not empty.
pub fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// Whether a variable is set to a true value (`1`, `true`, `yes`, `on`; any case), as the hub's clients read them.
pub fn is_true(name: &str) -> bool {
    value(name).is_some_and(|v| ["1", "true", "yes", "on"].contains(&v.to_ascii_lowercase().as_str()))
}
