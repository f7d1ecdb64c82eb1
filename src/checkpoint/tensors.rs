//! Tensors as files store them: name, scheme, shape, bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::error::Error;
use super::names::Table;
use crate::quant::{Layout, Matrix, Scheme};

/// Maximum number of tensors of a checkpoint: Mixtral 8x22B, with a tensor per expert, has about 1,700.
pub const MOST_TENSORS: usize = 1 << 17;

/// A tensor over memory-mapped bytes.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Scheme of the elements.
    pub scheme: Scheme,
    /// Order of the rows.
    pub layout: Layout,
    /// Dimensions in elements, outermost first.
    pub shape: Vec<usize>,
    /// Exactly the bytes of the elements.
    pub bytes: Bytes,
}

impl Tensor {
    /// Returns the tensor as a matrix of `rows` by `columns`. `None` if the bytes do not have that size.
    pub fn matrix(&self, rows: usize, columns: usize) -> Option<Matrix> {
        Matrix::laid(self.layout, self.scheme, rows, columns, self.bytes.clone())
    }
}

/// The tensors of all files of a checkpoint, by name.
#[derive(Clone, Debug)]
pub struct Tensors {
    /// The checkpoint's folder or file, for errors.
    path: PathBuf,
    files: BTreeSet<PathBuf>,
    tensors: BTreeMap<String, Tensor>,
    /// The tensor names in the files, if they differ from ours.
    table: Option<&'static Table>,
}

impl Tensors {
    /// Returns an empty set of tensors for the checkpoint at `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.into(), files: BTreeSet::new(), tensors: BTreeMap::new(), table: None }
    }

    /// Sets the table of the tensor names in the files, which errors use.
    pub fn named_by(self, table: &'static Table) -> Self {
        Self { table: Some(table), ..self }
    }

    /// Returns the name of a tensor in the files. `whole` is our name of the fused tensor that it is a part of; some
    /// layouts have a name for that tensor only.
    pub fn name_in_file(&self, name: &str, whole: &str) -> String {
        let theirs = |name: &str| self.table.map(|table| table.theirs(name)).filter(|theirs| theirs != name);
        theirs(name).or_else(|| theirs(whole)).unwrap_or_else(|| name.into())
    }

    /// Returns the checkpoint's folder or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a tensor from `file`.
    ///
    /// # Errors
    /// A tensor of this name exists already, or there are too many tensors.
    pub fn insert(&mut self, file: &Path, name: String, tensor: Tensor) -> Result<(), Error> {
        if self.tensors.len() >= MOST_TENSORS {
            return Err(Error::malformed(file, format!("more than {MOST_TENSORS} tensors")));
        }
        if self.tensors.contains_key(&name) {
            return Err(Error::DuplicateTensor { path: file.into(), name });
        }
        if !self.files.contains(file) {
            self.files.insert(file.into());
        }
        self.tensors.insert(name, tensor);
        Ok(())
    }

    /// Returns the files that hold the tensors.
    pub fn files(&self) -> Vec<PathBuf> {
        self.files.iter().cloned().collect()
    }

    /// Returns the tensors under the names that `rename` returns.
    ///
    /// # Errors
    /// `rename` returns `None` for a tensor, or one name for two tensors.
    pub fn renamed(self, rename: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let unknown: Vec<String> = self.names().filter(|n| rename(n).is_none()).map(str::to_string).collect();
        if !unknown.is_empty() {
            return Err(Error::ExtraTensors { path: self.path, names: unknown });
        }
        let mut renamed = Self { files: self.files.clone(), table: self.table, ..Self::new(&self.path) };
        for (name, tensor) in self.tensors {
            let name = rename(&name).unwrap_or(name);
            renamed.insert(&self.path, name, tensor)?;
        }
        Ok(renamed)
    }

    /// Removes and returns a tensor.
    pub fn take(&mut self, name: &str) -> Option<Tensor> {
        self.tensors.remove(name)
    }

    /// Returns whether a tensor of this name is left.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Returns the names of the tensors that are left.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}
