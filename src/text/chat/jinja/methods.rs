//! Python's methods of strings, lists, dictionaries and other types. None changes its value, because the sandbox of
//! transformers forbids those that do.

use super::arguments::{Given, between, count, int_of, optional, string};
use super::failure::{Result, fail, spend_on_text};
use super::interpreter::Interpreter;
use super::lengthen::{centered, padded, replaced, tabs_expanded, zero_filled};
use super::text::{self, Ch, Text, is_space, words};
use super::value::Value;
use super::{cases, containers, markup, number};

fn made(text: Vec<Ch>) -> Result<Value> {
    Ok(Value::Str(text.into()))
}

fn pieces(pieces: Vec<&[Ch]>) -> Result<Value> {
    Value::list(pieces.into_iter().map(|piece| Value::Str(piece.into())).collect())
}

/// Returns the arguments for width and fill.
fn padding(given: Given, name: &str) -> Result<(usize, Ch)> {
    let [width, fill] = given.bind(name, ["width", "fillchar"], 1)?;
    let width = usize::try_from(int_of(&width)?.max(0)).unwrap_or(usize::MAX);
    let fill = fill.as_ref().map_or(Ok(Text::from(" ")), |fill| string(&Some(fill.clone()), name))?;
    match fill[..] {
        [one] => Ok((width, one)),
        _ => fail("The fill character must be exactly one character long"),
    }
}

impl Interpreter<'_> {
    /// Calls the method `name` of a value.
    ///
    /// # Errors
    /// The method does not accept the arguments, or Python would raise an error.
    pub(super) fn call_method(&mut self, of: &Value, name: &'static str, given: Given) -> Result<Value> {
        match of {
            Value::Str(text) => {
                spend_on_text(text.len())?;
                // Markup escapes its arguments.
                let escapes =
                    |value: &Value| value.as_text().is_some_and(|text| markup::escaped(text) != *text);
                if text.safe && (given.positional.iter().any(escapes) || !given.named.is_empty()) {
                    return fail(format!("'{name}' of a text that is marked as safe is not supported here"));
                }
                let made = self.str_method(text, name, given)?;
                if text.safe { markup::marked_safe(made) } else { Ok(made) }
            }
            Value::List(_) | Value::Tuple(_) | Value::Range(_) => {
                containers::sequence_method(of, name, given)
            }
            Value::Dict(_) => self.dict_method(of, name, given),
            Value::Loop(state) => match name {
                "cycle" if given.positional.is_empty() => fail("no items for cycling given"),
                "cycle" => Ok(given.positional[state.index.get() % given.positional.len()].clone()),
                _ => {
                    let now = Value::tuple(given.positional)?;
                    // A loop that keeps another one, which keeps a third, would be as deep as the number of loops.
                    if now.holds_loop() {
                        return fail("loop.changed of a loop is not supported");
                    }
                    let same = match &*state.seen.borrow() {
                        Some(before) => before.equals(&now)?,
                        None => false,
                    };
                    *state.seen.borrow_mut() = Some(now);
                    Ok(Value::Bool(!same))
                }
            },
            Value::Cycler(cycler) => {
                given.none(name)?;
                if name == "reset" {
                    cycler.at.set(0);
                    return Ok(Value::None);
                }
                let at = cycler.at.get();
                cycler.at.set((at + 1) % cycler.items.len());
                Ok(cycler.items[at].clone())
            }
            number => containers::number_method(number, name, given),
        }
    }

    pub(super) fn str_method(&mut self, text: &Text, name: &'static str, given: Given) -> Result<Value> {
        let all = |given: Given, is: fn(char) -> bool| -> Result<Value> {
            given.none(name)?;
            Ok(Value::Bool(!text.is_empty() && text.iter().all(|c| is(c.char()))))
        };
        let whole = |given: Given, value: Value| given.none(name).map(|()| value);
        match name {
            "format" => self.format(text, given.positional, given.named).map(Value::Str),
            "format_map" => {
                let [map] = given.bind(name, ["mapping"], 1)?;
                let Some(Value::Dict(dict)) = map else { return fail("format_map takes a mapping") };
                let named =
                    dict.entries.iter().map(|(key, value)| (key.name().as_str().into(), value.clone()));
                self.format(text, Vec::new(), named.collect()).map(Value::Str)
            }
            "join" => {
                let [items] = given.bind(name, ["iterable"], 1)?;
                let mut out = Vec::new();
                for (index, item) in items.unwrap_or(Value::None).items()?.iter().enumerate() {
                    if index > 0 {
                        spend_on_text(text.len())?;
                        out.extend_from_slice(text);
                    }
                    let Value::Str(item) = item else {
                        let kind = item.type_name();
                        return fail(format!("sequence item {index}: expected str instance, {kind} found"));
                    };
                    spend_on_text(item.len())?;
                    out.extend_from_slice(item);
                }
                made(out)
            }
            "split" | "rsplit" => {
                let [separator, most] = given.bind(name, ["sep", "maxsplit"], 0)?;
                let (separator, most) = (optional(&separator, name)?, count(&most)?);
                let right = name == "rsplit";
                match separator {
                    Some(separator) if separator.is_empty() => fail("empty separator"),
                    Some(separator) if right => pieces(text::split_from_right(text, &separator, most)),
                    Some(separator) => pieces(text::split(text, &separator, most)),
                    None if right => pieces(text::words_from_right(text, most)),
                    None => pieces(words(text, most)),
                }
            }
            "splitlines" => {
                let [keep] = given.bind(name, ["keepends"], 0)?;
                pieces(text::split_lines(text, keep.is_some_and(|keep| keep.is_true())))
            }
            "strip" | "lstrip" | "rstrip" => {
                let [chars] = given.bind(name, ["chars"], 0)?;
                let chars = optional(&chars, name)?;
                let trims = |c: Ch| chars.as_ref().map_or_else(|| is_space(c), |chars| chars.contains(&c));
                made(text::trimmed(text, name != "rstrip", name != "lstrip", trims).to_vec())
            }
            "startswith" | "endswith" => {
                let [what, start, stop] = given.bind(name, ["prefix", "start", "end"], 1)?;
                let Some((start, stop)) = between(&start, &stop, text.len())? else {
                    return Ok(Value::Bool(false));
                };
                let inner = &text[start..stop];
                let is = |what: &Text| match name {
                    "startswith" => inner.starts_with(what),
                    _ => inner.ends_with(what),
                };
                match &what {
                    Some(Value::Tuple(seq)) => {
                        for one in &seq.items {
                            if is(&string(&Some(one.clone()), name)?) {
                                return Ok(Value::Bool(true));
                            }
                        }
                        Ok(Value::Bool(false))
                    }
                    Some(Value::Str(what)) => Ok(Value::Bool(is(what))),
                    other => {
                        let kind = other.as_ref().map_or("", Value::type_name);
                        fail(format!("{name} first arg must be str or a tuple of str, not {kind}"))
                    }
                }
            }
            "find" | "rfind" | "index" | "rindex" | "count" => {
                let [what, start, stop] = given.bind(name, ["sub", "start", "end"], 1)?;
                let what = string(&what, name)?;
                let stretch = between(&start, &stop, text.len())?;
                if name == "count" {
                    let number = stretch.map_or(0, |(start, stop)| match what.is_empty() {
                        true => stop - start + 1,
                        false => text::split(&text[start..stop], &what, usize::MAX).len() - 1,
                    });
                    return Ok(Value::Int(number as i128));
                }
                let search = if name.starts_with('r') { text::rfind } else { text::find };
                let found =
                    stretch.and_then(|(start, stop)| Some(search(&text[start..stop], &what)? + start));
                match found {
                    Some(at) => Ok(Value::Int(at as i128)),
                    None if name.ends_with("index") => fail("substring not found"),
                    None => Ok(Value::Int(-1)),
                }
            }
            "partition" | "rpartition" => {
                let [separator] = given.bind(name, ["sep"], 1)?;
                let separator = string(&separator, name)?;
                if separator.is_empty() {
                    return fail("empty separator");
                }
                let right = name == "rpartition";
                let search = if right { text::rfind } else { text::find };
                let empty: &[Ch] = &[];
                let parts = match search(text, &separator) {
                    Some(at) => [&text[..at], &text[at..at + separator.len()], &text[at + separator.len()..]],
                    None if right => [empty, empty, text],
                    None => [text, empty, empty],
                };
                Value::tuple(parts.map(|part| Value::Str(part.into())).into())
            }
            "removeprefix" | "removesuffix" => {
                let [what] = given.bind(name, ["affix"], 1)?;
                let what = string(&what, name)?;
                let rest = match name {
                    "removeprefix" => text.strip_prefix(&what[..]),
                    _ => text.strip_suffix(&what[..]),
                };
                made(rest.unwrap_or(text).to_vec())
            }
            "replace" => {
                let [old, new, most] = given.bind(name, ["old", "new", "count"], 2)?;
                let (old, new) = (string(&old, name)?, string(&new, name)?);
                made(replaced(text, &old, &new, count(&most)?)?)
            }
            "center" => padding(given, name).and_then(|(width, fill)| made(centered(text, width, fill)?)),
            "ljust" => padding(given, name)
                .and_then(|(width, fill)| made(padded(text, 0, width.saturating_sub(text.len()), fill)?)),
            "rjust" => padding(given, name)
                .and_then(|(width, fill)| made(padded(text, width.saturating_sub(text.len()), 0, fill)?)),
            "zfill" => {
                let [width] = given.bind(name, ["width"], 1)?;
                made(zero_filled(text, usize::try_from(int_of(&width)?.max(0)).unwrap_or(usize::MAX))?)
            }
            "expandtabs" => {
                let [size] = given.bind(name, ["tabsize"], 0)?;
                made(tabs_expanded(text, size.as_ref().map_or(Ok(8), number::index)?)?)
            }
            "upper" => whole(given, Value::Str(cases::upper(text).into())),
            "lower" => whole(given, Value::Str(cases::lower(text).into())),
            "title" => whole(given, Value::Str(cases::title(text).into())),
            "capitalize" => whole(given, Value::Str(cases::capitalize(text).into())),
            "swapcase" => whole(given, Value::Str(cases::swap(text).into())),
            "casefold" => whole(given, Value::Str(cases::fold(text).into())),
            "isalpha" => all(given, cases::is_alpha),
            "isalnum" => all(given, |c| cases::is_alpha(c) || cases::is_numeric(c)),
            "isdecimal" => all(given, cases::is_decimal),
            "isdigit" => all(given, cases::is_digit),
            "isnumeric" => all(given, cases::is_numeric),
            "isspace" => all(given, |c| is_space(Ch::new(c, 0))),
            "isascii" => whole(given, Value::Bool(text.iter().all(|c| c.char().is_ascii()))),
            "isprintable" => whole(given, Value::Bool(text.iter().all(|c| cases::is_printable(c.char())))),
            "islower" => whole(given, Value::Bool(cases::all_lower(text))),
            "isupper" => whole(given, Value::Bool(cases::all_upper(text))),
            "istitle" => whole(given, Value::Bool(cases::is_title(text))),
            "isidentifier" => whole(given, Value::Bool(cases::is_identifier(text))),
            other => fail(format!("the method '{other}' of str is not supported")),
        }
    }
}
