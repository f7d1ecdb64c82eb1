//! Jinja's tests: `value is name`.

use super::arguments::Given;
use super::cases;
use super::failure::{Result, fail, failure};
use super::interpreter::Interpreter;
use super::number;
use super::value::Value;

impl Interpreter<'_> {
    /// Evaluates `value is test`.
    ///
    /// # Errors
    /// Python would raise an error, or the test is unknown.
    pub(super) fn test(&mut self, name: &str, of: &Value, given: Given) -> Result<bool> {
        let sign = match name {
            "eq" | "equalto" | "==" => "==",
            "ne" | "!=" => "!=",
            "lt" | "lessthan" | "<" => "<",
            "le" | "<=" => "<=",
            "gt" | "greaterthan" | ">" => ">",
            "ge" | ">=" => ">=",
            "in" => "in",
            _ => "",
        };
        if !sign.is_empty() {
            let [other] = given.bind(name, ["other"], 1)?;
            return super::compare::compare(sign, of, &other.unwrap_or(Value::None));
        }
        if let "divisibleby" | "sameas" = name {
            let [other] = given.bind(name, ["other"], 1)?;
            let other = other.unwrap_or(Value::None);
            return match name {
                "sameas" => same(of, &other),
                _ => remainder(of, &other, 0),
            };
        }
        given.none(name)?;
        Ok(match name {
            "odd" => remainder(of, &Value::Int(2), 1)?,
            "even" => remainder(of, &Value::Int(2), 0)?,
            "defined" => !matches!(of, Value::Undefined(_)),
            "undefined" => matches!(of, Value::Undefined(_)),
            "none" => matches!(of, Value::None),
            "boolean" => matches!(of, Value::Bool(_)),
            "false" => matches!(of, Value::Bool(false)),
            "true" => matches!(of, Value::Bool(true)),
            "integer" => matches!(of, Value::Int(_)),
            "float" => matches!(of, Value::Float(_)),
            "number" => matches!(of, Value::Int(_) | Value::Float(_) | Value::Bool(_)),
            "string" => matches!(of, Value::Str(_)),
            "mapping" => matches!(of, Value::Dict(_)),
            "lower" => cases::all_lower(&self.text(of)?),
            "upper" => cases::all_upper(&self.text(of)?),
            "sequence" => matches!(
                of,
                Value::Undefined(_)
                    | Value::Str(_)
                    | Value::List(_)
                    | Value::Tuple(_)
                    | Value::Dict(_)
                    | Value::Range(_)
            ),
            "iterable" => matches!(
                of,
                Value::Undefined(_)
                    | Value::Str(_)
                    | Value::List(_)
                    | Value::Tuple(_)
                    | Value::Dict(_)
                    | Value::View(..)
                    | Value::Range(_)
                    | Value::Stream(_)
                    | Value::Loop(_)
            ),
            "callable" => matches!(
                of,
                Value::Undefined(_)
                    | Value::Function(_)
                    | Value::Method(_)
                    | Value::Macro(_)
                    | Value::Joiner(_)
                    | Value::Loop(_)
            ),
            "escaped" => matches!(of, Value::Str(text) if text.safe),
            "filter" => super::filters::FILTERS.iter().any(|filter| of.is_str(filter)),
            "test" => TESTS.iter().any(|test| of.is_str(test)),
            _ => return fail(format!("No test named '{name}'.")),
        })
    }
}

const TESTS: [&str; 39] = [
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

/// Returns whether a division leaves this remainder.
fn remainder(of: &Value, by: &Value, left: i128) -> Result<bool> {
    match number::operate("%", of.defined()?, by.defined()?) {
        Some(rest) => rest?.equals(&Value::Int(left)),
        // A string is an error, although Python's `%` would format it.
        None => fail(format!("'{}' is not a number", of.type_name())),
    }
}

/// Returns whether two values are identical; immutable ones are compared by kind and value.
fn same(a: &Value, b: &Value) -> Result<bool> {
    if std::mem::discriminant(a) != std::mem::discriminant(b) {
        return Ok(false);
    }
    match (a, b) {
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            Ok(std::rc::Rc::ptr_eq(a, b))
        }
        (Value::Dict(a), Value::Dict(b)) => Ok(std::rc::Rc::ptr_eq(a, b)),
        (Value::Undefined(_), _) => Err(failure("sameas of undefined values is not supported")),
        _ => a.equals(b),
    }
}
