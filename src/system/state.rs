//! The folder for state that the program keeps between runs.

use std::path::PathBuf;

use super::environment;

/// Returns `mist` in the user's state folder, if there is one: `$XDG_STATE_HOME`, else `~/.local/state`; on Windows
/// `%LOCALAPPDATA%`. The folder may not exist yet.
pub fn folder() -> Option<PathBuf> {
    let folder = match cfg!(windows) {
        true => environment::value(environment::LOCALAPPDATA).map(PathBuf::from)?,
        false => state_folder(environment::value(environment::XDG_STATE_HOME), std::env::home_dir())?,
    };
    Some(folder.join("mist"))
}

/// Returns the XDG state folder. The XDG base directory specification requires that relative values are ignored.
fn state_folder(xdg: Option<String>, home: Option<PathBuf>) -> Option<PathBuf> {
    xdg.map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .or_else(|| home.filter(|h| h.is_absolute()).map(|h| h.join(".local").join("state")))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_is_xdgs_if_absolute_else_under_home() {
        let home = || Some(PathBuf::from("/home/a"));
        assert_eq!(state_folder(Some("/s".into()), home()), Some("/s".into()));
        assert_eq!(state_folder(Some("s".into()), home()), Some("/home/a/.local/state".into()));
        assert_eq!(state_folder(None, home()), Some("/home/a/.local/state".into()));
        assert_eq!(state_folder(None, None), None);
    }
}
