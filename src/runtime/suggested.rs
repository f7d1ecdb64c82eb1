//! The sampling settings that a model's publishers suggest.

use crate::checkpoint::Suggestions;
use crate::generate::{Sampling, Suggested};

/// Returns the default sampling settings with the publishers' suggestions, and a line about each invalid suggestion.
///
/// `is_typed` returns whether the user set a field; its suggestion is then ignored.
pub fn suggested_sampling(
    suggestions: &Suggestions,
    is_typed: &dyn Fn(&str) -> bool,
) -> (Sampling, Vec<String>) {
    let unless = |value: Option<f64>, field| value.filter(|_| !is_typed(field));
    let asked = Suggested {
        temperature: unless(suggestions.temperature, "temperature"),
        top_k: unless(suggestions.top_k, "top_k"),
        top_p: unless(suggestions.top_p, "top_p"),
        min_p: unless(suggestions.min_p, "min_p"),
        repeat_penalty: unless(suggestions.repetition_penalty, "repeat_penalty"),
    };
    let (sampling, impossible) = Sampling::default().as_suggested(&asked);
    let impossible = impossible.into_iter().map(|e| e.called(|field| suggestions.name(field)).to_string());
    let sentences = suggestions.passed_over.iter().cloned().chain(impossible);
    let file = suggestions.file.display();
    (sampling, sentences.map(|sentence| format!("{file}: {sentence}: passed over")).collect())
}
