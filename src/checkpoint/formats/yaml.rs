//! Reads YAML of the kind that PyYAML dumps: one document, no anchor, alias or tag, no repeated key.
//!
//! Without aliases nothing expands, and without tags a file cannot name types to build.

use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

use crate::checkpoint::error::Error;

/// Maximum size of a file, in bytes. litgpt writes about 1,200.
const LARGEST: usize = 64 << 10;

/// Maximum number of nested levels. litgpt writes two.
const DEEPEST: usize = 8;

/// Returns the mapping that a file holds. A plain scalar that is a JSON value becomes that value; any other is text.
///
/// # Errors
/// The text is not YAML, is not a mapping, or breaks a rule of the module.
pub fn read(text: &str, path: &Path) -> Result<Map<String, Value>, Error> {
    let fail = |rule: String| Err(Error::config(path, rule));
    if text.len() > LARGEST {
        return fail(format!("is {} bytes long, at most {LARGEST} are read", text.len()));
    }
    let mut builder = Builder { open: Vec::new(), root: None };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for event in Parser::new_from_str(text) {
        let step = event.map_err(|e| e.to_string()).and_then(|(event, span)| {
            let line = span.start.line();
            builder.step(event).map_err(|rule| format!("{rule} in line {line}"))
        });
        if let Err(rule) = step {
            return fail(format!("is not plain YAML: {rule}"));
        }
    }
    match builder.root {
        Some(Value::Object(map)) => Ok(map),
        _ => fail("is not a YAML mapping".into()),
    }
}

/// A list or mapping whose end has not been read yet.
enum Open {
    List(Vec<Value>),
    /// The entries, and the key whose value comes next.
    Mapping(Map<String, Value>, Option<String>),
}

struct Builder {
    open: Vec<Open>,
    root: Option<Value>,
}

impl Builder {
    fn step(&mut self, event: Event) -> Result<(), &'static str> {
        match event {
            Event::Alias(_) => Err("an alias"),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                Err("an anchor")
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => Err("a tag"),
            Event::Scalar(text, style, ..) => self.scalar(&text, style),
            Event::SequenceStart(..) => self.begin(Open::List(Vec::new())),
            Event::MappingStart(..) => self.begin(Open::Mapping(Map::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(list)) => self.put(Value::Array(list)),
                Some(Open::Mapping(map, None)) => self.put(Value::Object(map)),
                _ => Err("an end without a beginning"),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, open: Open) -> Result<(), &'static str> {
        if let Some(Open::Mapping(_, None)) = self.open.last() {
            return Err("a key that is not text");
        }
        if self.open.len() >= DEEPEST {
            return Err("nesting too deep");
        }
        self.open.push(open);
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle) -> Result<(), &'static str> {
        if let Some(Open::Mapping(map, key @ None)) = self.open.last_mut() {
            if map.contains_key(text) {
                return Err("a repeated key");
            }
            *key = Some(text.into());
            return Ok(());
        }
        let plain = match (style, text) {
            (ScalarStyle::Plain, "" | "~") => Some(Value::Null),
            (ScalarStyle::Plain, text) => serde_json::from_str(text).ok().filter(|v: &Value| !v.is_string()),
            _ => None,
        };
        self.put(plain.unwrap_or_else(|| text.into()))
    }

    fn put(&mut self, value: Value) -> Result<(), &'static str> {
        match self.open.last_mut() {
            Some(Open::List(list)) => list.push(value),
            Some(Open::Mapping(map, key)) => match key.take() {
                Some(key) => drop(map.insert(key, value)),
                None => return Err("a key that is not text"),
            },
            None if self.root.is_some() => return Err("a second document"),
            None => self.root = Some(value),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(text: &str) -> Result<Value, String> {
        read(text, Path::new("model_config.yaml")).map(Value::Object).map_err(|e| e.to_string())
    }

    #[test]
    fn what_pyyaml_dumps_is_read() {
        let text = "bias: false\nempty: []\nhf_config:\n  name: x-{}b\n  org: '1'\nindices:\n- 1\n- 0\nnorm_eps: 1.0e-05\n\
            none: null\nquoted: \"a\\tb\"\nrope: {}\nsize: 32\ntilde: ~\nversion: 1.2.3\n";
        let expected = json!({"bias": false, "empty": [], "hf_config": {"name": "x-{}b", "org": "1"}, "indices": [1, 0],
            "norm_eps": 1e-5, "none": null, "quoted": "a\tb", "rope": {}, "size": 32, "tilde": null,
            "version": "1.2.3"});
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn what_expands_or_names_types_is_refused() {
        let mut bomb = String::from("a0: &a0 [x, x]\n");
        (1..30).for_each(|i| bomb += &format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}]\n", i - 1));
        for (text, part) in [
            (bomb.as_str(), "an anchor in line 1"),
            ("a: &x 1\nb: *x\n", "an anchor"),
            ("a: 1\nb: *x\n", "not plain YAML"),
            ("<<: *x\n", "not plain YAML"),
            ("a: !!python/object/apply:os.system [x]\n", "a tag in line 1"),
            ("a: !!int 1\n", "a tag"),
            ("a: 1\nb: 2\na: 3\n", "a repeated key in line 3"),
            ("? [a]\n: 1\n", "a key that is not text"),
            ("---\na: 1\n---\nb: 2\n", "a second document"),
            ("- 1\n", "is not a YAML mapping"),
            ("", "is not a YAML mapping"),
            ("a: [1\n", "not plain YAML"),
            ("a: \"x\n", "not plain YAML"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part) && !error.contains('\n'), "{text:?}: {error}");
        }
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let deep = |n: usize| format!("a: {}{}\n", "[".repeat(n), "]".repeat(n));
        assert!(parse(&deep(DEEPEST - 1)).is_ok());
        assert!(parse(&deep(DEEPEST)).unwrap_err().contains("nesting too deep"));
        assert!(parse(&"[".repeat(LARGEST)).is_err());
        assert!(parse(&"{a: ".repeat(LARGEST / 4)).is_err());
        assert!(parse(&"a: 1\n".repeat(LARGEST)).unwrap_err().contains("at most 65536 are read"));
    }
}
