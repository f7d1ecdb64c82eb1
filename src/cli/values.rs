//! Values that are known before they are typed: shells offer them, and errors list them.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use mist::quant::Scheme;
use mist::quant::quantize::WRITTEN;
use mist::quant::quantize::names::{self, mix_in_llama_cpp};

use super::exit::Usage;

/// What `--quantize` asks for where a model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantize {
    /// The weights as published, whatever was converted beside them.
    None,
    /// The conversion to this scheme.
    To(Scheme),
}

impl Quantize {
    /// What stands for the weights as published.
    pub const NONE: &str = "none";
}

/// The scheme that a flag or a model's name asks for.
///
/// # Errors
/// Both ask, and for two.
pub fn one_of<T: PartialEq>(flag: Option<T>, name: Option<T>) -> anyhow::Result<Option<T>> {
    match (flag, name) {
        (Some(flag), Some(name)) if flag != name => Err(Usage::with_hint(
            "the model is named with one scheme, and --quantize names another",
            "leave one of them out",
        )),
        (flag, name) => Ok(flag.or(name)),
    }
}

/// A value of `--quantize` where a conversion is made. Its argument wants `ignore_case`.
pub fn scheme() -> impl TypedValueParser<Value = Scheme> {
    PossibleValuesParser::new(WRITTEN.map(possible))
        .try_map(|name| names::named(&name).ok_or("there is no such scheme"))
}

/// A value of `--quantize` where a model runs. Its argument wants `ignore_case`.
pub fn quantize() -> impl TypedValueParser<Value = Quantize> {
    let none = PossibleValue::new(Quantize::NONE);
    let values = PossibleValuesParser::new(WRITTEN.map(possible).into_iter().chain([none]));
    values.try_map(|name| match names::named(&name) {
        Some(scheme) => Ok(Quantize::To(scheme)),
        None if name.eq_ignore_ascii_case(Quantize::NONE) => Ok(Quantize::None),
        None => Err("there is no such scheme"),
    })
}

/// A scheme as a value that is offered.
fn possible(scheme: Scheme) -> PossibleValue {
    PossibleValue::new(scheme.name()).aliases(mix_in_llama_cpp(scheme))
}
