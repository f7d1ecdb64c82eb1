//! Jinja's filters of texts and numbers, and transformers' `tojson`. Those of sequences are in `sequences`.

use super::arguments::{Given, int_of, is_set};
use super::cases;
use super::failure::{Result, fail, spend_on_text};
use super::interpreter::Interpreter;
use super::lengthen::{centered, replaced, spaces};
use super::markup::{escaped, striptags};
use super::number;
use super::show::Json;
use super::text::{self, Ch, Text, is_space, push};
use super::value::Value;

/// All filters.
pub(super) const FILTERS: [&str; 54] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "random",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "urlize",
    "wordcount",
    "wordwrap",
    "xmlattr",
];

/// Converts the value of a filter to a string.
fn string_of<'v>(of: &'v Value, name: &str) -> Result<&'v Text> {
    let kind = of.defined()?.type_name();
    of.as_text().map_or_else(|| fail(format!("the filter '{name}' takes a str, not {kind}")), Ok)
}

/// Keeps markup marked as such.
fn like(text: &Text, change: fn(&[Ch]) -> Vec<Ch>) -> Value {
    let changed = Text::from(change(text));
    Value::Str(if text.safe { changed.marked_safe() } else { changed })
}

fn made(text: Vec<Ch>) -> Result<Value> {
    Ok(Value::Str(text.into()))
}

impl Interpreter<'_> {
    /// Applies a filter to a value.
    ///
    /// # Errors
    /// Python would raise an error, or the filter is unknown or not supported.
    pub(super) fn filter(&mut self, name: &str, of: &Value, given: Given) -> Result<Value> {
        let text = |it: &Self| -> Result<Text> {
            let text = it.text(of)?;
            spend_on_text(text.len())?;
            Ok(text)
        };
        match name {
            "abs" => {
                given.none(name)?;
                match (of.defined()?, of.as_int()) {
                    (_, Some(number)) => Ok(Value::Int(number.abs())),
                    (Value::Float(number), _) => Ok(Value::Float(number.abs())),
                    _ => fail(format!("bad operand type for abs(): '{}'", of.type_name())),
                }
            }
            "attr" => {
                let [attribute] = given.bind(name, ["name"], 1)?;
                let attribute = attribute.map_or_else(String::new, |name| name.name());
                match of {
                    // Items are not attributes.
                    Value::Dict(_) if super::method_names::find(of, &attribute)?.is_none() => {
                        Ok(Value::undefined(format!("'dict object' has no attribute '{attribute}'")))
                    }
                    _ => self.attribute(of, &attribute),
                }
            }
            "capitalize" => given.none(name).and_then(|()| Ok(like(&text(self)?, cases::capitalize))),
            "lower" => given.none(name).and_then(|()| Ok(like(&text(self)?, cases::lower))),
            "upper" => given.none(name).and_then(|()| Ok(like(&text(self)?, cases::upper))),
            "title" => given.none(name).and_then(|()| made(cases::title_words(&text(self)?))),
            "string" => given.none(name).and_then(|()| Ok(Value::Str(text(self)?))),
            "center" => {
                let [width] = given.bind(name, ["width"], 0)?;
                let width = width.as_ref().map_or(Ok(80), number::index)?.max(0);
                made(centered(&text(self)?, usize::try_from(width).unwrap_or(usize::MAX), Ch::new(' ', 0))?)
            }
            "d" | "default" => {
                let [default, boolean] = given.bind(name, ["default_value", "boolean"], 0)?;
                let missing = matches!(of, Value::Undefined(_)) || is_set(&boolean) && !of.is_true();
                Ok(if missing { default.unwrap_or_else(|| Value::str("")) } else { of.clone() })
            }
            "e" | "escape" | "forceescape" => {
                given.none(name)?;
                let text = text(self)?;
                let safe = text.safe && name != "forceescape";
                Ok(Value::Str(if safe { text } else { escaped(&text).marked_safe() }))
            }
            "safe" => given.none(name).and_then(|()| Ok(Value::Str(text(self)?.marked_safe()))),
            "float" => {
                let [default] = given.bind(name, ["default"], 0)?;
                let number = match of {
                    Value::Str(text) => number::parse_float(text),
                    other => number::as_float(other.defined()?),
                };
                Ok(number.map_or_else(|| default.unwrap_or(Value::Float(0.0)), Value::Float))
            }
            "int" => {
                let [default, base] = given.bind(name, ["default", "base"], 0)?;
                let base = base.as_ref().map_or(Ok(10), number::index)?;
                Ok(to_int(of, base)?.map_or_else(|| default.unwrap_or(Value::Int(0)), Value::Int))
            }
            "format" => {
                let format = text(self)?;
                if !given.named.is_empty() && !given.positional.is_empty() {
                    return fail("can't handle positional and keyword arguments at the same time");
                }
                let values = match given.named.is_empty() {
                    true => Value::tuple(given.positional)?,
                    false => Value::dict(self.pairs_of(given, name)?)?,
                };
                self.percent(&format, &values).map(Value::Str)
            }
            "indent" => {
                let [width, first, blank] = given.bind(name, ["width", "first", "blank"], 0)?;
                let indent = match width {
                    Some(Value::Str(indent)) => indent,
                    Some(width) => spaces(number::index(&width)?)?,
                    None => spaces(4)?,
                };
                let Value::Str(text) = of.defined()? else {
                    let kind = of.type_name();
                    return fail(format!("unsupported operand type(s) for +=: '{kind}' and 'str'"));
                };
                made(indented(text, &indent, is_set(&first), is_set(&blank))?)
            }
            "replace" => {
                let [old, new, count] = given.bind(name, ["old", "new", "count"], 2)?;
                let old = self.text(&old.unwrap_or(Value::None))?;
                let new = self.text(&new.unwrap_or(Value::None))?;
                let count = match count {
                    None | Some(Value::None) => -1,
                    Some(count) => number::index(&count)?,
                };
                let most = if count < 0 { usize::MAX } else { count as usize };
                made(replaced(&text(self)?, &old, &new, most)?)
            }
            "round" => {
                let [precision, method] = given.bind(name, ["precision", "method"], 0)?;
                let precision = int_of(&precision)?;
                match method.as_ref().map_or_else(|| "common".into(), Value::name).as_str() {
                    "common" => number::round(of.defined()?, precision),
                    method @ ("ceil" | "floor") => {
                        let Some(number) = number::as_float(of.defined()?) else {
                            return fail(format!("must be real number, not {}", of.type_name()));
                        };
                        let unit = 10f64.powi(i32::try_from(precision).unwrap_or(400));
                        let scaled = number * unit;
                        let whole = if method == "ceil" { scaled.ceil() } else { scaled.floor() };
                        Ok(Value::Float(whole / unit))
                    }
                    _ => fail("method must be common, ceil or floor"),
                }
            }
            "striptags" => given.none(name).and_then(|()| Ok(Value::Str(striptags(&text(self)?)?))),
            "trim" => {
                let [chars] = given.bind(name, ["chars"], 0)?;
                let chars = match chars {
                    None | Some(Value::None) => None,
                    Some(chars) => Some(self.text(&chars)?),
                };
                let trims = |c: Ch| chars.as_ref().map_or_else(|| is_space(c), |chars| chars.contains(&c));
                let whole = text(self)?;
                let trimmed = Text::from(text::trimmed(&whole, true, true, trims));
                Ok(Value::Str(if whole.safe { trimmed.marked_safe() } else { trimmed }))
            }
            "truncate" => {
                let [length, kill, end, leeway] =
                    given.bind(name, ["length", "killwords", "end", "leeway"], 0)?;
                let length = length.as_ref().map_or(Ok(255), number::index)?;
                let end = end.as_ref().map_or(Ok(Text::from("...")), |end| self.text(end))?;
                let leeway = match leeway {
                    None | Some(Value::None) => 5,
                    Some(leeway) => number::index(&leeway)?,
                };
                truncated(string_of(of, name)?, length, is_set(&kill), &end, leeway)
            }
            "urlencode" => given.none(name).and_then(|()| self.urlencode(of)),
            "wordcount" => {
                given.none(name)?;
                let text = text(self)?;
                let words = text.split(|c| !cases::is_word(c.char())).filter(|word| !word.is_empty());
                Ok(Value::Int(words.count() as i128))
            }
            "wordwrap" => {
                let [width, long, string, hyphens] =
                    given.bind(name, ["width", "break_long_words", "wrapstring", "break_on_hyphens"], 0)?;
                let width = width.as_ref().map_or(Ok(79), number::index)?;
                let between = match string {
                    None | Some(Value::None) => Text::from("\n"),
                    Some(string) => self.text(&string)?,
                };
                let options = super::wrap::Options {
                    width: usize::try_from(width).ok().filter(|width| *width > 0),
                    long: long.is_none_or(|long| long.is_true()),
                    hyphens: hyphens.is_none_or(|hyphens| hyphens.is_true()),
                };
                made(super::wrap::wrapped(string_of(of, name)?, &options, &between)?)
            }
            "tojson" => json(of, given),
            "filesizeformat" | "pprint" | "random" | "urlize" | "xmlattr" => {
                fail(format!("the filter '{name}' is not supported"))
            }
            _ => self.sequence_filter(name, of, given),
        }
    }

    fn urlencode(&mut self, of: &Value) -> Result<Value> {
        let pairs = match of {
            Value::Dict(dict) => dict.entries.clone(),
            Value::List(_) | Value::Tuple(_) | Value::View(..) | Value::Range(_) | Value::Stream(_) => {
                let given = Given { positional: vec![of.clone()], named: Vec::new() };
                self.pairs_of(given, "urlencode")?
            }
            other => return made(quoted(&self.text(other)?, false)),
        };
        let mut out = Vec::new();
        for (index, (key, value)) in pairs.iter().enumerate() {
            if index > 0 {
                push(&mut out, "&");
            }
            out.extend(quoted(&self.text(key)?, true));
            push(&mut out, "=");
            out.extend(quoted(&self.text(value)?, true));
        }
        made(out)
    }
}

/// Implements `json.dumps(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
fn json(of: &Value, given: Given) -> Result<Value> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ascii, indent, separators, sort] = given.bind("tojson", names, 0)?;
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Str(indent)) => Some(indent),
        Some(width) => Some(spaces(number::index(&width)?)?),
    };
    let (item_separator, key_separator) = match separators {
        None | Some(Value::None) => (Text::from(if indent.is_some() { "," } else { ", " }), Text::from(": ")),
        Some(separators) => match &separators.items()?[..] {
            [Value::Str(item), Value::Str(key)] => (item.clone(), key.clone()),
            _ => return fail("separators are a pair of strings"),
        },
    };
    let (ascii, sort_keys) = (is_set(&ascii), is_set(&sort));
    let mut out = Vec::new();
    Json { ascii, indent, item_separator, key_separator, sort_keys }.write(of, 0, &mut out)?;
    made(out)
}

fn to_int(of: &Value, base: i128) -> Result<Option<i128>> {
    if let Value::Str(text) = of {
        let base = u32::try_from(base).ok();
        if let Some(number) = base.and_then(|base| number::parse_int(text, base)) {
            return Ok(Some(number));
        }
        // A float without its fraction.
        return match number::parse_float(text) {
            Some(number) if number.is_finite() => number::truncate(number).map(Some),
            _ => Ok(None),
        };
    }
    match of.defined()? {
        Value::Float(number) if number.is_nan() => Ok(None),
        Value::Float(number) if number.is_infinite() => Ok(None),
        Value::Float(number) => number::truncate(*number).map(Some),
        other => Ok(other.as_int()),
    }
}

fn indented(text: &[Ch], indent: &[Ch], first: bool, blank: bool) -> Result<Vec<Ch>> {
    let mut with_end = text.to_vec();
    push(&mut with_end, "\n");
    let lines = text::split_lines(&with_end, false);
    spend_on_text(lines.len().saturating_mul(indent.len()))?;
    let mut out = if first { indent.to_vec() } else { Vec::new() };
    for (index, line) in lines.into_iter().enumerate() {
        if index > 0 {
            push(&mut out, "\n");
            if blank || !line.is_empty() {
                out.extend_from_slice(indent);
            }
        }
        out.extend_from_slice(line);
    }
    Ok(out)
}

fn truncated(text: &Text, length: i128, kill: bool, end: &[Ch], leeway: i128) -> Result<Value> {
    if length < end.len() as i128 {
        return fail(format!("expected length >= {}, got {length}", end.len()));
    }
    if leeway < 0 {
        return fail(format!("expected leeway >= 0, got {leeway}"));
    }
    if text.len() as i128 <= length.saturating_add(leeway) {
        return Ok(Value::Str(text.clone()));
    }
    let kept = &text[..length as usize - end.len()];
    let kept = match kept.iter().rposition(|c| c.is(' ')).filter(|_| !kill) {
        Some(at) => &kept[..at],
        None => kept,
    };
    made([kept, end].concat())
}

/// Escapes UTF-8 with percent signs. In a `query` a space becomes `+`, and `/` is escaped.
fn quoted(text: &[Ch], query: bool) -> Vec<Ch> {
    let mut out = Vec::with_capacity(text.len());
    for &c in text {
        match c.char() {
            plain if plain.is_ascii_alphanumeric() || "_.-~".contains(plain) => out.push(c),
            '/' if !query => out.push(c),
            ' ' if query => out.push(c.with('+')),
            other => {
                for byte in other.encode_utf8(&mut [0; 4]).bytes() {
                    out.extend(format!("%{byte:02X}").chars().map(|escape| c.with(escape)));
                }
            }
        }
    }
    out
}
