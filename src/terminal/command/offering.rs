//! Values that shells offer, of more than can be listed.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, Error};

/// What `parser` takes, of which a shell offers `values`: there are more than can be listed. An argument with such
/// values wants `hide_possible_values`, or its help says that there are no others.
#[derive(Clone, Debug)]
pub struct Offering<P> {
    /// Makes the values that are offered.
    pub values: fn() -> Vec<&'static str>,
    /// Reads what was typed.
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
