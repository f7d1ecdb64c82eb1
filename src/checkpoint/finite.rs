//! Checks that every weight is a finite number.

use std::path::PathBuf;

use super::open::Checkpoint;

/// The error for a weight that is not a finite number.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}: a weight of {name} is {value}", .folder.display())]
pub struct NotFinite {
    /// The checkpoint's folder.
    pub folder: PathBuf,
    /// The tensor.
    pub name: String,
    /// NaN, or an infinity.
    pub value: f32,
}

impl Checkpoint {
    /// Reads every weight. `progress` gets the number of bytes read.
    ///
    /// # Errors
    /// [`NotFinite`] for the first weight that is not finite.
    pub fn check_finite(&self, progress: &mut dyn FnMut(u64)) -> Result<(), NotFinite> {
        for (name, matrix) in self.weights.matrices(self.config.tied_head) {
            let mut row = vec![0.0; matrix.columns()]; // (columns)
            for i in 0..matrix.rows() {
                matrix.rows_f32(i, &mut row);
                if let Some(value) = row.iter().copied().find(|value| !value.is_finite()) {
                    return Err(NotFinite { folder: self.folder.clone(), name, value });
                }
            }
            progress(matrix.size() as u64);
        }
        Ok(())
    }
}
