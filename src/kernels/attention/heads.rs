//! Number and size of attention heads.

/// Number and size of attention heads: H query heads of size D share G key/value heads, H/G to each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heads {
    /// H, the number of query heads.
    pub query: usize,
    /// G, the number of key/value heads; divides H.
    pub key_value: usize,
    /// D, the size of a head.
    pub size: usize,
}
