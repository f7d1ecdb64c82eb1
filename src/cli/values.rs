//! Values that are known before they are typed: shells offer them, and errors list them.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Command, Error};
use mist::quant::Scheme;
use mist::quant::quantize::WRITTEN;

use super::exit::Usage;

/// A text that was read from a file or a pipe, without the byte order mark that programs on Windows put before it.
pub fn without_mark(mut text: String) -> String {
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    text
}

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

/// The scheme of a name, in any case. A mix is also found by its name in llama.cpp, such as `Q4_K_M`.
pub fn scheme_named(name: &str) -> Option<Scheme> {
    let called = |scheme: &Scheme| {
        let mix = mix_in_llama_cpp(*scheme);
        name.eq_ignore_ascii_case(scheme.name()) || mix.is_some_and(|mix| name.eq_ignore_ascii_case(mix))
    };
    WRITTEN.into_iter().find(called)
}

/// The scheme of this name as mist itself writes it: `q4_k`, and neither `Q4_K` nor `Q4_K_M`.
pub fn own_scheme(name: &str) -> Option<Scheme> {
    WRITTEN.into_iter().find(|scheme| scheme.name() == name)
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

/// What llama.cpp calls the mix of a scheme where that is not the scheme's own name.
fn mix_in_llama_cpp(scheme: Scheme) -> Option<&'static str> {
    match scheme {
        Scheme::Q4K => Some("q4_k_m"),
        Scheme::Q5K => Some("q5_k_m"),
        _ => None,
    }
}

/// A value of `--quantize` where a conversion is made. Its argument wants `ignore_case`.
pub fn scheme() -> impl TypedValueParser<Value = Scheme> {
    let names = PossibleValuesParser::new(WRITTEN.map(possible));
    names.try_map(|name| scheme_named(&name).ok_or("there is no such scheme"))
}

/// A value of `--quantize` where a model runs. Its argument wants `ignore_case`.
pub fn quantize() -> impl TypedValueParser<Value = Quantize> {
    let none = PossibleValue::new(Quantize::NONE);
    let names = PossibleValuesParser::new(WRITTEN.map(possible).into_iter().chain([none]));
    names.try_map(|name| match scheme_named(&name) {
        Some(scheme) => Ok(Quantize::To(scheme)),
        None if name.eq_ignore_ascii_case(Quantize::NONE) => Ok(Quantize::None),
        None => Err("there is no such scheme"),
    })
}

/// A scheme as a value that is offered.
fn possible(scheme: Scheme) -> PossibleValue {
    PossibleValue::new(scheme.name()).aliases(mix_in_llama_cpp(scheme))
}

/// What `parser` takes, of which a shell offers `values`: there are more than can be listed. An argument with such
/// values wants `hide_possible_values`, or its help says that there are no others.
#[derive(Clone)]
pub struct Offering<P> {
    pub values: fn() -> Vec<&'static str>,
    pub parser: P,
}

impl<P: TypedValueParser> TypedValueParser for Offering<P> {
    type Value = P::Value;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<P::Value, Error> {
        self.parser.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.values)().into_iter().map(PossibleValue::new)))
    }
}
