//! Saves and loads a conversation as a file: a JSON list of `{"role", "content"}`, as is usual for chat programs. A
//! file is written completely or not at all, and is loaded only if it follows every rule.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use super::conversation::{Conversation, Exchange, messages};
use crate::json;
use crate::system::files::{self, Refused, Replacement};
use crate::system::hinted::Hinted;

/// Maximum size in bytes of a file that is read: several million tokens.
pub const LARGEST_FILE: u64 = 16 << 20;
/// Maximum number of messages that are read.
pub const MOST_MESSAGES: usize = 100_000;

/// An error in reading or writing a conversation or a text.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system's I/O error.
    #[error("cannot {action} {}: {reason}", path.display())]
    Io {
        /// What failed: `read`, `write` or `delete`.
        action: &'static str,
        /// Path of the file or folder.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The path is a folder, a pipe or a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file exists and is not a conversation, so it is not overwritten.
    #[error("{} exists and is not a conversation", path.display())]
    Exists {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file is larger than [`LARGEST_FILE`].
    #[error("{} is larger than the limit of {LARGEST_FILE} bytes", path.display())]
    TooLarge {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file is not UTF-8 text.
    #[error("{} is not UTF-8 text: byte {at} is invalid", path.display())]
    NotText {
        /// Path of the file.
        path: PathBuf,
        /// Offset of the first invalid byte.
        at: usize,
    },
    /// The file is not a list of messages.
    #[error("{} is not a conversation: {reason}", path.display())]
    NotAConversation {
        /// Path of the file.
        path: PathBuf,
        /// The rule that it breaks.
        reason: ParseError,
    },
}

impl Hinted for FileError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { path } => {
                let other = path.with_extension("chat.json");
                Some(format!("`/save {}`, or another unused name", other.display()))
            }
            Self::Io { reason, .. } => reason.hint(),
            _ => None,
        }
    }
}

/// The error for text that is not a conversation.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The text is not JSON, is not a list of `{"role", "content"}`, or is too long a list.
    #[error(transparent)]
    Json(#[from] json::Error),
    /// A message has a role that cannot follow the messages before it.
    #[error("message {number} has the role {found:?}, expected {expected}")]
    Role {
        /// Number of the message, counted from 1.
        number: usize,
        /// The message's role.
        found: String,
        /// The roles that are allowed there.
        expected: &'static str,
    },
}

impl Conversation {
    /// Converts the conversation, including dropped exchanges, to JSON: a list of `{"role", "content"}`, with a final
    /// newline.
    ///
    /// # Errors
    /// None in practice: strings always serialize.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let all = messages(self.system(), self.dropped.iter().chain(&self.exchanges));
        serde_json::to_string_pretty(&all).map(|text| text + "\n")
    }

    /// Parses the JSON that [`to_json`](Self::to_json) writes.
    ///
    /// # Errors
    /// [`ParseError`] unless the text is a list of at most 100,000 messages with exactly these two fields: an optional
    /// system prompt, and then user and assistant messages in turn.
    pub fn from_json(json: &str) -> Result<Self, ParseError> {
        let Entries(entries) = serde_json::from_str(json).map_err(json::Error::from)?;
        let mut conversation = Self::default();
        for (index, Entry { role, content }) in entries.into_iter().enumerate() {
            let expected = match (index, conversation.unanswered()) {
                (_, Some(_)) => "\"assistant\"",
                (0, None) => "\"system\" or \"user\"",
                (_, None) => "\"user\"",
            };
            match (role.as_str(), index, conversation.exchanges.last_mut()) {
                ("system", 0, _) => conversation.system = Some(content),
                ("assistant", _, Some(Exchange { reply: reply @ None, .. })) => *reply = Some(content),
                ("user", _, None | Some(Exchange { reply: Some(_), .. })) => {
                    conversation.exchanges.push(Exchange { user: content, ..Exchange::default() });
                }
                _ => {
                    return Err(ParseError::Role { number: index + 1, found: role, expected });
                }
            }
        }
        Ok(conversation)
    }

    /// Writes the conversation to `path`, accessible to this user only. Replaces an earlier conversation or an empty
    /// file.
    ///
    /// # Errors
    /// [`FileError::Io`]; [`FileError::NotAFile`] for a folder or a device; [`FileError::Exists`] for a file that is
    /// not a conversation. The file is then unchanged.
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        let failed = |reason| FileError::Io { action: "write", path: path.to_path_buf(), reason };
        // A link is kept, and its target is written.
        let target = match files::exists(path).map_err(failed)? {
            true => {
                let is_ours = |text: &str| text.is_empty() || Self::from_json(text).is_ok();
                match read_text(path) {
                    Ok(text) if is_ours(&text) => path.canonicalize().map_err(failed)?,
                    Ok(_) | Err(FileError::TooLarge { .. } | FileError::NotText { .. }) => {
                        return Err(FileError::Exists { path: path.to_path_buf() });
                    }
                    Err(error) => return Err(error),
                }
            }
            false => path.to_path_buf(),
        };
        let json = self.to_json().map_err(|error| failed(error.into()))?;
        write(&target, &json)
    }

    /// Loads a conversation that [`save`](Self::save) or another program wrote.
    ///
    /// # Errors
    /// [`FileError`]; the rules are those of [`read_text`] and [`from_json`](Self::from_json).
    pub fn load(path: &Path) -> Result<Self, FileError> {
        Self::from_json(&read_text(path)?)
            .map_err(|reason| FileError::NotAConversation { path: path.to_path_buf(), reason })
    }
}

/// Writes a file, accessible to this user only, and replaces any existing file.
pub(super) fn write(path: &Path, text: &str) -> Result<(), FileError> {
    let failed = |reason| FileError::Io { action: "write", path: path.to_path_buf(), reason };
    Replacement::private(path).and_then(|file| file.finish_with(text.as_bytes())).map_err(failed)
}

/// Reads a text file, without a byte order mark.
///
/// # Errors
/// [`FileError`] if the file cannot be read, is not a regular file, is larger than 16 MiB, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let bytes = files::read(path, LARGEST_FILE).map_err(|reason| match Refused::inside(&reason) {
        Some(Refused::NotAFile(_)) => FileError::NotAFile { path: path.to_path_buf() },
        Some(Refused::TooLarge(_)) => FileError::TooLarge { path: path.to_path_buf() },
        _ => FileError::Io { action: "read", path: path.to_path_buf(), reason },
    })?;
    let text = String::from_utf8(bytes).map_err(|error| FileError::NotText {
        path: path.to_path_buf(),
        at: error.utf8_error().valid_up_to(),
    })?;
    Ok(match text.strip_prefix('\u{FEFF}') {
        Some(text) => text.to_string(),
        None => text,
    })
}

/// A message in a file. Additional fields (a tool call, a name) are refused, since they would be lost silently.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    role: String,
    content: String,
}

/// At most [`MOST_MESSAGES`] messages. They are counted while they are read, not afterwards.
struct Entries(Vec<Entry>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of messages")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = list.next_element()? {
                    if entries.len() == MOST_MESSAGES {
                        return Err(A::Error::custom(format_args!(
                            "more than the limit of {MOST_MESSAGES} messages"
                        )));
                    }
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation() -> Conversation {
        let mut c = Conversation::new(Some("be \"brief\"\n".into()));
        c.push_user("héllo \u{1b}[0m").unwrap();
        c.push_assistant("", Vec::new()).unwrap();
        c.push_user("and?").unwrap();
        c
    }

    #[test]
    fn json_round_trips() {
        for c in [conversation(), Conversation::default(), Conversation::new(Some(String::new()))] {
            assert_eq!(Conversation::from_json(&c.to_json().unwrap()).unwrap(), c);
        }
    }

    #[test]
    fn json_is_the_list_that_other_programs_read() {
        let mut c = Conversation::default();
        c.push_user("hi").unwrap();
        let json: serde_json::Value = serde_json::from_str(&c.to_json().unwrap()).unwrap();
        assert_eq!(json, serde_json::json!([{"role": "user", "content": "hi"}]));
    }

    #[test]
    fn a_broken_rule_is_named_with_its_place() {
        let m = |role: &str| format!(r#"{{"role":"{role}","content":""}}"#);
        for (roles, message) in [
            (vec!["tool"], r#"message 1 has the role "tool", expected "system" or "user""#),
            (vec!["assistant"], r#"message 1 has the role "assistant", expected "system" or "user""#),
            (vec!["system", "system"], r#"message 2 has the role "system", expected "user""#),
            (vec!["user", "user"], r#"message 2 has the role "user", expected "assistant""#),
            (vec!["user", "assistant", "system"], r#"message 3 has the role "system", expected "user""#),
        ] {
            let json = format!("[{}]", roles.iter().map(|r| m(r)).collect::<Vec<_>>().join(","));
            assert_eq!(Conversation::from_json(&json).unwrap_err().to_string(), message);
        }
        for (json, part) in [
            ("", "it ends where a value is expected"),
            ("{}", "expected a list of messages"),
            (r#"[{"role":"user"}]"#, "the field content is missing"),
            (r#"[{"role":"user","content":1}]"#, "expected a string"),
            (r#"[{"role":"user","content":"","name":"x"}]"#, "unknown field `name`"),
            ("[] []", "more follows the end of its value"),
        ] {
            let error = Conversation::from_json(json).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn more_messages_than_the_limit_are_refused() {
        let list = |n: usize| {
            let pair = r#"{"role":"user","content":""},{"role":"assistant","content":""},"#;
            format!("[{}]", pair.repeat(n / 2).trim_end_matches(','))
        };
        assert!(Conversation::from_json(&list(MOST_MESSAGES)).is_ok());
        let error = Conversation::from_json(&list(MOST_MESSAGES + 2)).unwrap_err().to_string();
        assert!(error.contains("limit of 100000 messages"), "{error}");
    }

    #[test]
    fn saving_replaces_the_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.json");
        Conversation::default().save(&path).unwrap();
        conversation().save(&path).unwrap();
        assert_eq!(Conversation::load(&path).unwrap(), conversation());
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn saving_to_a_folder_or_into_a_missing_one_fails_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let error = conversation().save(folder.path()).unwrap_err();
        assert!(matches!(error, FileError::NotAFile { .. }), "{error}");
        let error = conversation().save(&folder.path().join("no").join("chat.json")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write ") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn a_file_that_is_no_conversation_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("README.md");
        for (bytes, is_kept) in [
            (&b"# Notes\n"[..], true),
            (b"{}", true),
            (b"[{\"role\":\"user\",\"content\":\"\",\"name\":\"x\"}]", true),
            (b"\xff", true),
            (b"[]", false),
            (b"", false),
        ] {
            std::fs::write(&path, bytes).unwrap();
            match conversation().save(&path) {
                Err(error @ FileError::Exists { .. }) if is_kept => {
                    assert!(error.to_string().ends_with("README.md exists and is not a conversation"));
                    assert!(error.hint().unwrap().contains("README.chat.json"));
                    assert_eq!(std::fs::read(&path).unwrap(), bytes);
                }
                other => assert!(!is_kept && other.is_ok(), "{bytes:?}: {other:?}"),
            }
        }
        #[cfg(unix)]
        {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink("README.md", &link).unwrap();
            std::fs::write(&path, "# Notes").unwrap();
            assert!(matches!(conversation().save(&link), Err(FileError::Exists { .. })));
            std::fs::remove_file(&path).unwrap();
            assert!(matches!(conversation().save(&link), Err(FileError::Io { .. })));
            assert!(!path.exists());
        }
    }

    #[cfg(unix)]
    #[test]
    fn saving_through_a_link_keeps_the_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        conversation().save(&link).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(Conversation::load(&file).unwrap(), conversation());
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_neither_read_nor_replaced() {
        let null = Path::new("/dev/null");
        assert!(matches!(conversation().save(null), Err(FileError::NotAFile { .. })));
        assert!(matches!(read_text(null), Err(FileError::NotAFile { .. })));
    }

    #[test]
    fn only_text_within_the_limit_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, b"\xEF\xBB\xBFabc").unwrap();
        assert_eq!(read_text(&path).unwrap(), "abc");
        std::fs::write(&path, b"ab\xFF").unwrap();
        assert!(matches!(read_text(&path), Err(FileError::NotText { at: 2, .. })));
        std::fs::File::create(&path).unwrap().set_len(LARGEST_FILE + 1).unwrap();
        assert!(matches!(read_text(&path), Err(FileError::TooLarge { .. })));
    }
}
