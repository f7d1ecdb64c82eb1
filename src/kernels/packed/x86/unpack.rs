//! Unpacks panels to the buffer from which kernels multiply many rows.

use super::super::unpacked::Unpacked;
use super::block::{Groups, KFields, block32_bytes, group, numbers, weights_of_pair, weights32};
use super::lanes::{Kernel, Lanes};
use crate::quant::ROWS;

/// Unpacks one block of a k-quant to unsigned weights.
pub struct UnpackKQuant<'a, const BITS: u32> {
    pub block: &'a [u8],
}

impl<const BITS: u32> Kernel for UnpackKQuant<'_, BITS> {
    type Out = Unpacked;

    #[inline(always)]
    fn run<S: Lanes>(self, out: &mut Unpacked) {
        let fields = const { KFields::new(BITS) };
        let block = &self.block[..fields.bytes * ROWS];
        out.blocks = 1;
        for part in 0..S::PARTS {
            let groups = Groups::<S>::new::<BITS>(block, part);
            for j in 0..if BITS == 6 { 16 } else { 8 } {
                S::store(&mut out.groups[j], part, groups.scale(j));
            }
            for p in 0..if BITS == 6 { 8 } else { 4 } {
                if BITS < 6 || !S::VNNI {
                    S::store(&mut out.pairs[p], part, groups.pair::<BITS>(p));
                }
            }
            S::store(&mut out.scales[0], part, S::as_ints(numbers::<S>(block, fields.scale, part)));
            if BITS < 6 {
                S::store(&mut out.minima[0], part, S::as_ints(numbers::<S>(block, fields.scale + 2, part)));
            }
            unpack_pair::<S, 0, BITS>(out, block, part);
            unpack_pair::<S, 1, BITS>(out, block, part);
            unpack_pair::<S, 2, BITS>(out, block, part);
            unpack_pair::<S, 3, BITS>(out, block, part);
        }
    }
}

#[inline(always)]
fn unpack_pair<S: Lanes, const PAIR: usize, const BITS: u32>(out: &mut Unpacked, block: &[u8], part: usize) {
    for s in 0..8 {
        let w = weights_of_pair::<S, BITS, PAIR, false>(block, s, part);
        for (which, w) in w.into_iter().enumerate() {
            S::store(&mut out.words[8 * group::<BITS, PAIR>(which) + s], part, w);
        }
    }
}

/// Unpacks up to 256 columns in blocks of 32 to signed weights.
pub struct UnpackBlock32<'a, const BITS: u32, const MINIMUM: bool> {
    pub blocks: &'a [u8],
}

impl<const BITS: u32, const MINIMUM: bool> Kernel for UnpackBlock32<'_, BITS, MINIMUM> {
    type Out = Unpacked;

    #[inline(always)]
    fn run<S: Lanes>(self, out: &mut Unpacked) {
        let size = const { block32_bytes(BITS, MINIMUM) * ROWS };
        let Unpacked { words, scales, minima, blocks, .. } = out;
        *blocks = self.blocks.len() / size;
        let numbers_out = scales.iter_mut().zip(minima);
        let out = words.as_chunks_mut::<8>().0.iter_mut().zip(numbers_out);
        for (block, (words, (scales, minima))) in self.blocks.chunks_exact(size).zip(out) {
            for part in 0..S::PARTS {
                S::store(scales, part, S::as_ints(numbers::<S>(block, 0, part)));
                if MINIMUM {
                    S::store(minima, part, S::as_ints(numbers::<S>(block, 2, part)));
                }
                let w = weights32::<S, BITS, MINIMUM, false>(block, part);
                for (word, w) in words.iter_mut().zip(w) {
                    let is_signed = MINIMUM || BITS == 8;
                    let offset = S::splat(if BITS == 5 { 0x1010_1010 } else { 0x0808_0808 });
                    S::store(word, part, if is_signed { w } else { S::sub_bytes(w, offset) });
                }
            }
        }
    }
}
