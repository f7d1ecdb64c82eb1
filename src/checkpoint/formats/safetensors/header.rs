//! Reads the header of a safetensors file entry by entry. A header of 100 MB parsed at once takes gigabytes.
//!
//! The rules are those of the official crate (`safetensors` 0.8, `Metadata::validate`): every byte of data belongs to
//! one tensor, and a tensor's size fits its shape. Two rules are stricter: the crate's limit of 100 MB is lower here,
//! and repeated names, which the format forbids but the crate accepts, are an error.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use ::safetensors::Dtype;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::checkpoint::Error;
use crate::checkpoint::tensors::MOST_TENSORS;
use crate::json::{self, Capped};
use crate::system::quote::short;

/// Maximum size of a header, in bytes. A tensor takes about 100 bytes.
const LARGEST: u64 = 16 << 20;

/// Maximum number of dimensions of a tensor.
const DIMENSIONS: usize = 8;

/// A tensor as the header describes it.
pub struct Entry {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// The tensor's bytes in the file.
    pub span: Range<usize>,
}

#[derive(Deserialize)]
struct Info {
    dtype: Dtype,
    shape: Capped<usize, DIMENSIONS>,
    data_offsets: (usize, usize),
}

/// Returns the tensors of a file, in the order of their data.
///
/// # Errors
/// The file breaks a rule of the format, or has more tensors than any model.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Vec<Entry>, Error> {
    let broken = |rule: String| Error::malformed(path, format!("not a whole safetensors file: {rule}"));
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Err(broken("its header is too small".into()));
    };
    let length = u64::from_le_bytes(*length);
    if length > LARGEST {
        return Err(broken(format!("its header has {length} bytes, at most {LARGEST} are read")));
    }
    let Some((header, data)) = rest.split_at_checked(length as usize) else {
        return Err(broken(format!("it ends within its header of {length} bytes")));
    };
    let Entries(mut entries) =
        json::skimmed(header).map_err(|error| broken(format!("its header {}", json::rule(&error))))?;
    entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Error::DuplicateTensor { path: path.into(), name: pair[0].0.clone() });
    }
    entries.sort_by_key(|(_, info)| info.data_offsets);
    let end = check_spans(&entries).map_err(broken)?;
    if end != data.len() {
        let rule = format!("the header promises {end} bytes of tensors, the file holds {}", data.len());
        return Err(Error::malformed(path, rule));
    }
    let data_at = bytes.len() - data.len();
    let placed = |(name, info): (String, Info)| {
        let (start, end) = info.data_offsets;
        Entry { name, dtype: info.dtype, shape: info.shape.0, span: data_at + start..data_at + end }
    };
    Ok(entries.into_iter().map(placed).collect())
}

/// Checks that the tensors' data has no gaps and fits their shapes. Returns the end of the last tensor.
fn check_spans(entries: &[(String, Info)]) -> Result<usize, String> {
    let mut at = 0;
    for (name, Info { dtype, shape, data_offsets: (start, end) }) in entries {
        if *start != at || end < start {
            return Err(format!("tensor {} does not begin where the one before it ends", short(name)));
        }
        let elements = shape.0.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        let bits = elements.and_then(|elements| elements.checked_mul(dtype.bitsize()));
        if bits.is_none_or(|bits| bits % 8 != 0 || bits / 8 != end - start) {
            let size = end - start;
            return Err(format!(
                "tensor {} has {size} bytes, which is not {:?} of {dtype:?}",
                short(name),
                shape.0
            ));
        }
        at = *end;
    }
    Ok(at)
}

struct Entries(Vec<(String, Info)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(header: D) -> Result<Self, D::Error> {
        header.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let (mut entries, mut has_metadata) = (Vec::new(), false);
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                if std::mem::replace(&mut has_metadata, true) {
                    return Err(json::twice(&name));
                }
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if entries.len() == MOST_TENSORS {
                return Err(serde::de::Error::custom(format_args!("more than {MOST_TENSORS} tensors")));
            }
            entries.push((name, map.next_value()?));
        }
        Ok(Entries(entries))
    }
}
