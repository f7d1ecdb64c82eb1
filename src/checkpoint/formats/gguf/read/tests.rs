use super::*;

/// Builds a GGUF file piece by piece.
#[derive(Clone, Default)]
pub(in super::super) struct File(Vec<u8>);

impl File {
    pub(in super::super) fn new(tensors: u64, entries: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(tensors).u64(entries)
    }
    pub(in super::super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    pub(in super::super) fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }
    pub(in super::super) fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }
    pub(in super::super) fn string(self, text: &str) -> Self {
        self.u64(text.len() as u64).bytes(text.as_bytes())
    }
    pub(in super::super) fn tensor(self, name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Self {
        let start = self.string(name).u32(dimensions.len() as u32);
        dimensions.iter().fold(start, |file, d| file.u64(*d)).u32(kind).u64(offset)
    }
    pub(in super::super) fn padded(mut self, data: usize) -> Self {
        let end = self.0.len().next_multiple_of(32) + data;
        self.0.resize(end, 0);
        self
    }
    pub(in super::super) fn bytes_so_far(&self) -> &[u8] {
        &self.0
    }
    pub(in super::super) fn open(self) -> Result<Gguf, String> {
        Gguf::parse(Path::new("x.gguf"), &Bytes::from(self.0)).map_err(|e| e.to_string())
    }
}

#[track_caller]
fn assert_refused(file: File, part: &str) {
    let error = file.open().unwrap_err();
    assert!(error.contains(part), "{error}");
}

#[test]
fn a_small_file_reads() {
    let file = File::new(1, 2).string("general.alignment").u32(4).u32(32);
    let file = file.string("names").u32(9).u32(8).u64(2).string("a").string("b");
    let gguf = file.tensor("output_norm.weight", &[8], 0, 0).padded(32).open().unwrap();
    let Some(Value::Array(names)) = gguf.get("names") else { panic!("no list") };
    assert!(names.iter().eq(["a", "b"].map(|name| Value::Text(name.into()))));
    let tensor = gguf.tensor("output_norm.weight").unwrap();
    assert_eq!((tensor.shape.as_slice(), tensor.bytes.len()), ([8].as_slice(), 32));
}

#[test]
fn every_shorter_prefix_is_refused() {
    let file = File::new(1, 1).string("general.alignment").u32(4).u32(32).tensor("t", &[8], 0, 0).padded(32);
    file.clone().open().unwrap();
    for length in 0..file.0.len() {
        File(file.0[..length].to_vec()).open().unwrap_err();
    }
}

#[test]
fn counts_and_lengths_beyond_the_file_allocate_nothing() {
    assert_refused(File::new(u64::MAX, 0), "number of tensors");
    assert_refused(File::new(0, u64::MAX), "number of metadata entries");
    assert_refused(File::new(0, 1).u64(u64::MAX).padded(64), "length of a metadata key");
    assert_refused(File::new(0, 1).string("k").u32(9).u32(0).u64(1 << 40).padded(64), "length of k");
}

#[test]
fn sizes_that_wrap_are_refused() {
    let wrap = |dimensions: &[u64]| File::new(1, 0).tensor("t", dimensions, 0, 0).padded(64);
    assert_refused(wrap(&[1 << 32, 1 << 32, 1, 32]), "beyond the end");
    assert_refused(wrap(&[1 << 62, 4]), "beyond the end");
    assert_refused(File::new(1, 0).tensor("t", &[8], 0, u64::MAX - 8).padded(64), "beyond the end");
}

#[test]
fn alignment_of_zero_or_of_the_wrong_type_is_refused() {
    let with = |kind: u32, bytes: &[u8]| {
        File::new(0, 1).string("general.alignment").u32(kind).bytes(bytes).padded(32)
    };
    assert_refused(with(4, &0u32.to_le_bytes()), "general.alignment is 0");
    assert_refused(with(4, &3u32.to_le_bytes()), "general.alignment is 3");
    assert_refused(with(6, &32f32.to_le_bytes()), "not a whole number");
}

#[test]
fn repeated_names_and_shared_bytes_are_refused() {
    let twice = File::new(0, 2).string("k").u32(0).bytes(&[1]).string("k").u32(0).bytes(&[2]).padded(64);
    assert_refused(twice, "two metadata entries named k");
    assert_refused(
        File::new(2, 0).tensor("t", &[8], 0, 0).tensor("t", &[8], 0, 32).padded(64),
        "two tensors named t",
    );
    assert_refused(File::new(2, 0).tensor("a", &[8], 0, 0).tensor("b", &[8], 0, 16).padded(64), "overlap");
}

#[test]
fn unknown_types_and_versions_are_named() {
    assert_refused(File::new(1, 0).tensor("t", &[256], 16, 0).padded(4096), "ggml type 16");
    assert_refused(
        File::new(1, 0).tensor("t", &[33], 2, 0).padded(4096),
        "not a whole number of q4_0 blocks",
    );
    assert_refused(File(b"GGUF\x01\0\0\0".to_vec()), "GGUF version 1");
    assert_refused(File(b"GGML\x03\0\0\0".to_vec()), "does not begin with GGUF");
    assert_refused(File::new(0, 1).string("k").u32(13).padded(64), "unknown type 13");
}
