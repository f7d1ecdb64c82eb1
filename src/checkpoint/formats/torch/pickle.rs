//! The pickle of a state dict, read as data.
//!
//! A pickle is a program for a stack machine. Of its instructions those are known here that build plain values,
//! and of the functions it may name those that `torch.save` names for a state dict; each gives a description, and
//! nothing is imported or called. The first other instruction or name ends the reading.
//!
//! Values lie in one list and refer to each other by number. So a value that holds itself, or thousands of
//! references to one, costs what its bytes in the file cost, and nothing here calls itself.
//!
//! Follows CPython's `Lib/pickletools.py` and torch's `_weights_only_unpickler.py`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use crate::checkpoint::Error;

use super::objects::{Function, View};

/// Largest pickle: 0.2 kB a tensor, so this is far above any model.
const LARGEST: usize = 16 << 20;

/// Most values, and as many references to them on the stack, in lists and dicts, and to come back to: a tensor takes
/// about twenty, and the largest published file has some hundred tensors.
const MOST_VALUES: usize = 1 << 18;

/// Most tensors, of which each takes as much memory as ten other values.
const MOST_TENSORS: usize = 1 << 16;

/// Most marks at once: a state dict has four.
const MOST_MARKS: usize = 1 << 10;

/// Longest line of a name.
const LONGEST_NAME: usize = 256;

/// The tensors of a state dict by name, in the pickle's order; one level down under `model` where litgpt's
/// trainers put them.
///
/// # Errors
/// The pickle is broken, holds anything but a dict of tensors, or asks for what is not on the list.
pub fn state_dict<'a>(path: &Path, pickle: &'a [u8]) -> Result<Vec<(&'a str, View<'a>)>, Error> {
    if pickle.len() > LARGEST {
        let rule = format!("its pickle is {} bytes long, at most {LARGEST} are read", pickle.len());
        return Err(Error::malformed(path, rule));
    }
    let mut machine = Machine {
        path,
        pickle,
        position: 0,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        items: 0,
        tensors: 0,
    };
    let top = machine.run()?;
    machine.tensors(top)
}

/// A value's number in the list of values.
pub(super) type Id = usize;

#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// None, a truth value or a float: nothing here depends on it.
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
    pickle: &'a [u8],
    position: usize,
    pub(super) values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// How many there are in all lists and dicts.
    items: usize,
    tensors: usize,
}

impl<'a> Machine<'a, '_> {
    pub(super) fn broken(&self, rule: &str) -> Error {
        let at = self.position;
        Error::malformed(self.path, format!("its pickle is broken before byte {at}: {rule}"))
    }

    pub(super) fn foreign(&self, what: impl Into<String>) -> Error {
        Error::ForeignPickle { path: self.path.into(), what: what.into() }
    }

    /// Runs to the end and gives the one value that is left.
    fn run(&mut self) -> Result<Id, Error> {
        loop {
            let [opcode] = self.array()?;
            if opcode == b'.' {
                break;
            }
            self.step(opcode)?;
        }
        match (self.stack.as_slice(), self.marks.is_empty(), self.position == self.pickle.len()) {
            (&[top], true, true) => Ok(top),
            _ => Err(self.broken("it does not end with one value")),
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Error> {
        match opcode {
            // PROTO and FRAME say nothing that matters.
            0x80 => self.array::<1>().map(drop),
            0x95 => self.array::<8>().map(drop),
            // None, false, true, a float.
            b'N' | 0x88 | 0x89 => self.push(Value::Plain),
            b'G' => {
                self.array::<8>()?;
                self.push(Value::Plain)
            }
            b'K' => {
                let [value] = self.array()?;
                self.push(Value::Integer(value.into()))
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Value::Integer(value.into()))
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Value::Integer(value.into()))
            }
            0x8a => self.long(),
            b'X' => {
                let length = u32::from_le_bytes(self.array()?);
                self.text(length.into())
            }
            0x8c => {
                let [length] = self.array()?;
                self.text(length.into())
            }
            0x8d => {
                let length = u64::from_le_bytes(self.array()?);
                self.text(length)
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b']' => self.push(Value::List(Vec::new())),
            b')' => self.push(Value::Tuple(Vec::new())),
            b'(' => self.mark(),
            b't' => {
                let items = self.since_mark()?;
                self.push(Value::Tuple(items))
            }
            0x85..=0x87 => {
                let items = self.last(usize::from(opcode - 0x84))?;
                self.push(Value::Tuple(items))
            }
            b'a' => {
                let items = self.last(1)?;
                self.append(items)
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(items)
            }
            b's' => {
                let items = self.last(2)?;
                self.set(&items)
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(&items)
            }
            b'q' => {
                let [index] = self.array()?;
                self.remember(index.into())
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.remember(index)
            }
            0x94 => self.remember(self.memo.len() as u32),
            b'h' => {
                let [index] = self.array()?;
                self.recall(index.into())
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index)
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)
            }
            0x93 => {
                let names = self.last(2)?;
                match (self.str(names[0]), self.str(names[1])) {
                    (Some(module), Some(name)) => self.global(module, name),
                    _ => Err(self.broken("a name is no text")),
                }
            }
            b'Q' => self.storage(),
            b'R' => self.call(),
            b'b' => self.build(),
            _ => Err(self.foreign(format!("the pickle instruction {opcode:#04x}"))),
        }
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Error> {
        match self.pickle[self.position..].get(..count) {
            Some(bytes) => {
                self.position += count;
                Ok(bytes)
            }
            None => Err(self.broken("it ends within a value")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn line(&mut self) -> Result<&'a str, Error> {
        let rest = &self.pickle[self.position..];
        let end = rest.iter().take(LONGEST_NAME).position(|byte| *byte == b'\n');
        let line = end.and_then(|end| str::from_utf8(&rest[..end]).ok());
        let line = line.ok_or_else(|| self.broken("a name does not end, or is not UTF-8"))?;
        self.position += line.len() + 1;
        Ok(line)
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

    /// Puts a value on the stack.
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

    /// Counts what a list or dict grows by.
    fn count(&mut self, items: usize) -> Result<(), Error> {
        self.items += items;
        match self.items > MOST_VALUES {
            true => Err(self.too_many()),
            false => Ok(()),
        }
    }

    fn text(&mut self, length: u64) -> Result<(), Error> {
        let bytes = self.bytes(usize::try_from(length).unwrap_or(usize::MAX))?;
        let text = str::from_utf8(bytes).map_err(|_| self.broken("a text is not UTF-8"))?;
        self.push(Value::Text(text))
    }

    /// LONG1: little-endian, two's complement, at most eight bytes of it.
    fn long(&mut self) -> Result<(), Error> {
        let [length] = self.array()?;
        let bytes = self.bytes(length.into())?;
        if bytes.len() > 8 {
            return Err(self.broken("a number of more than 64 bits"));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Integer(i64::from_le_bytes(wide)))
    }

    /// Takes the last `count` values, none of them from below a mark.
    pub(super) fn last(&mut self, count: usize) -> Result<Vec<Id>, Error> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count).filter(|start| *start >= floor) {
            Some(start) => Ok(self.taken_from(start)),
            None => Err(self.broken("the stack is empty")),
        }
    }

    /// Not by `split_off`, whose result may keep all of the stack's room.
    fn taken_from(&mut self, start: usize) -> Vec<Id> {
        self.stack.drain(start..).collect()
    }

    fn mark(&mut self) -> Result<(), Error> {
        if self.marks.len() >= MOST_MARKS {
            return Err(self.broken("it is nested too deeply"));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, Error> {
        match self.marks.pop() {
            Some(mark) => Ok(self.taken_from(mark)),
            None => Err(self.broken("there is no mark")),
        }
    }

    /// The value on top, which stays there.
    pub(super) fn top(&self) -> Result<Id, Error> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.get(floor..).and_then(<[Id]>::last);
        top.copied().ok_or_else(|| self.broken("the stack is empty"))
    }

    fn remember(&mut self, index: u32) -> Result<(), Error> {
        let top = self.top()?;
        self.memo.insert(index, top);
        match self.memo.len() > MOST_VALUES {
            true => Err(self.too_many()),
            false => Ok(()),
        }
    }

    fn recall(&mut self, index: u32) -> Result<(), Error> {
        match self.memo.get(&index) {
            Some(value) => self.refer(*value),
            None => Err(self.broken("a value is used that was never kept")),
        }
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), Error> {
        let list = self.top()?;
        self.count(items.len())?;
        match &mut self.values[list] {
            Value::List(list) => {
                list.extend(items);
                Ok(())
            }
            _ => Err(self.foreign("an append to what is no list")),
        }
    }

    fn set(&mut self, items: &[Id]) -> Result<(), Error> {
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
            _ => Err(self.foreign("an assignment to what is no dict")),
        }
    }
}
