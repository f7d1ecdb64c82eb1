//! safetensors files.

use std::path::Path;

use ::safetensors::Dtype;
use bytes::Bytes;

use super::header::{self, Entry};
use crate::checkpoint::error::Error;
use crate::checkpoint::read::map_weights;
use crate::checkpoint::tensors::{Tensor, Tensors};
use crate::quant::{Layout, Scheme};
use crate::system::quote::short;

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
    let bytes = map_weights(path)?;
    for Entry { name, dtype, shape, span } in header::read(path, &bytes)? {
        let stored = stored(path, &name, dtype, blocks_of(&name))?;
        tensors.insert(path, name, tensor(stored, shape, bytes.slice(span)))?;
    }
    Ok(())
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
        _ => Err(Error::unsupported(path, format!("tensor {} of type {dtype:?}", short(name)))),
    }
}

/// A tensor whose shape is in elements: the last dimension of blocks is given in bytes by the file.
fn tensor((scheme, layout): (Scheme, Layout), mut shape: Vec<usize>, bytes: Bytes) -> Tensor {
    if let (false, Some(last)) = (scheme.is_dense(), shape.last_mut()) {
        *last = *last / scheme.block_bytes() * scheme.block_len();
    }
    Tensor { scheme, layout, shape, bytes }
}
