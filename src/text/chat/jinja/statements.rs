//! Parses statements.

use super::ast::{Arguments, Body, Expr, For, Macro, Node, Statement, Target};
use super::failure::{Failure, Result, fail};
use super::lexer;
use super::parser::Parser;
use super::text::Text;
use super::token::Kind;
use super::value::Value;

/// Parses a template.
///
/// # Errors
/// The source is not a template (the error names the line); a statement needs other templates.
pub(super) fn parse(source: &str) -> Result<Body> {
    let mut parser = Parser::new(lexer::tokens(source)?);
    let body = parser.body(&[])?;
    if *parser.kind() != Kind::End {
        return parser.unexpected("");
    }
    Ok(body)
}

impl Parser {
    /// Parses statements up to one of the `ends`, which is then the next name; without `ends`, up to the end.
    fn body(&mut self, ends: &[&str]) -> Result<Body> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let statement = match self.kind() {
                Kind::Data(data) => {
                    let data = Statement::Data(Text::from(data.as_str()));
                    self.next();
                    data
                }
                Kind::PrintBegin => {
                    self.next();
                    let printed = self.tuple(false, false, false)?;
                    self.expect_kind(&Kind::PrintEnd)?;
                    Statement::Print(printed)
                }
                Kind::BlockBegin => {
                    self.next();
                    if ends.iter().any(|end| self.is_name(end)) {
                        return Ok(body);
                    }
                    let at_line = |error: Box<Failure>| {
                        Box::new(Failure { line: error.line.or(Some(line)), message: error.message })
                    };
                    let statement = self.nested(Self::statement).map_err(at_line)?;
                    self.expect_kind(&Kind::BlockEnd)?;
                    statement
                }
                Kind::End if ends.is_empty() => return Ok(body),
                _ => {
                    return self.unexpected(&match ends.last() {
                        Some(end) => format!("'{end}'"),
                        None => String::new(),
                    });
                }
            };
            body.push(Node { line, statement });
        }
    }

    fn expect_kind(&mut self, kind: &Kind) -> Result<()> {
        if self.skip_kind(kind) { Ok(()) } else { self.unexpected(&kind.describe()) }
    }

    /// Parses the rest of a tag, the body after it, and the name of the tag that ends it.
    fn block(&mut self, end: &str) -> Result<Body> {
        self.expect_kind(&Kind::BlockEnd)?;
        let body = self.body(&[end])?;
        self.next();
        Ok(body)
    }

    fn statement(&mut self) -> Result<Statement> {
        let name = self.expect_name()?;
        Ok(match &*name {
            "for" => self.for_loop()?,
            "if" => self.choice()?,
            "set" => self.set()?,
            "with" => self.with()?,
            "macro" => {
                let name = self.expect_name()?;
                Statement::Macro(self.macro_body(name, true, "endmacro")?)
            }
            "call" => self.call_block()?,
            "filter" => {
                let filters = self.filter_chain()?;
                Statement::FilterBlock(filters, self.block("endfilter")?)
            }
            "block" => {
                let name = self.expect_name()?;
                let scoped = self.skip_name("scoped");
                let body = self.block("endblock")?;
                self.skip_name(&name);
                Statement::Block(scoped, body)
            }
            "print" => {
                let mut parts = Vec::new();
                while *self.kind() != Kind::BlockEnd {
                    if !parts.is_empty() {
                        self.expect_sign(",")?;
                    }
                    parts.push(self.expression()?);
                }
                Statement::Print(Expr::Concat(parts))
            }
            "generation" => Statement::Scope(self.block("endgeneration")?),
            "autoescape" => match self.expression()? {
                Expr::Const(Value::Bool(false)) => Statement::Scope(self.block("endautoescape")?),
                _ => return fail("autoescape is not supported"),
            },
            "break" => Statement::Break,
            "continue" => Statement::Continue,
            "include" | "import" | "from" | "extends" => {
                return fail(format!("'{name}' is not supported: a chat template stands alone"));
            }
            _ => return fail(format!("unknown tag '{name}'")),
        })
    }

    fn for_loop(&mut self) -> Result<Statement> {
        let target = self.target(false)?;
        if !self.skip_name("in") {
            return self.unexpected("'in'");
        }
        let over = self.iterable()?;
        let filter = if self.skip_name("if") { Some(self.expression()?) } else { None };
        let recursive = self.skip_name("recursive");
        self.expect_kind(&Kind::BlockEnd)?;
        let body = self.body(&["endfor", "else"])?;
        let otherwise = match self.skip_name("else") {
            true => self.block("endfor")?,
            false => {
                self.next();
                Vec::new()
            }
        };
        Ok(Statement::For(Box::new(For { target, over, filter, recursive, body, otherwise })))
    }

    /// Parses the iterable of a loop. An `if` after it belongs to the loop.
    fn iterable(&mut self) -> Result<Expr> {
        let mut items = vec![self.or()?];
        let mut is_tuple = false;
        while self.skip_sign(",") {
            is_tuple = true;
            if matches!(self.kind(), Kind::BlockEnd) || self.is_name("recursive") {
                break;
            }
            items.push(self.or()?);
        }
        match (items.pop(), is_tuple) {
            (Some(only), false) => Ok(only),
            (last, _) => Ok(Expr::Tuple(items.into_iter().chain(last).collect())),
        }
    }

    fn choice(&mut self) -> Result<Statement> {
        let mut cases = Vec::new();
        loop {
            let condition = self.expression()?;
            self.expect_kind(&Kind::BlockEnd)?;
            cases.push((condition, self.body(&["elif", "else", "endif"])?));
            if self.skip_name("elif") {
                continue;
            }
            let otherwise = match self.skip_name("else") {
                true => self.block("endif")?,
                false => {
                    self.next();
                    Vec::new()
                }
            };
            return Ok(Statement::If(cases, otherwise));
        }
    }

    fn filter_chain(&mut self) -> Result<Vec<(std::rc::Rc<str>, Arguments)>> {
        let mut filters = vec![self.filter()?];
        while self.skip_sign("|") {
            filters.push(self.filter()?);
        }
        Ok(filters)
    }

    fn set(&mut self) -> Result<Statement> {
        let target = self.target(true)?;
        if self.skip_sign("=") {
            return Ok(Statement::Set(target, self.tuple(false, false, false)?));
        }
        let filters = if self.skip_sign("|") { self.filter_chain()? } else { Vec::new() };
        Ok(Statement::SetBlock(target, filters, self.block("endset")?))
    }

    fn with(&mut self) -> Result<Statement> {
        let mut values = Vec::new();
        while *self.kind() != Kind::BlockEnd {
            if !values.is_empty() {
                self.expect_sign(",")?;
            }
            let target = self.target_of_with()?;
            self.expect_sign("=")?;
            values.push((target, self.expression()?));
        }
        Ok(Statement::With(values, self.block("endwith")?))
    }

    fn target_of_with(&mut self) -> Result<Target> {
        match self.is_sign("(") {
            true => self.target(false),
            false => Ok(Target::Name(self.expect_name()?)),
        }
    }

    fn macro_body(&mut self, name: std::rc::Rc<str>, signature: bool, end: &str) -> Result<Macro> {
        let mut parameters: Vec<(std::rc::Rc<str>, Option<Expr>)> = Vec::new();
        if signature {
            self.expect_sign("(")?;
            while !self.is_sign(")") {
                if !parameters.is_empty() {
                    self.expect_sign(",")?;
                }
                let name = self.expect_name()?;
                let default = if self.skip_sign("=") { Some(self.expression()?) } else { None };
                if default.is_none() && parameters.last().is_some_and(|(_, default)| default.is_some()) {
                    return fail("non-default argument follows default argument");
                }
                parameters.push((name, default));
            }
            self.expect_sign(")")?;
        }
        let outer = std::mem::take(&mut self.seen);
        let body = self.block(end)?;
        let uses = self.seen;
        for (seen, outer) in self.seen.iter_mut().zip(outer) {
            *seen |= outer;
        }
        Ok(Macro { name, parameters, body, uses })
    }

    fn call_block(&mut self) -> Result<Statement> {
        // The signature comes before the call and the body after it, so the statement is parsed in two steps.
        let mut parameters = Vec::new();
        if self.skip_sign("(") {
            while !self.is_sign(")") {
                if !parameters.is_empty() {
                    self.expect_sign(",")?;
                }
                let name = self.expect_name()?;
                let default = if self.skip_sign("=") { Some(self.expression()?) } else { None };
                parameters.push((name, default));
            }
            self.expect_sign(")")?;
        }
        let Expr::Call(callee, arguments) = self.expression()? else { return fail("expected call") };
        let body = self.macro_body("caller".into(), false, "endcall")?;
        Ok(Statement::CallBlock(*callee, arguments, Macro { parameters, ..body }))
    }
}
