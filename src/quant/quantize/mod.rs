//! f32 rows to blocks of the schemes that [`super::dequantize`] reads back: ggml's layouts, byte for byte.
//!
//! Knows blocks. Never knows which tensor it writes, nor why in that scheme. A block is a function of its weights
//! alone, with no fused operation in it, so the same weights give the same bytes on every processor, for any number of
//! rows and threads.
//!
//! | file | what |
//! |---|---|
//! | `blocks` | q8_0, q5_1, q5_0, q4_1, q4_0: 32 weights |
//! | `affine` | q4_k and q5_k: 256 weights, scales and minima searched |
//! | `symmetric` | q6_k: 256 weights, scales searched |
//! | `groups` | what the two searches share: groups side by side, rounding, f16 scales |
//! | [`names`] | the names by which a person asks for a scheme |
//! | `twin` | the searches once more, a group and a weight at a time, to test against |
//!
//! Blocks are those that ggml makes on x86-64, byte for byte, so a file is as good as llama-quantize's: what is gained is
//! time. There are two exceptions: weights that are not finite, or too large for a block's f16 numbers, are refused.

mod affine;
mod blocks;
mod groups;
pub mod names;
mod symmetric;

use std::sync::atomic::{Ordering, compiler_fence};

use super::scheme::Scheme;
use crate::cpu::kernel;

/// The schemes that are written, most bits first.
pub const WRITTEN: [Scheme; 8] = [
    Scheme::Q8_0,
    Scheme::Q6K,
    Scheme::Q5K,
    Scheme::Q5_1,
    Scheme::Q5_0,
    Scheme::Q4K,
    Scheme::Q4_1,
    Scheme::Q4_0,
];

/// Why rows were not quantized.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The scheme is one that is only read.
    #[error("weights cannot be quantized to {0}, only to {names}", names = WRITTEN.map(Scheme::name).join(", "))]
    NotWritten(Scheme),
    /// Lengths do not agree.
    #[error("{weights} weights in rows of {columns} do not fill {bytes} bytes of {scheme}")]
    Shape {
        /// The scheme asked for.
        scheme: Scheme,
        /// Weights given.
        weights: usize,
        /// Weights in a row.
        columns: usize,
        /// Bytes given.
        bytes: usize,
    },
    /// A weight is NaN or infinite.
    #[error("the weight in row {row}, column {column} is {value}, which {scheme} cannot store")]
    NotFinite {
        /// The scheme asked for.
        scheme: Scheme,
        /// Its row, from 0.
        row: usize,
        /// Its column, from 0.
        column: usize,
        /// What it is.
        value: f32,
    },
    /// A block's scale or minimum is more than an f16 holds.
    #[error("a weight of {value} in row {row}, column {column} is too large for {scheme}")]
    TooLarge {
        /// The scheme asked for.
        scheme: Scheme,
        /// Its row, from 0.
        row: usize,
        /// The column of the block's largest weight, from 0.
        column: usize,
        /// That weight.
        value: f32,
    },
}

impl Error {
    /// The error of rows that have `rows` others above them.
    pub fn below(mut self, rows: usize) -> Self {
        match &mut self {
            Error::NotFinite { row, .. } | Error::TooLarge { row, .. } => *row += rows,
            Error::NotWritten(_) | Error::Shape { .. } => {}
        }
        self
    }
}

/// Quantizes rows of `columns` weights, on this thread. `into` holds `scheme.row_bytes(columns)` bytes for each row.
///
/// # Errors
/// The scheme is not in [`WRITTEN`], lengths do not agree, or a weight is not finite or too large; then `into` is only
/// partly written.
pub fn quantize_rows(scheme: Scheme, source: &[f32], columns: usize, into: &mut [u8]) -> Result<(), Error> {
    check(scheme, source, columns, into)?;
    let mut refused = None;
    quantize_blocks(scheme, source, into, &mut refused);
    match refused {
        None => Ok(()),
        Some(block) => Err(reason(scheme, source, columns, block)),
    }
}

fn check(scheme: Scheme, source: &[f32], columns: usize, into: &[u8]) -> Result<(), Error> {
    if !WRITTEN.contains(&scheme) {
        return Err(Error::NotWritten(scheme));
    }
    let rows = source.len().checked_div(columns).unwrap_or(0);
    let bytes = scheme.row_bytes(columns).and_then(|row| row.checked_mul(rows));
    match source.len() == rows * columns && bytes == Some(into.len()) {
        true => Ok(()),
        false => Err(Error::Shape { scheme, weights: source.len(), columns, bytes: into.len() }),
    }
}

/// What is wrong with a block that was refused: its first weight that is not finite, else its largest one.
fn reason(scheme: Scheme, source: &[f32], columns: usize, block: usize) -> Error {
    let start = block * scheme.block_len();
    let weights = (start..).zip(source[start..].iter().copied().take(scheme.block_len()));
    let finite = |(_, value): &(usize, f32)| value.is_finite();
    if let Some((at, value)) = weights.clone().find(|weight| !finite(weight)) {
        return Error::NotFinite { scheme, row: at / columns, column: at % columns, value };
    }
    let larger = |a: (usize, f32), b: (usize, f32)| if b.1.abs() > a.1.abs() { b } else { a };
    let (at, value) = weights.fold((start, 0.0), larger);
    Error::TooLarge { scheme, row: at / columns, column: at % columns, value }
}

kernel! {
    /// Quantizes whole blocks of a scheme in [`WRITTEN`], up to the first one that cannot be, whose number `refused`
    /// becomes.
    fn quantize_blocks(scheme: Scheme, source: &[f32], into: &mut [u8], refused: &mut Option<usize>) = body
}

/// Applies a block's function to each block: a macro and a fence for the reasons given in [`super::dequantize`].
macro_rules! each_block {
    ($block:path, $source:ident, $into:ident, $refused:ident) => {
        for (i, (x, b)) in $source.as_chunks().0.iter().zip($into.as_chunks_mut().0).enumerate() {
            if !$block(x, b) {
                *$refused = Some(i);
                return;
            }
            compiler_fence(Ordering::SeqCst);
        }
    };
}

// Not fused, whatever the set: see `groups`.
#[inline(always)]
fn body<const FUSED: bool>(scheme: Scheme, source: &[f32], into: &mut [u8], refused: &mut Option<usize>) {
    match scheme {
        Scheme::Q4_0 => each_block!(blocks::q4_0, source, into, refused),
        Scheme::Q4_1 => each_block!(blocks::q4_1, source, into, refused),
        Scheme::Q5_0 => each_block!(blocks::q5_0, source, into, refused),
        Scheme::Q5_1 => each_block!(blocks::q5_1, source, into, refused),
        Scheme::Q8_0 => each_block!(blocks::q8_0, source, into, refused),
        Scheme::Q4K => each_block!(affine::q4_k, source, into, refused),
        Scheme::Q5K => each_block!(affine::q5_k, source, into, refused),
        Scheme::Q6K => each_block!(symmetric::q6_k, source, into, refused),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;
