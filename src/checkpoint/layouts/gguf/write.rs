//! Writes a GGUF file of version 3 that llama.cpp loads: architecture `llama`, which covers Mistral and Mixtral.
//!
//! Names, types of entries and the order of rotary pairs are those of llama.cpp's converter (`conversion/llama.py`). As
//! in files from llama.cpp, vectors and routers are always f32: llama.cpp's kernels require it.

use std::collections::BTreeMap;
use std::path::Path;

use super::{config as metadata, names};
use crate::arch::Config;
use crate::arch::schema::MatrixKind;
use crate::checkpoint::Error;
use crate::checkpoint::convert::output::{Output, Rounding};
use crate::checkpoint::convert::plan::ConversionPlan;
use crate::checkpoint::convert::published::{self, Joined};
use crate::checkpoint::formats::gguf::write::{Entry, File};
use crate::checkpoint::open::Checkpoint;
use crate::kernels::pointwise::RopeLayout;
use crate::quant::{Layout, Matrix, Scheme};
use crate::text::Vocabulary;

/// `tokenizer.ggml.token_type` of an id without a token.
const UNUSED: i32 = 5;

/// `general.file_type` by the scheme that takes the most bytes (`llama_ftype` in llama.h).
const FILE_TYPES: [(Scheme, u32); 13] = [
    (Scheme::F32, 0),
    (Scheme::F16, 1),
    (Scheme::Q4_0, 2),
    (Scheme::Q4_1, 3),
    (Scheme::Q8_0, 7),
    (Scheme::Q5_0, 8),
    (Scheme::Q5_1, 9),
    (Scheme::Q2K, 10),
    (Scheme::Q3K, 12),
    (Scheme::Q4K, 15),
    (Scheme::Q5K, 17),
    (Scheme::Q6K, 18),
    (Scheme::Bf16, 32),
];

/// Plans to write `checkpoint` and its tokenizer to the file `path`, with its weights rounded by `rounding`.
///
/// # Errors
/// The vocabulary has more tokens than the model.
pub fn plan(
    checkpoint: &Checkpoint,
    vocabulary: &Vocabulary,
    rounding: Rounding,
    path: &Path,
) -> Result<ConversionPlan, Error> {
    let config = &checkpoint.config;
    let mut tensors = published::tensors(checkpoint, rounding, RopeLayout::Interleaved, Joined::Experts)?;
    for tensor in &mut tensors {
        if tensor.shape.len() == 1 || tensor.kind == Some(MatrixKind::Router) {
            tensor.scheme = Scheme::F32;
        }
        tensor.name = names::TENSORS.theirs(&tensor.name);
    }
    tensors.extend(rope_factors(config));
    let mut entries = vec![
        ("general.architecture".into(), Entry::Text("llama".into())),
        ("general.type".into(), Entry::Text("model".into())),
        ("general.name".into(), Entry::Text(name(checkpoint))),
        ("general.file_type".into(), Entry::U32(file_type(&tensors))),
        // The block schemes are those of ggml's quantization version 2.
        ("general.quantization_version".into(), Entry::U32(2)),
    ];
    entries.extend(checkpoint.suggestions.entries());
    entries.extend(metadata::entries(config));
    entries.extend(tokenizer(vocabulary, config.vocabulary_size, path)?);
    let file = File::new(path.into(), &entries, tensors);
    Ok(ConversionPlan { payloads: vec![Box::new(file)], texts: Vec::new(), stale: Vec::new(), base: None })
}

/// Returns the model's name: `general.name` of its GGUF file, or its folder's name.
fn name(checkpoint: &Checkpoint) -> String {
    let named = checkpoint.gguf.as_ref().and_then(|gguf| gguf.get("general.name")?.as_str());
    let folder = checkpoint.folder.file_name().unwrap_or_default().to_string_lossy();
    named.map_or_else(|| folder.into_owned(), str::to_string)
}

fn file_type(tensors: &[Output]) -> u32 {
    let mut bytes = BTreeMap::<Scheme, u64>::new();
    for tensor in tensors {
        *bytes.entry(tensor.scheme).or_default() += tensor.size();
    }
    let most = bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(scheme, _)| scheme);
    FILE_TYPES.iter().find(|(scheme, _)| Some(*scheme) == most).map_or(0, |(_, id)| *id)
}

/// Returns the divisors of the rotary frequencies as a tensor; `None` if one factor describes the scaling.
fn rope_factors(config: &Config) -> Option<Output> {
    let factors = metadata::rope_factors(config)?;
    let bytes: Vec<u8> = factors.iter().flat_map(|factor| factor.to_le_bytes()).collect();
    let matrix = Matrix::new(Scheme::F32, 1, factors.len(), bytes.into())?;
    Some(Output {
        name: "rope_freqs.weight".into(),
        shape: vec![factors.len()],
        kind: None,
        layer: None,
        scheme: Scheme::F32,
        layout: Layout::Rows,
        matrices: vec![matrix],
    })
}

/// Returns the tokenizer's entries, with an unused token for each of the model's ids that the vocabulary lacks.
fn tokenizer(vocabulary: &Vocabulary, size: usize, path: &Path) -> Result<Vec<(String, Entry)>, Error> {
    let known = vocabulary.tokens.len();
    // Control, user-defined and unused tokens (3 to 5) beyond the model's rows are dropped: it cannot compute them.
    let is_text = |id: usize| !matches!(vocabulary.token_types.get(id), Some(3..=5));
    if let Some(id) = (size..known).rfind(|id| is_text(*id)) {
        let rule = format!("the tokenizer has {} tokens, the model {size}", id + 1);
        return Err(Error::config(path, rule));
    }
    let mut tokens = vocabulary.tokens.clone();
    tokens.truncate(size);
    tokens.extend((known..size).map(|id| format!("[PAD{id}]")));
    let mut types = vocabulary.token_types.clone();
    types.resize(known.min(size), 1);
    types.resize(size, UNUSED);
    let mut entries = vec![
        ("model", Entry::Text(vocabulary.model.clone())),
        ("tokens", Entry::Texts(tokens)),
        ("token_type", Entry::I32s(types)),
    ];
    if !vocabulary.scores.is_empty() {
        let mut scores = vocabulary.scores.clone();
        scores.resize(size, 0.0);
        entries.push(("scores", Entry::F32s(scores)));
    }
    if !vocabulary.merges.is_empty() || vocabulary.model == "gpt2" {
        entries.push(("merges", Entry::Texts(vocabulary.merges.clone())));
    }
    let mut optional = |key, entry: Option<Entry>| entries.extend(entry.map(|entry| (key, entry)));
    optional("pre", vocabulary.pre.clone().map(Entry::Text));
    let id = |id: Option<u32>| id.filter(|id| (*id as usize) < size).map(Entry::U32);
    optional("bos_token_id", id(vocabulary.bos));
    optional("eos_token_id", id(vocabulary.eos));
    optional("eot_token_id", id(vocabulary.eot));
    optional("eom_token_id", id(vocabulary.eom));
    optional("unknown_token_id", id(vocabulary.unknown));
    optional("add_bos_token", vocabulary.add_bos.map(Entry::Bool));
    optional("add_eos_token", vocabulary.add_eos.map(Entry::Bool));
    optional("add_space_prefix", vocabulary.add_space_prefix.map(Entry::Bool));
    let mut entries: Vec<_> =
        entries.into_iter().map(|(key, entry)| (format!("tokenizer.ggml.{key}"), entry)).collect();
    let template = vocabulary.chat_template.clone().map(Entry::Text);
    entries.extend(template.map(|template| ("tokenizer.chat_template".to_string(), template)));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::checkpoint::layouts::mist as convert;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    fn values(checkpoint: &Checkpoint) -> Vec<(String, Vec<f32>)> {
        let all = checkpoint.weights.matrices(checkpoint.config.tied_head);
        all.into_iter().map(|(name, matrix)| (name, matrix.to_f32())).collect()
    }

    /// Writes a checkpoint with a vocabulary and opens the new file.
    fn written(checkpoint: &Checkpoint, vocabulary: &Vocabulary) -> (tempfile::TempDir, Checkpoint) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gguf");
        let plan = plan(checkpoint, vocabulary, Rounding::default(), &path).unwrap();
        plan.write_checked();
        let checkpoint = Checkpoint::open(&path).unwrap();
        (folder, checkpoint)
    }

    fn small() -> Vocabulary {
        let [tokens, merges] = [vec!["a".into(), "b".into()], vec!["a b".into()]];
        Vocabulary { model: "gpt2".into(), tokens, merges, ..Vocabulary::default() }
    }

    /// llama.cpp's converter made the GGUF fixtures from the folders of the same names.
    #[test]
    fn a_folder_becomes_the_weights_that_llama_cpps_layout_has() {
        for name in ["llama-gqa", "mistral-window", "mixtral"] {
            let source = Checkpoint::open(&fixture(&format!("models/{name}"))).unwrap();
            let theirs = Checkpoint::open(&fixture(&format!("gguf/{name}.gguf"))).unwrap();
            let (_folder, ours) = written(&source, &small());
            assert_eq!(ours.config, theirs.config, "{name}");
            let scheme = theirs.weights.embedding.parts().next().unwrap().0;
            let rounded = |matrix: Vec<f32>| match scheme {
                Scheme::F16 => matrix.into_iter().map(|v| half::f16::from_f32(v).to_f32()).collect(),
                _ => matrix,
            };
            for ((name, ours), (_, theirs)) in values(&ours).into_iter().zip(values(&theirs)) {
                let (ours, theirs): (Vec<f32>, Vec<f32>) = (rounded(ours), rounded(theirs));
                assert_eq!(ours, theirs, "{name}");
            }
        }
    }

    #[test]
    fn blocks_of_every_scheme_go_from_file_to_file_as_they_are_also_through_panels() {
        for name in ["llama-gqa-quants", "mixtral-quants"] {
            let source = Checkpoint::open(&fixture(&format!("gguf/{name}.gguf"))).unwrap();
            let vocabulary = source.gguf.as_ref().unwrap().vocabulary().unwrap();
            let folder = tempfile::tempdir().unwrap();
            convert::plan(&source, folder.path(), Rounding::default(), Vec::new()).unwrap().write_checked();
            let converted = Checkpoint::open(folder.path()).unwrap();
            for from in [&source, &converted] {
                let (_folder, ours) = written(from, &vocabulary);
                assert_eq!(ours.config, source.config);
                let [a, b] = [&ours, &source].map(|checkpoint| checkpoint.weights.matrices(false));
                for ((name, a), (_, b)) in a.iter().zip(b) {
                    let stored = |matrix: &Matrix| {
                        (
                            matrix.parts().collect::<Vec<_>>(),
                            matrix.runs(1 << 20).collect::<Vec<_>>().concat(),
                        )
                    };
                    assert_eq!(stored(a), stored(b), "{name}");
                }
                let again = ours.gguf.unwrap().vocabulary().unwrap();
                assert_eq!(format!("{again:?}"), format!("{vocabulary:?}"));
            }
        }
    }

    #[test]
    fn rotary_scaling_is_written_so_that_frequencies_are_the_same() {
        for name in ["llama-rope-linear", "llama-rope-llama3"] {
            let source = Checkpoint::open(&fixture(&format!("models/{name}"))).unwrap();
            let (_folder, ours) = written(&source, &small());
            let size = source.config.head_size;
            let pairs =
                source.config.rope.frequencies(size).into_iter().zip(ours.config.rope.frequencies(size));
            for (a, b) in pairs {
                assert!((a - b).abs() <= 1e-7 * a, "{name}: {a} {b}");
            }
        }
    }

    #[test]
    fn ids_without_a_token_are_unused_and_tokens_without_an_id_are_an_error() {
        let source = Checkpoint::open(&fixture("models/llama-gqa")).unwrap();
        let (_folder, ours) = written(&source, &small());
        let vocabulary = ours.gguf.unwrap().vocabulary().unwrap();
        assert_eq!((vocabulary.tokens.len(), vocabulary.tokens[2].as_str()), (320, "[PAD2]"));
        assert_eq!(vocabulary.token_types[..3], [1, 1, UNUSED]);
        let large = Vocabulary { tokens: vec![String::new(); 321], ..small() };
        let error = plan(&source, &large, Rounding::default(), Path::new("x.gguf")).unwrap_err().to_string();
        assert!(error.contains("the tokenizer has 321 tokens, the model 320"), "{error}");
    }
}
