//! Reads the fields of a JSON object that describes a model.
//!
//! Reading a field removes it, so a field that is left at the end was not understood.

use std::path::Path;

use serde_json::{Map, Value};

use crate::checkpoint::error::Error;
use crate::json::{self, shown};
use crate::system::quote::short;

/// The fields of a JSON object that have not been read yet.
pub struct Fields<'a> {
    /// The fields by name.
    pub map: Map<String, Value>,
    /// The path of the file, for error messages.
    pub path: &'a Path,
}

impl<'a> Fields<'a> {
    /// Parses a JSON object.
    ///
    /// # Errors
    /// The text is not a JSON object, repeats a key, or takes too much memory.
    pub fn from_json(text: &str, path: &'a Path) -> Result<Self, Error> {
        Self::from_json_without(&[], text, path)
    }

    /// Parses a JSON object and skips the fields named `skipped`, which are not needed and may be large.
    ///
    /// # Errors
    /// The errors of [`from_json`](Self::from_json).
    pub fn from_json_without(skipped: &[&str], text: &str, path: &'a Path) -> Result<Self, Error> {
        let map = json::object(text.as_bytes(), json::SETTINGS, skipped);
        map.map(|map| Self { map, path }).map_err(|e| Error::config(path, json::rule(&e)))
    }

    /// Returns an error that names the file and the broken `rule`.
    pub fn fail<T>(&self, rule: impl Into<String>) -> Result<T, Error> {
        Err(Error::config(self.path, rule))
    }

    /// Returns an error that names the file and says that `what` is not understood.
    pub fn not_understood<T>(&self, what: impl std::fmt::Display) -> Result<T, Error> {
        Err(Error::not_understood(self.path, format!("{what} is not understood")))
    }

    /// Removes and returns a field; null counts as missing.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|v| !v.is_null())
    }

    /// Reads a required whole number.
    pub fn size(&mut self, name: &str) -> Result<usize, Error> {
        match self.optional_size(name)? {
            Some(size) => Ok(size),
            None => self.fail(format!("{name} is missing")),
        }
    }

    /// Reads an optional whole number.
    pub fn optional_size(&mut self, name: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_u64().and_then(|v| usize::try_from(v).ok()) {
            Some(size) => Ok(Some(size)),
            None => self.fail(format!("{name} is {}, it must be a whole number", short(shown(&value)))),
        }
    }

    /// Reads a required number.
    pub fn number(&mut self, name: &str) -> Result<f64, Error> {
        match self.optional_number(name)? {
            Some(number) => Ok(number),
            None => self.fail(format!("{name} is missing")),
        }
    }

    /// Reads an optional truth value.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(value) => self.fail(format!("{name} is {}, it must be true or false", short(shown(&value)))),
        }
    }

    /// Reads an optional number.
    pub fn optional_number(&mut self, name: &str) -> Result<Option<f64>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => self.fail(format!("{name} is {}, it must be a number", short(shown(&value)))),
        }
    }

    /// Reads a token id or a list of them; no ids if the field is missing.
    pub fn ids(&mut self, name: &str) -> Result<Vec<u32>, Error> {
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        match ids(&value) {
            Some(ids) => Ok(ids),
            None => self
                .fail(format!("{name} is {}, it must be a token id or a list of them", short(shown(&value)))),
        }
    }

    /// Checks that an optional field has one of these values.
    pub fn expect(&mut self, name: &str, values: &[Value]) -> Result<(), Error> {
        match self.take(name) {
            Some(value) if !values.contains(&value) => {
                self.not_understood(format!("{name} is {}, which", short(shown(&value))))
            }
            _ => Ok(()),
        }
    }

    /// Checks that a required field has one of these values, for a field whose default is another value.
    pub fn require(&mut self, name: &str, values: &[Value]) -> Result<(), Error> {
        match self.map.contains_key(name) {
            true => self.expect(name, values),
            false => self.fail(format!("{name} is missing")),
        }
    }

    /// Checks that each field that was not read is off (null, false or empty), or `harmless` with its value.
    pub fn nothing_left(&self, harmless: impl Fn(&str, &Value) -> bool) -> Result<(), Error> {
        let is_off = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        let unknown = self.map.iter().find(|(name, value)| !is_off(value) && !harmless(name, value));
        match unknown {
            Some((name, value)) => {
                self.not_understood(format!("the field {} ({})", short(name), short(shown(value))))
            }
            None => Ok(()),
        }
    }
}

/// Parses a token id or a list of them. Drops negative ids: they stand for no token.
pub fn ids(value: &Value) -> Option<Vec<u32>> {
    let id = |value: &Value| match value.as_i64() {
        Some(..=-1) => Some(None),
        _ => value.as_u64().and_then(|id| u32::try_from(id).ok()).map(Some),
    };
    let ids: Option<Vec<Option<u32>>> = match value {
        Value::Array(list) => list.iter().map(id).collect(),
        Value::Null => Some(Vec::new()),
        one => id(one).map(|id| vec![id]),
    };
    ids.map(|ids| ids.into_iter().flatten().collect())
}
