//! Tile registers and their instructions.
//!
//! The compiler knows the registers' names, but puts nothing there: what one instruction leaves in a tile is there for the
//! next. All need a processor and a system with AMX ([`Level::Amx`](crate::kernels::cpu::Level::Amx)).

/// Rows and bytes a row of the eight tiles, as `ldtilecfg` reads them.
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

/// All tiles whole.
static WHOLE: Shapes = Shapes::new([(16, 64); 8]);

/// Sums (0 to 3), rows of 32 activations (4 and 5), eight lines of weights (6 and 7).
static HALVES: Shapes =
    Shapes::new([(16, 64), (16, 64), (16, 64), (16, 64), (16, 32), (16, 32), (8, 64), (8, 64)]);

/// Tiles that are set up for this thread, until it is dropped.
pub struct Tiles(());

impl Tiles {
    /// All of 16 rows of 64 bytes.
    ///
    /// # Safety
    /// The processor has AMX, and the system lets this process use it.
    #[allow(unsafe_code)]
    pub unsafe fn whole() -> Self {
        // SAFETY: by the caller's promise.
        unsafe { Self::new(&WHOLE) }
    }

    /// For 32 columns: see [`HALVES`].
    ///
    /// # Safety
    /// The processor has AMX, and the system lets this process use it.
    #[allow(unsafe_code)]
    pub unsafe fn halves() -> Self {
        // SAFETY: by the caller's promise.
        unsafe { Self::new(&HALVES) }
    }

    #[allow(unsafe_code)]
    unsafe fn new(shapes: &'static Shapes) -> Self {
        // SAFETY: by the caller's promise; the shapes are 64 bytes of a valid configuration.
        unsafe { std::arch::asm!("ldtilecfg [{}]", in(reg) shapes, options(nostack, preserves_flags)) };
        Self(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: tiles were set up, so the instruction exists; nothing in them is used any more.
        #[allow(unsafe_code)]
        unsafe {
            std::arch::asm!("tilerelease", options(nostack, preserves_flags));
        }
    }
}

/// `load!("tmm4", pointer, stride)`: the tile's rows, each `stride` bytes after the one before.
macro_rules! load {
    ($tile:tt, $at:expr, $stride:expr) => {
        std::arch::asm!(
            concat!("tileloadd ", $tile, ", [{at} + {stride}*1]"),
            at = in(reg) $at, stride = in(reg) $stride as usize,
            out($tile) _, options(nostack, preserves_flags, readonly)
        )
    };
}

/// `store!("tmm0", pointer)`: the tile's rows to as many lines.
macro_rules! store {
    ($tile:tt, $at:expr) => {
        std::arch::asm!(
            concat!("tilestored [{at} + {stride}*1], ", $tile),
            at = in(reg) $at, stride = in(reg) 64_usize,
            options(nostack, preserves_flags)
        )
    };
}

macro_rules! zero {
    ($tile:tt) => {
        std::arch::asm!(
            concat!("tilezero ", $tile),
            out($tile) _, options(nostack, preserves_flags, nomem)
        )
    };
}

/// `dot!("tdpbssd", sums, activations, weights)`: adds the products of signed activations with weights that are signed
/// (`tdpbssd`) or not (`tdpbsud`).
macro_rules! dot {
    ($kind:tt, $sums:tt, $x:tt, $w:tt) => {
        std::arch::asm!(
            concat!($kind, " ", $sums, ", ", $x, ", ", $w),
            out($sums) _, options(nostack, preserves_flags, nomem)
        )
    };
}

pub(super) use {dot, load, store, zero};
