//! Values that are known before they are typed: shells offer them, and errors list them.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Command, Error};
use mist::kernels::Scheme;
use mist::kernels::quantize::WRITTEN;

/// A text that was read from a file or a pipe, without the byte order mark that programs on Windows put before it.
pub fn without_mark(mut text: String) -> String {
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    text
}

/// The scheme that a value of `--quantize` names.
pub fn scheme_named(name: &str) -> Option<Scheme> {
    WRITTEN.into_iter().find(|scheme| scheme.name() == name)
}

/// A value of `--quantize`.
pub fn scheme() -> impl TypedValueParser<Value = Scheme> {
    let names = PossibleValuesParser::new(WRITTEN.map(Scheme::name));
    names.try_map(|name| scheme_named(&name).ok_or("there is no such scheme"))
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
