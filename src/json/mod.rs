//! JSON from strangers, read within limits. Knows JSON and the memory that it takes; never knows files, or what a field means.
//!
//! A value takes up to 70 times the memory of its text (`[{"":0},…]`), so no file is built as it comes:
//!
//! | function | for | limits |
//! |---|---|---|
//! | [`value()`], [`object`] | files whose fields are looked at one by one | bytes of memory of what is built |
//! | [`typed`] | files that are one type | the same |
//! | [`part`] | the fields of a text that are of a type of their own | the type's own affair |
//! | [`Bounded`] | a part of a large file that is read piece by piece | the same |
//! | [`skimmed`] | one or two fields of an answer | nothing else is built |
//! | [`Capped`], [`Unique`] | lists and maps of a type | entries |
//! | [`shards`] | an index of shards | entries |
//! | [`Text`] | large files, as a vocabulary | depth and length of what is skipped; what is built is the type's own affair |
//!
//! | file | idea |
//! |---|---|
//! | `text` | from a text to a type |
//! | `value` | values, while there is memory left for them |
//! | `entries` | lists and maps that are counted while they are read |
//! | `index` | an index of shards |
//! | `infinite` | numbers that are not finite |
//! | `guard` | what a reader in pieces cannot bound by itself |
//! | `error` | what is wrong, in words of JSON |
//!
//! Everywhere a key that is given twice is an error that names it (in what is skipped nothing is looked at),
//! values nest at most 128 deep, and a byte order mark at the start is passed over. `NaN`, `Infinity` and numbers beyond
//! every float are read as `infinite` says, but where a text is skimmed or read piece by piece.

mod entries;
mod error;
mod guard;
mod index;
mod infinite;
#[cfg(test)]
mod tests;
mod text;
mod value;

pub use self::entries::{Capped, Unique, twice};
pub use self::error::Error;
pub use self::index::shards;
pub use self::infinite::{is_infinite, shown};
pub use self::text::{Text, WHOLE, part, rule, skimmed, without_mark};
pub use self::value::{Bounded, SETTINGS, object, typed, value};
