//! Arguments of a call, and functions that read them.

use std::rc::Rc;

use super::failure::{Result, fail};
use super::number;
use super::text::Text;
use super::value::Value;

/// Evaluated arguments.
#[derive(Default)]
pub(super) struct Given {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(Rc<str>, Value)>,
}

impl Given {
    /// Returns the arguments in the order of `names`, the first `required` of which are required.
    ///
    /// # Errors
    /// There are too many arguments, too few, or unknown names.
    pub(super) fn bind<const N: usize>(
        self,
        of: &str,
        names: [&str; N],
        required: usize,
    ) -> Result<[Option<Value>; N]> {
        if self.positional.len() > N {
            let count = self.positional.len();
            return fail(format!("{of} takes at most {N} arguments ({count} given)"));
        }
        let mut bound = [const { None }; N];
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            let Some(place) = names.iter().position(|known| **known == *name) else {
                return fail(format!("{of} got an unexpected keyword argument '{name}'"));
            };
            if bound[place].replace(value).is_some() {
                return fail(format!("{of} got multiple values for argument '{name}'"));
            }
        }
        match bound[..required].iter().position(Option::is_none) {
            Some(missing) => fail(format!("{of} is missing its argument '{}'", names[missing])),
            None => Ok(bound),
        }
    }

    /// Checks that there are no arguments.
    ///
    /// # Errors
    /// There is an argument.
    pub(super) fn none(self, of: &str) -> Result<()> {
        self.bind::<0>(of, [], 0).map(drop)
    }
}

/// Converts an argument to a number; a missing one is 0.
pub(super) fn int_of(value: &Option<Value>) -> Result<i128> {
    value.as_ref().map_or(Ok(0), number::index)
}

/// Returns whether an argument is true.
pub(super) fn is_set(value: &Option<Value>) -> bool {
    value.as_ref().is_some_and(Value::is_true)
}

/// Returns a string argument.
pub(super) fn string(value: &Option<Value>, of: &str) -> Result<Text> {
    match value {
        Some(Value::Str(text)) => Ok(text.clone()),
        Some(other) => fail(format!("{of} takes a str, not {}", other.defined()?.type_name())),
        None => fail(format!("{of} takes a str")),
    }
}

/// Returns a string argument that may be missing or none.
pub(super) fn optional(value: &Option<Value>, of: &str) -> Result<Option<Text>> {
    match value {
        None | Some(Value::None) => Ok(None),
        some => string(some, of).map(Some),
    }
}

/// Returns a count; a missing or negative one means all.
pub(super) fn count(value: &Option<Value>) -> Result<usize> {
    let number = value.as_ref().map_or(Ok(-1), number::index)?;
    Ok(if number < 0 { usize::MAX } else { usize::try_from(number).unwrap_or(usize::MAX) })
}

/// Returns the range between a method's start and stop arguments.
pub(super) fn between(
    start: &Option<Value>,
    stop: &Option<Value>,
    length: usize,
) -> Result<Option<(usize, usize)>> {
    let place = |value: &Option<Value>, default: usize| -> Result<i128> {
        match value {
            None | Some(Value::None) => Ok(default as i128),
            Some(value) => {
                let at = number::index(value)?;
                Ok(if at < 0 { (at + length as i128).max(0) } else { at })
            }
        }
    };
    let (start, stop) = (place(start, 0)?, place(stop, length)?.min(length as i128));
    Ok((start <= stop).then_some((start as usize, stop as usize)))
}
