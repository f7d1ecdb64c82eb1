//! Parses untrusted JSON within limits. Knows about JSON and the memory that it takes, but not about files or the
//! meaning of fields.
//!
//! A parsed value takes up to 70 times the memory of its text (`[{"":0},…]`), so every file is parsed with a limit:
//!
//! | function | for | limits |
//! |---|---|---|
//! | [`value()`], [`object`] | files whose fields are read one by one | bytes of memory of the value |
//! | [`typed`] | files that are one type | bytes of memory of the value |
//! | [`part`] | the fields of a text that a type has | set by the type |
//! | [`Bounded`] | a value within a large file | bytes of memory of the value |
//! | [`skimmed`] | one or two fields of a response | nothing else is built |
//! | [`Capped`], [`Unique`] | lists and maps within a type | number of entries |
//! | [`shards`] | an index of shards | number of entries |
//! | [`Text`] | large files, such as a vocabulary | depth and string length; the rest is set by the type |
//!
//! | file | what |
//! |---|---|
//! | `text` | parses a text to a type |
//! | `value` | builds a value within a memory limit |
//! | `entries` | lists and maps with a limit on entries |
//! | `index` | the index of a sharded checkpoint |
//! | `infinite` | numbers that are not finite |
//! | `guard` | limits for parsing a stream |
//! | `error` | parse errors in terms of JSON |
//!
//! All functions report a duplicate key by name (except within skipped values), limit nesting to 128 levels, and
//! ignore a byte order mark at the start. `NaN`, `Infinity` and numbers beyond every float are read as `infinite`
//! describes, except by [`skimmed`] and in a stream.

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
