//! Writes a safetensors file: the header, then the tensors in its order.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::checkpoint::convert::output::Output;
use crate::checkpoint::convert::plan::{Payload, Sink};

/// Alignment of the tensor data, in bytes. The official crate aligns it to 8.
const ALIGNMENT: usize = 64;

/// A safetensors file to be written.
#[derive(Debug)]
pub(in crate::checkpoint) struct File {
    path: PathBuf,
    header: Vec<u8>,
    tensors: Vec<Output>,
}

impl File {
    /// Returns the file `path` with these tensors; `format` goes into the header's metadata.
    pub fn new(path: PathBuf, tensors: Vec<Output>, format: &str) -> Self {
        Self { path, header: header(&tensors, format), tensors }
    }
}

impl Payload for File {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> u64 {
        self.header.len() as u64 + self.tensors.iter().map(Output::size).sum::<u64>()
    }

    fn tensors(&self) -> &[Output] {
        &self.tensors
    }

    fn produce(&self, sink: &mut Sink<'_>) -> io::Result<()> {
        sink(self.header.clone().into())?;
        self.tensors.iter().try_for_each(|tensor| tensor.produce(sink))
    }
}

/// Returns the header: length, JSON, spaces up to the alignment.
fn header(tensors: &[Output], format: &str) -> Vec<u8> {
    let mut entries = Map::new();
    entries.insert("__metadata__".into(), json!({"format": format}));
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + tensor.size();
        let (dtype, shape) = tensor.stored();
        entries.insert(
            tensor.name.clone(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}),
        );
        offset = end;
    }
    let mut json = Value::Object(entries).to_string().into_bytes();
    json.resize((json.len() + 8).next_multiple_of(ALIGNMENT) - 8, b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    header
}
