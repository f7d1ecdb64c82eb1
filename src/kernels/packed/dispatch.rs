//! Multiplies panels by activations with the kernels of one instruction set.

use super::activations::Activations;
#[cfg(target_arch = "x86_64")]
use super::amx;
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::portable;
use super::scheme::Packed;
#[cfg(target_arch = "x86_64")]
use super::x86::{self, Avx512, Ymm};
use crate::cpu::Level;
use crate::quant::ROWS;

/// Adds to `sums[p · rows + i][r]` the product of row i of the activations with row r of panel p.
///
/// All panels hold whole blocks of the same columns, starting at block `first` of the row. Any number of panels is
/// allowed; [`PANELS`](super::scheme::PANELS) at a time are fastest. `sums` has one entry per panel and row of
/// activations.
pub fn multiply_panels(
    level: Level,
    scheme: Packed,
    panels: &[&[u8]],
    x: &Activations,
    first: usize,
    sums: &mut [[f32; ROWS]],
) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a `Level` exists only where its features were detected.
    #[allow(unsafe_code)]
    unsafe {
        match level {
            Level::Amx => return amx::panels(scheme, panels, x, first, sums),
            Level::Avx512 => return x86::panels::<Avx512>(scheme, panels, x, first, sums),
            #[cfg(test)]
            Level::AvxVnni if !is_x86_feature_detected!("avxvnni") => {
                return x86::panels::<Ymm<{ x86::AS_AVX512 }>>(scheme, panels, x, first, sums);
            }
            Level::AvxVnni => return x86::panels::<Ymm<{ x86::VNNI }>>(scheme, panels, x, first, sums),
            Level::Avx2 => return x86::panels::<Ymm<{ x86::PAIRS }>>(scheme, panels, x, first, sums),
            Level::Portable => {}
        }
    }
    #[cfg(target_arch = "aarch64")]
    if level == Level::Neon {
        // SAFETY: a `Level` exists only where its features were detected.
        #[allow(unsafe_code)]
        return unsafe { neon::panels(scheme, panels, x, first, sums) };
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = level;
    for (panel, sums) in panels.iter().zip(sums.chunks_mut(x.rows().max(1))) {
        portable::panel(scheme, panel, ROWS, x, first, sums);
    }
}
