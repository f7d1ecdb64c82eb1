//! Loads a panel's interleaved block into registers and unpacks it.

use super::super::rounding::STEPS;
use super::super::tile::last_plane;
use super::lanes::{Lanes, PIECE};
use crate::cpu::prefetch::ahead;
use crate::quant::ROWS;

/// Returns the bytes of a block of 32 weights with `bits` bits each.
pub const fn block32_bytes(bits: u32, minimum: bool) -> usize {
    let qh = if bits == 5 { 4 } else { 0 };
    let words = if bits == 8 { 32 } else { 16 };
    2 + if minimum { 2 } else { 0 } + qh + words
}

/// Offsets of the fields in a k-quant's block, in bytes of one row.
pub struct KFields {
    /// The f16 scale, followed by the f16 minimum if there is one.
    pub scale: usize,
    /// The scales and minima of the groups.
    pub groups: usize,
    /// The high bits.
    pub qh: usize,
    /// The low 4 bits.
    pub low: usize,
    /// Bytes of a block.
    pub bytes: usize,
}

impl KFields {
    /// Returns the fields of the k-quant with `bits` bits per weight.
    pub const fn new(bits: u32) -> Self {
        match bits {
            4 => Self { scale: 0, groups: 4, qh: 16, low: 16, bytes: 144 },
            5 => Self { scale: 0, groups: 4, qh: 16, low: 48, bytes: 176 },
            _ => Self { low: 0, qh: 128, groups: 192, scale: 208, bytes: 210 },
        }
    }
}

/// Returns the number of blocks in each panel, where a block has `bytes` bytes per row.
#[inline(always)]
pub fn blocks(panels: &[&[u8]], bytes: usize) -> usize {
    panels.first().map_or(0, |panel| panel.len() / (bytes * ROWS))
}

/// Returns the b-th block of a panel.
#[inline(always)]
pub fn block_of(panel: &[u8], b: usize, bytes: usize) -> &[u8] {
    &panel[b * bytes * ROWS..][..bytes * ROWS]
}

/// Returns the piece at offset `at` of each row: four bytes per row.
#[inline(always)]
pub fn piece(block: &[u8], at: usize) -> &[u8; PIECE] {
    &block[at * ROWS..].as_chunks().0[0]
}

/// Loads a part of the piece at offset `at` and prefetches the line a fixed distance after it. Only the first load
/// of a piece should use this.
#[inline(always)]
pub fn load<S: Lanes>(block: &[u8], at: usize, part: usize) -> S::Ints {
    let piece = piece(block, at);
    if part + 1 == S::PARTS {
        ahead(piece);
    }
    S::load(piece, part)
}

/// Loads the f16 numbers at offset `at` of each row, converted to f32.
#[inline(always)]
pub fn numbers<S: Lanes>(block: &[u8], at: usize, part: usize) -> S::Floats {
    S::load_f16(&block[at * ROWS..].as_chunks().0[0], part)
}

/// Returns the low (0) or high (1) 4 bits of each byte.
#[inline(always)]
pub fn nibble<S: Lanes>(x: S::Ints, which: usize) -> S::Ints {
    S::and(S::shift_bits(x, 4 * which, 0), S::splat(0x0f0f_0f0f))
}

/// Returns the high 4 bits of each byte without shifting them.
#[inline(always)]
pub fn high_nibble<S: Lanes>(x: S::Ints) -> S::Ints {
    S::and(x, S::splat(0xf0f0_f0f0_u32 as i32))
}

/// Unpacks the weights of a block of 32, four columns per register. Weights of 4 and 5 bits are unsigned.
///
/// With IN_PLACE, the last four registers of 4-bit weights are 16 times too large, which saves a shift for each.
#[inline(always)]
pub fn weights32<S: Lanes, const BITS: u32, const MINIMUM: bool, const IN_PLACE: bool>(
    block: &[u8],
    part: usize,
) -> [S::Ints; 8] {
    let qh = if MINIMUM { 4 } else { 2 };
    let words = if BITS == 5 { qh + 4 } else { qh };
    let mut w = [S::zero(); 8];
    if BITS == 8 {
        for (s, w) in w.iter_mut().enumerate() {
            *w = load::<S>(block, words + 4 * s, part);
        }
        return w;
    }
    for s in 0..4 {
        let packed = load::<S>(block, words + 4 * s, part);
        w[s] = nibble::<S>(packed, 0);
        w[4 + s] = if IN_PLACE { high_nibble::<S>(packed) } else { nibble::<S>(packed, 1) };
    }
    if BITS == 5 {
        let qh = load::<S>(block, qh, part);
        for (s, w) in w.iter_mut().enumerate() {
            *w = S::add_qh(*w, qh, s);
        }
    }
    w
}

/// The scales and minima of a k-quant's groups: each lane of a register has one byte for each of four groups.
#[derive(Clone, Copy)]
pub struct Groups<S: Lanes> {
    scales: [S::Ints; 4],
    minima: [S::Ints; 2],
}

impl<S: Lanes> Groups<S> {
    /// Unpacks the numbers of the groups.
    ///
    /// With 4 and 5 bits, these are the 6-bit scales and minima of eight groups, from 12 bytes of each row. ggml
    /// packs them as three words of four bytes. Groups 0 to 3 have the low 6 bits of the first word (scales) and of
    /// the second word (minima). Groups 4 to 7 have their low 4 bits in the third word, and their upper 2 bits at
    /// the top of the first and second.
    ///
    /// With 6 bits, these are the signed scales of sixteen groups.
    #[inline(always)]
    pub fn new<const BITS: u32>(block: &[u8], part: usize) -> Self {
        let at = const { KFields::new(BITS).groups };
        let mut words = [S::zero(); 4];
        for (i, word) in words.iter_mut().enumerate().take(if BITS == 6 { 4 } else { 3 }) {
            *word = load::<S>(block, at + 4 * i, part);
        }
        if BITS == 6 {
            return Self { scales: words, minima: [S::zero(); 2] };
        }
        let [a, b, c, zero] = words;
        let (six, top) = (S::splat(0x3f3f_3f3f), S::splat(0x3030_3030));
        let scales = S::or(nibble::<S>(c, 0), S::and(S::shift_bits(a, 2, 0), top));
        let minima = S::or(nibble::<S>(c, 1), S::and(S::shift_bits(b, 2, 0), top));
        Self { scales: [S::and(a, six), scales, zero, zero], minima: [S::and(b, six), minima] }
    }

    /// Returns the scale of group j as [`add_group`] takes it: in the lower 16 bits of each lane with VNNI, in both
    /// halves without.
    #[inline(always)]
    pub fn scale(&self, j: usize) -> S::Ints {
        widen::<S>(self.scales[j / 4], j % 4, if S::VNNI { ZEROED } else { j % 4 })
    }

    /// Returns the numbers of groups 2p and 2p + 1 that are multiplied by sums of activations, as two 16-bit
    /// numbers. They are minima, or scales for 6 bits.
    #[inline(always)]
    pub fn pair<const BITS: u32>(&self, p: usize) -> S::Ints {
        let four = if BITS == 6 { self.scales[p / 2] } else { self.minima[p / 2] };
        widen::<S>(four, p % 2 * 2, p % 2 * 2 + 1)
    }
}

/// A byte index for which the shuffle returns zero.
const ZEROED: usize = 0x80;

/// Widens two of each lane's bytes, signed, to 16 bits.
#[inline(always)]
fn widen<S: Lanes>(x: S::Ints, first: usize, second: usize) -> S::Ints {
    let lane = S::repeat([0, 0x0400_0400, 0x0800_0800, 0x0c00_0c00]);
    // Move each byte to the top of 16 bits; the shift discards the byte below it.
    S::upper_bytes(S::shuffle(x, S::or(lane, S::splat((first << 8 | second << 24) as i32))))
}

/// Returns the groups of 32 columns that share the `PAIR`-th 32 bytes. They are adjacent, or 64 columns apart for 6
/// bits.
#[inline(always)]
pub const fn group<const BITS: u32, const PAIR: usize>(which: usize) -> usize {
    match BITS {
        6 => PAIR / 2 * 4 + PAIR % 2 + 2 * which,
        _ => 2 * PAIR + which,
    }
}

/// Unpacks the weights of both groups of a pair from the `s`-th piece of their bytes: columns 4s to 4s + 3 of each.
/// With IN_PLACE, those of the second group are 16 times too large.
#[inline(always)]
pub fn weights_of_pair<S: Lanes, const BITS: u32, const PAIR: usize, const IN_PLACE: bool>(
    block: &[u8],
    s: usize,
    part: usize,
) -> [S::Ints; 2] {
    let fields = const { KFields::new(BITS) };
    let packed = load::<S>(block, fields.low + 32 * PAIR + 4 * s, part);
    let mut w = [nibble::<S>(packed, 0), packed];
    w[1] = if IN_PLACE { high_nibble::<S>(packed) } else { nibble::<S>(packed, 1) };
    if BITS > 4 {
        // Loaded where they are needed: loading all of them at the start of a block made a burst that took a tenth
        // longer.
        let (at, is_first, mask) = match BITS {
            5 => (fields.qh + 4 * s, PAIR == 0, 0x1010_1010),
            _ => (fields.qh + PAIR / 2 * 32 + 4 * s, PAIR.is_multiple_of(2), 0x3030_3030),
        };
        let qh = if is_first { load::<S>(block, at, part) } else { S::load(piece(block, at), part) };
        for (which, w) in w.iter_mut().enumerate() {
            let group = group::<BITS, PAIR>(which);
            let bit = if BITS == 5 { group } else { group % 4 * 2 };
            *w = S::or(*w, S::and(S::shift_bits(qh, bit, 4), S::splat(mask)));
        }
    }
    w
}

/// Returns how many pieces of a k-quant's products [`Lanes::dot`] adds up before they are multiplied by their
/// group's scale.
///
/// Without VNNI, the limit is what fits pairs of 16 bits: 32 columns of 4 bits (8 · 2 · 15 · 127), 16 of 5 bits, 8
/// of 6 bits.
///
/// With VNNI, a sum that fits 16 bits is multiplied by the scale and added in one operation (`vpdpwssd`); a sum of
/// 32 bits takes three. 16 columns of 4 bits fit: 16 · 15 · 127 = 30480. So do 8 columns of 6 bits if they are made
/// signed first: 8 · 32 · 127. 8 columns of 5 bits would fit too, but the additional operations cancel the saving,
/// so the sum is 32 columns.
pub const fn pieces_of_sum(bits: u32, vnni: bool) -> usize {
    match (bits, vnni) {
        (4, true) | (5, false) => 4,
        (4, false) | (5, true) => 8,
        _ => 2,
    }
}

/// Adds a sum of products within a group, times the group's scale. See [`pieces_of_sum`].
#[inline(always)]
pub fn add_group<S: Lanes, const BITS: u32>(total: S::Ints, sum: S::Ints, scale: S::Ints) -> S::Ints {
    if BITS == 5 && S::VNNI { S::mul_add(total, sum, scale) } else { S::dot_pairs(total, sum, scale) }
}

/// Returns the sum of products of the groups' numbers with sums of activations, both packed as pairs of 16 bits.
#[inline(always)]
pub fn times_sums<S: Lanes, const N: usize>(pairs: &[S::Ints; N], sums: &[i32; N]) -> S::Ints {
    let mut total = S::zero();
    for (pair, sums) in pairs.iter().zip(sums) {
        total = S::dot_pairs(total, *pair, S::splat(*sums));
    }
    total
}

/// Broadcasts the `piece`-th four activations to every lane.
#[inline(always)]
pub fn broadcast4<S: Lanes, const B: usize>(x: &[i8; B], piece: usize) -> S::Ints {
    let four: [i8; 4] = x.as_chunks().0[piece];
    S::splat(i32::from_le_bytes([four[0] as u8, four[1] as u8, four[2] as u8, four[3] as u8]))
}

/// Converts the integer sums of a row's planes to f32; those of two planes are combined.
#[inline(always)]
pub fn combine_planes<S: Lanes, const P: usize>(planes: &[S::Ints; P]) -> S::Floats {
    let (first, last) = (S::floats(planes[0]), S::floats(planes[P - 1]));
    if P == 1 { last } else { S::fma(S::splat_f32(STEPS as f32), first, last) }
}

/// Adds a block's term to the sums of row r of activations, in the order that [`packed`](super::super) defines.
///
/// `products` has the planes already combined. `minima` holds the combined sums of activations and the scale of the
/// minima; their product is subtracted.
#[inline(always)]
pub fn add<S: Lanes, const P: usize>(
    sums: &mut [f32; ROWS],
    part: usize,
    products: S::Floats,
    scales: S::Floats,
    minima: Option<[S::Floats; 2]>,
    (of_x, r): (&[f32], usize),
) {
    let mut term = S::mul_f32(products, scales);
    if let Some([sums_of_x, minima]) = minima {
        term = S::fnma(sums_of_x, minima, term);
    }
    let sum = S::fma(term, S::splat_f32(last_plane::<P>(of_x, r)), S::load_f32(sums, part));
    S::store_f32(sums, part, sum);
}
