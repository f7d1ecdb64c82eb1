//! The model's operations on rows of activations, on any device.
//!
//! On the host, an operation is one of the kernels. On CUDA and Metal it is [`generic`], a composition of candle's
//! operations, which is also the slow twin in the kernels' tests.

use candle_core::{DType, Device, Result, Tensor, bail};
use smallvec::SmallVec;

use super::weight::{Vector, Weight};
use crate::cpu::pool;
use crate::kernels::attention::{self, Heads, KeyValues, Span};
use crate::kernels::packed::{self, Product};
use crate::kernels::pointwise::{self, RopeLayout};
use crate::quant::{HostRows, Matrix, Rows};

use super::generic;
/// Cosines and sines of the rotation angles of some tokens' positions.
#[derive(Debug)]
pub enum Angles {
    /// On the host, `(T, D/2)` each.
    Host([HostRows; 2], RopeLayout),
    /// On an accelerator, `(T, D/2)` each, in f32.
    Device([Tensor; 2], RopeLayout),
}

impl Angles {
    /// Copies angles from the host to an accelerator. `None` if `device` is the host.
    ///
    /// # Errors
    /// The device has no memory for them.
    pub fn copied_to(&self, device: &Device) -> Result<Option<Self>> {
        let (Self::Host(tables, layout), false) = (self, device.is_cpu()) else { return Ok(None) };
        let [cos, sin] = tables.each_ref().map(|table| {
            Tensor::from_slice(table, (table.len(), table.width()), &Device::Cpu)?.to_device(device)
        }); // (T, D/2)
        Ok(Some(Self::Device([cos?, sin?], *layout)))
    }
}

/// Queries, keys and values of some tokens.
#[derive(Debug)]
pub enum Qkv {
    /// On the host, side by side: `(T, (H + 2G)·D)`.
    Host(HostRows),
    /// On an accelerator: `(T, H, D)`, `(T, G, D)`, `(T, G, D)`.
    Device([Tensor; 3]),
}

/// The KV cache of one sequence in a layer.
#[derive(Debug)]
pub enum Ring {
    /// On the host.
    Host(KeyValues),
    /// On an accelerator, `(S, G, D)` each.
    Device([Tensor; 2]),
}

/// A sequence slice: consecutive tokens of one sequence among the rows of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// Row of the first token.
    pub row: usize,
    /// Number of tokens.
    pub tokens: usize,
    /// The positions that the tokens see.
    pub span: Span,
    /// The sequence's keys and values, including those of these tokens.
    pub ring: &'a Ring,
}

/// Returns the error for operands on different devices, which is a mistake in building the model.
fn device_mismatch<T>() -> Result<T> {
    bail!("rows and weights are on different devices")
}

/// Looks up rows of the embedding: `ids (T)` of `weight (V, C)` give `(T, C)`.
///
/// # Errors
/// An id is not below V.
pub fn embed(ids: &[u32], weight: &Weight, device: &Device) -> Result<Rows> {
    let vocabulary = weight.rows();
    if let Some(id) = ids.iter().find(|id| **id as usize >= vocabulary) {
        bail!("token id {id} is beyond the vocabulary of {vocabulary}");
    }
    match weight {
        Weight::Host(matrix, _) => {
            let mut out = HostRows::scratch(ids.len(), matrix.columns()); // (T, C)
            pool::each_row(&mut out, matrix.columns(), |i, row| matrix.rows_f32(ids[i] as usize, row));
            Ok(Rows::Host(out))
        }
        Weight::Device(tensor) => Ok(Rows::Device(tensor.index_select(&Tensor::new(ids, device)?, 0)?)), // (T, C)
    }
}

/// Checks that rows of `x` are as wide as the matrix.
fn fits(x: &HostRows, matrix: &Matrix) -> Result<()> {
    if x.width() != matrix.columns() {
        bail!("a row of {} does not fit a matrix of {} columns", x.width(), matrix.columns());
    }
    Ok(())
}

/// Multiplies `x (T, K)` by the transpose of `weight (N, K)`: `(T, N)`.
///
/// # Errors
/// The widths differ.
pub fn linear(x: &Rows, weight: &Weight) -> Result<Rows> {
    match (x, weight) {
        (Rows::Host(x), Weight::Host(matrix, blocks)) => {
            fits(x, matrix)?;
            let mut out = HostRows::scratch(x.len(), matrix.rows()); // (T, N)
            packed::multiply_all(&mut [Product::new(x, matrix, *blocks, &mut out)]);
            Ok(Rows::Host(out))
        }
        (Rows::Device(x), Weight::Device(weight)) => Ok(Rows::Device(generic::linear(x, weight)?)), // (T, N)
        _ => device_mismatch(),
    }
}

/// Adds `x (T, K)` times the transpose of `weight (N, K)` to `residual (T, N)`: `(T, N)`.
///
/// # Errors
/// The widths differ.
pub fn linear_add(x: &Rows, weight: &Weight, residual: Rows) -> Result<Rows> {
    match (x, weight, residual) {
        (Rows::Host(x), Weight::Host(matrix, blocks), Rows::Host(mut sum)) => {
            fits(x, matrix)?;
            if let Some(product) = Product::new(x, matrix, *blocks, &mut sum).added() {
                packed::multiply_all(&mut [product]);
                return Ok(Rows::Host(sum)); // (T, N)
            }
            let mut out = HostRows::scratch(x.len(), matrix.rows()); // (T, N)
            packed::multiply_all(&mut [Product::new(x, matrix, *blocks, &mut out)]);
            add_rows(&mut sum, &out);
            Ok(Rows::Host(sum)) // (T, N)
        }
        (Rows::Device(x), Weight::Device(weight), Rows::Device(residual)) => {
            Ok(Rows::Device((residual + generic::linear(x, weight)?)?)) // (T, N)
        }
        _ => device_mismatch(),
    }
}

/// Multiplies consecutive runs of rows of `x (T, K)` by a different weight `(N, K)` each: `(T, N)`. `runs` gives
/// the number of rows for each weight.
///
/// # Errors
/// The widths differ, or the runs do not add up to all rows.
pub fn grouped_linear<'w>(x: &Rows, runs: impl Iterator<Item = (usize, &'w Weight)> + Clone) -> Result<Rows> {
    if runs.clone().map(|(rows, _)| rows).sum::<usize>() != x.count()? {
        bail!("the runs do not add up to all rows");
    }
    let x = match x {
        Rows::Host(x) => x,
        Rows::Device(x) => {
            let mut row = 0;
            let each = |(rows, weight): (usize, &Weight)| {
                let Weight::Device(weight) = weight else { return device_mismatch() };
                row += rows;
                generic::linear(&x.narrow(0, row - rows, rows)?.contiguous()?, weight)
            };
            let outs = runs.map(each).collect::<Result<Vec<_>>>()?;
            return Ok(Rows::Device(Tensor::cat(&outs, 0)?)); // (T, N)
        }
    };
    let width = runs.clone().next().map_or(0, |(_, weight)| weight.rows());
    let mut out = HostRows::scratch(x.len(), width); // (T, N)
    let (mut x_left, mut out_left) = (&**x, &mut *out);
    let mut products = SmallVec::<[Product; 8]>::new();
    for (rows, weight) in runs {
        let Weight::Host(matrix, blocks) = weight else { return device_mismatch() };
        fits(x, matrix)?;
        if matrix.rows() != width {
            bail!("expected a matrix of {width} rows, found {}", matrix.rows());
        }
        let (x, x_rest) = x_left.split_at(rows * x.width());
        let (out, out_rest) = out_left.split_at_mut(rows * width);
        products.push(Product::new(x, matrix, *blocks, out));
        (x_left, out_left) = (x_rest, out_rest);
    }
    packed::multiply_all(&mut products);
    drop(products);
    Ok(Rows::Host(out))
}

/// Computes RMSNorm of the rows of `x (T, C)` with `weight (C)`.
pub fn rms_norm(x: &Rows, weight: &Vector, epsilon: f64) -> Result<Rows> {
    match (x, weight) {
        (Rows::Host(x), Vector::Host(weight)) => {
            if x.width() != weight.len() {
                bail!("a row of {} does not fit a norm of {}", x.width(), weight.len());
            }
            let mut out = HostRows::scratch(x.len(), x.width()); // (T, C)
            pointwise::rms_norm(x, weight, epsilon as f32, &mut out);
            Ok(Rows::Host(out))
        }
        (Rows::Device(x), Vector::Device(weight)) => {
            Ok(Rows::Device(generic::rms_norm(x, weight, epsilon)?)) // (T, C)
        }
        _ => device_mismatch(),
    }
}

/// Computes silu(gate) · up from `gate_up (T, 2F)`: `(T, F)`.
pub fn swiglu(gate_up: &Rows) -> Result<Rows> {
    match gate_up {
        Rows::Host(gate_up) => {
            let mut out = HostRows::scratch(gate_up.len(), gate_up.width() / 2); // (T, F)
            pointwise::swiglu(gate_up, gate_up.width() / 2, &mut out);
            Ok(Rows::Host(out))
        }
        Rows::Device(gate_up) => Ok(Rows::Device(generic::swiglu(gate_up)?)), // (T, F)
    }
}

/// Splits `qkv (T, (H + 2G)·D)` and rotates every head of the queries and keys by its token's angles.
pub fn rotated(qkv: Rows, heads: Heads, angles: &Angles) -> Result<Qkv> {
    let Heads { query, key_value, size } = heads;
    match (qkv, angles) {
        (Rows::Host(mut qkv), Angles::Host([cos, sin], layout)) => {
            let width = qkv.width();
            pointwise::rope(&mut qkv, width, query + key_value, [cos, sin], size / 2, *layout);
            Ok(Qkv::Host(qkv))
        }
        (Rows::Device(qkv), Angles::Device([cos, sin], layout)) => {
            let tokens = qkv.dim(0)?;
            let part = |from: usize, count: usize| {
                qkv.narrow(1, from * size, count * size)?.contiguous()?.reshape((tokens, count, size)) // (T, count, D)
            };
            let q = generic::rope(&part(0, query)?, cos, sin, *layout)?; // (T, H, D)
            let k = generic::rope(&part(query, key_value)?, cos, sin, *layout)?; // (T, G, D)
            Ok(Qkv::Device([q, k, part(query + key_value, key_value)?]))
        }
        _ => device_mismatch(),
    }
}

impl Ring {
    /// Returns the number of slots.
    pub fn slots(&self) -> usize {
        match self {
            Ring::Host(kept) => kept.slots(),
            Ring::Device([keys, _]) => keys.dims()[0],
        }
    }

    /// Copies at least the first `slots` slots, or all if there are fewer.
    ///
    /// # Errors
    /// The device has no memory for the copy.
    pub fn first(&self, slots: usize) -> Result<Self> {
        Ok(match self {
            Ring::Host(kept) => Ring::Host(kept.first(slots)),
            Ring::Device([keys, values]) => {
                let first = |ring: &Tensor| ring.narrow(0, 0, slots.min(ring.dim(0)?))?.copy(); // (S, G, D)
                Ring::Device([first(keys)?, first(values)?])
            }
        })
    }

    /// Stores the keys and values of `tokens` tokens, from row `row` on, in the slots of positions `first..`. There
    /// must be at least as many slots as tokens.
    pub fn append(&mut self, first: usize, qkv: &Qkv, heads: Heads, row: usize, tokens: usize) -> Result<()> {
        match (self, qkv) {
            (Ring::Host(kept), Qkv::Host(qkv)) => {
                let width = qkv.width();
                let [keys, values] =
                    [heads.query, heads.query + heads.key_value].map(|head| head * heads.size);
                kept.append(first, &qkv[row * width..(row + tokens) * width], width, keys, values);
                Ok(())
            }
            (Ring::Device(rings), Qkv::Device([_, keys, values])) => {
                for (ring, rows) in rings.iter().zip([keys, values]) {
                    let rows = rows.narrow(0, row, tokens)?.to_dtype(ring.dtype())?.contiguous()?; // (T, G, D)
                    let slots = ring.dim(0)?;
                    let slot = first % slots;
                    let until_end = tokens.min(slots - slot);
                    ring.slice_set(&rows.narrow(0, 0, until_end)?.contiguous()?, 0, slot)?;
                    if until_end < tokens {
                        ring.slice_set(&rows.narrow(0, until_end, tokens - until_end)?.contiguous()?, 0, 0)?;
                    }
                }
                Ok(())
            }
            _ => device_mismatch(),
        }
    }
}

/// Computes attention of the tokens of `qkv` over the KV caches of their sequences: `(T, H·D)`. `queries(i)`
/// returns the slice of sequence i; it is called once for each of `sequences`, in the order of the rows.
///
/// # Errors
/// A sequence has no queries, or its cache is on another device than `qkv`.
pub fn attention<'a>(
    qkv: &Qkv,
    heads: Heads,
    sequences: usize,
    queries: impl Fn(usize) -> Option<Queries<'a>>,
) -> Result<Rows> {
    match qkv {
        Qkv::Host(qkv) => {
            let on_host = |i: usize| match queries(i)? {
                Queries { row, tokens, span, ring: Ring::Host(kept) } => {
                    Some(attention::Queries { row, tokens, span, kept })
                }
                _ => None,
            };
            let collected: Option<SmallVec<[_; 8]>> = (0..sequences).map(on_host).collect();
            let Some(collected) = collected else { return device_mismatch() };
            let mut out = HostRows::scratch(qkv.len(), heads.query * heads.size); // (T, H·D)
            attention::attention(qkv, qkv.width(), heads, &collected, &mut out);
            Ok(Rows::Host(out))
        }
        Qkv::Device([q, ..]) => {
            let each = |i: usize| {
                let Some(Queries { row, tokens, span, ring: Ring::Device([keys, values]) }) = queries(i)
                else {
                    return device_mismatch();
                };
                let q = q.narrow(0, row, tokens)?.contiguous()?; // (Ts, H, D)
                generic::attention(&q, keys, values, heads, span) // (Ts, H·D)
            };
            let mixed = (0..sequences).map(each).collect::<Result<Vec<_>>>()?;
            Ok(Rows::Device(Tensor::cat(&mixed, 0)?)) // (T, H·D)
        }
    }
}

/// Selects rows of `x (T, W)` in the order of `rows (R)`: `(R, W)`.
///
/// # Errors
/// A row is not below T.
pub fn select(x: &Rows, rows: &[u32]) -> Result<Rows> {
    match x {
        Rows::Host(x) => {
            let mut out = HostRows::scratch(rows.len(), x.width()); // (R, W)
            if let Some(row) = rows.iter().find(|row| **row as usize >= x.len()) {
                bail!("row {row} is beyond the last of {} rows", x.len());
            }
            pool::each_row(&mut out, x.width(), |i, out| out.copy_from_slice(x.row(rows[i] as usize)));
            Ok(Rows::Host(out))
        }
        Rows::Device(x) => Ok(Rows::Device(x.index_select(&Tensor::new(rows, x.device())?, 0)?)), // (R, W)
    }
}

/// Sums expert outputs `(R, W)` by token: adds row i, times its routing weight, to row `tokens[i]` of `(T, W)`, in
/// the order of i.
pub fn sum_by_token(outputs: &Rows, tokens: &[u32], routing_weights: &[f32], count: usize) -> Result<Rows> {
    match outputs {
        Rows::Host(outputs) => {
            let width = outputs.width();
            let mut sum = HostRows::scratch(count, width); // (T, W)
            pool::each_row(&mut sum, width, |row, sum| {
                sum.fill(0.0);
                let own = tokens
                    .iter()
                    .zip(routing_weights)
                    .enumerate()
                    .filter(|(_, (token, _))| **token as usize == row);
                for (i, (_, routing_weight)) in own {
                    sum.iter_mut().zip(outputs.row(i)).for_each(|(sum, x)| *sum += x * routing_weight);
                }
            });
            Ok(Rows::Host(sum))
        }
        Rows::Device(outputs) => {
            let device = outputs.device();
            let routing_weights =
                Tensor::new(routing_weights, device)?.to_dtype(outputs.dtype())?.unsqueeze(1)?; // (R, 1)
            let sum = Tensor::zeros((count, outputs.dim(1)?), outputs.dtype(), device)?; // (T, W)
            let tokens = Tensor::new(tokens, device)?; // (R)
            Ok(Rows::Device(sum.index_add(&tokens, &outputs.broadcast_mul(&routing_weights)?, 0)?)) // (T, W)
        }
    }
}

/// Adds the rows of `x` to those of `sum`.
fn add_rows(sum: &mut HostRows, x: &HostRows) {
    let width = x.width();
    pool::each_row(sum, width, |i, sum| sum.iter_mut().zip(x.row(i)).for_each(|(sum, x)| *sum += x));
}

/// Returns `a + b`, both `(T, W)`.
pub fn add(a: Rows, b: &Rows) -> Result<Rows> {
    match (a, b) {
        (Rows::Host(mut a), Rows::Host(b)) => {
            if (a.len(), a.width()) != (b.len(), b.width()) {
                bail!("cannot add {} rows of {} to {} of {}", b.len(), b.width(), a.len(), a.width());
            }
            add_rows(&mut a, b);
            Ok(Rows::Host(a)) // (T, W)
        }
        (Rows::Device(a), Rows::Device(b)) => Ok(Rows::Device((a + b)?)), // (T, W)
        _ => device_mismatch(),
    }
}

impl Rows {
    /// Returns the number of rows, T.
    pub fn count(&self) -> Result<usize> {
        match self {
            Rows::Host(rows) => Ok(rows.len()),
            Rows::Device(tensor) => tensor.dim(0),
        }
    }

    /// Copies the values to the host in f32.
    pub fn to_host(self) -> Result<HostRows> {
        let tensor = match self {
            Rows::Host(rows) => return Ok(rows),
            Rows::Device(tensor) => tensor,
        };
        let (rows, width) = tensor.dims2()?;
        let mut out = HostRows::scratch(rows, width);
        out.copy_from_slice(&tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?);
        Ok(out)
    }

    /// Moves the rows to `device`, and converts them to `dtype` if `device` is an accelerator.
    pub fn to_device(self, device: &Device, dtype: DType) -> Result<Rows> {
        match self {
            Rows::Device(tensor) if !device.is_cpu() => {
                let moved = tensor.to_device(device)?;
                if !tensor.device().same_device(device) {
                    // The target device performs the copy. The source device frees the memory that it reads, and
                    // does not wait for the copy.
                    device.synchronize()?;
                }
                Ok(Rows::Device(moved.to_dtype(dtype)?))
            }
            Rows::Host(rows) if !device.is_cpu() => {
                let tensor = Tensor::from_slice(&rows, (rows.len(), rows.width()), &Device::Cpu)?;
                Ok(Rows::Device(tensor.to_device(device)?.to_dtype(dtype)?))
            }
            rows => Ok(Rows::Host(rows.to_host()?)),
        }
    }
}
