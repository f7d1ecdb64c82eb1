//! Writing a folder that litgpt loads: `lit_model.pth`, `model_config.yaml` and the tokenizer's files.
//!
//! Names and layout are those of litgpt since December 2024. Tensors stream from the map to the file one at a time;
//! a tied head is a second name for the embedding's bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{CONFIG, WEIGHTS};
use crate::checkpoint::config::{RopeLayout, litgpt as lit_config};
use crate::checkpoint::convert::Output;
use crate::checkpoint::published::{self, ExpertsAs};
use crate::checkpoint::torch::StateDict;
use crate::checkpoint::{Checkpoint, Error, names};
use crate::files::{Replacement, free_space};
use crate::kernels::Scheme;

/// What will be written.
#[derive(Debug)]
pub struct Plan {
    folder: PathBuf,
    weights: StateDict,
    /// The small files, the config last: a folder without it holds no checkpoint.
    texts: Vec<(String, Vec<u8>)>,
}

impl Plan {
    /// Plans to write `checkpoint` into `folder`. Dense weights are rounded to `dense` where that is given, and blocks
    /// are widened to it, or to f32. `name` is what litgpt knows the model by: its prompt style depends on it.
    /// `companions` are the files that go with the weights.
    ///
    /// # Errors
    /// The rotary frequencies cannot be said in a `model_config.yaml`.
    pub fn new(
        checkpoint: &Checkpoint,
        folder: &Path,
        dense: Option<Scheme>,
        name: &str,
        companions: Vec<(String, Vec<u8>)>,
    ) -> Result<Self, Error> {
        let published = published::tensors(checkpoint, dense, RopeLayout::HalfSplit, ExpertsAs::OneByOne)?;
        let mut tensors = fused(published, dense);
        for tensor in &mut tensors {
            if !tensor.scheme.is_dense() {
                tensor.scheme = dense.unwrap_or(Scheme::F32);
            }
            tensor.name = names::LITGPT.theirs(&tensor.name);
        }
        let embedding = tensors.iter().position(|tensor| tensor.name == "transformer.wte.weight");
        let head =
            embedding.filter(|_| checkpoint.config.tied_head).map(|i| ("lm_head.weight".to_string(), i));
        let weights = StateDict { root: "lit_model", tensors, aliases: head.into_iter().collect() };
        let config = lit_config::to_lit_yaml(&checkpoint.config, name, &folder.join(CONFIG))?;
        let mut texts = companions;
        texts.push((CONFIG.into(), config.into_bytes()));
        Ok(Self { folder: folder.into(), weights, texts })
    }

    /// The files that will be written, with their sizes in bytes.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let weights = (self.folder.join(WEIGHTS), self.weights.size());
        let texts = self.texts.iter().map(|(name, bytes)| (self.folder.join(name), bytes.len() as u64));
        std::iter::once(weights).chain(texts).collect()
    }

    /// Bytes of all tensors: what `progress` is told of.
    pub fn weights_size(&self) -> u64 {
        self.weights.tensors.iter().map(Output::size).sum()
    }

    /// How many tensors are stored in each scheme.
    pub fn schemes(&self) -> BTreeMap<Scheme, usize> {
        let mut counts = BTreeMap::new();
        for tensor in &self.weights.tensors {
            *counts.entry(tensor.scheme).or_default() += 1;
        }
        counts
    }

    /// Checks that nothing is in the way: files of these names, unless `force`, or a disk too full.
    ///
    /// # Errors
    /// The first thing that is.
    pub fn check(&self, force: bool) -> Result<(), Error> {
        let files = self.files();
        if let Some((path, _)) = files.iter().find(|(path, _)| !force && path.exists()) {
            return Err(Error::Exists(path.clone()));
        }
        let needed = files.iter().map(|(_, size)| size).sum::<u64>();
        let free = free_space(&self.folder).map_err(Error::read(&self.folder))?;
        match free < needed {
            true => Err(Error::NoSpace { path: self.folder.clone(), needed, free }),
            false => Ok(()),
        }
    }

    /// Writes the files. They take their names when all of them are complete, the config last. `progress` is told of
    /// every run of bytes written; its error ends the writing.
    ///
    /// # Errors
    /// A file cannot be written, a weight is too large for its new type, or `progress` failed; what was there before
    /// is as it was.
    pub fn write(&self, progress: &mut dyn FnMut(u64) -> io::Result<()>) -> Result<(), Error> {
        fs::create_dir_all(&self.folder).map_err(Error::write(&self.folder))?;
        let path = self.folder.join(WEIGHTS);
        let mut complete = vec![(self.weights.write(&path, progress).map_err(Error::write(&path))?, path)];
        for (name, bytes) in &self.texts {
            let path = self.folder.join(name);
            let mut file = Replacement::new(&path).map_err(Error::write(&path))?;
            file.write_all(bytes).map_err(Error::write(&path))?;
            complete.push((file, path));
        }
        complete.into_iter().try_for_each(|(file, path)| file.finish().map_err(Error::write(&path)))
    }
}

/// Puts queries, keys and values, which follow one another, into one tensor.
fn fused(tensors: Vec<Output>, dense: Option<Scheme>) -> Vec<Output> {
    let mut fused = Vec::with_capacity(tensors.len());
    let mut tensors = tensors.into_iter();
    while let Some(first) = tensors.next() {
        let Some(layer) = first.name.strip_suffix(".q_proj.weight") else {
            fused.push(first);
            continue;
        };
        let name = format!("{layer}.qkv_proj.weight");
        let parts: Vec<Output> = std::iter::once(first).chain(tensors.by_ref().take(2)).collect();
        let rows = parts.iter().filter_map(|part| part.shape.first()).sum();
        let columns = parts.iter().filter_map(|part| part.shape.last()).max();
        let shape = vec![rows, columns.copied().unwrap_or(0)];
        let matrices = parts.into_iter().flat_map(|part| part.matrices).collect();
        fused.push(Output::new(name, shape, matrices, dense));
    }
    fused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Format;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    fn plan(source: &Path, folder: &Path) -> Plan {
        let checkpoint = Checkpoint::open(source).unwrap();
        Plan::new(&checkpoint, folder, None, "tiny", vec![("x.json".into(), b"{}".to_vec())]).unwrap()
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
            let plan = plan(&source, folder.path());
            plan.check(false).unwrap();
            let mut told = 0;
            plan.write(&mut |bytes| {
                told += bytes;
                Ok(())
            })
            .unwrap();
            assert_eq!(told, plan.weights_size());
            for (path, size) in plan.files() {
                assert_eq!(fs::metadata(&path).unwrap().len(), size, "{}", path.display());
            }
            assert!(matches!(plan.check(false), Err(Error::Exists(_))));
            plan.check(true).unwrap();
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
    fn a_tied_head_takes_no_bytes_of_its_own() {
        let (tied, folder) = (fixture("models/llama-tied"), tempfile::tempdir().unwrap());
        let plan = plan(&tied, folder.path());
        plan.write(&mut |_| Ok(())).unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let bytes = |matrix: &crate::kernels::Matrix| matrix.parts().next().unwrap().2.as_ptr();
        assert_eq!(bytes(&checkpoint.weights.head), bytes(&checkpoint.weights.embedding));
    }

    #[test]
    fn blocks_are_widened_and_rotary_pairs_put_back() {
        let (source, folder) = (fixture("gguf/llama-gqa-quants.gguf"), tempfile::tempdir().unwrap());
        plan(&source, folder.path()).write(&mut |_| Ok(())).unwrap();
        let [theirs, ours] = [&source, folder.path()].map(|path| Checkpoint::open(path).unwrap());
        assert_eq!(ours.weights.head.to_f32(), theirs.weights.head.to_f32());
        let c = ours.config.hidden_size;
        let [a, b] = [&ours, &theirs].map(|checkpoint| checkpoint.weights.layers[0].qkv.to_f32());
        // Of a head of 16 rows the second pair, then values, which have no pairs.
        assert_eq!((&a[c..2 * c], &a[9 * c..10 * c]), (&b[2 * c..3 * c], &b[3 * c..4 * c]));
        assert_eq!(a[96 * c..], b[96 * c..]);
    }

    #[test]
    fn a_failed_writing_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut calls = 0;
        let full = |_| {
            calls += 1;
            if calls > 9 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        };
        plan(&fixture("models/mixtral"), folder.path()).write(&mut { full }).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
