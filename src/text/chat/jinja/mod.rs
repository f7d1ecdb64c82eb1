//! Jinja, as Hugging Face's `apply_chat_template` sets it up: an immutable sandbox with `trim_blocks`,
//! `lstrip_blocks`, loop controls, `{% generation %}`, a `tojson` that escapes no HTML, `raise_exception` and
//! `strftime_now` (`_compile_jinja_template` in transformers/utils/chat_template_utils.py).
//!
//! Written for two promises that no engine at hand can keep. **No template ends the process**: the depth of a value is
//! known where it is put together and limited there, the depth of evaluations is counted, and so are steps. **No
//! message becomes a control token**: every character of a string knows who wrote it, whatever is done to the string.
//! What Jinja and Python do and this does not is an error that names it, never another result;
//! `tests/fixtures/jinja` holds what Jinja itself made of more than a thousand expressions.
//!
//! | file | idea |
//! |---|---|
//! | `lexer`, `parser`, `postfix`, `statements`, `ast` | from source to a tree |
//! | `interpreter`, `expressions`, `access`, `call` | the tree, done |
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

/// What a template writes with these variables. `clock` writes the time by a format of `strftime`.
///
/// # Errors
/// What is wrong in the template, what it refuses with, and the limit that it ran into.
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
    /// A text of an origin.
    pub(super) fn text_of(text: &str, origin: Origin) -> Self {
        Self::Str(Text::of(text, origin))
    }

    /// A dictionary of names.
    ///
    /// # Errors
    /// Never, where the values are texts.
    pub(super) fn record(entries: Vec<(&str, Value)>) -> Result<Self, Box<Failure>> {
        Self::dict(
            entries.into_iter().map(|(name, value)| (Self::text_of(name, 0), value)).collect::<Vec<_>>(),
        )
    }

    /// A list.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub(super) fn list_of(items: Vec<Value>) -> Result<Self, Box<Failure>> {
        Self::list(items)
    }
}
