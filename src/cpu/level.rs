//! The CPU's instruction set, chosen once at start.

use std::sync::OnceLock;

use super::fused;
use crate::system::environment::{self, MIST_CPU};

/// A kernel set. All of them give the same results bit for bit, for any number of rows and threads: sums have one order,
/// multiply-adds are fused (see the module `fused` for processors that have none), and there is one exponential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Plain Rust; what the compiler makes of it. The oracle of the others.
    Portable,
    /// aarch64 with `sdot` for products in integers. All others are the portable ones, which the compiler makes NEON of.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// That, with AVX-VNNI for products in integers.
    AvxVnni,
    /// AVX2, FMA and F16C, with AVX512-VNNI for products in integers.
    Avx512,
    /// That, with AMX for products in integers of many rows of activations.
    Amx,
}

impl Level {
    /// The name that `MIST_CPU` takes and `mist devices` shows.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
            Level::Avx2 => "avx2",
            Level::AvxVnni => "avxvnni",
            Level::Avx512 => "avx512",
            Level::Amx => "amx",
        }
    }

    /// All sets of the architecture, each better than those before it.
    #[cfg(not(target_arch = "aarch64"))]
    const ALL: [Self; 5] = [Level::Portable, Level::Avx2, Level::AvxVnni, Level::Avx512, Level::Amx];
    #[cfg(target_arch = "aarch64")]
    const ALL: [Self; 2] = [Level::Portable, Level::Neon];

    /// The sets that this processor runs.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|level| level.runs())
    }

    /// The best set that this processor runs.
    pub fn detect() -> Self {
        Self::ALL.into_iter().rfind(|level| level.runs()).unwrap_or(Level::Portable)
    }

    /// Whether this processor runs it. Only for AMX the system is asked, too.
    fn runs(self) -> bool {
        match self {
            Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => Level::Avx2.runs() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                Level::Avx2.runs()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Level::Amx => Level::Avx512.runs() && amx(),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::AvxVnni | Level::Avx512 | Level::Amx => false,
        }
    }
}

/// Whether tiles of 8-bit integers can be multiplied: the processor must have them, the system must keep them when it switches
/// threads, and, on Linux, let this process use them, for which it is asked once.
#[cfg(target_arch = "x86_64")]
fn amx() -> bool {
    #[cfg(target_os = "linux")]
    {
        static ALLOWED: OnceLock<bool> = OnceLock::new();
        *ALLOWED.get_or_init(|| has_tiles() && may_use_tiles())
    }
    #[cfg(not(target_os = "linux"))]
    false
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid_count, _xgetbv};
    const TILES: u32 = 3 << 24;
    // Two parts of a thread's state: the tiles' shapes and what is in them.
    const STATE: u64 = 3 << 17;
    #[target_feature(enable = "xsave")]
    fn state() -> u64 {
        // SAFETY: the caller found the instruction.
        #[allow(unsafe_code)]
        unsafe {
            _xgetbv(0)
        }
    }
    // Processors with AVX2 have leaf 7.
    if __cpuid_count(7, 0).edx & TILES != TILES || !is_x86_feature_detected!("xsave") {
        return false;
    }
    // SAFETY: the instruction exists and is enabled.
    #[allow(unsafe_code)]
    let state = unsafe { state() };
    state & STATE == STATE
}

/// Asks the system for the tiles' state, 8 KiB a thread, which it keeps only for processes that ask. It refuses where a
/// thread's stack for signals is too small for it.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn may_use_tiles() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const TILES: usize = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: the call reads and writes no memory of the process; the instruction overwrites rcx and r11.
    #[allow(unsafe_code)]
    unsafe {
        std::arch::asm!(
            "syscall",
            inout("rax") result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILES,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    result == 0
}

static LEVEL: OnceLock<Level> = OnceLock::new();

/// The kernel set in use.
pub fn level() -> Level {
    #[cfg(test)]
    if let Some(level) = tests::FORCED.get() {
        return level;
    }
    *LEVEL.get_or_init(|| asked().unwrap_or_else(|_| Level::detect()))
}

/// The kernel set that `MIST_CPU` names, else the best: checked before the first kernel runs, which takes the best where the
/// variable is wrong.
///
/// # Errors
/// The variable names a set that does not exist or that this processor cannot run; the message lists what can be.
pub fn choose_from_environment() -> Result<Level, String> {
    let asked = asked()?;
    Ok(*LEVEL.get_or_init(|| asked))
}

fn asked() -> Result<Level, String> {
    match environment::value(MIST_CPU) {
        None => Ok(Level::detect()),
        // The system is asked for nothing that another set needs.
        Some(asked) => Level::ALL.into_iter().find(|l| l.name() == asked && l.runs()).ok_or_else(|| {
            let names = Level::available().map(Level::name).collect::<Vec<_>>().join(", ");
            format!("{MIST_CPU}={asked}: this processor runs {names}")
        }),
    }
}

/// Declares a kernel from one body that is generic over `FUSED` (whether the processor fuses multiply-adds): compiled once
/// as it is, once for AVX2, and chosen by [`level`]. The body must be `#[inline(always)]`, so that it takes on
/// the features of the function around it.
macro_rules! kernel {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident $(<$generic:ty>)?) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c")]
                fn avx2($($arg: $ty),*) {
                    $body::<true $(, $generic)?>($($arg),*)
                }
                if $crate::cpu::level::level() >= $crate::cpu::level::Level::Avx2 {
                    // SAFETY: the level is Avx2 or above only where the processor was found to have all three features.
                    #[allow(unsafe_code)]
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body::<{ $crate::cpu::level::FUSED } $(, $generic)?>($($arg),*)
        }
    };
}
pub(crate) use kernel;

/// Whether every processor of the architecture fuses multiply-adds.
pub(crate) const FUSED: bool = cfg!(target_arch = "aarch64");

/// `a * b + c`, rounded once: by the processor if it can, which the caller knows.
#[inline(always)]
pub(crate) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { fused::multiply_add(a, b, c) }
}

/// Lanes of every reduction: sums run over sixteen interleaved partial sums, whatever the instruction set. One register of
/// AVX512, two of AVX2, which so has two chains of additions to wait for instead of one.
pub(crate) const LANES: usize = 16;

/// The partial sums of a reduction, added in the one fixed order: the upper half to the lower, and so on.
#[inline(always)]
pub(crate) fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let l: [f32; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

/// The dot product of two rows of equal length, in the fixed order: lane `i` sums elements `i`, `i + 16`, …,
/// the lanes are added, then the tail one by one.
#[inline(always)]
pub(crate) fn dot<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a16, a_tail) = a.as_chunks::<LANES>();
    let (b16, b_tail) = b.as_chunks::<LANES>();
    for (a, b) in a16.iter().zip(b16) {
        for i in 0..LANES {
            lanes[i] = multiply_add::<FUSED>(a[i], b[i], lanes[i]);
        }
    }
    let tail = a_tail.iter().zip(b_tail);
    tail.fold(sum_lanes(lanes), |sum, (a, b)| multiply_add::<FUSED>(*a, *b, sum))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::Level;
    use crate::cpu::pool;

    thread_local! {
        pub static FORCED: Cell<Option<Level>> = const { Cell::new(None) };
    }

    /// Does `work` with another kernel set, on one thread: others would not know of it.
    pub fn with_level<R>(level: Level, work: impl FnOnce() -> R) -> R {
        FORCED.set(Some(level));
        let result = pool::with_threads(1, work);
        FORCED.set(None);
        result
    }
}
