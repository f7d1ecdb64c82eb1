//! The CPU's instruction set, chosen once at startup.

use std::sync::OnceLock;

use super::fused;
use crate::system::environment::{self, MIST_CPU};
use crate::system::hinted::Hinted;

/// The instruction set that kernels are compiled for.
///
/// All levels give the same results bit for bit, for any number of rows and threads: sums have one order,
/// multiply-adds are fused (the module `fused` does it for processors without the instruction), and there is one
/// implementation of the exponential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Plain Rust, as the compiler vectorises it. The twin that the other levels are compared with.
    Portable,
    /// aarch64 with `sdot` for integer products. The other kernels are the portable ones, which the compiler
    /// vectorises with NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// AVX2, FMA and F16C, with AVX-VNNI for integer products.
    AvxVnni,
    /// AVX2, FMA and F16C, with AVX512-VNNI for integer products.
    Avx512,
    /// Like `Avx512`, with AMX for integer products of many rows of activations.
    Amx,
}

impl Level {
    /// Returns the name that `MIST_CPU` takes and `mist devices` shows.
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

    /// All levels of the architecture, from slowest to fastest.
    #[cfg(not(target_arch = "aarch64"))]
    const ALL: [Self; 5] = [Level::Portable, Level::Avx2, Level::AvxVnni, Level::Avx512, Level::Amx];
    #[cfg(target_arch = "aarch64")]
    const ALL: [Self; 2] = [Level::Portable, Level::Neon];

    /// Returns the levels that this processor supports.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|level| level.runs())
    }

    /// Returns the fastest level that this processor supports.
    pub fn detect() -> Self {
        Self::ALL.into_iter().rfind(|level| level.runs()).unwrap_or(Level::Portable)
    }

    /// Returns whether this processor supports the level. AMX also requires permission from the system.
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

/// Returns whether tiles of 8-bit integers can be multiplied. The processor must have AMX, and the system must save
/// the tiles at a context switch. Linux must also let this process use them; the first call requests it.
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
    // Two components of a thread's state: the configuration of the tiles and their data.
    const STATE: u64 = 3 << 17;
    #[target_feature(enable = "xsave")]
    fn state() -> u64 {
        // SAFETY: the caller checked that the instruction exists.
        #[allow(unsafe_code)]
        unsafe {
            _xgetbv(0)
        }
    }
    // Every processor with AVX2 has CPUID leaf 7.
    if __cpuid_count(7, 0).edx & TILES != TILES || !is_x86_feature_detected!("xsave") {
        return false;
    }
    // SAFETY: the instruction exists and is enabled.
    #[allow(unsafe_code)]
    let state = unsafe { state() };
    state & STATE == STATE
}

/// Requests the tiles' state from the system, which saves its 8 KiB per thread only for processes that request it.
/// The system refuses if a thread's signal stack is too small for it.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn may_use_tiles() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const TILES: usize = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: the call accesses no memory of the process; the instruction overwrites rcx and r11.
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

/// Returns the level in use.
pub fn level() -> Level {
    #[cfg(test)]
    if let Some(level) = tests::FORCED.get() {
        return level;
    }
    *LEVEL.get_or_init(|| asked().unwrap_or_else(|_| Level::detect()))
}

/// Selects the level that `MIST_CPU` names, or the fastest one without the variable. Call it before the first
/// kernel runs: with a wrong value, [`level`] takes the fastest.
///
/// # Errors
/// The variable names a level that does not exist or that this processor does not support.
pub fn choose_from_environment() -> Result<Level, UnknownLevel> {
    let asked = asked()?;
    Ok(*LEVEL.get_or_init(|| asked))
}

fn asked() -> Result<Level, UnknownLevel> {
    match environment::value(MIST_CPU) {
        None => Ok(Level::detect()),
        // Only the named level is checked, so AMX is not requested from the system for another level.
        Some(asked) => {
            let level = Level::ALL.into_iter().find(|level| level.name() == asked && level.runs());
            level.ok_or(UnknownLevel { asked })
        }
    }
}

/// The error for a value of `MIST_CPU` that is not a level of this processor. The message lists those that it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MIST_CPU}={asked}: this processor runs {}", Level::available().map(Level::name).collect::<Vec<_>>().join(", "))]
pub struct UnknownLevel {
    asked: String,
}

impl Hinted for UnknownLevel {
    fn hint(&self) -> Option<String> {
        Some(format!("unset {MIST_CPU} to use the fastest of them"))
    }
}

/// Declares a kernel from one body that is generic over `FUSED`: whether the processor fuses multiply-adds.
///
/// The body is compiled once without features and once for AVX2; [`level`] selects one. The body must be
/// `#[inline(always)]`, so that it is compiled with the features of the enclosing function.
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
                    // SAFETY: levels from `Avx2` on exist only where all three features were detected.
                    #[allow(unsafe_code)]
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body::<{ $crate::cpu::level::FUSED } $(, $generic)?>($($arg),*)
        }
    };
}
pub(crate) use kernel;

/// Whether every processor of the architecture has fused multiply-adds.
pub(crate) const FUSED: bool = cfg!(target_arch = "aarch64");

/// Returns `a * b + c`, rounded once. `FUSED` is true if the processor has the instruction.
#[inline(always)]
pub(crate) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { fused::multiply_add(a, b, c) }
}

/// Number of partial sums of every reduction, on every instruction set. They fill one AVX512 register or two AVX2
/// registers, which gives AVX2 two independent chains of additions.
pub(crate) const LANES: usize = 16;

/// Adds the partial sums of a reduction in a fixed order: the upper half to the lower half, and so on.
#[inline(always)]
pub(crate) fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let l: [f32; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

/// Returns the dot product of two rows of equal length, summed in a fixed order: lane `i` sums elements `i`,
/// `i + 16`, …, then the lanes are added, then the remaining elements one by one.
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

    /// Runs `work` with another level, on one thread: the setting is thread-local.
    pub fn with_level<R>(level: Level, work: impl FnOnce() -> R) -> R {
        FORCED.set(Some(level));
        let result = pool::with_threads(1, work);
        FORCED.set(None);
        result
    }
}
