//! Options for generating a text.

use crate::generate::Sampling;

/// Default for the maximum number of new tokens, here and in `mist generate`.
pub const NEW_TOKENS: usize = 50;

/// Value of [`Options::max_new_tokens`] for the rest of the context.
pub const NO_LIMIT: usize = usize::MAX;

/// Draws a seed for texts without one. It has 32 bits, so that every program reads it from JSON exactly.
pub fn random_seed() -> u64 {
    rand::random::<u32>().into()
}

/// Options for generating a text or a reply. The defaults are those of `mist generate` and `mist chat`.
///
/// ```
/// use mist::{Options, Sampling};
///
/// let options = Options { seed: Some(7), stop: vec!["\n".into()], ..Options::default() };
/// let greedy = Options::from(Sampling::greedy());
/// assert_eq!(greedy.max_new_tokens, options.max_new_tokens);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Sampling settings; `None` for the publishers' suggestions, completed by [`Sampling::default`].
    pub sampling: Option<Sampling>,
    /// Seed of the random numbers; the same seed gives the same text. `None` for a random seed.
    pub seed: Option<u64>,
    /// Maximum number of new tokens, or [`NO_LIMIT`]. `None` is [`NEW_TOKENS`] for a text, and no limit for a reply.
    pub max_new_tokens: Option<usize>,
    /// Stop texts. The text ends before the first of them, or at a control token that one of them spells.
    pub stop: Vec<String>,
    /// Whether the text continues after an end token.
    pub ignore_eos: bool,
}

impl From<Sampling> for Options {
    fn from(sampling: Sampling) -> Self {
        Self { sampling: Some(sampling), ..Self::default() }
    }
}

impl From<&Sampling> for Options {
    fn from(sampling: &Sampling) -> Self {
        sampling.clone().into()
    }
}

impl From<&Options> for Options {
    fn from(options: &Options) -> Self {
        options.clone()
    }
}
