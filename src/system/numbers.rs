//! Parses numbers that the user types, in flags and after `/set`, with the same error messages for both.

use std::fmt::Display;
use std::num::{IntErrorKind, NonZeroUsize, ParseFloatError, ParseIntError};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The error for an invalid number: a description of what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Expected(String);

/// A type of whole numbers.
pub trait Whole: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static {
    /// The largest value.
    const MOST: Self;
}

impl Whole for u16 {
    const MOST: Self = Self::MAX;
}

impl Whole for u32 {
    const MOST: Self = Self::MAX;
}

impl Whole for u64 {
    const MOST: Self = Self::MAX;
}

impl Whole for usize {
    const MOST: Self = Self::MAX;
}

/// Returns a parser of whole numbers in `range`.
pub fn whole<T: Whole>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, Expected> + Clone + Send + Sync + 'static {
    move |text| {
        let (least, most) = (range.start(), range.end());
        let number = text.parse().ok().filter(|number| range.contains(number));
        let is_large =
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<T>().is_err();
        number.ok_or_else(|| {
            Expected(match (*most == T::MOST, is_large) {
                (true, true) => format!("a whole number from {least} to {most}"),
                (true, false) => format!("a whole number, {least} or more"),
                (false, _) => format!("a whole number from {least} to {most}"),
            })
        })
    }
}

/// Returns a parser of whole numbers that are at least `least`.
pub fn at_least<T: Whole>(least: T) -> impl Fn(&str) -> Result<T, Expected> + Clone + Send + Sync + 'static {
    whole(least..=T::MOST)
}

/// Parses a whole number that is at least 1.
///
/// # Errors
/// The text is not a whole number, or the number is 0 or too large.
pub fn positive(text: &str) -> Result<NonZeroUsize, Expected> {
    let number = at_least(1)(text)?;
    NonZeroUsize::new(number).ok_or_else(|| Expected("a whole number, 1 or more".into()))
}

/// Parses any number.
///
/// # Errors
/// The text is not a number.
pub fn number(text: &str) -> Result<f32, Expected> {
    text.parse().map_err(|_| Expected("a number, such as 0.7".into()))
}

/// Returns our message for a parse error from the standard library.
pub fn worded(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if let Some(error) = error.downcast_ref::<ParseIntError>() {
        return Some(match error.kind() {
            IntErrorKind::PosOverflow => "the number is too large",
            IntErrorKind::NegOverflow => "the number is too small",
            IntErrorKind::Zero => "expected a whole number, 1 or more",
            _ => "expected a whole number",
        });
    }
    error.is::<ParseFloatError>().then_some("expected a number, such as 0.7")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused<T: std::fmt::Debug>(parsed: Result<T, Expected>) -> String {
        parsed.unwrap_err().to_string()
    }

    #[test]
    fn numbers_are_read_and_what_is_none_is_refused_with_what_is_expected() {
        assert_eq!(whole(1..=1024u16)("1024").unwrap(), 1024);
        assert_eq!(refused(whole(1..=1024u16)("1025")), "expected a whole number from 1 to 1024");
        assert_eq!(refused(whole(1..=1024u16)("99999")), "expected a whole number from 1 to 1024");
        for text in ["", "-1", "1.5", "many", "1e3", " 1"] {
            assert_eq!(refused(at_least(0u64)(text)), "expected a whole number, 0 or more", "{text:?}");
        }
        let largest = "expected a whole number from 0 to 18446744073709551615";
        assert_eq!(refused(at_least(0u64)("18446744073709551616")), largest);
        assert_eq!((positive("7").unwrap().get(), number("0.5").unwrap()), (7, 0.5));
        assert_eq!(refused(positive("0")), "expected a whole number, 1 or more");
        assert_eq!(refused(number("1,5")), "expected a number, such as 0.7");
    }

    #[test]
    fn the_standard_librarys_errors_have_words_of_ours() {
        assert_eq!(worded(&"x".parse::<u8>().unwrap_err()), Some("expected a whole number"));
        assert_eq!(worded(&"256".parse::<u8>().unwrap_err()), Some("the number is too large"));
        assert_eq!(worded(&"x".parse::<f32>().unwrap_err()), Some("expected a number, such as 0.7"));
        assert_eq!(worded(&"x".parse::<bool>().unwrap_err()), None);
    }
}
