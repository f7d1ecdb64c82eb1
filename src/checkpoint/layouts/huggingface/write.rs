//! Writes a Hugging Face folder that transformers loads: `config.json`, `generation_config.json` and safetensors, in
//! shards with an index if one file would be too large.
//!
//! Names and the order of rotary pairs are Hugging Face's. Dense weights keep their bytes unless they are rounded.
//! Tensors stream from the memory map to the file one at a time.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::json as config_json;
use crate::arch::Config;
use crate::checkpoint::convert::output::{Output, Rounding};
use crate::checkpoint::convert::plan::{ConversionPlan, Payload, SidecarFiles};
use crate::checkpoint::convert::published::{self, Joined};
use crate::checkpoint::error::Error;
use crate::checkpoint::formats::safetensors::write::File;
use crate::checkpoint::layouts::mist::manifest;
use crate::checkpoint::open::Checkpoint;
use crate::checkpoint::suggestions;
use crate::kernels::pointwise::RopeLayout;
use crate::quant::Scheme;

/// The `format` that transformers expects in a safetensors header.
const FORMAT: &str = "pt";

const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Default size of a shard in bytes, that of transformers 4.
pub const SHARD_SIZE: u64 = 5_000_000_000;

/// Plans to write `checkpoint` into `folder`.
///
/// A shard has at most `shard_size` bytes, or holds one larger tensor. Dense weights are rounded to `dense` if it is
/// given; blocks are widened to it, or to f32. `ids` are the tokenizer's BOS id and end ids. `sidecars` are the files
/// that go with the weights; a `generation_config.json` among them is written unchanged. The config is renamed into
/// place last, so a folder without it holds no checkpoint.
///
/// # Errors
/// A `config.json` cannot express the rotary frequencies.
pub fn plan(
    checkpoint: &Checkpoint,
    folder: &Path,
    dense: Option<Scheme>,
    shard_size: u64,
    ids: (Option<u32>, &[u32]),
    sidecars: impl Into<SidecarFiles>,
) -> Result<ConversionPlan, Error> {
    let rounding = Rounding { dense, ..Rounding::default() };
    let mut tensors = published::tensors(checkpoint, rounding, RopeLayout::HalfSplit, Joined::Nothing)?;
    for tensor in tensors.iter_mut().filter(|tensor| !tensor.scheme.is_dense()) {
        tensor.scheme = dense.unwrap_or(Scheme::F32);
    }
    let (bos, end_ids) = ids;
    let config = Config { end_ids: end_ids.into(), ..checkpoint.config.clone() };
    let dtype = tensors.first().map_or(Scheme::F32, |embedding| embedding.scheme);
    let shards = shards(tensors, shard_size);
    let (mut texts, mut stale) = sidecars.into().placed(folder);
    let generation_config = folder.join(suggestions::FILE);
    if !texts.iter().any(|(path, _)| *path == generation_config) {
        texts.push((generation_config, text(&checkpoint.suggestions.to_json(bos, end_ids)).into()));
    }
    stale.push(folder.join(manifest::FILE));
    match shards.len() {
        // Readers prefer an index to a single file.
        1 => stale.push(folder.join(INDEX)),
        _ => texts.push((folder.join(INDEX), text(&index(&shards)).into())),
    }
    let description = folder.join(CONFIG);
    let config = config_json::to_json(&config, dtype, bos, &description)?;
    texts.push((description, text(&config).into()));
    let file = |(name, tensors)| {
        Box::new(File::new(folder.join::<String>(name), tensors, FORMAT)) as Box<dyn Payload>
    };
    let payloads = shards.into_iter().map(file).collect();
    Ok(ConversionPlan { payloads, texts, stale, base: None })
}

/// Distributes the tensors, in their order, over shards. Returns the shards with their file names.
fn shards(tensors: Vec<Output>, shard_size: u64) -> Vec<(String, Vec<Output>)> {
    let mut shards: Vec<Vec<Output>> = vec![Vec::new()];
    let mut filled = 0;
    for tensor in tensors {
        if filled > 0 && filled + tensor.size() > shard_size {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += tensor.size();
        if let Some(shard) = shards.last_mut() {
            shard.push(tensor);
        }
    }
    let count = shards.len();
    let name = |i: usize| match count {
        1 => SINGLE.to_string(),
        _ => format!("model-{:05}-of-{count:05}.safetensors", i + 1),
    };
    shards.into_iter().enumerate().map(|(i, shard)| (name(i), shard)).collect()
}

fn index(shards: &[(String, Vec<Output>)]) -> Value {
    let size: u64 = shards.iter().flat_map(|(_, tensors)| tensors).map(Output::size).sum();
    let entries =
        shards.iter().flat_map(|(file, tensors)| tensors.iter().map(move |t| (t.name.clone(), json!(file))));
    json!({"metadata": {"total_size": size}, "weight_map": entries.collect::<Map<_, _>>()})
}

/// Formats JSON with indentation and a newline at its end.
fn text(json: &Value) -> Vec<u8> {
    format!("{json:#}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;
    use crate::checkpoint::formats::safetensors;
    use crate::checkpoint::tensors::Tensors;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    fn planned(source: &Path, folder: &Path, shard_size: u64) -> ConversionPlan {
        let checkpoint = Checkpoint::open(source).unwrap();
        let ids = checkpoint.config.end_ids.clone();
        plan(&checkpoint, folder, None, shard_size, (Some(0), &ids), Vec::new()).unwrap()
    }

    fn tensors(folder: &Path) -> Tensors {
        let mut all = Tensors::new(folder);
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|e| e == "safetensors"));
        files.iter().for_each(|file| safetensors::read(file, &mut all, |_| None).unwrap());
        all
    }

    #[test]
    fn every_tensor_is_the_bytes_it_was_and_the_config_says_the_same() {
        for name in [
            "llama-gqa",
            "llama-old-config",
            "llama-tied",
            "llama-rope-llama3",
            "llama-rope-linear",
            "mistral-window",
            "mistral-head-dim",
            "mixtral",
            "mixtral-window",
        ] {
            let (source, folder) = (fixture(&format!("models/{name}")), tempfile::tempdir().unwrap());
            planned(&source, folder.path(), 150_000).write_checked();
            let (mut theirs, mut ours) = (tensors(&source), tensors(folder.path()));
            for name in tensors(&source).names().filter(|name| !name.ends_with("inv_freq")) {
                let (a, b) = (theirs.take(name).unwrap(), ours.take(name).unwrap());
                assert_eq!((a.scheme, a.shape, a.bytes), (b.scheme, b.shape, b.bytes), "{name}");
            }
            assert_eq!(ours.names().count(), 0);
            let [theirs, ours] = [&source, folder.path()].map(|path| Checkpoint::open(path).unwrap().config);
            assert_eq!(ours, theirs, "{name}");
        }
    }

    #[test]
    fn blocks_are_widened_and_rotary_pairs_put_back() {
        let (source, folder) = (fixture("gguf/mixtral-quants.gguf"), tempfile::tempdir().unwrap());
        planned(&source, folder.path(), SHARD_SIZE).write_checked();
        let [theirs, ours] = [&source, folder.path()].map(|path| Checkpoint::open(path).unwrap());
        assert_eq!(ours.config.rope.layout, RopeLayout::HalfSplit);
        let values = |checkpoint: &Checkpoint| {
            let network = |i: usize| match &checkpoint.weights.layers[i].mlp {
                crate::arch::Mlp::Mixture { experts, .. } => experts[7].gate_up.to_f32(),
                crate::arch::Mlp::Dense(_) => Vec::new(),
            };
            (checkpoint.weights.head.to_f32(), network(3))
        };
        assert_eq!(values(&ours), values(&theirs));
        // Heads have 16 rows. Compares the second pair of the first head, then the values, which have no pairs.
        let c = ours.config.hidden_size;
        let [a, b] = [&ours, &theirs].map(|checkpoint| checkpoint.weights.layers[0].qkv.to_f32());
        assert_eq!((&a[c..2 * c], &a[9 * c..10 * c]), (&b[2 * c..3 * c], &b[3 * c..4 * c]));
        assert_eq!(a[96 * c..], b[96 * c..]);
    }

    #[test]
    fn an_index_of_an_earlier_conversion_does_not_outlive_its_shards() {
        let (source, folder) = (fixture("models/llama-old-config"), tempfile::tempdir().unwrap());
        planned(&source, folder.path(), 20_000).write_checked();
        assert!(folder.path().join(INDEX).is_file());
        planned(&source, folder.path(), SHARD_SIZE).write(&mut |_| Ok(())).unwrap();
        assert!(!folder.path().join(INDEX).exists());
        Checkpoint::open(folder.path()).unwrap();
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let (source, folder) = (fixture("models/mixtral"), tempfile::tempdir().unwrap());
        let plan = planned(&source, folder.path(), 150_000);
        let mut left = 400_000;
        let full = |bytes: u64| {
            left -= bytes as i64;
            if left < 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        };
        plan.write(&mut { full }).unwrap_err();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
