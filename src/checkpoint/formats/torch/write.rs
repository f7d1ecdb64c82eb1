//! Writes a state dict as `torch.save` does: a zip archive with one storage per tensor, and a pickle that names them.
//!
//! The archive follows PKWARE's APPNOTE 6.3.10 as torch's writer does: no compression, each entry's checksum and sizes
//! after its data (so that it can be streamed), data aligned to 64 bytes for memory maps, zip64 records for sizes and
//! positions beyond 4 GiB. The pickle has protocol 2 and uses only instructions that torch's `weights_only` allows.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use crc32fast::Hasher;

use crate::checkpoint::convert::output::Output;
use crate::checkpoint::convert::plan::{Payload, Sink};
use crate::quant::Scheme;

/// Alignment of data in bytes, as in torch's files, for memory maps.
const ALIGNMENT: u64 = 64;

/// Largest number of a 32-bit field. It means that the zip64 field holds the number.
const NARROW: u64 = u32::MAX as u64;

/// Flags of an entry whose checksum and sizes follow its data, and of a name in UTF-8.
const FLAGS: u16 = 1 << 3 | 1 << 11;

/// First version of the zip format with zip64 records.
const VERSION: u16 = 45;

/// A state dict to be written.
#[derive(Debug)]
pub struct StateDict {
    /// Path of the file.
    pub path: PathBuf,
    /// The archive's folder; torch names it after the file.
    pub root: &'static str,
    /// The tensors, all dense. Each gets a storage.
    pub tensors: Vec<Output>,
    /// Further names of tensors, with the index of the tensor.
    pub aliases: Vec<(String, usize)>,
}

impl Payload for StateDict {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> u64 {
        let mut total = 0;
        let mut archive = Archive::new(Box::new(|bytes| {
            total += bytes.len() as u64;
            Ok(())
        }));
        let data: u64 = self.tensors.iter().map(Output::size).sum();
        // A sink that only counts returns no error.
        let _ = self.entries(&mut archive, |_, _| Ok(0)).and_then(|()| archive.finish());
        drop(archive);
        total + data
    }

    fn tensors(&self) -> &[Output] {
        &self.tensors
    }

    fn produce(&self, sink: &mut Sink<'_>) -> io::Result<()> {
        let mut archive = Archive::new(Box::new(sink));
        self.entries(&mut archive, |tensor, sink| {
            let mut hasher = Hasher::new();
            tensor.produce(&mut |bytes| {
                hasher.update(&bytes);
                sink(bytes)
            })?;
            Ok(hasher.finalize())
        })?;
        archive.finish()
    }
}

impl StateDict {
    /// Writes all entries in torch's order. `put` passes a tensor's data to the sink and returns its checksum.
    fn entries(
        &self,
        archive: &mut Archive<'_>,
        mut put: impl FnMut(&Output, &mut Sink<'_>) -> io::Result<u32>,
    ) -> io::Result<()> {
        let root = self.root;
        archive.text(&format!("{root}/data.pkl"), &self.pickle())?;
        archive.text(&format!("{root}/byteorder"), b"little")?;
        for (i, tensor) in self.tensors.iter().enumerate() {
            archive.entry(&format!("{root}/data/{i}"), tensor.size(), |sink| put(tensor, sink))?;
        }
        archive.text(&format!("{root}/version"), b"3\n")
    }

    fn pickle(&self) -> Vec<u8> {
        let mut out = b"\x80\x02}(".to_vec();
        for (i, tensor) in self.tensors.iter().enumerate() {
            put_tensor(&mut out, &tensor.name, tensor, i);
        }
        for (name, i) in &self.aliases {
            put_tensor(&mut out, name, &self.tensors[*i], *i);
        }
        out.extend(b"u.");
        out
    }
}

/// Appends a name and `_rebuild_tensor_v2((storage), 0, shape, strides, False, OrderedDict())`.
fn put_tensor(out: &mut Vec<u8>, name: &str, tensor: &Output, storage: usize) {
    let kind = match tensor.scheme {
        Scheme::F16 => "HalfStorage",
        Scheme::Bf16 => "BFloat16Storage",
        _ => "FloatStorage",
    };
    put_text(out, name);
    out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    put_text(out, "storage");
    out.extend(format!("ctorch\n{kind}\n").into_bytes());
    put_text(out, &storage.to_string());
    put_text(out, "cpu");
    put_number(out, tensor.shape.iter().product());
    out.extend(b"tQ");
    put_number(out, 0);
    put_numbers(out, tensor.shape.iter().copied());
    let strides = (1..=tensor.shape.len()).map(|i| tensor.shape[i..].iter().product());
    put_numbers(out, strides);
    out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_numbers(out: &mut Vec<u8>, numbers: impl Iterator<Item = usize>) {
    out.push(b'(');
    numbers.for_each(|number| put_number(out, number));
    out.push(b't');
}

/// Appends a number in four bytes if it fits, else in eight.
fn put_number(out: &mut Vec<u8>, number: usize) {
    match i32::try_from(number) {
        Ok(number) => {
            out.push(b'J');
            out.extend(number.to_le_bytes());
        }
        Err(_) => {
            out.extend([0x8a, 8]);
            out.extend((number as u64).to_le_bytes());
        }
    }
}

struct Archive<'a> {
    sink: Box<Sink<'a>>,
    /// Bytes written.
    position: u64,
    directory: Vec<u8>,
    entries: u64,
}

impl<'a> Archive<'a> {
    fn new(sink: Box<Sink<'a>>) -> Self {
        Self { sink, position: 0, directory: Vec::new(), entries: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        (self.sink)(Bytes::copy_from_slice(bytes))
    }

    fn text(&mut self, name: &str, text: &[u8]) -> io::Result<()> {
        self.entry(name, text.len() as u64, |sink| {
            sink(Bytes::copy_from_slice(text))?;
            Ok(crc32fast::hash(text))
        })
    }

    /// Writes an entry. `put` passes its `size` bytes of data to the sink and returns their checksum.
    fn entry(
        &mut self,
        name: &str,
        size: u64,
        put: impl FnOnce(&mut Sink<'_>) -> io::Result<u32>,
    ) -> io::Result<()> {
        let start = self.position;
        let wide_sizes = if size >= NARROW { wide(&[size, size]) } else { Vec::new() };
        // Header, name, 64-bit sizes, the padding's header; the padding itself follows.
        let fixed = start + 30 + name.len() as u64 + wide_sizes.len() as u64 + 4;
        let padding = vec![0; (fixed.next_multiple_of(ALIGNMENT) - fixed) as usize];
        let mut header = b"PK\x03\x04".to_vec();
        header.extend([VERSION, FLAGS, 0, 0, 0].map(u16::to_le_bytes).concat());
        // The checksum and the sizes follow the data; here, all ones announce sizes of 64 bits.
        let placeholder = if size >= NARROW { u32::MAX } else { 0 };
        header.extend([0, placeholder, placeholder].map(u32::to_le_bytes).concat());
        header.extend((name.len() as u16).to_le_bytes());
        header.extend(((wide_sizes.len() + 4 + padding.len()) as u16).to_le_bytes());
        header.extend(name.as_bytes());
        header.extend(wide_sizes);
        // The id that torch gives to the padding.
        header.extend(b"FB");
        header.extend((padding.len() as u16).to_le_bytes());
        header.extend(padding);
        self.put(&header)?;
        let checksum = put(&mut *self.sink)?;
        self.position += size;
        let mut behind = b"PK\x07\x08".to_vec();
        behind.extend(checksum.to_le_bytes());
        match size >= NARROW {
            true => behind.extend([size, size].map(u64::to_le_bytes).concat()),
            false => behind.extend([size as u32; 2].map(u32::to_le_bytes).concat()),
        }
        self.put(&behind)?;
        self.list(name, checksum, size, start);
        Ok(())
    }

    /// Adds an entry to the directory.
    fn list(&mut self, name: &str, checksum: u32, size: u64, start: u64) {
        let beyond: Vec<u64> = [size, size, start].into_iter().filter(|number| *number >= NARROW).collect();
        let extra = if beyond.is_empty() { Vec::new() } else { wide(&beyond) };
        let out = &mut self.directory;
        out.extend(b"PK\x01\x02");
        out.extend([VERSION, VERSION, FLAGS, 0, 0, 0].map(u16::to_le_bytes).concat());
        out.extend([checksum, narrow(size), narrow(size)].map(u32::to_le_bytes).concat());
        out.extend([name.len() as u16, extra.len() as u16, 0, 0, 0].map(u16::to_le_bytes).concat());
        out.extend([0, narrow(start)].map(u32::to_le_bytes).concat());
        out.extend(name.as_bytes());
        out.extend(extra);
        self.entries += 1;
    }

    /// Writes the directory and the end records. Like torch, it always writes the zip64 record.
    fn finish(&mut self) -> io::Result<()> {
        let directory = std::mem::take(&mut self.directory);
        let (start, size, entries) = (self.position, directory.len() as u64, self.entries);
        self.put(&directory)?;
        let end = self.position;
        let mut records = b"PK\x06\x06".to_vec();
        records.extend(44u64.to_le_bytes());
        records.extend([VERSION, VERSION].map(u16::to_le_bytes).concat());
        records.extend([0u32; 2].map(u32::to_le_bytes).concat());
        records.extend([entries, entries, size, start].map(u64::to_le_bytes).concat());
        records.extend(b"PK\x06\x07\0\0\0\0");
        records.extend(end.to_le_bytes());
        records.extend(1u32.to_le_bytes());
        records.extend(b"PK\x05\x06\0\0\0\0");
        records.extend([entries.min(u16::MAX.into()) as u16; 2].map(u16::to_le_bytes).concat());
        records.extend([narrow(size), narrow(start)].map(u32::to_le_bytes).concat());
        records.extend([0, 0]);
        self.put(&records)
    }
}

/// Returns a number for a 32-bit field; all ones if it is too large.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Returns the zip64 extra field for numbers that are too large for 32-bit fields.
fn wide(numbers: &[u64]) -> Vec<u8> {
    let length = 8 * numbers.len() as u16;
    let mut extra = [1, length].map(u16::to_le_bytes).concat();
    extra.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    extra
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Layout, Matrix};

    #[test]
    fn data_is_aligned_and_summed_up() {
        let bytes: Vec<u8> = (0..40u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
        let tensor = |name: &str, rows: usize| {
            let bytes = bytes[..rows * 20].to_vec();
            let matrix = Matrix::new(Scheme::F32, rows, 5, bytes.into()).unwrap();
            let (name, shape) = (name.into(), vec![rows, 5]);
            Output {
                name,
                shape,
                kind: None,
                layer: None,
                scheme: Scheme::F32,
                layout: Layout::Rows,
                matrices: vec![matrix],
            }
        };
        let aliases = vec![("again".to_string(), 1)];
        let tensors = vec![tensor("a", 3), tensor("b", 8)];
        let dict = StateDict { path: "x.pth".into(), root: "x", tensors, aliases };
        let mut written = Vec::new();
        dict.produce(&mut |bytes| {
            written.extend_from_slice(&bytes);
            Ok(())
        })
        .unwrap();
        assert_eq!(written.len() as u64, dict.size());
        let place = |data: &[u8]| written.windows(data.len()).position(|bytes| bytes == data).unwrap();
        // Both tensors begin with the same values, so only the longer one is searched for.
        for data in [dict.pickle(), b"little".to_vec(), bytes.clone()] {
            let end = place(&data) + data.len();
            assert!(place(&data).is_multiple_of(64));
            assert_eq!(written[end..end + 4], *b"PK\x07\x08");
            assert_eq!(written[end + 4..end + 8], crc32fast::hash(&data).to_le_bytes());
        }
    }

    /// Files of 8 GiB were checked once: torch, litgpt and Python's zipfile read them. They are too large for a test.
    #[test]
    fn numbers_of_more_than_32_bits_stand_in_the_extra_field() {
        let large = 1 << 32;
        for (size, start, numbers) in [
            (5, 7, vec![]),
            (5, large, vec![large]),
            (large, 7, vec![large, large]),
            (NARROW, large, vec![NARROW, NARROW, large]),
        ] {
            let mut archive = Archive::new(Box::new(|_| Ok(())));
            archive.list("n", 0, size, start);
            let expected = if numbers.is_empty() { Vec::new() } else { wide(&numbers) };
            assert_eq!(archive.directory[47..], expected, "{size} {start}");
            assert_eq!(archive.directory[30], expected.len() as u8);
        }
    }
}
