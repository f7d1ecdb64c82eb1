//! Completion of a value from a list that does not contain all valid values.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, Error};

/// A parser with values for shells to offer, which are not all valid values. An argument with this parser needs
/// `hide_possible_values`; otherwise its help claims that the list is complete.
#[derive(Clone, Debug)]
pub struct Offering<P> {
    /// Returns the values to offer.
    pub values: fn() -> Vec<&'static str>,
    /// Parses the typed value.
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
