//! The sampling settings that a model's publishers suggest: from `generation_config.json` beside the weights, from
//! entries of a GGUF file, or, for one model, from its card.
//!
//! Values are not checked here; the sampler decides which are valid.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::Error;
use super::formats::fields;
use super::formats::gguf::read::Gguf;
use super::formats::gguf::write::Entry;
use super::layouts::huggingface::json::end_ids as ids_json;
use super::layouts::mist::provenance::Source;
use super::read::read_text;
use crate::json;
use crate::system::files;
use crate::system::quote::{quoted, short};

/// Name of a folder's file of suggestions.
pub const FILE: &str = "generation_config.json";

/// Suggested sampling settings. Each may be missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Suggestions {
    /// The file that contains the suggestions.
    pub file: PathBuf,
    /// Divisor of the logits.
    pub temperature: Option<f64>,
    /// Keeps the k most likely tokens.
    pub top_k: Option<f64>,
    /// Keeps the fewest, most likely tokens whose probabilities sum to at least p.
    pub top_p: Option<f64>,
    /// Keeps tokens whose probability is at least this fraction of the highest one.
    pub min_p: Option<f64>,
    /// Penalty on the logits of tokens that occurred.
    pub repetition_penalty: Option<f64>,
    /// Values that were ignored because they are not numbers, one sentence each.
    pub passed_over: Vec<String>,
}

/// The names of the settings: in JSON, and in a GGUF file after `general.sampling.` (llama.cpp's `llama-arch.cpp`).
const NAMES: [(&str, &str); 5] = [
    ("temperature", "temp"),
    ("top_k", "top_k"),
    ("top_p", "top_p"),
    ("min_p", "min_p"),
    ("repetition_penalty", "penalty_repeat"),
];

/// The starter model's file, by its size and the SHA-256 of the samples that [`Source`] takes. It is the only file
/// whose card suggests settings that the file itself lacks.
///
/// `hub::starter` pins the file by its full SHA-256, and a test checks that both mean the same file. Hashing all 98 MB
/// at each start would take longer than the rest of the start. `mist-download.json` lists the full hash, but is lost
/// when only the model file is copied. The sampled hash needs only the file itself, and conversions record it for their
/// sources. It takes 7 ms of the 91 ms of `inspect` (two busy cores, November 2026), and only for files of this size.
const STARTER: (u64, &str) = (98_362_432, "53bfc3cdaf681a318d6b17914e9f89d3721c1b3b0ad8c5810d0341452fa80ac3");

impl Suggestions {
    /// Reads the suggestions of a GGUF file.
    pub(super) fn of_gguf(gguf: &Gguf) -> Self {
        let (size, _) = STARTER;
        let has_its_size = std::fs::metadata(gguf.path()).is_ok_and(|data| data.len() == size);
        if has_its_size && Source::of(gguf.path()).is_ok_and(|source| is_starter(&source)) {
            return Self::of_starter(gguf.path());
        }
        let mut found = Self { file: gguf.path().into(), ..Self::default() };
        for (name, entry) in NAMES {
            let entry = format!("general.sampling.{entry}");
            match gguf.get(&entry).map(|value| (value.as_f64(), value)) {
                // The file holds an f32, but the exact decimal is meant: 0.6, not 0.60000002384.
                Some((Some(number), _)) => {
                    *found.value(name) = Some((number as f32).to_string().parse().unwrap_or(number));
                }
                Some((None, value)) => {
                    let text = value.as_text().map(|text| quoted(&text).to_string());
                    found.pass_over(&entry, text.as_deref().unwrap_or("of another kind"));
                }
                None => {}
            }
        }
        found
    }

    /// Returns the suggestions of a conversion in `folder` that was made from `sources` and has no file of suggestions.
    pub(super) fn of_sources(folder: &Path, sources: &[Source]) -> Self {
        match sources {
            [source] if is_starter(source) => Self::of_starter(folder),
            _ => Self { file: folder.join(FILE), ..Self::default() },
        }
    }

    /// Returns the starter's settings, those of the examples in its card:
    /// <https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct>.
    fn of_starter(file: &Path) -> Self {
        Self { file: file.into(), temperature: Some(0.2), top_p: Some(0.9), ..Self::default() }
    }

    /// Reads the suggestions of a folder, and the end ids that its file lists.
    ///
    /// # Errors
    /// The file cannot be read, is not a JSON object, or has an invalid `eos_token_id`.
    pub(super) fn of_folder(folder: &Path) -> Result<(Self, Vec<u32>), Error> {
        let path = folder.join(FILE);
        if !files::exists(&path).map_err(Error::read(&path))? {
            return Ok((Self { file: path, ..Self::default() }, Vec::new()));
        }
        Self::of_json(&read_text(&path)?, &path)
    }

    /// Parses a `generation_config.json`. Ignores `do_sample`.
    fn of_json(text: &str, path: &Path) -> Result<(Self, Vec<u32>), Error> {
        let map = json::object(text.as_bytes(), json::SETTINGS, &[]);
        let map = map.map_err(|e| Error::config(path, json::rule(&e)))?;
        let end_ids = map.get("eos_token_id").map_or(Some(Vec::new()), fields::ids);
        let Some(end_ids) = end_ids else {
            return Err(Error::config(path, "eos_token_id must be a token id or a list of them"));
        };
        let mut found = Self { file: path.into(), ..Self::default() };
        for (name, _) in NAMES {
            match map.get(name).filter(|value| !value.is_null()).map(|value| (value.as_f64(), value)) {
                Some((Some(number), _)) => *found.value(name) = Some(number),
                Some((None, value)) => found.pass_over(name, &short(json::shown(value)).to_string()),
                None => {}
            }
        }
        Ok((found, end_ids))
    }

    /// Returns whether there are no suggestions.
    pub fn is_empty(&self) -> bool {
        self.named().next().is_none()
    }

    /// Returns a `generation_config.json` with the suggestions, the tokenizer's BOS id and the end ids. transformers
    /// uses the suggestions only if `do_sample` is true.
    pub fn to_json(&self, bos: Option<u32>, end_ids: &[u32]) -> Value {
        let mut map = Map::new();
        map.insert("_from_model_config".into(), true.into());
        map.insert("bos_token_id".into(), bos.into());
        map.insert("eos_token_id".into(), ids_json(end_ids));
        if !self.is_empty() {
            map.insert("_from_model_config".into(), false.into());
            map.insert("do_sample".into(), true.into());
        }
        for (name, value) in self.named() {
            let whole = (name == "top_k" && value.fract() == 0.0).then_some(value as i64);
            map.insert(name.into(), whole.map_or(Value::from(value), Value::from));
        }
        Value::Object(map)
    }

    /// Returns the suggestions as entries of a GGUF file, with the types that llama.cpp requires.
    pub(super) fn entries(&self) -> Vec<(String, Entry)> {
        let entry = |(name, value): (&str, f64)| {
            let (_, theirs) = NAMES.iter().find(|(ours, _)| *ours == name)?;
            let entry = match name {
                "top_k" => Entry::I32(value as i32),
                _ => Entry::F32(value as f32),
            };
            Some((format!("general.sampling.{theirs}"), entry))
        };
        self.named().filter_map(entry).collect()
    }

    /// Returns the suggested values with their names in JSON.
    fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let values = [self.temperature, self.top_k, self.top_p, self.min_p, self.repetition_penalty];
        NAMES.into_iter().zip(values).filter_map(|((name, _), value)| Some((name, value?)))
    }

    fn value(&mut self, name: &str) -> &mut Option<f64> {
        match name {
            "temperature" => &mut self.temperature,
            "top_k" => &mut self.top_k,
            "top_p" => &mut self.top_p,
            "min_p" => &mut self.min_p,
            _ => &mut self.repetition_penalty,
        }
    }

    /// Returns the name that the file uses for a field of `Sampling`.
    pub fn name(&self, field: &str) -> String {
        let json = if field == "repeat_penalty" { "repetition_penalty" } else { field };
        let is_gguf = self.file.extension().is_some_and(|extension| extension == "gguf");
        match NAMES.iter().find(|(ours, _)| *ours == json) {
            Some((_, entry)) if is_gguf => format!("general.sampling.{entry}"),
            _ => json.into(),
        }
    }

    fn pass_over(&mut self, name: &str, value: &str) {
        self.passed_over.push(format!("{name} is {value}, it must be a number"));
    }
}

fn is_starter(source: &Source) -> bool {
    (source.bytes, source.samples.as_str()) == STARTER
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hub::starter;

    fn of_json(value: Value) -> Suggestions {
        Suggestions::of_json(&value.to_string(), Path::new("x")).unwrap().0
    }

    #[test]
    fn each_value_is_read_by_itself() {
        let nothing = Suggestions { file: "x".into(), ..Suggestions::default() };
        assert_eq!(of_json(json!({"do_sample": false, "top_k": null, "max_length": 20})), nothing);
        let all = json!({"do_sample": false, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.05,
            "repetition_penalty": 1.05});
        let read = of_json(all.clone());
        let expected = Suggestions {
            temperature: Some(0.6),
            top_k: Some(20.0),
            top_p: Some(0.95),
            min_p: Some(0.05),
            repetition_penalty: Some(1.05),
            ..nothing.clone()
        };
        assert_eq!(read, expected);
        let written = read.to_json(Some(1), &[2]);
        assert_eq!(of_json(written.clone()), read);
        assert_eq!((&written["do_sample"], &written["top_k"]), (&json!(true), &json!(20)));
        assert_eq!(nothing.to_json(None, &[2, 3])["eos_token_id"], json!([2, 3]));
    }

    #[test]
    fn what_is_no_number_is_passed_over_with_a_word() {
        let read = of_json(json!({"temperature": "0.7", "top_p": [1], "top_k": 5}));
        assert_eq!((read.temperature, read.top_p, read.top_k), (None, None, Some(5.0)));
        assert_eq!(read.passed_over[0], "temperature is \"0.7\", it must be a number");
        assert_eq!(read.passed_over.len(), 2);
    }

    #[test]
    fn a_file_that_says_two_things_is_an_error() {
        for (text, part) in [
            (r#"{"top_k":1,"top_k":2}"#, "the key \"top_k\" is given twice"),
            ("[]", "is not a JSON object"),
            (r#"{"eos_token_id":"x"}"#, "eos_token_id must be a token id"),
            ("{", "is not valid JSON"),
        ] {
            let error = Suggestions::of_json(text, Path::new("g.json")).unwrap_err().to_string();
            assert!(error.starts_with("g.json") && error.contains(part), "{error}");
        }
        let (_, ids) = Suggestions::of_json("\u{feff}{\"eos_token_id\":[2,-1]}", Path::new("x")).unwrap();
        assert_eq!(ids, [2]);
    }

    #[test]
    fn the_starter_is_known_by_its_samples_and_its_conversions_by_their_source() {
        assert_eq!(STARTER.0, starter::SIZE);
        let source = Source { file: "any.gguf".into(), bytes: STARTER.0, samples: STARTER.1.into() };
        let other = Source { bytes: STARTER.0 - 1, ..source.clone() };
        let of = |sources: &[Source]| Suggestions::of_sources(Path::new("x"), sources).temperature;
        assert_eq!(of(std::slice::from_ref(&source)), Some(0.2));
        assert_eq!((of(std::slice::from_ref(&other)), of(&[source, other]), of(&[])), (None, None, None));
    }
}
