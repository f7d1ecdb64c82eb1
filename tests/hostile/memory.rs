//! Memory: whatever a file holds, reading it takes at most 64 MiB, and four times the bytes of the tensor table, vocabulary
//! and merges that are kept. Measured as the peak of anonymous resident memory: mapped pages are the file's.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use serde_json::{Value, json};

use crate::bytes::{Gguf, Typed, repeated_value, write_safetensors, zip};
use crate::clean_error;
use crate::support::{Ended, copy_of, copy_of_layout, fixtures, gguf};

pub const MIB: usize = 1 << 20;

/// The rule.
const LIMIT: usize = 64 * MIB;

/// Between two looks, so that they leave the processor to what they look at. A megabyte that comes and goes within it
/// may be missed: to be touched it takes about a quarter of this time.
const PAUSE: Duration = Duration::from_millis(1);

/// Runs a command on a file as stdin and watches its anonymous memory from outside.
fn watched(folder: &Path, command: &str, stdin: &Path) -> (Ended, usize) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mist"));
    child.args(command.split(' ')).current_dir(folder).env("HF_HOME", folder).env("MIST_HOME", folder);
    child.env("HF_ENDPOINT", "http://127.0.0.1:9").env_remove("RUST_BACKTRACE");
    let output = folder.join("stderr");
    let stderr = fs::File::create(&output).unwrap();
    child.stdin(fs::File::open(stdin).unwrap()).stdout(Stdio::null()).stderr(stderr);
    let mut child = child.spawn().unwrap();
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let status = loop {
        peak = peak.max(fs::read_to_string(&status_file).map_or(0, |status| anonymous(&status)));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        sleep(PAUSE);
    };
    let stderr = fs::read_to_string(&output).unwrap();
    fs::remove_file(&output).unwrap();
    (Ended { stdout: Vec::new(), stderr, code: status.code() }, peak)
}

/// `RssAnon` in bytes. A process that has just been started still has its parent's memory for a moment, and its name.
fn anonymous(status: &str) -> usize {
    if !status.starts_with("Name:\tmist\n") {
        return 0;
    }
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10)
}

/// Runs a command on a file of which `kept` bytes are tables or vocabulary: it works, or fails cleanly, within the rule.
#[track_caller]
pub fn bounded(what: &str, folder: &Path, command: &str, kept: usize) {
    within(what, folder, command, Path::new("/dev/null"), LIMIT + 4 * kept);
}

/// Runs a command on a file as stdin: it works, or fails cleanly, within `limit` bytes.
#[track_caller]
fn within(what: &str, folder: &Path, command: &str, stdin: &Path, limit: usize) {
    // One that ends before it is looked at is run again; where that is so each time, it has no time to take much.
    let mut runs = (0..5).map(|_| watched(folder, command, stdin));
    let first = runs.next().unwrap();
    let (ended, peak) = if first.1 > 0 { first } else { runs.find(|(_, peak)| *peak > 0).unwrap_or(first) };
    assert!(peak <= limit, "{what}: {} MiB of {}, {ended:?}", peak / MIB, limit / MIB);
    if ended.code != Some(0) {
        let error = clean_error(&ended);
        assert!(!error.contains("not enough memory"), "{what}: {error}");
    }
}

/// JSON of at least `size` bytes that takes tens of times as much memory where it is built.
fn hostile(size: usize) -> Vec<(&'static str, String)> {
    let list = |item: &str| {
        let count = size / (item.len() + 1) + 1;
        format!("[{}]", vec![item; count].join(","))
    };
    let keys = |value: &str| {
        let entry = |i: usize| format!("\"{i:x}\":{value}");
        let count = size / (8 + value.len());
        format!("{{{}}}", (0..count).map(entry).collect::<Vec<_>>().join(","))
    };
    let mut shapes = vec![("a list of objects", list(r#"{"":0}"#))];
    // Files beyond every limit are refused by their sizes.
    if size < 40 * MIB {
        shapes.push(("an object of texts", keys("\"x\"")));
        shapes.push(("nesting", format!("{}{}", "[".repeat(size / 2), "]".repeat(size / 2))));
        shapes.push(("a text of escapes", format!("\"{}\"", "\\n".repeat(size / 2))));
    }
    // The rest takes less time where it is small.
    if size < 4 * MIB {
        shapes.push(("a list of lists", list("[[0]]")));
        shapes.push(("a list of numbers", list("0")));
        shapes.push(("a list of texts", list("\"\"")));
        shapes.push(("an object of lists", keys("[0]")));
    }
    shapes
}

/// Puts a field first in a JSON object.
fn with_field(object: &str, name: &str, value: &str) -> String {
    let rest = object.trim_start().strip_prefix('{').unwrap();
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    format!("{{\"{name}\":{value}{comma}{rest}")
}

/// A file of a folder, a field of it, and what reads it.
struct Settings {
    fixture: fn() -> tempfile::TempDir,
    file: &'static str,
    fields: &'static [&'static str],
    command: &'static str,
}

fn llama() -> tempfile::TempDir {
    copy_of("llama-gqa")
}

/// With a tokenizer of Mistral's own.
fn tekken() -> tempfile::TempDir {
    let folder = copy_of_layout("mistral");
    let from = fixtures().join("text/tekken/tekken.json");
    fs::copy(from, folder.path().join("tekken.json")).unwrap();
    // With a chat template beside it, this would be read in its place.
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    folder
}

fn shards() -> tempfile::TempDir {
    copy_of("llama-tied")
}

fn converted() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = gguf("mixtral-quants");
    let command = format!("convert --checkpoint-dir {} --output-dir .", from.display());
    assert_eq!(crate::run(folder.path(), &command).code, Some(0));
    folder
}

const INSPECT: &str = "inspect --checkpoint-dir .";
const TOKENIZE: &str = "tokenize --checkpoint-dir . --text x";

const SETTINGS: [Settings; 11] = [
    Settings {
        fixture: llama,
        file: "config.json",
        fields: &["id2label", "x", "eos_token_id"],
        command: INSPECT,
    },
    Settings {
        fixture: llama,
        file: "generation_config.json",
        fields: &["x", "eos_token_id"],
        command: INSPECT,
    },
    Settings {
        fixture: llama,
        file: "tokenizer_config.json",
        fields: &["x", "chat_template", "added_tokens_decoder", "additional_special_tokens"],
        command: INSPECT,
    },
    Settings { fixture: llama, file: "special_tokens_map.json", fields: &["x"], command: INSPECT },
    Settings { fixture: llama, file: "added_tokens.json", fields: &["x"], command: INSPECT },
    Settings {
        fixture: shards,
        file: "model.safetensors.index.json",
        fields: &["metadata", "weight_map"],
        command: INSPECT,
    },
    Settings {
        fixture: converted,
        file: "mist.json",
        fields: &["weights", "schemes", "config"],
        command: INSPECT,
    },
    Settings {
        fixture: llama,
        file: "mist-download.json",
        fields: &["x", "files"],
        command: "inspect --verify --checkpoint-dir .",
    },
    Settings {
        fixture: || copy_of_layout("mistral"),
        file: "params.json",
        fields: &["x", "moe"],
        command: INSPECT,
    },
    Settings {
        fixture: || copy_of_layout("litgpt-old"),
        file: "lit_config.json",
        fields: &["x"],
        command: INSPECT,
    },
    Settings { fixture: tekken, file: "tekken.json", fields: &["x", "config"], command: TOKENIZE },
];

/// Files that no fixture has: these begin as empty objects.
const OPTIONAL: [&str; 3] = ["special_tokens_map.json", "added_tokens.json", "mist-download.json"];

/// Just below the limits of what is read of such files, and far above them.
const SIZES: [usize; 3] = [4 * MIB - 64, 15 * MIB, 60 * MIB];

fn settings_are_bounded(part: impl Fn(usize) -> bool) {
    let chosen = SETTINGS.iter().enumerate().filter(|(i, _)| part(*i)).map(|(_, settings)| settings);
    for Settings { fixture, file, fields, command } in chosen {
        let folder = fixture();
        let path = folder.path().join(file);
        let original = match OPTIONAL.contains(file) {
            true => "{}".into(),
            false => fs::read_to_string(&path).unwrap(),
        };
        assert!(!fields.is_empty());
        for (field, size) in fields.iter().flat_map(|field| SIZES.map(|size| (field, size))) {
            for (shape, value) in hostile(size - original.len().min(size / 2)) {
                fs::write(&path, with_field(&original, field, &value)).unwrap();
                bounded(&format!("{shape} of {size} bytes as {field} of {file}"), folder.path(), command, 0);
            }
        }
    }
}

/// 64 MB of config.json took 4.3 GB.
#[test]
fn memory_of_the_descriptions_of_a_model() {
    settings_are_bounded(|i| i < 5);
}

#[test]
fn memory_of_indexes_and_of_other_layouts() {
    settings_are_bounded(|i| i >= 5);
}

#[test]
fn memory_of_yaml() {
    let folder = copy_of_layout("litgpt");
    let path = folder.path().join("model_config.yaml");
    let original = fs::read_to_string(&path).unwrap();
    for size in [60 << 10, 15 * MIB, 64 * MIB] {
        for item in ["[0],", "{a: 0},", "a,"] {
            let list = item.repeat(size / item.len() - 10);
            fs::write(&path, format!("x: [{list}]\n{original}")).unwrap();
            bounded(&format!("{size} bytes of {item}"), folder.path(), INSPECT, 0);
        }
    }
}

/// Each part of a tokenizer.json that is looked at, and one that is not.
#[test]
fn memory_of_the_parts_of_a_tokenizer() {
    let folder = llama();
    let path = folder.path().join("tokenizer.json");
    let original = fs::read_to_string(&path).unwrap();
    let model = original.replacen("\"model\":", "\"model\": {},\"rest\":", 1);
    for name in
        ["normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens", "x", "truncation"]
    {
        let renamed = original.replacen(&format!("\"{name}\":"), &format!("\"{name}_\":"), 1);
        for (size, (shape, value)) in
            [19 * MIB, 36 * MIB].into_iter().flat_map(|s| hostile(s).into_iter().map(move |h| (s, h)))
        {
            fs::write(&path, with_field(&renamed, name, &value)).unwrap();
            bounded(&format!("{shape} of {size} bytes as {name}"), folder.path(), TOKENIZE, 0);
        }
    }
    for (shape, value) in hostile(36 * MIB) {
        fs::write(&path, model.replacen("\"model\": {}", &format!("\"model\":{value}"), 1)).unwrap();
        bounded(&format!("{shape} as model"), folder.path(), TOKENIZE, 0);
    }
}

/// Added tokens that share nothing: what finds them in a text takes the most memory.
#[test]
fn memory_of_as_many_added_tokens_as_are_read() {
    // With room for those of the fixture.
    const MOST: usize = MIB - 4096;
    let folder = llama();
    let path = folder.path().join("tokenizer.json");
    let original = fs::read_to_string(&path).unwrap();
    let (mut state, mut letters) = (1u64, String::new());
    while letters.len() < MOST {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        letters.push(char::from(b'a' + (state >> 60) as u8));
    }
    for length in [17, 64, 4096, MOST] {
        for (normalized, commands) in
            [(false, &["tokenize --text x", "inspect"][..]), (true, &["tokenize --text x"])]
        {
            let token = |(i, at): (usize, usize)| {
                json!({"id": 320 + i, "content": &letters[at..(at + length).min(MOST)], "single_word": false,
                    "lstrip": false, "rstrip": false, "normalized": normalized, "special": false})
            };
            let tokens: Vec<Value> = (0..MOST).step_by(length).enumerate().map(token).collect();
            let mut json: Value = serde_json::from_str(&original).unwrap();
            json["added_tokens"].as_array_mut().unwrap().extend(tokens);
            fs::write(&path, json.to_string()).unwrap();
            for command in commands {
                let command = format!("{command} --checkpoint-dir .");
                bounded(&format!("tokens of {length} bytes"), folder.path(), &command, MOST);
            }
        }
    }
}

/// As many entries as a tokenizer may have, each with all its flags.
#[test]
fn memory_of_settings_with_many_added_tokens() {
    let folder = llama();
    let entry = |i: usize| {
        json!({"content": format!("<custom_token_{i}>"), "lstrip": false, "normalized": false, "rstrip": false,
            "single_word": false, "special": true})
    };
    for count in [30_000, 50_000, 70_000] {
        let decoder: serde_json::Map<_, _> = (0..count).map(|i| ((320 + i).to_string(), entry(i))).collect();
        let list: Vec<Value> = (0..count).map(entry).collect();
        for (file, field, value) in [
            ("tokenizer_config.json", "added_tokens_decoder", Value::Object(decoder)),
            ("tokenizer_config.json", "additional_special_tokens", Value::Array(list.clone())),
            ("special_tokens_map.json", "additional_special_tokens", Value::Array(list)),
        ] {
            let path = folder.path().join(file);
            let original = fs::read_to_string(&path).unwrap_or("{}".into());
            fs::write(&path, with_field(&original, field, &value.to_string())).unwrap();
            let command = "tokenize --checkpoint-dir . --text x";
            bounded(&format!("{count} in {field} of {file}"), folder.path(), command, 0);
            let ended = crate::run(folder.path(), command);
            assert_eq!(
                ended.code,
                Some(i32::from(count > 50_000)),
                "{count} in {field} of {file}: {ended:?}"
            );
            fs::write(&path, original).unwrap();
        }
    }
}

/// A vocabulary that is as small in the file and as large in memory as it can be.
#[test]
fn memory_of_vocabularies_and_merges() {
    let folder = llama();
    let path = folder.path().join("tokenizer.json");
    let tokenizer = |vocabulary: &str, merges: &str| {
        format!(
            r#"{{"added_tokens":[],"normalizer":null,"pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false,
            "use_regex":true}},"post_processor":null,"decoder":{{"type":"ByteLevel"}},"model":{{"type":"BPE",
            "vocab":{{{vocabulary}}},"merges":[{merges}]}}}}"#
        )
    };
    let token = |i: u32| {
        char::from_u32(0x4E00 + i % 20_000)
            .into_iter()
            .chain(char::from_u32(0x4E00 + i / 20_000))
            .collect::<String>()
    };
    for count in [100_000u32, 393_000, 1_500_000, 4_000_000] {
        let vocabulary: Vec<String> = (0..count).map(|i| format!("\"{}\":{i}", token(i))).collect();
        let vocabulary = vocabulary.join(",");
        for merges in [0, 300_000, 900_000, 4_000_000] {
            let merges = vec!["\"\u{4E00} \u{4E00}\""; merges].join(",");
            let text = tokenizer(&format!("\"\u{4E00}\":{count},{vocabulary}"), &merges);
            fs::write(&path, &text).unwrap();
            let kept = if count < 393_216 { vocabulary.len() + merges.len() } else { 0 };
            let what = format!("{count} tokens, {} bytes of merges", merges.len());
            bounded(&what, folder.path(), TOKENIZE, kept);
        }
    }
}

#[test]
fn memory_of_tekken() {
    let folder = tekken();
    let path = folder.path().join("tekken.json");
    let original = fs::read_to_string(&path).unwrap();
    let renamed = |name: &str| {
        assert!(
            name == "x" || name == "special_tokens" || original.contains(&format!("\"{name}\":")),
            "{name}"
        );
        original.replacen(&format!("\"{name}\":"), &format!("\"{name}_\":"), 1)
    };
    for (shape, value) in [15 * MIB, 36 * MIB].into_iter().flat_map(hostile) {
        for name in ["x", "special_tokens", "vocab"] {
            fs::write(&path, with_field(&renamed(name), name, &value)).unwrap();
            bounded(&format!("{shape} as {name}"), folder.path(), TOKENIZE, 0);
        }
    }
    for (item, name) in
        [(r#"{"rank":0,"token_bytes":""},"#, "vocab"), (r#"{"rank":0,"token_str":""},"#, "special_tokens")]
    {
        let list = item.repeat(38 * MIB / item.len());
        fs::write(&path, with_field(&renamed(name), name, &format!("[{}]", list.trim_end_matches(','))))
            .unwrap();
        bounded(name, folder.path(), TOKENIZE, 0);
    }
}

/// As many tokens as may be, as short as they can be, and with what published files have beside them.
#[test]
fn memory_of_a_large_tekken_vocabulary() {
    const CONTROLS: usize = 100;
    let folder = tekken();
    let path = folder.path().join("tekken.json");
    let token = |i: usize| match i {
        0..256 => vec![i as u8],
        _ => vec![(i - 256) as u8, ((i - 256) >> 8) as u8, ((i - 256) >> 16) as u8],
    };
    for (count, beside) in [(390_000, ""), (390_000, r#","token_str":null"#), (700_000, "")] {
        let entry =
            |i: usize| format!(r#"{{"rank":{i},"token_bytes":"{}"{beside}}}"#, STANDARD.encode(token(i)));
        let vocabulary = (0..count).map(entry).collect::<Vec<_>>().join(",");
        let config = format!(
            r#"{{"pattern":"\\s+","default_vocab_size":{},"default_num_special_tokens":{CONTROLS},"version":"v3"}}"#,
            count + CONTROLS
        );
        fs::write(&path, format!(r#"{{"config":{config},"vocab":[{vocabulary}]}}"#)).unwrap();
        let is_accepted = count == 390_000;
        let ids = crate::run(folder.path(), TOKENIZE);
        assert_eq!(ids.code, Some(i32::from(!is_accepted)), "{ids:?}");
        // `<s>`, and the byte behind the control tokens.
        assert_eq!(ids.text(), if is_accepted { "1 220\n" } else { "" });
        let kept = if is_accepted { vocabulary.len() - count * beside.len() } else { 0 };
        bounded(&format!("{count} tokens{beside}"), folder.path(), TOKENIZE, kept);
    }
}

#[test]
fn memory_of_sentence_piece() {
    let folder = llama();
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    for piece in [
        &b"\x0a\x03\x0a\x01a"[..],
        b"\x0a\x00",
        b"\x0a\x05\x0a\x01a\x18\x04",
        b"\x12\x00",
        b"\x1a\x02\x12\x00",
    ] {
        for size in [15 * MIB, 36 * MIB] {
            fs::write(folder.path().join("tokenizer.model"), piece.repeat(size / piece.len())).unwrap();
            bounded(&format!("{piece:?}"), folder.path(), TOKENIZE, 0);
        }
    }
}

/// 12 arrays of 2^24 bytes took 6.5 GB.
#[test]
fn memory_of_gguf_metadata() {
    const NAME: &str = "llama-gqa-quants";
    let folder = tempfile::tempdir().unwrap();
    let check = |what: &str, gguf: Gguf, kept: usize| {
        gguf.write(folder.path());
        bounded(what, folder.path(), "inspect --checkpoint-dir x.gguf", kept);
    };
    let bytes = |count: usize| -> Typed {
        let mut value = [&0u32.to_le_bytes()[..], &(count as u64).to_le_bytes()].concat();
        value.resize(12 + count, 1);
        (9, value)
    };
    let texts = |count: usize| -> Typed {
        let mut value = [&8u32.to_le_bytes()[..], &(count as u64).to_le_bytes()].concat();
        value.resize(12 + 8 * count, 0);
        (9, value)
    };
    let lists = |count: usize| -> Typed {
        let mut value = [&9u32.to_le_bytes()[..], &(count as u64).to_le_bytes()].concat();
        value.extend([0u8; 12].repeat(count));
        (9, value)
    };
    let many = |value: &Typed, count: usize, key: &dyn Fn(usize) -> String| {
        (0..count).fold(Gguf::fixture(NAME), |gguf, i| gguf.insert(&key(i), value.clone()))
    };
    let general = |i: usize| format!("general.x{i}");
    check("12 lists of bytes", many(&bytes(1 << 24), 12, &general), 0);
    check("4 lists of texts", many(&texts(1 << 22), 4, &general), 0);
    check("4 lists of lists", many(&lists(1 << 21), 4, &general), 0);
    check(
        "long texts",
        many(&(8, [&(15u64 << 20).to_le_bytes()[..], &vec![b'x'; 15 << 20]].concat()), 8, &general),
        0,
    );
    check("long keys", many(&(0, vec![0]), 8, &|i| format!("{i}{}", "k".repeat(8 << 20))), 0);
    for key in ["tokens", "scores", "token_type", "merges"] {
        let key = format!("tokenizer.ggml.{key}");
        for value in [bytes(1 << 24), texts(1 << 23), lists(1 << 22), repeated_value(6, [0; 4], 1 << 23)] {
            let fixture = match key.ends_with("scores") {
                true => Gguf::fixture(NAME).insert(&key, value),
                false => Gguf::fixture(NAME).replace(&key, value),
            };
            check(&key, fixture, 0);
        }
    }
}

#[test]
fn memory_of_tables_of_tensors() {
    let folder = copy_of("llama-old-config");
    let path = folder.path().join("model.safetensors");
    for (shape, value) in [15 * MIB, 36 * MIB].into_iter().flat_map(hostile) {
        write_safetensors(&path, &format!("{{\"x\":{value}}}"), &[]);
        bounded(&format!("{shape} as a header"), folder.path(), INSPECT, 0);
        write_safetensors(&path, &format!("{{\"__metadata__\":{value}}}"), &[]);
        bounded(&format!("{shape} as metadata"), folder.path(), INSPECT, 0);
        let entry = format!(r#"{{"x":{{"dtype":"F32","shape":{value},"data_offsets":[0,0]}}}}"#);
        write_safetensors(&path, &entry, &[]);
        bounded(&format!("{shape} as a shape"), folder.path(), INSPECT, 0);
    }
    for count in [130_000, 140_000, 1_000_000] {
        let entry = |i: u32| format!("\"{i:x}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}");
        let header = format!("{{{}}}", (0..count).map(entry).collect::<Vec<_>>().join(","));
        write_safetensors(&path, &header, &[]);
        bounded(
            &format!("{count} tensors"),
            folder.path(),
            INSPECT,
            if count < 131_072 { header.len() } else { 0 },
        );
    }
    let folder = tempfile::tempdir().unwrap();
    for count in [130_000u64, 140_000] {
        let mut gguf = Gguf::empty(count, 0);
        for i in 0..count {
            let name = format!("{i:x}");
            gguf.0.extend((name.len() as u64).to_le_bytes());
            gguf.0.extend(name.as_bytes());
            gguf.0.extend([&1u32.to_le_bytes()[..], &[0; 8], &0u32.to_le_bytes(), &[0; 8]].concat());
        }
        let kept = gguf.0.len();
        gguf.write(folder.path());
        bounded(&format!("{count} tensors"), folder.path(), "inspect --checkpoint-dir x.gguf", kept);
    }
}

#[test]
fn memory_of_pickles() {
    let folder = copy_of("llama-old-config");
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    // A value, a value that is kept, one that is used again, a tuple, a list, a dict, a tensor.
    let programs: [(&[u8], &[u8]); 8] = [
        (b"\x80\x02", b"K\x00"),
        (b"\x80\x02N\x94", b"h\x00"),
        (b"\x80\x02N", b"\x94"),
        (b"\x80\x02NNN", b"\x85"),
        (b"\x80\x02", b"(t"),
        (b"\x80\x02N\x94]", b"h\x00a"),
        (b"\x80\x02N\x94}", b"h\x00h\x00s"),
        (b"\x80\x02N\x94", b"(h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00t"),
    ];
    for (start, step) in programs {
        let pickle = [start, &step.repeat(15 * MIB / step.len()), b"."].concat();
        let bytes = zip(&[("x/data.pkl", &pickle), ("x/version", b"3\n")]);
        fs::write(folder.path().join("pytorch_model.bin"), bytes).unwrap();
        bounded(&format!("{step:?}"), folder.path(), INSPECT, 0);
    }
}

/// A file beside the weights is copied in pieces, and not read where nothing is written.
#[test]
fn memory_of_sidecar_files_that_are_copied() {
    let folder = llama();
    let large = fs::File::create(folder.path().join("tokenizer.model.v1")).unwrap();
    large.set_len(300 << 20).unwrap();
    bounded("a dry run", folder.path(), "convert --checkpoint-dir . --output-dir o --dry-run", 0);
    assert!(!folder.path().join("o").exists());
    bounded("a copy", folder.path(), "convert --checkpoint-dir . --output-dir o", 0);
    bounded("a copy again", folder.path(), "convert --checkpoint-dir . --output-dir o --force", 0);
    assert_eq!(
        fs::metadata(folder.path().join("o/tokenizer.model.v1")).map_or(0, |data| data.len()),
        300 << 20
    );
}

#[test]
fn memory_of_conversations_and_prompts() {
    let folder = copy_of("llama-gqa");
    for (shape, value) in [15 * MIB, 36 * MIB].into_iter().flat_map(hostile) {
        fs::write(folder.path().join("m.json"), &value).unwrap();
        bounded(shape, folder.path(), "tokenize --checkpoint-dir . --messages m.json", 0);
        fs::write(folder.path().join("m.json"), format!(r#"[{{"role":"user","content":"","x":{value}}}]"#))
            .unwrap();
        bounded(shape, folder.path(), "tokenize --checkpoint-dir . --messages m.json", 0);
    }
}

/// A long text, a long prompt and their ids: the text once, once more where the tokenizer changes it, its ids in 4 bytes
/// each, and nothing of what is printed of them. (Ids as texts took 24 times as much as the text.)
#[test]
fn memory_of_long_texts() {
    const TEXT: usize = 16 * MIB;
    for (fixture, folder) in [("SentencePiece", llama()), ("tekken", tekken())] {
        let at = |name: &str| folder.path().join(name);
        let line = "Llamas eat grass, hay (1,000 kg a year) and, now and then, a gardener's roses.\n";
        fs::write(at("text"), line.repeat(TEXT / line.len())).unwrap();
        let mut ids = Command::new(env!("CARGO_BIN_EXE_mist"));
        ids.args(["tokenize", "--checkpoint-dir", ".", "--text", "-"]).current_dir(folder.path());
        ids.stdin(fs::File::open(at("text")).unwrap()).stdout(fs::File::create(at("ids")).unwrap());
        assert!(ids.status().unwrap().success());
        let written = fs::metadata(at("ids")).unwrap().len() as usize;
        let count = fs::read(at("ids")).unwrap().iter().filter(|byte| **byte == b' ').count() + 1;
        for (command, stdin, limit) in [
            ("tokenize --checkpoint-dir . --text -", "text", 2 * TEXT + 4 * count),
            ("tokenize --checkpoint-dir . --text - --json", "text", 2 * TEXT + 4 * count),
            ("tokenize --checkpoint-dir . --decode -", "ids", written + 4 * count),
            ("tokenize --checkpoint-dir . --decode - --json", "ids", written + 4 * count),
            ("generate --checkpoint-dir . -n 1", "text", 2 * TEXT + 4 * count),
            ("evaluate --checkpoint-dir . --file -", "text", 2 * TEXT + 4 * count),
        ] {
            within(&format!("{fixture}: {command}"), folder.path(), command, &at(stdin), LIMIT + limit);
        }
    }
}
