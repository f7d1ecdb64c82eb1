//! Reads a safetensors file.

use std::path::Path;

use ::safetensors::Dtype;
use bytes::Bytes;

use super::header::{self, Entry};
use crate::checkpoint::error::Error;
use crate::checkpoint::read::map_weights;
use crate::checkpoint::tensors::{Tensor, Tensors};
use crate::quant::{Layout, Scheme};
use crate::system::quote::short;

/// Memory-maps a file and adds its tensors to `tensors`.
///
/// `blocks_of` returns the scheme and the layout of a tensor that holds blocks, which has type U8 in the file.
///
/// # Errors
/// The file breaks the format, or holds a type that no supported model has.
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

/// Returns the scheme and the layout of a tensor of type `dtype`. U8 is an error unless the tensor holds blocks.
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

/// Returns a tensor whose shape is in elements. For blocks, the file gives the last dimension in bytes.
fn tensor((scheme, layout): (Scheme, Layout), mut shape: Vec<usize>, bytes: Bytes) -> Tensor {
    if let (false, Some(last)) = (scheme.is_dense(), shape.last_mut()) {
        *last = *last / scheme.block_bytes() * scheme.block_len();
    }
    Tensor { scheme, layout, shape, bytes }
}
