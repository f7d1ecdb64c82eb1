//! Python's values. A value is immutable, so its depth of nesting is known when it is made. Namespaces, loops and
//! similar values can change; a namespace is stored by its number, and other changes do not make a value deeper.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::failure::{Level, MAX_DEPTH, Result, fail, spend, too_deep};
use super::range::Range;
use super::text::{self, Origin, Text, plain};

#[derive(Clone)]
pub(in crate::text::chat) enum Value {
    /// An undefined value, with the error for its use.
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
    /// A namespace or macro by its number.
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

/// A dictionary in the order of insertion.
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

/// A Python generator or iterator, whose items can be read once.
pub(in crate::text::chat) struct Stream {
    pub(super) items: RefCell<std::collections::VecDeque<Value>>,
    depth: Depth,
}

/// The value of `loop`.
pub(in crate::text::chat) struct Loop {
    pub(super) items: Rc<Vec<Value>>,
    pub(super) index: std::cell::Cell<usize>,
    /// Depth of a recursive loop, from 0.
    pub(super) level: usize,
    /// The last value passed to `changed`. It must not contain a loop, because its depth is not counted.
    pub(super) seen: RefCell<Option<Value>>,
    /// The number of its recursive loop.
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

/// A key of a dictionary, equal to another if Python's values are.
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

/// Properties of a value's parts, computed when it is made.
#[derive(Clone, Copy, Default)]
struct Depth {
    /// Number of nested levels.
    levels: usize,
    /// Whether the parts include a namespace. Only through a namespace can a value contain itself.
    namespaces: bool,
    /// Whether the parts include a loop, to which `changed` may add a value later.
    loops: bool,
}

/// Returns one level more than the deepest of `parts`.
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
    /// Creates a dictionary. Later entries replace earlier ones in their positions.
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

impl Loop {
    pub(super) fn new(items: Vec<Value>, level: usize, recursive: Option<usize>) -> Result<Rc<Self>> {
        let depth = Depth { loops: true, ..depth_over(&items)? };
        let (index, seen) = (std::cell::Cell::new(0), RefCell::new(None));
        Ok(Rc::new(Self { items: Rc::new(items), index, level, seen, recursive, depth }))
    }
}

impl Value {
    /// Creates a text of an origin.
    pub(in crate::text::chat) fn text_of(text: &str, origin: Origin) -> Self {
        Self::Str(Text::of(text, origin))
    }

    /// Creates a dictionary by names.
    ///
    /// # Errors
    /// The values are nested too deep, which cannot happen for texts.
    pub(in crate::text::chat) fn record(entries: Vec<(&str, Value)>) -> Result<Self> {
        Self::dict(
            entries.into_iter().map(|(name, value)| (Self::text_of(name, 0), value)).collect::<Vec<_>>(),
        )
    }

    pub(super) fn str(text: &str) -> Self {
        Self::Str(text.into())
    }

    pub(super) fn undefined(reason: impl AsRef<str>) -> Self {
        Self::Undefined(reason.as_ref().into())
    }

    /// Creates a list.
    ///
    /// # Errors
    /// The value would be too deep. This holds for the functions below too.
    pub(in crate::text::chat) fn list(items: Vec<Value>) -> Result<Self> {
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

    /// Returns the number of nested levels. A namespace has none, since it is stored by number and its contents belong
    /// to the rendering.
    pub(super) fn depth(&self) -> usize {
        self.depth_of().levels
    }

    /// Returns whether the value is or contains a namespace.
    pub(super) fn holds_namespace(&self) -> bool {
        self.depth_of().namespaces
    }

    /// Returns whether the value is or contains a loop.
    pub(super) fn holds_loop(&self) -> bool {
        self.depth_of().loops
    }

    /// Calls `each` with every value directly in this one, except those of namespaces.
    ///
    /// # Errors
    /// The errors of `each`.
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

    /// Returns the value as a dictionary's key.
    ///
    /// # Errors
    /// Python cannot hash the value.
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

    /// Returns Python's name of the value's type.
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

    /// Refuses an undefined value.
    ///
    /// # Errors
    /// The reason why the value is undefined.
    pub(super) fn defined(&self) -> Result<&Self> {
        match self {
            Self::Undefined(reason) => fail(reason.as_ref()),
            other => Ok(other),
        }
    }

    /// Returns the number of a bool or an int.
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

    /// Returns the value as messages show it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Str(text) => plain(text),
            other => other.type_name().to_owned(),
        }
    }
}
