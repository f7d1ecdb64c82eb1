//! How a model's publishers say that its tokens should be chosen: `generation_config.json` beside the weights, entries of
//! a GGUF file, or, for one model, its card.
//!
//! Values are as they were written: whoever chooses tokens knows which make sense.

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

/// The file of a folder that holds them.
pub const FILE: &str = "generation_config.json";

/// Suggested values of sampling, each by itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Suggestions {
    /// Where they were found.
    pub file: PathBuf,
    /// Logits are divided by it.
    pub temperature: Option<f64>,
    /// Only the k most likely tokens.
    pub top_k: Option<f64>,
    /// Only the fewest tokens whose shares reach p.
    pub top_p: Option<f64>,
    /// Only tokens at least this share as likely as the most likely one.
    pub min_p: Option<f64>,
    /// Logits of tokens that occurred are divided by it.
    pub repetition_penalty: Option<f64>,
    /// What was passed over as no number, a sentence each.
    pub passed_over: Vec<String>,
}

/// The values by name: in JSON, and in a GGUF file after `general.sampling.` (llama.cpp's `llama-arch.cpp`).
const NAMES: [(&str, &str); 5] = [
    ("temperature", "temp"),
    ("top_k", "top_k"),
    ("top_p", "top_p"),
    ("min_p", "min_p"),
    ("repetition_penalty", "penalty_repeat"),
];

/// The one file whose card suggests values that the file itself does not: the starter model's, by its size and the
/// SHA-256 of the samples that [`Source`] takes.
///
/// The file is pinned by its whole SHA-256 (`hub::starter`), and a test holds that the two mean the same file. Hashing
/// 98 MB at each start would take longer than the rest of it; what `mist-download.json` says about a file lies beside it,
/// and does not go with a copy. The samples are of the file itself, and are what conversions remember of their sources.
/// They cost 7 ms of `inspect`'s 91 (two busy cores, November 2026), and are taken of files of this size only.
const STARTER: (u64, &str) = (98_362_432, "53bfc3cdaf681a318d6b17914e9f89d3721c1b3b0ad8c5810d0341452fa80ac3");

impl Suggestions {
    /// Those of a GGUF file.
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
                // The file holds an f32: 0.6 is meant, not 0.60000002384.
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

    /// Those of a conversion that was made of `sources`, in whose folder there are no others.
    pub(super) fn of_sources(folder: &Path, sources: &[Source]) -> Self {
        match sources {
            [source] if is_starter(source) => Self::of_starter(folder),
            _ => Self { file: folder.join(FILE), ..Self::default() },
        }
    }

    /// <https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct>: its examples generate so.
    fn of_starter(file: &Path) -> Self {
        Self { file: file.into(), temperature: Some(0.2), top_p: Some(0.9), ..Self::default() }
    }

    /// Those of a folder, and the ids that end a reply as far as the file says.
    ///
    /// # Errors
    /// The file cannot be read, is no JSON object, or names end tokens that are none.
    pub(super) fn of_folder(folder: &Path) -> Result<(Self, Vec<u32>), Error> {
        let path = folder.join(FILE);
        if !files::exists(&path).map_err(Error::read(&path))? {
            return Ok((Self { file: path, ..Self::default() }, Vec::new()));
        }
        Self::of_json(&read_text(&path)?, &path)
    }

    /// Those of a `generation_config.json`; `do_sample` has no say.
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

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.named().next().is_none()
    }

    /// A `generation_config.json` with them, the tokenizer's BOS and the end ids. transformers heeds them where
    /// `do_sample` is true.
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

    /// The entries of a GGUF file that say them, in the types that llama.cpp wants.
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

    /// The values that there are, by their names in JSON.
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

    /// What the file calls a value, by the field of `Sampling` that it sets.
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
