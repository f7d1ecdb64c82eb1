//! Saves conversations automatically, one file each: `2026-12-01_00-29-06_Ab3dEf_ORG--NAME.json`, from the start time,
//! random letters and digits, and the model.
//!
//! Chats that run at the same time have separate files. Two chats that continue the same conversation do not overwrite
//! each other: a chat that finds its file changed begins a new one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rand::Rng;
use rand::distr::Alphanumeric;

use super::conversation::Conversation;
use super::file::{self, FileError, LARGEST_FILE};
use crate::system::files::{self, Claim, Folder};
use crate::system::quote::counted;
use crate::system::state;

/// Maximum number of conversations; the least recently changed one is deleted first.
pub const MOST_CONVERSATIONS: usize = 100;

/// Number of random letters and digits in a file's name.
const DRAWN: usize = 6;
/// Maximum characters of the model's name in a file's name.
const LONGEST_MODEL: usize = 100;
/// Number of attempts to take another chat's lock, ten per second, before saving without it. A chat holds the lock for
/// one save.
const TRIES: usize = 20;

/// Saves the current conversation whenever it changes.
#[derive(Debug)]
pub struct Autosave {
    folder: PathBuf,
    /// Name of the model in file names.
    model: String,
    /// Name of the current conversation's file, once it has one.
    file: Option<OsString>,
    /// JSON of the conversation as it was last written or loaded.
    known: String,
}

/// A saved conversation.
#[derive(Debug)]
pub struct Saved {
    file: OsString,
    /// Path of the conversation's file.
    pub path: PathBuf,
    /// The model that the conversation was begun with, as [`Autosave::model_name`] returns it.
    pub model: String,
    /// The conversation.
    pub conversation: Conversation,
}

impl Saved {
    /// Describes the conversation for a message: its length, and its model if that is not the one of `autosave`.
    pub fn described(&self, autosave: Option<&Autosave>) -> String {
        let mut words = format!("a conversation of {}", counted(self.conversation.exchanges().len(), "turn"));
        if autosave.is_some_and(|autosave| !autosave.is_with(&self.model)) {
            words.push_str(&format!(", which was with {}", self.model.replace("--", "/")));
        }
        words
    }
}

impl Autosave {
    /// Prepares to save conversations with `model` in `folder`, which is created when it is needed.
    pub fn new(folder: PathBuf, model: &str) -> Self {
        Self { folder, model: Self::model_name(model), file: None, known: String::new() }
    }

    /// Returns the model's name for file names: the last two parts of its path, `ORG--NAME`.
    pub fn model_name(model: &str) -> String {
        let parts: Vec<&str> = model.split(['/', '\\']).filter(|part| !part.is_empty()).collect();
        let name = parts[parts.len().saturating_sub(2)..].join("--");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c);
        name.chars().take(LONGEST_MODEL).map(|c| if is_plain(c) { c } else { '-' }).collect()
    }

    /// Returns whether `model` is the name of the current model.
    pub fn is_with(&self, model: &str) -> bool {
        self.model == model
    }

    /// Returns the path of the current conversation's file, once it has one.
    pub fn path(&self) -> Option<PathBuf> {
        self.file.as_ref().map(|file| self.folder.join(file))
    }

    /// Saves the conversation if it has changed. Deletes the file if all messages were removed by `/undo`.
    ///
    /// # Errors
    /// [`FileError::Io`]; [`FileError::TooLarge`] if the file would be too large to load.
    pub fn save(&mut self, conversation: &Conversation) -> Result<(), FileError> {
        let failed = |reason| FileError::Io { action: "write", path: self.folder.clone(), reason };
        let json = conversation.to_json().map_err(|error| failed(error.into()))?;
        if json == self.known || conversation.is_empty() && self.file.is_none() {
            return Ok(());
        }
        if json.len() as u64 > LARGEST_FILE {
            return Err(FileError::TooLarge { path: self.path().unwrap_or(self.folder.clone()) });
        }
        files::make_private(&self.folder).map_err(failed)?;
        let mut tries = 0..TRIES;
        let claim = Claim::new(None, &self.folder, &mut || tries.next().is_some());
        if self.is_changed_by_another() {
            self.file = None;
        }
        let is_new = self.file.is_none();
        match self.file.take() {
            Some(file) if conversation.is_empty() => {
                Folder::open(&self.folder).and_then(|folder| folder.remove(file)).or_else(if_there).map_err(
                    |reason| FileError::Io { action: "delete", path: self.folder.clone(), reason },
                )?;
            }
            file => {
                let file = file.unwrap_or_else(|| self.new_name());
                file::write(&self.folder.join(&file), &json)?;
                self.file = Some(file);
            }
        }
        self.known = json;
        if is_new {
            self.delete_oldest();
        }
        drop(claim);
        Ok(())
    }

    /// Begins a new conversation; the file of the previous one stays. `conversation` is the initial content of the new
    /// one, which is not saved before it changes.
    pub fn begin(&mut self, conversation: &Conversation) {
        self.file = None;
        self.known = conversation.to_json().unwrap_or_default();
    }

    /// Continues a saved conversation in its file. If it was saved with another model, the continuation gets a new
    /// file, and the old file stays.
    pub fn go_on(&mut self, saved: &Saved) {
        self.begin(&saved.conversation);
        self.file = self.is_with(&saved.model).then(|| saved.file.clone());
    }

    /// Loads the most recently changed conversation with any model.
    ///
    /// # Errors
    /// The errors of [`Conversation::load`].
    pub fn last_of_all() -> Result<Option<Saved>, FileError> {
        Self::folder().map_or(Ok(None), |folder| Self::new(folder, "").last())
    }

    /// Returns the folder of saved conversations; `None` for a user without a state folder.
    pub fn folder() -> Option<PathBuf> {
        Some(state::folder()?.join("chats"))
    }

    /// Loads the most recently changed conversation other than the current one.
    ///
    /// # Errors
    /// The errors of [`Conversation::load`].
    pub fn last(&self) -> Result<Option<Saved>, FileError> {
        let newest =
            conversations(&self.folder).into_iter().rev().find(|name| Some(name) != self.file.as_ref());
        let Some(file) = newest else { return Ok(None) };
        let path = self.folder.join(&file);
        let conversation = Conversation::load(&path)?;
        let model = model_in(&file).unwrap_or_default().to_owned();
        Ok(Some(Saved { file, path, model, conversation }))
    }

    /// Returns whether another program has changed the file of the current conversation.
    fn is_changed_by_another(&self) -> bool {
        match self.path().map(|path| file::read_text(&path)) {
            None => false,
            Some(Ok(text)) => {
                let there = Conversation::from_json(&text).ok().and_then(|there| there.to_json().ok());
                there.as_ref() != Some(&self.known)
            }
            Some(Err(FileError::Io { reason, .. })) => reason.kind() != io::ErrorKind::NotFound,
            Some(Err(_)) => true,
        }
    }

    fn new_name(&self) -> OsString {
        let now = chrono::Local::now().format("%Y-%m-%d_%H-%M-%S");
        let drawn: String = rand::rng().sample_iter(Alphanumeric).take(DRAWN).map(char::from).collect();
        format!("{now}_{drawn}_{}.json", self.model).into()
    }

    /// Deletes the oldest conversations beyond [`MOST_CONVERSATIONS`]. A file that cannot be deleted only takes disk
    /// space.
    fn delete_oldest(&self) {
        let names = conversations(&self.folder);
        let Ok(folder) = Folder::open(&self.folder) else { return };
        for name in names.iter().take(names.len().saturating_sub(MOST_CONVERSATIONS)) {
            if Some(name) != self.file.as_ref() {
                let _ = folder.remove(name);
            }
        }
    }
}

/// Ignores the error of deleting a file that does not exist.
fn if_there(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Lists the files of conversations in `folder`, least recently changed first.
fn conversations(folder: &Path) -> Vec<OsString> {
    let names = Folder::open(folder).and_then(|folder| folder.names()).unwrap_or_default();
    let mut found: Vec<(SystemTime, OsString)> = names
        .into_iter()
        .filter(|name| model_in(name).is_some())
        .filter_map(|name| {
            let data = folder.join(&name).symlink_metadata().ok().filter(|data| data.is_file())?;
            Some((data.modified().ok()?, name))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, name)| name).collect()
}

/// Returns the model in a conversation's file name; `None` for any other file.
fn model_in(name: &OsStr) -> Option<&str> {
    let mut parts = name.to_str()?.strip_suffix(".json")?.splitn(4, '_');
    let mut next = |length: usize| parts.next().filter(|part| length == 0 || part.len() == length);
    let is_number = |part: &&str| part.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    next(10).filter(is_number)?;
    next(8).filter(is_number)?;
    next(DRAWN).filter(|part| part.bytes().all(|b| b.is_ascii_alphanumeric()))?;
    next(0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    /// Creates a conversation of `count` turns.
    fn turns(count: usize) -> Conversation {
        let mut c = Conversation::default();
        for turn in 0..count {
            c.push_user(format!("u{turn}")).unwrap();
            c.push_assistant(format!("a{turn}"), Vec::new()).unwrap();
        }
        c
    }

    fn autosave(folder: &tempfile::TempDir) -> Autosave {
        Autosave::new(folder.path().join("chats"), "checkpoints/org/name")
    }

    /// Loads all saved conversations, shortest first.
    fn saved(folder: &tempfile::TempDir) -> Vec<Conversation> {
        let folder = folder.path().join("chats");
        let mut all: Vec<_> =
            conversations(&folder).iter().map(|f| Conversation::load(&folder.join(f)).unwrap()).collect();
        all.sort_by_key(|c| c.exchanges().len());
        all
    }

    #[test]
    fn a_conversation_has_one_file_that_only_its_user_reads() {
        let folder = tempfile::tempdir().unwrap();
        let mut auto = autosave(&folder);
        auto.save(&Conversation::new(Some("s".into()))).unwrap();
        assert!(!folder.path().join("chats").exists(), "nothing was said");
        for count in 1..4 {
            auto.save(&turns(count)).unwrap();
            assert_eq!(saved(&folder), [turns(count)]);
        }
        let path = auto.path().unwrap();
        assert!(path.to_str().unwrap().ends_with("_org--name.json"), "{path:?}");
        assert_eq!(fs::read_dir(folder.path().join("chats")).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        }
    }

    #[test]
    fn what_was_taken_back_is_deleted_and_what_was_cleared_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut auto = autosave(&folder);
        auto.save(&turns(1)).unwrap();
        auto.save(&turns(0)).unwrap();
        assert_eq!(saved(&folder), []);
        auto.save(&turns(2)).unwrap();
        auto.begin(&turns(0));
        auto.save(&turns(0)).unwrap();
        auto.save(&turns(1)).unwrap();
        assert_eq!(saved(&folder), [turns(1), turns(2)]);
        assert_eq!(auto.last().unwrap().unwrap().conversation, turns(2));
    }

    #[test]
    fn what_is_gone_on_with_stays_one_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(autosave(&folder).last().unwrap().is_none());
        autosave(&folder).save(&turns(1)).unwrap();
        let mut second = autosave(&folder);
        let last = second.last().unwrap().unwrap();
        assert_eq!((last.conversation.clone(), last.model.as_str()), (turns(1), "org--name"));
        second.go_on(&last);
        second.save(&turns(2)).unwrap();
        assert_eq!(saved(&folder), [turns(2)]);
        assert!(second.last().unwrap().is_none(), "there is no other");
    }

    #[test]
    fn two_that_go_on_with_the_same_conversation_do_not_overwrite_each_other() {
        let folder = tempfile::tempdir().unwrap();
        autosave(&folder).save(&turns(1)).unwrap();
        let (mut one, mut two) = (autosave(&folder), autosave(&folder));
        for auto in [&mut one, &mut two] {
            let last = auto.last().unwrap().unwrap();
            auto.go_on(&last);
        }
        one.save(&turns(2)).unwrap();
        two.save(&turns(3)).unwrap();
        one.save(&turns(4)).unwrap();
        two.save(&turns(5)).unwrap();
        assert_eq!(saved(&folder), [turns(4), turns(5)]);
    }

    #[test]
    fn a_file_that_was_deleted_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut auto = autosave(&folder);
        auto.save(&turns(1)).unwrap();
        fs::remove_file(auto.path().unwrap()).unwrap();
        auto.save(&turns(2)).unwrap();
        assert_eq!(saved(&folder), [turns(2)]);
        fs::remove_file(auto.path().unwrap()).unwrap();
        auto.save(&turns(0)).unwrap();
        assert_eq!(saved(&folder), []);
    }

    #[test]
    fn the_oldest_go_and_other_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let chats = folder.path().join("chats");
        fs::create_dir(&chats).unwrap();
        fs::write(chats.join("notes.json"), "mine").unwrap();
        for number in 0..MOST_CONVERSATIONS + 2 {
            let path = chats.join(format!("2026-01-01_00-00-00_{number:06}_m.json"));
            fs::write(&path, turns(1).to_json().unwrap()).unwrap();
            let age = Duration::from_secs(1000 - number as u64);
            fs::File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(SystemTime::now() - age)
                .unwrap();
        }
        autosave(&folder).save(&turns(2)).unwrap();
        let names = conversations(&chats);
        assert_eq!(names.len(), MOST_CONVERSATIONS);
        assert_eq!(names[0], "2026-01-01_00-00-00_000003_m.json");
        assert!(chats.join("notes.json").exists());
    }

    #[test]
    fn a_model_is_named_by_the_end_of_its_path() {
        for (path, name) in [
            ("checkpoints/org/name", "org--name"),
            ("/data/x y/m.Q4_K_M.gguf", "x-y--m.Q4_K_M.gguf"),
            ("org/name/", "org--name"),
            ("name", "name"),
            ("C:\\models\\org\\name", "org--name"),
            ("", ""),
        ] {
            assert_eq!(Autosave::model_name(path), name, "{path:?}");
            assert_eq!(model_in(OsStr::new(&format!("2026-01-01_00-00-00_Ab3dEf_{name}.json"))), Some(name));
        }
        assert!(Autosave::model_name(&"é".repeat(1000)).len() <= LONGEST_MODEL);
        for other in
            ["x.json", "2026-01-01_00-00-00_Ab3dEf_m.txt", ".2026-01-01_00-00-00_Ab3dEf_m.json.x.partial"]
        {
            assert_eq!(model_in(OsStr::new(other)), None, "{other}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("chats"), "a file").unwrap();
        let error = autosave(&folder).save(&turns(1)).unwrap_err().to_string();
        assert!(error.starts_with("cannot write ") && error.contains("chats"), "{error}");
    }
}
