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
//! Knows about texts, their origins and Python's values, but not about tokenizers or files. The caller passes the
//! clock.
//!
//! | file | idea |
//! |---|---|
//! | `template` | a template, from its source to its output |
//! | `lexer`, `token`, `parser`, `postfix`, `statements`, `ast` | from source to a tree |
//! | `interpreter`, `scope`, `expressions`, `access`, `call`, `arguments` | evaluating the tree |
//! | `value`, `range`, `protocols`, `compare`, `number`, `text`, `cases` | Python's values, numbers, strings and letters |
//! | `method_names`, `methods`, `containers` | Python's methods |
//! | `lengthen`, `markup` | padding and replacing, and HTML's escapes, for methods and filters |
//! | `percent`, `format`, `spec` | `%` and `str.format` |
//! | `filters`, `sequences`, `wrap`, `checks` | Jinja's filters and tests |
//! | `show` | `str`, `repr` and JSON |
//! | `failure` | errors and limits |

mod access;
mod arguments;
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
mod lengthen;
mod lexer;
mod markup;
mod method_names;
mod methods;
mod number;
mod parser;
mod percent;
mod postfix;
mod protocols;
mod range;
mod scope;
mod sequences;
mod show;
mod spec;
mod statements;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod token;
mod value;
mod wrap;

pub(super) use self::failure::Failure;
pub(super) use self::template::render;
pub(super) use self::text::{Ch, Origin, SOMEONE, plain};
pub(super) use self::value::Value;
