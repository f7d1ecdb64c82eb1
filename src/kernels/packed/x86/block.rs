//! A block of a panel, its pieces interleaved, in registers.

use super::super::rounding::STEPS;
use super::super::tile::last;
use super::lanes::{Lanes, PIECE};
use crate::cpu::prefetch::ahead;
use crate::quant::ROWS;

/// Bytes of a block of 32 weights of so many bits.
pub const fn block32_bytes(bits: u32, minimum: bool) -> usize {
    let qh = if bits == 5 { 4 } else { 0 };
    let words = if bits == 8 { 32 } else { 16 };
    2 + if minimum { 2 } else { 0 } + qh + words
}

/// Where the fields of a k-quant's block begin, in bytes of one row.
pub struct KFields {
    /// The scale, and the minimum behind it where there is one, in f16.
    pub scale: usize,
    /// The groups' scales and minima.
    pub groups: usize,
    /// The high bits.
    pub qh: usize,
    /// The low 4 bits.
    pub low: usize,
    /// How many bytes a block has.
    pub bytes: usize,
}

impl KFields {
    /// Those of the k-quant of so many bits.
    pub const fn new(bits: u32) -> Self {
        match bits {
            4 => Self { scale: 0, groups: 4, qh: 16, low: 16, bytes: 144 },
            5 => Self { scale: 0, groups: 4, qh: 16, low: 48, bytes: 176 },
            _ => Self { low: 0, qh: 128, groups: 192, scale: 208, bytes: 210 },
        }
    }
}

/// Number of blocks, of `bytes` for a row, that each of some panels has.
#[inline(always)]
pub fn blocks(panels: &[&[u8]], bytes: usize) -> usize {
    panels.first().map_or(0, |panel| panel.len() / (bytes * ROWS))
}

/// The b-th block of a panel.
#[inline(always)]
pub fn block_of(panel: &[u8], b: usize, bytes: usize) -> &[u8] {
    &panel[b * bytes * ROWS..][..bytes * ROWS]
}

/// The piece of four bytes of each row that begins `at` so many bytes of one.
#[inline(always)]
pub fn piece(block: &[u8], at: usize) -> &[u8; PIECE] {
    &block[at * ROWS..].as_chunks().0[0]
}

/// A part of that piece. What lies some way behind it is asked for where it is loaded first.
#[inline(always)]
pub fn load<S: Lanes>(block: &[u8], at: usize, part: usize) -> S::Ints {
    let piece = piece(block, at);
    if part + 1 == S::PARTS {
        ahead(piece);
    }
    S::load(piece, part)
}

/// The f16 numbers that begin `at` so many bytes of a row, in f32.
#[inline(always)]
pub fn numbers<S: Lanes>(block: &[u8], at: usize, part: usize) -> S::Floats {
    S::load_f16(&block[at * ROWS..].as_chunks().0[0], part)
}

/// The low (0) or high (1) 4 bits of each byte.
#[inline(always)]
pub fn nibble<S: Lanes>(x: S::Ints, which: usize) -> S::Ints {
    S::and(S::moved(x, 4 * which, 0), S::splat(0x0f0f_0f0f))
}

/// The high 4 bits of each byte where they are.
#[inline(always)]
pub fn high_nibble<S: Lanes>(x: S::Ints) -> S::Ints {
    S::and(x, S::splat(0xf0f0_f0f0_u32 as i32))
}

/// The weights of a block of 32, four columns a register. Those of 4 and 5 bits are unsigned. If IN_PLACE, those of 4 bits in
/// the last four registers are 16 times too large: an operation less each.
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

/// The numbers of a k-quant's groups: in each lane of a register, one byte for each of four groups.
#[derive(Clone, Copy)]
pub struct Groups<S: Lanes> {
    scales: [S::Ints; 4],
    minima: [S::Ints; 2],
}

impl<S: Lanes> Groups<S> {
    /// Of 4 and 5 bits, the 6-bit scales and minima of eight groups, from 12 bytes of each row. Four bytes at a time are just
    /// how ggml packs them: groups 0 to 3 have the low 6 bits of the first word (scales) and of the second (minima); 4 to 7
    /// have their low 4 bits in the third word and the upper 2 on top of the first and second.
    ///
    /// Of 6 bits, the signed scales of sixteen groups.
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
        let scales = S::or(nibble::<S>(c, 0), S::and(S::moved(a, 2, 0), top));
        let minima = S::or(nibble::<S>(c, 1), S::and(S::moved(b, 2, 0), top));
        Self { scales: [S::and(a, six), scales, zero, zero], minima: [S::and(b, six), minima] }
    }

    /// The scale of group j, as [`add_group`] takes it: in the lower 16 bits of each lane with VNNI, else in both halves.
    #[inline(always)]
    pub fn scale(&self, j: usize) -> S::Ints {
        widen::<S>(self.scales[j / 4], j % 4, if S::VNNI { NOTHING } else { j % 4 })
    }

    /// The numbers of groups 2p and 2p + 1 that are multiplied by sums of activations, as two 16-bit numbers: minima, or of 6
    /// bits the scales.
    #[inline(always)]
    pub fn pair<const BITS: u32>(&self, p: usize) -> S::Ints {
        let four = if BITS == 6 { self.scales[p / 2] } else { self.minima[p / 2] };
        widen::<S>(four, p % 2 * 2, p % 2 * 2 + 1)
    }
}

/// A place in a lane from which nothing is taken.
const NOTHING: usize = 0x80;

/// Two of each lane's bytes, signed, as 16 bits.
#[inline(always)]
fn widen<S: Lanes>(x: S::Ints, first: usize, second: usize) -> S::Ints {
    let lane = S::repeat([0, 0x0400_0400, 0x0800_0800, 0x0c00_0c00]);
    // Each byte to the top of 16 bits; what comes below it is shifted out.
    S::upper_bytes(S::shuffle(x, S::or(lane, S::splat((first << 8 | second << 24) as i32))))
}

/// The groups of 32 columns that share the bytes of the `PAIR`-th 32: two beside each other, and of 6 bits two that are 64
/// columns apart.
#[inline(always)]
pub const fn group<const BITS: u32, const PAIR: usize>(which: usize) -> usize {
    match BITS {
        6 => PAIR / 2 * 4 + PAIR % 2 + 2 * which,
        _ => 2 * PAIR + which,
    }
}

/// Both weights of the `s`-th piece of those bytes: columns 4s to 4s + 3 of each group. If IN_PLACE, the second are 16 times too
/// large.
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
        // Loaded where they are needed: all at a block's start were a burst that took a tenth longer.
        let (at, is_first, mask) = match BITS {
            5 => (fields.qh + 4 * s, PAIR == 0, 0x1010_1010),
            _ => (fields.qh + PAIR / 2 * 32 + 4 * s, PAIR.is_multiple_of(2), 0x3030_3030),
        };
        let qh = if is_first { load::<S>(block, at, part) } else { S::load(piece(block, at), part) };
        for (which, w) in w.iter_mut().enumerate() {
            let group = group::<BITS, PAIR>(which);
            let bit = if BITS == 5 { group } else { group % 4 * 2 };
            *w = S::or(*w, S::and(S::moved(qh, bit, 4), S::splat(mask)));
        }
    }
    w
}

/// How many pieces of a k-quant's products [`Lanes::dot`] may add up before their group's scale: without VNNI, pairs of 16 bits
/// hold 32 columns of 4 bits (8 · 2 · 15 · 127), 16 of 5 and 8 of 6.
///
/// With it, sums that fit 16 bits are multiplied by a scale and added in one operation (`vpdpwssd`), where those of 32 bits
/// take three: 16 columns of 4 bits, 16 · 15 · 127 = 30480, and 8 of 6 bits, if those are made signed first: 8 · 32 · 127. Of 5
/// bits 8 columns would fit, but as many operations more would be needed as are saved: 32 columns.
pub const fn pieces_of_sum(bits: u32, vnni: bool) -> usize {
    match (bits, vnni) {
        (4, true) | (5, false) => 4,
        (4, false) | (5, true) => 8,
        _ => 2,
    }
}

/// Adds such a sum, times its group's scale.
#[inline(always)]
pub fn add_group<S: Lanes, const BITS: u32>(total: S::Ints, sum: S::Ints, scale: S::Ints) -> S::Ints {
    if BITS == 5 && S::VNNI { S::mul_add(total, sum, scale) } else { S::dot_pairs(total, sum, scale) }
}

/// Numbers of a block's groups, two side by side, times sums of activations.
#[inline(always)]
pub fn by_sums<S: Lanes, const N: usize>(pairs: &[S::Ints; N], sums: &[i32; N]) -> S::Ints {
    let mut total = S::zero();
    for (pair, sums) in pairs.iter().zip(sums) {
        total = S::dot_pairs(total, *pair, S::splat(*sums));
    }
    total
}

/// Four activations, the `piece`-th as many, in every lane.
#[inline(always)]
pub fn four<S: Lanes, const B: usize>(x: &[i8; B], piece: usize) -> S::Ints {
    let four: [i8; 4] = x.as_chunks().0[piece];
    S::splat(i32::from_le_bytes([four[0] as u8, four[1] as u8, four[2] as u8, four[3] as u8]))
}

/// The integers of a row's planes in f32: those of two are put together.
#[inline(always)]
pub fn whole<S: Lanes, const P: usize>(planes: &[S::Ints; P]) -> S::Floats {
    let (first, last) = (S::floats(planes[0]), S::floats(planes[P - 1]));
    if P == 1 { last } else { S::fma(S::splat_f32(STEPS as f32), first, last) }
}

/// Adds a block's term to the sums of row r of activations, by the order of [`packed`](super::super): products are whole
/// numbers of a row's planes, minima those that are taken away, if there are any.
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
    let sum = S::fma(term, S::splat_f32(last::<P>(of_x, r)), S::load_f32(sums, part));
    S::store_f32(sums, part, sum);
}
