//! What this machine multiplies at most, in registers: what products are compared with. (How fast it reads memory is
//! `placement::read_rate`.)

use std::fmt;
use std::time::Instant;

use mist::cpu::{self, Level, pool};

/// Billions of operations a second of all threads; a multiplication and an addition are two. `None` where there is no
/// instruction for it here.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// Fused multiply-adds in f32.
    pub floats: Option<f64>,
    /// Products of 8-bit integers.
    pub integers: Option<f64>,
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |peak: Option<f64>| peak.map_or("unknown".into(), |peak| format!("{peak:.0}"));
        let (integers, floats) = (rate(self.integers), rate(self.floats));
        write!(f, "peak GFLOP/s: {integers} of 8-bit integers, {floats} in f32")
    }
}

/// How often a group of instructions is repeated by a task: some milliseconds of the slowest.
const ROUNDS: u64 = 1 << 17;

/// Instructions of a group: enough that none waits for the one that wrote its register.
const GROUP: u64 = 12;

/// The best of 7 measurements of the instructions of the kernels in use; for the portable ones, whose instructions the
/// compiler chooses, of the best that the processor has.
pub fn peak() -> Peak {
    let level = if cpu::level() == Level::Portable { Level::detect() } else { cpu::level() };
    Peak {
        floats: instructions::floats(level).map(measure),
        integers: instructions::integers(level).map(measure),
    }
}

/// Operations of an instruction, and the function that runs so many groups of it.
type Instruction = (u64, fn(u64));

fn measure((operations, run): Instruction) -> f64 {
    let tasks = 4 * pool::threads();
    let billions = (operations * GROUP * ROUNDS * tasks as u64) as f64 / 1e9;
    let rate = |_| {
        let start = Instant::now();
        pool::run(tasks, |_| run(ROUNDS));
        billions / start.elapsed().as_secs_f64()
    };
    (0..7).map(rate).fold(0.0, f64::max)
}

/// `loop_of!("vfmadd231ps zmm", ", zmm12, zmm13", …)`: a function that repeats the instruction with twelve targets in turn,
/// after what has to be done before (registers of zeros, so that no value is slow) and before what has to be done after.
macro_rules! loop_of {
    ($name:ident, $abi:literal, $rounds:tt, $shapes:tt, $before:literal, $head:literal, $tail:literal, [$($target:literal)*], $next:literal, $after:literal) => {
        #[allow(unsafe_code)]
        fn $name(rounds: u64) {
            // SAFETY: the caller found the instructions; they touch registers that are declared as overwritten, and read
            // the shapes of tiles.
            unsafe {
                std::arch::asm!(
                    $before,
                    "2:",
                    $(concat!($head, $target, $tail),)*
                    $next,
                    $after,
                    inout($rounds) rounds => _,
                    in($shapes) &raw const SHAPES,
                    clobber_abi($abi),
                );
            }
        }
    };
}

/// Eight tiles of 16 rows of 64 bytes, as `ldtilecfg` reads them.
#[expect(dead_code, reason = "the processor reads it")]
#[repr(align(64))]
struct Shapes([u8; 64]);

static SHAPES: Shapes = {
    let mut shapes = [0; 64];
    shapes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        shapes[16 + 2 * tile] = 64;
        shapes[48 + tile] = 16;
        tile += 1;
    }
    Shapes(shapes)
};

#[cfg(target_arch = "x86_64")]
mod instructions {
    use super::{Instruction, Level, SHAPES};

    pub fn floats(level: Level) -> Option<Instruction> {
        match level {
            Level::Portable => None,
            Level::Avx2 | Level::AvxVnni => Some((16, floats_256)),
            Level::Avx512 | Level::Amx => Some((32, floats_512)),
        }
    }

    pub fn integers(level: Level) -> Option<Instruction> {
        match level {
            Level::Portable => None,
            Level::Avx2 => Some((64, integers_256)),
            Level::AvxVnni => Some((64, vnni_256)),
            Level::Avx512 => Some((128, integers_512)),
            Level::Amx => Some((32 << 10, tiles)),
        }
    }

    loop_of!(
        floats_256, "sysv64", "rcx", "rax", "vzeroall", "vfmadd231ps ymm", ", ymm12, ymm13",
        ["0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "10" "11"], "dec rcx", "jnz 2b"
    );
    loop_of!(
        floats_512, "sysv64", "rcx", "rax", "vzeroall", "vfmadd231ps zmm", ", zmm12, zmm13",
        ["0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "10" "11"], "dec rcx", "jnz 2b\nvzeroupper"
    );
    loop_of!(
        integers_256, "sysv64", "rcx", "rax", "vzeroall", "vpmaddubsw ymm", ", ymm12, ymm13",
        ["0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "10" "11"], "dec rcx", "jnz 2b\nvzeroupper"
    );
    loop_of!(
        vnni_256, "sysv64", "rcx", "rax", "vzeroall", "{{vex}} vpdpbusd ymm", ", ymm12, ymm13",
        ["0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "10" "11"], "dec rcx", "jnz 2b\nvzeroupper"
    );
    loop_of!(
        integers_512, "sysv64", "rcx", "rax", "vzeroall", "vpdpbusd zmm", ", zmm12, zmm13",
        ["0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "10" "11"], "dec rcx", "jnz 2b\nvzeroupper"
    );
    // Setting up makes all tiles zero.
    loop_of!(
        tiles, "sysv64", "rcx", "rax", "ldtilecfg [rax]", "tdpbssd tmm", ", tmm6, tmm7",
        ["0" "1" "2" "3" "4" "5" "0" "1" "2" "3" "4" "5"], "dec rcx", "jnz 2b\ntilerelease"
    );
}

#[cfg(target_arch = "aarch64")]
mod instructions {
    use super::{Instruction, Level, SHAPES};

    pub fn floats(_: Level) -> Option<Instruction> {
        Some((8, floats_128))
    }

    pub fn integers(level: Level) -> Option<Instruction> {
        (level == Level::Neon).then_some((32, integers_128))
    }

    loop_of!(
        floats_128, "C", "x9", "x10", "movi v0.4s, #0\nmovi v1.4s, #0", "fmla v", ".4s, v0.4s, v1.4s",
        ["16" "17" "18" "19" "20" "21" "22" "23" "24" "25" "26" "27"], "subs x9, x9, #1", "b.ne 2b"
    );
    loop_of!(
        integers_128, "C", "x9", "x10", ".arch_extension dotprod\nmovi v0.4s, #0\nmovi v1.4s, #0", "sdot v", ".4s, v0.16b, v1.16b",
        ["16" "17" "18" "19" "20" "21" "22" "23" "24" "25" "26" "27"], "subs x9, x9, #1", "b.ne 2b"
    );
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod instructions {
    use super::{Instruction, Level};

    pub fn floats(_: Level) -> Option<Instruction> {
        None
    }

    pub fn integers(_: Level) -> Option<Instruction> {
        None
    }
}
