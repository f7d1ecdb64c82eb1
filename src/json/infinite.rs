//! Numbers that are not finite: `NaN`, `Infinity`, `-Infinity`, and those beyond every float, such as `1e999`.
//!
//! Python's `json` writes the first three and reads all of them, so model files have them and transformers reads these
//! files. A [`Value`] has no such number. Each is replaced with an object that has no meaning in any file. A field that
//! is not used may hold this object; in a field that is used, the object is a value of the wrong type.

use std::fmt::Display;

use serde::de::IgnoredAny;
use serde_json::{Error, Value, json};

/// The numbers' names and the codes that replace them. The codes are small, because a text may have many.
const NAMES: [(&str, i64); 3] = [("NaN", 0), ("Infinity", 1), ("-Infinity", -1)];

/// Parses a text. If that fails, parses it again with the numbers that are not finite replaced.
pub(super) fn with_infinite<T>(text: &[u8], parse: impl Fn(&[u8]) -> Result<T, Error>) -> Result<T, Error> {
    match parse(text) {
        Err(error) if error.is_syntax() => match replaced(text) {
            Some(text) => parse(&text),
            None => Err(error),
        },
        parsed => parsed,
    }
}

/// Returns whether the value stands for a number that is not finite.
pub fn is_infinite(value: &Value) -> bool {
    name(value).is_some()
}

/// Returns a value for a message, as the file spells it.
pub fn shown(value: &Value) -> Box<dyn Display + '_> {
    match name(value) {
        Some(name) => Box::new(name),
        None => Box::new(value),
    }
}

fn name(value: &Value) -> Option<&'static str> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    let code = object.get("")?.as_i64()?;
    NAMES.iter().find(|(_, known)| *known == code).map(|(name, _)| *name)
}

/// Maximum growth of a text in bytes: enough for about ten thousand numbers.
const GROWTH: usize = 64 << 10;

/// Replaces the numbers that are not finite. `None` if the text has none, or more than any real file.
fn replaced(text: &[u8]) -> Option<Vec<u8>> {
    let (mut new, mut taken, mut at) = (Vec::new(), 0, 0);
    while let Some(byte) = text.get(at) {
        let rest = &text[at..];
        let end = at
            + match byte {
                b'"' => string(rest),
                b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => word(rest),
                _ => 1,
            };
        if let Some(code) = std::str::from_utf8(&text[at..end]).ok().and_then(code) {
            if taken == 0 {
                new.reserve_exact(text.len() + 2 * GROWTH);
            }
            new.extend_from_slice(&text[taken..at]);
            new.extend_from_slice(json!({"": code}).to_string().as_bytes());
            taken = end;
            if new.len() > taken + GROWTH {
                return None;
            }
        }
        at = end;
    }
    if taken == 0 {
        return None;
    }
    new.extend_from_slice(&text[taken..]);
    Some(new)
}

/// Returns the length of the string at the start of a text.
fn string(text: &[u8]) -> usize {
    let mut escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let is_end = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
}

/// Returns the length of the number or name at the start of a text.
fn word(text: &[u8]) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    text.iter().position(|byte| !is_part(byte)).unwrap_or(text.len())
}

/// Returns the code of a number that is not finite.
fn code(word: &str) -> Option<i64> {
    if let Some((_, code)) = NAMES.iter().find(|(name, _)| *name == word) {
        return Some(*code);
    }
    // Rust's parser has other names for these numbers, and accepts numbers that are not JSON.
    let is_number = serde_json::from_str::<IgnoredAny>(word).is_ok();
    let number = word.parse::<f64>().ok().filter(|number| is_number && number.is_infinite())?;
    Some(if number > 0.0 { 1 } else { -1 })
}

#[cfg(test)]
mod tests {
    use super::super::value::{SETTINGS, object, typed, value};
    use super::*;

    #[test]
    fn numbers_that_python_reads_and_json_does_not_have_stand_for_themselves_alone() {
        let text = br#"{"a": NaN, "b":[Infinity,-Infinity ,1e999,-1E+999], "NaN": "Infinity \" NaN", "c": 1e308, "d": 1e-999}"#;
        let map = object(text, SETTINGS, &[]).unwrap();
        let list = map["b"].as_array().unwrap();
        let names: Vec<String> =
            list.iter().chain([&map["a"]]).map(|value| shown(value).to_string()).collect();
        assert_eq!(names, ["Infinity", "-Infinity", "Infinity", "-Infinity", "NaN"]);
        assert!(list.iter().all(|value| is_infinite(value) && value.as_f64().is_none()));
        assert_eq!(
            (map["NaN"].as_str(), map["c"].as_f64(), map["d"].as_f64()),
            (Some("Infinity \" NaN"), Some(1e308), Some(0.0))
        );
        assert!(!is_infinite(&map["c"]) && shown(&map["NaN"]).to_string() == r#""Infinity \" NaN""#);
        let digits = format!("[{}, {}]", "9".repeat(400), "9".repeat(300));
        let list = value(digits.as_bytes(), SETTINGS).unwrap();
        assert!(is_infinite(&list[0]) && list[1].is_number());
        // A type cannot hold them.
        assert!(typed::<f64>(b"NaN", SETTINGS).is_err());
    }

    #[test]
    fn what_python_does_not_read_either_is_an_error() {
        for text in [
            "nan",
            "[inf]",
            "+Infinity",
            "{\"a\": NaNs}",
            "[1e9999999x]",
            "NaN NaN",
            "{NaN: 1}",
            "[01e999]",
            "\"NaN",
            "[-]",
        ] {
            let error = value(text.as_bytes(), SETTINGS).unwrap_err();
            assert!(!error.to_string().is_empty(), "{text}");
        }
    }
}
