//! Executes statements.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::arguments::Given;
use super::ast::{Body, For, Macro, Node, Statement, Target};
use super::failure::{Failure, Level, Result, fail, spend, spend_on_text, too_deep};
use super::scope::Scope;
use super::text::{Ch, Text};
use super::value::{Loop, Value};

/// Maximum depth of nested evaluations, including those of macros. Each takes less than 16 KiB of the stack.
const MAX_RECURSION: usize = 4000;
/// Maximum length of the rendered text, in characters.
const MAX_OUTPUT: usize = 16 << 20;
/// Maximum depth of nested macros, and of nested recursive loops.
const MAX_CALLS: usize = 200;

/// How a body ended.
#[derive(PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

type Entries = Vec<(Value, Value)>;

/// A rendering, which owns its namespaces and macros.
pub(super) struct Interpreter<'t> {
    root: Scope,
    out: Vec<Ch>,
    namespaces: Vec<RefCell<Entries>>,
    macros: Vec<(&'t Macro, Scope)>,
    /// The recursive loops, with their scopes.
    loops: Vec<(&'t For, Scope)>,
    recursion: Cell<usize>,
    calls: usize,
    pub(super) clock: &'t dyn Fn(&str) -> Option<String>,
}

impl<'t> Interpreter<'t> {
    pub(super) fn new(context: Vec<(&str, Value)>, clock: &'t dyn Fn(&str) -> Option<String>) -> Self {
        let root = Scope::root();
        for (name, value) in context {
            root.set(&name.into(), value);
        }
        Self {
            root,
            out: Vec::new(),
            namespaces: Vec::new(),
            macros: Vec::new(),
            loops: Vec::new(),
            recursion: Cell::new(0),
            calls: 0,
            clock,
        }
    }

    /// Renders a template.
    ///
    /// # Errors
    /// The template has a defect, raises an error itself, or exceeds a limit.
    pub(super) fn render(mut self, body: &'t Body) -> Result<Vec<Ch>> {
        let scope = self.root.clone();
        self.body(body, &scope)?;
        Ok(self.out)
    }

    /// Counts a nested evaluation, so that the stack does not overflow.
    ///
    /// # Errors
    /// The limit is exceeded.
    pub(super) fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        spend(1)?;
        let level = self.recursion.get();
        if level >= MAX_RECURSION {
            return fail(format!("its recursion is too deep (the limit is {MAX_RECURSION} levels)"));
        }
        self.recursion.set(level + 1);
        let done = work(self);
        self.recursion.set(level);
        done
    }

    fn emit(&mut self, value: &Value) -> Result<()> {
        let mut out = std::mem::take(&mut self.out);
        let written = self.write(value, &mut out);
        self.out = out;
        written?;
        self.check_output()
    }

    fn check_output(&self) -> Result<()> {
        if self.out.len() > MAX_OUTPUT {
            return fail(format!("it writes more than {MAX_OUTPUT} characters"));
        }
        Ok(())
    }

    fn body(&mut self, body: &'t Body, scope: &Scope) -> Result<Flow> {
        for node in body {
            let flow = self.node(node, scope).map_err(|error| {
                Box::new(Failure { line: error.line.or(Some(node.line)), message: error.message })
            })?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &'t Node, scope: &Scope) -> Result<Flow> {
        self.deeper(|it| it.statement(&node.statement, scope))
    }

    fn statement(&mut self, statement: &'t Statement, scope: &Scope) -> Result<Flow> {
        match statement {
            Statement::Data(text) => {
                spend_on_text(text.len())?;
                self.out.extend_from_slice(text);
                self.check_output()?;
            }
            Statement::Print(expression) => {
                let value = self.eval(expression, scope)?;
                self.emit(&value)?;
            }
            Statement::For(all) => {
                let over = self.eval(&all.over, scope)?;
                let recursive = all.recursive.then(|| {
                    self.loops.push((all, scope.clone()));
                    self.loops.len() - 1
                });
                self.for_loop(all, &over, scope, 0, recursive)?;
            }
            Statement::If(cases, otherwise) => {
                for (condition, body) in cases {
                    if self.eval(condition, scope)?.is_true() {
                        return self.body(body, scope);
                    }
                }
                return self.body(otherwise, scope);
            }
            Statement::Set(target, expression) => {
                let value = self.eval(expression, scope)?;
                self.assign(target, value, scope)?;
            }
            Statement::SetBlock(target, filters, body) => {
                let value = self.captured(body, &scope.inner())?;
                let value = self.filter_all(filters, Value::Str(value), scope)?;
                self.assign(target, value, scope)?;
            }
            Statement::FilterBlock(filters, body) => {
                let value = self.captured(body, &scope.inner())?;
                let value = self.filter_all(filters, Value::Str(value), scope)?;
                self.emit(&value)?;
            }
            Statement::With(values, body) => {
                let inner = scope.inner();
                for (target, expression) in values {
                    let value = self.eval(expression, scope)?;
                    self.assign(target, value, &inner)?;
                }
                return self.body(body, &inner);
            }
            Statement::Macro(it) => {
                let value = self.new_macro(it, scope);
                scope.set(&it.name, value);
            }
            Statement::CallBlock(callee, arguments, caller) => {
                let callee = self.eval(callee, scope)?;
                let mut given = self.given(arguments, scope)?;
                given.named.push(("caller".into(), self.new_macro(caller, scope)));
                let value = self.call(&callee, given)?;
                self.emit(&value)?;
            }
            Statement::Block(scoped, body) => {
                let around = if *scoped { scope.inner() } else { self.root.inner() };
                return self.body(body, &around);
            }
            Statement::Scope(body) => return self.body(body, &scope.inner()),
            Statement::Break => return Ok(Flow::Break),
            Statement::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    /// Renders a body.
    fn captured(&mut self, body: &'t Body, scope: &Scope) -> Result<Text> {
        let outer = std::mem::take(&mut self.out);
        let flow = self.body(body, scope);
        let written = std::mem::replace(&mut self.out, outer);
        flow?;
        Ok(written.into())
    }

    fn filter_all(
        &mut self,
        filters: &'t [(Rc<str>, super::ast::Arguments)],
        mut value: Value,
        scope: &Scope,
    ) -> Result<Value> {
        for (name, arguments) in filters {
            let given = self.given(arguments, scope)?;
            value = self.filter(name, &value, given)?;
        }
        Ok(value)
    }

    fn for_loop(
        &mut self,
        all: &'t For,
        over: &Value,
        scope: &Scope,
        level: usize,
        recursive: Option<usize>,
    ) -> Result<()> {
        let mut items = over.items()?;
        if let Some(filter) = &all.filter {
            let mut kept = Vec::new();
            for item in items {
                let inner = scope.inner();
                self.assign(&all.target, item.clone(), &inner)?;
                if self.eval(filter, &inner)?.is_true() {
                    kept.push(item);
                }
            }
            items = kept;
        }
        if items.is_empty() {
            self.body(&all.otherwise, &scope.inner())?;
            return Ok(());
        }
        let state = Loop::new(items, level, recursive)?;
        let name: Rc<str> = "loop".into();
        for index in 0..state.items.len() {
            spend(1)?;
            state.index.set(index);
            let inner = scope.inner();
            inner.set(&name, Value::Loop(state.clone()));
            self.assign(&all.target, state.items[index].clone(), &inner)?;
            if self.body(&all.body, &inner)? == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    /// Renders `loop(…)` of a recursive loop.
    ///
    /// # Errors
    /// The errors of its body.
    pub(super) fn recurse(&mut self, state: &Loop, over: &Value) -> Result<Value> {
        let Some(number) = state.recursive else {
            return fail("The loop must have the 'recursive' marker to be called recursively.");
        };
        let (all, scope) = self.loops[number].clone();
        let level = state.level + 1;
        let written = self.calling(|it| {
            let outer = std::mem::take(&mut it.out);
            let done = it.for_loop(all, over, &scope, level, Some(number));
            let written = std::mem::replace(&mut it.out, outer);
            done.map(|()| written)
        })?;
        Ok(Value::Str(written.into()))
    }

    fn calling<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.calls >= MAX_CALLS {
            return fail(format!("its recursion is too deep (the limit is {MAX_CALLS} calls in calls)"));
        }
        self.calls += 1;
        let done = work(self);
        self.calls -= 1;
        done
    }

    pub(super) fn assign(&mut self, target: &Target, value: Value, scope: &Scope) -> Result<()> {
        match target {
            Target::Name(name) => scope.set(name, value),
            Target::Many(targets) => {
                let items = value.items()?;
                if items.len() < targets.len() {
                    let (wanted, found) = (targets.len(), items.len());
                    return fail(format!("not enough values to unpack (expected {wanted}, got {found})"));
                }
                if items.len() > targets.len() {
                    return fail(format!("too many values to unpack (expected {})", targets.len()));
                }
                for (target, item) in targets.iter().zip(items) {
                    self.assign(target, item, scope)?;
                }
            }
            Target::Attribute(name, attribute) => match scope.get(name) {
                Some(Value::Namespace(number)) => {
                    if value.depth() >= super::failure::MAX_DEPTH {
                        return Err(too_deep());
                    }
                    let holds_namespace = value.holds_namespace();
                    let mut entries = self.namespaces[number].borrow_mut();
                    match entries.iter_mut().find(|(key, _)| key.is_str(attribute)) {
                        Some((_, old)) => *old = value,
                        None => entries.push((Value::str(attribute), value)),
                    }
                    drop(entries);
                    if holds_namespace {
                        self.check_depth(&Value::Namespace(number))?;
                    }
                }
                Some(_) => return fail("cannot assign attribute on non-namespace object"),
                None => return fail(format!("'{name}' is undefined")),
            },
        }
        Ok(())
    }

    /// Checks the depth of a value with the contents of its namespaces, because a namespace may contain itself.
    fn check_depth(&self, value: &Value) -> Result<()> {
        if !value.holds_namespace() {
            return Ok(());
        }
        let _level = Level::enter()?;
        match value {
            Value::Namespace(number) => {
                self.namespaces[*number].borrow().iter().try_for_each(|(_, value)| self.check_depth(value))
            }
            other => other.parts(|part| self.check_depth(part)),
        }
    }

    pub(super) fn new_namespace(&mut self, entries: Entries) -> Result<Value> {
        self.namespaces.push(RefCell::new(entries));
        let namespace = Value::Namespace(self.namespaces.len() - 1);
        self.check_depth(&namespace)?;
        Ok(namespace)
    }

    pub(super) fn namespace(&self, number: usize) -> &RefCell<Entries> {
        &self.namespaces[number]
    }

    fn new_macro(&mut self, it: &'t Macro, scope: &Scope) -> Value {
        self.macros.push((it, scope.clone()));
        Value::Macro(self.macros.len() - 1)
    }

    pub(super) fn macro_name(&self, number: usize) -> &'t str {
        &self.macros[number].0.name
    }

    pub(super) fn macro_parameters(&self, number: usize) -> Vec<Value> {
        self.macros[number].0.parameters.iter().map(|(name, _)| Value::str(name)).collect()
    }

    /// Renders a macro.
    ///
    /// # Errors
    /// The macro does not accept the arguments, or an error of its body.
    pub(super) fn call_macro(&mut self, number: usize, given: Given) -> Result<Value> {
        let (it, around) = self.macros[number].clone();
        let scope = around.inner();
        let name = &it.name;
        let mut positional = given.positional.into_iter();
        let mut named = given.named;
        let mut take =
            |wanted: &str| named.iter().position(|(name, _)| **name == *wanted).map(|at| named.remove(at).1);
        for (parameter, default) in &it.parameters {
            let given = take(parameter);
            let value = match (positional.next(), given) {
                (Some(_), Some(_)) => {
                    return fail(format!("macro '{name}' got two values for the argument '{parameter}'"));
                }
                (Some(value), None) | (None, Some(value)) => value,
                (None, None) => match default {
                    Some(default) => self.eval(default, &scope)?,
                    None => Value::undefined(format!("parameter '{parameter}' was not provided")),
                },
            };
            scope.set(parameter, value);
        }
        let [caller, varargs, kwargs] = it.uses;
        let is_parameter = |name: &str| it.parameters.iter().any(|(parameter, _)| **parameter == *name);
        let given_caller = if is_parameter("caller") { None } else { take("caller") };
        if caller && !is_parameter("caller") {
            let caller = given_caller.unwrap_or_else(|| Value::undefined("No caller defined"));
            scope.set(&"caller".into(), caller);
        } else if given_caller.is_some() {
            return fail(format!("macro '{name}' takes no keyword argument 'caller'"));
        }
        if kwargs {
            let entries = named.drain(..).map(|(name, value)| (Value::str(&name), value));
            scope.set(&"kwargs".into(), Value::dict(entries.collect::<Vec<_>>())?);
        } else if let Some((unknown, _)) = named.first() {
            return fail(format!("macro '{name}' takes no keyword argument '{unknown}'"));
        }
        let rest: Vec<Value> = positional.collect();
        if varargs {
            scope.set(&"varargs".into(), Value::tuple(rest)?);
        } else if !rest.is_empty() {
            let most = it.parameters.len();
            return fail(format!("macro '{name}' takes not more than {most} argument(s)"));
        }
        let written = self.calling(|interpreter| interpreter.captured(&it.body, &scope))?;
        Ok(Value::Str(written))
    }
}
