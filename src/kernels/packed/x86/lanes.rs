//! Registers of 32-bit lanes, so that a kernel is written once for all instruction sets of x86-64.
//!
//! A kernel is a [`Kernel`] whose `run` is `#[inline(always)]`, as every method of [`Lanes`] and every function on the way to
//! one must be; [`Lanes::run`] puts it into a function with the features of a set. No closure may stand on that way: it would
//! be compiled without the features, and each instruction in it would be a call.
//!
//! The sums of integers are exact, so the sets may add them up in different orders and widths. All that is rounded is done
//! lane by lane in the order that [`packed`](super::super) defines: the same bits on every set.

use std::ops::IndexMut;

use super::super::unpacked::Piece;
use crate::quant::ROWS;

/// Bytes of a piece: four of each row of a panel.
pub const PIECE: usize = 4 * ROWS;

/// A computation that is compiled for each instruction set.
pub trait Kernel {
    /// What it writes to.
    type Out: ?Sized;

    /// Computes with the registers of a set. `#[inline(always)]`.
    fn run<S: Lanes>(self, out: &mut Self::Out);
}

/// An instruction set: registers whose 32-bit lanes are rows of a panel, four bytes of each.
///
/// A value of a register's type exists only where the processor has the set.
#[allow(unsafe_code)]
pub trait Lanes: Copy {
    /// A register of integers, in 32-bit lanes where nothing else is said.
    type Ints: Copy;
    /// A register of f32.
    type Floats: Copy;
    /// Something for each register of a piece.
    type Parts<T: Copy>: Copy + IndexMut<usize, Output = T>;

    /// Registers that hold one piece of a panel: 16 rows.
    const PARTS: usize;
    /// Whether products of bytes are added up in 32 bits at once (`vpdpbusd`). Otherwise they are first added in pairs of 16
    /// bits (`vpmaddubsw`).
    const VNNI: bool;
    /// Panels that are best multiplied together.
    const PANELS: usize;
    /// Rows of quants up to which k-quants are multiplied as they are unpacked: as many sums as fit the registers.
    const FEW: usize;
    /// Rows of quants that are multiplied at a time by unpacked k-quants.
    const HEIGHT: usize;

    /// Runs a kernel in a function that has the set's features. What it writes to is an argument by itself: so the compiler
    /// knows that nothing else lies there.
    ///
    /// # Safety
    /// The processor has them.
    unsafe fn run<K: Kernel>(kernel: K, out: &mut K::Out);

    /// The same for each part.
    fn parts<T: Copy>(value: T) -> Self::Parts<T>;
    /// Zeros.
    fn zero() -> Self::Ints;
    /// A number in every lane.
    fn splat(x: i32) -> Self::Ints;
    /// Four numbers, again and again.
    fn repeat(x: [i32; 4]) -> Self::Ints;
    /// One part of a piece.
    fn load(piece: &[u8; PIECE], part: usize) -> Self::Ints;
    /// Stores one part of a piece.
    fn store(piece: &mut Piece, part: usize, x: Self::Ints);

    /// `a & b`.
    fn and(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `a | b`.
    fn or(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `a + b`.
    fn add(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `a - b`.
    fn sub(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `a - b` in 8-bit lanes.
    fn sub_bytes(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `a + b` in 16-bit lanes.
    fn add_pairs(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `total + a · b`, the low 32 bits.
    fn mul_add(total: Self::Ints, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `x << BITS`.
    fn left<const BITS: u32>(x: Self::Ints) -> Self::Ints;
    /// `x >> BITS`, signed.
    fn right<const BITS: u32>(x: Self::Ints) -> Self::Ints;
    /// Moves bit `from` of each 16-bit lane to bit `to`, and the others with it. Both are constants once loops are unrolled.
    fn moved(x: Self::Ints, from: usize, to: usize) -> Self::Ints;
    /// The upper byte of each 16-bit lane, signed, in 16 bits.
    fn upper_bytes(x: Self::Ints) -> Self::Ints;
    /// Bytes of each 128 bits by their places there; 0 where a place's top bit is set.
    fn shuffle(x: Self::Ints, places: Self::Ints) -> Self::Ints;
    /// The same, computed by now: the compiler may not put off what it comes from.
    fn computed(x: Self::Ints) -> Self::Ints;
    /// Adds 16 to the bytes of columns 4s to 4s + 3 whose bit is set in the lane of `qh`.
    fn add_qh(w: Self::Ints, qh: Self::Ints, s: usize) -> Self::Ints;

    /// Adds the products of four bytes each, unsigned by signed: in 32 bits with [`VNNI`](Self::VNNI), otherwise two and two in
    /// 16, which the caller keeps from overflowing.
    fn dot(sums: Self::Ints, w: Self::Ints, x: Self::Ints) -> Self::Ints;
    /// Adds the products of four signed bytes each in 32 bits. With [`VNNI`](Self::VNNI) they are 128 times the sum of `x` too
    /// large.
    fn dot_signed(sums: Self::Ints, w: Self::Ints, x: Self::Ints) -> Self::Ints;
    /// Adds the products of two signed 16-bit numbers each.
    fn dot_pairs(sums: Self::Ints, a: Self::Ints, b: Self::Ints) -> Self::Ints;

    /// The f16 numbers of one part's rows.
    fn load_f16(numbers: &[u8; 2 * ROWS], part: usize) -> Self::Floats;
    /// The f32 numbers of one part's rows.
    fn load_f32(numbers: &[f32; ROWS], part: usize) -> Self::Floats;
    /// Stores the f32 numbers of one part's rows.
    fn store_f32(numbers: &mut [f32; ROWS], part: usize, x: Self::Floats);
    /// A number in every lane.
    fn splat_f32(x: f32) -> Self::Floats;
    /// The same bits as f32.
    fn as_floats(x: Self::Ints) -> Self::Floats;
    /// The same bits as integers.
    fn as_ints(x: Self::Floats) -> Self::Ints;
    /// Integers in f32, rounded.
    fn floats(x: Self::Ints) -> Self::Floats;
    /// `a · b`.
    fn mul_f32(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a · b + c`, rounded once.
    fn fma(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// `c - a · b`, rounded once.
    fn fnma(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
}

/// Does something for each part of a piece, its number a constant: a loop might stay one, and registers that are counted by its
/// variable go through memory.
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

/// Implements [`Lanes`] with the intrinsics that two widths of registers have under two names.
///
/// Safety of all blocks here: a register's value exists only where the processor has the set, and every load and store is of a
/// part of an array that is borrowed for it; they ask for no alignment.
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
        fn moved(x: $ints, from: usize, to: usize) -> $ints {
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
