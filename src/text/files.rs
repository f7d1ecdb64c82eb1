//! The files of a tokenizer.

use std::path::Path;

use super::read;

/// Names of the files that a tokenizer is written to.
pub const FILES: [&str; 5] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
];

/// Returns whether a file of this name belongs to a tokenizer, as a vocabulary or as settings.
pub fn is_file(name: &str) -> bool {
    FILES.contains(&name) || read::is_vocabulary(name)
}

/// Returns whether the path is a folder with a tokenizer, or a tokenizer's file.
pub fn is_at(path: &Path) -> bool {
    read::is_at(path)
}
