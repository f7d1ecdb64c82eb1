//! Parses the names of devices, and opens devices.

use std::str::FromStr;

use candle_core::Device;

use super::{DeviceName, Error};

impl FromStr for DeviceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "cpu" => Ok(DeviceName::Cpu),
            "cuda" => Ok(DeviceName::Cuda(0)),
            "metal" => Ok(DeviceName::Metal),
            _ => {
                let index = text.strip_prefix("cuda:").and_then(|i| i.parse().ok());
                index.map(DeviceName::Cuda).ok_or_else(|| Error::UnknownDevice(text.into()))
            }
        }
    }
}

impl DeviceName {
    /// Checks that this machine, with its `accelerators`, has the device.
    ///
    /// # Errors
    /// The machine has no such device, or this program was built without its kind.
    pub fn exists(self, accelerators: &[DeviceName]) -> Result<(), Error> {
        match self {
            DeviceName::Cpu => Ok(()),
            device if accelerators.contains(&device) => Ok(()),
            DeviceName::Cuda(_) if !cfg!(feature = "cuda") => Err(Error::NotBuilt("cuda")),
            DeviceName::Metal if !cfg!(feature = "metal") => Err(Error::NotBuilt("metal")),
            device => Err(Error::NoSuchDevice(device)),
        }
    }

    /// Opens the device.
    ///
    /// candle treats each opening of a GPU as a different device, so code that works together must share one opening.
    ///
    /// # Errors
    /// The machine has no such device, this program was built without its kind, or the device cannot be used.
    pub fn open(self) -> Result<Device, Error> {
        let unusable =
            |error: candle_core::Error| Error::Unusable { device: self.to_string(), reason: error.into() };
        self.exists(&accelerators())?;
        match self {
            DeviceName::Cpu => Ok(Device::Cpu),
            DeviceName::Cuda(i) => open_cuda(i).map_err(unusable),
            DeviceName::Metal => Device::new_metal(0).map_err(unusable),
        }
    }
}

/// Opens a GPU with one stream, which runs all work in the order in which threads submit it.
///
/// `Device::new_cuda` takes CUDA's per-thread stream. The work of one stage's thread would then not be ordered after
/// the work of another's, and nothing would report it.
fn open_cuda(index: usize) -> candle_core::Result<Device> {
    let device = Device::new_cuda_with_stream(index)?;
    #[cfg(feature = "cuda")]
    {
        // SAFETY: the events that are disabled order uses of memory by several streams of a GPU. This device has one
        // stream, and no second device is opened on its context; copies between two GPUs wait for a separate event.
        #[allow(unsafe_code)]
        unsafe {
            device.as_cuda_device()?.disable_event_tracking();
        }
    }
    Ok(device)
}

/// Lists the accelerators of this machine that this program was built for, best first.
pub fn accelerators() -> Vec<DeviceName> {
    let mut found: Vec<DeviceName> = (0..cuda_devices()).map(DeviceName::Cuda).collect();
    if cfg!(feature = "metal") && Device::new_metal(0).is_ok() {
        found.push(DeviceName::Metal);
    }
    found
}

#[cfg(feature = "cuda")]
fn cuda_devices() -> usize {
    candle_core::cuda_backend::cudarc::driver::CudaContext::device_count()
        .ok()
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(0)
}

#[cfg(not(feature = "cuda"))]
fn cuda_devices() -> usize {
    0
}

/// Which devices compute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Devices {
    /// The first accelerators, by number; logical CPU devices if the machine has no accelerators.
    First(usize),
    /// The named devices, in this order.
    These(Vec<DeviceName>),
}

impl FromStr for Devices {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Ok(count) = text.parse::<usize>() {
            return match count {
                0 => Err(Error::UnknownDevices(text.into())),
                _ => Ok(Devices::First(count)),
            };
        }
        let names: Result<Vec<DeviceName>, Error> = text.split(',').map(|name| name.trim().parse()).collect();
        names.map(Devices::These)
    }
}

impl Devices {
    /// Resolves the devices, given this machine's `accelerators`.
    ///
    /// # Errors
    /// More devices than `layers`; fewer accelerators than requested, but at least one; a named device does not exist.
    pub fn resolve(&self, accelerators: &[DeviceName], layers: usize) -> Result<Vec<DeviceName>, Error> {
        match self {
            Devices::These(names) => {
                names.iter().try_for_each(|name| name.exists(accelerators))?;
                Ok(names.clone())
            }
            Devices::First(count) if !accelerators.is_empty() && *count > accelerators.len() => {
                Err(Error::TooFew { asked: *count, found: accelerators.len() })
            }
            Devices::First(count) if *count > layers => {
                Err(Error::MoreDevicesThanLayers { layers, devices: *count })
            }
            Devices::First(count) if accelerators.is_empty() => Ok(vec![DeviceName::Cpu; *count]),
            Devices::First(count) => Ok(accelerators[..*count].to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_means_accelerators_or_logical_cpus() {
        let two = [DeviceName::Cuda(0), DeviceName::Cuda(1)];
        let parse = |text: &str| text.parse::<Devices>();
        assert_eq!(parse("2").unwrap().resolve(&two, 8).unwrap(), two);
        assert_eq!(parse("3").unwrap().resolve(&[], 8).unwrap(), [DeviceName::Cpu; 3]);
        assert!(matches!(parse("3").unwrap().resolve(&two, 8), Err(Error::TooFew { asked: 3, found: 2 })));
        let many = parse("18446744073709551615").unwrap();
        assert!(matches!(many.resolve(&[], 8), Err(Error::MoreDevicesThanLayers { layers: 8, .. })));
        let list = parse("cuda:1, cpu").unwrap();
        assert_eq!(list, Devices::These(vec![DeviceName::Cuda(1), DeviceName::Cpu]));
        assert_eq!(list.resolve(&two, 8).unwrap(), [DeviceName::Cuda(1), DeviceName::Cpu]);
        assert!(matches!(list.resolve(&two[..1], 8), Err(Error::NoSuchDevice(_) | Error::NotBuilt("cuda"))));
        for wrong in ["0", "", "cuda:x", "gpu", "cpu,,cpu", "-1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
