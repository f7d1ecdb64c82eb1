//! A weight matrix on the device that multiplies it.

use crate::quant::{ActivationBits, Blocks};
use candle_core::{DType, Device, Result, Tensor};
use half::{bf16, f16};

use crate::quant::{Matrix, Scheme};
use crate::system::pages;

/// The types in which a model computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arithmetic {
    /// The requested compute type; `None` for the device's default.
    pub dtype: Option<DType>,
    /// Number of bits that activations are rounded to on the CPU, for integer products with quantized weights.
    pub activations: ActivationBits,
}

/// The device and types that weights are loaded for.
#[derive(Clone, Debug)]
pub struct Target {
    /// The device.
    pub device: Device,
    /// The types in which the device computes.
    pub arithmetic: Arithmetic,
    /// Whether quantized rows on the host are copied to panels. Otherwise they are multiplied in their stored
    /// order, which is slower.
    pub packs: bool,
}

impl Target {
    /// Returns the type of activations.
    pub fn activations(&self) -> DType {
        if self.device.is_cpu() { DType::F32 } else { self.arithmetic.dtype.unwrap_or(DType::BF16) }
    }

    /// Returns how quantized weights are multiplied.
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
    /// On the CPU: bytes in a stored scheme, usually that of the checkpoint.
    Host(Matrix, Blocks),
    /// On an accelerator: dense, `(rows, columns)`, in the compute type.
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
    /// Loads the single row of a matrix to a device.
    pub fn load(matrix: &Matrix, Target { device, .. }: &Target) -> Result<Self> {
        let values = matrix.to_f32();
        match device.is_cpu() {
            true => Ok(Vector::Host(values)),
            false => Ok(Vector::Device(Tensor::from_vec(values, matrix.columns(), device)?)), // (columns)
        }
    }
}

/// Bytes of f32 rows that are converted at a time on their way to an accelerator.
const RUN: usize = 64 << 20;

impl Weight {
    /// Loads a matrix to the device that multiplies it.
    ///
    /// On the CPU this is a reference to its bytes, unless they are packed or rounded. Sums on the CPU are in f32
    /// for every `dtype`. With f16 or bf16, dense weights are rounded to that type; with f32, activations are not
    /// rounded for products with quantized weights.
    ///
    /// On an accelerator the weights are dense in `dtype`, by default bf16. The host converts a run of rows at a
    /// time and holds no more.
    pub fn load(matrix: &Matrix, target: &Target) -> Result<Self> {
        if !target.device.is_cpu() {
            return Ok(Weight::Device(dense(matrix, target.activations(), &target.device)?)); // (rows, columns)
        }
        let rounded = rounded(matrix, target.arithmetic.dtype)?;
        let packs = target.packs && target.blocks() != Blocks::F32;
        Ok(Weight::Host(if packs { rounded.packed() } else { rounded }, target.blocks()))
    }

    /// Hints to the system that weights on the host will be read soon.
    pub fn will_be_needed(&self) {
        if let Weight::Host(matrix, _) = self {
            matrix.bytes().for_each(pages::will_need);
        }
    }

    /// Returns the number of rows: the outputs of a product.
    pub fn rows(&self) -> usize {
        match self {
            Weight::Host(matrix, _) => matrix.rows(),
            Weight::Device(tensor) => tensor.dims().first().copied().unwrap_or(0),
        }
    }
}

/// Loads a matrix to a device, dense in `dtype`. The host converts a run of rows at a time.
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

/// Rounds the dense parts of a matrix to f16 or bf16, if requested and different from their type.
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

/// The error for a finite value that overflows a narrower type.
#[derive(Debug, thiserror::Error)]
#[error("a weight of {value} is too large for {scheme}")]
pub struct TooLarge {
    value: f32,
    scheme: Scheme,
}

/// Converts values to bytes of a dense scheme, rounded to nearest even.
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

    /// The matrix has more than one run of rows, and the last run is shorter.
    #[test]
    fn runs_of_rows_are_the_whole_matrix() {
        let (rows, columns) = (RUN / 4 / 4096 + 3, 4096);
        let bytes: Vec<u8> = (0..rows * columns * 2).map(|i| (i * 37 % 251) as u8 & 0x3f).collect();
        let matrix = Matrix::new(Scheme::Bf16, rows, columns, bytes.into()).unwrap();
        let tensor = dense(&matrix, DType::F32, &Device::Cpu).unwrap();
        assert!(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap() == matrix.to_f32());
    }
}
