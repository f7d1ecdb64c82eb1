//! Format specifications: width, sign, digits, for both `%` and `str.format`.

use super::failure::{Result, fail};
use super::lengthen::padded;
use super::number;
use super::text::{Ch, Text, plain};

/// Maximum of width and precision.
pub(super) const MAX_WIDTH: usize = 10_000;

/// A format specification.
#[derive(Clone)]
pub(super) struct Spec {
    pub(super) fill: Ch,
    /// The alignment `<`, `>`, `^` or `=`, or the default of the value's kind.
    pub(super) align: Option<char>,
    pub(super) sign: char,
    pub(super) alternate: bool,
    pub(super) width: usize,
    pub(super) group: Option<char>,
    pub(super) precision: Option<usize>,
    pub(super) kind: char,
}

impl Default for Spec {
    fn default() -> Self {
        let fill = Ch::new(' ', 0);
        Self {
            fill,
            align: None,
            sign: '-',
            alternate: false,
            width: 0,
            group: None,
            precision: None,
            kind: '\0',
        }
    }
}

impl Spec {
    pub(super) fn padded(&self, text: &[Ch], default: char) -> Result<Vec<Ch>> {
        let space = self.width.saturating_sub(text.len());
        match self.align.unwrap_or(default) {
            '<' => padded(text, 0, space, self.fill),
            '^' => padded(text, space / 2, space - space / 2, self.fill),
            _ => padded(text, space, 0, self.fill),
        }
    }

    /// Concatenates sign, prefix and digits, with padding between them if it is zeros.
    pub(super) fn number(&self, negative: bool, prefix: &str, digits: &str) -> Result<Vec<Ch>> {
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, '+') => "+",
            (false, ' ') => " ",
            _ => "",
        };
        let head = format!("{sign}{prefix}");
        let mut digits = digits.to_owned();
        if self.align == Some('=') {
            let space = self.width.saturating_sub(head.len());
            if let (Some(group), true) = (self.group, self.fill.is('0')) {
                // Zeros count as digits and are grouped with them.
                let (whole, rest) = digits.split_at(digits.find(['.', 'e', 'E']).unwrap_or(digits.len()));
                let mut plain: String = whole.chars().filter(|c| *c != group).collect();
                let mut grouped = groups(&plain, group, self.group_size());
                while grouped.len() + rest.len() < space {
                    plain.insert(0, '0');
                    grouped = groups(&plain, group, self.group_size());
                }
                digits = grouped + rest;
            }
            let zeros =
                padded(&Text::from(digits.as_str()), space.saturating_sub(digits.len()), 0, self.fill)?;
            return Ok([&Text::from(head.as_str())[..], &zeros].concat());
        }
        self.padded(&Text::from((head + &digits).as_str()), '>')
    }

    fn group_size(&self) -> usize {
        if matches!(self.kind, 'b' | 'o' | 'x' | 'X') { 4 } else { 3 }
    }

    pub(super) fn int(&self, number: i128) -> Result<Vec<Ch>> {
        let size = number.unsigned_abs();
        let (prefix, digits) = match self.kind {
            'x' => ("0x", format!("{size:x}")),
            'X' => ("0X", format!("{size:X}")),
            'o' => ("0o", format!("{size:o}")),
            'b' => ("0b", format!("{size:b}")),
            _ => ("", size.to_string()),
        };
        let digits = match self.group {
            Some(group) => groups(&digits, group, self.group_size()),
            None => digits,
        };
        self.number(number < 0, if self.alternate { prefix } else { "" }, &digits)
    }

    pub(super) fn float(&self, number: f64) -> Result<Vec<Ch>> {
        let percent = self.kind == '%';
        let size = if percent { number.abs() * 100.0 } else { number.abs() };
        let upper = self.kind.is_ascii_uppercase();
        let mut digits = if size.is_nan() {
            "nan".into()
        } else if size.is_infinite() {
            "inf".into()
        } else {
            let precision = self.precision.unwrap_or(6);
            match self.kind.to_ascii_lowercase() {
                'e' => exponential(size, precision),
                'g' => general(size, precision.max(1), self.alternate, 0),
                'f' | '%' => format!("{size:.precision$}"),
                // Without a type: as `str`, or with the given digits, and always at least one digit after the point.
                _ => match self.precision {
                    None => number::float(size),
                    Some(precision) => {
                        let text = general(size, precision.max(1), false, 1);
                        if text.contains(['.', 'e']) { text } else { text + ".0" }
                    }
                },
            }
        };
        if let (Some(group), true) = (self.group, size.is_finite()) {
            let at = digits.find(['.', 'e']).unwrap_or(digits.len());
            digits = groups(&digits[..at], group, 3) + &digits[at..];
        }
        if percent {
            digits.push('%');
        }
        if upper {
            digits = digits.to_uppercase();
        }
        self.number(number.is_sign_negative() && !number.is_nan(), "", &digits)
    }
}

fn groups(digits: &str, group: char, size: usize) -> String {
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(size) {
            out.push(group);
        }
        out.push(digit);
    }
    out
}

/// Formats with an exponent of at least two digits.
fn exponential(size: f64, precision: usize) -> String {
    let text = format!("{size:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Formats as `%g`: the shorter of the two forms, without zeros at the end. `more` gives additional digits.
fn general(size: f64, precision: usize, zeros: bool, more: i32) -> String {
    let scientific = exponential(size, precision - 1);
    let exponent: i32 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') && !zeros {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent + more >= precision as i32 {
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "+00"));
        return format!("{}e{exponent}", trimmed(digits));
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{size:.decimals$}"))
}

pub(super) fn digits(text: &[Ch], at: &mut usize) -> Result<Option<usize>> {
    let mut number: Option<usize> = None;
    while let Some(digit) = text.get(*at).and_then(|c| c.char().to_digit(10)) {
        let value = number.unwrap_or(0) * 10 + digit as usize;
        if value > MAX_WIDTH {
            return fail(format!("a width of more than {MAX_WIDTH} is not supported"));
        }
        number = Some(value);
        *at += 1;
    }
    Ok(number)
}

/// Parses `[[fill]align][sign][#][0][width][grouping][.precision][type]`.
pub(super) fn parsed(format: &Text) -> Result<Spec> {
    let mut spec = Spec::default();
    let is_align = |at: usize| format.get(at).map(|c| c.char()).filter(|c| "<>^=".contains(*c));
    let mut at = 0;
    if let Some(align) = is_align(1) {
        (spec.fill, spec.align, at) = (format[0], Some(align), 2);
    } else if let Some(align) = is_align(0) {
        (spec.align, at) = (Some(align), 1);
    }
    let peek = |at: usize| format.get(at).map_or('\0', |c| c.char());
    if "+- ".contains(peek(at)) && at < format.len() {
        spec.sign = peek(at);
        at += 1;
    }
    if peek(at) == '#' {
        spec.alternate = true;
        at += 1;
    }
    if peek(at) == '0' {
        if spec.align.is_none() {
            (spec.fill, spec.align) = (Ch::new('0', 0), Some('='));
        }
        at += 1;
    }
    spec.width = digits(format, &mut at)?.unwrap_or(0);
    if matches!(peek(at), ',' | '_') {
        spec.group = Some(peek(at));
        at += 1;
    }
    if peek(at) == '.' {
        at += 1;
        spec.precision = digits(format, &mut at)?;
        if spec.precision.is_none() {
            return fail("Format specifier missing precision");
        }
    }
    if at < format.len() {
        spec.kind = peek(at);
        at += 1;
    }
    if at < format.len() {
        return fail(format!("Invalid format specifier '{}'", plain(format)));
    }
    Ok(spec)
}
