//! Support for clap's commands: arguments in the style of other programs, error messages, shell completion, manual pages.
//!
//! Knows about flags, commands and their help, but not what a command does.
//!
//! | file | what |
//! |---|---|
//! | `arguments` | converts typed arguments to the form that clap parses |
//! | `others` | commands and flags of other programs, with hints for them |
//! | `wrong` | the message and hint for an invalid command line |
//! | `offering` | completion of a value from a list that does not contain all valid values |
//! | `completions` | completion scripts for shells |
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
