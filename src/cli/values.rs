//! Values that are known before they are typed: shells offer them, and errors list them.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use mist::quant::Scheme;
use mist::quant::quantize::WRITTEN;
use mist::quant::quantize::names::{self, mix_in_llama_cpp};
use mist::runtime::Quantize;

/// A value of `--quantize` where a conversion is made. Its argument wants `ignore_case`.
pub fn scheme() -> impl TypedValueParser<Value = Scheme> {
    PossibleValuesParser::new(WRITTEN.map(possible))
        .try_map(|name| names::named(&name).ok_or("there is no such scheme"))
}

/// A value of `--quantize` where a model runs. Its argument wants `ignore_case`.
pub fn quantize() -> impl TypedValueParser<Value = Quantize> {
    let none = PossibleValue::new(Quantize::NONE);
    let values = PossibleValuesParser::new(WRITTEN.map(possible).into_iter().chain([none]));
    values.try_map(|name| Quantize::named(&name).ok_or("there is no such scheme"))
}

/// A scheme as a value that is offered.
fn possible(scheme: Scheme) -> PossibleValue {
    PossibleValue::new(scheme.name()).aliases(mix_in_llama_cpp(scheme))
}
