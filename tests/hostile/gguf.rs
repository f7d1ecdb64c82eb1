//! GGUF headers. Most rows are advisories against llama.cpp, ollama and candle.

use tempfile::tempdir;

use crate::bytes::{Gguf, Typed, text_value, u32_value};
use crate::{clean_error, refused, run};

const NAME: &str = "llama-gqa-quants";

/// A file that must be refused by what looks at it, by what runs it and by what copies it.
#[track_caller]
fn file_refused(gguf: &Gguf, parts: &[&str]) {
    let folder = tempdir().unwrap();
    gguf.write(folder.path());
    for command in [
        "inspect --checkpoint-dir x.gguf",
        "generate --checkpoint-dir x.gguf --prompt x",
        "convert --checkpoint-dir x.gguf --output-dir out",
    ] {
        refused(folder.path(), command, parts);
        assert!(!folder.path().join("out/mist.json").exists());
    }
}

#[track_caller]
fn entry_refused(key: &str, value: Typed, parts: &[&str]) {
    file_refused(&Gguf::fixture(NAME).replace(key, value), parts);
}

/// The tools make files that load when nothing in them is wrong.
#[test]
fn a_file_with_harmless_entries_more_is_accepted() {
    let folder = tempdir().unwrap();
    let gguf =
        Gguf::fixture(NAME).insert("general.url", text_value("x")).insert("general.author", text_value("y"));
    gguf.replace("llama.block_count", u32_value(3)).write(folder.path());
    let ended = run(folder.path(), "generate --checkpoint-dir x.gguf --prompt x --seed 1 --quiet");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

/// CVE-2024-39720, CVE-2024-12055 (ollama): a file of the magic alone, and reads beyond its end.
#[test]
fn files_of_up_to_64_bytes() {
    let folder = tempdir().unwrap();
    let bytes = Gguf::fixture(NAME).0;
    for length in 0..=64 {
        std::fs::write(folder.path().join("x.gguf"), &bytes[..length]).unwrap();
        refused(folder.path(), "inspect --checkpoint-dir x.gguf", &["x.gguf"]);
    }
}

/// CVE-2024-23496, CVE-2024-21836 (llama.cpp), candle #3533: counts that drive an allocation.
#[test]
fn counts_larger_than_the_file() {
    for count in [1, 1 << 16, 1 << 31, 1 << 32, 1 << 62, u64::MAX] {
        file_refused(&Gguf::empty(count, 0), &["the number of tensors is", "more than the file can hold"]);
        file_refused(&Gguf::empty(0, count), &["the number of metadata entries is"]);
    }
}

/// CVE-2024-23605, CVE-2025-66960 (ollama), CVE-2025-49847, CVE-2025-52566 (llama.cpp: a length cut to 32 bits): lengths
/// of strings.
#[test]
fn a_string_longer_than_the_file() {
    for length in [100u64, 1 << 31, (1 << 32) + 1, 1 << 63, u64::MAX, u64::MAX - 7] {
        let mut gguf = Gguf::empty(0, 1);
        gguf.0.extend(length.to_le_bytes());
        gguf.0.extend([b'x'; 40]);
        file_refused(&gguf, &["the length of a metadata key is"]);
        let mut gguf = Gguf::fixture(NAME);
        gguf = gguf.replace("general.architecture", (8, length.to_le_bytes().to_vec()));
        if length > 1 << 24 {
            file_refused(&gguf, &["the length of general.architecture is"]);
        }
    }
}

#[test]
fn an_array_longer_than_the_file() {
    for (kind, count) in [(0u32, 1u64 << 32), (4, 1 << 62), (8, u64::MAX), (9, 1 << 24), (12, (1 << 61) + 1)]
    {
        let value = [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
        entry_refused("tokenizer.ggml.tokens", (9, value), &["the length of tokenizer.ggml.tokens is"]);
    }
}

/// Arrays of arrays of arrays: a reader that calls itself runs out of stack.
#[test]
fn arrays_nested_deeply() {
    let mut value = Vec::new();
    for _ in 0..100_000 {
        value.extend(9u32.to_le_bytes());
        value.extend(1u64.to_le_bytes());
    }
    entry_refused("tokenizer.ggml.tokens", (9, value), &["tokenizer.ggml.tokens", "nested too deeply"]);
}

#[test]
fn a_value_of_an_unknown_type() {
    entry_refused("llama.block_count", (13, vec![0; 8]), &["llama.block_count is of an unknown type 13"]);
    entry_refused("llama.block_count", (u32::MAX, vec![0; 8]), &["unknown type"]);
    entry_refused("llama.block_count", (7, vec![2]), &["llama.block_count is a truth value of 2"]);
}

/// candle PR #3876: `general.alignment` of 0 divides by zero; ggml PR #26318: rounding up to a huge one overflows.
#[test]
fn alignments_that_are_none() {
    for alignment in [0, 1, 3, 12, 1 << 31, u32::MAX] {
        let gguf = Gguf::fixture(NAME).insert("general.alignment", u32_value(alignment));
        file_refused(&gguf, &["general.alignment is"]);
    }
    for value in [text_value("32"), (10, u64::MAX.to_le_bytes().to_vec()), (6, 32f32.to_le_bytes().to_vec())]
    {
        file_refused(&Gguf::fixture(NAME).insert("general.alignment", value), &["general.alignment is"]);
    }
}

/// CVE-2026-33298, candle: an unchecked product of dimensions is 0 or small.
#[test]
fn dimensions_whose_product_wraps() {
    for wrap in [vec![1 << 32, 1 << 32], vec![64, 1 << 58], vec![1 << 63, 2], vec![u64::MAX - 31, u64::MAX]] {
        let gguf = Gguf::fixture(NAME)
            .describe("blk.0.attn_q.weight", |dimensions, _, _| *dimensions = wrap.clone());
        file_refused(&gguf, &["blk.0.attn_q.weight"]);
    }
}

#[test]
fn dimensions_of_zero() {
    let zero = |at: usize| {
        Gguf::fixture(NAME).describe("blk.0.attn_q.weight", move |dimensions, _, _| dimensions[at] = 0)
    };
    file_refused(&zero(0), &["blk.0.attn_q.weight has shape [64, 0]"]);
    file_refused(&zero(1), &["blk.0.attn_q.weight has shape [0, 64]"]);
}

/// CVE-2026-7482 (ollama, "Bleeding Llama"), CVE-2025-53630, CVE-2026-27940: data beyond the end of the file.
#[test]
fn tensors_beyond_the_end() {
    let length = Gguf::fixture(NAME).0.len() as u64;
    for far in [length, length - 8, 1 << 40, i64::MAX as u64, u64::MAX, u64::MAX - 4095] {
        let gguf = Gguf::fixture(NAME).describe("blk.0.attn_q.weight", |_, _, offset| *offset = far);
        file_refused(&gguf, &["blk.0.attn_q.weight reaches beyond the end of the file"]);
    }
}

/// candle, ggml: data that begins where no tensor's data may.
#[test]
fn tensors_that_are_not_aligned() {
    for by in [1, 4, 31] {
        let gguf = Gguf::fixture(NAME).describe("blk.0.attn_q.weight", |_, _, offset| *offset += by);
        file_refused(&gguf, &["blk.0.attn_q.weight"]);
    }
}

/// Two names for the same bytes, as aliasing keys and values would be.
#[test]
fn tensors_that_overlap() {
    let mut other = 0;
    let gguf = Gguf::fixture(NAME).describe("blk.1.attn_q.weight", |_, _, offset| other = *offset);
    let gguf = gguf.describe("blk.0.attn_q.weight", |_, _, offset| *offset = other);
    file_refused(&gguf, &["blk.0.attn_q.weight", "blk.1.attn_q.weight", "overlap"]);
}

#[test]
fn types_that_no_tensor_has() {
    for kind in [4, 5, 31, 99, u32::MAX] {
        let gguf = Gguf::fixture(NAME).describe("blk.0.attn_q.weight", |_, of_tensor, _| *of_tensor = kind);
        file_refused(&gguf, &["blk.0.attn_q.weight of ggml type", "not supported"]);
    }
    // Blocks of 256 in a row of 64.
    let gguf = Gguf::fixture(NAME).describe("blk.0.attn_q.weight", |_, of_tensor, _| *of_tensor = 12);
    file_refused(&gguf, &["rows of 64, not a whole number of q4_k blocks"]);
}

/// Readers that keep a map let the last one win.
#[test]
fn names_that_come_twice() {
    let gguf = Gguf::fixture(NAME).insert("llama.block_count", u32_value(3));
    file_refused(&gguf, &["two metadata entries named llama.block_count"]);
    let gguf = Gguf::fixture(NAME).rename("blk.0.attn_q.weight", "blk.0.attn_k.weight");
    file_refused(&gguf, &["two tensors named blk.0.attn_k.weight"]);
}

#[test]
fn tensors_that_are_missing_or_not_understood() {
    let gguf = Gguf::fixture(NAME).rename("blk.0.attn_q.weight", "blk.0.attn_x.weight");
    file_refused(&gguf, &["blk.0.attn_q.weight is missing"]);
    // One layer less: the third is left over.
    entry_refused("llama.block_count", u32_value(2), &["9 tensors are not used"]);
}

/// ollama #7802: a file that is valid and empty.
#[test]
fn a_file_without_tensors() {
    file_refused(&Gguf::empty(0, 0), &["general.architecture is missing"]);
    let mut gguf = Gguf::fixture(NAME);
    gguf.put(8, &0u64.to_le_bytes());
    file_refused(&gguf, &["token_embd.weight is missing"]);
}

/// The names of `config.json` and of its tensors were in messages about files that have neither.
#[test]
fn a_message_about_a_gguf_file_has_the_names_of_the_file() {
    entry_refused("llama.context_length", u32_value(0), &["x.gguf: llama.context_length is 0, it must be"]);
    entry_refused("llama.block_count", u32_value(0), &["x.gguf: llama.block_count is 0, it must be"]);
    entry_refused("llama.block_count", u32_value(4), &["x.gguf: tensor blk.3.attn_norm.weight is missing"]);
    entry_refused("llama.block_count", u32_value(2), &["not used by this architecture: blk.2."]);
    entry_refused("llama.feed_forward_length", u32_value(7), &["tensor blk.0.ffn_gate.weight has shape"]);
}

/// llama.cpp PR #25821, CVE-2025-0317, CVE-2024-8063 (ollama): sizes that index fixed arrays or divide.
#[test]
fn sizes_of_the_model_that_cannot_be() {
    for key in [
        "llama.block_count",
        "llama.embedding_length",
        "llama.attention.head_count",
        "llama.attention.head_count_kv",
        "llama.feed_forward_length",
        "llama.context_length",
    ] {
        for value in [u32_value(0), u32_value(u32::MAX), (10, (1u64 << 32).to_le_bytes().to_vec())] {
            entry_refused(key, value, &["x.gguf: "]);
        }
        entry_refused(key, (5, (-1i32).to_le_bytes().to_vec()), &[key]);
        entry_refused(key, text_value("3"), &[key]);
    }
    for layers in [1, 4, 513] {
        entry_refused("llama.block_count", u32_value(layers), &["x.gguf: "]);
    }
    for theta in [f32::NAN, f32::INFINITY, 0.0, -1.0] {
        entry_refused("llama.rope.freq_base", (6, theta.to_le_bytes().to_vec()), &["llama.rope.freq_base"]);
    }
    for epsilon in [f32::NAN, -1.0, f32::INFINITY] {
        let key = "llama.attention.layer_norm_rms_epsilon";
        entry_refused(key, (6, epsilon.to_le_bytes().to_vec()), &["llama.attention.layer_norm_rms_epsilon"]);
    }
}

#[test]
fn more_experts_active_than_there_are() {
    let gguf = Gguf::fixture("mixtral-quants").replace("llama.expert_used_count", u32_value(9));
    file_refused(&gguf, &["llama.expert_used_count 9 is more than"]);
    let gguf = Gguf::fixture("mixtral-quants").replace("llama.expert_count", u32_value(u32::MAX));
    file_refused(&gguf, &["llama.expert_count"]);
    let gguf = Gguf::fixture("mixtral-quants").replace("llama.expert_used_count", u32_value(0));
    file_refused(&gguf, &["llama.expert_used_count"]);
}

/// Entries that change the function and are not understood.
#[test]
fn an_entry_that_is_not_understood() {
    let gguf = Gguf::fixture(NAME).insert("llama.attention.clamp_kqv", (6, 1f32.to_le_bytes().to_vec()));
    file_refused(&gguf, &["llama.attention.clamp_kqv (1) is not understood"]);
}

#[test]
fn other_architectures_versions_and_formats() {
    entry_refused("general.architecture", text_value("mamba"), &["the architecture mamba", "not supported"]);
    for version in [0u32, 1, 4, 0x0300_0000] {
        let mut gguf = Gguf::fixture(NAME);
        gguf.put(4, &version.to_le_bytes());
        file_refused(&gguf, &["GGUF version", "not supported"]);
    }
    let folder = tempdir().unwrap();
    for magic in [b"ggml", b"ggjt", b"PK\x03\x04", b"\x7fELF", b"\0\0\0\0"] {
        let mut gguf = Gguf::fixture(NAME);
        gguf.put(0, magic);
        gguf.write(folder.path());
        refused(folder.path(), "inspect --checkpoint-dir x.gguf", &["not a GGUF file"]);
    }
}

/// Names from a file are quoted in messages: they must not steer the terminal, nor make a second line.
#[test]
fn names_with_control_characters_stay_in_one_line() {
    let gguf = Gguf::fixture(NAME).rename("blk.0.attn_q.weight", "\x1b]0;x\x07\nerror: yyyy\r");
    let folder = tempdir().unwrap();
    gguf.write(folder.path());
    let ended = run(folder.path(), "inspect --checkpoint-dir x.gguf");
    clean_error(&ended);
}
