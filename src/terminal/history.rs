//! Where the editor keeps what was typed. Nothing here is worth failing a chat for.

use std::io;
use std::path::{Path, PathBuf};

use crate::environment;
use crate::system::files;

/// How many messages are kept.
pub(super) const ENTRIES: usize = 1000;

/// `mist/history` in the user's state folder, if there is one: `$XDG_STATE_HOME`, else `~/.local/state`;
/// on Windows `%LOCALAPPDATA%`.
pub(super) fn path() -> Option<PathBuf> {
    let folder = match cfg!(windows) {
        true => environment::value(environment::LOCALAPPDATA).map(PathBuf::from)?,
        false => state_folder(environment::value(environment::XDG_STATE_HOME), std::env::home_dir())?,
    };
    Some(folder.join("mist").join("history"))
}

/// The XDG base directory specification has relative values ignored.
fn state_folder(xdg: Option<String>, home: Option<PathBuf>) -> Option<PathBuf> {
    xdg.map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .or_else(|| home.filter(|h| h.is_absolute()).map(|h| h.join(".local").join("state")))
}

/// The largest history that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// Makes the folder of `file`, for this user only, and sees that what there is can be read. (The file itself rustyline
/// opens by its name, and creates with mode 0600.)
pub(super) fn prepare(file: &Path) -> io::Result<()> {
    let Some(folder) = file.parent() else {
        return Ok(());
    };
    files::make_private(folder)?;
    match files::stream(file, LARGEST) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_state_folder_is_xdgs_if_absolute_else_under_home() {
        let home = || Some(PathBuf::from("/home/a"));
        assert_eq!(state_folder(Some("/s".into()), home()), Some("/s".into()));
        assert_eq!(state_folder(Some("s".into()), home()), Some("/home/a/.local/state".into()));
        assert_eq!(state_folder(None, home()), Some("/home/a/.local/state".into()));
        assert_eq!(state_folder(None, None), None);
    }

    #[test]
    fn the_folder_is_for_its_user_only() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("mist").join("history");
        prepare(&file).unwrap();
        let mode = file.parent().unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_history_that_is_no_file_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("history");
        std::fs::write(&file, "#V2\nhi\n").unwrap();
        prepare(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        assert!(prepare(&file).is_err());
    }
}
