//! Reads a GGUF file of version 2 or 3: metadata and tensors.
//!
//! Follows the format's specification (ggml, `docs/gguf.md`). Checks every count and length against the bytes that are
//! left before it allocates memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::checkpoint::error::Error;
use crate::checkpoint::read::map_weights;
use crate::checkpoint::tensors::{MOST_TENSORS, Tensor};
use crate::quant::{Layout, Scheme};

use super::cursor::{Cursor, Value};

/// Maximum number of metadata entries. Published files have a few dozen.
const MOST_ENTRIES: u64 = 1 << 16;

/// Maximum total size of all metadata keys, in bytes.
const MOST_KEYS: usize = 1 << 20;

/// Maximum number of dimensions of a tensor.
const MOST_DIMENSIONS: u32 = 4;

/// An open GGUF checkpoint in one file or in several: its metadata and its mapped tensors.
#[derive(Debug)]
pub struct Gguf {
    pub(super) path: PathBuf,
    pub(super) parts: Vec<PathBuf>,
    pub(super) metadata: BTreeMap<String, Value>,
    pub(super) tensors: Vec<(String, Tensor)>,
}

impl Gguf {
    /// Opens and checks one file. Tensors are memory-mapped, not read.
    pub(super) fn open_one(path: &Path) -> Result<Self, Error> {
        Self::parse(path, &map_weights(path)?)
    }

    fn parse(path: &Path, bytes: &Bytes) -> Result<Self, Error> {
        let mut cursor = Cursor::new(path, bytes);
        if cursor.bytes(4, "the magic")? != b"GGUF" {
            return Err(Error::malformed(path, "is not a GGUF file: it does not begin with GGUF"));
        }
        let version = cursor.u32("the version")?;
        if version != 2 && version != 3 {
            return Err(Error::unsupported(path, format!("GGUF version {version} (2 and 3 are)")));
        }
        let tensor_count = cursor.count("the number of tensors", MOST_TENSORS as u64, 24)?;
        let entry_count = cursor.count("the number of metadata entries", MOST_ENTRIES, 12)?;
        let metadata = read_metadata(&mut cursor, entry_count)?;
        let descriptions = read_descriptions(&mut cursor, tensor_count)?;
        let data = data_start(path, &metadata, cursor.position())?;
        let tensors =
            descriptions.into_iter().map(|d| d.place(path, bytes, data)).collect::<Result<Vec<_>, _>>()?;
        check_spans(path, &tensors, bytes)?;
        Ok(Self { path: path.into(), parts: vec![path.into()], metadata, tensors })
    }

    /// Returns the file's path; the path of the first file if there are several.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the paths of all files of the checkpoint.
    pub fn parts(&self) -> &[PathBuf] {
        &self.parts
    }

    /// Returns a metadata value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// Returns the keys of all metadata entries.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries().map(|(key, _)| key)
    }

    /// Returns all metadata entries.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.metadata.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Returns the tensors with their names in the file.
    pub fn tensors(&self) -> &[(String, Tensor)] {
        &self.tensors
    }

    /// Returns a tensor by its name in the file.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor)
    }

    /// Returns a metadata value converted by `read`; `None` if the key is missing. `kind` names the expected type in
    /// errors.
    pub(crate) fn typed<T>(
        &self,
        key: &str,
        kind: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.unfit(key, format!("{key} is not {kind}"))),
        }
    }

    /// Returns the error for an invalid value of `key`.
    pub(super) fn unfit(&self, key: &str, rule: String) -> Error {
        match key.starts_with("tokenizer.") {
            true => Error::vocabulary(&self.path, rule),
            false => Error::malformed(&self.path, rule),
        }
    }
}

fn read_metadata(cursor: &mut Cursor, count: u64) -> Result<BTreeMap<String, Value>, Error> {
    let (mut metadata, mut bytes) = (BTreeMap::new(), 0);
    for _ in 0..count {
        let key = cursor.string("a metadata key")?;
        let kind = cursor.u32(&key)?;
        let value = cursor.value(&key, kind)?;
        bytes += key.len();
        if bytes > MOST_KEYS {
            return Err(cursor.malformed(format!("the metadata keys have more than {MOST_KEYS} bytes")));
        }
        if metadata.contains_key(&key) {
            return Err(cursor.malformed(format!("there are two metadata entries named {key}")));
        }
        metadata.insert(key, value);
    }
    Ok(metadata)
}

/// A tensor as the header describes it. The innermost dimension is first; the offset counts from the start of the
/// tensor data.
struct Description {
    name: String,
    dimensions: Vec<u64>,
    kind: u32,
    offset: u64,
}

fn read_descriptions(cursor: &mut Cursor, count: u64) -> Result<Vec<Description>, Error> {
    let mut names = BTreeSet::new();
    let mut descriptions = Vec::new();
    for _ in 0..count {
        let name = cursor.string("a tensor's name")?;
        let dimension_count = cursor.u32(&name)?;
        if dimension_count == 0 || dimension_count > MOST_DIMENSIONS {
            let rule =
                format!("tensor {name} has {dimension_count} dimensions, 1 to {MOST_DIMENSIONS} are allowed");
            return Err(cursor.malformed(rule));
        }
        let dimensions = (0..dimension_count).map(|_| cursor.u64(&name)).collect::<Result<_, _>>()?;
        let (kind, offset) = (cursor.u32(&name)?, cursor.u64(&name)?);
        if !names.insert(name.clone()) {
            return Err(cursor.malformed(format!("there are two tensors named {name}")));
        }
        descriptions.push(Description { name, dimensions, kind, offset });
    }
    Ok(descriptions)
}

/// Returns the position at which tensor data begins: the header's end, aligned.
fn data_start(path: &Path, metadata: &BTreeMap<String, Value>, header: usize) -> Result<usize, Error> {
    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(Value::Unsigned(value)) => *value,
        Some(_) => return Err(Error::malformed(path, "general.alignment is not a whole number")),
    };
    if alignment == 0 || alignment % 8 != 0 || alignment > 1 << 16 {
        return Err(Error::malformed(
            path,
            format!("general.alignment is {alignment}, it must be a multiple of 8 up to 65536"),
        ));
    }
    // The header lies within a mapped file and the alignment is small, so this cannot overflow.
    Ok(header.next_multiple_of(alignment as usize))
}

impl Description {
    /// Returns the tensor as a slice of the file.
    fn place(self, path: &Path, bytes: &Bytes, data: usize) -> Result<(String, Tensor), Error> {
        let Self { name, dimensions, kind, offset } = self;
        let Some(scheme) = Scheme::from_ggml_type(kind) else {
            return Err(Error::unsupported(path, format!("tensor {name} of ggml type {kind}")));
        };
        let beyond = || Error::malformed(path, format!("tensor {name} reaches beyond the end of the file"));
        let shape: Option<Vec<usize>> = dimensions.iter().rev().map(|d| usize::try_from(*d).ok()).collect();
        let shape = shape.ok_or_else(beyond)?;
        let (row, outer) = shape.split_last().ok_or_else(beyond)?;
        let rows = outer.iter().try_fold(1usize, |product, d| product.checked_mul(*d)).ok_or_else(beyond)?;
        if !row.is_multiple_of(scheme.block_len()) {
            let rule = format!("tensor {name} has rows of {row}, not a whole number of {scheme} blocks");
            return Err(Error::malformed(path, rule));
        }
        let row_bytes = scheme.row_bytes(*row).ok_or_else(beyond)?;
        let start = usize::try_from(offset).ok().and_then(|o| o.checked_add(data));
        let end = start.zip(row_bytes.checked_mul(rows)).and_then(|(start, size)| start.checked_add(size));
        match (start, end) {
            (Some(start), Some(end)) if end <= bytes.len() => {
                Ok((name, Tensor { scheme, layout: Layout::Rows, shape, bytes: bytes.slice(start..end) }))
            }
            _ => Err(beyond()),
        }
    }
}

/// Checks that no two tensors overlap.
fn check_spans(path: &Path, tensors: &[(String, Tensor)], bytes: &Bytes) -> Result<(), Error> {
    let base = bytes.as_ptr() as usize;
    let span = |(name, tensor): &'_ (String, Tensor)| {
        let start = tensor.bytes.as_ptr() as usize - base;
        (start, start + tensor.bytes.len(), name.clone())
    };
    let mut spans: Vec<_> = tensors.iter().filter(|(_, t)| !t.bytes.is_empty()).map(span).collect();
    spans.sort();
    let overlap = spans.windows(2).find(|pair| pair[0].1 > pair[1].0);
    match overlap {
        Some(pair) => Err(Error::malformed(path, format!("tensors {} and {} overlap", pair[0].2, pair[1].2))),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests;
