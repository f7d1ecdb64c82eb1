//! Reads PyTorch's files (`pytorch_model.bin`, `lit_model.pth`, `consolidated.00.pth`).
//!
//! Such a file is a zip archive. It holds a pickle that describes the tensors, and the storages of the tensors as plain
//! bytes. The pickle is never executed. Tensors are memory-mapped; torch 2 aligns them to 64 bytes, earlier versions do
//! not align them. Several tensors may share a storage, as tied weights do. A view that is not contiguous (transposed,
//! broadcast) is an error: copying it would let a small file ask for any amount of memory, and no published checkpoint
//! has one.

use std::path::Path;

use bytes::Bytes;

use crate::checkpoint::error::Error;
use crate::checkpoint::read::map_weights;
use crate::checkpoint::tensors::{Tensor, Tensors};
use crate::quant::{Layout, Scheme};

use super::machine::View;
use super::pickle;
use super::zip::Archive;

/// Memory-maps a file and adds its tensors to `tensors`, under their names in the file.
///
/// # Errors
/// The file is not a zip archive (torch before 1.6), breaks a rule of the format, holds anything but plain tensors, or
/// holds a type that no supported model has.
pub fn read(path: &Path, tensors: &mut Tensors) -> Result<(), Error> {
    parse(path, &map_weights(path)?, tensors)
}

fn parse(path: &Path, bytes: &Bytes, tensors: &mut Tensors) -> Result<(), Error> {
    check_form(path, bytes)?;
    let archive = Archive::read(path, bytes)?;
    let root = root(path, &archive)?;
    match archive.get(&format!("{root}byteorder")).map(|order| order.trim_ascii()) {
        None | Some(b"little") => {}
        Some(_) => return Err(Error::unsupported(path, "a byte order other than little")),
    }
    let pickle = archive.get(&format!("{root}data.pkl")).map(Bytes::as_ref).unwrap_or_default();
    for (name, view) in pickle::state_dict(path, pickle)? {
        let storage = archive.get(&format!("{root}data/{}", view.key));
        let tensor = place(path, name, &view, storage)?;
        tensors.insert(path, name.into(), tensor)?;
    }
    Ok(())
}

/// Checks that the file is a zip archive. Files of torch before 1.6 get an error that says so.
fn check_form(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let is_tar = bytes.get(257..262) == Some(b"ustar");
    // The magic number that torch.save wrote before 1.6, as the first pickle of the file.
    let is_old = bytes.get(2..).is_some_and(|rest| rest.starts_with(b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."));
    match bytes.starts_with(b"PK\x03\x04") {
        true => Ok(()),
        false if is_tar || is_old => {
            Err(Error::unsupported(path, "the form that torch.save wrote before version 1.6"))
        }
        false => {
            Err(Error::malformed(path, "is not a PyTorch file: it does not begin as a zip archive does"))
        }
    }
}

/// Returns the archive's one folder, with its slash. torch names it after the file.
fn root<'a>(path: &Path, archive: &'a Archive) -> Result<&'a str, Error> {
    let is_root = |root: &&str| root.ends_with('/') && !root[..root.len() - 1].contains('/');
    let mut roots = archive.names().filter_map(|name| name.strip_suffix("data.pkl")).filter(is_root);
    match (roots.next(), roots.next()) {
        (Some(root), None) => Ok(root),
        (None, _) => Err(Error::malformed(path, "is not a PyTorch file: the archive holds no data.pkl")),
        (Some(_), Some(_)) => Err(Error::malformed(path, "the archive holds several data.pkl")),
    }
}

/// Returns the tensor of a view, as a slice of its storage.
fn place(path: &Path, name: &str, view: &View, storage: Option<&Bytes>) -> Result<Tensor, Error> {
    let malformed = |rule: String| Error::malformed(path, format!("tensor {name} {rule}"));
    let scheme = match view.kind {
        "FloatStorage" => Scheme::F32,
        "HalfStorage" => Scheme::F16,
        "BFloat16Storage" => Scheme::Bf16,
        other => return Err(Error::unsupported(path, format!("tensor {name} in a {other}"))),
    };
    let Some(storage) = storage else {
        return Err(malformed(format!("lies in the storage {}, which is missing", view.key)));
    };
    if scheme.row_bytes(view.elements) != Some(storage.len()) {
        let (bytes, elements) = (storage.len(), view.elements);
        return Err(malformed(format!(
            "lies in a storage of {bytes} bytes, which is not {elements} {scheme}"
        )));
    }
    let beyond = || malformed("reaches beyond the end of its storage".into());
    let count = view.shape.iter().try_fold(1usize, |count, d| count.checked_mul(*d)).ok_or_else(beyond)?;
    if !is_contiguous(view) {
        return Err(Error::unsupported(path, format!("tensor {name}, a transposed or strided view,")));
    }
    let end = view.offset.checked_add(count).filter(|end| *end <= view.elements).ok_or_else(beyond)?;
    // Cannot overflow: both are at most the storage's elements, whose bytes are those of a mapped file.
    let size = scheme.block_bytes();
    let bytes = storage.slice(view.offset * size..end * size);
    Ok(Tensor { scheme, layout: Layout::Rows, shape: view.shape.clone(), bytes })
}

/// Returns whether a view is contiguous. Strides of dimensions of size 1, and all strides of an empty tensor, do not
/// matter.
fn is_contiguous(view: &View) -> bool {
    if view.shape.contains(&0) {
        return true;
    }
    let mut expected = 1;
    for (size, stride) in view.shape.iter().zip(&view.stride).rev() {
        if *size != 1 && *stride != expected {
            return false;
        }
        // Cannot overflow: the product of all sizes was checked by the caller.
        expected *= size;
    }
    true
}

#[cfg(test)]
mod tests;
