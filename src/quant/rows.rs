//! Rows of activations, and the memory they live in.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use candle_core::Tensor;

use crate::cpu::pool::lock;

/// Rows of activations `(T, W)`, on the host or on an accelerator.
#[derive(Debug)]
pub enum Rows {
    /// On the host, in f32.
    Host(HostRows),
    /// On an accelerator, in the type of computation. (In tests also on the CPU, where the same operations are then
    /// candle's: the slow twin of the kernels.)
    Device(Tensor),
}

/// Rows on the host, one after another.
#[derive(Debug)]
pub struct HostRows {
    values: Buffer,
    width: usize,
}

impl HostRows {
    /// `rows` rows of `width` values, whatever these are: to be written before they are read.
    pub fn scratch(rows: usize, width: usize) -> Self {
        Self { values: Buffer::new(rows * width), width }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Values of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// A row. (Rows beyond the last are empty.)
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

/// Memory for some values, given back when dropped and used again: a token allocates nothing once one like it has been
/// computed.
#[derive(Debug)]
pub struct Buffer {
    values: Vec<f32>,
    length: usize,
}

/// Memory that waits to be used again.
static SPARE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Most pieces of memory that wait: more than a layer has of rows at a time.
const MOST_SPARE: usize = 16;

impl Buffer {
    /// Memory for `length` values, whatever these are.
    pub fn new(length: usize) -> Self {
        let mut spare = lock(&SPARE);
        // The smallest that is large enough, else the largest.
        let fits = |values: &Vec<f32>| (values.len() < length, values.len().abs_diff(length));
        let best = (0..spare.len()).min_by_key(|i| fits(&spare[*i]));
        let mut values = best.map(|i| spare.swap_remove(i)).unwrap_or_default();
        drop(spare);
        if values.len() < length {
            // Not grown: what it held need not be copied.
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
