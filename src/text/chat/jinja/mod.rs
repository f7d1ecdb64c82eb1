//! An interpreter for Jinja as Hugging Face's `apply_chat_template` configures it: an immutable sandbox with
//! `trim_blocks`, `lstrip_blocks`, loop controls, `{% generation %}`, a `tojson` that escapes no HTML, `raise_exception`
//! and `strftime_now` (`_compile_jinja_template` in transformers/utils/chat_template_utils.py).
//!
//! It is our own because it guarantees two things that no existing engine does. **No template ends the process**: the
//! depth of a value is limited when the value is made, and the depth and the steps of evaluations are counted. **No message
//! becomes a control token**: every character of a string carries its origin through all operations. Features of Jinja and
//! Python that are not supported are errors that name them, never a different result; `tests/fixtures/jinja` has Jinja's own
//! results for more than a thousand expressions.
//!
//! | file | idea |
//! |---|---|
//! | `lexer`, `parser`, `postfix`, `statements`, `ast` | from source to a tree |
//! | `interpreter`, `expressions`, `access`, `call` | evaluating the tree |
//! | `value`, `compare`, `number`, `text`, `cases` | Python's values, numbers, strings and letters |
//! | `methods`, `containers` | Python's methods |
//! | `percent`, `format`, `spec` | `%` and `str.format` |
//! | `filters`, `sequences`, `wrap`, `checks` | Jinja's filters and tests |
//! | `show` | `str`, `repr` and JSON |
//! | `failure` | errors and limits |

mod access;
mod ast;
mod call;
mod cases;
mod checks;
mod compare;
mod containers;
mod expressions;
mod failure;
mod filters;
mod format;
mod interpreter;
mod lexer;
mod methods;
mod number;
mod parser;
mod percent;
mod postfix;
mod sequences;
mod show;
mod spec;
mod statements;
#[cfg(test)]
mod tests;
mod text;
mod value;
mod wrap;

pub(super) use self::failure::Failure;
pub(super) use self::text::{Ch, Origin, SOMEONE, Text, plain};
pub(super) use self::value::Value;

/// Renders a template with these variables. `clock` formats the time by a format of `strftime`.
///
/// # Errors
/// A defect of the template, its own refusal, or the limit that it exceeded.
pub(super) fn render(
    source: &str,
    context: Vec<(&str, Value)>,
    clock: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Ch>, Box<Failure>> {
    failure::refuel();
    let body = statements::parse(&lexer::normalized(source))?;
    interpreter::Interpreter::new(context, clock).render(&body)
}

impl Value {
    /// Makes a text of an origin.
    pub(super) fn text_of(text: &str, origin: Origin) -> Self {
        Self::Str(Text::of(text, origin))
    }

    /// Makes a dictionary by names.
    ///
    /// # Errors
    /// The values are nested too deep; texts never are.
    pub(super) fn record(entries: Vec<(&str, Value)>) -> Result<Self, Box<Failure>> {
        Self::dict(
            entries.into_iter().map(|(name, value)| (Self::text_of(name, 0), value)).collect::<Vec<_>>(),
        )
    }

    /// Makes a list.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub(super) fn list_of(items: Vec<Value>) -> Result<Self, Box<Failure>> {
        Self::list(items)
    }
}
