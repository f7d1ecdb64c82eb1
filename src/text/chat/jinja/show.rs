//! Formats values as text: Python's `str`, `repr` and `json.dumps`.

use super::cases;
use super::failure::{Level, Result, fail, spend_on_text};
use super::interpreter::Interpreter;
use super::number;
use super::text::{Ch, Text, push};
use super::value::{Value, View};

impl Interpreter<'_> {
    /// Implements Python's `str(value)`.
    ///
    /// # Errors
    /// The value is too large, or its text would contain an address.
    pub(super) fn text(&self, value: &Value) -> Result<Text> {
        if let Value::Str(text) = value {
            return Ok(text.clone());
        }
        let mut out = Vec::new();
        self.write(value, &mut out)?;
        Ok(out.into())
    }

    /// Appends `str(value)`.
    ///
    /// # Errors
    /// The errors of [`text`](Self::text).
    pub(super) fn write(&self, value: &Value, out: &mut Vec<Ch>) -> Result<()> {
        match value {
            Value::Str(text) => {
                spend_on_text(text.len())?;
                out.extend_from_slice(text);
                Ok(())
            }
            Value::Undefined(_) => Ok(()),
            other => self.repr(other, out),
        }
    }

    /// Appends `repr(value)`.
    ///
    /// # Errors
    /// The errors of [`text`](Self::text).
    pub(super) fn repr(&self, value: &Value, out: &mut Vec<Ch>) -> Result<()> {
        let _level = Level::enter()?;
        match value {
            Value::Undefined(_) => push(out, "Undefined"),
            Value::None => push(out, "None"),
            Value::Bool(b) => push(out, if *b { "True" } else { "False" }),
            Value::Int(number) => push(out, &number.to_string()),
            Value::Float(number) => push(out, &number::float(*number)),
            Value::Str(text) => {
                spend_on_text(text.len())?;
                if text.safe {
                    push(out, "Markup(");
                }
                quoted(text, out);
                if text.safe {
                    push(out, ")");
                }
            }
            Value::List(seq) => self.all("[", &seq.items, "]", out)?,
            Value::Tuple(seq) => {
                self.all("(", &seq.items, if seq.items.len() == 1 { ",)" } else { ")" }, out)?;
            }
            Value::Dict(dict) => self.pairs(&dict.entries, out)?,
            Value::View(kind, _) => {
                let open = match kind {
                    View::Keys => "dict_keys([",
                    View::Values => "dict_values([",
                    View::Items => "dict_items([",
                };
                self.all(open, &value.items()?, "])", out)?;
            }
            Value::Range(range) => {
                let step = if range.step == 1 { String::new() } else { format!(", {}", range.step) };
                push(out, &format!("range({}, {}{step})", range.start, range.stop));
            }
            Value::Namespace(number) => {
                push(out, "<Namespace ");
                let entries = self.namespace(*number).borrow();
                self.pairs(&entries, out)?;
                push(out, ">");
            }
            Value::Loop(it) => {
                push(out, &format!("<LoopContext {}/{}>", it.index.get() + 1, it.items.len()));
            }
            Value::Macro(number) => {
                push(out, "<Macro ");
                quoted(&Text::from(self.macro_name(*number)), out);
                push(out, ">");
            }
            other => {
                return fail(format!("a {} has no text (use a filter, as in | list)", other.type_name()));
            }
        }
        Ok(())
    }

    fn all(&self, open: &str, items: &[Value], close: &str, out: &mut Vec<Ch>) -> Result<()> {
        push(out, open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                push(out, ", ");
            }
            self.repr(item, out)?;
        }
        push(out, close);
        Ok(())
    }

    fn pairs(&self, entries: &[(Value, Value)], out: &mut Vec<Ch>) -> Result<()> {
        push(out, "{");
        for (index, (key, value)) in entries.iter().enumerate() {
            if index > 0 {
                push(out, ", ");
            }
            self.repr(key, out)?;
            push(out, ": ");
            self.repr(value, out)?;
        }
        push(out, "}");
        Ok(())
    }
}

/// Returns Python's `repr` of a string.
pub(super) fn quoted(text: &[Ch], out: &mut Vec<Ch>) {
    let has = |quote: char| text.iter().any(|c| c.is(quote));
    let quote = if has('\'') && !has('"') { '"' } else { '\'' };
    out.push(Ch::new(quote, 0));
    for &c in text {
        let escape = |out: &mut Vec<Ch>, escaped: &str| out.extend(escaped.chars().map(|e| c.with(e)));
        match c.char() {
            '\\' => escape(out, "\\\\"),
            '\n' => escape(out, "\\n"),
            '\r' => escape(out, "\\r"),
            '\t' => escape(out, "\\t"),
            own if own == quote => escape(out, &format!("\\{own}")),
            other if cases::is_printable(other) => out.push(c),
            other => match other as u32 {
                code @ 0..=0xff => escape(out, &format!("\\x{code:02x}")),
                code @ 0..=0xffff => escape(out, &format!("\\u{code:04x}")),
                code => escape(out, &format!("\\U{code:08x}")),
            },
        }
    }
    out.push(Ch::new(quote, 0));
}

/// The options of `json.dumps`.
pub(super) struct Json {
    pub(super) ascii: bool,
    /// The indentation of a level.
    pub(super) indent: Option<Text>,
    pub(super) item_separator: Text,
    pub(super) key_separator: Text,
    pub(super) sort_keys: bool,
}

impl Json {
    /// Appends a value at a level of nesting.
    ///
    /// # Errors
    /// JSON does not have the value.
    pub(super) fn write(&self, value: &Value, level: usize, out: &mut Vec<Ch>) -> Result<()> {
        let _level = Level::enter()?;
        match value {
            Value::None => push(out, "null"),
            Value::Bool(b) => push(out, if *b { "true" } else { "false" }),
            Value::Int(number) => push(out, &number.to_string()),
            Value::Float(number) => push(out, &json_float(*number)),
            Value::Str(text) => {
                spend_on_text(text.len())?;
                self.string(text, out);
            }
            Value::List(seq) | Value::Tuple(seq) => {
                let write = |item: &Value, out: &mut Vec<Ch>| self.write(item, level + 1, out);
                self.block(["[", "]"], &seq.items, level, out, write)?;
            }
            Value::Dict(dict) => {
                let mut entries: Vec<(Text, &Value)> = Vec::new();
                let mut sorted: Vec<&(Value, Value)> = dict.entries.iter().collect();
                if self.sort_keys {
                    sort(&mut sorted)?;
                }
                for (key, value) in sorted {
                    entries.push((json_key(key)?, value));
                }
                let write = |(key, value): &(Text, &Value), out: &mut Vec<Ch>| {
                    self.string(key, out);
                    out.extend_from_slice(&self.key_separator);
                    self.write(value, level + 1, out)
                };
                self.block(["{", "}"], &entries, level, out, write)?;
            }
            other => return fail(format!("Object of type {} is not JSON serializable", other.type_name())),
        }
        Ok(())
    }

    fn block<T>(
        &self,
        [open, close]: [&str; 2],
        items: &[T],
        level: usize,
        out: &mut Vec<Ch>,
        mut write: impl FnMut(&T, &mut Vec<Ch>) -> Result<()>,
    ) -> Result<()> {
        push(out, open);
        let new_line = |level: usize, out: &mut Vec<Ch>| {
            if let Some(indent) = &self.indent {
                push(out, "\n");
                (0..level).for_each(|_| out.extend_from_slice(indent));
            }
        };
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(&self.item_separator);
            }
            spend_on_text(self.indent.as_ref().map_or(0, |indent| indent.len() * (level + 1)))?;
            new_line(level + 1, out);
            write(item, out)?;
        }
        if !items.is_empty() {
            new_line(level, out);
        }
        push(out, close);
        Ok(())
    }

    fn string(&self, text: &[Ch], out: &mut Vec<Ch>) {
        out.push(Ch::new('"', 0));
        for &c in text {
            let escape = |out: &mut Vec<Ch>, escaped: &str| out.extend(escaped.chars().map(|e| c.with(e)));
            match c.char() {
                '"' => escape(out, "\\\""),
                '\\' => escape(out, "\\\\"),
                '\n' => escape(out, "\\n"),
                '\r' => escape(out, "\\r"),
                '\t' => escape(out, "\\t"),
                '\x08' => escape(out, "\\b"),
                '\x0c' => escape(out, "\\f"),
                control @ '\0'..='\x1f' => escape(out, &format!("\\u{:04x}", control as u32)),
                other if self.ascii && !other.is_ascii() => {
                    let mut units = [0; 2];
                    for unit in other.encode_utf16(&mut units) {
                        escape(out, &format!("\\u{unit:04x}"));
                    }
                }
                // DEL is ASCII, and is written unescaped.
                _ => out.push(c),
            }
        }
        out.push(Ch::new('"', 0));
    }
}

fn json_float(number: f64) -> String {
    match number {
        _ if number.is_nan() => "NaN".into(),
        _ if number == f64::INFINITY => "Infinity".into(),
        _ if number == f64::NEG_INFINITY => "-Infinity".into(),
        _ => number::float(number),
    }
}

fn json_key(key: &Value) -> Result<Text> {
    Ok(match key {
        Value::Str(text) => text.clone(),
        Value::None => "null".into(),
        Value::Bool(b) => if *b { "true" } else { "false" }.into(),
        Value::Int(number) => number::int(*number),
        Value::Float(number) => json_float(*number).as_str().into(),
        other => {
            let name = other.type_name();
            return fail(format!("keys must be str, int, float, bool or None, not {name}"));
        }
    })
}

fn sort(entries: &mut [&(Value, Value)]) -> Result<()> {
    let mut wrong = None;
    entries.sort_by(|(a, _), (b, _)| {
        a.order(b, "<")
            .unwrap_or_else(|error| {
                wrong.get_or_insert(error);
                None
            })
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    wrong.map_or(Ok(()), Err)
}
