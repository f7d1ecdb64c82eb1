//! Renders a template, from its source to its output.

use super::failure::{self, Failure};
use super::interpreter::Interpreter;
use super::text::Ch;
use super::value::Value;
use super::{lexer, statements};

/// Renders a template with these variables. `clock` formats the time by a format of `strftime`.
///
/// # Errors
/// The template has a defect, raises an error itself, or exceeds a limit.
pub(in crate::text::chat) fn render(
    source: &str,
    context: Vec<(&str, Value)>,
    clock: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Ch>, Box<Failure>> {
    failure::refuel();
    let body = statements::parse(&lexer::normalized(source))?;
    Interpreter::new(context, clock).render(&body)
}
