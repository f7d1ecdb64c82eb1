//! The seam to candle: each operation of the model on candle tensors, wherever they live.
//!
//! On the CPU an operation is one of our kernels over the tensor's slice; on CUDA and Metal it is [`generic`],
//! a composition of candle's operations, which is also the slow twin that the kernels are tested against.
//! CPU tensors are f32 (the cache apart).

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor, bail};
use half::{bf16, f16};

use super::attention::{self, Heads, Span};
use super::rows::{self, RopeLayout};
use super::weight::Products;
use super::{Weight, matmul::matmul, packed};

pub mod generic;

/// Reads a contiguous f32 CPU tensor as a slice.
fn with_f32<R>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a kernel was given a tensor that is not contiguous: {:?}", tensor.shape());
    };
    match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => Ok(read(&values[start..end])),
        _ => bail!("a kernel was given a tensor that is not f32 on the CPU: {:?}", tensor.dtype()),
    }
}

/// Rows of the embedding: `ids (T)` of `weight (V, C)` as `(T, C)`.
///
/// # Errors
/// An id is not below V.
pub fn embed(ids: &[u32], weight: &Weight, device: &Device) -> Result<Tensor> {
    let vocabulary = weight.rows();
    if let Some(id) = ids.iter().find(|id| **id as usize >= vocabulary) {
        bail!("token id {id} is beyond the vocabulary of {vocabulary}");
    }
    match weight {
        Weight::Host(matrix, _) => {
            let mut out = vec![0.0; ids.len() * matrix.columns()];
            for (id, row) in ids.iter().zip(out.chunks_exact_mut(matrix.columns())) {
                matrix.rows_f32(*id as usize, row);
            }
            Tensor::from_vec(out, (ids.len(), matrix.columns()), device) // (T, C)
        }
        Weight::Device(tensor) => tensor.index_select(&Tensor::new(ids, device)?, 0), // (T, C)
    }
}

/// `x (T, K)` times the transpose of `weight (N, K)`: `(T, N)`.
///
/// # Errors
/// Widths differ, or what candle reports.
pub fn linear(x: &Tensor, weight: &Weight) -> Result<Tensor> {
    let Weight::Host(matrix, products) = weight else {
        return generic::linear(x, weight);
    };
    let (tokens, width) = x.dims2()?;
    if width != matrix.columns() {
        bail!("a row of {width} does not fit a matrix of {} columns", matrix.columns());
    }
    let mut out = vec![0.0; tokens * matrix.rows()];
    with_f32(x, |x| match products {
        Products::Integer => packed::multiply(x, matrix, &mut out),
        Products::F32 => matmul(x, matrix, &mut out),
    })?;
    Tensor::from_vec(out, (tokens, matrix.rows()), x.device()) // (T, N)
}

/// RMSNorm of the rows of `x (T, C)` with `weight (C)`.
///
/// # Errors
/// What candle reports.
pub fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return generic::rms_norm(x, weight, epsilon);
    }
    let mut out = vec![0.0; x.elem_count()];
    with_f32(x, |x| with_f32(weight, |w| rows::rms_norm(x, w, epsilon as f32, &mut out)))??;
    Tensor::from_vec(out, x.shape(), x.device()) // (T, C)
}

/// Rotates every head of `x (T, heads, D)` by its token's row of `cos` and `sin`, `(T, D/2)` in f32.
///
/// # Errors
/// What candle reports.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, layout: RopeLayout) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return generic::rope(x, cos, sin, layout);
    }
    let (_, heads, size) = x.dims3()?;
    let mut out = with_f32(x, <[f32]>::to_vec)?;
    with_f32(cos, |cos| with_f32(sin, |sin| rows::rope(&mut out, heads, cos, sin, layout, size / 2)))??;
    Tensor::from_vec(out, x.shape(), x.device()) // (T, heads, D)
}

/// silu(gate) · up of `gate_up (T, 2F)`: `(T, F)`.
///
/// # Errors
/// What candle reports.
pub fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    if !gate_up.device().is_cpu() {
        return generic::swiglu(gate_up);
    }
    let (tokens, width) = gate_up.dims2()?;
    let inner = width / 2;
    let mut out = vec![0.0; tokens * inner];
    with_f32(gate_up, |x| rows::swiglu(x, inner, &mut out))?;
    Tensor::from_vec(out, (tokens, inner), gate_up.device()) // (T, F)
}

/// Attention of `q (T, H, D)` over a cache's `keys` and `values`, `(slots, G, D)` each: `(T, H·D)`.
///
/// # Errors
/// The cache is of no known type, or what candle reports.
pub fn attention(q: &Tensor, keys: &Tensor, values: &Tensor, heads: Heads, span: Span) -> Result<Tensor> {
    if !q.device().is_cpu() {
        return generic::attention(q, keys, values, heads, span);
    }
    let mut out = vec![0.0; q.elem_count()];
    {
        let (keys, key_layout) = keys.storage_and_layout();
        let (values, value_layout) = values.storage_and_layout();
        let (Some((k0, k1)), Some((v0, v1))) =
            (key_layout.contiguous_offsets(), value_layout.contiguous_offsets())
        else {
            bail!("the cache is not contiguous");
        };
        let (Storage::Cpu(keys), Storage::Cpu(values)) = (&*keys, &*values) else {
            bail!("the cache is not on the query's device");
        };
        let run = |q: &[f32]| match (keys, values) {
            (CpuStorage::F32(k), CpuStorage::F32(v)) => {
                attention::attention::<f32>(q, &k[k0..k1], &v[v0..v1], heads, span, &mut out);
                Ok(())
            }
            (CpuStorage::F16(k), CpuStorage::F16(v)) => {
                attention::attention::<f16>(q, &k[k0..k1], &v[v0..v1], heads, span, &mut out);
                Ok(())
            }
            (CpuStorage::BF16(k), CpuStorage::BF16(v)) => {
                attention::attention::<bf16>(q, &k[k0..k1], &v[v0..v1], heads, span, &mut out);
                Ok(())
            }
            _ => bail!("the cache is of no known type"),
        };
        with_f32(q, run)??;
    }
    Tensor::from_vec(out, (q.dim(0)?, heads.query * heads.size), q.device()) // (T, H·D)
}

/// A tensor's values on the host in f32, row after row.
///
/// # Errors
/// What candle reports.
pub fn to_host(x: &Tensor) -> Result<Vec<f32>> {
    x.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
}
