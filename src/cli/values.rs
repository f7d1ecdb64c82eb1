//! Parsers of flags with a fixed list of values, which shells offer and errors list.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use mist::quant::Scheme;
use mist::quant::quantize::WRITTEN;
use mist::quant::quantize::names::{self, mix_in_llama_cpp};
use mist::runtime::Quantize;

/// Returns the parser of `--quantize` for commands that make a conversion. Its argument needs `ignore_case`.
pub fn scheme() -> impl TypedValueParser<Value = Scheme> {
    PossibleValuesParser::new(WRITTEN.map(possible))
        .try_map(|name| names::named(&name).ok_or("there is no such scheme"))
}

/// Returns the parser of `--quantize` for commands that run a model. Its argument needs `ignore_case`.
pub fn quantize() -> impl TypedValueParser<Value = Quantize> {
    let none = PossibleValue::new(Quantize::NONE);
    let values = PossibleValuesParser::new(WRITTEN.map(possible).into_iter().chain([none]));
    values.try_map(|name| Quantize::named(&name).ok_or("there is no such scheme"))
}

/// Returns a scheme as a possible value, with its names in llama.cpp as aliases.
fn possible(scheme: Scheme) -> PossibleValue {
    PossibleValue::new(scheme.name()).aliases(mix_in_llama_cpp(scheme))
}
