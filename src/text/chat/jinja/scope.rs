//! Scopes of variables.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::value::Value;

/// A scope of variables and its outer scope. It is shared, because macros see variables that are set after them.
#[derive(Clone)]
pub(super) struct Scope(Rc<Variables>);

struct Variables {
    own: RefCell<HashMap<Rc<str>, Value>>,
    around: Option<Scope>,
}

impl Scope {
    pub(super) fn root() -> Self {
        Self(Rc::new(Variables { own: RefCell::default(), around: None }))
    }

    pub(super) fn inner(&self) -> Self {
        Self(Rc::new(Variables { own: RefCell::default(), around: Some(self.clone()) }))
    }

    pub(super) fn set(&self, name: &Rc<str>, value: Value) {
        self.0.own.borrow_mut().insert(name.clone(), value);
    }

    pub(super) fn get(&self, name: &str) -> Option<Value> {
        let mut scope = self;
        loop {
            if let Some(value) = scope.0.own.borrow().get(name) {
                return Some(value.clone());
            }
            scope = scope.0.around.as_ref()?;
        }
    }
}
