//! Tensors as a file gives them: name, scheme, shape, bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::error::Error;
use super::names::Table;
use crate::quant::{Layout, Matrix, Scheme};

/// Most tensors in a checkpoint: Mixtral 8x22B with an entry per expert has about 1,700.
pub const MOST_TENSORS: usize = 1 << 17;

/// One tensor, its outermost dimension first.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// How its elements are stored.
    pub scheme: Scheme,
    /// How its rows lie.
    pub layout: Layout,
    /// Dimensions in elements, the row last.
    pub shape: Vec<usize>,
    /// Exactly the elements' bytes.
    pub bytes: Bytes,
}

impl Tensor {
    /// The tensor as a matrix of `rows` by its last dimension. `None` if that is not its size.
    pub fn matrix(&self, rows: usize, columns: usize) -> Option<Matrix> {
        Matrix::laid(self.layout, self.scheme, rows, columns, self.bytes.clone())
    }
}

/// The tensors of a checkpoint by name, over all its files.
#[derive(Clone, Debug)]
pub struct Tensors {
    /// What an error names: the checkpoint's folder or file.
    path: PathBuf,
    files: BTreeSet<PathBuf>,
    tensors: BTreeMap<String, Tensor>,
    /// What the files call them, where that is not the names here.
    table: Option<&'static Table>,
}

impl Tensors {
    /// No tensors yet, of the checkpoint at `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.into(), files: BTreeSet::new(), tensors: BTreeMap::new(), table: None }
    }

    /// The same, from files with the names of a table: errors have these.
    pub fn named_by(self, table: &'static Table) -> Self {
        Self { table: Some(table), ..self }
    }

    /// What the files call a tensor, or would; `whole` is our name for it with others in one tensor, which may be the only
    /// one that they have a name for.
    pub fn name_in_file(&self, name: &str, whole: &str) -> String {
        let theirs = |name: &str| self.table.map(|table| table.theirs(name)).filter(|theirs| theirs != name);
        theirs(name).or_else(|| theirs(whole)).unwrap_or_else(|| name.into())
    }

    /// Where they come from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a tensor from `file`.
    ///
    /// # Errors
    /// There is one of that name, or there are too many.
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

    /// The files that tensors came from.
    pub fn files(&self) -> Vec<PathBuf> {
        self.files.iter().cloned().collect()
    }

    /// The same tensors under the names that `rename` gives them.
    ///
    /// # Errors
    /// It knows some of the names not, or gives two tensors one name.
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

    /// Takes a tensor out.
    pub fn take(&mut self, name: &str) -> Option<Tensor> {
        self.tensors.remove(name)
    }

    /// Whether there is one of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The names that are left.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}
