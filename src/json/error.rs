//! Parse errors in terms of JSON: serde's messages use the names of Rust's types.

use std::fmt::{self, Display, Formatter};

use crate::system::quote::beginning;

/// Maximum length in bytes of a value that a message quotes.
const LONGEST: usize = 200;

/// The error for a text that is not JSON or not of the expected type.
#[derive(Debug)]
pub struct Error(serde_json::Error);

impl Error {
    /// Returns whether the text is JSON, but not of the expected type.
    pub fn is_data(&self) -> bool {
        self.0.is_data()
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self(error)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0)
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let place = match (self.0.line(), self.0.column()) {
            (0, _) => String::new(),
            (line, column) => format!(" at line {line} column {column}"),
        };
        let rule = text.strip_suffix(&place).unwrap_or(&text);
        write!(f, "{}{place}", worded(rule))
    }
}

/// Messages of serde and serde_json, and their replacements.
const RULES: [(&str, &str); 9] = [
    ("EOF while parsing a list", "it ends within a list"),
    ("EOF while parsing an object", "it ends within an object"),
    ("EOF while parsing a string", "it ends within a string"),
    ("EOF while parsing a value", "it ends where a value is expected"),
    ("expected value", "a value is expected"),
    ("expected ident", "true, false or null is expected"),
    ("trailing characters", "more follows the end of its value"),
    ("recursion limit exceeded", "values nest more than 128 deep"),
    ("key must be a string", "a key is not a string"),
];

fn worded(rule: &str) -> String {
    if let Some((_, words)) = RULES.iter().find(|(known, _)| *known == rule) {
        return (*words).into();
    }
    if let Some(field) = between(rule, "missing field `", "`") {
        return format!("the field {field} is missing");
    }
    if let Some(field) = between(rule, "duplicate field `", "`") {
        return format!("the field {field} is given twice");
    }
    for kind in ["invalid type: ", "invalid value: "] {
        if let Some((found, expected)) =
            rule.strip_prefix(kind).and_then(|rest| rest.rsplit_once(", expected "))
        {
            return format!("expected {}, found {}", kind_of(expected), value(found));
        }
    }
    let length = rule.strip_prefix("invalid length ").and_then(|rest| rest.split_once(", expected "));
    match length {
        Some((length, expected)) => format!("expected {}, found {length} items", kind_of(expected)),
        None => rule.into(),
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(after)
}

/// Returns the JSON name of an expected type.
fn kind_of(expected: &str) -> String {
    let size = ["an array of length ", "a tuple of size ", "tuple of "];
    if let Some(size) = size.iter().find_map(|form| expected.strip_prefix(form)) {
        let count = size.split_whitespace().next().unwrap_or(size);
        return format!("a list of {count} items");
    }
    match expected {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a borrowed string" | "a character" => "a string",
        "unit" => "null",
        "a sequence" => "a list",
        "a map" => "an object",
        _ if expected.starts_with("struct ") => "an object",
        _ if expected.starts_with("tuple struct ") => "a list",
        _ => expected,
    }
    .into()
}

/// Returns the found value in terms of JSON.
fn value(found: &str) -> String {
    let inner = |name| between(found, name, "`");
    let plain = ["integer `", "floating point `", "boolean `"].into_iter().find_map(inner);
    match (found, plain) {
        ("map", _) => "an object".into(),
        ("sequence", _) => "a list".into(),
        ("unit value" | "Option value", _) => "null".into(),
        (_, Some(value)) => value.into(),
        (_, None) => match found.strip_prefix("string ") {
            Some(text) => beginning(text, LONGEST).to_string(),
            None => found.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct File {
        count: u32,
        names: Vec<String>,
        share: Option<f32>,
        pair: Option<(u8, u8)>,
        on: Option<bool>,
    }

    fn error(text: &str) -> String {
        Error::from(serde_json::from_str::<File>(text).unwrap_err()).to_string()
    }

    #[test]
    fn no_words_of_rust_are_shown() {
        for (text, expected) in [
            ("[", "it ends within a list at line 1 column 1"),
            ("", "it ends where a value is expected at line 1 column 0"),
            ("{\"count\": \"a", "it ends within a string at line 1 column 12"),
            ("oops", "a value is expected at line 1 column 1"),
            ("3", "expected an object, found 3 at line 1 column 1"),
            ("null", "expected an object, found null at line 1 column 4"),
            ("{}", "the field count is missing at line 1 column 2"),
            ("{\"count\": -1}", "expected a whole number, 0 or more, found -1 at line 1 column 12"),
            ("{\"count\": 1.5}", "expected a whole number, 0 or more, found 1.5 at line 1 column 13"),
            (
                "{\"count\": \"1, expected 2\"}",
                "expected a whole number, 0 or more, found \"1, expected 2\" at line 1 column 25",
            ),
            ("{\"count\": {}}", "expected a whole number, 0 or more, found an object at line 1 column 10"),
            ("{\"names\": {}}", "expected a list, found an object at line 1 column 10"),
            ("{\"names\": [[]]}", "expected a string, found a list at line 1 column 11"),
            ("{\"share\": true}", "expected a number, found true at line 1 column 14"),
            ("{\"pair\": [1]}", "expected a list of 2 items, found 1 items at line 1 column 12"),
            ("{\"on\": 1}", "expected true or false, found 1 at line 1 column 8"),
            ("{\"count\": 1, \"count\": 2}", "the field count is given twice at line 1 column 20"),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
    }
}
