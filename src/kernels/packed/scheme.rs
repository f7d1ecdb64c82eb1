//! The schemes that have integer kernels.

use crate::quant::Scheme;

/// Number of columns that share one scale of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 32 columns.
    Block32,
    /// 256 columns.
    Block256,
}

impl Width {
    /// Both widths, in order.
    pub(super) const ALL: [Self; 2] = [Width::Block32, Width::Block256];

    /// Returns the number of columns.
    pub const fn columns(self) -> usize {
        match self {
            Width::Block32 => 32,
            Width::Block256 => 256,
        }
    }
}

/// Number of columns that a kernel takes at a time: whole blocks of any width.
pub(super) const SUPER_BLOCK: usize = 256;

const _: () = {
    let [first, second] = [Width::Block32.columns(), Width::Block256.columns()];
    assert!(SUPER_BLOCK.is_multiple_of(first) && SUPER_BLOCK.is_multiple_of(second));
};

/// Number of panels that are fastest to multiply together: they share the loads of activations.
pub(super) const PANELS: usize = 2;

/// A scheme that has integer kernels, by the width of its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packed {
    Block32(Block32),
    KQuant(KQuant),
}

/// The schemes with blocks of 32 weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block32 {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
}

/// The schemes with blocks of 256 weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KQuant {
    Q4,
    Q5,
    Q6,
}

/// Calls `$go::<…, BITS, MINIMUM>($argument…)` for a scheme with blocks of 32 weights. `BITS` is the number of bits
/// of a weight; `MINIMUM` is true if a block has a minimum. Kernels derive everything else about the format from
/// these.
macro_rules! with_block32 {
    ($scheme:expr, $go:ident[$($generic:tt),*]($($argument:expr),*)) => {
        match $scheme {
            $crate::kernels::packed::scheme::Block32::Q4_0 => $go::<$($generic,)* 4, false>($($argument),*),
            $crate::kernels::packed::scheme::Block32::Q4_1 => $go::<$($generic,)* 4, true>($($argument),*),
            $crate::kernels::packed::scheme::Block32::Q5_0 => $go::<$($generic,)* 5, false>($($argument),*),
            $crate::kernels::packed::scheme::Block32::Q5_1 => $go::<$($generic,)* 5, true>($($argument),*),
            $crate::kernels::packed::scheme::Block32::Q8_0 => $go::<$($generic,)* 8, false>($($argument),*),
        }
    };
}
pub(super) use with_block32;

/// Calls `$go::<…, BITS>($argument…)` for a k-quant, where `BITS` is the number of bits of a weight.
macro_rules! with_k_quant {
    ($scheme:expr, $go:ident[$($generic:tt),*]($($argument:expr),*)) => {
        match $scheme {
            $crate::kernels::packed::scheme::KQuant::Q4 => $go::<$($generic,)* 4>($($argument),*),
            $crate::kernels::packed::scheme::KQuant::Q5 => $go::<$($generic,)* 5>($($argument),*),
            $crate::kernels::packed::scheme::KQuant::Q6 => $go::<$($generic,)* 6>($($argument),*),
        }
    };
}
pub(super) use with_k_quant;

impl Packed {
    /// Returns the kernels' scheme, or `None` if there are no kernels.
    pub fn new(scheme: Scheme) -> Option<Self> {
        Some(match scheme {
            Scheme::Q4_0 => Packed::Block32(Block32::Q4_0),
            Scheme::Q4_1 => Packed::Block32(Block32::Q4_1),
            Scheme::Q5_0 => Packed::Block32(Block32::Q5_0),
            Scheme::Q5_1 => Packed::Block32(Block32::Q5_1),
            Scheme::Q8_0 => Packed::Block32(Block32::Q8_0),
            Scheme::Q4K => Packed::KQuant(KQuant::Q4),
            Scheme::Q5K => Packed::KQuant(KQuant::Q5),
            Scheme::Q6K => Packed::KQuant(KQuant::Q6),
            Scheme::F32 | Scheme::F16 | Scheme::Bf16 | Scheme::Q2K | Scheme::Q3K => return None,
        })
    }

    pub fn scheme(self) -> Scheme {
        match self {
            Packed::Block32(Block32::Q4_0) => Scheme::Q4_0,
            Packed::Block32(Block32::Q4_1) => Scheme::Q4_1,
            Packed::Block32(Block32::Q5_0) => Scheme::Q5_0,
            Packed::Block32(Block32::Q5_1) => Scheme::Q5_1,
            Packed::Block32(Block32::Q8_0) => Scheme::Q8_0,
            Packed::KQuant(KQuant::Q4) => Scheme::Q4K,
            Packed::KQuant(KQuant::Q5) => Scheme::Q5K,
            Packed::KQuant(KQuant::Q6) => Scheme::Q6K,
        }
    }

    /// Returns the width of the weights' blocks, which the activations' blocks share.
    pub fn width(self) -> Width {
        match self {
            Packed::Block32(_) => Width::Block32,
            Packed::KQuant(_) => Width::Block256,
        }
    }

    /// Returns the bytes of a block.
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
