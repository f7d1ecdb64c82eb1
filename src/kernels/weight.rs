//! A weight matrix where the model's products find it.

use candle_core::{DType, Device, Result, Tensor};
use half::{bf16, f16};

use super::{Matrix, Scheme};

/// A matrix `(rows, columns)` on its device.
#[derive(Clone, Debug)]
pub enum Weight {
    /// On the CPU: the checkpoint's own bytes, in their scheme.
    Host(Matrix),
    /// On an accelerator: dense, `(rows, columns)`, in the type of computation.
    Device(Tensor),
}

impl Weight {
    /// Puts a matrix on a device.
    ///
    /// On the CPU that is a reference to its bytes; sums there are in f32 whatever `dtype` is, and f16 or bf16
    /// says how dense weights are rounded. On an accelerator the weights are dense in `dtype`.
    ///
    /// # Errors
    /// What candle reports while copying.
    pub fn load(matrix: &Matrix, device: &Device, dtype: DType) -> Result<Self> {
        if device.is_cpu() {
            return Ok(Weight::Host(rounded(matrix, dtype)?));
        }
        let shape = (matrix.rows(), matrix.columns());
        let host = Tensor::from_vec(matrix.to_f32(), shape, &Device::Cpu)?.to_dtype(dtype)?; // (rows, columns)
        Ok(Weight::Device(host.to_device(device)?))
    }

    /// Rows: the outputs of a product.
    pub fn rows(&self) -> usize {
        match self {
            Weight::Host(matrix) => matrix.rows(),
            Weight::Device(tensor) => tensor.dims().first().copied().unwrap_or(0),
        }
    }
}

/// The matrix with its dense parts in f16 or bf16, where that is asked and is not what they are.
fn rounded(matrix: &Matrix, dtype: DType) -> Result<Matrix> {
    let scheme = match dtype {
        DType::F16 => Scheme::F16,
        DType::BF16 => Scheme::Bf16,
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
