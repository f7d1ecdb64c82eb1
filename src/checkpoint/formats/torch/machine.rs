//! The stack machine of a pickle: its values, its stack and its memo, all limited in size.
//!
//! Values are stored in one list and refer to each other by index. So a value that contains itself, or thousands of
//! references to one value, cost no more memory than their bytes in the file, and nothing here recurses.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use crate::checkpoint::Error;

/// Maximum number of values. The same limit holds for the stack, for the items of all tuples, lists and dicts, and for
/// the memo. A tensor takes about twenty values, and the largest published file has a few hundred tensors.
const MOST_VALUES: usize = 1 << 18;

/// Maximum number of tensors. A tensor takes as much memory as ten other values.
const MOST_TENSORS: usize = 1 << 16;

/// Maximum number of open marks. A state dict has four.
const MOST_MARKS: usize = 1 << 10;

/// A tensor as the pickle describes it: a view of a storage.
#[derive(Clone, Debug, PartialEq)]
pub struct View<'a> {
    /// The storage's name in the archive.
    pub key: Cow<'a, str>,
    /// The storage's type: `FloatStorage`, …
    pub kind: &'a str,
    /// Number of elements of the storage.
    pub elements: usize,
    /// Index of the view's first element in the storage.
    pub offset: usize,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Distance in elements from one index to the next, for each dimension.
    pub stride: Vec<usize>,
}

/// The functions that a pickle may call.
#[derive(Clone, Copy, Debug)]
pub enum Function {
    /// `collections.OrderedDict()`
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2(storage, offset, shape, stride, …)`
    Tensor,
    /// `torch._utils._rebuild_parameter(tensor, …)`
    Parameter,
}

/// A value's index in the list of values.
pub(super) type Id = usize;

#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// None, a truth value or a float, which no tensor depends on.
    Plain,
    Integer(i64),
    Text(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Function(Function),
    StorageType(&'a str),
    Storage {
        key: Cow<'a, str>,
        kind: &'a str,
        elements: usize,
    },
    Tensor(Box<View<'a>>),
}

pub(super) struct Machine<'a, 'p> {
    pub(super) path: &'p Path,
    pub(super) pickle: &'a [u8],
    pub(super) position: usize,
    pub(super) values: Vec<Value<'a>>,
    pub(super) stack: Vec<Id>,
    /// Heights of the stack at its marks.
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u32, Id>,
    /// Number of items in all tuples, lists and dicts.
    items: usize,
    tensors: usize,
}

impl<'a, 'p> Machine<'a, 'p> {
    /// Returns a machine before the first instruction of `pickle`, which is in the file `path`.
    pub(super) fn new(path: &'p Path, pickle: &'a [u8]) -> Self {
        Self {
            path,
            pickle,
            position: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            items: 0,
            tensors: 0,
        }
    }

    pub(super) fn broken(&self, rule: &str) -> Error {
        let at = self.position;
        Error::malformed(self.path, format!("its pickle is broken before byte {at}: {rule}"))
    }

    pub(super) fn foreign(&self, what: impl Into<String>) -> Error {
        Error::ForeignPickle { path: self.path.into(), what: what.into() }
    }

    pub(super) fn push(&mut self, value: Value<'a>) -> Result<(), Error> {
        match &value {
            Value::Tensor(_) => self.tensors += 1,
            Value::Tuple(items) => self.count(items.len())?,
            _ => {}
        }
        if self.values.len() >= MOST_VALUES || self.tensors > MOST_TENSORS {
            return Err(self.too_many());
        }
        self.values.push(value);
        self.refer(self.values.len() - 1)
    }

    /// Pushes a reference to an existing value.
    pub(super) fn refer(&mut self, value: Id) -> Result<(), Error> {
        if self.stack.len() >= MOST_VALUES {
            return Err(self.too_many());
        }
        self.stack.push(value);
        Ok(())
    }

    fn too_many(&self) -> Error {
        self.broken("more values than a model has")
    }

    /// Counts new items of a tuple, list or dict.
    fn count(&mut self, items: usize) -> Result<(), Error> {
        self.items += items;
        match self.items > MOST_VALUES {
            true => Err(self.too_many()),
            false => Ok(()),
        }
    }

    /// Pops the last `count` values. Values below the last mark are out of reach.
    pub(super) fn last(&mut self, count: usize) -> Result<Vec<Id>, Error> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count).filter(|start| *start >= floor) {
            Some(start) => Ok(self.taken_from(start)),
            None => Err(self.broken("the stack is empty")),
        }
    }

    /// Pops all values from `start`. The result of `split_off` might keep the stack's whole capacity.
    fn taken_from(&mut self, start: usize) -> Vec<Id> {
        self.stack.drain(start..).collect()
    }

    pub(super) fn mark(&mut self) -> Result<(), Error> {
        if self.marks.len() >= MOST_MARKS {
            return Err(self.broken("it is nested too deeply"));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    pub(super) fn since_mark(&mut self) -> Result<Vec<Id>, Error> {
        match self.marks.pop() {
            Some(mark) => Ok(self.taken_from(mark)),
            None => Err(self.broken("there is no mark")),
        }
    }

    /// Returns the value on top of the stack without popping it.
    pub(super) fn top(&self) -> Result<Id, Error> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.get(floor..).and_then(<[Id]>::last);
        top.copied().ok_or_else(|| self.broken("the stack is empty"))
    }

    pub(super) fn remember(&mut self, index: u32) -> Result<(), Error> {
        let top = self.top()?;
        self.memo.insert(index, top);
        match self.memo.len() > MOST_VALUES {
            true => Err(self.too_many()),
            false => Ok(()),
        }
    }

    pub(super) fn recall(&mut self, index: u32) -> Result<(), Error> {
        match self.memo.get(&index) {
            Some(value) => self.refer(*value),
            None => Err(self.broken("it uses a value that is not in the memo")),
        }
    }

    pub(super) fn append(&mut self, items: Vec<Id>) -> Result<(), Error> {
        let list = self.top()?;
        self.count(items.len())?;
        match &mut self.values[list] {
            Value::List(list) => {
                list.extend(items);
                Ok(())
            }
            _ => Err(self.foreign("an append to something that is not a list")),
        }
    }

    pub(super) fn set(&mut self, items: &[Id]) -> Result<(), Error> {
        let dict = self.top()?;
        self.count(items.len())?;
        if !items.len().is_multiple_of(2) {
            return Err(self.broken("a key without a value"));
        }
        match &mut self.values[dict] {
            Value::Dict(dict) => {
                dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => Err(self.foreign("an assignment to something that is not a dict")),
        }
    }
}
