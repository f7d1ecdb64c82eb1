//! The hash map that the encoder's tables use.

use std::collections::HashMap;

/// A map with a fast hash. Each process has a different seed, since vocabularies may be hostile.
pub(super) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
