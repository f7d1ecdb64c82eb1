//! Parses expressions, by the grammar of Jinja's own parser (jinja2/parser.py).

use std::rc::Rc;

use super::ast::{Expr, Target};
use super::failure::{Failure, Result, failure};
use super::text::Text;
use super::token::{Kind, Token};
use super::value::Value;

/// Maximum depth of nested expressions, and of nested statements. Python's own parser allows fewer than a hundred.
const MAX_NESTING: usize = 200;

pub(super) struct Parser {
    tokens: Vec<Token>,
    pub(super) at: usize,
    nesting: usize,
    /// Which of `caller`, `varargs` and `kwargs` were seen.
    pub(super) seen: [bool; 3],
}

impl Parser {
    pub(super) fn new(tokens: Vec<Token>) -> Self {
        Self { tokens, at: 0, nesting: 0, seen: [false; 3] }
    }

    pub(super) fn kind(&self) -> &Kind {
        // The last token is always the end, which is never consumed.
        self.look(0)
    }

    pub(super) fn look(&self, ahead: usize) -> &Kind {
        self.tokens.get(self.at + ahead).map_or(&Kind::End, |token| &token.kind)
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |token| token.line)
    }

    pub(super) fn next(&mut self) -> Kind {
        let kind = self.kind().clone();
        self.at += 1;
        kind
    }

    /// Fails with an error that names the token that was found.
    ///
    /// # Errors
    /// Always.
    pub(super) fn unexpected<T>(&self, wanted: &str) -> Result<T> {
        let found = self.kind().describe();
        let message = match wanted {
            "" => format!("unexpected '{found}'"),
            wanted => format!("expected {wanted}, got '{found}'"),
        };
        Err(Box::new(Failure { message, line: Some(self.line()) }))
    }

    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.nesting >= MAX_NESTING {
            let message = format!("its source nests too deep (the limit is {MAX_NESTING} levels)");
            return Err(Box::new(Failure { message, line: Some(self.line()) }));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    pub(super) fn is_sign(&self, sign: &str) -> bool {
        matches!(self.kind(), Kind::Sign(it) if *it == sign)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.kind(), Kind::Name(it) if it == name)
    }

    pub(super) fn skip_sign(&mut self, sign: &str) -> bool {
        let is = self.is_sign(sign);
        self.at += usize::from(is);
        is
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let is = self.is_name(name);
        self.at += usize::from(is);
        is
    }

    pub(super) fn expect_sign(&mut self, sign: &str) -> Result<()> {
        if self.skip_sign(sign) { Ok(()) } else { self.unexpected(&format!("'{sign}'")) }
    }

    pub(super) fn expect_name(&mut self) -> Result<Rc<str>> {
        match self.kind() {
            Kind::Name(name) => {
                let name = name.as_str().into();
                self.at += 1;
                Ok(name)
            }
            _ => self.unexpected("a name"),
        }
    }

    pub(super) fn skip_kind(&mut self, kind: &Kind) -> bool {
        let is = self.kind() == kind;
        self.at += usize::from(is);
        is
    }

    pub(super) fn expression(&mut self) -> Result<Expr> {
        self.nested(|parser| {
            let mut then = parser.or()?;
            while parser.skip_name("if") {
                let condition = Box::new(parser.or()?);
                let otherwise = match parser.skip_name("else") {
                    true => Some(Box::new(parser.expression()?)),
                    false => None,
                };
                then = Expr::Choice(condition, Box::new(then), otherwise);
            }
            Ok(then)
        })
    }

    pub(super) fn or(&mut self) -> Result<Expr> {
        let mut left = self.and()?;
        while self.skip_name("or") {
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr> {
        let mut left = self.not()?;
        while self.skip_name("and") {
            left = Expr::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr> {
        match self.skip_name("not") {
            true => self.nested(|parser| Ok(Expr::Not(Box::new(parser.not()?)))),
            false => self.compare(),
        }
    }

    fn compare(&mut self) -> Result<Expr> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let sign = match self.kind() {
                Kind::Sign(sign @ ("==" | "!=" | "<" | "<=" | ">" | ">=")) => sign,
                Kind::Name(name) if name == "in" => "in",
                Kind::Name(name) if name == "not" && matches!(self.look(1), Kind::Name(n) if n == "in") => {
                    self.at += 1;
                    "not in"
                }
                _ => break,
            };
            self.at += 1;
            rest.push((sign, self.sum()?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Compare(Box::new(first), rest) })
    }

    fn binary(&mut self, signs: &[&'static str], operand: fn(&mut Self) -> Result<Expr>) -> Result<Expr> {
        let mut left = operand(self)?;
        while let Some(&sign) = signs.iter().find(|sign| self.is_sign(sign)) {
            self.at += 1;
            left = Expr::Binary(sign, Box::new(left), Box::new(operand(self)?));
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Expr> {
        self.binary(&["+", "-"], Self::concat)
    }

    fn concat(&mut self) -> Result<Expr> {
        let first = self.product()?;
        if !self.is_sign("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_sign("~") {
            parts.push(self.product()?);
        }
        Ok(Expr::Concat(parts))
    }

    fn product(&mut self) -> Result<Expr> {
        self.binary(&["*", "//", "/", "%"], Self::power)
    }

    fn power(&mut self) -> Result<Expr> {
        self.binary(&["**"], |parser| parser.unary(true))
    }

    fn unary(&mut self, filters: bool) -> Result<Expr> {
        let sign = ["-", "+"].into_iter().find(|sign| self.is_sign(sign));
        let mut expression = match sign {
            Some(sign) => {
                self.at += 1;
                Expr::Sign(sign, Box::new(self.nested(|parser| parser.unary(false))?))
            }
            None => self.primary(false)?,
        };
        expression = self.postfix(expression)?;
        if filters { self.filters(expression) } else { Ok(expression) }
    }

    pub(super) fn primary(&mut self, assigned: bool) -> Result<Expr> {
        let constant = |value| Ok(Expr::Const(value));
        match self.kind() {
            Kind::Name(_) => {
                let name = self.expect_name()?;
                match &*name {
                    "true" | "True" => return constant(Value::Bool(true)),
                    "false" | "False" => return constant(Value::Bool(false)),
                    "none" | "None" => return constant(Value::None),
                    _ => {}
                }
                if assigned && self.is_sign(".") {
                    self.at += 1;
                    let attribute = self.expect_name()?;
                    return Ok(Expr::Attribute(Box::new(Expr::Name(name)), attribute));
                }
                for (seen, special) in self.seen.iter_mut().zip(["caller", "varargs", "kwargs"]) {
                    *seen |= *name == *special;
                }
                Ok(Expr::Name(name))
            }
            Kind::Str(_) => {
                let mut text = String::new();
                while let Kind::Str(part) = self.kind() {
                    text.push_str(part);
                    self.at += 1;
                }
                constant(Value::Str(Text::from(text.as_str())))
            }
            Kind::Sign("(") => {
                self.at += 1;
                let inner = self.nested(|parser| parser.tuple(true, false, assigned))?;
                self.expect_sign(")")?;
                Ok(inner)
            }
            Kind::Sign("[") => {
                self.at += 1;
                Ok(Expr::List(self.many("]", Self::expression)?))
            }
            Kind::Sign("{") => {
                self.at += 1;
                let pair = |parser: &mut Self| {
                    let key = parser.expression()?;
                    parser.expect_sign(":")?;
                    Ok((key, parser.expression()?))
                };
                Ok(Expr::Dict(self.many("}", pair)?))
            }
            kind => match kind.constant() {
                Some(value) => {
                    self.at += 1;
                    constant(value)
                }
                None => self.unexpected(""),
            },
        }
    }

    /// Parses items with commas between them, up to a sign.
    fn many<T>(&mut self, end: &str, parse: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut all = Vec::new();
        while !self.is_sign(end) {
            if !all.is_empty() {
                self.expect_sign(",")?;
                if self.is_sign(end) {
                    break;
                }
            }
            all.push(parse(self)?);
        }
        self.expect_sign(end)?;
        Ok(all)
    }

    /// Parses an expression, or several with commas between them. `target` allows only names and tuples, for assignments.
    pub(super) fn tuple(&mut self, parentheses: bool, target: bool, assigned: bool) -> Result<Expr> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if !items.is_empty() {
                self.expect_sign(",")?;
            }
            let ends = matches!(self.kind(), Kind::PrintEnd | Kind::BlockEnd | Kind::Sign(")"))
                || target && self.is_name("in");
            if ends {
                break;
            }
            items.push(if target { self.primary(assigned)? } else { self.expression()? });
            if !self.is_sign(",") {
                break;
            }
            is_tuple = true;
        }
        if !is_tuple {
            if let Some(only) = items.pop() {
                return Ok(only);
            }
            if !parentheses {
                return self.unexpected("an expression");
            }
        }
        Ok(Expr::Tuple(items))
    }

    /// Parses the target of an assignment.
    pub(super) fn target(&mut self, attributes: bool) -> Result<Target> {
        let line = self.line();
        let expression = self.tuple(false, true, attributes)?;
        as_target(expression).map_err(|error| Box::new(Failure { line: Some(line), ..*error }))
    }
}

fn as_target(expression: Expr) -> Result<Target> {
    match expression {
        Expr::Name(name) => Ok(Target::Name(name)),
        Expr::Tuple(items) => Ok(Target::Many(items.into_iter().map(as_target).collect::<Result<_>>()?)),
        Expr::Attribute(of, attribute) => match *of {
            Expr::Name(name) => Ok(Target::Attribute(name, attribute)),
            _ => Err(failure("cannot assign to that")),
        },
        _ => Err(failure("cannot assign to that")),
    }
}
