//! Sizes of the heads of one attention.

/// Sizes of one attention: H query heads of size D share G key/value heads, H/G each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heads {
    /// H, query heads.
    pub query: usize,
    /// G, key/value heads; divides H.
    pub key_value: usize,
    /// D, the size of a head.
    pub size: usize,
}
