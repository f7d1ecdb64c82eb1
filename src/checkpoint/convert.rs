//! Writing the `mist` format: a plan first, then one pass that copies each tensor from the map to the file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::manifest::{self, Manifest, RowLayout};
use super::{Checkpoint, Error, Experts, Mlp};
use crate::files::{Replacement, free_space};
use crate::kernels::weight::narrow;
use crate::kernels::{Matrix, Scheme};

/// Tensor data begins at a multiple of this, as the format's own writer aligns it to 8.
const ALIGNMENT: usize = 64;

/// What the header says that the file is.
const FORMAT: &str = "mist";

/// Rows that are converted at a time: bounds memory whatever a tensor's size.
const ROWS_AT_A_TIME: usize = 64;

/// What will be written.
#[derive(Debug)]
pub struct Plan {
    folder: PathBuf,
    tensors: Vec<Output>,
    manifest: Manifest,
    companions: Vec<(String, Vec<u8>)>,
}

/// One tensor to be written: matrices one below the other, in one scheme.
#[derive(Debug)]
pub(super) struct Output {
    pub name: String,
    pub shape: Vec<usize>,
    pub scheme: Scheme,
    pub matrices: Vec<Matrix>,
}

impl Plan {
    /// Plans to write `checkpoint` into `folder`, its dense weights rounded to `dense` where that is given.
    /// `companions` are the files that go with it: the tokenizer's.
    pub fn new(
        checkpoint: &Checkpoint,
        folder: &Path,
        dense: Option<Scheme>,
        companions: Vec<(String, Vec<u8>)>,
    ) -> Self {
        let tensors = outputs(checkpoint, dense);
        let blocks = tensors.iter().filter(|t| !t.scheme.is_dense());
        let manifest = Manifest {
            version: manifest::VERSION,
            layout: RowLayout::Rows,
            config: checkpoint.config.clone(),
            weights: vec![manifest::WEIGHTS.into()],
            schemes: blocks.map(|t| (t.name.clone(), t.scheme)).collect(),
        };
        Self { folder: folder.into(), tensors, manifest, companions }
    }

    /// The files that will be written, with their sizes in bytes.
    ///
    /// # Errors
    /// The description cannot be written as JSON.
    pub fn files(&self) -> Result<Vec<(PathBuf, u64)>, Error> {
        let weights = (
            self.folder.join(manifest::WEIGHTS),
            self.weights_size() + header(&self.tensors, FORMAT).len() as u64,
        );
        let description = self.folder.join(manifest::FILE);
        let size = self.description()?.len() as u64;
        let companions =
            self.companions.iter().map(|(name, bytes)| (self.folder.join(name), bytes.len() as u64));
        Ok(std::iter::once(weights).chain(companions).chain([(description, size)]).collect())
    }

    /// Bytes of all tensors.
    pub fn weights_size(&self) -> u64 {
        self.tensors.iter().map(Output::size).sum()
    }

    /// How many tensors are stored in each scheme.
    pub fn schemes(&self) -> BTreeMap<Scheme, usize> {
        let mut counts = BTreeMap::new();
        for tensor in &self.tensors {
            *counts.entry(tensor.scheme).or_default() += 1;
        }
        counts
    }

    /// Checks that nothing is in the way: an earlier conversion or another tokenizer, unless `force`, or a disk
    /// too full.
    ///
    /// # Errors
    /// The first thing that is.
    pub fn check(&self, force: bool) -> Result<(), Error> {
        let description = self.folder.join(manifest::FILE);
        if !force && description.exists() {
            return Err(Error::Exists(description));
        }
        for (name, bytes) in &self.companions {
            let file = self.folder.join(name);
            if !force && file.exists() && fs::read(&file).map_err(Error::read(&file))? != *bytes {
                return Err(Error::Exists(file));
            }
        }
        let needed = self.files()?.iter().map(|(_, size)| size).sum::<u64>();
        let free = free_space(&self.folder).map_err(Error::read(&self.folder))?;
        match free < needed {
            true => Err(Error::NoSpace { path: self.folder.clone(), needed, free }),
            false => Ok(()),
        }
    }

    /// Writes the files. They take their names when all of them are complete, the description last: a folder
    /// without it holds no finished conversion. `progress` is told of every run of bytes written; its error ends
    /// the writing.
    ///
    /// # Errors
    /// A file cannot be written, a weight is too large for its new type, or `progress` failed; what was there before
    /// is as it was.
    pub fn write(&self, progress: &mut dyn FnMut(u64) -> io::Result<()>) -> Result<(), Error> {
        fs::create_dir_all(&self.folder).map_err(Error::write(&self.folder))?;
        let path = self.folder.join(manifest::WEIGHTS);
        let mut complete = vec![(
            write_safetensors(&path, &self.tensors, FORMAT, progress).map_err(Error::write(&path))?,
            path,
        )];
        let description = self.folder.join(manifest::FILE);
        let json = self.description()?;
        let companions =
            self.companions.iter().map(|(name, bytes)| (self.folder.join(name), bytes.as_slice()));
        for (path, bytes) in companions.chain([(description.clone(), json.as_bytes())]) {
            let mut file = Replacement::new(&path).map_err(Error::write(&path))?;
            file.write_all(bytes).map_err(Error::write(&path))?;
            complete.push((file, path));
        }
        if description.exists() {
            // An old description beside new weights would be wrong.
            fs::remove_file(&description).map_err(Error::write(&description))?;
        }
        complete.into_iter().try_for_each(|(file, path)| file.finish().map_err(Error::write(&path)))
    }

    /// The text of `mist.json`.
    fn description(&self) -> Result<String, Error> {
        let path = self.folder.join(manifest::FILE);
        serde_json::to_string_pretty(&self.manifest).map_err(io::Error::other).map_err(Error::write(&path))
    }
}

/// Writes a safetensors file, not yet under its name.
pub(super) fn write_safetensors(
    path: &Path,
    tensors: &[Output],
    format: &str,
    progress: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<Replacement> {
    let mut file = BufWriter::with_capacity(1 << 20, Replacement::new(path)?);
    file.write_all(&header(tensors, format))?;
    for tensor in tensors {
        for matrix in &tensor.matrices {
            write_matrix(matrix, tensor.scheme, &mut file, progress)?;
        }
    }
    file.into_inner().map_err(|e| e.into_error())
}

/// The safetensors header: length, JSON, spaces up to the alignment.
pub(super) fn header(tensors: &[Output], format: &str) -> Vec<u8> {
    let mut entries = Map::new();
    entries.insert("__metadata__".into(), json!({"format": format}));
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + tensor.size();
        let (dtype, shape) = tensor.stored();
        entries.insert(
            tensor.name.clone(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}),
        );
        offset = end;
    }
    let mut json = Value::Object(entries).to_string().into_bytes();
    json.resize((json.len() + 8).next_multiple_of(ALIGNMENT) - 8, b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    header
}

impl Output {
    /// In the one scheme of all matrices, or in f32 where there are several; dense ones in `dense`.
    pub fn new(name: String, shape: Vec<usize>, matrices: Vec<Matrix>, dense: Option<Scheme>) -> Self {
        let first = matrices.first().and_then(uniform);
        let one = first.filter(|_| matrices.iter().all(|matrix| uniform(matrix) == first));
        let stored = one.unwrap_or(Scheme::F32);
        let scheme = dense.filter(|_| stored.is_dense()).unwrap_or(stored);
        Self { name, shape, scheme, matrices }
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        let row = |m: &Matrix| self.scheme.row_bytes(m.columns()).unwrap_or(0) as u64;
        self.matrices.iter().map(|m| m.rows() as u64 * row(m)).sum()
    }

    /// Type and shape as the safetensors header has them.
    pub fn stored(&self) -> (&'static str, Vec<usize>) {
        let dtype = match self.scheme {
            Scheme::F32 => "F32",
            Scheme::F16 => "F16",
            Scheme::Bf16 => "BF16",
            _ => "U8",
        };
        let mut shape = self.shape.clone();
        if let (false, Some(last)) = (self.scheme.is_dense(), shape.last_mut()) {
            *last = *last / self.scheme.block_len() * self.scheme.block_bytes();
        }
        (dtype, shape)
    }
}

/// The one scheme of a matrix's parts.
fn uniform(matrix: &Matrix) -> Option<Scheme> {
    let (first, ..) = matrix.parts().next()?;
    matrix.parts().all(|(scheme, ..)| scheme == first).then_some(first)
}

/// The tensors of a checkpoint, in the order in which a token meets them.
fn outputs(checkpoint: &Checkpoint, dense: Option<Scheme>) -> Vec<Output> {
    let weights = &checkpoint.weights;
    let mut list = List { dense, outputs: Vec::new() };
    list.whole("model.embed_tokens.weight", &weights.embedding);
    for (i, layer) in weights.layers.iter().enumerate() {
        let name = |rest: &str| format!("model.layers.{i}.{rest}");
        list.vector(&name("input_layernorm.weight"), &layer.attention_norm);
        let parts = ["q_proj", "k_proj", "v_proj"].map(|p| name(&format!("self_attn.{p}.weight")));
        list.fused(&name("self_attn.qkv_proj.weight"), &parts, &layer.qkv);
        list.whole(&name("self_attn.o_proj.weight"), &layer.output);
        list.vector(&name("post_attention_layernorm.weight"), &layer.mlp_norm);
        match &layer.mlp {
            Mlp::Dense(network) => {
                let parts = ["gate_proj", "up_proj"].map(|p| name(&format!("mlp.{p}.weight")));
                list.fused(&name("mlp.gate_up_proj.weight"), &parts, &network.gate_up);
                list.whole(&name("mlp.down_proj.weight"), &network.down);
            }
            Mlp::Mixture { router, experts } => list.mixture(name, router, experts),
        }
    }
    list.vector("model.norm.weight", &weights.norm);
    if !checkpoint.config.tied_head {
        list.whole("lm_head.weight", &weights.head);
    }
    list.outputs
}

struct List {
    dense: Option<Scheme>,
    outputs: Vec<Output>,
}

impl List {
    fn push(&mut self, name: &str, shape: Vec<usize>, matrices: Vec<Matrix>) {
        self.outputs.push(Output::new(name.into(), shape, matrices, self.dense));
    }

    fn whole(&mut self, name: &str, matrix: &Matrix) {
        self.push(name, vec![matrix.rows(), matrix.columns()], vec![matrix.clone()]);
    }

    fn vector(&mut self, name: &str, matrix: &Matrix) {
        self.push(name, vec![matrix.columns()], vec![matrix.clone()]);
    }

    /// One tensor if all parts have one scheme, else the parts under their own names.
    fn fused(&mut self, name: &str, parts: &[String], matrix: &Matrix) {
        match uniform(matrix) {
            Some(_) => self.whole(name, matrix),
            None => {
                for (name, part) in parts.iter().zip(matrix.split_parts()) {
                    self.whole(name, &part);
                }
            }
        }
    }

    /// Experts stacked if all of them have one scheme, else as they are published, one by one.
    fn mixture(&mut self, name: impl Fn(&str) -> String, router: &Matrix, experts: &[Experts]) {
        let gate_up: Vec<Matrix> = experts.iter().map(|e| e.gate_up.clone()).collect();
        let down: Vec<Matrix> = experts.iter().map(|e| e.down.clone()).collect();
        let one_scheme = |list: &[Matrix]| match list.first().and_then(uniform) {
            Some(scheme) => list.iter().all(|m| uniform(m) == Some(scheme)),
            None => false,
        };
        if one_scheme(&gate_up) && one_scheme(&down) {
            self.whole(&name("mlp.gate.weight"), router);
            for (rest, list) in [("mlp.experts.gate_up_proj", gate_up), ("mlp.experts.down_proj", down)] {
                let (rows, columns) = list.first().map_or((0, 0), |m| (m.rows(), m.columns()));
                self.push(&name(rest), vec![list.len(), rows, columns], list);
            }
            return;
        }
        self.whole(&name("block_sparse_moe.gate.weight"), router);
        for (e, expert) in experts.iter().enumerate() {
            let name = |rest: &str| name(&format!("block_sparse_moe.experts.{e}.{rest}.weight"));
            self.fused(&name("gate_up_proj"), &[name("w1"), name("w3")], &expert.gate_up);
            self.whole(&name("w2"), &expert.down);
        }
    }
}

/// A matrix in `scheme`: its own bytes where they are that already, else rows widened and rounded.
pub(super) fn write_matrix(
    matrix: &Matrix,
    scheme: Scheme,
    file: &mut impl Write,
    progress: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<()> {
    if uniform(matrix) == Some(scheme) {
        for bytes in matrix.parts().flat_map(|(_, _, bytes)| bytes.chunks(1 << 20)) {
            file.write_all(bytes)?;
            progress(bytes.len() as u64)?;
        }
        return Ok(());
    }
    let mut wide = vec![0.0; ROWS_AT_A_TIME.min(matrix.rows()) * matrix.columns()];
    for first in (0..matrix.rows()).step_by(ROWS_AT_A_TIME) {
        let rows = ROWS_AT_A_TIME.min(matrix.rows() - first);
        let wide = &mut wide[..rows * matrix.columns()];
        matrix.rows_f32(first, wide);
        let bytes = narrow(wide, scheme).map_err(io::Error::other)?;
        file.write_all(&bytes)?;
        progress(bytes.len() as u64)?;
    }
    Ok(())
}
