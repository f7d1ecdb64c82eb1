//! Moves the residual stream from one device to the next.

use candle_core::{DType, Device, Result, Tensor};

use crate::quant::Rows;

/// How a tensor is copied to another device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// By one copy, or none if both devices are the same.
    Direct,
    /// Through the host. A copy between two GPUs needs peer access, and candle's copy fails without it (candle issue
    /// 3524). candle has no copy between CUDA and Metal.
    ThroughHost,
}

impl Link {
    /// Chooses the link between two devices: the direct one if a few numbers arrive unchanged.
    pub fn between(from: &Device, to: &Device) -> Self {
        if from.is_cpu() || to.is_cpu() || from.same_device(to) {
            return Link::Direct;
        }
        let sent = [1.0f32, -2.0, 0.5, 1e30];
        let arrived = Tensor::new(&sent, from).and_then(|x| x.to_device(to)).and_then(|x| x.to_vec1::<f32>());
        match arrived {
            Ok(arrived) if arrived == sent => Link::Direct,
            _ => Link::ThroughHost,
        }
    }

    /// Copies `x` to the device `to`, in `dtype` if that is an accelerator.
    ///
    /// # Errors
    /// The device has no memory for the copy, or reports another error.
    pub fn carry(self, x: Rows, to: &Device, dtype: DType) -> Result<Rows> {
        match self {
            Link::Direct => x.to_device(to, dtype),
            Link::ThroughHost => x.to_device(&Device::Cpu, DType::F32)?.to_device(to, dtype),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_carry_the_same() {
        let x = Tensor::arange(0f32, 12.0, &Device::Cpu).unwrap().reshape((3, 4)).unwrap();
        assert_eq!(Link::between(&Device::Cpu, &Device::Cpu), Link::Direct);
        for link in [Link::Direct, Link::ThroughHost] {
            let carried = link.carry(Rows::Device(x.clone()), &Device::Cpu, DType::F32).unwrap();
            assert_eq!(*carried.to_host().unwrap(), x.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        }
    }
}
