//! Python's `str.format`, as in `'{} items'.format(3)`.

use std::rc::Rc;

use super::failure::{Result, fail, failure, spend_on_text};
use super::interpreter::Interpreter;
use super::spec::{Spec, parsed};
use super::text::{Ch, Text, plain};
use super::value::Value;

impl Interpreter<'_> {
    /// Implements Python's `format(value, spec)`.
    fn formatted(&mut self, value: &Value, format: &Text) -> Result<Vec<Ch>> {
        if format.is_empty() {
            return self.text(value).map(|text| text.to_vec());
        }
        let spec = parsed(format)?;
        match value {
            Value::Str(text) => {
                if !matches!(spec.kind, '\0' | 's') || spec.group.is_some() || spec.sign != '-' {
                    return fail(format!("Invalid format specifier '{}' for a str", plain(format)));
                }
                let length = spec.precision.unwrap_or(usize::MAX).min(text.len());
                if spec.align == Some('=') {
                    // For strings, a zero before the width is the fill character.
                    return Spec { align: None, ..spec.clone() }.padded(&text[..length], '<');
                }
                spec.padded(&text[..length], '<')
            }
            Value::Int(_) | Value::Bool(_) => {
                let number = value.as_int().unwrap_or(0);
                match spec.kind {
                    '\0' if spec.precision.is_none() => spec.int(number),
                    'd' | 'n' | 'x' | 'X' | 'o' | 'b' if spec.precision.is_none() => spec.int(number),
                    'c' => {
                        let c = u32::try_from(number).ok().and_then(char::from_u32);
                        let c = c.ok_or_else(|| failure("%c arg not in range(0x110000)"))?;
                        spec.padded(&[Ch::new(c, 0)], '<')
                    }
                    'e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%' => spec.float(number as f64),
                    _ => fail(format!("Invalid format specifier '{}' for an int", plain(format))),
                }
            }
            Value::Float(number) => match spec.kind {
                '\0' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%' => spec.float(*number),
                _ => fail(format!("Invalid format specifier '{}' for a float", plain(format))),
            },
            other => {
                let kind = other.type_name();
                fail(format!("unsupported format string passed to {kind}.__format__"))
            }
        }
    }

    /// Implements Python's `text.format(…)`.
    ///
    /// # Errors
    /// Python would raise an error.
    pub(super) fn format(
        &mut self,
        text: &Text,
        positional: Vec<Value>,
        named: Vec<(Rc<str>, Value)>,
    ) -> Result<Text> {
        let mut fields = Fields { positional, named, next: Some(0) };
        let out = self.format_level(text, &mut fields, 0)?;
        let out = Text::from(out);
        Ok(if text.safe { out.marked_safe() } else { out })
    }

    fn format_level(&mut self, text: &[Ch], fields: &mut Fields, level: usize) -> Result<Vec<Ch>> {
        if level > 1 {
            return fail("Max string recursion exceeded");
        }
        let mut out = Vec::new();
        let mut at = 0;
        while let Some(&c) = text.get(at) {
            let doubled = text.get(at + 1).is_some_and(|next| *next == c);
            match c.char() {
                '{' | '}' if doubled => {
                    out.push(c);
                    at += 2;
                }
                '}' => return fail("Single '}' encountered in format string"),
                '{' => {
                    let end = field_end(&text[at + 1..])? + at + 1;
                    let written = self.field(&text[at + 1..end], fields, level)?;
                    spend_on_text(written.len())?;
                    out.extend(written);
                    at = end + 1;
                }
                _ => {
                    out.push(c);
                    at += 1;
                }
            }
        }
        Ok(out)
    }

    /// Formats a field, `name!conversion:spec`.
    fn field(&mut self, field: &[Ch], fields: &mut Fields, level: usize) -> Result<Vec<Ch>> {
        let mut brackets = 0;
        let name_end = field.iter().position(|c| {
            brackets += i32::from(c.is('[')) - i32::from(c.is(']'));
            brackets == 0 && (c.is('!') || c.is(':'))
        });
        let name_end = name_end.unwrap_or(field.len());
        let value = self.named_value(&field[..name_end], fields)?;
        let mut rest = &field[name_end..];
        let mut value = value;
        if rest.first().is_some_and(|c| c.is('!')) {
            value = match rest.get(1).map(|c| c.char()) {
                Some('s') => Value::Str(self.text(&value)?),
                Some('r') => {
                    let mut out = Vec::new();
                    self.repr(&value, &mut out)?;
                    Value::Str(out.into())
                }
                _ => return fail("Unknown conversion specifier"),
            };
            rest = &rest[2..];
            if rest.first().is_some_and(|c| !c.is(':')) {
                return fail("expected ':' after conversion specifier");
            }
        }
        let spec = match rest.first() {
            Some(_) => self.format_level(&rest[1..], fields, level + 1)?,
            None => Vec::new(),
        };
        self.formatted(&value, &spec.into())
    }

    /// Evaluates a field's name: `0`, `name`, `name.attribute`, `name[item]`.
    fn named_value(&mut self, name: &[Ch], fields: &mut Fields) -> Result<Value> {
        let name = plain(name);
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let mut value = fields.get(&name[..end])?;
        let mut rest = &name[end..];
        while !rest.is_empty() {
            if let Some(attribute) = rest.strip_prefix('.') {
                let end = attribute.find(['.', '[']).unwrap_or(attribute.len());
                value = self.attribute(&value, &attribute[..end])?;
                rest = &attribute[end..];
            } else {
                let Some((item, after)) = rest[1..].split_once(']') else {
                    return fail("Missing ']' in format string");
                };
                let index = match item.parse() {
                    Ok(number) => Value::Int(number),
                    Err(_) => Value::str(item),
                };
                value = self.item(&value, &index)?;
                rest = after;
            }
        }
        Ok(value)
    }
}

/// The arguments of `format`.
struct Fields {
    positional: Vec<Value>,
    named: Vec<(Rc<str>, Value)>,
    /// The number of the next field without a name; `None` once fields are numbered.
    next: Option<usize>,
}

impl Fields {
    fn get(&mut self, name: &str) -> Result<Value> {
        let index = match (name.parse::<usize>(), self.next) {
            (Ok(_), Some(1..)) => {
                return fail("cannot switch from automatic field numbering to manual field specification");
            }
            (Ok(index), _) => {
                self.next = None;
                index
            }
            (Err(_), _) if !name.is_empty() => {
                let found = self.named.iter().find(|(known, _)| **known == *name);
                let missing = || failure(format!("the key '{name}' is missing"));
                return found.map(|(_, value)| value.clone()).ok_or_else(missing);
            }
            (Err(_), Some(next)) => {
                self.next = Some(next + 1);
                next
            }
            (Err(_), None) => {
                return fail("cannot switch from manual field specification to automatic field numbering");
            }
        };
        let missing = || failure(format!("Replacement index {index} out of range for positional args tuple"));
        self.positional.get(index).cloned().ok_or_else(missing)
    }
}

/// Finds the end of the field that begins here.
fn field_end(text: &[Ch]) -> Result<usize> {
    let mut depth = 1;
    for (at, c) in text.iter().enumerate() {
        depth += i32::from(c.is('{')) - i32::from(c.is('}'));
        if depth == 0 {
            return Ok(at);
        }
    }
    fail("expected '}' before end of string")
}
