//! Python's numbers. Integers beyond 128 bits are an error.

use std::cmp::Ordering;

use super::cases::is_decimal;
use super::failure::{Result, fail, failure};
use super::text::{self, Ch, Text, plain};
use super::value::Value;

pub(super) fn too_large<T>() -> Result<T> {
    fail("a number has more than 127 bits")
}

/// Converts a number to a float; an int may lose its last digits.
pub(super) fn as_float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        other => other.as_int().map(|number| number as f64),
    }
}

/// Orders two numbers; `None` for other values and for NaN.
pub(super) fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Float(a), b) => float_and_int(*a, b.as_int()?),
        (a, Value::Float(b)) => float_and_int(*b, a.as_int()?).map(Ordering::reverse),
        (a, b) => Some(a.as_int()?.cmp(&b.as_int()?)),
    }
}

/// Compares an int and a float exactly.
fn float_and_int(a: f64, b: i128) -> Option<Ordering> {
    if a.is_nan() {
        return None;
    }
    if a >= i128::MAX as f64 {
        return Some(Ordering::Greater);
    }
    if a < i128::MIN as f64 {
        return Some(Ordering::Less);
    }
    let whole = a.floor();
    Some((whole as i128).cmp(&b).then(if a > whole { Ordering::Greater } else { Ordering::Equal }))
}

/// Evaluates `+ - * / // % **` of numbers; `None` for other values.
pub(super) fn operate(sign: &str, a: &Value, b: &Value) -> Option<Result<Value>> {
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
        return Some(integers(sign, a, b));
    }
    Some(floats(sign, as_float(a)?, as_float(b)?))
}

fn integers(sign: &str, a: i128, b: i128) -> Result<Value> {
    let result = match sign {
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        "*" => a.checked_mul(b),
        "/" | "//" | "%" if b == 0 => {
            return fail(if sign == "/" { "division by zero" } else { "integer division or modulo by zero" });
        }
        "/" => return Ok(Value::Float(a as f64 / b as f64)),
        "//" => a.checked_div_euclid(b).map(|_| floor_div(a, b)),
        "%" => Some(a - floor_div(a, b) * b),
        _ if b < 0 && a == 0 => return fail("0.0 cannot be raised to a negative power"),
        _ if b < 0 => return Ok(Value::Float((a as f64).powf(b as f64))),
        _ => match (a, u32::try_from(b)) {
            (0 | 1, _) if b > 0 => Some(a),
            (-1, _) => Some(if b % 2 == 0 { 1 } else { -1 }),
            (_, Ok(b)) => a.checked_pow(b),
            _ => None,
        },
    };
    result.map_or_else(too_large, |number| Ok(Value::Int(number)))
}

fn floor_div(a: i128, b: i128) -> i128 {
    let quotient = a / b;
    if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient }
}

/// Returns Python's remainder, which has the sign of the divisor.
fn remainder(a: f64, b: f64) -> f64 {
    let rest = a % b;
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) {
        rest + b
    } else if rest == 0.0 {
        0.0f64.copysign(b)
    } else {
        rest
    }
}

fn floats(sign: &str, a: f64, b: f64) -> Result<Value> {
    let result = match sign {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" | "//" | "%" if b == 0.0 => {
            return fail(match sign {
                "/" => "float division by zero",
                "//" => "float floor division by zero",
                _ => "float modulo",
            });
        }
        "/" => a / b,
        "//" => {
            let quotient = (a - remainder(a, b)) / b;
            let floor = quotient.floor();
            if quotient - floor > 0.5 { floor + 1.0 } else { floor }
        }
        "%" => remainder(a, b),
        _ if a == 0.0 && b < 0.0 => return fail("0.0 cannot be raised to a negative power"),
        _ if a < 0.0 && b.fract() != 0.0 => return fail("complex numbers are not supported"),
        _ => {
            let power = a.powf(b);
            if power.is_infinite() && a.is_finite() && b.is_finite() {
                return fail("(34, 'Numerical result out of range')");
            }
            power
        }
    };
    Ok(Value::Float(result))
}

/// Splits a number into digits and exponent: `1.25e3` is `("125", 3)`.
fn shortest(number: f64) -> (String, i32) {
    let text = format!("{:e}", number.abs());
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (digits.replace('.', ""), exponent.parse().unwrap_or(0))
}

/// Returns Python's `repr` of a float.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    let sign = if number.is_sign_negative() { "-" } else { "" };
    if number.is_infinite() {
        return format!("{sign}inf");
    }
    let (digits, exponent) = shortest(number);
    if (-4..16).contains(&exponent) {
        let mut text = format!("{:.*}", (digits.len() as i32 - 1 - exponent).max(1) as usize, number.abs());
        // The number has no more digits than these, so nothing is rounded.
        if !text.contains('.') {
            text.push_str(".0");
        }
        return format!("{sign}{text}");
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let power = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{point}{rest}e{power}{:02}", exponent.abs())
}

/// Removes underscores, which are only allowed between digits.
fn without_underscores(text: &str) -> Option<String> {
    let bad = text.starts_with('_') || text.ends_with('_') || text.contains("__");
    (!bad).then(|| text.replace('_', ""))
}

/// Strips a text, converts it to lower case, and converts the digits of all scripts to ASCII.
fn numeral(text: &[Ch]) -> String {
    let digit = |c: char| -> char {
        if c.is_ascii() || !is_decimal(c) {
            return c;
        }
        // Each script has its digits in a run of ten, from 0 up.
        let before = |c: u32| char::from_u32(c - 1).is_some_and(is_decimal);
        let mut first = c as u32;
        while before(first) {
            first -= 1;
        }
        char::from_digit((c as u32 - first) % 10, 10).unwrap_or(c)
    };
    let text = text::trimmed(text, true, true, text::is_space);
    plain(text).chars().map(digit).collect::<String>().to_ascii_lowercase()
}

/// Implements Python's `int(text, base)`.
pub(super) fn parse_int(text: &[Ch], base: u32) -> Option<i128> {
    let text = numeral(text);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let (mut base, mut digits) = (base, digits);
    for (prefix, of) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let (Some(rest), true) = (digits.strip_prefix(prefix), base == of || base == 0) {
            digits = rest.strip_prefix('_').unwrap_or(rest);
            base = of;
            break;
        }
    }
    if base == 0 {
        base = 10;
        if digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|b| b != b'0' && b != b'_') {
            return None;
        }
    }
    let digits = without_underscores(digits)?;
    if digits.starts_with(['+', '-']) || !(2..=36).contains(&base) {
        return None;
    }
    let number = i128::from_str_radix(&digits, base).ok()?;
    Some(if negative { -number } else { number })
}

/// Implements Python's `float(text)`.
pub(super) fn parse_float(text: &[Ch]) -> Option<f64> {
    let text = numeral(text);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(&text);
    if ["inf", "infinity", "nan"].contains(&unsigned) {
        return text.parse().ok();
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    without_underscores(&text)?.parse().ok()
}

/// Implements Python's `int(number)`, which drops the fraction.
pub(super) fn truncate(number: f64) -> Result<i128> {
    match number {
        _ if number.is_nan() => fail("cannot convert float NaN to integer"),
        _ if number.is_infinite() => fail("cannot convert float infinity to integer"),
        _ if number.abs() >= i128::MAX as f64 => too_large(),
        _ => Ok(number.trunc() as i128),
    }
}

/// Implements Python's `round(value, digits)`.
pub(super) fn round(value: &Value, digits: i128) -> Result<Value> {
    if let Some(number) = value.as_int() {
        if digits >= 0 {
            return Ok(Value::Int(number));
        }
        let Some(unit) = u32::try_from(-digits).ok().and_then(|digits| 10i128.checked_pow(digits)) else {
            return Ok(Value::Int(0));
        };
        let below = floor_div(number, unit) * unit;
        let up = match (number - below).cmp(&(unit - (number - below))) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => floor_div(below, unit) % 2 != 0,
        };
        return if up {
            below.checked_add(unit).map_or_else(too_large, |n| Ok(Value::Int(n)))
        } else {
            Ok(Value::Int(below))
        };
    }
    let Some(number) = as_float(value) else {
        return fail(format!("type {} doesn't define __round__ method", value.type_name()));
    };
    if digits > 300 || !number.is_finite() {
        return Ok(Value::Float(number));
    }
    if digits >= 0 {
        let text = format!("{number:.*}", digits as usize);
        return text.parse().map(Value::Float).map_err(|_| failure("cannot round"));
    }
    let unit = 10f64.powi(i32::try_from(-digits).unwrap_or(400).min(400));
    if unit.is_infinite() {
        return Ok(Value::Float(0.0f64.copysign(number)));
    }
    Ok(Value::Float((number / unit).round_ties_even() * unit))
}

/// Converts a value to an integer for a size or a position.
///
/// # Errors
/// The value is not an integer.
pub(super) fn index(value: &Value) -> Result<i128> {
    value.defined()?;
    value.as_int().map_or_else(
        || fail(format!("'{}' object cannot be interpreted as an integer", value.type_name())),
        Ok,
    )
}

/// Formats an int.
pub(super) fn int(number: i128) -> Text {
    Text::from(number.to_string().as_str())
}
