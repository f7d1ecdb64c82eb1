//! Evaluates expressions.

use super::arguments::Given;
use super::ast::{Arguments, Expr};
use super::failure::{Result, fail, failure, spend, spend_on_text};
use super::interpreter::Interpreter;
use super::number;
use super::range::Range;
use super::scope::Scope;
use super::text::{self, Ch, Text};
use super::value::Value;

impl<'t> Interpreter<'t> {
    /// Evaluates an expression.
    ///
    /// # Errors
    /// Python would raise an error, or a limit of the rendering is exceeded.
    pub(super) fn eval(&mut self, expression: &'t Expr, scope: &Scope) -> Result<Value> {
        self.deeper(|it| it.eval_any(expression, scope))
    }

    fn eval_all(&mut self, expressions: &'t [Expr], scope: &Scope) -> Result<Vec<Value>> {
        expressions.iter().map(|expression| self.eval(expression, scope)).collect()
    }

    fn eval_any(&mut self, expression: &'t Expr, scope: &Scope) -> Result<Value> {
        match expression {
            Expr::Const(value) => Ok(value.clone()),
            Expr::Name(name) => match scope.get(name).or_else(|| Self::function(name)) {
                Some(value) => Ok(value),
                None if **name == *"self" => fail("'self' is not supported: a chat template stands alone"),
                None => Ok(Value::undefined(format!("'{name}' is undefined"))),
            },
            Expr::List(items) => Value::list(self.eval_all(items, scope)?),
            Expr::Tuple(items) => Value::tuple(self.eval_all(items, scope)?),
            Expr::Dict(pairs) => {
                let mut entries = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    entries.push((self.eval(key, scope)?, self.eval(value, scope)?));
                }
                Value::dict(entries)
            }
            Expr::Attribute(of, name) => {
                let of = self.eval(of, scope)?;
                self.attribute(&of, name)
            }
            Expr::Item(of, index) => {
                let of = self.eval(of, scope)?;
                let index = self.eval(index, scope)?;
                self.item(&of, &index)
            }
            Expr::Slice(of, parts) => {
                let of = self.eval(of, scope)?;
                let mut numbers = [None; 3];
                for (number, part) in numbers.iter_mut().zip(parts) {
                    *number = match part {
                        None => None,
                        Some(part) => match self.eval(part, scope)? {
                            Value::None => None,
                            value => Some(number::index(&value)?),
                        },
                    };
                }
                slice(&of, numbers)
            }
            Expr::Call(callee, arguments) => {
                let callee = self.eval(callee, scope)?;
                let given = self.given(arguments, scope)?;
                self.call(&callee, given)
            }
            Expr::Filter(of, name, arguments) => {
                let of = self.eval(of, scope)?;
                let given = self.given(arguments, scope)?;
                self.filter(name, &of, given)
            }
            Expr::Test(of, name, arguments) => {
                let of = self.eval(of, scope)?;
                let given = self.given(arguments, scope)?;
                Ok(Value::Bool(self.test(name, &of, given)?))
            }
            Expr::Not(of) => Ok(Value::Bool(!self.eval(of, scope)?.is_true())),
            Expr::Sign(sign, of) => signed(sign, self.eval(of, scope)?.defined()?),
            Expr::And(left, right) => {
                let left = self.eval(left, scope)?;
                if left.is_true() { self.eval(right, scope) } else { Ok(left) }
            }
            Expr::Or(left, right) => {
                let left = self.eval(left, scope)?;
                if left.is_true() { Ok(left) } else { self.eval(right, scope) }
            }
            Expr::Binary(sign, left, right) => {
                let left = self.eval(left, scope)?;
                let right = self.eval(right, scope)?;
                self.binary(sign, &left, &right)
            }
            Expr::Concat(parts) => {
                let mut out = Vec::new();
                for part in parts {
                    let value = self.eval(part, scope)?;
                    self.write(&value, &mut out)?;
                }
                Ok(Value::Str(out.into()))
            }
            Expr::Compare(first, rest) => {
                let mut left = self.eval(first, scope)?;
                for (sign, right) in rest {
                    let right = self.eval(right, scope)?;
                    if !super::compare::compare(sign, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Expr::Choice(condition, then, otherwise) => {
                match (self.eval(condition, scope)?.is_true(), otherwise) {
                    (true, _) => self.eval(then, scope),
                    (false, Some(otherwise)) => self.eval(otherwise, scope),
                    (false, None) => Ok(Value::undefined(
                        "the inline if-expression evaluated to false and no else section was defined.",
                    )),
                }
            }
        }
    }

    pub(super) fn given(&mut self, arguments: &'t Arguments, scope: &Scope) -> Result<Given> {
        let mut given = Given { positional: self.eval_all(&arguments.positional, scope)?, named: Vec::new() };
        for (name, value) in &arguments.named {
            given.named.push((name.clone(), self.eval(value, scope)?));
        }
        if let Some(more) = &arguments.more {
            given.positional.extend(self.eval(more, scope)?.items()?);
        }
        if let Some(more) = &arguments.more_named {
            let Value::Dict(dict) = self.eval(more, scope)? else {
                return fail("argument after ** must be a mapping");
            };
            for (name, value) in &dict.entries {
                let name = name.as_text().ok_or_else(|| failure("keywords must be strings"))?;
                given.named.push((text::plain(name).as_str().into(), value.clone()));
            }
        }
        Ok(given)
    }

    fn binary(&mut self, sign: &'static str, left: &Value, right: &Value) -> Result<Value> {
        left.defined()?;
        if let ("%", Value::Str(format)) = (sign, left) {
            return self.percent(format, right).map(Value::Str);
        }
        right.defined()?;
        if let Some(number) = number::operate(sign, left, right) {
            return number;
        }
        match (sign, left, right) {
            ("+", Value::Str(a), Value::Str(b)) => {
                let safe = a.safe || b.safe;
                let escaped = |text: &Text| {
                    if safe && !text.safe { super::markup::escaped(text) } else { text.clone() }
                };
                let (a, b) = (escaped(a), escaped(b));
                spend_on_text(a.len() + b.len())?;
                let joined = Text::from([&a[..], &b[..]].concat());
                Ok(Value::Str(if safe { joined.marked_safe() } else { joined }))
            }
            ("+", Value::List(a), Value::List(b)) => Value::list([&a.items[..], &b.items[..]].concat()),
            ("+", Value::Tuple(a), Value::Tuple(b)) => Value::tuple([&a.items[..], &b.items[..]].concat()),
            ("+", Value::Str(_), other) => {
                fail(format!("can only concatenate str (not \"{}\") to str", other.type_name()))
            }
            ("+", Value::List(_), other) => {
                fail(format!("can only concatenate list (not \"{}\") to list", other.type_name()))
            }
            ("*", sequence, times) if times.as_int().is_some() => repeat(sequence, times),
            ("*", times, sequence) if times.as_int().is_some() => repeat(sequence, times),
            _ => fail(format!(
                "unsupported operand type(s) for {}: '{}' and '{}'",
                if sign == "**" { "** or pow()" } else { sign },
                left.type_name(),
                right.type_name()
            )),
        }
    }
}

fn repeat(sequence: &Value, times: &Value) -> Result<Value> {
    let times = usize::try_from(number::index(times)?.max(0)).unwrap_or(usize::MAX);
    let length = sequence.len().unwrap_or(1);
    match sequence {
        Value::Str(text) => {
            spend_on_text(length.saturating_mul(times))?;
            let repeated = Text::from(text.repeat(times));
            Ok(Value::Str(if text.safe { repeated.marked_safe() } else { repeated }))
        }
        Value::List(seq) | Value::Tuple(seq) => {
            spend(length.saturating_mul(times))?;
            let items = (0..times).flat_map(|_| seq.items.iter().cloned()).collect();
            if matches!(sequence, Value::List(_)) { Value::list(items) } else { Value::tuple(items) }
        }
        other => fail(format!("can't multiply sequence by non-int of type '{}'", other.type_name())),
    }
}

fn signed(sign: &str, value: &Value) -> Result<Value> {
    match (value, value.as_int()) {
        (_, Some(number)) if sign == "-" => {
            number.checked_neg().map_or_else(number::too_large, |number| Ok(Value::Int(number)))
        }
        (_, Some(number)) => Ok(Value::Int(number)),
        (Value::Float(number), _) => Ok(Value::Float(if sign == "-" { -number } else { *number })),
        _ => fail(format!("bad operand type for unary {sign}: '{}'", value.type_name())),
    }
}

/// Returns start, stop and step of a slice in a sequence, as Python computes them.
///
/// # Errors
/// The step is 0.
fn places([start, stop, step]: [Option<i128>; 3], length: usize) -> Result<(i128, i128, i128)> {
    let length = length as i128;
    let step = step.unwrap_or(1);
    if step == 0 {
        return fail("slice step cannot be zero");
    }
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let place = |given: Option<i128>, default: i128| match given {
        None => default,
        Some(at) if at < 0 => (at.saturating_add(length)).max(low),
        Some(at) => at.min(high),
    };
    let (first, last) = if step > 0 { (low, high) } else { (high, low) };
    Ok((place(start, first), place(stop, last), step.clamp(-i128::from(i64::MAX), i128::from(i64::MAX))))
}

pub(super) fn slice(of: &Value, parts: [Option<i128>; 3]) -> Result<Value> {
    let picked = |length: usize| -> Result<Vec<usize>> {
        let (start, stop, step) = places(parts, length)?;
        let range = Range { start, stop, step };
        spend(range.len() / 8)?;
        Ok((0..range.len()).map(|index| range.at(index) as usize).collect())
    };
    match of {
        Value::Str(text) => {
            let chars: Vec<Ch> = picked(text.len())?.into_iter().map(|at| text[at]).collect();
            let sliced = Text::from(chars);
            Ok(Value::Str(if text.safe { sliced.marked_safe() } else { sliced }))
        }
        Value::List(seq) => {
            Value::list(picked(seq.items.len())?.into_iter().map(|at| seq.items[at].clone()).collect())
        }
        Value::Tuple(seq) => {
            Value::tuple(picked(seq.items.len())?.into_iter().map(|at| seq.items[at].clone()).collect())
        }
        Value::Range(range) => {
            let (start, stop, step) = places(parts, range.len())?;
            let at = |index: i128| range.start + index * range.step;
            Ok(Value::Range(Range { start: at(start), stop: at(stop), step: range.step * step }))
        }
        other => fail(format!("'{}' object cannot be sliced", other.defined()?.type_name())),
    }
}
