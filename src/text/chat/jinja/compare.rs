//! Compares values: `==`, `<`, `in`.

use std::cmp::Ordering;
use std::rc::Rc;

use super::failure::{Level, Result, fail, spend, spend_on_text};
use super::number;
use super::text;
use super::value::{Dict, Value, View};

/// Evaluates a comparison.
///
/// # Errors
/// The values have no order.
pub(super) fn compare(sign: &str, left: &Value, right: &Value) -> Result<bool> {
    Ok(match sign {
        "==" => left.equals(right)?,
        "!=" => !left.equals(right)?,
        "in" => right.contains(left)?,
        "not in" => !right.contains(left)?,
        "<" => left.order(right, sign)?.is_some_and(|order| order.is_lt()),
        "<=" => left.order(right, sign)?.is_some_and(|order| order.is_le()),
        ">" => left.order(right, sign)?.is_some_and(|order| order.is_gt()),
        _ => left.order(right, sign)?.is_some_and(|order| order.is_ge()),
    })
}

impl Value {
    /// Implements Python's `==`.
    ///
    /// # Errors
    /// The values are too large.
    pub(super) fn equals(&self, other: &Self) -> Result<bool> {
        spend(1)?;
        let all = |a: &[Value], b: &[Value]| -> Result<bool> {
            if a.len() != b.len() {
                return Ok(false);
            }
            let _level = Level::enter()?;
            for (a, b) in a.iter().zip(b) {
                if !a.equals(b)? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        Ok(match (self, other) {
            (Self::Undefined(_), Self::Undefined(_)) | (Self::None, Self::None) => true,
            (Self::Str(a), Self::Str(b)) => {
                spend_on_text(a.len().min(b.len()))?;
                a == b
            }
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => {
                Rc::ptr_eq(a, b) || all(&a.items, &b.items)?
            }
            (Self::Dict(a), Self::Dict(b)) => Rc::ptr_eq(a, b) || Self::dicts_equal(a, b)?,
            (Self::Range(a), Self::Range(b)) => {
                let len = a.len();
                len == b.len() && (len == 0 || a.start == b.start && (len == 1 || a.step == b.step))
            }
            (Self::View(a, _), Self::View(b, _)) if a == b && *a != View::Values => {
                let (a, b) = (self.items()?, other.items()?);
                let mut same = a.len() == b.len();
                for item in &a {
                    same = same && Self::among(item, &b)?;
                }
                same
            }
            (Self::Namespace(a), Self::Namespace(b)) | (Self::Macro(a), Self::Macro(b)) => a == b,
            (Self::Stream(a), Self::Stream(b)) => Rc::ptr_eq(a, b),
            (Self::Loop(a), Self::Loop(b)) => Rc::ptr_eq(a, b),
            (Self::Function(a), Self::Function(b)) => a == b,
            _ => number::compare(self, other) == Some(Ordering::Equal),
        })
    }

    fn dicts_equal(a: &Dict, b: &Dict) -> Result<bool> {
        if a.entries.len() != b.entries.len() {
            return Ok(false);
        }
        let _level = Level::enter()?;
        for (key, value) in &a.entries {
            match b.get(key)? {
                Some(other) if value.equals(other)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Returns whether `item` equals one of `all`.
    pub(super) fn among(item: &Value, all: &[Value]) -> Result<bool> {
        for other in all {
            if item.equals(other)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Orders two values, for `<` and the other order comparisons, and for sorting.
    ///
    /// # Errors
    /// The kinds have no order; the error shows `sign`.
    pub(super) fn order(&self, other: &Self, sign: &str) -> Result<Option<Ordering>> {
        self.defined()?;
        other.defined()?;
        spend(1)?;
        match (self, other) {
            (Self::Str(a), Self::Str(b)) => Ok(Some(a[..].cmp(&b[..]))),
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => {
                let _level = Level::enter()?;
                for (a, b) in a.items.iter().zip(&b.items) {
                    if !a.equals(b)? {
                        return a.order(b, sign);
                    }
                }
                Ok(Some(a.items.len().cmp(&b.items.len())))
            }
            (
                Self::Bool(_) | Self::Int(_) | Self::Float(_),
                Self::Bool(_) | Self::Int(_) | Self::Float(_),
            ) => Ok(number::compare(self, other)),
            _ => fail(format!(
                "'{sign}' not supported between instances of '{}' and '{}'",
                self.type_name(),
                other.type_name()
            )),
        }
    }

    /// Evaluates `item in self`.
    ///
    /// # Errors
    /// The value cannot contain items.
    pub(super) fn contains(&self, item: &Value) -> Result<bool> {
        match self {
            Self::Str(whole) => match item {
                Self::Str(part) => {
                    spend_on_text(whole.len())?;
                    Ok(text::find(whole, part).is_some())
                }
                other => {
                    let name = other.type_name();
                    fail(format!("'in <string>' requires string as left operand, not {name}"))
                }
            },
            Self::Dict(dict) | Self::View(View::Keys, dict) => Ok(dict.get(item)?.is_some()),
            Self::Range(range) => Ok(match item {
                Self::Float(number) if number.fract() == 0.0 => range.contains(*number as i128),
                other => other.as_int().is_some_and(|number| range.contains(number)),
            }),
            Self::Undefined(_) | Self::List(_) | Self::Tuple(_) | Self::View(..) | Self::Stream(_) => {
                Self::among(item, &self.items()?)
            }
            other => fail(format!("argument of type '{}' is not iterable", other.type_name())),
        }
    }
}
