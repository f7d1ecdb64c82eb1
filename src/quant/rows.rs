//! Rows of activations and their memory.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use candle_core::Tensor;

use crate::cpu::pool::lock;

/// Rows of activations `(T, W)`, on the host or on an accelerator.
#[derive(Debug)]
pub enum Rows {
    /// On the host, in f32.
    Host(HostRows),
    /// On an accelerator, in the compute type. In tests also on the CPU, where candle's operations are the slow
    /// twin of the kernels.
    Device(Tensor),
}

/// Rows on the host, one after another.
#[derive(Debug)]
pub struct HostRows {
    values: Buffer,
    width: usize,
}

impl HostRows {
    /// Returns `rows` rows of `width` values with arbitrary content, to be written before they are read.
    pub fn scratch(rows: usize, width: usize) -> Self {
        Self { values: Buffer::new(rows * width), width }
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the number of values in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns a row, or an empty slice after the last row.
    pub fn row(&self, i: usize) -> &[f32] {
        self.values.get(i * self.width..(i + 1) * self.width).unwrap_or(&[])
    }
}

impl Deref for HostRows {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl DerefMut for HostRows {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

/// Memory that returns to a pool when dropped, so that a token allocates nothing after a similar token was
/// computed.
#[derive(Debug)]
pub struct Buffer {
    values: Vec<f32>,
    length: usize,
}

/// The pool of unused memory.
static SPARE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Maximum number of buffers in the pool: more than a layer uses at a time.
const MOST_SPARE: usize = 16;

impl Buffer {
    /// Takes memory for `length` values, with arbitrary content.
    pub fn new(length: usize) -> Self {
        let mut spare = lock(&SPARE);
        // Take the smallest buffer that is large enough, else the largest.
        let fits = |values: &Vec<f32>| (values.len() < length, values.len().abs_diff(length));
        let best = (0..spare.len()).min_by_key(|i| fits(&spare[*i]));
        let mut values = best.map(|i| spare.swap_remove(i)).unwrap_or_default();
        drop(spare);
        if values.len() < length {
            // Replaced rather than grown, which would copy the old content.
            drop(std::mem::take(&mut values));
            values = vec![0.0; length];
        }
        if cfg!(debug_assertions) {
            values.fill(f32::NAN);
        }
        Self { values, length }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spare = lock(&SPARE);
        if spare.len() < MOST_SPARE {
            spare.push(std::mem::take(&mut self.values));
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_pieces_of_their_memory() {
        let mut rows = HostRows::scratch(3, 5);
        rows.iter_mut().enumerate().for_each(|(i, x)| *x = i as f32);
        assert_eq!((rows.len(), rows.width()), (3, 5));
        assert_eq!(rows.row(2), [10.0, 11.0, 12.0, 13.0, 14.0]);
        assert!(rows.row(3).is_empty());
    }
}
