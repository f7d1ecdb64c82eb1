//! The file with the editor's history. Its errors never end a chat.

use std::io;
use std::path::{Path, PathBuf};

use crate::system::{files, state};

/// Maximum number of messages in the history.
pub(super) const ENTRIES: usize = 1000;

/// Returns the path of the history in the state folder; `None` if there is no such folder.
pub(super) fn path() -> Option<PathBuf> {
    Some(state::folder()?.join("history"))
}

/// Size limit for reading the history, in bytes.
const LARGEST: u64 = 64 << 20;

/// Creates the folder of `file`, private to this user, and checks that an existing file is readable.
///
/// rustyline opens the file itself by its name, and creates it with mode 0600.
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
    fn the_folder_is_for_its_user_only() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("mist").join("history");
        prepare(&file).unwrap();
        let mode = file.parent().unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_history_that_is_not_a_regular_file_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("history");
        std::fs::write(&file, "#V2\nhi\n").unwrap();
        prepare(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        assert!(prepare(&file).is_err());
    }
}
