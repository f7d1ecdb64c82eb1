//! The operations of the model on rows of activations, wherever they live.
//!
//! On the host an operation is one of our kernels; on CUDA and Metal it is [`generic`], a composition of candle's
//! operations, which is also the slow twin that the kernels are tested against.

use candle_core::{DType, Device, Result, Tensor, bail};
use smallvec::SmallVec;

use super::weight::{Vector, Weight};
use crate::cpu::pool;
use crate::kernels::attention::{self, Heads, KeyValues, Span};
use crate::kernels::packed::{self, Product};
use crate::kernels::pointwise::{self, RopeLayout};
use crate::quant::{HostRows, Matrix, Rows};

use super::generic;
/// Cosines and sines of some tokens' positions.
#[derive(Debug)]
pub enum Angles {
    /// `(T, D/2)` each.
    Host([HostRows; 2], RopeLayout),
    /// `(T, D/2)` each, in f32.
    Device([Tensor; 2], RopeLayout),
}

impl Angles {
    /// A copy of angles on the host for an accelerator; `None` where `device` computes on the host.
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
    /// `(T, (H + 2G)·D)`: the three side by side.
    Host(HostRows),
    /// `(T, H, D)`, `(T, G, D)`, `(T, G, D)`.
    Device([Tensor; 3]),
}

/// A layer's keys and values of one sequence.
#[derive(Debug)]
pub enum Ring {
    /// On the host.
    Host(KeyValues),
    /// On an accelerator, `(S, G, D)` each.
    Device([Tensor; 2]),
}

/// Consecutive tokens of one sequence, among the rows of a step.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// Row of the first.
    pub row: usize,
    /// How many.
    pub tokens: usize,
    /// What they see.
    pub span: Span,
    /// Its keys and values, those of these tokens included.
    pub ring: &'a Ring,
}

/// Two operands of one operation live apart: the model was put together wrong.
fn device_mismatch<T>() -> Result<T> {
    bail!("rows and weights are on different devices")
}

/// Rows of the embedding: `ids (T)` of `weight (V, C)` as `(T, C)`.
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

/// Whether rows of `x` are as wide as a weight's.
fn fits(x: &HostRows, matrix: &Matrix) -> Result<()> {
    if x.width() != matrix.columns() {
        bail!("a row of {} does not fit a matrix of {} columns", x.width(), matrix.columns());
    }
    Ok(())
}

/// `x (T, K)` times the transpose of `weight (N, K)`: `(T, N)`.
///
/// # Errors
/// Widths differ.
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

/// `residual (T, N)` and on top of it `x (T, K)` times the transpose of `weight (N, K)`: `(T, N)`.
///
/// # Errors
/// Widths differ.
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

/// Runs of rows of `x (T, K)`, one after another, each times a weight of its own, `(N, K)`: `(T, N)`. `runs` gives how many
/// rows each weight takes.
///
/// # Errors
/// Widths differ, the runs are not all of the rows.
pub fn grouped_linear<'w>(x: &Rows, runs: impl Iterator<Item = (usize, &'w Weight)> + Clone) -> Result<Rows> {
    if runs.clone().map(|(rows, _)| rows).sum::<usize>() != x.count()? {
        bail!("the runs are not all rows");
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
            bail!("matrices of {} and {width} rows are one product", matrix.rows());
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

/// RMSNorm of the rows of `x (T, C)` with `weight (C)`.
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

/// silu(gate) · up of `gate_up (T, 2F)`: `(T, F)`.
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

/// Takes `qkv (T, (H + 2G)·D)` apart, and rotates every head of the queries and keys by its token's angles.
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
    /// Slots.
    pub fn slots(&self) -> usize {
        match self {
            Ring::Host(kept) => kept.slots(),
            Ring::Device([keys, _]) => keys.dims()[0],
        }
    }

    /// A copy of at least the first `slots` slots, or of all where there are fewer.
    ///
    /// # Errors
    /// The device has no memory for it.
    pub fn first(&self, slots: usize) -> Result<Self> {
        Ok(match self {
            Ring::Host(kept) => Ring::Host(kept.first(slots)),
            Ring::Device([keys, values]) => {
                let first = |ring: &Tensor| ring.narrow(0, 0, slots.min(ring.dim(0)?))?.copy(); // (S, G, D)
                Ring::Device([first(keys)?, first(values)?])
            }
        })
    }

    /// Puts the keys and values of `tokens` tokens from row `row` on, at positions `first..`, in their slots: there are at
    /// least as many.
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

/// Attention of the tokens of `qkv` over their sequences' rings: `(T, H·D)`. `queries(i)` of `sequences`, called once for
/// each, are the rows of a sequence, in the order of the rows.
///
/// # Errors
/// A sequence has no queries, or its ring is on another device than `qkv`.
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

/// Some rows of `x (T, W)`, in the order of `rows (R)`: `(R, W)`.
///
/// # Errors
/// One is beyond T.
pub fn select(x: &Rows, rows: &[u32]) -> Result<Rows> {
    match x {
        Rows::Host(x) => {
            let mut out = HostRows::scratch(rows.len(), x.width()); // (R, W)
            if let Some(row) = rows.iter().find(|row| **row as usize >= x.len()) {
                bail!("there is no row {row}");
            }
            pool::each_row(&mut out, x.width(), |i, out| out.copy_from_slice(x.row(rows[i] as usize)));
            Ok(Rows::Host(out))
        }
        Rows::Device(x) => Ok(Rows::Device(x.index_select(&Tensor::new(rows, x.device())?, 0)?)), // (R, W)
    }
}

/// The sum of `answers (R, W)` by tokens: row i, times `shares[i]`, is added to row `tokens[i]` of `(T, W)`, in the order
/// of i.
pub fn sum_by_token(answers: &Rows, tokens: &[u32], shares: &[f32], count: usize) -> Result<Rows> {
    match answers {
        Rows::Host(answers) => {
            let width = answers.width();
            let mut sum = HostRows::scratch(count, width); // (T, W)
            pool::each_row(&mut sum, width, |row, sum| {
                sum.fill(0.0);
                let own =
                    tokens.iter().zip(shares).enumerate().filter(|(_, (token, _))| **token as usize == row);
                for (i, (_, share)) in own {
                    sum.iter_mut().zip(answers.row(i)).for_each(|(sum, x)| *sum += x * share);
                }
            });
            Ok(Rows::Host(sum))
        }
        Rows::Device(answers) => {
            let device = answers.device();
            let shares = Tensor::new(shares, device)?.to_dtype(answers.dtype())?.unsqueeze(1)?; // (R, 1)
            let sum = Tensor::zeros((count, answers.dim(1)?), answers.dtype(), device)?; // (T, W)
            let tokens = Tensor::new(tokens, device)?; // (R)
            Ok(Rows::Device(sum.index_add(&tokens, &answers.broadcast_mul(&shares)?, 0)?)) // (T, W)
        }
    }
}

/// Adds rows to rows.
fn add_rows(sum: &mut HostRows, x: &HostRows) {
    let width = x.width();
    pool::each_row(sum, width, |i, sum| sum.iter_mut().zip(x.row(i)).for_each(|(sum, x)| *sum += x));
}

/// `a + b`, both `(T, W)`.
pub fn add(a: Rows, b: &Rows) -> Result<Rows> {
    match (a, b) {
        (Rows::Host(mut a), Rows::Host(b)) => {
            if (a.len(), a.width()) != (b.len(), b.width()) {
                bail!("{} rows of {} are added to {} of {}", b.len(), b.width(), a.len(), a.width());
            }
            add_rows(&mut a, b);
            Ok(Rows::Host(a)) // (T, W)
        }
        (Rows::Device(a), Rows::Device(b)) => Ok(Rows::Device((a + b)?)), // (T, W)
        _ => device_mismatch(),
    }
}

impl Rows {
    /// T.
    pub fn count(&self) -> Result<usize> {
        match self {
            Rows::Host(rows) => Ok(rows.len()),
            Rows::Device(tensor) => tensor.dim(0),
        }
    }

    /// The values on the host in f32.
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

    /// The same rows where `device` computes, in `dtype` if that is an accelerator.
    pub fn to_device(self, device: &Device, dtype: DType) -> Result<Rows> {
        match self {
            Rows::Device(tensor) if !device.is_cpu() => {
                let moved = tensor.to_device(device)?;
                if !tensor.device().same_device(device) {
                    // The copy is the target's work, and the memory that it reads is given back by the source, which
                    // does not wait for it.
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
