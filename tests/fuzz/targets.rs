//! The bodies of all fuzz targets: what each does with bytes from a stranger. Whatever the bytes are, the program must
//! come back with a value or an error, without a panic, in bounded time and memory.
//!
//! Two programs include this file: `tests/fuzz` changes the fixtures at random on any toolchain, `fuzz/` is guided by
//! coverage and needs a nightly one.
// Each target of `fuzz/` uses one of them.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use mist::checkpoint::formats::gguf::Gguf;
use mist::checkpoint::open::Checkpoint;
use mist::hub::{self, Manifest};
use mist::terminal::{EscapeFilter, escaped};
use mist::text::{Message, Tokenizer};

/// A target by its name, and the fixtures that it begins with.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Files under `tests/fixtures`.
    pub seeds: &'static [&'static str],
    /// Seeds that are no file of their own.
    pub made: fn() -> Vec<Vec<u8>>,
}

const fn of_files(name: &'static str, run: fn(&[u8]), seeds: &'static [&'static str]) -> Target {
    Target { name, run, seeds, made: Vec::new }
}

pub const TARGETS: &[Target] = &[
    of_files(
        "gguf",
        gguf,
        &["gguf/llama-gqa-quants.gguf", "gguf/mixtral-quants.gguf", "gguf/llama-gqa.gguf"],
    ),
    of_files("safetensors", safetensors, &["models/llama-old-config/model.safetensors"]),
    of_files("index", index, &["models/llama-tied/model.safetensors.index.json"]),
    of_files(
        "zip",
        zip,
        &["layouts/litgpt-old/lit_model.pth", "torch/compressed.bin", "torch/state_dict.bin"],
    ),
    Target { name: "pickle", run: pickle, seeds: &[], made: pickles },
    of_files(
        "config",
        config,
        &[
            "models/llama-old-config/config.json",
            "models/llama-rope-llama3/config.json",
            "models/mixtral-window/config.json",
        ],
    ),
    of_files("params", params, &["layouts/mistral/params.json", "layouts/mistral-experts/params.json"]),
    of_files("lit_yaml", lit_yaml, &["layouts/litgpt/model_config.yaml"]),
    of_files("lit_json", lit_json, &["layouts/litgpt-old/lit_config.json"]),
    of_files("generation_config", generation_config, &["models/llama-gqa/generation_config.json"]),
    Target { name: "manifests", run: manifests, seeds: &[], made: example_manifests },
    of_files(
        "tokenizer_json",
        tokenizer_json,
        &[
            "tokenizer/tokenizer.json",
            "text/byte_level/tokenizer.json",
            "text/metaspace/tokenizer.json",
            "text/sentence_piece/tokenizer.json",
        ],
    ),
    of_files("tokenizer_model", tokenizer_model, &["text/mistral/tokenizer.model.v7"]),
    of_files("tekken", tekken, &["text/tekken/tekken.json"]),
    of_files(
        "tokenizer_config",
        tokenizer_config,
        &["tokenizer/tokenizer_config.json", "text/byte_level/tokenizer_config.json"],
    ),
    Target { name: "template", run: template, seeds: &[], made: templates },
    Target { name: "journal", run: journal, seeds: &[], made: journals },
    Target { name: "listing", run: listing, seeds: &[], made: listings },
    Target { name: "terminal", run: terminal, seeds: &[], made: terminal_texts },
];

/// The folder of the fixtures, whichever of the two programs this is.
pub fn fixtures() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of = |folder: &Path| folder.join("tests/fixtures");
    if of(crate_folder).is_dir() { of(crate_folder) } else { of(&crate_folder.join("..")) }
}

/// Runs `run` in a copy of a fixture's folder whose file `name` has these bytes. (An empty name: a folder of that file
/// alone.) The folder is kept for the next input, for which nothing may be mapped any more.
fn with_file(fixture: &str, name: &str, bytes: &[u8], run: impl FnOnce(&Path)) {
    thread_local! {
        static FOLDERS: RefCell<HashMap<(String, String), tempfile::TempDir>> = RefCell::default();
    }
    FOLDERS.with_borrow_mut(|folders| {
        let folder = folders.entry((fixture.into(), name.into())).or_insert_with(|| copy_of(fixture));
        fs::write(folder.path().join(name), bytes).unwrap();
        run(folder.path());
    });
}

fn copy_of(fixture: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = match fixture {
        "" => None,
        fixture => Some(fs::read_dir(fixtures().join(fixture)).unwrap()),
    };
    for entry in files.into_iter().flatten() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap();
        if name != "reference.json" && name != "cases.json" {
            fs::write(folder.path().join(name), fs::read(&file).unwrap()).unwrap();
        }
    }
    folder
}

/// Opens the checkpoint. An error may quote any name that a file holds; whoever prints it makes it one line.
fn open(path: &Path) {
    match Checkpoint::open(path) {
        Ok(checkpoint) => assert!(checkpoint.config.layers == checkpoint.weights.layers.len()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn one_line(error: &str) {
    assert!(!error.contains(['\n', '\x1b']), "{error:?}");
}

const TEXT: &str =
    "The keeper wrote:\n\t\"It's 東京 — 12,345 e\u{301}\u{1f469}\u{200d}\u{1f680}\" <s>[INST] ";

fn open_tokenizer(folder: &Path) {
    match Tokenizer::from_folder(folder) {
        Ok(tokenizer) => use_tokenizer(&tokenizer),
        Err(error) => one_line(&error.to_string()),
    }
}

fn use_tokenizer(tokenizer: &Tokenizer) {
    for bos in [false, true] {
        match tokenizer.encode(TEXT, bos) {
            Ok(ids) => {
                assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocabulary_size().max(1 << 22)));
                tokenizer.decode(&ids);
            }
            Err(error) => one_line(&error.to_string()),
        }
    }
}

pub fn gguf(data: &[u8]) {
    with_file("", "x.gguf", data, |folder| {
        let path = folder.join("x.gguf");
        open(&path);
        if let Ok(gguf) = Gguf::open(&path)
            && let Ok(vocabulary) = gguf.vocabulary()
            && let Ok(tokenizer) = Tokenizer::from_vocabulary(vocabulary)
        {
            use_tokenizer(&tokenizer);
        }
    });
}

pub fn safetensors(data: &[u8]) {
    with_file("models/llama-old-config", "model.safetensors", data, open);
}

pub fn index(data: &[u8]) {
    with_file("models/llama-tied", "model.safetensors.index.json", data, open);
}

pub fn zip(data: &[u8]) {
    with_file("layouts/litgpt-old", "lit_model.pth", data, open);
}

/// In an archive that is whole.
pub fn pickle(data: &[u8]) {
    let archive = stored(&[("a/data.pkl", data), ("a/version", b"3\n"), ("a/data/0", &[0; 256])]);
    zip(&archive);
}

pub fn config(data: &[u8]) {
    with_file("models/llama-old-config", "config.json", data, open);
}

pub fn params(data: &[u8]) {
    with_file("layouts/mistral", "params.json", data, open);
}

pub fn lit_yaml(data: &[u8]) {
    with_file("layouts/litgpt", "model_config.yaml", data, open);
}

pub fn lit_json(data: &[u8]) {
    with_file("layouts/litgpt-old", "lit_config.json", data, open);
}

pub fn generation_config(data: &[u8]) {
    with_file("models/llama-old-config", "generation_config.json", data, open);
}

/// Of a conversion, and of a download.
pub fn manifests(data: &[u8]) {
    with_file("", "mist.json", data, open);
    with_file("", "mist-download.json", data, |folder| {
        if let Ok(Some(manifest)) = Manifest::read(folder) {
            manifest.unfinished().for_each(one_line);
            manifest.total();
            manifest.repository();
        }
    });
}

pub fn tokenizer_json(data: &[u8]) {
    with_file("", "tokenizer.json", data, open_tokenizer);
}

pub fn tokenizer_model(data: &[u8]) {
    with_file("", "tokenizer.model.v7", data, open_tokenizer);
}

pub fn tekken(data: &[u8]) {
    with_file("", "tekken.json", data, open_tokenizer);
}

pub fn tokenizer_config(data: &[u8]) {
    with_file("tokenizer", "tokenizer_config.json", data, |folder| {
        open_tokenizer(folder);
        converse(folder);
    });
}

fn converse(folder: &Path) {
    let Ok(tokenizer) = Tokenizer::from_folder(folder) else { return };
    let turns =
        [("system", "Be brief."), ("user", "<s>[INST] hi"), ("assistant", "a<think>b</think>"), ("user", "")];
    let messages = turns.map(|(role, content)| Message::new(role, content));
    if let Err(error) = tokenizer.encode_chat(&messages) {
        one_line(&error.to_string());
    }
}

/// Bytes that begin with a letter or a sign are a template as they are; others choose statements, so that values are put
/// together, nested and compared.
pub fn template(data: &[u8]) {
    let text = match data.first() {
        Some(first) if *first < b' ' => statements(&data[1..]),
        _ => String::from_utf8_lossy(data).into_owned(),
    };
    let settings = serde_json::json!({"chat_template": text, "bos_token": "<s>", "eos_token": "</s>"});
    with_file("tokenizer", "tokenizer_config.json", settings.to_string().as_bytes(), converse);
}

const STATEMENTS: [&str; 40] = [
    "{% set ns = namespace(x=[], y='a') %}",
    "{% set ns.x = [ns.x] %}",
    "{% set ns.x = {'k': ns.x} %}",
    "{% set ns.x = [ns.x, ns.x] %}",
    "{% set ns.x = ns.x + ns.x %}",
    "{% set ns.x = (ns.x,) %}",
    "{% set ns.x = dict(a=ns.x) %}",
    "{% set ns.x = ns %}",
    "{% set ns.y = ns.y ~ ns.y %}",
    "{% set ns.y = ns.y * 1000 %}",
    "{% set ns.y = ns.x | string %}",
    "{% for i in range(100000) %}",
    "{% for i in range(1000) %}",
    "{% for m in messages %}",
    "{% for a in ns.x recursive %}{{ loop(a) }}",
    "{% endfor %}",
    "{% if ns.x == [ns.x] %}",
    "{% if ns.x < ns.x %}",
    "{% if ns.y in ns.x %}",
    "{% else %}",
    "{% endif %}",
    "{{ ns }}",
    "{{ ns.x }}",
    "{{ ns.x | tojson }}",
    "{{ ns.x | tojson(indent=9) }}",
    "{{ [ns.x, ns.x] | sort }}",
    "{{ ns.x | unique | list }}",
    "{{ ns.x | length }}",
    "{{ ns.x | join(ns.y) }}",
    "{{ ns.y | replace('a', ns.y) }}",
    "{{ ns.y.split('a') }}",
    "{{ m.content | upper | trim | title }}",
    "{{ messages | map(attribute='content') | list }}",
    "{{ messages | groupby('role') }}",
    "{{ '%s' % ns.x }}{{ '%9999d' % 1 }}",
    "{% macro f(a) %}{{ f(a) }}{% endmacro %}",
    "{{ f(ns.x) }}",
    "{{ ns.y[::-1] }}{{ ns.x[1:] }}",
    "{{ 9 ** 99 }}{{ 2 ** 2 ** 9 }}{{ 1 // 0 }}",
    "{{ raise_exception(ns.y) }}",
];

/// A template of statements that the bytes choose, each block of it closed.
fn statements(choices: &[u8]) -> String {
    let mut text = STATEMENTS[0].to_string();
    let mut open = Vec::new();
    for choice in choices.iter().take(64) {
        let statement = STATEMENTS[usize::from(*choice) % STATEMENTS.len()];
        match statement {
            "{% endfor %}" | "{% endif %}" if open.last() != Some(&statement) => continue,
            "{% else %}" if open.last() != Some(&"{% endif %}") => continue,
            "{% endfor %}" | "{% endif %}" => drop(open.pop()),
            _ if statement.starts_with("{% for") => open.push("{% endfor %}"),
            _ if statement.starts_with("{% if") => open.push("{% endif %}"),
            _ => {}
        }
        text.push_str(statement);
    }
    text.extend(open.into_iter().rev());
    text
}

/// What an earlier run left of a file of 1000 bytes.
pub fn journal(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let total = hub::fuzzing::journal(&text, 1000);
    assert!(total <= 1000, "{total} of 1000 bytes are there");
}

/// The first line is the header that names the next page.
pub fn listing(data: &[u8]) {
    let (link, body) = data.split_at(data.iter().position(|b| *b == b'\n').unwrap_or(0));
    let names = hub::fuzzing::listing(&String::from_utf8_lossy(link), body);
    for name in names {
        one_line(&name);
        assert!(!name.contains(['/', '\\', '\0']) && name != "." && name != "..", "{name:?}");
    }
}

/// In pieces and as a whole: the same, and nothing that steers a terminal.
pub fn terminal(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let whole = escaped(&text);
    let (mut filter, mut pieces) = (EscapeFilter::default(), String::new());
    let mut rest = &*text;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(rest.ceil_char_boundary(rest.len() % 7 + 1));
        pieces.push_str(&filter.filter(piece));
        rest = later;
    }
    pieces.push_str(filter.finish());
    assert_eq!(whole, pieces);
    for c in whole.chars() {
        assert!(c == '\n' || c == '\t' || !c.is_control(), "{whole:?}");
        assert!(!matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{E0000}'..='\u{E00FF}'));
    }
}

/// A zip archive of entries as they are, as `torch.save` writes them.
fn stored(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let sizes =
            [crc32fast::hash(data), data.len() as u32, data.len() as u32].map(u32::to_le_bytes).concat();
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

/// The pickles in the archives of the fixtures. Each is the archive's first entry, and ends with the first `.` before the
/// next header that is an end.
fn pickles() -> Vec<Vec<u8>> {
    let files = [
        "layouts/litgpt-old/lit_model.pth",
        "torch/state_dict.bin",
        "torch/protocol_4.bin",
        "torch/nested.pth",
    ];
    let found = files.iter().filter_map(|file| {
        let bytes = fs::read(fixtures().join(file)).ok()?;
        let start = bytes.windows(2).position(|w| w[0] == 0x80 && (2..=5).contains(&w[1]))?;
        let end = start + bytes[start..].windows(4).position(|w| w == b"PK\x07\x08" || w == b"PK\x03\x04")?;
        Some(bytes[start..end].to_vec())
    });
    found.collect()
}

fn example_manifests() -> Vec<Vec<u8>> {
    let download = r#"{"version":1,"repository":"a/b","commit":"0123456789012345678901234567890123456789","files":[{"name":"config.json","size":3,"sha256":null}]}"#;
    let conversion =
        r#"{"format":"mist","version":1,"config":{"layers":2},"tensors":{},"origin":{"files":[]}}"#;
    vec![download.into(), conversion.into()]
}

fn templates() -> Vec<Vec<u8>> {
    let plain = "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m.content | trim }}{{ eos_token }}{% endfor %}\
                 {% if add_generation_prompt %}[assistant]{% endif %}";
    let deep = "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}";
    let cycle = "{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}{{ ns | tojson }}";
    let think = "{% for m in messages %}{% if '</think>' in m.content %}{{ m.content.split('</think>')[-1] }}{% endif %}{% endfor %}";
    let mut made: Vec<Vec<u8>> = [plain, deep, cycle, think].map(|text| text.as_bytes().to_vec()).into();
    // The same as choices: nesting by a loop, and what walks over the value.
    for last in 21..38u8 {
        made.push(vec![1, 11, 1, 15, last]);
        made.push(vec![2, 11, 2, 15, last, 7, last]);
    }
    made
}

fn journals() -> Vec<Vec<u8>> {
    let heading = hub::fuzzing::heading(1000);
    let bodies =
        ["", "etag \"abc\"\n0 10\n50 60\n10 20\n", "0 18446744073709551615\n7 3\n", "0 1000\n0 1000\n"];
    bodies.map(|body| format!("{heading}{body}").into_bytes()).into()
}

fn listings() -> Vec<Vec<u8>> {
    let link = r#"<https://hub.test/api/models/a/b/tree/c?recursive=true&cursor=abc>; rel="next""#;
    let file =
        r#"{"type":"file","oid":"0123456789012345678901234567890123456789","size":571,"path":"config.json"}"#;
    let lfs = r#"{"type":"file","oid":"aa","size":9,"path":"m.safetensors","lfs":{"oid":"0123456789012345678901234567890123456789012345678901234567890123","size":9,"pointerSize":135}}"#;
    let folder = r#"{"type":"directory","oid":"aa","size":0,"path":"onnx"}"#;
    vec![format!("{link}\n[{file},{lfs},{folder}]").into_bytes(), format!("\n[{file}]").into_bytes()]
}

fn terminal_texts() -> Vec<Vec<u8>> {
    let texts = [
        "plain",
        "\x1b[31mred\x1b]0;title\x07",
        "a\r\nb\rc\r",
        "👩\u{200D}🚀 ❤\u{FE0F} ab\u{200D}c",
        "\u{202E}x\u{2066}",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}
