//! Measures the machine's peak rate of multiplications in registers, which products are compared with.
//! `bench::read_rate` measures how fast it reads memory.

use std::fmt;
use std::time::Instant;

use mist::cpu::{self, Level, pool};

/// Billions of operations per second on all threads, where a multiplication and an addition count as two. `None` if
/// this machine has no instruction for it.
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

/// Number of times that a task repeats a group of instructions: some milliseconds with the slowest.
const ROUNDS: u64 = 1 << 17;

/// Number of instructions in a group: enough that none waits for the one that wrote its register.
const GROUP: u64 = 12;

/// Returns the best of 7 measurements, with the instructions of the level in use. For the portable level, whose
/// instructions the compiler selects, it measures the processor's best level.
pub fn peak() -> Peak {
    let level = if cpu::level() == Level::Portable { Level::detect() } else { cpu::level() };
    Peak {
        floats: instructions::floats(level).map(measure),
        integers: instructions::integers(level).map(measure),
    }
}

/// Operations per instruction, and the function that runs the given number of groups of it.
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

/// `loop_of!(name, …, "vfmadd231ps zmm", ", zmm12, zmm13", …)` defines a function that repeats an instruction with
/// twelve target registers in turn. `$before` runs first; it sets registers to zero, so that no value is slow.
/// `$after` runs last.
macro_rules! loop_of {
    ($name:ident, $abi:literal, $rounds:tt, $shapes:tt, $before:literal, $head:literal, $tail:literal, [$($target:literal)*], $next:literal, $after:literal) => {
        #[allow(unsafe_code)]
        fn $name(rounds: u64) {
            // SAFETY: the caller detected the instructions. They access registers that are declared as overwritten,
            // and read the shapes of tiles.
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

/// Shapes of eight tiles with 16 rows of 64 bytes, in the format of `ldtilecfg`.
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
    // Configuring the tiles zeroes them.
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
