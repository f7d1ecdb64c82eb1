//! What a tree of clap's commands needs around it: calls as users of other programs type them, wrong calls in words, and
//! what shells and `man` read.
//!
//! Knows flags, commands and their help. Never knows what a command does.
//!
//! | file | one idea |
//! |---|---|
//! | `arguments` | arguments as they were typed, in the form that clap reads |
//! | `others` | words of other programs, and what to type instead |
//! | `wrong` | a wrong call: one line what is wrong, one what to type |
//! | `offering` | values that shells offer, of more than can be listed |
//! | `completions` | scripts by which shells complete commands |
//! | `man` | manual pages |

mod arguments;
mod completions;
mod man;
mod offering;
mod others;
mod wrong;

pub use arguments::{called, normalise};
pub use completions::script;
pub use man::{Section, pages};
pub use offering::Offering;
pub use others::{FOREIGN_COMMANDS, FOREIGN_FLAGS, SECOND_ARGUMENTS, flag_hint, has_all};
pub use wrong::explained;
