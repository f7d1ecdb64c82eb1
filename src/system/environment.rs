//! The environment variables that `mist` reads.

use std::path::PathBuf;

/// Access token for gated or private repositories of the hub.
pub const HF_TOKEN: &str = "HF_TOKEN";
/// Folder in which the hub's own clients keep their token and cache; default `~/.cache/huggingface`.
pub const HF_HOME: &str = "HF_HOME";
/// Folder in which the hub's own clients keep downloads; default `HF_HOME/hub`.
pub const HF_HUB_CACHE: &str = "HF_HUB_CACHE";
/// Folder in which a user's programs cache what can be fetched again (XDG base directories); default `~/.cache`.
pub const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
/// Folder in which models and conversions are kept; default `mist` in the platform's folder for user data.
pub const MIST_HOME: &str = "MIST_HOME";
/// Base address of the hub, for mirrors; default `https://huggingface.co`.
pub const HF_ENDPOINT: &str = "HF_ENDPOINT";
/// Forbids all downloads when set to a true value.
pub const HF_HUB_OFFLINE: &str = "HF_HUB_OFFLINE";
/// Turns colour off when set and not empty.
pub const NO_COLOR: &str = "NO_COLOR";
/// The proxy of requests to https addresses. The lower-case names of the three proxy variables work too.
pub const HTTPS_PROXY: &str = "HTTPS_PROXY";
/// The proxy of requests to http addresses.
pub const HTTP_PROXY: &str = "HTTP_PROXY";
/// The proxy of requests for which neither of the two above is set.
pub const ALL_PROXY: &str = "ALL_PROXY";
/// The kind of terminal; a `dumb` terminal gets no colour and no progress bars.
pub const TERM: &str = "TERM";
/// Folder in which a user's programs keep state between runs (XDG base directories); default `~/.local/state`.
pub const XDG_STATE_HOME: &str = "XDG_STATE_HOME";
/// Folder in which a user's programs keep state on Windows.
pub const LOCALAPPDATA: &str = "LOCALAPPDATA";
/// Forces one set of CPU kernels: `portable`, `neon`, `avx2`, `avxvnni`, `avx512` or `amx`.
pub const MIST_CPU: &str = "MIST_CPU";

/// The variables that a user may want to set, with their descriptions for the manual.
pub const MANUAL: [(&str, &str); 11] = [
    (MIST_HOME, "Where models and conversions are kept; mist in the platform's folder for data by default."),
    (HF_TOKEN, "The hub's access token."),
    (HF_HOME, "The folder of the hub's own tools, which may hold an access token."),
    (HF_HUB_CACHE, "The hub's own cache, which is only read; hub in HF_HOME by default."),
    (
        XDG_CACHE_HOME,
        "The folder of caches, with the hub's own in huggingface/hub if neither is set; ~/.cache by default.",
    ),
    (HF_ENDPOINT, "A mirror of the hub; https://huggingface.co by default."),
    (HF_HUB_OFFLINE, "When 1, true, yes or on, nothing is downloaded."),
    (NO_COLOR, "When set, turns colour off."),
    (
        MIST_CPU,
        "The CPU kernels to use: portable, neon, avx2, avxvnni, avx512 or amx; the best of them by default.",
    ),
    (
        XDG_STATE_HOME,
        "Where the chat's history and conversations are kept, in mist; ~/.local/state by default.",
    ),
    (LOCALAPPDATA, "Replaces XDG_STATE_HOME on Windows."),
];

/// Returns the value of a variable, if it is set and not empty.
pub fn value(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// Returns the path that a variable holds, which need not be UTF-8, if it is set and not empty.
pub fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// Returns whether a variable is set to a true value (`1`, `true`, `yes`, `on`; any case), as in the hub's clients.
pub fn is_true(name: &str) -> bool {
    value(name).is_some_and(|v| ["1", "true", "yes", "on"].contains(&v.to_ascii_lowercase().as_str()))
}
