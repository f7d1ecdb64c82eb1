//! Registers of 32-bit lanes, so that a kernel is written once for all x86-64 instruction sets.
//!
//! A kernel is a [`Kernel`] whose `run` is `#[inline(always)]`, as must be every method of [`Lanes`] and every
//! function between the two. [`Lanes::run`] inlines the kernel into a function with the features of an instruction
//! set. None of these functions may use a closure: it would be compiled without the features, and each intrinsic in
//! it would be a call.
//!
//! Integer sums are exact, so the instruction sets may add them up in different orders and widths. Everything that
//! is rounded is computed lane by lane in the order that [`packed`](super::super) defines, so the bits are the same
//! on every instruction set.

use std::ops::IndexMut;

use super::super::unpacked::Piece;
use crate::quant::ROWS;

/// Bytes of a piece: four for each row of a panel.
pub const PIECE: usize = 4 * ROWS;

/// A computation that is compiled for each instruction set.
pub trait Kernel {
    /// The output of the computation.
    type Out: ?Sized;

    /// Computes with the registers of an instruction set. Implementations must be `#[inline(always)]`.
    fn run<S: Lanes>(self, out: &mut Self::Out);
}

/// An instruction set whose registers have 32-bit lanes. A lane is a row of a panel and holds four bytes of it.
///
/// A value of a register type exists only if the processor has the instruction set.
#[allow(unsafe_code)]
pub trait Lanes: Copy {
    /// A register of integers, in 32-bit lanes unless stated otherwise.
    type Ints: Copy;
    /// A register of f32.
    type Floats: Copy;
    /// One `T` for each register of a piece.
    type Parts<T: Copy>: Copy + IndexMut<usize, Output = T>;

    /// Number of registers that hold one piece of a panel: 16 rows.
    const PARTS: usize;
    /// Whether products of bytes are added directly in 32 bits (`vpdpbusd`). Otherwise they are first added in
    /// pairs of 16 bits (`vpmaddubsw`).
    const VNNI: bool;
    /// Number of panels that are fastest to multiply together.
    const PANELS: usize;
    /// Maximum number of rows of quants for which k-quants are multiplied as they are unpacked. Their sums fit the
    /// registers.
    const FEW: usize;
    /// Number of rows of quants that are multiplied at a time by unpacked k-quants.
    const HEIGHT: usize;

    /// Runs a kernel in a function that has the features of the instruction set. The output is a separate argument,
    /// so that the compiler knows that nothing aliases it.
    ///
    /// # Safety
    /// The processor has these features.
    unsafe fn run<K: Kernel>(kernel: K, out: &mut K::Out);

    /// Repeats a value for each part.
    fn parts<T: Copy>(value: T) -> Self::Parts<T>;
    /// Returns zeros.
    fn zero() -> Self::Ints;
    /// Broadcasts a number to every lane.
    fn splat(x: i32) -> Self::Ints;
    /// Repeats four numbers in every 128 bits.
    fn repeat(x: [i32; 4]) -> Self::Ints;
    /// Loads one part of a piece.
    fn load(piece: &[u8; PIECE], part: usize) -> Self::Ints;
    /// Stores one part of a piece.
    fn store(piece: &mut Piece, part: usize, x: Self::Ints);

    /// Returns `a & b`.
    fn and(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Returns `a | b`.
    fn or(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Returns `a + b`.
    fn add(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Returns `a - b`.
    fn sub(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Returns `a - b` in 8-bit lanes.
    fn sub_bytes(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Returns `a + b` in 16-bit lanes.
    fn add_pairs(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Returns the low 32 bits of `total + a · b`.
    fn mul_add(total: Self::Ints, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Returns `x << BITS`.
    fn left<const BITS: u32>(x: Self::Ints) -> Self::Ints;
    /// Returns `x >> BITS`, signed.
    fn right<const BITS: u32>(x: Self::Ints) -> Self::Ints;
    /// Shifts each 16-bit lane so that bit `from` becomes bit `to`. Both are constants once loops are unrolled.
    fn shift_bits(x: Self::Ints, from: usize, to: usize) -> Self::Ints;
    /// Returns the upper byte of each 16-bit lane, sign-extended to 16 bits.
    fn upper_bytes(x: Self::Ints) -> Self::Ints;
    /// Selects bytes within each 128 bits by the indices in `places`; an index whose top bit is set gives 0.
    fn shuffle(x: Self::Ints, places: Self::Ints) -> Self::Ints;
    /// Returns `x`, and keeps the compiler from deferring its computation.
    fn computed(x: Self::Ints) -> Self::Ints;
    /// Adds 16 to the bytes of columns 4s to 4s + 3 whose bit is set in the lane of `qh`.
    fn add_qh(w: Self::Ints, qh: Self::Ints, s: usize) -> Self::Ints;

    /// Adds the products of four bytes, unsigned by signed. With [`VNNI`](Self::VNNI) they are added in 32 bits,
    /// otherwise as two pairs in 16 bits, which the caller must keep from overflowing.
    fn dot(sums: Self::Ints, w: Self::Ints, x: Self::Ints) -> Self::Ints;
    /// Adds the products of four signed bytes in 32 bits. With [`VNNI`](Self::VNNI) the result is too large by 128
    /// times the sum of `x`.
    fn dot_signed(sums: Self::Ints, w: Self::Ints, x: Self::Ints) -> Self::Ints;
    /// Adds the products of two signed 16-bit numbers in each lane.
    fn dot_pairs(sums: Self::Ints, a: Self::Ints, b: Self::Ints) -> Self::Ints;

    /// Loads the f16 numbers of one part's rows as f32.
    fn load_f16(numbers: &[u8; 2 * ROWS], part: usize) -> Self::Floats;
    /// Loads the f32 numbers of one part's rows.
    fn load_f32(numbers: &[f32; ROWS], part: usize) -> Self::Floats;
    /// Stores the f32 numbers of one part's rows.
    fn store_f32(numbers: &mut [f32; ROWS], part: usize, x: Self::Floats);
    /// Broadcasts a number to every lane.
    fn splat_f32(x: f32) -> Self::Floats;
    /// Reinterprets the bits as f32.
    fn as_floats(x: Self::Ints) -> Self::Floats;
    /// Reinterprets the bits as integers.
    fn as_ints(x: Self::Floats) -> Self::Ints;
    /// Converts integers to f32, rounded.
    fn floats(x: Self::Ints) -> Self::Floats;
    /// Returns `a · b`.
    fn mul_f32(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Returns `a · b + c`, rounded once.
    fn fma(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// Returns `c - a · b`, rounded once.
    fn fnma(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
}

/// Repeats an expression for each part of a piece, with the part's index as a constant. A loop might not be
/// unrolled, and registers indexed by its variable would go through memory.
macro_rules! each_part {
    ($set:ident, $part:ident => $body:expr) => {
        const { assert!($set::PARTS <= 2) };
        {
            let $part = 0;
            $body;
        }
        if $set::PARTS > 1 {
            let $part = 1;
            $body;
        }
    };
}
pub(super) use each_part;

/// Implements [`Lanes`] with intrinsics that exist for two register widths under different names.
///
/// Safety of all blocks in here: a register value exists only if the processor has the instruction set. Every load
/// and store accesses a part of a borrowed array and needs no alignment.
macro_rules! intrinsics {
    (
        $ints:ty, $floats:ty, $lanes:literal,
        zero: $zero:ident, splat: $splat:ident, repeat: $repeat:ident, load: $load:ident, store: $store:ident,
        and: $and:ident, or: $or:ident, add: $add:ident, sub: $sub:ident, sub_bytes: $sub_bytes:ident,
        add_pairs: $add_pairs:ident, mul: $mul:ident, left: $left:ident, right: $right:ident,
        left_pairs: $left_pairs:ident, right_pairs: $right_pairs:ident, upper_bytes: $upper_bytes:ident,
        shuffle: $shuffle:ident, load_f16: $from_f16:ident($load_f16:ident), load_f32: $load_f32:ident,
        store_f32: $store_f32:ident, splat_f32: $splat_f32:ident, as_floats: $as_floats:ident, as_ints: $as_ints:ident,
        floats: $to_floats:ident, mul_f32: $mul_f32:ident, fma: $fma:ident, fnma: $fnma:ident,
    ) => {
        type Ints = $ints;
        type Floats = $floats;
        type Parts<T: Copy> = [T; ROWS / $lanes];

        const PARTS: usize = ROWS / $lanes;

        #[inline(always)]
        fn parts<T: Copy>(value: T) -> [T; ROWS / $lanes] {
            [value; ROWS / $lanes]
        }
        $crate::kernels::packed::x86::lanes::intrinsics! { @each $ints, $floats,
            zero() -> $ints = $zero();
            splat(x: i32) -> $ints = $splat(x);
            repeat(x: [i32; 4]) -> $ints = $repeat(_mm_setr_epi32(x[0], x[1], x[2], x[3]));
            load(piece: &[u8; PIECE], part: usize) -> $ints = $load(piece[4 * $lanes * part..][..4 * $lanes].as_ptr().cast());
            store(piece: &mut Piece, part: usize, x: $ints) -> () =
                $store(piece.0[4 * $lanes * part..][..4 * $lanes].as_mut_ptr().cast(), x);
            and(a: $ints, b: $ints) -> $ints = $and(a, b);
            or(a: $ints, b: $ints) -> $ints = $or(a, b);
            add(a: $ints, b: $ints) -> $ints = $add(a, b);
            sub(a: $ints, b: $ints) -> $ints = $sub(a, b);
            sub_bytes(a: $ints, b: $ints) -> $ints = $sub_bytes(a, b);
            add_pairs(a: $ints, b: $ints) -> $ints = $add_pairs(a, b);
            mul_add(total: $ints, a: $ints, b: $ints) -> $ints = $add(total, $mul(a, b));
            upper_bytes(x: $ints) -> $ints = $upper_bytes::<8>(x);
            shuffle(x: $ints, places: $ints) -> $ints = $shuffle(x, places);
            load_f16(numbers: &[u8; 2 * ROWS], part: usize) -> $floats =
                $from_f16($load_f16(numbers[2 * $lanes * part..][..2 * $lanes].as_ptr().cast()));
            load_f32(numbers: &[f32; ROWS], part: usize) -> $floats = $load_f32(numbers[$lanes * part..][..$lanes].as_ptr());
            store_f32(numbers: &mut [f32; ROWS], part: usize, x: $floats) -> () =
                $store_f32(numbers[$lanes * part..][..$lanes].as_mut_ptr(), x);
            splat_f32(x: f32) -> $floats = $splat_f32(x);
            as_floats(x: $ints) -> $floats = $as_floats(x);
            as_ints(x: $floats) -> $ints = $as_ints(x);
            floats(x: $ints) -> $floats = $to_floats(x);
            mul_f32(a: $floats, b: $floats) -> $floats = $mul_f32(a, b);
            fma(a: $floats, b: $floats, c: $floats) -> $floats = $fma(a, b, c);
            fnma(a: $floats, b: $floats, c: $floats) -> $floats = $fnma(a, b, c);
        }
        #[inline(always)]
        fn left<const BITS: u32>(x: $ints) -> $ints {
            // SAFETY: see the macro.
            unsafe { $left(x, _mm_cvtsi32_si128(BITS as i32)) }
        }
        #[inline(always)]
        fn right<const BITS: u32>(x: $ints) -> $ints {
            // SAFETY: see the macro.
            unsafe { $right(x, _mm_cvtsi32_si128(BITS as i32)) }
        }
        #[inline(always)]
        fn shift_bits(x: $ints, from: usize, to: usize) -> $ints {
            // SAFETY: see the macro.
            unsafe {
                match from < to {
                    true => $left_pairs(x, _mm_cvtsi32_si128((to - from) as i32)),
                    false => $right_pairs(x, _mm_cvtsi32_si128((from - to) as i32)),
                }
            }
        }
    };
    (@each $ints:ty, $floats:ty, $($name:ident($($argument:ident: $type:ty),*) -> $result:ty = $value:expr;)*) => {$(
        #[inline(always)]
        fn $name($($argument: $type),*) -> $result {
            // SAFETY: see the macro.
            unsafe { $value }
        }
    )*};
}
pub(super) use intrinsics;
