//! Writes a GGUF file of version 3: metadata, then the tensors.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::checkpoint::convert::output::Output;
use crate::checkpoint::convert::plan::{Payload, Sink};

/// Alignment of tensor data, in bytes: the format's default.
const ALIGNMENT: u64 = 32;

/// A metadata value with its type. llama.cpp requires a specific type for each entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
}

/// A GGUF file to be written.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    header: Vec<u8>,
    tensors: Vec<Output>,
}

impl File {
    /// Returns the file `path` with this metadata and these tensors.
    pub fn new(path: PathBuf, entries: &[(String, Entry)], tensors: Vec<Output>) -> Self {
        Self { path, header: header(entries, &tensors), tensors }
    }
}

impl Payload for File {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> u64 {
        self.header.len() as u64 + self.tensors.iter().map(padded).sum::<u64>()
    }

    fn tensors(&self) -> &[Output] {
        &self.tensors
    }

    fn produce(&self, sink: &mut Sink<'_>) -> io::Result<()> {
        sink(self.header.clone().into())?;
        for tensor in &self.tensors {
            tensor.produce(sink)?;
            let gap = padded(tensor) - tensor.size();
            sink(Bytes::from_static(&[0; ALIGNMENT as usize]).slice(..gap as usize))?;
        }
        Ok(())
    }
}

/// Returns a tensor's size in bytes, padded to the alignment.
fn padded(tensor: &Output) -> u64 {
    tensor.size().next_multiple_of(ALIGNMENT)
}

/// Returns all bytes before the first tensor: counts, metadata and tensor descriptions.
fn header(entries: &[(String, Entry)], tensors: &[Output]) -> Vec<u8> {
    let mut header = b"GGUF\x03\0\0\0".to_vec();
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend((entries.len() as u64).to_le_bytes());
    for (key, entry) in entries {
        put_text(&mut header, key);
        entry.put(&mut header);
    }
    let mut offset = 0u64;
    for tensor in tensors {
        put_text(&mut header, &tensor.name);
        header.extend((tensor.shape.len() as u32).to_le_bytes());
        header.extend(tensor.shape.iter().rev().flat_map(|d| (*d as u64).to_le_bytes()));
        header.extend(tensor.scheme.ggml_type().to_le_bytes());
        header.extend(offset.to_le_bytes());
        offset += padded(tensor);
    }
    header.resize(header.len().next_multiple_of(ALIGNMENT as usize), 0);
    header
}

impl Entry {
    /// Appends the type and the value. The type ids are those of `gguf_type` in gguf.h.
    fn put(&self, out: &mut Vec<u8>) {
        fn array<T>(out: &mut Vec<u8>, kind: u32, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
            out.extend([9, kind].map(u32::to_le_bytes).concat());
            out.extend((items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| put(out, item));
        }
        match self {
            Entry::U32(value) => out.extend([4, *value].map(u32::to_le_bytes).concat()),
            Entry::I32(value) => {
                out.extend(5u32.to_le_bytes());
                out.extend(value.to_le_bytes());
            }
            Entry::F32(value) => out.extend([6, value.to_bits()].map(u32::to_le_bytes).concat()),
            Entry::Bool(value) => {
                out.extend(7u32.to_le_bytes());
                out.push((*value).into());
            }
            Entry::Text(text) => {
                out.extend(8u32.to_le_bytes());
                put_text(out, text);
            }
            Entry::Texts(texts) => array(out, 8, texts, |out, text| put_text(out, text)),
            Entry::I32s(values) => array(out, 5, values, |out, value| out.extend(value.to_le_bytes())),
            Entry::F32s(values) => array(out, 6, values, |out, value| out.extend(value.to_le_bytes())),
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
