//! Converts f32 rows to blocks that [`super::dequantize`] reads: ggml's formats, byte for byte.
//!
//! Knows about blocks, but not which tensor it writes, or why its scheme was chosen. A block depends only on its
//! weights and is computed without fused operations. So the same weights give the same bytes on every processor,
//! with any number of rows and threads.
//!
//! | file | what |
//! |---|---|
//! | `blocks` | q8_0, q5_1, q5_0, q4_1, q4_0: 32 weights |
//! | `affine` | q4_k and q5_k: 256 weights, with a search for scales and minima |
//! | `symmetric` | q6_k: 256 weights, with a search for scales |
//! | `groups` | shared by both searches: groups side by side, rounding, f16 scales |
//! | [`names`] | the names of schemes that a user can request |
//! | `twin` | the searches one group and one weight at a time, for tests |
//!
//! Blocks have the same bytes as those that ggml writes on x86-64, so a file has the quality of llama-quantize's;
//! the gain is speed. There are two exceptions: weights that are not finite, and weights too large for a block's
//! f16 numbers, are errors.

mod affine;
mod blocks;
mod groups;
pub mod names;
mod symmetric;

use std::sync::atomic::{Ordering, compiler_fence};

use super::scheme::Scheme;
use crate::cpu::kernel;

/// The schemes that can be written, most bits first.
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

/// An error in quantizing rows.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The scheme can only be read.
    #[error("weights cannot be quantized to {0}, only to {names}", names = WRITTEN.map(Scheme::name).join(", "))]
    NotWritten(Scheme),
    /// The lengths do not match.
    #[error("{weights} weights in rows of {columns} do not fill {bytes} bytes of {scheme}")]
    Shape {
        /// The requested scheme.
        scheme: Scheme,
        /// Number of weights.
        weights: usize,
        /// Number of weights in a row.
        columns: usize,
        /// Number of bytes.
        bytes: usize,
    },
    /// A weight is NaN or infinite.
    #[error("the weight in row {row}, column {column} is {value}, which {scheme} cannot store")]
    NotFinite {
        /// The requested scheme.
        scheme: Scheme,
        /// Row of the weight, from 0.
        row: usize,
        /// Column of the weight, from 0.
        column: usize,
        /// Value of the weight.
        value: f32,
    },
    /// A block's scale or minimum exceeds the range of f16.
    #[error("a weight of {value} in row {row}, column {column} is too large for {scheme}")]
    TooLarge {
        /// The requested scheme.
        scheme: Scheme,
        /// Row of the block, from 0.
        row: usize,
        /// Column of the block's largest weight, from 0.
        column: usize,
        /// Value of that weight.
        value: f32,
    },
}

impl Error {
    /// Adds `rows` to the row number, for rows that were quantized as a slice that begins there.
    pub fn below(mut self, rows: usize) -> Self {
        match &mut self {
            Error::NotFinite { row, .. } | Error::TooLarge { row, .. } => *row += rows,
            Error::NotWritten(_) | Error::Shape { .. } => {}
        }
        self
    }
}

/// Quantizes rows of `columns` weights, on this thread. `into` holds `scheme.row_bytes(columns)` bytes for each
/// row.
///
/// # Errors
/// The scheme is not in [`WRITTEN`], the lengths do not match, or a weight is not finite or too large. In the last
/// two cases `into` is partly written.
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

/// Returns the error of a block that could not be quantized: it names the first weight that is not finite, else the
/// largest weight.
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
    /// Quantizes whole blocks of a scheme in [`WRITTEN`]. It stops at the first block that cannot be quantized and
    /// sets `refused` to its index.
    fn quantize_blocks(scheme: Scheme, source: &[f32], into: &mut [u8], refused: &mut Option<usize>) = body
}

/// Applies a block's function to each block. It is a macro and has a fence for the reasons given in
/// [`super::dequantize`].
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

// Not fused at any level: see `groups`.
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
