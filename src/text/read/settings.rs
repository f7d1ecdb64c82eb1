//! The files of a folder: reading one at all, and the settings beside the vocabulary.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Names;
use crate::files::is_lfs_pointer;
use crate::json;
use crate::text::Error;
use crate::text::error::one_line;

/// The largest `tokenizer.json` of a published model is about 33 MB.
pub(super) const MAX_FILE: u64 = 64 << 20;
/// The largest settings beside one are a few hundred KB, and take thirty times that when read.
const MAX_SETTINGS: u64 = 4 << 20;

/// What the files beside the vocabulary say.
pub(super) fn names(folder: &Path) -> Result<Names, Error> {
    let config = read_object(&folder.join("tokenizer_config.json"))?;
    let map = read_object(&folder.join("special_tokens_map.json"))?;
    let token = |name: &str| [&config, &map].into_iter().find_map(|file| spelling(&file[name]));

    let lists = ["additional_special_tokens", "extra_special_tokens"];
    let listed = [&config, &map].into_iter().flat_map(|file| lists.iter().map(move |name| &file[*name]));
    let mut special: Vec<String> =
        listed.flat_map(|list| list.as_array().into_iter().flatten()).filter_map(spelling).collect();
    let declared = config["added_tokens_decoder"].as_object().into_iter().flatten().map(|(_, token)| token);
    special.extend(declared.filter(|token| token["special"] == true).filter_map(spelling));
    special.extend(token("pad_token"));

    let path = folder.join("chat_template.jinja");
    let chat_template = match read(&path, MAX_SETTINGS)? {
        Some(bytes) => Some(
            String::from_utf8(bytes)
                .map_err(|_| Error::Malformed { path, reason: "it is not UTF-8".into() })?,
        ),
        None => chat_template(&config["chat_template"]),
    };
    Ok(Names {
        bos: token("bos_token"),
        eos: token("eos_token"),
        eot: token("eot_token"),
        unknown: token("unk_token"),
        special,
        adds_bos: config["add_bos_token"].as_bool(),
        chat_template,
    })
}

/// A token is written as its spelling, or as an object with its spelling as `content`.
fn spelling(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
}

/// One template, or a list of named ones of which `default` is the one for a conversation.
pub(super) fn chat_template(template: &Value) -> Option<String> {
    let named = || template.as_array()?.iter().find(|entry| entry["name"] == "default")?["template"].as_str();
    template.as_str().or_else(named).map(str::to_owned)
}

/// Null where there is no such file: every field of it is then null too.
fn read_object(path: &Path) -> Result<Value, Error> {
    let Some(bytes) = read(path, MAX_SETTINGS)? else { return Ok(Value::Null) };
    let malformed = |reason: String| Error::Malformed { path: path.to_owned(), reason };
    let object = json::object(&bytes, json::SETTINGS, &[]);
    object.map(Value::Object).map_err(|error| malformed(one_line(&json::rule(&error))))
}

/// At most `limit` bytes; `None` where there is no such file.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    let failed = |source| Error::Read { path: PathBuf::from(path), source };
    // A pipe of that name would be waited for.
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return Err(Error::Malformed { path: path.to_owned(), reason: "it is not a file".into() });
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    let read = file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if read as u64 > limit {
        return Err(Error::FileTooLarge { path: path.to_owned(), limit });
    }
    if is_lfs_pointer(&bytes) {
        return Err(Error::LfsPointer(path.to_owned()));
    }
    Ok(Some(bytes))
}
