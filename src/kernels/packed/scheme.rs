//! The schemes that have kernels in integers.

use crate::quant::Scheme;

/// Columns that activations share a scale over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 32.
    Of32,
    /// 256.
    Of256,
}

impl Width {
    /// Both, in order.
    pub(super) const ALL: [Self; 2] = [Width::Of32, Width::Of256];

    /// How many.
    pub const fn columns(self) -> usize {
        match self {
            Width::Of32 => 32,
            Width::Of256 => 256,
        }
    }
}

/// A scheme that has kernels in integers, by the width of its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packed {
    Of32(Of32),
    K(K),
}

/// Those with blocks of 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of32 {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
}

/// The k-schemes, with blocks of 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum K {
    Q4,
    Q5,
    Q6,
}

impl Packed {
    /// `None` where there are no kernels.
    pub fn new(scheme: Scheme) -> Option<Self> {
        match scheme {
            Scheme::Q4_0 => Some(Packed::Of32(Of32::Q4_0)),
            Scheme::Q4_1 => Some(Packed::Of32(Of32::Q4_1)),
            Scheme::Q5_0 => Some(Packed::Of32(Of32::Q5_0)),
            Scheme::Q5_1 => Some(Packed::Of32(Of32::Q5_1)),
            Scheme::Q8_0 => Some(Packed::Of32(Of32::Q8_0)),
            Scheme::Q4K => Some(Packed::K(K::Q4)),
            Scheme::Q5K => Some(Packed::K(K::Q5)),
            Scheme::Q6K => Some(Packed::K(K::Q6)),
            Scheme::F32 | Scheme::F16 | Scheme::Bf16 | Scheme::Q2K | Scheme::Q3K => None,
        }
    }

    pub fn scheme(self) -> Scheme {
        match self {
            Packed::Of32(Of32::Q4_0) => Scheme::Q4_0,
            Packed::Of32(Of32::Q4_1) => Scheme::Q4_1,
            Packed::Of32(Of32::Q5_0) => Scheme::Q5_0,
            Packed::Of32(Of32::Q5_1) => Scheme::Q5_1,
            Packed::Of32(Of32::Q8_0) => Scheme::Q8_0,
            Packed::K(K::Q4) => Scheme::Q4K,
            Packed::K(K::Q5) => Scheme::Q5K,
            Packed::K(K::Q6) => Scheme::Q6K,
        }
    }

    /// The width of its blocks, and of those of activations that it is multiplied with.
    pub fn width(self) -> Width {
        match self {
            Packed::Of32(_) => Width::Of32,
            Packed::K(_) => Width::Of256,
        }
    }

    /// Bytes in a block.
    pub fn block_bytes(self) -> usize {
        self.scheme().block_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_scheme_is_the_scheme_it_is_made_of_and_has_blocks_of_its_width() {
        let packed: Vec<_> = Scheme::all().filter_map(|s| Some((s, Packed::new(s)?))).collect();
        assert_eq!(packed.len(), 8);
        let blocks = Scheme::all().map(|s| Packed::new(s).map(|packed| packed.width().columns()));
        assert!(Scheme::all().map(Scheme::activation_block).eq(blocks));
        for (scheme, packed) in packed {
            assert_eq!((packed.scheme(), packed.width().columns()), (scheme, scheme.block_len()));
        }
    }
}
