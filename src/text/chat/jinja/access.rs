//! Items and attributes of values.

use super::failure::Result;
use super::interpreter::Interpreter;
use super::method_names;
use super::text::{self, Text};
use super::value::Value;

fn described(of: &Value) -> String {
    match of {
        Value::None => "None".into(),
        Value::Namespace(_) => "jinja2.utils.Namespace object".into(),
        other => format!("{} object", other.type_name()),
    }
}

fn no_element(of: &Value, name: &str) -> Value {
    Value::undefined(format!("{} has no element {name}", described(of)))
}

impl Interpreter<'_> {
    /// Evaluates `of[index]`, which is undefined if it does not exist.
    ///
    /// # Errors
    /// `of` or `index` is undefined, or Python has the attribute and it is not supported here.
    pub(super) fn item(&self, of: &Value, index: &Value) -> Result<Value> {
        of.defined()?;
        if let Some(value) = own_item(of, index) {
            return Ok(value);
        }
        match index {
            Value::Str(name) => {
                let name = text::plain(name);
                match self.own_attribute(of, &name)? {
                    Some(value) => Ok(value),
                    None => Ok(no_attribute(of, &name)),
                }
            }
            other => {
                let mut shown = Vec::new();
                self.repr(other, &mut shown)?;
                Ok(no_element(of, &text::plain(&shown)))
            }
        }
    }

    /// Evaluates `of.name`: an attribute of the type, else an item.
    ///
    /// # Errors
    /// `of` is undefined, or Python has the attribute and it is not supported here.
    pub(super) fn attribute(&self, of: &Value, name: &str) -> Result<Value> {
        of.defined()?;
        if let Some(value) = self.own_attribute(of, name)? {
            return Ok(value);
        }
        let item = match of {
            Value::Dict(dict) => dict.named(name).cloned(),
            _ => None,
        };
        Ok(item.unwrap_or_else(|| no_attribute(of, name)))
    }

    fn own_attribute(&self, of: &Value, name: &str) -> Result<Option<Value>> {
        let is_private = name.starts_with("__") && name.ends_with("__");
        if is_private || method_names::changes(of, name) {
            let kind = of.type_name();
            let reason = format!("access to attribute '{name}' of '{kind}' object is unsafe.");
            return Ok(Some(Value::undefined(reason)));
        }
        if let Some(name) = method_names::find(of, name)? {
            return Value::method(of, name).map(Some);
        }
        Ok(match of {
            Value::Loop(state) => loop_attribute(state, name)?,
            Value::Namespace(number) => {
                let entries = self.namespace(*number).borrow();
                entries.iter().find(|(key, _)| key.is_str(name)).map(|(_, value)| value.clone())
            }
            Value::Tuple(seq) if seq.group => match name {
                "grouper" => seq.items.first().cloned(),
                "list" => seq.items.get(1).cloned(),
                _ => None,
            },
            Value::Int(_) | Value::Bool(_) | Value::Float(_) => match (name, of.as_int()) {
                ("real" | "numerator", Some(number)) => Some(Value::Int(number)),
                ("imag", Some(_)) => Some(Value::Int(0)),
                ("denominator", Some(_)) => Some(Value::Int(1)),
                ("real", None) => Some(of.clone()),
                ("imag", None) => Some(Value::Float(0.0)),
                _ => None,
            },
            Value::Cycler(cycler) if name == "current" => cycler.items.get(cycler.at.get()).cloned(),
            Value::Range(range) => match name {
                "start" => Some(Value::Int(range.start)),
                "stop" => Some(Value::Int(range.stop)),
                "step" => Some(Value::Int(range.step)),
                _ => None,
            },
            Value::Macro(number) => match name {
                "name" => Some(Value::str(self.macro_name(*number))),
                "arguments" => Some(Value::tuple(self.macro_parameters(*number))?),
                _ => None,
            },
            _ => None,
        })
    }
}

fn no_attribute(of: &Value, name: &str) -> Value {
    Value::undefined(format!("'{}' has no attribute '{name}'", described(of)))
}

fn own_item(of: &Value, index: &Value) -> Option<Value> {
    let place = |length: usize| {
        let at = index.as_int()?;
        let at = if at < 0 { at.checked_add(length as i128)? } else { at };
        usize::try_from(at).ok().filter(|at| *at < length)
    };
    match of {
        Value::Str(text) => place(text.len()).map(|at| {
            let one = Text::from(&text[at..=at]);
            Value::Str(if text.safe { one.marked_safe() } else { one })
        }),
        Value::List(seq) | Value::Tuple(seq) => place(seq.items.len()).map(|at| seq.items[at].clone()),
        Value::Range(range) => place(range.len()).map(|at| Value::Int(range.at(at))),
        Value::Dict(dict) => dict.get(index).ok()?.cloned(),
        _ => None,
    }
}

fn loop_attribute(state: &super::value::Loop, name: &str) -> Result<Option<Value>> {
    let (index, length) = (state.index.get(), state.items.len());
    let int = |number: usize| Some(Value::Int(number as i128));
    Ok(match name {
        "index" => int(index + 1),
        "index0" => int(index),
        "revindex" => int(length - index),
        "revindex0" => int(length - index - 1),
        "first" => Some(Value::Bool(index == 0)),
        "last" => Some(Value::Bool(index + 1 == length)),
        "length" => int(length),
        "depth" => int(state.level + 1),
        "depth0" => int(state.level),
        "previtem" => Some(match index.checked_sub(1) {
            Some(before) => state.items[before].clone(),
            None => Value::undefined("there is no previous item"),
        }),
        "nextitem" => Some(match state.items.get(index + 1) {
            Some(next) => next.clone(),
            None => Value::undefined("there is no next item"),
        }),
        _ => None,
    })
}
