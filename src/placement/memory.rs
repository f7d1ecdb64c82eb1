//! Measures the memory of devices, and parses memory sizes.

use std::str::FromStr;

use super::{DeviceName, Error, Place};

/// Divisor of an accelerator's free memory: this fraction is reserved for activations, attention scores and the
/// allocator.
const KEPT_BACK: u64 = 10;

/// Memory limits: one size for all devices, or one for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memories {
    text: String,
    sizes: Vec<u64>,
}

impl FromStr for Memories {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let sizes =
            text.split(',').map(|size| parse(size.trim()).ok_or_else(|| Error::UnknownSize(size.into())));
        Ok(Self { text: text.into(), sizes: sizes.collect::<Result<_, _>>()? })
    }
}

/// Parses `20GiB`, `1.5 GB`, `800MiB`, `64k`, or bytes.
fn parse(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit);
    }
    // Below 2^53 bytes f64 is exact enough for fractions of a unit.
    let bytes = number.parse::<f64>().ok()? * unit as f64;
    (bytes < 9e15).then_some(bytes as u64)
}

impl Place {
    /// Returns the devices with their memory limits: those of `asked`, or most of an accelerator's free memory. The
    /// host has no limit by default, since its weights are mapped.
    ///
    /// # Errors
    /// `asked` has neither one size nor one for each device.
    pub fn all(devices: &[DeviceName], asked: Option<&Memories>) -> Result<Vec<Self>, Error> {
        let Some(Memories { text, sizes }) = asked else {
            let place = |device: &DeviceName| {
                // A GPU that is named several times is divided among its uses.
                let times = devices.iter().filter(|other| *other == device).count() as u64;
                let memory = free(*device).map(|free| (free - free / KEPT_BACK) / times);
                Self { device: *device, memory }
            };
            return Ok(devices.iter().map(place).collect());
        };
        if sizes.len() > 1 && sizes.len() != devices.len() {
            let (parts, devices) = (sizes.len(), devices.len());
            return Err(Error::MemoryCount { memory: text.clone(), parts, devices });
        }
        let place = |(device, size): (&DeviceName, &u64)| Self { device: *device, memory: Some(*size) };
        Ok(devices.iter().zip(sizes.iter().cycle()).map(place).collect())
    }
}

/// Returns the free memory of an accelerator in bytes, if the system reports it.
pub fn free(device: DeviceName) -> Option<u64> {
    match device {
        DeviceName::Cpu => None,
        DeviceName::Cuda(i) => free_on_cuda(i),
        DeviceName::Metal => free_on_metal(),
    }
}

#[cfg(feature = "cuda")]
fn free_on_cuda(index: usize) -> Option<u64> {
    use candle_core::cuda_backend::cudarc::driver::CudaContext;
    CudaContext::new(index).and_then(|context| context.mem_get_info()).ok().map(|(free, _)| free as u64)
}

#[cfg(not(feature = "cuda"))]
fn free_on_cuda(_: usize) -> Option<u64> {
    None
}

#[cfg(feature = "metal")]
fn free_on_metal() -> Option<u64> {
    let device = candle_core::Device::new_metal(0).ok()?;
    let device = device.as_metal_device().ok()?.metal_device().clone();
    Some(device.recommended_max_working_set_size().saturating_sub(device.current_allocated_size()) as u64)
}

#[cfg(not(feature = "metal"))]
fn free_on_metal() -> Option<u64> {
    None
}

/// Returns the memory in bytes that this process may have on the host, if the system reports it.
pub fn host_memory() -> Option<u64> {
    system::total()
}

/// Returns the host memory in bytes that can still be allocated, if the system reports it. The page cache counts as
/// free.
pub fn available_memory() -> Option<u64> {
    system::available()
}

#[cfg(target_os = "linux")]
mod system {
    use crate::system::cgroup::limits;

    pub fn total() -> Option<u64> {
        meminfo("MemTotal:").map(|total| limits().map_or(total, |limits| total.min(limits.total)))
    }

    pub fn available() -> Option<u64> {
        meminfo("MemAvailable:").map(|free| limits().map_or(free, |limits| free.min(limits.free)))
    }

    /// Returns a line of `/proc/meminfo`, in bytes.
    fn meminfo(name: &str) -> Option<u64> {
        let text = crate::system::files::of_system(std::path::Path::new("/proc/meminfo")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use sysinfo::{MemoryRefreshKind, RefreshKind, System};

    /// Queries sysinfo, which reports 0 for an unknown size.
    fn told(of: impl FnOnce(&System) -> u64) -> Option<u64> {
        let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        Some(of(&System::new_with_specifics(memory))).filter(|bytes| *bytes > 0)
    }

    pub fn total() -> Option<u64> {
        told(System::total_memory)
    }

    pub fn available() -> Option<u64> {
        told(System::available_memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        for (text, bytes) in [
            ("20GiB", Some(20 << 30)),
            ("1.5 GB", Some(1_500_000_000)),
            ("800mb", Some(800_000_000)),
            ("64k", Some(64 << 10)),
            ("12", Some(12)),
            ("", None),
            ("GiB", None),
            ("-1", None),
            ("1.2.3G", None),
            ("4 pages", None),
            ("99999999999999999999", None),
            ("18446744073709551615GiB", None),
        ] {
            assert_eq!(parse(text), bytes, "{text}");
        }
    }

    #[test]
    fn one_size_is_for_all_and_several_are_one_each() {
        let devices = [DeviceName::Cpu; 3];
        let memories = |text: &str| {
            let asked = text.parse::<Memories>().unwrap();
            let places = Place::all(&devices, Some(&asked)).ok()?;
            Some(places.into_iter().filter_map(|place| place.memory).collect::<Vec<_>>())
        };
        assert_eq!(memories("7"), Some(vec![7; 3]));
        assert_eq!(memories("1k,2,3"), Some(vec![1024, 2, 3]));
        assert_eq!(memories("1,2"), None);
        assert!("1,,2".parse::<Memories>().is_err());
        assert_eq!(Place::all(&devices, None).unwrap()[0].memory, None);
    }
}
