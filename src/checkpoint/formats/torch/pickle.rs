//! Reads the pickle of a state dict as data.
//!
//! A pickle is a program for a stack machine. This reader knows the instructions that build plain values, and the
//! functions that `torch.save` uses for a state dict. A function call yields a description of its result; nothing is
//! imported or called. Any other instruction or name is an error.
//!
//! Follows CPython's `Lib/pickletools.py` and torch's `_weights_only_unpickler.py`.

use std::path::Path;

use crate::checkpoint::Error;

use super::machine::{Id, Machine, Value, View};

/// Maximum size of a pickle, in bytes. A tensor takes 0.2 kB, so this is far above any model.
const LARGEST: usize = 16 << 20;

/// Maximum length of the name of a module or class, in bytes.
const LONGEST_NAME: usize = 256;

/// Returns the tensors of a state dict by name, in the pickle's order. litgpt's trainers put the dict one level down,
/// under `model`.
///
/// # Errors
/// The pickle is broken, holds anything but a dict of tensors, or uses another instruction or function.
pub fn state_dict<'a>(path: &Path, pickle: &'a [u8]) -> Result<Vec<(&'a str, View<'a>)>, Error> {
    if pickle.len() > LARGEST {
        let rule = format!("its pickle is {} bytes long, at most {LARGEST} are read", pickle.len());
        return Err(Error::malformed(path, rule));
    }
    let mut machine = Machine::new(path, pickle);
    let top = machine.run()?;
    machine.tensors(top)
}

impl<'a> Machine<'a, '_> {
    /// Runs the pickle to its end and returns the one value that is left.
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
            // PROTO and FRAME do not affect the values.
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
                    _ => Err(self.broken("a name is not text")),
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

    fn text(&mut self, length: u64) -> Result<(), Error> {
        let bytes = self.bytes(usize::try_from(length).unwrap_or(usize::MAX))?;
        let text = str::from_utf8(bytes).map_err(|_| self.broken("a text is not UTF-8"))?;
        self.push(Value::Text(text))
    }

    /// LONG1: pushes a number in little-endian two's complement, of at most eight bytes.
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
}
