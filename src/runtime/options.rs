//! Options for generating a text.

use crate::generate::Sampling;

/// Default for the maximum number of new tokens, also of `mist generate`.
pub const NEW_TOKENS: usize = 50;

/// Options for generating a text. The defaults are those of `mist generate`.
///
/// ```
/// use mist::{Options, Sampling};
///
/// let options = Options { seed: Some(7), stop: vec!["\n".into()], ..Options::default() };
/// let greedy = Options::from(Sampling::greedy());
/// assert_eq!(greedy.max_new_tokens, options.max_new_tokens);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Sampling settings; `None` for the publishers' suggestions, completed by [`Sampling::default`].
    pub sampling: Option<Sampling>,
    /// Seed of the random numbers; the same seed gives the same text. `None` for a random seed.
    pub seed: Option<u64>,
    /// Maximum number of new tokens; `None` for the rest of the context.
    pub max_new_tokens: Option<usize>,
    /// Stop texts. The text ends before the first of them, or at a control token that one of them spells.
    pub stop: Vec<String>,
    /// Whether the text continues after an end token.
    pub ignore_eos: bool,
    /// Whether the prompt is formatted as a user message in the model's chat format.
    pub chat: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sampling: None,
            seed: None,
            max_new_tokens: Some(NEW_TOKENS),
            stop: Vec::new(),
            ignore_eos: false,
            chat: false,
        }
    }
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
