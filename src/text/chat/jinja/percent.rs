//! Python's formatting with `%`, as in `'%d items' % 3`.

use super::failure::{Result, fail, failure, spend_on_text};
use super::interpreter::Interpreter;
use super::number;
use super::spec::{MAX_WIDTH, Spec, digits};
use super::text::{Ch, Text, plain, push};
use super::value::Value;

/// The arguments of `%`, consumed one by one.
struct Operands<'v> {
    all: &'v Value,
    taken: usize,
}

impl Operands<'_> {
    fn next(&mut self) -> Result<Value> {
        let value = match self.all {
            Value::Tuple(seq) => seq.items.get(self.taken).cloned(),
            other => (self.taken == 0).then(|| other.clone()),
        };
        self.taken += 1;
        value.ok_or_else(|| failure("not enough arguments for format string"))
    }

    fn width(&mut self) -> Result<i128> {
        let value = self.next()?;
        let width = value.as_int().ok_or_else(|| failure("* wants int"))?;
        if width.unsigned_abs() > MAX_WIDTH as u128 {
            return fail(format!("a width of more than {MAX_WIDTH} is not supported"));
        }
        Ok(width)
    }
}

impl Interpreter<'_> {
    /// Evaluates `format % values`.
    ///
    /// # Errors
    /// Python would raise an error.
    pub(super) fn percent(&mut self, format: &Text, values: &Value) -> Result<Text> {
        let mut out = Vec::new();
        let mut operands = Operands { all: values, taken: 0 };
        if format.safe {
            return fail("% of a text that is marked as safe is not supported");
        }
        let mut at = 0;
        while at < format.len() {
            if !format[at].is('%') {
                out.push(format[at]);
                at += 1;
                continue;
            }
            at += 1;
            let mut key = None;
            if format.get(at).is_some_and(|c| c.is('(')) {
                let mut depth = 1;
                let start = at + 1;
                while depth > 0 {
                    at += 1;
                    let Some(c) = format.get(at) else { return fail("incomplete format key") };
                    depth += i32::from(c.is('(')) - i32::from(c.is(')'));
                }
                key = Some(Text::from(&format[start..at]));
                at += 1;
            }
            let mut spec = Spec::default();
            let (mut left, mut zero) = (false, false);
            while let Some(flag) = format.get(at).map(|c| c.char()).filter(|c| "-+ #0".contains(*c)) {
                match flag {
                    '-' => left = true,
                    '+' => spec.sign = '+',
                    ' ' if spec.sign != '+' => spec.sign = ' ',
                    '#' => spec.alternate = true,
                    '0' => zero = true,
                    _ => {}
                }
                at += 1;
            }
            if format.get(at).is_some_and(|c| c.is('*')) {
                at += 1;
                let width = operands.width()?;
                left |= width < 0;
                spec.width = width.unsigned_abs() as usize;
            } else {
                spec.width = digits(format, &mut at)?.unwrap_or(0);
            }
            if format.get(at).is_some_and(|c| c.is('.')) {
                at += 1;
                spec.precision = Some(if format.get(at).is_some_and(|c| c.is('*')) {
                    at += 1;
                    operands.width()?.max(0) as usize
                } else {
                    digits(format, &mut at)?.unwrap_or(0)
                });
            }
            while format.get(at).is_some_and(|c| matches!(c.char(), 'h' | 'l' | 'L')) {
                at += 1;
            }
            let Some(kind) = format.get(at).map(|c| c.char()) else { return fail("incomplete format") };
            at += 1;
            if kind == '%' {
                push(&mut out, "%");
                continue;
            }
            let value = match &key {
                Some(key) => {
                    let Value::Dict(dict) = values else { return fail("format requires a mapping") };
                    let key = Value::Str(key.clone());
                    let found = dict.get(&key)?.cloned();
                    found.ok_or_else(|| failure(format!("the key '{}' is missing", key.name())))?
                }
                None => operands.next()?,
            };
            if left {
                spec.align = Some('<');
            } else if zero && kind != 's' && kind != 'r' && kind != 'a' && kind != 'c' {
                (spec.align, spec.fill) = (Some('='), Ch::new('0', 0));
            }
            spec.kind = kind;
            let written = self.percent_one(&spec, &value)?;
            spend_on_text(written.len())?;
            out.extend(written);
        }
        let wanted = match values {
            Value::Tuple(seq) => seq.items.len(),
            Value::Undefined(_) | Value::Dict(_) | Value::List(_) | Value::Range(_) => 0,
            _ => 1,
        };
        if operands.taken < wanted {
            return fail("not all arguments converted during string formatting");
        }
        Ok(Text::from(out))
    }

    fn percent_one(&mut self, spec: &Spec, value: &Value) -> Result<Vec<Ch>> {
        let wants = |what: &str| {
            fail(format!("%{} format: {what} is required, not {}", spec.kind, value.type_name()))
        };
        match spec.kind {
            's' | 'r' | 'a' => {
                let mut text = Vec::new();
                match spec.kind {
                    's' => self.write(value, &mut text)?,
                    _ => self.repr(value, &mut text)?,
                }
                if spec.kind == 'a' && text.iter().any(|c| !c.char().is_ascii()) {
                    return fail("%a of characters beyond ASCII is not supported");
                }
                text.truncate(spec.precision.unwrap_or(usize::MAX));
                spec.padded(&text, '>')
            }
            'c' => match (value, value.as_int()) {
                (Value::Str(text), _) if text.len() == 1 => spec.padded(text, '>'),
                (_, Some(code)) => {
                    let c = u32::try_from(code).ok().and_then(char::from_u32);
                    let c = c.ok_or_else(|| failure("%c arg not in range(0x110000)"))?;
                    spec.padded(&[Ch::new(c, 0)], '>')
                }
                _ => fail("%c requires int or char"),
            },
            'd' | 'i' | 'u' => match (value, value.as_int()) {
                (Value::Float(number), _) => self.percent_int(spec, number::truncate(*number)?),
                (_, Some(number)) => self.percent_int(spec, number),
                _ => wants("a real number"),
            },
            'x' | 'X' | 'o' => match value.as_int() {
                Some(number) => self.percent_int(spec, number),
                None => wants("an integer"),
            },
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => match number::as_float(value) {
                Some(number) => spec.float(number),
                None => fail(format!("must be real number, not {}", value.type_name())),
            },
            other => fail(format!("unsupported format character '{other}'")),
        }
    }

    /// Applies a precision to an integer, which for `%` is its minimum number of digits.
    fn percent_int(&mut self, spec: &Spec, number: i128) -> Result<Vec<Ch>> {
        let Some(precision) = spec.precision else { return spec.int(number) };
        let bare = Spec { width: 0, align: None, sign: '-', alternate: false, ..spec.clone() };
        let digits = plain(&bare.int(i128::try_from(number.unsigned_abs()).unwrap_or(i128::MAX))?);
        let digits = format!("{digits:0>precision$}");
        let prefix = match spec.kind {
            'x' if spec.alternate => "0x",
            'X' if spec.alternate => "0X",
            'o' if spec.alternate => "0o",
            _ => "",
        };
        spec.number(number < 0, prefix, &digits)
    }
}
