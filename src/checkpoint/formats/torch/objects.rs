//! Builds the objects of a state dict's pickle: storages, and tensors as views of them.

use std::borrow::Cow;

use super::machine::{Function, Id, Machine, Value, View};
use crate::checkpoint::Error;

/// Maximum number of dimensions of a tensor.
const MOST_DIMENSIONS: usize = 8;

impl<'a> Machine<'a, '_> {
    pub(in crate::checkpoint) fn global(&mut self, module: &'a str, name: &'a str) -> Result<(), Error> {
        let value = match (module, name) {
            ("collections", "OrderedDict") => Value::Function(Function::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Value::Function(Function::Tensor),
            ("torch._utils", "_rebuild_parameter") => Value::Function(Function::Parameter),
            ("torch", kind) if kind.ends_with("Storage") => Value::StorageType(kind),
            _ => return Err(self.foreign(format!("{module}.{name}"))),
        };
        self.push(value)
    }

    /// BINPERSID: pushes a storage for the tuple `("storage", type, key, device, elements)`.
    pub(in crate::checkpoint) fn storage(&mut self) -> Result<(), Error> {
        let id = self.last(1)?[0];
        let Value::Tuple(parts) = &self.values[id] else {
            return Err(self.foreign("a persistent id that is not a tuple"));
        };
        let storage = match parts.as_slice() {
            &[tag, kind, key, _, elements] if self.str(tag) == Some("storage") => {
                let kind = match self.values[kind] {
                    Value::StorageType(kind) => Some(kind),
                    _ => None,
                };
                kind.zip(self.key(key)).zip(self.size(elements))
            }
            _ => None,
        };
        match storage {
            Some(((kind, key), elements)) => self.push(Value::Storage { key, kind, elements }),
            None => Err(self.foreign("a persistent id that is not a storage")),
        }
    }

    /// REDUCE: pushes the result of a function and its arguments.
    pub(in crate::checkpoint) fn call(&mut self) -> Result<(), Error> {
        let call = self.last(2)?;
        let (Value::Function(function), Value::Tuple(arguments)) =
            (&self.values[call[0]], &self.values[call[1]])
        else {
            return Err(self.foreign("a call of something that is not a function"));
        };
        match (function, arguments.as_slice()) {
            (Function::OrderedDict, []) => self.push(Value::Dict(Vec::new())),
            (Function::Parameter, &[tensor, ..]) if matches!(self.values[tensor], Value::Tensor(_)) => {
                self.refer(tensor)
            }
            (Function::Tensor, &[storage, offset, shape, stride, ..]) => {
                let Value::Storage { key, kind, elements } = &self.values[storage] else {
                    return Err(self.foreign("a tensor without a storage"));
                };
                let (key, kind, elements) = (key.clone(), *kind, *elements);
                let view = (self.size(offset), self.sizes(shape), self.sizes(stride));
                let (Some(offset), Some(shape), Some(stride)) = view else {
                    return Err(self.broken("a tensor's offset, shape or stride is not of whole numbers"));
                };
                if shape.len() != stride.len() {
                    return Err(self.broken("a tensor's shape and stride differ in length"));
                }
                self.push(Value::Tensor(Box::new(View { key, kind, elements, offset, shape, stride })))
            }
            _ => Err(self.foreign(format!("a call of {function:?} with other arguments"))),
        }
    }

    /// BUILD: drops an object's attributes. A state dict's `_metadata` is not needed; other objects may have none.
    pub(in crate::checkpoint) fn build(&mut self) -> Result<(), Error> {
        let state = self.last(1)?[0];
        match (&self.values[self.top()?], &self.values[state]) {
            (Value::Dict(_), Value::Dict(_)) => Ok(()),
            _ => Err(self.foreign("attributes of something that is not a dict")),
        }
    }

    pub(in crate::checkpoint) fn str(&self, id: Id) -> Option<&'a str> {
        match self.values[id] {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a storage's name: text, or a number in files of litgpt's incremental saver.
    fn key(&self, id: Id) -> Option<Cow<'a, str>> {
        match self.values[id] {
            Value::Integer(number) => Some(number.to_string().into()),
            _ => self.str(id).map(Cow::from),
        }
    }

    fn size(&self, id: Id) -> Option<usize> {
        match self.values[id] {
            Value::Integer(value) => usize::try_from(value).ok(),
            _ => None,
        }
    }

    fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        match &self.values[id] {
            Value::Tuple(items) if items.len() <= MOST_DIMENSIONS => {
                items.iter().map(|item| self.size(*item)).collect()
            }
            _ => None,
        }
    }

    /// Returns the tensors of the dict `top`, or of the dict that it holds under `model`.
    pub(in crate::checkpoint) fn tensors(&self, top: Id) -> Result<Vec<(&'a str, View<'a>)>, Error> {
        let no_dict = || Error::malformed(self.path, "holds no dict of tensors");
        let Value::Dict(entries) = &self.values[top] else { return Err(no_dict()) };
        let model = entries.iter().find(|(name, _)| self.str(*name) == Some("model"));
        let entries = match model.map(|(_, value)| &self.values[*value]) {
            Some(Value::Dict(inner)) => inner,
            _ => entries,
        };
        let tensor = |(name, value): &(Id, Id)| {
            let Some(name) = self.str(*name) else { return Err(no_dict()) };
            match &self.values[*value] {
                Value::Tensor(view) => Ok((name, (**view).clone())),
                _ => Err(Error::malformed(self.path, format!("{name} is not a tensor"))),
            }
        };
        entries.iter().map(tensor).collect()
    }
}
