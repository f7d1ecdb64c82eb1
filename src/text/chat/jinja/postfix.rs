//! Parses the parts after an expression: attributes, subscripts, calls, filters and tests.

use std::rc::Rc;

use super::ast::{Arguments, Expr};
use super::failure::{Result, fail};
use super::parser::Parser;
use super::token::Kind;
use super::value::Value;

impl Parser {
    pub(super) fn postfix(&mut self, mut expression: Expr) -> Result<Expr> {
        loop {
            expression = match self.kind() {
                Kind::Sign(".") => {
                    self.at += 1;
                    match self.next() {
                        Kind::Name(name) => Expr::Attribute(Box::new(expression), name.as_str().into()),
                        Kind::Int(number) => {
                            Expr::Item(Box::new(expression), Box::new(Expr::Const(Value::Int(number))))
                        }
                        _ => {
                            self.at -= 1;
                            return self.unexpected("a name or a number");
                        }
                    }
                }
                Kind::Sign("[") => {
                    self.at += 1;
                    self.subscript(expression)?
                }
                Kind::Sign("(") => Expr::Call(Box::new(expression), self.arguments()?),
                _ => return Ok(expression),
            };
        }
    }

    fn subscript(&mut self, of: Expr) -> Result<Expr> {
        let mut parts: [Option<Box<Expr>>; 3] = [None, None, None];
        let mut colons = 0;
        let mut items = Vec::new();
        while !self.is_sign("]") {
            if self.is_sign(":") && colons < 2 {
                self.at += 1;
                colons += 1;
            } else if self.is_sign(",") && colons == 0 {
                self.at += 1;
                items.extend(parts[0].take().map(|part| *part));
            } else if parts[colons].is_none() {
                parts[colons] = Some(Box::new(self.expression()?));
            } else {
                return self.unexpected("']'");
            }
        }
        self.expect_sign("]")?;
        if colons > 0 {
            if !items.is_empty() {
                return fail("slices in tuples of subscripts are not supported");
            }
            return Ok(Expr::Slice(Box::new(of), parts));
        }
        let [first, ..] = parts;
        let index = match (items.is_empty(), first) {
            (true, Some(only)) => *only,
            (_, last) => {
                items.extend(last.map(|last| *last));
                Expr::Tuple(items)
            }
        };
        Ok(Expr::Item(Box::new(of), Box::new(index)))
    }

    pub(super) fn arguments(&mut self) -> Result<Arguments> {
        self.expect_sign("(")?;
        let mut arguments = Arguments::default();
        let mut first = true;
        while !self.is_sign(")") {
            if !first {
                self.expect_sign(",")?;
                if self.is_sign(")") {
                    break;
                }
            }
            first = false;
            if self.skip_sign("**") {
                if arguments.more_named.is_some() {
                    return self.unexpected("')'");
                }
                arguments.more_named = Some(Box::new(self.expression()?));
            } else if arguments.more_named.is_some() {
                return self.unexpected("')'");
            } else if self.skip_sign("*") {
                if arguments.more.is_some() {
                    return self.unexpected("')'");
                }
                arguments.more = Some(Box::new(self.expression()?));
            } else if matches!((self.kind(), self.look(1)), (Kind::Name(_), Kind::Sign("="))) {
                let name = self.expect_name()?;
                self.at += 1;
                arguments.named.push((name, self.expression()?));
            } else if arguments.named.is_empty() && arguments.more.is_none() {
                arguments.positional.push(self.expression()?);
            } else {
                return self.unexpected("a named argument");
            }
        }
        self.expect_sign(")")?;
        Ok(arguments)
    }

    pub(super) fn filters(&mut self, mut expression: Expr) -> Result<Expr> {
        loop {
            expression = match self.kind() {
                Kind::Sign("|") => {
                    self.at += 1;
                    let (name, arguments) = self.filter()?;
                    Expr::Filter(Box::new(expression), name, arguments)
                }
                Kind::Name(name) if name == "is" => {
                    self.at += 1;
                    self.test(expression)?
                }
                Kind::Sign("(") => Expr::Call(Box::new(expression), self.arguments()?),
                _ => return Ok(expression),
            };
        }
    }

    fn dotted(&mut self) -> Result<Rc<str>> {
        let mut name = self.expect_name()?.to_string();
        while self.skip_sign(".") {
            name = format!("{name}.{}", self.expect_name()?);
        }
        Ok(name.into())
    }

    /// Parses a filter's name and arguments.
    pub(super) fn filter(&mut self) -> Result<(Rc<str>, Arguments)> {
        let name = self.dotted()?;
        let arguments = if self.is_sign("(") { self.arguments()? } else { Arguments::default() };
        Ok((name, arguments))
    }

    fn test(&mut self, of: Expr) -> Result<Expr> {
        let negated = self.skip_name("not");
        let name = self.dotted()?;
        let ends = |name: &str| matches!(name, "else" | "or" | "and");
        let arguments = match self.kind() {
            Kind::Sign("(") => self.arguments()?,
            Kind::Name(name) if name == "is" => return fail("You cannot chain multiple tests with is"),
            Kind::Name(name) if ends(name) => Arguments::default(),
            Kind::Name(_) | Kind::Str(_) | Kind::Int(_) | Kind::Float(_) | Kind::Sign("[" | "{") => {
                let argument = self.primary(false)?;
                Arguments { positional: vec![self.postfix(argument)?], ..Arguments::default() }
            }
            _ => Arguments::default(),
        };
        let test = Expr::Test(Box::new(of), name, arguments);
        Ok(if negated { Expr::Not(Box::new(test)) } else { test })
    }
}
