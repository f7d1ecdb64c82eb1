//! Python's methods of lists, tuples, dictionaries and numbers.

use super::arguments::{Given, between};
use super::failure::{Result, fail, failure};
use super::interpreter::Interpreter;
use super::value::{Value, View};

impl Interpreter<'_> {
    pub(super) fn dict_method(&mut self, of: &Value, name: &'static str, given: Given) -> Result<Value> {
        let Value::Dict(dict) = of else { return fail("not a dict") };
        let whole = |given: Given, value: Value| given.none(name).map(|()| value);
        match name {
            "get" => {
                let [key, default] = given.bind(name, ["key", "default"], 1)?;
                let key = key.unwrap_or(Value::None);
                let found = dict.get(&key)?.cloned();
                Ok(found.or(default).unwrap_or(Value::None))
            }
            "items" => whole(given, view(of, View::Items)),
            "keys" => whole(given, view(of, View::Keys)),
            "values" => whole(given, view(of, View::Values)),
            "copy" => whole(given, of.clone()),
            _ => {
                let [keys, value] = given.bind(name, ["iterable", "value"], 1)?;
                let (keys, value) = (keys.unwrap_or(Value::None).items()?, value.unwrap_or(Value::None));
                Value::dict(keys.into_iter().map(|key| (key, value.clone())).collect::<Vec<_>>())
            }
        }
    }
}

pub(super) fn sequence_method(of: &Value, name: &'static str, given: Given) -> Result<Value> {
    match name {
        "count" => {
            let [what] = given.bind(name, ["value"], 1)?;
            let what = what.unwrap_or(Value::None);
            let mut number = 0;
            for item in of.items()? {
                number += i128::from(item.equals(&what)?);
            }
            Ok(Value::Int(number))
        }
        "index" => {
            let [what, start, stop] = given.bind(name, ["value", "start", "stop"], 1)?;
            let (what, items) = (what.unwrap_or(Value::None), of.items()?);
            let (start, stop) = between(&start, &stop, items.len())?.unwrap_or((0, 0));
            for (at, item) in items.iter().enumerate().take(stop).skip(start) {
                if item.equals(&what)? {
                    return Ok(Value::Int(at as i128));
                }
            }
            match of {
                Value::Tuple(_) => fail("tuple.index(x): x not in tuple"),
                _ => fail(format!("{} is not in list", what.name())),
            }
        }
        _ => given.none(name).map(|()| of.clone()),
    }
}

pub(super) fn number_method(of: &Value, name: &'static str, given: Given) -> Result<Value> {
    given.none(name)?;
    match (name, of.as_int(), of) {
        ("bit_length", Some(number), _) => {
            Ok(Value::Int(i128::from(128 - number.unsigned_abs().leading_zeros())))
        }
        ("bit_count", Some(number), _) => Ok(Value::Int(i128::from(number.unsigned_abs().count_ones()))),
        ("conjugate", Some(number), _) => Ok(Value::Int(number)),
        ("is_integer", _, Value::Float(number)) => {
            Ok(Value::Bool(number.is_finite() && number.fract() == 0.0))
        }
        ("conjugate", ..) => Ok(of.clone()),
        _ => Err(failure(format!("the method '{name}' of {} is not supported", of.type_name()))),
    }
}

/// Returns a dictionary's `keys()`, `values()` or `items()`.
fn view(of: &Value, kind: View) -> Value {
    match of {
        Value::Dict(dict) => Value::View(kind, dict.clone()),
        other => other.clone(),
    }
}
