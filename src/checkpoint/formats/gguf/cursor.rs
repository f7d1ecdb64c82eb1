//! A cursor over a GGUF header, and the values of its metadata.

use std::borrow::Cow;
use std::path::Path;

use bytes::Bytes;

use crate::checkpoint::Error;

/// Maximum length of a string in a header, in bytes. The longest strings are chat templates.
const LONGEST_STRING: u64 = 16 << 20;

/// Maximum nesting of arrays. Published files have one level.
const DEEPEST: usize = 4;

/// Maximum number of items of a list: about a hundred times the largest vocabulary.
const MOST_ITEMS: u64 = 1 << 24;

/// A metadata value. Texts and lists are slices of the file, so they take no memory until they are read.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(Bytes),
    Array(List),
}

/// A list as the file stores it; every item has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    kind: u32,
    count: usize,
    bytes: Bytes,
}

impl List {
    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns an iterator that decodes the items.
    pub fn iter(&self) -> impl Iterator<Item = Value> {
        let mut cursor = Cursor::new(Path::new(""), &self.bytes);
        // The items were checked when the file was read, so no error is lost here.
        (0..self.count).map_while(move |_| cursor.nested_value("", self.kind, 0).ok())
    }
}

impl Value {
    /// Returns the text if the value is text in UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// Returns the text if the value is text, with invalid UTF-8 replaced.
    ///
    /// Some vocabularies have tokens that end within a character. The bytes of such tokens are written in the
    /// byte-level alphabet or as <0xNN>, so the replacement loses no text.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Text(text) => Some(String::from_utf8_lossy(text)),
            _ => None,
        }
    }

    /// Returns the truth value; some writers store 0 or 1 instead.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            Value::Unsigned(0) | Value::Signed(0) => Some(false),
            Value::Unsigned(1) | Value::Signed(1) => Some(true),
            _ => None,
        }
    }

    /// Returns the value if it is a whole number within `i64`.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Unsigned(value) => i64::try_from(*value).ok(),
            Value::Signed(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the value if it is a whole number that is not negative.
    pub fn as_usize(&self) -> Option<usize> {
        self.as_i64().and_then(|value| usize::try_from(value).ok())
    }

    /// Returns the value if it is a number of any type.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            other => other.as_i64().map(|value| value as f64),
        }
    }
}

/// Reads a header from front to back and checks that no read passes its end.
pub struct Cursor<'a> {
    path: &'a Path,
    bytes: &'a Bytes,
    position: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(path: &'a Path, bytes: &'a Bytes) -> Self {
        Self { path, bytes, position: 0 }
    }

    pub fn position(&self) -> usize {
        self.position
    }

    pub fn malformed(&self, rule: String) -> Error {
        Error::malformed(self.path, rule)
    }

    /// Reads `count` bytes.
    pub fn bytes(&mut self, count: usize, what: &str) -> Result<&'a [u8], Error> {
        let rest = &self.bytes[self.position..];
        match rest.get(..count) {
            Some(bytes) => {
                self.position += count;
                Ok(bytes)
            }
            None => Err(self.malformed(format!("the file ends within {what}"))),
        }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N, what)?);
        Ok(array)
    }

    pub fn u32(&mut self, what: &str) -> Result<u32, Error> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &str) -> Result<u64, Error> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// Reads a count of elements. It is at most `most`, and the rest of the file holds `least_bytes` for each element.
    pub fn count(&mut self, what: &str, most: u64, least_bytes: u64) -> Result<u64, Error> {
        let count = self.u64(what)?;
        let room = (self.bytes.len() - self.position) as u64 / least_bytes.max(1);
        match count <= most && count <= room {
            true => Ok(count),
            false => Err(self
                .malformed(format!("{what} is {count}, more than the file can hold or the limit of {most}"))),
        }
    }

    pub fn string(&mut self, what: &str) -> Result<String, Error> {
        self.text(what).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn text(&mut self, what: &str) -> Result<&'a [u8], Error> {
        let length = self.count_of(what, LONGEST_STRING, 1)?;
        self.bytes(length as usize, what)
    }

    /// Reads the length of the text or list named `what`.
    fn count_of(&mut self, what: &str, most: u64, least_bytes: u64) -> Result<u64, Error> {
        let start = self.position;
        self.count("", most, least_bytes).or_else(|_| {
            self.position = start;
            // Formatted only for an error, since there may be millions of texts.
            self.count(&format!("the length of {what}"), most, least_bytes)
        })
    }

    pub fn value(&mut self, key: &str, kind: u32) -> Result<Value, Error> {
        self.nested_value(key, kind, 0)
    }

    fn nested_value(&mut self, key: &str, kind: u32, depth: usize) -> Result<Value, Error> {
        Ok(match kind {
            0 => Value::Unsigned(u8::from_le_bytes(self.array(key)?).into()),
            1 => Value::Signed(i8::from_le_bytes(self.array(key)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(key)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array(key)?).into()),
            4 => Value::Unsigned(self.u32(key)?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array(key)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array(key)?).into()),
            7 => match self.array::<1>(key)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [other] => return Err(self.malformed(format!("{key} is a truth value of {other}"))),
            },
            8 => Value::Text(self.bytes.slice_ref(self.text(key)?)),
            9 if depth < DEEPEST => self.items(key, depth)?,
            10 => Value::Unsigned(self.u64(key)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(key)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(key)?)),
            _ => {
                return Err(
                    self.malformed(format!("{key} is of an unknown type {kind}, or nested too deeply"))
                );
            }
        })
    }

    fn items(&mut self, key: &str, depth: usize) -> Result<Value, Error> {
        let kind = self.u32(key)?;
        let least_bytes = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            9 => 12,
            _ => 8,
        };
        let count = self.count_of(key, MOST_ITEMS, least_bytes)? as usize;
        let start = self.position;
        match kind {
            // Any bytes are valid numbers, so the items are not checked one by one.
            0..=6 | 10..=12 => drop(self.bytes(count * least_bytes as usize, key)?),
            _ => (0..count).try_for_each(|_| self.nested_value(key, kind, depth + 1).map(drop))?,
        }
        Ok(Value::Array(List { kind, count, bytes: self.bytes.slice(start..self.position) }))
    }
}
