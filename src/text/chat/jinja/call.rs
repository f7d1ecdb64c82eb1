//! Calls functions, macros and methods.

use std::rc::Rc;

use super::arguments::Given;
use super::failure::{Result, fail, failure, spend};
use super::interpreter::Interpreter;
use super::number;
use super::range::Range;
use super::text::{Text, plain};
use super::value::{Joiner, Value};

/// Maximum length of a `range`, as in Jinja's sandbox.
const MAX_RANGE: usize = 100_000;

impl Interpreter<'_> {
    /// Calls a function, a macro or a method.
    ///
    /// # Errors
    /// The value cannot be called, or the callee fails.
    pub(super) fn call(&mut self, callee: &Value, given: Given) -> Result<Value> {
        match callee.defined()? {
            Value::Function(name) => self.call_function(name, given),
            Value::Macro(number) => self.call_macro(*number, given),
            Value::Method(method) => {
                let method = method.clone();
                self.call_method(&method.of, method.name, given)
            }
            Value::Loop(state) => {
                let [over] = given.bind("loop", ["iterable"], 1)?;
                let state = state.clone();
                self.recurse(&state, &over.unwrap_or(Value::None))
            }
            Value::Joiner(joiner) => {
                given.none("joiner")?;
                Ok(if joiner.used.replace(true) {
                    Value::Str(joiner.separator.clone())
                } else {
                    Value::str("")
                })
            }
            other => fail(format!("'{}' object is not callable", other.type_name())),
        }
    }

    /// Returns the global function of this name.
    pub(super) fn function(name: &str) -> Option<Value> {
        const ALL: [&str; 8] =
            ["range", "dict", "namespace", "cycler", "joiner", "lipsum", "raise_exception", "strftime_now"];
        ALL.into_iter().find(|known| *known == name).map(Value::Function)
    }

    fn call_function(&mut self, name: &str, given: Given) -> Result<Value> {
        match name {
            "range" => range(given),
            "dict" => Value::dict(self.pairs_of(given, "dict")?),
            "namespace" => {
                let entries = self.pairs_of(given, "namespace")?;
                let entries = super::value::Dict::new(entries)?.entries;
                spend(entries.len())?;
                self.new_namespace(entries)
            }
            "cycler" => {
                if given.positional.is_empty() {
                    return fail("at least one item has to be provided");
                }
                Value::cycler(given.positional)
            }
            "joiner" => {
                let [separator] = given.bind("joiner", ["sep"], 0)?;
                // A joiner that holds another value would add a level of nesting that is not counted.
                match separator.unwrap_or_else(|| Value::str(", ")) {
                    Value::Str(separator) => {
                        Ok(Value::Joiner(Rc::new(Joiner { separator, used: false.into() })))
                    }
                    other => fail(format!("joiner takes a string, not '{}'", other.type_name())),
                }
            }
            // Templates use it to refuse a conversation, for example if roles do not alternate.
            "raise_exception" => {
                let [message] = given.bind("raise_exception", ["message"], 1)?;
                let message = self.text(&message.unwrap_or(Value::None))?;
                fail(plain(&message))
            }
            // Python's `datetime.now().strftime(format)`.
            "strftime_now" => {
                let [format] = given.bind("strftime_now", ["format"], 1)?;
                let format = format.as_ref().and_then(Value::as_text).map(|text| plain(text));
                let format = format.ok_or_else(|| failure("strftime_now takes a format"))?;
                let date = (self.clock)(&format).ok_or_else(|| failure("strftime_now: bad format"))?;
                Ok(Value::str(&date))
            }
            other => fail(format!("the function '{other}' is not supported")),
        }
    }

    /// Creates a dictionary from a dictionary or pairs, and from named arguments.
    pub(super) fn pairs_of(&mut self, given: Given, of: &str) -> Result<Vec<(Value, Value)>> {
        if given.positional.len() > 1 {
            return fail(format!("{of} expected at most 1 argument, got {}", given.positional.len()));
        }
        let mut entries = Vec::new();
        match given.positional.into_iter().next() {
            None => {}
            Some(Value::Dict(dict)) => entries.extend(dict.entries.iter().cloned()),
            Some(pairs) => {
                for pair in pairs.items()? {
                    let Ok::<[Value; 2], _>([key, value]) = pair.items()?.try_into() else {
                        return fail("a pair was expected, of a key and a value");
                    };
                    entries.push((key, value));
                }
            }
        }
        entries.extend(given.named.into_iter().map(|(name, value)| (Value::Str(Text::from(&*name)), value)));
        Ok(entries)
    }
}

fn range(given: Given) -> Result<Value> {
    if !given.named.is_empty() {
        return fail("range() takes no keyword arguments");
    }
    let numbers: Vec<i128> = given.positional.iter().map(number::index).collect::<Result<_>>()?;
    let (start, stop, step) = match numbers[..] {
        [stop] => (0, stop, 1),
        [start, stop] => (start, stop, 1),
        [start, stop, step] => (start, stop, step),
        _ => return fail("range expected 1 to 3 arguments"),
    };
    let most = i128::from(i64::MAX);
    if [start, stop, step].iter().any(|number| number.abs() > most) {
        return number::too_large();
    }
    if step == 0 {
        return fail("range() arg 3 must not be zero");
    }
    let range = Range { start, stop, step };
    if range.len() > MAX_RANGE {
        return fail(format!(
            "Range too big. The sandbox blocks ranges larger than MAX_RANGE ({MAX_RANGE})."
        ));
    }
    Ok(Value::Range(range))
}
