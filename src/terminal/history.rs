//! Where the editor keeps what was typed. Nothing here is worth failing a chat for.

use std::io;
use std::path::{Path, PathBuf};

use crate::system::{files, state};

/// How many messages are kept.
pub(super) const ENTRIES: usize = 1000;

/// `history` in the folder for what is kept between runs, if there is one.
pub(super) fn path() -> Option<PathBuf> {
    Some(state::folder()?.join("history"))
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
