//! Which layer goes where.

use std::ops::Range;

use super::{DeviceName, Error};
use crate::checkpoint::{Config, Weights};
use crate::kernels::Matrix;

/// The layers of each device, in order, complete, none empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One entry a device.
    pub shares: Vec<Share>,
}

/// One device's part of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The device.
    pub device: DeviceName,
    /// Its layers.
    pub layers: Range<usize>,
}

impl Plan {
    /// Equal shares: device i of n takes the layers from L·i/n to L·(i + 1)/n. Example: 5 layers over 3 devices
    /// are 0..1, 1..3, 3..5.
    ///
    /// # Errors
    /// There are more devices than layers, or none.
    pub fn equal(layers: usize, devices: &[DeviceName]) -> Result<Self, Error> {
        let count = devices.len();
        if count == 0 || count > layers {
            return Err(Error::MoreDevicesThanLayers { layers, devices: count });
        }
        let share = |(i, device): (usize, &DeviceName)| Share {
            device: *device,
            layers: layers * i / count..layers * (i + 1) / count,
        };
        Ok(Self { shares: devices.iter().enumerate().map(share).collect() })
    }

    /// The shares that `--split` names.
    ///
    /// # Errors
    /// The numbers do not fit the devices or the layers, or one is 0.
    pub fn split(layers: usize, devices: &[DeviceName], counts: &[usize]) -> Result<Self, Error> {
        let split = counts.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        if counts.len() != devices.len() {
            return Err(Error::SplitCount { split, parts: counts.len(), devices: devices.len() });
        }
        if counts.contains(&0) {
            return Err(Error::EmptyShare(split));
        }
        let sum = counts.iter().fold(0usize, |sum, count| sum.saturating_add(*count));
        if sum != layers {
            return Err(Error::SplitSum { split, sum, layers });
        }
        let mut first = 0;
        let share = |(device, count): (&DeviceName, &usize)| {
            let layers = first..first + count;
            first = layers.end;
            Share { device: *device, layers }
        };
        Ok(Self { shares: devices.iter().zip(counts).map(share).collect() })
    }

    /// What each device will hold: its layers, the embedding on the first, the norm and the head on the last (a tied
    /// head once where that is one device), and the cache for `positions` at `element` bytes an element.
    pub fn loads(&self, config: &Config, weights: &Weights, positions: usize, element: usize) -> Vec<Load> {
        let last = self.shares.len().saturating_sub(1);
        let load = |(i, share): (usize, &Share)| {
            let bytes = |matrix: &Matrix| held_bytes(matrix, share.device);
            let layers = weights.layers[share.layers.clone()].iter().flat_map(|layer| layer.matrices());
            let embedding = if i == 0 { bytes(&weights.embedding) } else { 0 };
            let head = if config.tied_head && last == 0 { 0 } else { bytes(&weights.head) };
            let position = (config.cache_elements() * element * share.layers.len()) as u64;
            Load {
                weights: layers.map(|(_, matrix)| bytes(matrix)).sum::<u64>() + embedding,
                head: if i == last { head + bytes(&weights.norm) } else { 0 },
                cache: position.saturating_mul(positions as u64),
            }
        };
        self.shares.iter().enumerate().map(load).collect()
    }
}

/// Bytes that one device will hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its layers, and the embedding if it is the first.
    pub weights: u64,
    /// The final norm and the head, if it is the last.
    pub head: u64,
    /// Keys and values of its layers.
    pub cache: u64,
}

/// Bytes of a matrix on a device: as stored on the CPU, dense in 16 bits on an accelerator.
fn held_bytes(matrix: &Matrix, device: DeviceName) -> u64 {
    match device {
        DeviceName::Cpu => matrix.size() as u64,
        _ => 2 * matrix.rows() as u64 * matrix.columns() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_are_complete_ordered_non_empty_and_differ_by_at_most_one() {
        for layers in 1..=96 {
            for devices in 1..=16 {
                let plan = Plan::equal(layers, &vec![DeviceName::Cpu; devices]);
                if devices > layers {
                    assert!(matches!(plan, Err(Error::MoreDevicesThanLayers { .. })));
                    continue;
                }
                let shares = plan.unwrap().shares;
                assert_eq!((shares[0].layers.start, shares[devices - 1].layers.end), (0, layers));
                assert!(shares.windows(2).all(|pair| pair[0].layers.end == pair[1].layers.start));
                let sizes = || shares.iter().map(|s| s.layers.len());
                assert!(sizes().min().unwrap() >= 1 && sizes().max().unwrap() - sizes().min().unwrap() <= 1);
            }
        }
    }

    #[test]
    fn a_split_must_fit_devices_and_layers() {
        let devices = [DeviceName::Cpu; 3];
        let plan = Plan::split(32, &devices, &[10, 12, 10]).unwrap();
        assert_eq!(plan.shares[1].layers, 10..22);
        assert!(matches!(Plan::split(32, &devices, &[16, 16]), Err(Error::SplitCount { .. })));
        assert!(matches!(Plan::split(32, &devices, &[16, 16, 16]), Err(Error::SplitSum { sum: 48, .. })));
        assert!(matches!(Plan::split(32, &devices, &[16, 0, 16]), Err(Error::EmptyShare(_))));
        assert!(matches!(Plan::split(32, &devices, &[usize::MAX, 2, 1]), Err(Error::SplitSum { .. })));
    }
}
