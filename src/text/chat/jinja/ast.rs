//! What a template is once it is parsed.

use std::rc::Rc;

use super::text::Text;
use super::value::Value;

/// A statement, and its line.
pub(super) struct Node {
    pub(super) line: u32,
    pub(super) statement: Statement,
}

pub(super) type Body = Vec<Node>;

pub(super) enum Statement {
    Data(Text),
    Print(Expr),
    For(Box<For>),
    /// Conditions in their order, and what is done where none holds.
    If(Vec<(Expr, Body)>, Body),
    Set(Target, Expr),
    SetBlock(Target, Vec<(Rc<str>, Arguments)>, Body),
    With(Vec<(Target, Expr)>, Body),
    Macro(Macro),
    /// `{% call(parameters) callee(arguments) %}`: the body is a macro called `caller`.
    CallBlock(Expr, Arguments, Macro),
    FilterBlock(Vec<(Rc<str>, Arguments)>, Body),
    /// Where `scoped`, it sees what is around it.
    Block(bool, Body),
    /// Whose variables end with it.
    Scope(Body),
    Break,
    Continue,
}

pub(super) struct For {
    pub(super) target: Target,
    pub(super) over: Expr,
    pub(super) filter: Option<Expr>,
    pub(super) recursive: bool,
    pub(super) body: Body,
    pub(super) otherwise: Body,
}

pub(super) struct Macro {
    pub(super) name: Rc<str>,
    pub(super) parameters: Vec<(Rc<str>, Option<Expr>)>,
    pub(super) body: Body,
    /// Which of `caller`, `varargs` and `kwargs` the body looks at.
    pub(super) uses: [bool; 3],
}

pub(super) enum Target {
    Name(Rc<str>),
    Many(Vec<Target>),
    /// `ns.name`.
    Attribute(Rc<str>, Rc<str>),
}

#[derive(Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Expr>,
    pub(super) named: Vec<(Rc<str>, Expr)>,
    /// `*list` and `**dict`.
    pub(super) more: Option<Box<Expr>>,
    pub(super) more_named: Option<Box<Expr>>,
}

pub(super) enum Expr {
    Const(Value),
    Name(Rc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Attribute(Box<Expr>, Rc<str>),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    Call(Box<Expr>, Arguments),
    Filter(Box<Expr>, Rc<str>, Arguments),
    Test(Box<Expr>, Rc<str>, Arguments),
    Not(Box<Expr>),
    Sign(&'static str, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Binary(&'static str, Box<Expr>, Box<Expr>),
    Concat(Vec<Expr>),
    Compare(Box<Expr>, Vec<(&'static str, Expr)>),
    /// Condition, then, else.
    Choice(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
}
