//! Tools to make broken files of whole ones.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

/// A safetensors file, taken apart.
pub struct SafeTensors {
    pub header: Map<String, Value>,
    pub data: Vec<u8>,
}

impl SafeTensors {
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        Self { header, data: bytes[8 + length..].to_vec() }
    }

    pub fn write(&self, path: &Path) {
        write_safetensors(path, &Value::Object(self.header.clone()).to_string(), &self.data);
    }

    /// The first and the last byte of a tensor within the data.
    pub fn span(&self, name: &str) -> std::ops::Range<usize> {
        let offset = |i: usize| self.header[name]["data_offsets"][i].as_u64().unwrap() as usize;
        offset(0)..offset(1)
    }
}

/// Writes a safetensors file with any header.
pub fn write_safetensors(path: &Path, header: &str, data: &[u8]) {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}

/// Changes a JSON file.
pub fn edit_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// The bytes of a GGUF file, to be damaged in place.
#[derive(Clone)]
pub struct Gguf(pub Vec<u8>);

/// A metadata value: its type, and its bytes.
pub type Typed = (u32, Vec<u8>);

pub fn u32_value(value: u32) -> Typed {
    (4, value.to_le_bytes().to_vec())
}

pub fn text_value(text: &str) -> Typed {
    (8, string(text))
}

/// A list of texts.
pub fn texts_value(texts: &[&str]) -> Typed {
    let mut bytes = 8u32.to_le_bytes().to_vec();
    bytes.extend((texts.len() as u64).to_le_bytes());
    texts.iter().for_each(|text| bytes.extend(string(text)));
    (9, bytes)
}

/// A list of 32-bit values of a type, all the same.
pub fn repeated_value(kind: u32, value: [u8; 4], count: usize) -> Typed {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend((count as u64).to_le_bytes());
    bytes.extend(value.repeat(count));
    (9, bytes)
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl Gguf {
    pub fn fixture(name: &str) -> Self {
        Self(fs::read(crate::support::gguf(name)).unwrap())
    }

    /// Header of an empty file: the magic, version 3, so many tensors and entries.
    pub fn empty(tensors: u64, entries: u64) -> Self {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(entries.to_le_bytes());
        Self(bytes)
    }

    /// Where the bytes after a name begin; names stand after their length.
    fn after(&self, name: &str) -> usize {
        let wanted = string(name);
        let at = self.0.windows(wanted.len()).position(|bytes| bytes == wanted);
        at.unwrap_or_else(|| panic!("{name} is not in the file")) + wanted.len()
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Puts an entry of any type in the place of one, which is renamed out of the way.
    pub fn replace(mut self, key: &str, value: Typed) -> Self {
        let first = self.after(key) - key.len();
        self.0[first] = b'~';
        self.insert(key, value)
    }

    /// Adds an entry before all others, and one of padding, so that the data stays aligned.
    pub fn insert(mut self, key: &str, (kind, value): Typed) -> Self {
        let entry =
            |key: &str, kind: u32, value: &[u8]| [&string(key), &kind.to_le_bytes()[..], value].concat();
        let mut bytes = entry(key, kind, &value);
        let pad = entry("~", 8, &string("")).len();
        let gap = (32 - (bytes.len() + pad) % 32) % 32;
        let count = u64::from_le_bytes(self.0[16..24].try_into().unwrap());
        // Two entries of padding would have the same name.
        let name = format!("~{count}");
        let gap = (gap + 32 - (name.len() - 1)) % 32;
        bytes.extend(entry(&name, 8, &string(&" ".repeat(gap))));
        assert!(bytes.len().is_multiple_of(32));
        self.0.splice(24..24, bytes);
        self.put(16, &(count + 2).to_le_bytes());
        self
    }

    /// Changes the description of a tensor: dimensions (as many as it has), type, offset.
    pub fn describe(mut self, name: &str, change: impl FnOnce(&mut Vec<u64>, &mut u32, &mut u64)) -> Self {
        let at = self.after(name);
        let count = u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap()) as usize;
        let u64_at = |at: usize| u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap());
        let mut dimensions: Vec<u64> = (0..count).map(|i| u64_at(at + 4 + 8 * i)).collect();
        let kind_at = at + 4 + 8 * count;
        let mut kind = u32::from_le_bytes(self.0[kind_at..kind_at + 4].try_into().unwrap());
        let mut offset = u64_at(kind_at + 4);
        change(&mut dimensions, &mut kind, &mut offset);
        assert_eq!(dimensions.len(), count);
        for (i, dimension) in dimensions.iter().enumerate() {
            self.put(at + 4 + 8 * i, &dimension.to_le_bytes());
        }
        self.put(kind_at, &kind.to_le_bytes());
        self.put(kind_at + 4, &offset.to_le_bytes());
        self
    }

    /// Renames a tensor or an entry to a name as long.
    pub fn rename(mut self, name: &str, new: &str) -> Self {
        assert_eq!(name.len(), new.len());
        let at = self.after(name) - name.len();
        self.put(at, new.as_bytes());
        self
    }

    pub fn write(&self, folder: &Path) {
        fs::write(folder.join("x.gguf"), &self.0).unwrap();
    }
}

/// A zip archive of stored entries, as `torch.save` writes them.
pub fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let sizes = [0, data.len() as u32, data.len() as u32].map(u32::to_le_bytes).concat();
        let common = [&[0; 10][..], &sizes, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat();
        let offset = (bytes.len() as u32).to_le_bytes();
        let listed = [&b"PK\x01\x02\0\0"[..], &common, &[0; 10], &offset, name.as_bytes()];
        directory.extend(listed.concat());
        bytes.extend([b"PK\x03\x04", &common[..], name.as_bytes(), data].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let spans = [directory.len(), bytes.len()].map(|n| (n as u32).to_le_bytes()).concat();
    bytes.extend(directory);
    bytes.extend([&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &spans, &[0; 2]].concat());
    bytes
}
