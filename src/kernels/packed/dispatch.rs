//! Panels by activations with one instruction set.

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
/// All panels' bytes are whole blocks of the same columns, which begin with the row's block `first`; any number of
/// panels is allowed, and [`PANELS`](super::scheme::PANELS) at a time are best. `sums` are as many times the activations' rows.
pub fn multiply_panels(
    level: Level,
    scheme: Packed,
    panels: &[&[u8]],
    x: &Activations,
    first: usize,
    sums: &mut [[f32; ROWS]],
) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a level is only where the processor was found to have what it names.
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
        // SAFETY: a level is only where the processor was found to have what it names.
        #[allow(unsafe_code)]
        return unsafe { neon::panels(scheme, panels, x, first, sums) };
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = level;
    for (panel, sums) in panels.iter().zip(sums.chunks_mut(x.rows().max(1))) {
        portable::panel(scheme, panel, ROWS, x, first, sums);
    }
}
