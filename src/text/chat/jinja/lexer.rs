//! Splits a template's source into tokens, by the rules of Jinja's own lexer with `trim_blocks` and `lstrip_blocks`.

use super::failure::{Failure, Result, fail};
use super::number;
use super::text::Text;
use super::token::{Kind, Token};

const SIGNS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
    "=", ".", ":", "|", ",", ";",
];

/// Normalizes newlines as Jinja does: every newline becomes `\n`, and the last is removed.
pub(super) fn normalized(source: &str) -> String {
    let mut source =
        source.strip_prefix('\u{feff}').unwrap_or(source).replace("\r\n", "\n").replace('\r', "\n");
    if source.ends_with('\n') {
        source.pop();
    }
    source
}

/// The next tag in the text.
enum Open {
    Print,
    Block,
    Comment,
    Raw,
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    tokens: Vec<Token>,
    /// Whether a line begins here: at the start, or after a tag that removed its newline.
    line_starts: bool,
}

/// Splits the source of a template into tokens.
///
/// # Errors
/// The source is not a template.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>> {
    let mut lexer = Lexer { source, at: 0, line: 1, tokens: Vec::new(), line_starts: true };
    lexer.text().map_err(|error| {
        Box::new(Failure { line: error.line.or(Some(lexer.line)), message: error.message })
    })?;
    lexer.push(Kind::End);
    Ok(lexer.tokens)
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn push(&mut self, kind: Kind) {
        self.tokens.push(Token { kind, line: self.line });
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.source[self.at..self.at + bytes];
        self.line += passed.matches('\n').count() as u32;
        self.line_starts = passed.ends_with('\n');
        self.at += bytes;
    }

    fn skip_space(&mut self) {
        let space = self.rest().len() - self.rest().trim_start_matches(is_space).len();
        if space > 0 {
            self.advance(space);
        }
    }

    fn text(&mut self) -> Result<()> {
        loop {
            let rest = self.rest();
            let Some((at, open)) = next_open(rest) else {
                if !rest.is_empty() {
                    self.push(Kind::Data(rest.to_owned()));
                    self.advance(rest.len());
                }
                return Ok(());
            };
            let mark = rest[at + 2..].chars().next().filter(|c| matches!(c, '-' | '+'));
            let data = self.without_indent(&rest[..at], mark, matches!(open, Open::Print));
            if !data.is_empty() {
                self.push(Kind::Data(data.to_owned()));
            }
            self.advance(at + 2 + mark.map_or(0, char::len_utf8));
            match open {
                Open::Comment => self.comment()?,
                Open::Raw => self.raw()?,
                Open::Print => self.inside(Kind::PrintBegin, Kind::PrintEnd)?,
                Open::Block => self.inside(Kind::BlockBegin, Kind::BlockEnd)?,
            }
        }
    }

    /// Returns the text before a tag, without the white space that the tag removes.
    fn without_indent<'t>(&self, data: &'t str, mark: Option<char>, print: bool) -> &'t str {
        match mark {
            Some('-') => data.trim_end_matches(is_space),
            Some(_) => data,
            None if print => data,
            None => {
                let line = data.rfind('\n').map(|at| at + 1);
                let start = line.unwrap_or(0);
                let own_line = line.is_some() || self.line_starts;
                if own_line && data[start..].chars().all(is_space) { &data[..start] } else { data }
            }
        }
    }

    fn comment(&mut self) -> Result<()> {
        let Some(end) = self.rest().find("#}") else { return fail("Missing end of comment tag") };
        self.advance(end);
        let mark = self.source[..self.at].chars().next_back().filter(|c| matches!(c, '-' | '+'));
        self.close(if end == 0 { None } else { mark });
        Ok(())
    }

    /// Skips the two characters of a tag's end and the white space that it removes.
    fn close(&mut self, mark: Option<char>) {
        self.advance(2);
        match mark {
            Some('-') => self.skip_space(),
            None if self.rest().starts_with('\n') => self.advance(1),
            _ => {}
        }
    }

    fn raw(&mut self) -> Result<()> {
        self.skip_space();
        self.advance("raw".len());
        self.skip_space();
        match self.rest().starts_with('-') {
            true => {
                self.advance(3);
                self.skip_space();
            }
            false => self.advance(2),
        }
        let (mut from, start) = (0, self.rest());
        loop {
            let Some(at) = start[from..].find("{%").map(|at| at + from) else {
                return fail("Missing end of raw directive");
            };
            let tag = &start[at + 2..];
            let mark = tag.chars().next().filter(|c| matches!(c, '-' | '+'));
            let inner = tag[mark.map_or(0, char::len_utf8)..].trim_start_matches(is_space);
            if let Some(after) = inner.strip_prefix("endraw").map(|after| after.trim_start_matches(is_space))
            {
                let end = after.chars().next().filter(|c| matches!(c, '-' | '+'));
                if after[end.map_or(0, char::len_utf8)..].starts_with("%}") {
                    let data = self.without_indent(&start[..at], mark, false);
                    if !data.is_empty() {
                        self.push(Kind::Data(data.to_owned()));
                    }
                    self.advance(start.len() - after.len() + end.map_or(0, char::len_utf8));
                    self.close(end);
                    return Ok(());
                }
            }
            from = at + 2;
        }
    }

    /// Reads the tokens of one tag.
    fn inside(&mut self, begin: Kind, end: Kind) -> Result<()> {
        let print = begin == Kind::PrintBegin;
        self.push(begin);
        let mut open: Vec<&str> = Vec::new();
        loop {
            let rest = self.rest();
            if open.is_empty() && self.ends(print) {
                self.push(end);
                self.end_tag(print);
                return Ok(());
            }
            let Some(first) = rest.chars().next() else {
                return fail("unexpected end of template, inside of a tag");
            };
            match first {
                c if is_space(c) => self.skip_space(),
                '0'..='9' => self.number()?,
                '"' | '\'' => self.string(first)?,
                c if c == '_' || c.is_alphabetic() => {
                    let end = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
                    self.push(Kind::Name(rest[..end].to_owned()));
                    self.advance(end);
                }
                c => {
                    let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) else {
                        return fail(format!("unexpected char {c:?}"));
                    };
                    balance(sign, &mut open)?;
                    self.push(Kind::Sign(sign));
                    self.advance(sign.len());
                }
            }
        }
    }

    fn ends(&self, print: bool) -> bool {
        let rest = self.rest();
        match print {
            true => rest.starts_with("}}") || rest.starts_with("-}}"),
            false => rest.starts_with("%}") || rest.starts_with("-%}") || rest.starts_with("+%}"),
        }
    }

    fn end_tag(&mut self, print: bool) {
        let mark = self.rest().chars().next().filter(|c| matches!(c, '-' | '+'));
        self.advance(mark.map_or(0, char::len_utf8));
        // The newline after a printed value is kept.
        let keeps = print && mark.is_none();
        self.close(if keeps { Some('+') } else { mark });
    }

    fn number(&mut self) -> Result<()> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let run = |from: usize, is: fn(u8) -> bool| {
            let mut at = from;
            while bytes
                .get(at)
                .is_some_and(|&b| is(b) || b == b'_' && bytes.get(at + 1).is_some_and(|&b| is(b)))
            {
                at += 1;
            }
            at
        };
        let digit = |b: u8| b.is_ascii_digit();
        let digits = |from: usize| run(from, |b| b.is_ascii_digit());
        let whole = digits(0);
        let mut end = whole;
        let has_digit = |at: usize| bytes.get(at).is_some_and(|&b| digit(b));
        if bytes.get(end) == Some(&b'.') && has_digit(end + 1) {
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let signed = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if has_digit(end + 1 + signed) {
                end = digits(end + 1 + signed);
            }
        }
        // After a point, `1.2` is two subscripts of a value, not a number.
        let after_point = matches!(self.tokens.last(), Some(Token { kind: Kind::Sign("."), .. }));
        if end > whole && !after_point {
            let number = rest[..end].replace('_', "").parse();
            self.push(Kind::Float(number.unwrap_or(0.0)));
            self.advance(end);
            return Ok(());
        }
        let mut end = whole;
        if bytes[0] == b'0' {
            end = match bytes.get(1) {
                Some(b'x' | b'X') => run(2, |b| b.is_ascii_hexdigit()).max(whole),
                Some(b'o' | b'O') => run(2, |b| (b'0'..=b'7').contains(&b)).max(whole),
                Some(b'b' | b'B') => run(2, |b| b == b'0' || b == b'1').max(whole),
                _ => run(0, |b| b == b'0'),
            };
        }
        let number = number::parse_int(&Text::from(&rest[..end]), 0);
        let Some(number) = number else { return number::too_large() };
        self.push(Kind::Int(number));
        self.advance(end);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<()> {
        let rest = self.rest();
        let mut chars = rest.char_indices().skip(1);
        let end = loop {
            match chars.next() {
                Some((_, '\\')) => drop(chars.next()),
                Some((at, c)) if c == quote => break at,
                Some(_) => {}
                None => return fail(format!("unexpected char {quote:?}")),
            }
        };
        let value = unescaped(&rest[1..end])?;
        self.push(Kind::Str(value));
        self.advance(end + 1);
        Ok(())
    }
}

/// Finds the position and the kind of the next tag.
fn next_open(text: &str) -> Option<(usize, Open)> {
    text.match_indices('{').find_map(|(at, _)| match text.as_bytes().get(at + 1) {
        Some(b'{') => Some((at, Open::Print)),
        Some(b'#') => Some((at, Open::Comment)),
        Some(b'%') => Some((at, if is_raw(&text[at + 2..]) { Open::Raw } else { Open::Block })),
        _ => None,
    })
}

fn is_raw(tag: &str) -> bool {
    let inner = tag.strip_prefix(['-', '+']).unwrap_or(tag).trim_start_matches(is_space);
    let after = inner.strip_prefix("raw").map(|after| after.trim_start_matches(is_space));
    after.is_some_and(|after| after.starts_with("%}") || after.starts_with("-%}"))
}

fn balance(sign: &'static str, open: &mut Vec<&'static str>) -> Result<()> {
    match sign {
        "{" => open.push("}"),
        "(" => open.push(")"),
        "[" => open.push("]"),
        "}" | ")" | "]" => match open.pop() {
            None => return fail(format!("unexpected '{sign}'")),
            Some(expected) if expected != sign => {
                return fail(format!("unexpected '{sign}', expected '{expected}'"));
            }
            Some(_) => {}
        },
        _ => {}
    }
    Ok(())
}

/// Replaces Python's escapes.
fn unescaped(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escaped = chars.next();
        let digits = match escaped {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        if digits > 0 {
            let code: String = chars.by_ref().take(digits).collect();
            let code = u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == digits);
            let Some(c) = code.and_then(char::from_u32) else { return fail("a bad escape in a string") };
            out.push(c);
            continue;
        }
        match escaped {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('a') => out.push('\x07'),
            Some('b') => out.push('\x08'),
            Some('f') => out.push('\x0c'),
            Some('v') => out.push('\x0b'),
            Some('\n') => {}
            Some(c @ ('\\' | '\'' | '"')) => out.push(c),
            Some(c @ '0'..='7') => {
                let mut code = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    chars.next();
                }
                out.extend(char::from_u32(code));
            }
            Some('N') => return fail("names of characters (\\N{...}) in strings are not supported"),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    Ok(out)
}
