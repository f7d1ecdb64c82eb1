//! Names from users and servers. A value of one of these types has passed its check, and only such values become part of a
//! path or an address.

use std::fmt;
use std::path::{Path, PathBuf};

/// Maximum length in bytes of a part of a repository's name, and of a file name.
const MAX_NAME: usize = 200;

/// A repository, `ORG/NAME`, with parts of `[A-Za-z0-9._-]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoId {
    org: String,
    name: String,
}

impl RepoId {
    /// Returns the two parts.
    pub fn parts(&self) -> [&str; 2] {
        [&self.org, &self.name]
    }

    /// Checks a name; `None` if `text` is not `ORG/NAME`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_part = |part: &str| {
            let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
            part.bytes().all(known) && is_plain(part) && !part.contains("..") && !part.starts_with('-')
        };
        let (org, name) = text.split_once('/')?;
        (is_part(org) && is_part(name)).then(|| Self { org: org.to_string(), name: name.to_string() })
    }

    /// Returns the repository's folder, `root/ORG/NAME`.
    pub fn folder(&self, root: &Path) -> PathBuf {
        root.join(&self.org).join(&self.name)
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.org, self.name)
    }
}

/// A branch, tag or commit as typed. It may contain slashes (`refs/pr/1`) and becomes one segment of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(String);

impl Revision {
    /// Checks a revision; `None` if git does not allow `text` as a reference, or if it has another meaning in an address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"._-+/@".contains(&b);
        let parts_are_names = text.split('/').all(|p| !p.is_empty() && !p.starts_with('.'));
        let good = text.len() <= MAX_NAME && text.bytes().all(known) && parts_are_names;
        (good && !text.contains("..")).then(|| Self(text.to_string()))
    }

    /// Returns the text, for an address.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Revision {
    fn default() -> Self {
        Self("main".to_string())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A commit as 40 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit(String);

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Commit {
    /// Returns the hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first twelve digits, for messages.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }

    /// Returns the revision that names this commit and nothing else.
    pub(super) fn as_revision(&self) -> Revision {
        Revision(self.0.clone())
    }

    /// Parses a commit; `None` if `text` is not a commit.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let good = text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        good.then(|| Self(text.to_string()))
    }
}

/// A sha256 as 32 bytes. Only these bytes are printed and compared, never the text that they came as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Parses 64 hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        hexadecimal(text).map(Self)
    }
}

/// Parses twice `N` hexadecimal digits as `N` bytes.
pub(super) fn hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let mut value = 0;
        for &digit in pair {
            value = value * 16 + char::from(digit).to_digit(16)?;
        }
        *byte = u8::try_from(value).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The name of a file at the top of a repository, which is a plain file name on every system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(String);

impl FileName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks a name; `None` if `text` is not a plain file name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        is_plain(text).then(|| Self(text.to_string()))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Returns whether `name` is a plain component of a path on both Unix and Windows: no separator, drive or stream (`:`),
/// wildcard, control or non-ASCII character, no leading dot (our own partial files have one), no trailing dot or space
/// (Windows drops them), no device (`con`, `nul.txt`).
fn is_plain(name: &str) -> bool {
    let known = |b: u8| (b.is_ascii_graphic() || b == b' ') && !br#"/\:*?"<>|%"#.contains(&b);
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_lowercase();
    let numbered = |p: &str| stem.strip_prefix(p).is_some_and(|n| matches!(n.as_bytes(), [b'0'..=b'9']));
    let device = matches!(stem.as_str(), "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt");
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(known)
        && !name.starts_with(['.', ' '])
        && !name.ends_with(['.', ' '])
        && !device
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_on_any_system_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "/etc/passwd",
            "a\\b",
            "C:x",
            "c:\\x",
            "\\\\host\\share",
            "x\0",
            "x\n",
            "x\u{1b}[2J",
            ".hidden",
            "x.",
            "x ",
            " x",
            "nul",
            "CON.json",
            "com1.bin",
            "lpt9",
            "x:stream",
            "%2e%2e",
            "na\u{ef}ve",
            &"x".repeat(201),
        ] {
            assert_eq!(FileName::parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn ordinary_file_names_are_accepted() {
        for name in [
            "config.json",
            "model-00001-of-00002.safetensors",
            "tokenizer.model.v3",
            "a b (1)+2.gguf",
            "com.json",
        ] {
            assert!(FileName::parse(name).is_some(), "{name:?}");
        }
    }

    #[test]
    fn a_repository_is_two_plain_parts() {
        for typed in [
            "gpt2",
            "a/b/c",
            "../x",
            "x/..",
            "/x",
            "x/",
            "a b/c",
            "a/b?c",
            "https://huggingface.co/a/b",
            ".a/b",
            "-a/b",
            "nul/b",
        ] {
            assert!(typed.parse::<RepoId>().is_err(), "{typed:?}");
        }
        let repo: RepoId = "mistralai/Mistral-7B-v0.1".parse().unwrap();
        assert_eq!(repo.folder(Path::new("checkpoints")), Path::new("checkpoints/mistralai/Mistral-7B-v0.1"));
    }

    #[test]
    fn a_revision_stays_one_segment_of_the_address() {
        for typed in ["", ".", "..", "a/../b", "a?b", "a#b", "a b", "/a", "a\nb"] {
            assert!(typed.parse::<Revision>().is_err(), "{typed:?}");
        }
        let endpoint: crate::hub::Endpoint = "http://hub.test/mirror/".parse().unwrap();
        let revision: Revision = "refs/pr/1".parse().unwrap();
        let url = endpoint.join(["a", "b", "resolve", revision.as_str(), "x y.json"]);
        assert_eq!(url.as_str(), "http://hub.test/mirror/a/b/resolve/refs%2Fpr%2F1/x%20y.json");
    }

    #[test]
    fn commits_and_digests_are_hexadecimal_of_one_length() {
        assert!(Commit::parse(&"a".repeat(40)).is_some());
        assert!(Commit::parse(&"A".repeat(40)).is_none());
        assert!(Commit::parse(&"../".repeat(14)).is_none());
        let text = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
        assert_eq!(Digest::parse(text).unwrap().to_string(), text);
        assert!(Digest::parse(&"g".repeat(64)).is_none());
        assert!(Digest::parse(&"a".repeat(63)).is_none());
    }
}
