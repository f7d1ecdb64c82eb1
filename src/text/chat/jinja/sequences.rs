//! Jinja's filters of sequences and mappings.

use std::cmp::Ordering;

use super::arguments::{Given, is_set};
use super::cases;
use super::failure::{Result, fail, spend, spend_on_text};
use super::interpreter::Interpreter;
use super::number;
use super::text::{Text, plain};
use super::value::{Dict, Value};

/// Splits an attribute's name such as `a.0.b` into its parts.
struct Path(Vec<Value>);

impl Path {
    fn new(attribute: &Option<Value>) -> Self {
        Self(match attribute {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Str(name)) => Self::of(&plain(name)),
            Some(other) => vec![other.clone()],
        })
    }

    fn of(name: &str) -> Vec<Value> {
        let part = |part: &str| match part.parse() {
            Ok(number) if part.bytes().all(|b| b.is_ascii_digit()) => Value::Int(number),
            _ => Value::str(part),
        };
        name.split('.').map(part).collect()
    }
}

/// Converts texts to lower case, as Jinja's `ignore_case` does.
fn folded(value: Value, case_sensitive: bool) -> Value {
    match value {
        Value::Str(text) if !case_sensitive => Value::Str(cases::lower(&text).into()),
        other => other,
    }
}

/// Sorts by keys, keeping the order of equal ones. A single key is compared directly, several keys as a list, so that
/// equal keys need no order.
fn sort_by_keys(
    mut keyed: Vec<(Vec<Value>, Value)>,
    reverse: bool,
    alone: bool,
) -> Result<Vec<(Vec<Value>, Value)>> {
    spend(keyed.len() * (usize::BITS - keyed.len().leading_zeros()) as usize)?;
    let mut wrong = None;
    keyed.sort_by(|(a, _), (b, _)| {
        let order = || -> Result<Ordering> {
            if let ([a], [b], true) = (&a[..], &b[..], alone) {
                return Ok(a.order(b, "<")?.unwrap_or(Ordering::Equal));
            }
            for (a, b) in a.iter().zip(b) {
                if !a.equals(b)? {
                    return Ok(a.order(b, "<")?.unwrap_or(Ordering::Equal));
                }
            }
            Ok(Ordering::Equal)
        };
        let order = order().unwrap_or_else(|error| {
            wrong.get_or_insert(error);
            Ordering::Equal
        });
        if reverse { order.reverse() } else { order }
    });
    wrong.map_or(Ok(keyed), Err)
}

impl Interpreter<'_> {
    fn follow(&self, path: &Path, item: &Value, default: Option<&Value>) -> Result<Value> {
        let mut value = item.clone();
        for part in &path.0 {
            spend(1)?;
            value = self.item(&value, part)?;
            if let (Value::Undefined(_), Some(default)) = (&value, default) {
                value = default.clone();
            }
        }
        Ok(value)
    }

    pub(super) fn sequence_filter(&mut self, name: &str, of: &Value, given: Given) -> Result<Value> {
        match name {
            "length" | "count" => {
                given.none(name)?;
                Ok(Value::Int(of.len()? as i128))
            }
            "list" => given.none(name).and_then(|()| Value::list(of.items()?)),
            "first" => {
                given.none(name)?;
                let first = match of {
                    // The rest of a stream stays unread.
                    Value::Stream(stream) => stream.items.borrow_mut().pop_front(),
                    other => other.items()?.into_iter().next(),
                };
                Ok(first.unwrap_or_else(|| Value::undefined("No first item, sequence was empty.")))
            }
            "last" => {
                given.none(name)?;
                if let Value::Stream(_) = of {
                    return fail("'generator' object is not reversible");
                }
                let last = of.items()?.pop();
                Ok(last.unwrap_or_else(|| Value::undefined("No last item, sequence was empty.")))
            }
            "reverse" => {
                given.none(name)?;
                if let Value::Str(text) = of {
                    return Ok(Value::Str(text.iter().rev().copied().collect::<Vec<_>>().into()));
                }
                let mut items = of.items()?;
                items.reverse();
                match of {
                    Value::Stream(_) => Value::list(items),
                    _ => Value::stream(items),
                }
            }
            "items" => {
                given.none(name)?;
                match of {
                    Value::Undefined(_) => Value::stream(Vec::new()),
                    Value::Dict(dict) => {
                        let view = Value::View(super::value::View::Items, dict.clone());
                        Value::stream(view.items()?)
                    }
                    _ => fail("Can only get item pairs from a mapping."),
                }
            }
            "join" => {
                let [separator, attribute] = given.bind(name, ["d", "attribute"], 0)?;
                let separator = separator.map_or(Ok(Text::from("")), |separator| self.text(&separator))?;
                let path = Path::new(&attribute);
                let mut out = Vec::new();
                for (index, item) in of.items()?.iter().enumerate() {
                    if index > 0 {
                        spend_on_text(separator.len())?;
                        out.extend_from_slice(&separator);
                    }
                    let item = self.follow(&path, item, None)?;
                    self.write(&item, &mut out)?;
                }
                Ok(Value::Str(out.into()))
            }
            "min" | "max" => {
                let [case, attribute] = given.bind(name, ["case_sensitive", "attribute"], 0)?;
                let (case, path) = (is_set(&case), Path::new(&attribute));
                let mut best: Option<(Value, Value)> = None;
                for item in of.items()? {
                    let key = folded(self.follow(&path, &item, None)?, case);
                    let better = match &best {
                        None => true,
                        Some((best, _)) if name == "min" => key.order(best, "<")? == Some(Ordering::Less),
                        Some((best, _)) => key.order(best, ">")? == Some(Ordering::Greater),
                    };
                    if better {
                        best = Some((key, item));
                    }
                }
                let none = || Value::undefined("No aggregated item, sequence was empty.");
                Ok(best.map_or_else(none, |(_, item)| item))
            }
            "sort" => {
                let [reverse, case, attribute] =
                    given.bind(name, ["reverse", "case_sensitive", "attribute"], 0)?;
                let paths: Vec<Path> = match &attribute {
                    Some(Value::Str(names)) => {
                        plain(names).split(',').map(|name| Path(Path::of(name))).collect()
                    }
                    other => vec![Path::new(other)],
                };
                let mut keyed = Vec::new();
                for item in of.items()? {
                    let keys =
                        paths.iter().map(|path| Ok(folded(self.follow(path, &item, None)?, is_set(&case))));
                    keyed.push((keys.collect::<Result<Vec<_>>>()?, item));
                }
                let sorted = sort_by_keys(keyed, is_set(&reverse), false)?;
                Value::list(sorted.into_iter().map(|(_, item)| item).collect())
            }
            "dictsort" => {
                let [case, by, reverse] = given.bind(name, ["case_sensitive", "by", "reverse"], 0)?;
                let Value::Dict(dict) = of.defined()? else {
                    return fail(format!("'{}' object has no attribute 'items'", of.type_name()));
                };
                let by_value = match by.as_ref().map_or_else(|| "key".into(), Value::name).as_str() {
                    "key" => false,
                    "value" => true,
                    _ => return fail("You can only sort by either \"key\" or \"value\""),
                };
                let mut keyed = Vec::new();
                for (key, value) in &dict.entries {
                    let by = if by_value { value } else { key };
                    let pair = Value::tuple(vec![key.clone(), value.clone()])?;
                    keyed.push((vec![folded(by.clone(), is_set(&case))], pair));
                }
                let sorted = sort_by_keys(keyed, is_set(&reverse), true)?;
                Value::list(sorted.into_iter().map(|(_, pair)| pair).collect())
            }
            "unique" => {
                let [case, attribute] = given.bind(name, ["case_sensitive", "attribute"], 0)?;
                let path = Path::new(&attribute);
                let (mut seen, mut kept) = (Dict::default(), Vec::new());
                for item in of.items()? {
                    let key = folded(self.follow(&path, &item, None)?, is_set(&case));
                    if seen.get(&key)?.is_none() {
                        seen.insert(key, Value::None)?;
                        kept.push(item);
                    }
                }
                Value::stream(kept)
            }
            "groupby" => self.groupby(of, given),
            "sum" => {
                let [attribute, start] = given.bind(name, ["attribute", "start"], 0)?;
                let path = Path::new(&attribute);
                let mut sum = start.unwrap_or(Value::Int(0));
                if sum.as_text().is_some() {
                    return fail("sum() can't sum strings [use ''.join(seq) instead]");
                }
                for item in of.items()? {
                    let item = self.follow(&path, &item, None)?;
                    sum = self.add(&sum, &item)?;
                }
                Ok(sum)
            }
            "batch" => {
                let [count, fill] = given.bind(name, ["linecount", "fill_with"], 1)?;
                let count = count.as_ref().map_or(Ok(0), number::index)?;
                let fill = fill.filter(|fill| !matches!(fill, Value::None));
                let items = of.items()?;
                let size = usize::try_from(count).ok().filter(|count| *count > 0);
                let Some(size) = size else { return fail("batch takes a number of at least 1") };
                let mut rows = Vec::new();
                for row in items.chunks(size) {
                    let mut row = row.to_vec();
                    if let Some(fill) = fill.as_ref().filter(|_| row.len() < size) {
                        spend(size)?;
                        row.resize(size, fill.clone());
                    }
                    rows.push(Value::list(row)?);
                }
                Value::stream(rows)
            }
            "slice" => {
                let [slices, fill] = given.bind(name, ["slices", "fill_with"], 1)?;
                let slices = usize::try_from(slices.as_ref().map_or(Ok(0), number::index)?).unwrap_or(0);
                if slices == 0 {
                    return fail("integer division or modulo by zero");
                }
                spend(slices)?;
                let fill = fill.filter(|fill| !matches!(fill, Value::None));
                let items = of.items()?;
                let (size, longer) = (items.len() / slices, items.len() % slices);
                let mut rest = &items[..];
                let mut rows = Vec::new();
                for index in 0..slices {
                    let (row, after) = rest.split_at(size + usize::from(index < longer));
                    rest = after;
                    let mut row = row.to_vec();
                    row.extend(fill.clone().filter(|_| index >= longer));
                    rows.push(Value::list(row)?);
                }
                Value::stream(rows)
            }
            "map" => self.map(of, given),
            "select" | "reject" | "selectattr" | "rejectattr" => self.select(name, of, given),
            _ => fail(format!("No filter named '{name}'.")),
        }
    }

    fn add(&mut self, a: &Value, b: &Value) -> Result<Value> {
        if let Some(sum) = number::operate("+", a.defined()?, b.defined()?) {
            return sum;
        }
        match (a, b) {
            (Value::List(a), Value::List(b)) => Value::list([&a.items[..], &b.items[..]].concat()),
            (Value::Tuple(a), Value::Tuple(b)) => Value::tuple([&a.items[..], &b.items[..]].concat()),
            _ => fail(format!(
                "unsupported operand type(s) for +: '{}' and '{}'",
                a.type_name(),
                b.type_name()
            )),
        }
    }

    fn groupby(&mut self, of: &Value, given: Given) -> Result<Value> {
        let [attribute, default, case] =
            given.bind("groupby", ["attribute", "default", "case_sensitive"], 1)?;
        let path = Path::new(&attribute);
        let default = default.filter(|default| !matches!(default, Value::None));
        let mut keyed = Vec::new();
        for item in of.items()? {
            let key = self.follow(&path, &item, default.as_ref())?;
            keyed.push((vec![folded(key, is_set(&case))], item));
        }
        let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
        for (mut keys, item) in sort_by_keys(keyed, false, true)? {
            let key = keys.pop().unwrap_or(Value::None);
            match groups.last_mut() {
                Some((last, items)) if last.equals(&key)? => items.push(item),
                _ => groups.push((key, vec![item])),
            }
        }
        let mut out = Vec::new();
        for (key, items) in groups {
            // The key of the group's first item.
            let key = match items.first() {
                Some(first) if !is_set(&case) => self.follow(&path, first, default.as_ref())?,
                _ => key,
            };
            out.push(Value::group(key, Value::list(items)?)?);
        }
        Value::list(out)
    }

    fn map(&mut self, of: &Value, mut given: Given) -> Result<Value> {
        if !of.is_true() {
            return Value::stream(Vec::new());
        }
        let mut mapped = Vec::new();
        if given.positional.is_empty() && given.named.iter().any(|(name, _)| &**name == "attribute") {
            let [attribute, default] = given.bind("map", ["attribute", "default"], 0)?;
            let path = Path::new(&attribute);
            let default = default.filter(|default| !matches!(default, Value::None));
            for item in of.items()? {
                mapped.push(self.follow(&path, &item, default.as_ref())?);
            }
            return Value::stream(mapped);
        }
        if given.positional.is_empty() {
            return fail("map requires a filter argument");
        }
        let filter = given.positional.remove(0).name();
        for item in of.items()? {
            let given = Given { positional: given.positional.clone(), named: given.named.clone() };
            mapped.push(self.deeper(|it| it.filter(&filter, &item, given))?);
        }
        Value::stream(mapped)
    }

    fn select(&mut self, name: &str, of: &Value, mut given: Given) -> Result<Value> {
        if !of.is_true() {
            return Value::stream(Vec::new());
        }
        let path = match name.ends_with("attr") {
            true if given.positional.is_empty() => return fail("Missing parameter for attribute name"),
            true => Path::new(&Some(given.positional.remove(0))),
            false => Path(Vec::new()),
        };
        let test = (!given.positional.is_empty()).then(|| given.positional.remove(0).name());
        let wanted = name.starts_with("select");
        let mut kept = Vec::new();
        for item in of.items()? {
            let value = self.follow(&path, &item, None)?;
            let holds = match &test {
                None => value.is_true(),
                Some(test) => {
                    let given = Given { positional: given.positional.clone(), named: given.named.clone() };
                    self.test(test, &value, given)?
                }
            };
            if holds == wanted {
                kept.push(item);
            }
        }
        Value::stream(kept)
    }
}
