//! The tree of a parsed template.

use std::rc::Rc;

use super::text::Text;
use super::value::Value;

/// A statement with its line.
pub(super) struct Node {
    pub(super) line: u32,
    pub(super) statement: Statement,
}

pub(super) type Body = Vec<Node>;

pub(super) enum Statement {
    Data(Text),
    Print(Expr),
    For(Box<For>),
    /// Conditions in order, each with its body, and the body if none holds.
    If(Vec<(Expr, Body)>, Body),
    Set(Target, Expr),
    SetBlock(Target, Vec<(Rc<str>, Arguments)>, Body),
    With(Vec<(Target, Expr)>, Body),
    Macro(Macro),
    /// `{% call(parameters) callee(arguments) %}`: the body is a macro called `caller`.
    CallBlock(Expr, Arguments, Macro),
    FilterBlock(Vec<(Rc<str>, Arguments)>, Body),
    /// A block, which sees the variables around it if `scoped`.
    Block(bool, Body),
    /// A scope; its variables are dropped at its end.
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
    /// Which of `caller`, `varargs` and `kwargs` the body uses.
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
    /// The condition, the value if it holds, and the value otherwise.
    Choice(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
}
