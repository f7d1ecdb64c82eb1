//! The tokens of a template.

use super::value::Value;

/// The kind of a token, with its content.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Text between tags.
    Data(String),
    /// A mark: `{{`, `}}`, `{%`, `%}`.
    PrintBegin,
    PrintEnd,
    BlockBegin,
    BlockEnd,
    Name(String),
    Str(String),
    Int(i128),
    Float(f64),
    Sign(&'static str),
    End,
}

/// A token and the line of the source that it begins in.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) line: u32,
}

impl Kind {
    /// Returns the token as messages show it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Data(_) => "template data / text".into(),
            Self::PrintBegin => "begin of print statement".into(),
            Self::PrintEnd => "end of print statement".into(),
            Self::BlockBegin => "begin of statement block".into(),
            Self::BlockEnd => "end of statement block".into(),
            Self::Name(name) => name.clone(),
            Self::Str(_) => "string".into(),
            Self::Int(_) => "integer".into(),
            Self::Float(_) => "float".into(),
            Self::Sign(sign) => (*sign).into(),
            Self::End => "end of template".into(),
        }
    }

    /// Returns the value of a constant.
    pub(super) fn constant(&self) -> Option<Value> {
        match self {
            Self::Int(number) => Some(Value::Int(*number)),
            Self::Float(number) => Some(Value::Float(*number)),
            _ => None,
        }
    }
}
