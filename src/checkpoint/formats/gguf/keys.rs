//! Checks a tokenizer's metadata keys for missing and misspelt keys.
//!
//! llama.cpp ignores keys that it does not know, and has a default for most missing keys. A misspelt key would then
//! change every text without a message. So an unknown key is an error if it resembles a missing key.

use super::cursor::Value;
use super::read::Gguf;
use crate::checkpoint::Error;

/// Prefix of all tokenizer keys but `tokenizer.chat_template`.
const PREFIX: &str = "tokenizer.ggml.";

/// Keys that are read: they change ids or text.
const READ: [&str; 15] = [
    "model",
    "pre",
    "tokens",
    "scores",
    "token_type",
    "merges",
    "bos_token_id",
    "eos_token_id",
    "eot_token_id",
    "eom_token_id",
    "unknown_token_id",
    "add_bos_token",
    "add_eos_token",
    "add_space_prefix",
    "chat_template",
];

/// Keys of llama.cpp that change nothing for the supported kinds of tokenizer: settings of other kinds, and tokens of
/// tasks that are not supported.
const IGNORED: [&str; 24] = [
    "token_type_count",
    "add_sep_token",
    "remove_extra_whitespaces",
    "precompiled_charsmap",
    "suppress_tokens",
    "normalizer.lowercase",
    "normalizer.strip_accents",
    "seperator_token_id",
    "separator_token_id",
    "padding_token_id",
    "pad_token_id",
    "cls_token_id",
    "mask_token_id",
    "prefix_token_id",
    "suffix_token_id",
    "middle_token_id",
    "fim_pre_token_id",
    "fim_suf_token_id",
    "fim_mid_token_id",
    "fim_pad_token_id",
    "fim_rep_token_id",
    "fim_sep_token_id",
    "added_tokens",
    "image_token_id",
];

/// Returns a tokenizer key without its prefix; `None` if the key is not a tokenizer's.
fn name(key: &str) -> Option<&str> {
    key.strip_prefix(PREFIX).or_else(|| key.strip_prefix("tokenizer.").filter(|rest| !rest.contains('.')))
}

fn full(name: &str) -> String {
    if name == "chat_template" { format!("tokenizer.{name}") } else { format!("{PREFIX}{name}") }
}

/// Checks the keys of a tokenizer whose `tokenizer.ggml.model` is `model`.
///
/// # Errors
/// A key that the kind of tokenizer needs is missing, or an unknown key resembles a missing key.
pub(in crate::checkpoint) fn check(gguf: &Gguf, model: &str) -> Result<(), Error> {
    let is_used = |name: &str| match name {
        "merges" | "pre" => model != "llama",
        "scores" | "add_space_prefix" => model != "gpt2",
        _ => true,
    };
    // An empty list counts as missing, except for merges: a vocabulary of single characters has no merges.
    let is_missing = |name: &str| match gguf.get(&full(name)) {
        Some(Value::Array(items)) => items.len() == 0 && name != "merges",
        value => value.is_none(),
    };
    let missing: Vec<&str> = READ.into_iter().filter(|name| is_used(name) && is_missing(name)).collect();
    for key in gguf.keys() {
        let Some(meant) = name(key).and_then(|name| meant(name, &missing)) else { continue };
        let shown: String = key.chars().filter(|c| !c.is_control()).take(80).collect();
        let rule = format!("{} is missing, and {shown} is not known", full(meant));
        return Err(Error::vocabulary(&gguf.path, rule));
    }
    let needed: &[&str] = match model {
        "gpt2" => &["tokens", "merges"],
        "llama" => &["tokens", "scores"],
        _ => &[],
    };
    match needed.iter().find(|name| missing.contains(*name)) {
        Some(name) => {
            let rule = format!("{} is missing, which a tokenizer of the kind {model} needs", full(name));
            Err(Error::vocabulary(&gguf.path, rule))
        }
        None => Ok(()),
    }
}

/// Returns the missing key that an unknown key stands for.
///
/// Finds the known keys nearest to it, and returns one of them that is missing. If none of them is missing, the
/// unknown key changes nothing.
fn meant<'a>(unknown: &str, missing: &[&'a str]) -> Option<&'a str> {
    let all = || READ.into_iter().chain(IGNORED);
    if all().any(|known| known == unknown) || unknown.starts_with("chat_template") {
        return None;
    }
    let unknown: String = unknown.to_ascii_lowercase();
    let resembled = all().filter(|key| resembles(&unknown, key)).map(|key| (distance(&unknown, key), key));
    let resembled: Vec<(usize, &str)> = resembled.collect();
    let (least, _) = *resembled.iter().min()?;
    let nearest = |key: &&&str| resembled.contains(&(least, **key));
    missing.iter().find(nearest).copied()
}

/// Returns whether `unknown`, in lower case, may be a misspelling of `key`: few letters differ, they are the same
/// letters in another order, or one is the other with letters left out (`bos_id` for `bos_token_id`).
fn resembles(unknown: &str, key: &str) -> bool {
    if unknown.len() > 64 {
        return false;
    }
    // These two keys differ in one letter, and llama.cpp may add similar ones.
    if matches!(key, "eot_token_id" | "eom_token_id") && !unknown.starts_with(&key[..3]) {
        return false;
    }
    let (short, long) = if unknown.len() < key.len() { (unknown, key) } else { (key, unknown) };
    let mut rest = long.chars();
    let is_part = short.chars().all(|letter| rest.any(|other| other == letter));
    let letters = if key.len() > 5 { 3 } else { 1 };
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    (is_part && (2 * short.len() >= long.len() || long.starts_with(short)))
        || distance(unknown, key) <= letters
        || sorted(unknown) == sorted(key)
}

/// Returns the Levenshtein distance: the letters to insert, delete or change to turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_resemble_what_is_meant_and_other_keys_do_not() {
        for (unknown, key) in [
            ("merge", "merges"),
            ("bpe_merges", "merges"),
            ("token_types", "token_type"),
            ("tokentype", "token_type"),
            ("token_typ", "token_type"),
            ("bos_id", "bos_token_id"),
            ("bos_token", "bos_token_id"),
            ("bso_token_id", "bos_token_id"),
            ("add_bos", "add_bos_token"),
            ("Add_Bos_Token", "add_bos_token"),
            ("eot_id", "eot_token_id"),
            ("pretokenizer", "pre"),
            ("per", "pre"),
            ("chat_templat", "chat_template"),
        ] {
            assert!(resembles(&unknown.to_ascii_lowercase(), key), "{unknown} {key}");
            assert_eq!(meant(unknown, &[key]), Some(key));
        }
        for (unknown, key) in [
            ("model_name", "merges"),
            ("eog_token_id", "eot_token_id"),
            ("hash", "pre"),
            ("huggingface", "merges"),
            ("max_token_length", "token_type"),
        ] {
            assert!(!resembles(unknown, key), "{unknown} {key}");
        }
        // The nearest known key is not missing.
        for (unknown, missing) in [
            ("bos_token", ["add_bos_token", "eot_token_id"]),
            ("eos_token", ["add_eos_token", "eot_token_id"]),
            ("padding_token", ["add_bos_token", "unknown_token_id"]),
            ("fim_pre_token", ["pre", "unknown_token_id"]),
            ("separator_token", ["add_bos_token", "eos_token_id"]),
        ] {
            assert_eq!(meant(unknown, &missing), None, "{unknown}");
        }
        assert_eq!((distance("kitten", "sitting"), distance("", "ab"), distance("ab", "")), (3, 2, 2));
    }
}
