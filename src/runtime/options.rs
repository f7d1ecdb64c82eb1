//! How a text is generated.

use crate::generate::Sampling;

/// Most tokens of a text where nothing else is asked for, as `mist generate` has it.
pub const NEW_TOKENS: usize = 50;

/// How a text is generated. The defaults are those of `mist generate`.
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
    /// How tokens are chosen; `None` as the model's publishers suggest, else by [`Sampling::default`].
    pub sampling: Option<Sampling>,
    /// Same seed, same text; `None` draws one.
    pub seed: Option<u64>,
    /// Most new tokens; `None` for as many as the context has room for.
    pub max_new_tokens: Option<usize>,
    /// The text ends before the first of these, or at the control token that one spells.
    pub stop: Vec<String>,
    /// The text goes on after the end token.
    pub ignore_eos: bool,
    /// The prompt is put into the model's chat format, as the user's message.
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
