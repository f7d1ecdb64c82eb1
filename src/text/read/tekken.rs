//! Reads a tokenizer from Mistral's `tekken.json`, tiktoken's byte-pair encoding after a block of control tokens.
//! Follows `Tekkenizer` in <https://github.com/mistralai/mistral-common>.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::source::{Around, MAX_CONTROLS, MAX_IDS, Names, Source};
use crate::json::{self, Capped};
use crate::system::quote::quoted;
use crate::text::Error;
use crate::text::alphabet::spelled;
use crate::text::chat::Version;
use crate::text::error::{malformed, unknown};
use crate::text::model::{Alphabet, Cut, Joins, Kind, Model};

/// Control tokens of a file that lists none.
const CONTROLS: [&str; 20] = [
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
];

#[derive(Deserialize)]
struct File {
    config: Config,
    vocab: Capped<Token, MAX_IDS>,
    #[serde(default)]
    special_tokens: Option<Capped<Special, MAX_CONTROLS>>,
}

#[derive(Deserialize)]
struct Config {
    pattern: String,
    default_vocab_size: usize,
    default_num_special_tokens: usize,
    version: String,
}

#[derive(Deserialize)]
struct Token {
    rank: usize,
    token_bytes: String,
}

#[derive(Deserialize)]
struct Special {
    rank: usize,
    token_str: String,
}

/// Reads a `tekken.json`.
///
/// # Errors
/// [`Error::Vocabulary`] for a malformed file; [`Error::UnknownPart`] for a version that is not supported.
pub(super) fn read(text: json::Text) -> Result<Source, Error> {
    let file: File = text.parse().map_err(|error| malformed(&error.to_string()))?;
    let (Capped(vocabulary), special) = (file.vocab, file.special_tokens.map(|list| list.0));
    let Config { pattern, default_vocab_size: size, default_num_special_tokens: controls, version } =
        file.config;
    let version = Version::named(&version).ok_or_else(|| unknown("version", &version))?;
    if !(1..=MAX_IDS).contains(&size) || controls > size.min(MAX_CONTROLS) {
        return Err(malformed(&format!("it has {size} ids, {controls} of them control tokens")));
    }
    let text = vocabulary.get(..size - controls).ok_or_else(|| {
        malformed(&format!(
            "{size} ids less {controls} control tokens are more than its {} tokens",
            vocabulary.len()
        ))
    })?;

    let mut tokens = control_tokens(special, controls)?;
    let mut seen = HashSet::new();
    for (index, token) in text.iter().enumerate() {
        let bytes = STANDARD.decode(token.token_bytes.as_bytes()).ok().filter(|bytes| !bytes.is_empty());
        let bytes = bytes.ok_or_else(|| malformed(&format!("token {index} is not base64")))?;
        if token.rank != index || index < 256 && bytes != [index as u8] {
            return Err(malformed(&format!("token {index} is out of order")));
        }
        let token = spelled(&bytes);
        if !seen.insert(bytes) {
            return Err(malformed(&format!("the token {} is in it twice", quoted(&token))));
        }
        tokens.push(token);
    }
    if text.len() < 256 {
        return Err(malformed("a token for each byte is not in it"));
    }
    let mut kinds = vec![Kind::Control; controls];
    kinds.resize(size, Kind::Normal);
    // A control token may be spelled like a piece of text; the kinds distinguish them.
    let model = Model {
        tokens,
        kinds,
        alphabet: Alphabet::Bytes,
        joins: Joins::Ids,
        whole_words: true,
        cuts: vec![Cut::Matches(pattern)],
        ..Model::default()
    };
    let named =
        |name: &str| model.tokens[..controls].iter().any(|token| token == name).then(|| name.to_owned());
    let names = Names {
        bos: named("<s>"),
        eos: named("</s>"),
        unknown: named("<unk>"),
        adds_bos: Some(true),
        ..Names::default()
    };
    Ok(Source { model, names, around: Around::default(), version: Some(version) })
}

/// Returns the listed control tokens, then `<SPECIAL_20>` and so on up to the number of control tokens.
fn control_tokens(listed: Option<Vec<Special>>, count: usize) -> Result<Vec<String>, Error> {
    let listed = listed.unwrap_or_else(|| {
        let named = CONTROLS.iter().enumerate();
        named.map(|(rank, name)| Special { rank, token_str: (*name).to_owned() }).collect()
    });
    if listed.len() > count {
        return Err(malformed(&format!("{} control tokens are listed, {count} are announced", listed.len())));
    }
    let mut tokens: Vec<String> = (0..count).map(|id| format!("<SPECIAL_{id}>")).collect();
    let mut taken = HashSet::new();
    for Special { rank, token_str } in listed {
        match tokens.get_mut(rank) {
            Some(token) if !token_str.is_empty() && taken.insert(rank) => *token = token_str,
            _ => {
                return Err(malformed(&format!(
                    "the control token {} has the id {rank}",
                    quoted(&token_str)
                )));
            }
        }
    }
    let mut seen = HashSet::new();
    match tokens.iter().find(|token| !seen.insert(token.as_str())) {
        Some(twice) => Err(malformed(&format!("the control token {} is in it twice", quoted(twice)))),
        None => Ok(tokens),
    }
}
