//! safetensors files: the header by the official crate, which checks sizes, spans and overlaps.

mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use ::safetensors::{Dtype, SafeTensors};
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

pub(super) use writer::File;

use super::Error;
use super::map::map;
use super::tensors::{Tensor, Tensors};
use crate::kernels::{Layout, Scheme};

/// Adds the tensors of one file to `tensors`, mapped.
///
/// `blocks_of` says of a tensor whose bytes are blocks (type U8 in the file) of which scheme, and how its rows lie.
///
/// # Errors
/// The file breaks the format, or holds a type that no model of ours has.
pub fn read(
    path: &Path,
    tensors: &mut Tensors,
    blocks_of: impl Fn(&str) -> Option<(Scheme, Layout)>,
) -> Result<(), Error> {
    let bytes = map(path)?;
    let (header, metadata) = SafeTensors::read_metadata(&bytes)
        .map_err(|e| Error::malformed(path, format!("not a whole safetensors file: {e}")))?;
    let data = header + 8;
    if let Some(name) = repeated_name(&bytes[8..data]) {
        return Err(Error::DuplicateTensor { path: path.into(), name });
    }
    if bytes.len() - data != metadata.data_len() {
        let rule = format!(
            "the header promises {} bytes of tensors, the file holds {}",
            metadata.data_len(),
            bytes.len() - data
        );
        return Err(Error::malformed(path, rule));
    }
    for (name, info) in metadata.tensors() {
        let (start, end) = info.data_offsets;
        let span = bytes.slice(data + start..data + end);
        let stored = stored(path, &name, info.dtype, blocks_of(&name))?;
        tensors.insert(path, name, tensor(stored, info.shape.clone(), span))?;
    }
    Ok(())
}

/// The first name that a header has twice. The format forbids it; the crate keeps the last and says nothing.
fn repeated_name(header: &[u8]) -> Option<String> {
    struct Names(Option<String>);
    impl<'de> Deserialize<'de> for Names {
        fn deserialize<D: Deserializer<'de>>(header: D) -> Result<Self, D::Error> {
            header.deserialize_map(Repeated)
        }
    }
    struct Repeated;
    impl<'de> Visitor<'de> for Repeated {
        type Value = Names;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a header")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
            let (mut names, mut repeated) = (BTreeSet::new(), None);
            while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                if let Some(name) = names.replace(name) {
                    repeated.get_or_insert(name);
                }
            }
            Ok(Names(repeated))
        }
    }
    // What is no map at all is the crate's to refuse.
    serde_json::from_slice::<Names>(header).ok()?.0
}

/// How a tensor of a file's type is stored. Types that no weight has are kept out of the way as U8 is not.
fn stored(
    path: &Path,
    name: &str,
    dtype: Dtype,
    blocks: Option<(Scheme, Layout)>,
) -> Result<(Scheme, Layout), Error> {
    match (dtype, blocks) {
        (Dtype::U8, Some(stored)) => Ok(stored),
        (Dtype::F32, None) => Ok((Scheme::F32, Layout::Rows)),
        (Dtype::F16, None) => Ok((Scheme::F16, Layout::Rows)),
        (Dtype::BF16, None) => Ok((Scheme::Bf16, Layout::Rows)),
        _ => Err(Error::unsupported(path, format!("tensor {name} of type {dtype:?}"))),
    }
}

/// A tensor whose shape is in elements: the last dimension of blocks is given in bytes by the file.
fn tensor((scheme, layout): (Scheme, Layout), mut shape: Vec<usize>, bytes: Bytes) -> Tensor {
    if let (false, Some(last)) = (scheme.is_dense(), shape.last_mut()) {
        *last = *last / scheme.block_bytes() * scheme.block_len();
    }
    Tensor { scheme, layout, shape, bytes }
}
