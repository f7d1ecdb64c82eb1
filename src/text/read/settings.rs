//! Reads the files of a folder within limits, and the settings beside the vocabulary.
//!
//! Fields that transformers does not use for ids or text (`model_max_length`, `padding_side`, `tokenizer_class`,
//! `sp_model_kwargs`, …) are ignored.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::added::Declared;
use super::source::Names;
use super::written::{File, Numbered, Written};
use crate::json::{self, Text};
use crate::system::files::{self, Refused, is_lfs_pointer};
use crate::system::quote::short;
use crate::text::Error;
use crate::text::error::{malformed, one_line};

/// Maximum size of `tokenizer.json`, in bytes. The largest published one has about 33 MB.
pub(super) const MAX_FILE: u64 = 40 << 20;
/// Maximum size of a SentencePiece model, in bytes. The largest published one has about 4 MB.
pub(super) const MAX_MODEL: u64 = 16 << 20;
/// Maximum size of a settings file, in bytes. The largest published one has 30,000 added tokens in 6 MB.
const MAX_SETTINGS: u64 = 16 << 20;
/// Maximum size of a chat template, in bytes. The largest published ones have some tens of KB.
const MAX_TEMPLATE: u64 = 4 << 20;

/// Names of tokens, in the order in which transformers assigns missing ids.
const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The settings in the files beside a vocabulary.
#[derive(Debug, Default)]
pub(super) struct TokenizerSettings {
    pub(super) names: Names,
    /// The added tokens, in the order in which missing ids are assigned.
    pub(super) declared: Vec<Declared>,
    /// `legacy` and `add_prefix_space`, which change how a SentencePiece model is read.
    pub(super) legacy: Option<bool>,
    pub(super) add_prefix_space: Option<bool>,
}

/// Reads the settings beside the vocabulary in a folder.
///
/// # Errors
/// A file cannot be read, or a field is malformed.
pub(super) fn settings(folder: &Path) -> Result<TokenizerSettings, Error> {
    let config_path = folder.join("tokenizer_config.json");
    let File { fields: config, lists: mut of_config } = read_file(&config_path)?;
    let File { fields: map, lists: of_map } = read_file(&folder.join("special_tokens_map.json"))?;
    let in_config = |error: Error| error.in_file(&config_path);
    let named =
        |files: &[&Value], name: &str| files.iter().find_map(|file| Written::deserialize(&file[name]).ok());
    let token = |name: &str| named(&[&config, &map], name).map(|token| token.declared(true).content);

    let numbered_here = of_config.added_tokens_decoder.take().map(Numbered::declared);
    // transformers does not read the map if the config gives ids.
    let reads_map = numbered_here.is_none();
    let files: &[&Value] = if reads_map { &[&config, &map] } else { &[&config] };
    let mut unnumbered: Vec<Declared> =
        NAMED.iter().filter_map(|name| Some(named(files, name)?.declared(true))).collect();
    // transformers adds none of the map's additional tokens.
    let lists = [&of_config.additional_special_tokens, &of_config.extra_special_tokens];
    let of_map_too = reads_map.then_some(&of_map.extra_special_tokens);
    for is_named in [false, true] {
        unnumbered.extend(lists.into_iter().chain(of_map_too).flat_map(|list| list.declared(is_named)));
    }
    let additional: Vec<Declared> = [&of_map.additional_special_tokens, &of_map.extra_special_tokens]
        .into_iter()
        .flat_map(|list| list.declared(false))
        .collect();
    let mut declared = match numbered_here {
        Some(declared) => declared,
        None => numbered(folder, unnumbered.iter().chain(&additional))?,
    };
    let special = declared.iter().filter(|token| token.special).chain(&unnumbered).chain(&additional);
    let mut special: Vec<String> = special.map(|token| token.content.clone()).collect();
    special.extend(token("pad_token"));
    declared.extend(unnumbered);

    let path = folder.join("chat_template.jinja");
    let templates = match read(&path, MAX_TEMPLATE)? {
        Some(bytes) => {
            let text = String::from_utf8(bytes)
                .map_err(|_| Error::Malformed { path, reason: "it is not UTF-8".into() })?;
            let text = text.strip_prefix('\u{FEFF}').map_or_else(|| text.clone(), str::to_owned);
            Templates { default: Some(text), others: None }
        }
        None => templates(&config["chat_template"]).map_err(in_config)?,
    };
    let flag = |name: &str| flag(&config, name).map_err(in_config);
    let names = Names {
        bos: token("bos_token"),
        no_bos: config.get("bos_token").is_some_and(Value::is_null),
        eos: token("eos_token"),
        eot: token("eot_token"),
        eom: token("eom_token"),
        unknown: token("unk_token"),
        special,
        adds_bos: flag("add_bos_token")?,
        adds_eos: flag("add_eos_token")?,
        chat_template: templates.default,
        no_default: templates.others,
    };
    let (legacy, add_prefix_space) = (flag("legacy")?, flag("add_prefix_space")?);
    Ok(TokenizerSettings { names, declared, legacy, add_prefix_space })
}

/// Reads a field that is true or false; null counts as missing.
fn flag(config: &Value, name: &str) -> Result<Option<bool>, Error> {
    match &config[name] {
        Value::Null => Ok(None),
        Value::Bool(value) => Ok(Some(*value)),
        _ => Err(malformed(&format!("{name} is not true or false"))),
    }
}

/// Reads the tokens of `added_tokens.json`, `{"<|im_end|>": 32000}`. They are special if the settings name them.
fn numbered<'a>(folder: &Path, special: impl Iterator<Item = &'a Declared>) -> Result<Vec<Declared>, Error> {
    let path = folder.join("added_tokens.json");
    let entries = match read(&path, MAX_SETTINGS)? {
        Some(text) => json::object(&text, json::SETTINGS, &[]).map_err(|error| not_json(&path, &error))?,
        None => Map::new(),
    };
    let special: HashSet<&str> = special.map(|token| token.content.as_str()).collect();
    let mut declared = Vec::new();
    for (content, id) in &entries {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| malformed(&format!("the added token {content:?} has no id")));
        let special = special.contains(content.as_str());
        let token = Declared::named(content.clone(), special);
        declared.push(Declared { id: Some(id.map_err(|error| error.in_file(&path))?), ..token });
    }
    declared.sort_by_key(|token| token.id);
    Ok(declared)
}

/// The contents of `chat_template`.
#[derive(Debug, Default)]
pub(super) struct Templates {
    /// The template for a conversation.
    pub(super) default: Option<String>,
    /// Names of the templates if none of them is for a conversation.
    pub(super) others: Option<String>,
}

/// Reads one template, or several by name, as a list of `{"name": …, "template": …}` or as a map. The last template of a
/// name counts, as in transformers. If none is called `default`, transformers reads the file and refuses conversations.
pub(super) fn templates(field: &Value) -> Result<Templates, Error> {
    let of_kind = |what: String| malformed(&format!("chat_template {what}"));
    let mut named: Vec<(&str, &Value)> = Vec::new();
    match field {
        Value::Null => return Ok(Templates::default()),
        Value::String(template) => return Ok(Templates { default: Some(template.clone()), others: None }),
        Value::Array(entries) => {
            for entry in entries {
                let (Some(name), Some(template)) = (entry["name"].as_str(), entry.get("template")) else {
                    let entry = short(json::shown(entry));
                    return Err(of_kind(format!("has the entry {entry}, which has no name or no template")));
                };
                named.push((name, template));
            }
        }
        Value::Object(map) if !json::is_infinite(field) => {
            named.extend(map.iter().map(|(name, template)| (name.as_str(), template)));
        }
        other => {
            let other = short(json::shown(other));
            return Err(of_kind(format!("is {other}, it must be a text, or several by name")));
        }
    }
    match named.iter().rfind(|(name, _)| *name == "default") {
        Some((_, Value::String(template))) => Ok(Templates { default: Some(template.clone()), others: None }),
        Some((_, other)) => {
            let other = short(json::shown(other));
            Err(of_kind(format!("has {other} by the name default, it must be a text")))
        }
        None => {
            let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
            let names = if names.is_empty() { "it is empty".into() } else { one_line(&names.join(", ")) };
            Ok(Templates { default: None, others: Some(names) })
        }
    }
}

/// Reads a settings file. A missing file has null in every field and empty lists.
fn read_file(path: &Path) -> Result<File, Error> {
    match read(path, MAX_SETTINGS)? {
        Some(text) => File::parse(&text).map_err(|error| not_json(path, &error)),
        None => Ok(File::default()),
    }
}

fn not_json(path: &Path, error: &json::Error) -> Error {
    Error::Malformed { path: path.to_owned(), reason: one_line(&json::rule(error)) }
}

/// Reads the text of a vocabulary within the limit; `None` if the file does not exist.
pub(super) fn text(path: &Path) -> Result<Option<Text>, Error> {
    let is_large = std::fs::metadata(path).is_ok_and(|data| data.len() > json::WHOLE);
    match is_large.then(|| files::stream(path, MAX_FILE)) {
        Some(Ok(file)) => Ok(Some(Text::InPieces(Box::new(file)))),
        // That function reports the error.
        _ => Ok(read(path, MAX_FILE)?.map(Text::Whole)),
    }
}

/// Reads a file of at most `limit` bytes; `None` if it does not exist.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    let bytes = match files::read(path, limit) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if Refused::inside(&error) == Some(Refused::TooLarge(limit)) => {
            return Err(Error::FileTooLarge { path: path.to_owned(), limit });
        }
        Err(reason) => return Err(Error::Read { path: PathBuf::from(path), reason }),
    };
    if is_lfs_pointer(&bytes) {
        return Err(Error::LfsPointer(path.to_owned()));
    }
    Ok(Some(bytes))
}
