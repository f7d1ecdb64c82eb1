//! A weight matrix where the model's products find it.

use crate::quant::{ActivationBits, Blocks};
use candle_core::{DType, Device, Result, Tensor};
use half::{bf16, f16};

use crate::quant::{Matrix, Scheme};
use crate::system::pages;

/// How a model computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arithmetic {
    /// The type of computation that was asked for; `None` for the device's own.
    pub dtype: Option<DType>,
    /// What activations are rounded to on the CPU, for products with blocks that are in integers.
    pub activations: ActivationBits,
}

/// Where weights go, and as what.
#[derive(Clone, Debug)]
pub struct Target {
    /// The device.
    pub device: Device,
    /// How it is computed with.
    pub arithmetic: Arithmetic,
    /// Whether rows of blocks on the host are copied into the order of the products' kernels. They are multiplied as they
    /// lie otherwise, more slowly.
    pub packs: bool,
}

impl Target {
    /// The type of activations.
    pub fn activations(&self) -> DType {
        if self.device.is_cpu() { DType::F32 } else { self.arithmetic.dtype.unwrap_or(DType::BF16) }
    }

    /// How blocks are multiplied.
    fn blocks(&self) -> Blocks {
        match self.arithmetic {
            Arithmetic { dtype: Some(DType::F32), .. } => Blocks::F32,
            Arithmetic { activations, .. } => Blocks::Integer(activations),
        }
    }
}

/// A matrix `(rows, columns)` on its device.
#[derive(Clone, Debug)]
pub enum Weight {
    /// On the CPU: the checkpoint's own bytes, in their scheme.
    Host(Matrix, Blocks),
    /// On an accelerator: dense, `(rows, columns)`, in the type of computation.
    Device(Tensor),
}

/// A vector `(columns)` on its device, such as a norm's weight.
#[derive(Clone, Debug)]
pub enum Vector {
    /// On the host.
    Host(Vec<f32>),
    /// On an accelerator, in f32.
    Device(Tensor),
}

impl Vector {
    /// Puts the one row of a matrix on a device.
    pub fn load(matrix: &Matrix, Target { device, .. }: &Target) -> Result<Self> {
        let values = matrix.to_f32();
        match device.is_cpu() {
            true => Ok(Vector::Host(values)),
            false => Ok(Vector::Device(Tensor::from_vec(values, matrix.columns(), device)?)), // (columns)
        }
    }
}

/// Widened rows that are narrowed at once on their way to an accelerator, in bytes.
const RUN: usize = 64 << 20;

impl Weight {
    /// Puts a matrix where it is computed with.
    ///
    /// On the CPU that is a reference to its bytes, unless they are packed or rounded. Sums there are in f32 whatever
    /// `dtype` is; f16 or bf16 says how dense weights are rounded, f32 that activations are not rounded for the products
    /// with blocks. On an accelerator the weights are dense in `dtype`, by default bf16, and the host holds no more of them
    /// at once than a run of rows.
    pub fn load(matrix: &Matrix, target: &Target) -> Result<Self> {
        if !target.device.is_cpu() {
            return Ok(Weight::Device(dense(matrix, target.activations(), &target.device)?)); // (rows, columns)
        }
        let rounded = rounded(matrix, target.arithmetic.dtype)?;
        let packs = target.packs && target.blocks() != Blocks::F32;
        Ok(Weight::Host(if packs { rounded.packed() } else { rounded }, target.blocks()))
    }

    /// Tells the system that weights on the host are about to be read.
    pub fn will_be_needed(&self) {
        if let Weight::Host(matrix, _) = self {
            matrix.bytes().for_each(pages::will_need);
        }
    }

    /// Rows: the outputs of a product.
    pub fn rows(&self) -> usize {
        match self {
            Weight::Host(matrix, _) => matrix.rows(),
            Weight::Device(tensor) => tensor.dims().first().copied().unwrap_or(0),
        }
    }
}

/// A matrix on a device, dense in `dtype`: widened and narrowed on the host a run of rows at a time.
fn dense(matrix: &Matrix, dtype: DType, device: &Device) -> Result<Tensor> {
    let columns = matrix.columns();
    let rows_at_once = (RUN / size_of::<f32>() / columns.max(1)).max(1);
    let run = |first: usize| {
        let rows = rows_at_once.min(matrix.rows() - first);
        let mut wide = vec![0.0; rows * columns];
        matrix.rows_f32(first, &mut wide);
        let host = Tensor::from_vec(wide, (rows, columns), &Device::Cpu)?.to_dtype(dtype)?; // (rows, columns)
        host.to_device(device)
    };
    if matrix.rows() <= rows_at_once {
        return run(0);
    }
    let whole = Tensor::zeros((matrix.rows(), columns), dtype, device)?; // (rows, columns)
    for first in (0..matrix.rows()).step_by(rows_at_once) {
        whole.slice_set(&run(first)?, 0, first)?;
    }
    Ok(whole)
}

/// The matrix with its dense parts in f16 or bf16, where that is asked and is not what they are.
fn rounded(matrix: &Matrix, dtype: Option<DType>) -> Result<Matrix> {
    let scheme = match dtype {
        Some(DType::F16) => Scheme::F16,
        Some(DType::BF16) => Scheme::Bf16,
        _ => return Ok(matrix.clone()),
    };
    let parts = matrix.split_parts().into_iter().map(|part| {
        let narrows = part.scheme().is_some_and(|stored| stored.is_dense() && stored != scheme);
        if !narrows {
            return Ok(part);
        }
        let bytes = narrow(&part.to_f32(), scheme).map_err(candle_core::Error::wrap)?;
        Ok(Matrix::new(scheme, part.rows(), part.columns(), bytes.into()).unwrap_or(part))
    });
    let parts = parts.collect::<Result<Vec<_>>>()?;
    Ok(Matrix::stack(parts).unwrap_or_else(|| matrix.clone()))
}

/// A finite value that a narrower type cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("a weight of {value} is too large for {scheme}")]
pub struct TooLarge {
    value: f32,
    scheme: Scheme,
}

/// Values as bytes of a dense scheme, rounded to nearest even.
///
/// # Errors
/// A finite value would become infinite.
pub fn narrow(values: &[f32], scheme: Scheme) -> std::result::Result<Vec<u8>, TooLarge> {
    let fits = |value: &f32| match scheme {
        Scheme::F16 => f16::from_f32(*value).is_finite(),
        Scheme::Bf16 => bf16::from_f32(*value).is_finite(),
        _ => true,
    };
    if let Some(value) = values.iter().find(|value| value.is_finite() && !fits(value)) {
        return Err(TooLarge { value: *value, scheme });
    }
    Ok(match scheme {
        Scheme::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        Scheme::Bf16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than one run of rows, the last of them short.
    #[test]
    fn runs_of_rows_are_the_whole_matrix() {
        let (rows, columns) = (RUN / 4 / 4096 + 3, 4096);
        let bytes: Vec<u8> = (0..rows * columns * 2).map(|i| (i * 37 % 251) as u8 & 0x3f).collect();
        let matrix = Matrix::new(Scheme::Bf16, rows, columns, bytes.into()).unwrap();
        let tensor = dense(&matrix, DType::F32, &Device::Cpu).unwrap();
        assert!(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap() == matrix.to_f32());
    }
}
