//! Quotes text of a file, a server or a user in messages, truncated to a maximum length.

use std::fmt::{self, Display, Formatter, Write};
use std::path::Path;

/// Maximum characters of quoted text, and bytes of unquoted text.
const MOST: usize = 100;

/// Quotes a text, with unprintable characters escaped.
pub fn quoted(text: &str) -> impl Display {
    struct Quoted<'a>(&'a str);
    impl Display for Quoted<'_> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            match self.0.char_indices().nth(MOST) {
                Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
                None => write!(f, "{:?}", self.0),
            }
        }
    }
    Quoted(text)
}

/// Describes the defect of a file in one sentence: "x.json is not a JSON object", "x.json: vocab_size is missing".
pub fn about(path: &Path, rule: &str) -> impl Display {
    /// The verbs of rules whose subject is the file.
    const VERBS: [&str; 6] = ["is ", "has ", "holds ", "names ", "takes ", "asks "];
    let colon = if VERBS.iter().any(|verb| rule.starts_with(verb)) { "" } else { ":" };
    format!("{}{colon} {rule}", path.display())
}

/// Truncates the display of a value to a fixed maximum.
pub fn short(value: impl Display) -> impl Display {
    beginning(value, MOST)
}

/// Truncates the display of `value` to `most` bytes; the rest is never formatted.
pub fn beginning(value: impl Display, most: usize) -> impl Display {
    struct Beginning<T>(T, usize);
    impl<T: Display> Display for Beginning<T> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            let mut first = First { f, left: self.1, is_cut: false };
            let written = write!(first, "{}", self.0);
            if first.is_cut { f.write_char('…') } else { written }
        }
    }
    Beginning(value, most)
}

/// A writer that fails when its limit is reached, so that the rest of a value is not formatted.
struct First<'a, 'b> {
    f: &'a mut Formatter<'b>,
    left: usize,
    is_cut: bool,
}

impl Write for First<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(left) = self.left.checked_sub(text.len()) {
            self.left = left;
            return self.f.write_str(text);
        }
        self.is_cut = true;
        self.f.write_str(&text[..text.floor_char_boundary(self.left)])?;
        Err(fmt::Error)
    }
}

/// Quotes a word for a shell, if it needs quotes.
pub fn shell_word(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./=:@+".contains(&b);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Formats a path, with `~` for the user's home folder.
pub fn from_home(path: &Path) -> String {
    let home = std::env::home_dir();
    let below = home.and_then(|home| path.strip_prefix(home).ok());
    below.map_or(path.display().to_string(), |below| format!("~/{}", below.display()))
}

/// Formats a count with its noun: `1 token`, `2 tokens`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_whole_and_what_is_long_is_cut_between_characters() {
        assert_eq!(quoted("a\n\"b\"").to_string(), r#""a\n\"b\"""#);
        assert_eq!(quoted(&"é".repeat(101)).to_string(), format!("\"{}\"…", "é".repeat(100)));
        assert_eq!(quoted(&"é".repeat(100)).to_string(), format!("\"{}\"", "é".repeat(100)));
        assert_eq!(short(12.5).to_string(), "12.5");
        assert_eq!(short(serde_json::json!([1, "x".repeat(200)])).to_string().chars().count(), 101);
        assert_eq!(beginning("aéa", 2).to_string(), "a…");
        assert_eq!(beginning("aéa", 4).to_string(), "aéa");
    }

    #[test]
    fn a_rule_about_a_file_is_one_sentence() {
        let path = Path::new("x.json");
        assert_eq!(about(path, "is not valid JSON: y").to_string(), "x.json is not valid JSON: y");
        assert_eq!(about(path, "dim is missing").to_string(), "x.json: dim is missing");
    }

    #[test]
    fn no_more_is_made_than_is_shown() {
        struct Endless;
        impl Display for Endless {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("more and ")?;
                }
            }
        }
        assert_eq!(beginning(Endless, 11).to_string(), "more and mo…");
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "file")), ["0 files", "1 file", "2 files"]);
    }
}
