//! Values as Python has them. None changes once it is made, but for namespaces, loops and the like, which are known by
//! number or are no deeper than what they were made of; so a value's depth is known where it is put together.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::failure::{Level, MAX_DEPTH, Result, fail, spend, too_deep};
use super::text::{self, Text, plain};

#[derive(Clone)]
pub(in crate::text::chat) enum Value {
    /// And what an error says where it is used.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Text),
    List(Rc<Seq>),
    Tuple(Rc<Seq>),
    Dict(Rc<Dict>),
    View(View, Rc<Dict>),
    Range(Range),
    Stream(Rc<Stream>),
    Loop(Rc<Loop>),
    /// The number of a namespace, a macro.
    Namespace(usize),
    Macro(usize),
    Function(&'static str),
    Method(Rc<Method>),
    Cycler(Rc<Cycler>),
    Joiner(Rc<Joiner>),
}

/// A list or a tuple.
pub(in crate::text::chat) struct Seq {
    pub(super) items: Vec<Value>,
    depth: Depth,
    /// A tuple of `groupby`, whose parts have names.
    pub(super) group: bool,
}

/// In the order of insertion.
#[derive(Default)]
pub(in crate::text::chat) struct Dict {
    pub(super) entries: Vec<(Value, Value)>,
    places: HashMap<Key, usize>,
    depth: Depth,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::text::chat) enum View {
    Keys,
    Values,
    Items,
}

#[derive(Clone, Copy)]
pub(in crate::text::chat) struct Range {
    pub(super) start: i128,
    pub(super) stop: i128,
    pub(super) step: i128,
}

/// What Python calls a generator or an iterator: its items come once.
pub(in crate::text::chat) struct Stream {
    pub(super) items: RefCell<std::collections::VecDeque<Value>>,
    depth: Depth,
}

/// What `loop` is.
pub(in crate::text::chat) struct Loop {
    pub(super) items: Rc<Vec<Value>>,
    pub(super) index: std::cell::Cell<usize>,
    /// Of recursive loops, from 0.
    pub(super) level: usize,
    /// What `changed` saw last: no loop, as this is no part of the depth.
    pub(super) seen: RefCell<Option<Value>>,
    /// The number of the recursive loop that it is one of.
    pub(super) recursive: Option<usize>,
    depth: Depth,
}

pub(in crate::text::chat) struct Method {
    pub(super) of: Value,
    pub(super) name: &'static str,
    depth: Depth,
}

pub(in crate::text::chat) struct Cycler {
    pub(super) items: Vec<Value>,
    pub(super) at: std::cell::Cell<usize>,
    depth: Depth,
}

pub(in crate::text::chat) struct Joiner {
    pub(super) separator: Text,
    pub(super) used: std::cell::Cell<bool>,
}

/// What a dictionary finds a value by: equal where Python's values are.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Key {
    None,
    Undefined,
    Int(i128),
    Float(u64),
    Str(Text),
    Tuple(Vec<Key>),
    Other(usize, usize),
}

impl Eq for Text {}

impl std::hash::Hash for Text {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self[..].hash(state);
    }
}

/// What is known of a value's parts where it is put together.
#[derive(Clone, Copy, Default)]
struct Depth {
    /// Of values in it.
    levels: usize,
    /// Whether a namespace is among them: only through one may a value hold itself.
    namespaces: bool,
    /// Whether a loop is among them: what `changed` keeps in one comes after it was put together.
    loops: bool,
}

/// One level more than the deepest of `parts`.
fn depth_over<'v>(parts: impl IntoIterator<Item = &'v Value>) -> Result<Depth> {
    let mut depth = Depth { levels: 1, ..Depth::default() };
    for part in parts.into_iter().map(Value::depth_of) {
        depth.levels = depth.levels.max(part.levels + 1);
        depth.namespaces |= part.namespaces;
        depth.loops |= part.loops;
    }
    if depth.levels > MAX_DEPTH { Err(too_deep()) } else { Ok(depth) }
}

impl Seq {
    fn new(items: Vec<Value>, group: bool) -> Result<Rc<Self>> {
        spend(items.len() / 4)?;
        Ok(Rc::new(Self { depth: depth_over(&items)?, items, group }))
    }
}

impl Dict {
    /// Later entries replace earlier ones, in their places.
    pub(super) fn new(entries: impl IntoIterator<Item = (Value, Value)>) -> Result<Self> {
        let mut all = Self::default();
        for (key, value) in entries {
            all.insert(key, value)?;
        }
        Ok(all)
    }

    pub(super) fn insert(&mut self, key: Value, value: Value) -> Result<()> {
        spend(1)?;
        let depth = depth_over([&key, &value])?;
        self.depth.levels = self.depth.levels.max(depth.levels);
        self.depth.namespaces |= depth.namespaces;
        self.depth.loops |= depth.loops;
        match self.places.entry(key.key()?) {
            std::collections::hash_map::Entry::Occupied(place) => self.entries[*place.get()].1 = value,
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(self.entries.len());
                self.entries.push((key, value));
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, key: &Value) -> Result<Option<&Value>> {
        Ok(self.places.get(&key.key()?).map(|&place| &self.entries[place].1))
    }

    pub(super) fn named(&self, name: &str) -> Option<&Value> {
        self.places.get(&Key::Str(Text::from(name))).map(|&place| &self.entries[place].1)
    }
}

impl Range {
    pub(super) fn len(self) -> usize {
        let (low, high, step) = match self.step > 0 {
            true => (self.start, self.stop, self.step),
            false => (self.stop, self.start, -self.step),
        };
        if low >= high { 0 } else { usize::try_from((high - low - 1) / step + 1).unwrap_or(usize::MAX) }
    }

    pub(super) fn at(self, index: usize) -> i128 {
        self.start + index as i128 * self.step
    }

    pub(super) fn contains(self, number: i128) -> bool {
        let inside = match self.step > 0 {
            true => self.start <= number && number < self.stop,
            false => self.stop < number && number <= self.start,
        };
        inside && (number - self.start) % self.step == 0
    }
}

impl Loop {
    pub(super) fn new(items: Vec<Value>, level: usize, recursive: Option<usize>) -> Result<Rc<Self>> {
        let depth = Depth { loops: true, ..depth_over(&items)? };
        let (index, seen) = (std::cell::Cell::new(0), RefCell::new(None));
        Ok(Rc::new(Self { items: Rc::new(items), index, level, seen, recursive, depth }))
    }
}

impl Value {
    pub(super) fn str(text: &str) -> Self {
        Self::Str(text.into())
    }

    pub(super) fn undefined(reason: impl AsRef<str>) -> Self {
        Self::Undefined(reason.as_ref().into())
    }

    /// # Errors
    /// Where it would be too deep; so for all that follow.
    pub(super) fn list(items: Vec<Value>) -> Result<Self> {
        Ok(Self::List(Seq::new(items, false)?))
    }

    pub(super) fn tuple(items: Vec<Value>) -> Result<Self> {
        Ok(Self::Tuple(Seq::new(items, false)?))
    }

    pub(super) fn group(key: Value, items: Value) -> Result<Self> {
        Ok(Self::Tuple(Seq::new(vec![key, items], true)?))
    }

    pub(super) fn dict(entries: impl IntoIterator<Item = (Value, Value)>) -> Result<Self> {
        Ok(Self::Dict(Rc::new(Dict::new(entries)?)))
    }

    pub(super) fn stream(items: Vec<Value>) -> Result<Self> {
        let depth = depth_over(&items)?;
        Ok(Self::Stream(Rc::new(Stream { items: RefCell::new(items.into()), depth })))
    }

    pub(super) fn method(of: &Value, name: &'static str) -> Result<Self> {
        Ok(Self::Method(Rc::new(Method { depth: depth_over([of])?, of: of.clone(), name })))
    }

    pub(super) fn cycler(items: Vec<Value>) -> Result<Self> {
        let depth = depth_over(&items)?;
        Ok(Self::Cycler(Rc::new(Cycler { items, at: std::cell::Cell::new(0), depth })))
    }

    fn depth_of(&self) -> Depth {
        match self {
            Self::List(seq) | Self::Tuple(seq) => seq.depth,
            Self::Dict(dict) | Self::View(_, dict) => dict.depth,
            Self::Stream(stream) => stream.depth,
            Self::Loop(it) => it.depth,
            Self::Method(method) => method.depth,
            Self::Cycler(cycler) => cycler.depth,
            Self::Namespace(_) => Depth { namespaces: true, ..Depth::default() },
            _ => Depth::default(),
        }
    }

    /// Levels of values in it. A namespace counts for none, whatever it holds: it is a number here, and what it holds
    /// belongs to the rendering.
    pub(super) fn depth(&self) -> usize {
        self.depth_of().levels
    }

    /// Whether it is a namespace, or one is in it.
    pub(super) fn holds_namespace(&self) -> bool {
        self.depth_of().namespaces
    }

    /// Whether it is a loop, or one is in it.
    pub(super) fn holds_loop(&self) -> bool {
        self.depth_of().loops
    }

    /// Calls `each` with every value that is directly in this one, those of namespaces aside.
    ///
    /// # Errors
    /// What `each` reports.
    pub(super) fn parts(&self, mut each: impl FnMut(&Value) -> Result<()>) -> Result<()> {
        match self {
            Self::List(seq) | Self::Tuple(seq) => seq.items.iter().try_for_each(each),
            Self::Dict(dict) | Self::View(_, dict) => {
                dict.entries.iter().try_for_each(|(key, value)| each(key).and_then(|()| each(value)))
            }
            Self::Stream(stream) => stream.items.borrow().iter().try_for_each(each),
            Self::Loop(it) => it.items.iter().try_for_each(each),
            Self::Method(method) => each(&method.of),
            Self::Cycler(cycler) => cycler.items.iter().try_for_each(each),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// What Python cannot hash.
    pub(super) fn key(&self) -> Result<Key> {
        Ok(match self {
            Self::None => Key::None,
            Self::Undefined(_) => Key::Undefined,
            Self::Bool(b) => Key::Int(i128::from(*b)),
            Self::Int(number) => Key::Int(*number),
            Self::Float(number) if number.fract() == 0.0 && number.abs() < 1e30 => Key::Int(*number as i128),
            Self::Float(number) => Key::Float(number.to_bits()),
            Self::Str(text) => Key::Str(text.clone()),
            Self::Tuple(seq) => {
                let _level = Level::enter()?;
                Key::Tuple(seq.items.iter().map(Self::key).collect::<Result<_>>()?)
            }
            Self::Range(range) => Key::Other(range.len(), range.start as usize),
            Self::Namespace(number) => Key::Other(1, *number),
            Self::Macro(number) => Key::Other(2, *number),
            other => return fail(format!("unhashable type: '{}'", other.type_name())),
        })
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(b) => *b,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::List(seq) | Self::Tuple(seq) => !seq.items.is_empty(),
            Self::Dict(dict) | Self::View(_, dict) => !dict.entries.is_empty(),
            Self::Range(range) => range.len() > 0,
            _ => true,
        }
    }

    /// As Python names its type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(text) if text.safe => "Markup",
            Self::Str(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::View(View::Keys, _) => "dict_keys",
            Self::View(View::Values, _) => "dict_values",
            Self::View(View::Items, _) => "dict_items",
            Self::Range(_) => "range",
            Self::Stream(_) => "generator",
            Self::Loop(_) => "LoopContext",
            Self::Namespace(_) => "Namespace",
            Self::Macro(_) => "Macro",
            Self::Function(_) => "function",
            Self::Method(_) => "method",
            Self::Cycler(_) => "Cycler",
            Self::Joiner(_) => "Joiner",
        }
    }

    /// # Errors
    /// What has no length.
    pub(super) fn len(&self) -> Result<usize> {
        Ok(match self {
            Self::Undefined(_) => 0,
            Self::Str(text) => text.len(),
            Self::List(seq) | Self::Tuple(seq) => seq.items.len(),
            Self::Dict(dict) | Self::View(_, dict) => dict.entries.len(),
            Self::Range(range) => range.len(),
            Self::Loop(it) => it.items.len(),
            other => return fail(format!("object of type '{}' has no len()", other.type_name())),
        })
    }

    /// The items, which a stream gives once.
    ///
    /// # Errors
    /// What cannot be iterated over.
    pub(super) fn items(&self) -> Result<Vec<Value>> {
        let items: Vec<Value> = match self {
            Self::Undefined(_) => Vec::new(),
            Self::Str(text) => text.iter().map(|&c| Self::Str([c][..].into())).collect(),
            Self::List(seq) | Self::Tuple(seq) => seq.items.clone(),
            Self::Dict(dict) | Self::View(View::Keys, dict) => {
                dict.entries.iter().map(|(key, _)| key.clone()).collect()
            }
            Self::View(View::Values, dict) => dict.entries.iter().map(|(_, value)| value.clone()).collect(),
            Self::View(View::Items, dict) => {
                let pair = |(key, value): &(Value, Value)| Self::tuple(vec![key.clone(), value.clone()]);
                dict.entries.iter().map(pair).collect::<Result<_>>()?
            }
            Self::Range(range) => {
                spend(range.len())?;
                (0..range.len()).map(|index| Self::Int(range.at(index))).collect()
            }
            Self::Stream(stream) => stream.items.take().into(),
            other => return fail(format!("'{}' object is not iterable", other.type_name())),
        };
        spend(items.len())?;
        Ok(items)
    }

    /// An undefined value where it is used as one that is defined.
    ///
    /// # Errors
    /// Its reason.
    pub(super) fn defined(&self) -> Result<&Self> {
        match self {
            Self::Undefined(reason) => fail(reason.as_ref()),
            other => Ok(other),
        }
    }

    /// The number that a bool or an int is.
    pub(super) fn as_int(&self) -> Option<i128> {
        match self {
            Self::Bool(b) => Some(i128::from(*b)),
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&Text> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_str(&self, word: &str) -> bool {
        self.as_text().is_some_and(|it| text::is(it, word))
    }

    /// For messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Str(text) => plain(text),
            other => other.type_name().to_owned(),
        }
    }
}
