//! The tile registers and their instructions.
//!
//! All of them require a processor and a system with AMX ([`Level::Amx`](crate::cpu::Level::Amx)).
//!
//! The shapes of all tiles, and the sums of k-quants, stay in registers from one `asm!` to the next. The rules of
//! inline assembly do not guarantee this: between two `asm!` the compiler may use any register. But the compiler
//! uses tiles only for AMX's own intrinsics, in functions compiled with that feature. The feature is enabled
//! nowhere here, and the compiler saves and restores no tiles. It may not remove or reorder these instructions
//! either, because none is declared `pure`. Each declares the tiles that it writes as overwritten.

/// Runs an instruction; in tests on a processor without AMX, runs its model in `model.rs` instead.
#[cfg(not(test))]
macro_rules! instruction {
    ($model:expr, $instruction:expr $(,)?) => {
        $instruction
    };
}
#[cfg(test)]
macro_rules! instruction {
    ($model:expr, $instruction:expr $(,)?) => {
        if $crate::kernels::packed::amx::model::is_used() { $model } else { $instruction }
    };
}

/// Emits an instruction that zeroes all tiles.
macro_rules! all_tiles {
    ($($argument:tt)*) => {
        std::arch::asm!(
            $($argument)*,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
        )
    };
}

/// Rows and bytes per row of the eight tiles, in the format of `ldtilecfg`.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    const fn new(shapes: [(u8, u16); 8]) -> Self {
        let mut out = Self { palette: 1, start: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        let mut i = 0;
        while i < 8 {
            (out.rows[i], out.row_bytes[i]) = shapes[i];
            i += 1;
        }
        out
    }
}

/// All tiles have 16 rows of 64 bytes.
static WHOLE: Shapes = Shapes::new([(16, 64); 8]);

/// Tiles 0 to 3 hold sums, 4 and 5 hold rows of 32 activations, 6 and 7 hold eight lines of weights.
static HALVES: Shapes =
    Shapes::new([(16, 64), (16, 64), (16, 64), (16, 64), (16, 32), (16, 32), (8, 64), (8, 64)]);

/// Keeps the tiles of this thread configured until it is dropped.
pub struct Tiles(());

impl Tiles {
    /// Configures all tiles with 16 rows of 64 bytes.
    ///
    /// # Safety
    /// The processor has AMX, and the system lets this process use it.
    #[allow(unsafe_code)]
    pub unsafe fn whole() -> Self {
        // SAFETY: guaranteed by the caller.
        unsafe { Self::new(&WHOLE) }
    }

    /// Configures the tiles for products of 32 columns: see [`HALVES`].
    ///
    /// # Safety
    /// The processor has AMX, and the system lets this process use it.
    #[allow(unsafe_code)]
    pub unsafe fn halves() -> Self {
        // SAFETY: guaranteed by the caller.
        unsafe { Self::new(&HALVES) }
    }

    #[allow(unsafe_code)]
    unsafe fn new(shapes: &'static Shapes) -> Self {
        // SAFETY: the caller guarantees AMX; the shapes are 64 bytes of a valid configuration.
        unsafe {
            instruction!(
                super::model::configure(shapes.rows.into_iter().zip(shapes.row_bytes)),
                all_tiles!("ldtilecfg [{}]", in(reg) shapes, options(nostack, preserves_flags, readonly)),
            );
        }
        Self(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: the tiles were configured, so the instruction exists; their content is no longer used.
        #[allow(unsafe_code)]
        unsafe {
            instruction!((), all_tiles!("tilerelease", options(nostack, preserves_flags, nomem)));
        }
    }
}

/// `load!("tmm4", pointer, stride)` loads a tile whose rows begin `stride` bytes apart.
macro_rules! load {
    ($tile:tt, $at:expr, $stride:expr) => {
        $crate::kernels::packed::amx::tiles::instruction!(
            $crate::kernels::packed::amx::model::load($tile, $at.cast(), $stride),
            std::arch::asm!(
                concat!("tileloadd ", $tile, ", [{at} + {stride}*1]"),
                at = in(reg) $at, stride = in(reg) $stride as usize,
                out($tile) _, options(nostack, preserves_flags, readonly)
            ),
        )
    };
}

/// `store!("tmm0", pointer)` stores a tile's rows to consecutive lines.
macro_rules! store {
    ($tile:tt, $at:expr) => {
        $crate::kernels::packed::amx::tiles::instruction!(
            $crate::kernels::packed::amx::model::store($tile, $at.cast(), 64),
            std::arch::asm!(
                concat!("tilestored [{at} + {stride}*1], ", $tile),
                at = in(reg) $at, stride = in(reg) 64_usize,
                options(nostack, preserves_flags)
            ),
        )
    };
}

/// `zero!("tmm0")` zeroes a tile.
macro_rules! zero {
    ($tile:tt) => {
        $crate::kernels::packed::amx::tiles::instruction!(
            $crate::kernels::packed::amx::model::zero($tile),
            std::arch::asm!(
                concat!("tilezero ", $tile),
                out($tile) _, options(nostack, preserves_flags, nomem)
            ),
        )
    };
}

/// `dot!("tdpbssd", sums, activations, weights)` adds the products of signed activations with signed (`tdpbssd`) or
/// unsigned (`tdpbsud`) weights.
macro_rules! dot {
    ($kind:tt, $sums:tt, $x:tt, $w:tt) => {
        $crate::kernels::packed::amx::tiles::instruction!(
            $crate::kernels::packed::amx::model::dot($kind, $sums, $x, $w),
            std::arch::asm!(
                concat!($kind, " ", $sums, ", ", $x, ", ", $w),
                out($sums) _, options(nostack, preserves_flags, nomem)
            ),
        )
    };
}

/// `product!(sums, activations: pointer, stride, weights: pointer, destination)` loads two tiles of signed bytes,
/// multiplies them and stores the sums to consecutive lines.
macro_rules! product {
    ($sums:tt, $x:tt: $x_at:expr, $stride:expr, $w:tt: $w_at:expr, $to:expr) => {
        $crate::kernels::packed::amx::tiles::instruction!(
            {
                use $crate::kernels::packed::amx::model;
                model::load($x, $x_at.cast(), $stride);
                model::load($w, $w_at.cast(), 64);
                model::zero($sums);
                model::dot("tdpbssd", $sums, $x, $w);
                model::store($sums, $to.cast(), 64);
            },
            std::arch::asm!(
                concat!("tileloadd ", $x, ", [{x} + {stride}*1]"),
                concat!("tileloadd ", $w, ", [{w} + {line}*1]"),
                concat!("tilezero ", $sums),
                concat!("tdpbssd ", $sums, ", ", $x, ", ", $w),
                concat!("tilestored [{to} + {line}*1], ", $sums),
                x = in(reg) $x_at, stride = in(reg) $stride as usize,
                w = in(reg) $w_at, to = in(reg) $to, line = in(reg) 64_usize,
                out($sums) _, out($x) _, out($w) _, options(nostack, preserves_flags)
            ),
        )
    };
}

pub(super) use {dot, instruction, load, product, store, zero};
