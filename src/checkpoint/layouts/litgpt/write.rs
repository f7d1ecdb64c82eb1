//! Writes a folder that litgpt loads: `lit_model.pth`, `model_config.yaml` and the tokenizer's files.
//!
//! Names and layout are those of litgpt since December 2024. Tensors stream from the memory map to the file one at a
//! time. A tied head is a second name of the embedding's storage.

use std::path::Path;

use super::read::{CONFIG, WEIGHTS};
use super::{config as lit_config, names};
use crate::arch::schema::MatrixKind;
use crate::checkpoint::convert::output::Rounding;
use crate::checkpoint::convert::plan::{ConversionPlan, SidecarFiles};
use crate::checkpoint::convert::published::{self, Joined};
use crate::checkpoint::error::Error;
use crate::checkpoint::formats::torch::write::StateDict;
use crate::checkpoint::layouts::mist::manifest;
use crate::checkpoint::open::{self, Checkpoint};
use crate::kernels::pointwise::RopeLayout;
use crate::quant::Scheme;

/// Plans to write `checkpoint` into `folder`.
///
/// Dense weights are rounded to `dense` if it is given; blocks are widened to it, or to f32. litgpt chooses its prompt
/// style by `name`. `sidecars` are the files that go with the weights. The config is renamed into place last, so a
/// folder without it holds no checkpoint.
///
/// # Errors
/// A `model_config.yaml` cannot express the rotary frequencies, or the folder holds a layout that takes precedence over
/// litgpt's.
pub fn plan(
    checkpoint: &Checkpoint,
    folder: &Path,
    dense: Option<Scheme>,
    name: &str,
    sidecars: impl Into<SidecarFiles>,
) -> Result<ConversionPlan, Error> {
    if let Some(format) = open::opened_before_litgpt(folder) {
        return Err(Error::OtherLayout { folder: folder.into(), format: format.name() });
    }
    let rounding = Rounding { dense, ..Rounding::default() };
    let mut tensors =
        published::tensors(checkpoint, rounding, RopeLayout::HalfSplit, Joined::QueriesKeysValues)?;
    for tensor in &mut tensors {
        if !tensor.scheme.is_dense() {
            tensor.scheme = dense.unwrap_or(Scheme::F32);
        }
        tensor.name = names::TENSORS.theirs(&tensor.name);
    }
    let embedding = tensors.iter().position(|tensor| tensor.kind == Some(MatrixKind::Embedding));
    let head = embedding.filter(|_| checkpoint.config.tied_head).map(|i| ("lm_head.weight".to_string(), i));
    let aliases = head.into_iter().collect();
    let weights = StateDict { path: folder.join(WEIGHTS), root: "lit_model", tensors, aliases };
    let config = lit_config::to_lit_yaml(&checkpoint.config, name, &folder.join(CONFIG))?;
    let (mut texts, mut stale) = sidecars.into().placed(folder);
    texts.push((folder.join(CONFIG), config.into_bytes().into()));
    stale.push(folder.join(manifest::FILE));
    Ok(ConversionPlan { payloads: vec![Box::new(weights)], texts, stale, base: None })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::{fs, io};

    use super::*;
    use crate::checkpoint::open::Format;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    fn planned(source: &Path, folder: &Path) -> ConversionPlan {
        let checkpoint = Checkpoint::open(source).unwrap();
        plan(&checkpoint, folder, None, "tiny", vec![("x.json".into(), b"{}".to_vec())]).unwrap()
    }

    fn values(checkpoint: &Checkpoint) -> Vec<(String, Vec<f32>)> {
        let all = checkpoint.weights.matrices(false);
        all.into_iter().map(|(name, matrix)| (name, matrix.to_f32())).collect()
    }

    #[test]
    fn what_is_written_reads_back_as_the_same_values() {
        for name in [
            "models/llama-gqa",
            "models/llama-tied",
            "models/llama-rope-llama3",
            "models/llama-rope-linear",
            "models/mistral-window",
            "models/mistral-head-dim",
            "models/mixtral",
            "models/mixtral-window",
        ] {
            let (source, folder) = (fixture(name), tempfile::tempdir().unwrap());
            let plan = planned(&source, folder.path());
            plan.write_checked();
            let [theirs, ours] = [&source, folder.path()].map(|path| Checkpoint::open(path).unwrap());
            assert_eq!(ours.format, Format::LitGpt);
            assert_eq!(values(&ours), values(&theirs), "{name}");
            assert_eq!(ours.config.rope, theirs.config.rope, "{name}");
            assert_eq!(
                (ours.config.window, ours.config.experts),
                (theirs.config.window, theirs.config.experts)
            );
        }
    }

    #[test]
    fn a_tied_head_shares_the_embeddings_bytes() {
        let (tied, folder) = (fixture("models/llama-tied"), tempfile::tempdir().unwrap());
        let plan = planned(&tied, folder.path());
        plan.write(&mut |_| Ok(())).unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let bytes = |matrix: &crate::quant::Matrix| matrix.runs(64).next().unwrap().as_ptr();
        assert_eq!(bytes(&checkpoint.weights.head), bytes(&checkpoint.weights.embedding));
    }

    #[test]
    fn blocks_are_widened_and_rotary_pairs_put_back() {
        let (source, folder) = (fixture("gguf/llama-gqa-quants.gguf"), tempfile::tempdir().unwrap());
        planned(&source, folder.path()).write(&mut |_| Ok(())).unwrap();
        let [theirs, ours] = [&source, folder.path()].map(|path| Checkpoint::open(path).unwrap());
        assert_eq!(ours.weights.head.to_f32(), theirs.weights.head.to_f32());
        let c = ours.config.hidden_size;
        let [a, b] = [&ours, &theirs].map(|checkpoint| checkpoint.weights.layers[0].qkv.to_f32());
        // Heads have 16 rows. Compares the second pair of the first head, then the values, which have no pairs.
        assert_eq!((&a[c..2 * c], &a[9 * c..10 * c]), (&b[2 * c..3 * c], &b[3 * c..4 * c]));
        assert_eq!(a[96 * c..], b[96 * c..]);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut calls = 0;
        let full = |_| {
            calls += 1;
            if calls > 9 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        };
        planned(&fixture("models/mixtral"), folder.path()).write(&mut { full }).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
