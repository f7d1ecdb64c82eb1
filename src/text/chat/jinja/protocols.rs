//! Python's protocols of values: truth, length and iteration.

use super::failure::{Result, fail, spend};
use super::value::{Value, View};

impl Value {
    /// Returns the truth of a value, as Python's `bool(value)`.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(b) => *b,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::List(seq) | Self::Tuple(seq) => !seq.items.is_empty(),
            Self::Dict(dict) | Self::View(_, dict) => !dict.entries.is_empty(),
            Self::Range(range) => range.len() > 0,
            _ => true,
        }
    }

    /// Implements Python's `len(value)`.
    ///
    /// # Errors
    /// The value has no length.
    pub(super) fn len(&self) -> Result<usize> {
        Ok(match self {
            Self::Undefined(_) => 0,
            Self::Str(text) => text.len(),
            Self::List(seq) | Self::Tuple(seq) => seq.items.len(),
            Self::Dict(dict) | Self::View(_, dict) => dict.entries.len(),
            Self::Range(range) => range.len(),
            Self::Loop(it) => it.items.len(),
            other => return fail(format!("object of type '{}' has no len()", other.type_name())),
        })
    }

    /// Returns the items of a value. An iterator returns its items only once.
    ///
    /// # Errors
    /// The value is not iterable.
    pub(super) fn items(&self) -> Result<Vec<Value>> {
        let items: Vec<Value> = match self {
            Self::Undefined(_) => Vec::new(),
            Self::Str(text) => text.iter().map(|&c| Self::Str([c][..].into())).collect(),
            Self::List(seq) | Self::Tuple(seq) => seq.items.clone(),
            Self::Dict(dict) | Self::View(View::Keys, dict) => {
                dict.entries.iter().map(|(key, _)| key.clone()).collect()
            }
            Self::View(View::Values, dict) => dict.entries.iter().map(|(_, value)| value.clone()).collect(),
            Self::View(View::Items, dict) => {
                let pair = |(key, value): &(Value, Value)| Self::tuple(vec![key.clone(), value.clone()]);
                dict.entries.iter().map(pair).collect::<Result<_>>()?
            }
            Self::Range(range) => {
                spend(range.len())?;
                (0..range.len()).map(|index| Self::Int(range.at(index))).collect()
            }
            Self::Stream(stream) => stream.items.take().into(),
            other => return fail(format!("'{}' object is not iterable", other.type_name())),
        };
        spend(items.len())?;
        Ok(items)
    }
}
