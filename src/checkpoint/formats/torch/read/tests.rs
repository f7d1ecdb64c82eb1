use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::checkpoint::formats::safetensors;
use crate::checkpoint::open::Checkpoint;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch").join(name)
}

fn tensors(bytes: Vec<u8>) -> Result<Tensors, String> {
    let path = Path::new("x.bin");
    let mut tensors = Tensors::new(path);
    parse(path, &Bytes::from(bytes), &mut tensors).map_err(|e| e.to_string())?;
    Ok(tensors)
}

fn fixture_tensors(name: &str) -> Result<Tensors, String> {
    tensors(std::fs::read(fixture(name)).unwrap())
}

#[track_caller]
fn assert_refused(bytes: Vec<u8>, part: &str) {
    let error = tensors(bytes).unwrap_err();
    assert!(error.contains(part) && !error.contains('\n'), "{error}");
}

#[track_caller]
fn assert_same(mut found: Tensors, reference: &Path) {
    let mut expected = Tensors::new(reference);
    safetensors::read(reference, &mut expected, |_| None).unwrap();
    let names: Vec<String> = expected.names().map(str::to_string).collect();
    for name in names {
        let (found, expected) = (found.take(&name).unwrap(), expected.take(&name).unwrap());
        assert_eq!((found.scheme, &found.shape), (expected.scheme, &expected.shape), "{name}");
        assert_eq!(found.bytes, expected.bytes, "{name}");
    }
    assert_eq!(found.names().collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn tensors_are_those_that_torch_saved_whatever_the_protocol_nesting_and_alignment() {
    for name in ["state_dict.bin", "nested.pth", "protocol_4.bin", "unaligned.bin"] {
        assert_same(fixture_tensors(name).unwrap(), &fixture("tensors.safetensors"));
    }
}

#[test]
fn tied_tensors_are_the_same_bytes_of_the_file() {
    let mut tensors = fixture_tensors("state_dict.bin").unwrap();
    let (tied, again) = (tensors.take("tied").unwrap(), tensors.take("tied_again").unwrap());
    assert_eq!(tied.bytes.as_ptr(), again.bytes.as_ptr());
}

#[test]
fn a_folder_of_shards_opens_as_its_safetensors_do() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let weights = |folder: &Path| {
        let checkpoint = Checkpoint::open(folder).unwrap();
        let matrices = checkpoint.weights.matrices(true).into_iter();
        matrices.map(|(name, matrix)| (name, matrix.to_f32())).collect::<Vec<_>>()
    };
    assert_eq!(weights(&fixtures.join("layouts/torch")), weights(&fixtures.join("models/llama-tied")));
}

#[test]
fn what_is_not_read_says_what_it_is() {
    let cases = [
        ("legacy.bin", "torch.save wrote before version 1.6 is not supported"),
        ("transposed.bin", "tensor t, a transposed or strided view, is not supported"),
        ("broadcast.bin", "tensor t, a transposed or strided view, is not supported"),
        ("double.bin", "tensor t in a DoubleStorage is not supported"),
        ("number.bin", "step is not a tensor"),
        ("module.bin", "asks for torch.nn.modules.linear.Linear"),
        ("numpy.bin", "asks for numpy"),
        ("compressed.bin", "compressed or encrypted"),
    ];
    for (name, part) in cases {
        assert_refused(std::fs::read(fixture(name)).unwrap(), part);
    }
    assert_refused(b"\x7fELF".to_vec(), "not a PyTorch file");
}

#[test]
fn every_shorter_prefix_is_refused() {
    for name in ["state_dict.bin", "unaligned.bin", "legacy.bin"] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for length in 0..bytes.len() {
            tensors(bytes[..length].to_vec()).unwrap_err();
        }
    }
}

// ---------------------------------------------------------------- pickles

fn number(value: i64) -> Vec<u8> {
    [&b"\x8a\x08"[..], &value.to_le_bytes()].concat()
}

fn tuple(values: &[i64]) -> Vec<u8> {
    [b"(".to_vec(), values.iter().flat_map(|v| number(*v)).collect(), b"t".to_vec()].concat()
}

/// Returns the pickle of `{"t": tensor}`.
fn view(elements: i64, offset: i64, shape: &[i64], stride: &[i64]) -> Vec<u8> {
    let start = b"\x80\x02}\x8c\x01tctorch._utils\n_rebuild_tensor_v2\n((\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpu";
    let end = b"\x89ccollections\nOrderedDict\n)RtRs.";
    [&start[..], &number(elements), b"tQ", &number(offset), &tuple(shape), &tuple(stride), end].concat()
}

/// Returns an archive with this pickle and one storage of `storage` bytes.
fn archive(pickle: &[u8], storage: usize) -> Vec<u8> {
    zip(&[("x/data.pkl", pickle), ("x/data/0", &vec![1; storage])]).bytes
}

#[test]
fn a_view_within_its_storage_is_read() {
    let mut tensors = tensors(archive(&view(6, 2, &[2, 1, 2], &[2, 77, 1]), 24)).unwrap();
    let tensor = tensors.take("t").unwrap();
    assert_eq!((tensor.shape.as_slice(), tensor.bytes.len()), ([2, 1, 2].as_slice(), 16));
}

#[test]
fn views_beyond_their_storage_and_sizes_that_wrap_are_refused() {
    let refused = |pickle: Vec<u8>, part: &str| assert_refused(archive(&pickle, 24), part);
    refused(view(6, 3, &[2, 2], &[2, 1]), "reaches beyond the end");
    refused(view(6, 0, &[1 << 32, 1 << 32], &[1 << 32, 1]), "reaches beyond the end");
    refused(view(6, i64::MAX, &[1], &[1]), "reaches beyond the end");
    refused(view(6, 7, &[0], &[1]), "reaches beyond the end");
    refused(view(6, -1, &[1], &[1]), "not of whole numbers");
    refused(view(6, 0, &[-1], &[1]), "not of whole numbers");
    refused(view(6, 5, &[6], &[-1]), "not of whole numbers");
    refused(view(6, 0, &[2, 2], &[1]), "differ in length");
    refused(view(6, 0, &[6], &[0]), "strided view");
    refused(view(6, 0, &[1; 9], &[1; 9]), "not of whole numbers");
    // CVE-2026-24747: the pickle declares more elements than the storage has.
    refused(view(1 << 40, 0, &[1 << 40], &[1]), "a storage of 24 bytes");
    refused(view(5, 0, &[5], &[1]), "a storage of 24 bytes");
    let absent = zip(&[("x/data.pkl", &view(6, 0, &[6], &[1]))]).bytes;
    assert_refused(absent, "storage 0, which is missing");
}

#[test]
fn no_function_is_called_and_no_foreign_class_built() {
    let cases: [(&[u8], &str); 12] = [
        (b"\x80\x02cos\nsystem\n\x8c\x02id\x85R.", "asks for os.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.", "asks for posix.system"),
        (b"\x80\x02(S'id'\nios\nsystem\n.", "instruction 0x53"),
        (b"\x80\x02(\x8c\x02idios\nsystem\n.", "instruction 0x69"),
        (b"\x80\x02(cbuiltins\neval\n\x8c\x01xo.", "asks for builtins.eval"),
        (b"\x80\x02(\x8c\x01xo.", "instruction 0x6f"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "instruction 0x81"),
        (b"\x80\x02\x82\x01.", "instruction 0x82"),
        (b"\x80\x02P0\n.", "instruction 0x50"),
        (b"\x80\x02ctorch._utils\n_rebuild_parameter\n}b.", "attributes of something that is not a dict"),
        (b"\x80\x02)K\x01a.", "append to something that is not a list"),
        (b"\x80\x02\x8c\x01tK\x01K\x02s.", "assignment to something that is not a dict"),
    ];
    for (pickle, part) in cases {
        assert_refused(archive(pickle, 4), part);
    }
}

/// litgpt's incremental saver numbers its storages; torch names them.
#[test]
fn a_storage_may_be_called_by_a_number() {
    let named = view(6, 0, &[2, 3], &[3, 1]);
    let at = named.windows(3).position(|bytes| bytes == b"\x8c\x010").unwrap();
    let numbered = [&named[..at], b"K\0", &named[at + 3..]].concat();
    let found = |pickle: &[u8]| tensors(archive(pickle, 24)).unwrap().take("t").unwrap();
    assert_eq!(found(&numbered).bytes, found(&named).bytes);
}

#[test]
fn broken_pickles_are_refused() {
    let cases: [(&[u8], &str); 16] = [
        (b"", "ends within a value"),
        (b"\x80\x02.", "does not end with one value"),
        (b"}}.", "does not end with one value"),
        (b"}.}", "does not end with one value"),
        (b"(}.", "does not end with one value"),
        (b"]a.", "stack is empty"),
        (b"](a.", "stack is empty"),
        (b"t.", "no mark"),
        (b"h\x07.", "not in the memo"),
        (b"q\x07.", "stack is empty"),
        (b"}(K\x01u.", "key without a value"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "ends within a value"),
        (b"X\xff\xff\xff\xff.", "ends within a value"),
        (b"\x8a\x09\0\0\0\0\0\0\0\0\x01.", "more than 64 bits"),
        (b"\x8b\xff\xff\xff\x7f.", "instruction 0x8b"),
        (b"K\x01.", "no dict of tensors"),
    ];
    for (pickle, part) in cases {
        assert_refused(archive(pickle, 4), part);
    }
}

#[test]
fn bombs_cost_what_their_bytes_cost() {
    // A list that contains itself; a dict that is its own value.
    assert_refused(archive(b"]q\0h\0a.", 0), "no dict of tensors");
    assert_refused(archive(b"}q\0\x8c\x01th\0s.", 0), "t is not a tensor");
    // Each tuple holds the previous tuple twice: 2^100000 leaves.
    let doubled = [&b")q\0"[..], &b"h\0\x86q\0".repeat(100_000), b"."].concat();
    assert_refused(archive(&doubled, 0), "no dict of tensors");
    let deep = |count: usize| [&b"]".repeat(count)[..], &b"a".repeat(count - 1), b"."].concat();
    assert_refused(archive(&deep(200_000), 0), "no dict of tensors");
    assert_refused(archive(&deep(1_000_000), 0), "more values than a model has");
    // References to one value on the stack, in a list and in tuples; then memo entries of one value.
    for (start, step) in
        [(&b"N\x94"[..], &b"h\0"[..]), (b"N\x94]", b"h\x00a"), (b"N\x94", b"(h\0h\0h\0t"), (b"N", b"\x94")]
    {
        let many = [start, &step.repeat(1_000_000), b"."].concat();
        assert_refused(archive(&many, 0), "more values than a model has");
    }
    assert_refused(archive(&b"(".repeat(1_000_000), 0), "nested too deeply");
    assert_refused(archive(&b"N".repeat(2_000_000), 0), "more values than a model has");
    assert_refused(archive(&vec![b'N'; (16 << 20) + 1], 0), "at most 16777216 are read");
}

// ---------------------------------------------------------------- archives

/// An archive of stored entries, with the positions of its local headers, directory headers and end record.
struct Zip {
    bytes: Vec<u8>,
    local: Vec<usize>,
    central: Vec<usize>,
    end: usize,
}

fn zip(entries: &[(&str, &[u8])]) -> Zip {
    let (mut bytes, mut local, mut central) = (Vec::new(), Vec::new(), Vec::new());
    let common = |name: &str, data: &[u8]| {
        let sizes = [0, data.len() as u32, data.len() as u32].map(u32::to_le_bytes).concat();
        [&[0; 10][..], &sizes, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat()
    };
    for (name, data) in entries {
        local.push(bytes.len());
        bytes.extend([b"PK\x03\x04", &common(name, data)[..], name.as_bytes(), data].concat());
    }
    let start = bytes.len();
    for ((name, data), local) in entries.iter().zip(&local) {
        central.push(bytes.len());
        let offset = (*local as u32).to_le_bytes();
        let header = [&b"PK\x01\x02\0\0"[..], &common(name, data), &[0; 10], &offset, name.as_bytes()];
        bytes.extend(header.concat());
    }
    let (end, count) = (bytes.len(), (entries.len() as u16).to_le_bytes());
    let spans = [end - start, start].map(|n| (n as u32).to_le_bytes()).concat();
    bytes.extend([&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &spans, &[0; 2]].concat());
    Zip { bytes, local, central, end }
}

#[test]
fn archives_that_lie_are_refused() {
    let pickle = view(6, 0, &[6], &[1]);
    let good = || zip(&[("x/data.pkl", &pickle), ("x/data/0", &[1; 24])]);
    tensors(good().bytes).unwrap();
    let with = |change: &dyn Fn(&Zip) -> (usize, Vec<u8>), part: &str| {
        let zip = good();
        let (at, bytes) = change(&zip);
        let mut file = zip.bytes;
        file[at..at + bytes.len()].copy_from_slice(&bytes);
        assert_refused(file, part);
    };
    let wide = |value: u32| value.to_le_bytes().to_vec();
    // In the directory: size, stored size, position, method, flags, name.
    with(&|z| (z.central[1] + 24, wide(25)), "two sizes");
    with(&|z| (z.central[1] + 20, [wide(25), wide(25)].concat()), "differs from what the directory says");
    with(&|z| (z.central[1] + 20, [wide(23), wide(23)].concat()), "differs from what the directory says");
    with(&|z| (z.central[1] + 20, wide(u32::MAX)), "lacks its sizes of 64 bits");
    with(&|z| (z.central[1] + 42, wide(u32::MAX - 1)), "reaches beyond the archive's entries");
    with(&|z| (z.central[1] + 42, wide(1)), "differs from what the directory says");
    with(&|z| (z.central[1] + 10, vec![8]), "compressed or encrypted");
    with(&|z| (z.central[1] + 8, vec![1]), "compressed or encrypted");
    with(&|z| (z.central[1] + 46, b"y".to_vec()), "differs from what the directory says");
    with(&|z| (z.central[1] + 28, vec![0xff, 0xff]), "cut short");
    // Both headers agree on a size that reaches into the directory.
    let Zip { mut bytes, local, central, .. } = good();
    for at in [central[1] + 20, local[1] + 18] {
        bytes[at..at + 8].copy_from_slice(&[wide(25), wide(25)].concat());
    }
    assert_refused(bytes, "reaches beyond the archive's entries");
    // In a local header: method, size, length of the name.
    with(&|z| (z.local[1] + 8, vec![8]), "differs from what the directory says");
    with(&|z| (z.local[1] + 22, wide(9)), "differs from what the directory says");
    with(&|z| (z.local[1] + 26, vec![7]), "differs from what the directory says");
    // In the end record: count, size and start of the directory.
    with(&|z| (z.end + 10, vec![1]), "more than its entries");
    with(&|z| (z.end + 10, vec![3]), "promises 3 entries");
    with(&|z| (z.end + 10, vec![0xff, 0xff]), "promises 65535 entries");
    with(&|z| (z.end + 12, wide(u32::MAX)), "cut short");
    with(&|z| (z.end + 16, wide(0)), "cut short");
}

#[test]
fn repeated_and_overlapping_entries_are_refused() {
    let pickle = view(6, 0, &[6], &[1]);
    let twice = zip(&[("x/data.pkl", &pickle), ("x/data/0", &[1; 24]), ("x/data/0", &[2; 24])]);
    assert_refused(twice.bytes, "two entries named x/data/0");
    // Two directory headers for one entry, with names of the same length.
    let mut over = zip(&[("x/data.pkl", &pickle), ("x/data/0", &[1; 24]), ("x/data/1", &[1; 24])]);
    let first = (over.local[1] as u32).to_le_bytes();
    over.bytes[over.central[2] + 42..][..4].copy_from_slice(&first);
    assert_refused(over.bytes, "differs from what the directory says");
    // An entry whose data is another entry that is in the directory too.
    let inner = zip(&[("x/data/0", &[1; 24])]);
    let mut outer = zip(&[
        ("x/data.pkl", &pickle),
        ("x/data/1", &inner.bytes[..inner.central[0]]),
        ("x/data/0", &[1; 24]),
    ]);
    let within = (outer.local[1] + 30 + "x/data/1".len()) as u32;
    outer.bytes[outer.central[2] + 42..][..4].copy_from_slice(&within.to_le_bytes());
    assert_refused(outer.bytes, "overlap");
    let two = zip(&[("x/data.pkl", &pickle), ("y/data.pkl", &pickle)]);
    assert_refused(two.bytes, "several data.pkl");
    assert_refused(zip(&[("x/y/data.pkl", &pickle)]).bytes, "holds no data.pkl");
    assert_refused(zip(&[("x/data.pkl", &pickle), ("x/byteorder", b"big")]).bytes, "byte order");
}

proptest! {
    #[test]
    fn damaged_files_do_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = std::fs::read(fixture("state_dict.bin")).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = tensors(bytes);
    }

    #[test]
    fn any_sequence_of_instructions_does_no_harm(
        steps in prop::collection::vec(prop::sample::select(instructions()), 0..60),
        junk in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let pickle = [steps.concat(), junk, b".".to_vec()].concat();
        if let Ok(mut tensors) = tensors(archive(&pickle, 24)) {
            prop_assert!(tensors.take("t").is_none_or(|tensor| tensor.bytes.len() <= 24));
        }
    }
}

/// Returns whole instructions, so that random sequences of them reach deep states.
fn instructions() -> Vec<Vec<u8>> {
    let whole = view(6, 0, &[6], &[1]);
    let tensor = whole[3..whole.len() - 2].to_vec();
    let mut all: Vec<Vec<u8>> = [
        &b"N"[..],
        b"K\x06",
        b"\x8c\x01t",
        b"}",
        b"]",
        b")",
        b"(",
        b"t",
        b"\x85",
        b"\x86",
        b"\x87",
        b"a",
        b"e",
        b"s",
        b"u",
        b"q\0",
        b"q\x01",
        b"h\0",
        b"h\x01",
        b"\x94",
        b"Q",
        b"R",
        b"b",
        b"\x8c\x07storage",
        b"\x8c\x010",
        b"ctorch\nFloatStorage\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"ccollections\nOrderedDict\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    all.push(tensor);
    all
}
