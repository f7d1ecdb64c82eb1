//! Parts of a `tokenizer.json` that are a step, or a sequence of steps.

use serde_json::Value;

/// Returns the parts of a `Sequence`, or a single part as it is.
pub(super) fn parts<'a>(part: &'a Value, list: &str) -> Vec<&'a Value> {
    match &part[list] {
        Value::Array(parts) if part["type"] == "Sequence" => parts.iter().collect(),
        _ if part.is_null() => Vec::new(),
        _ => vec![part],
    }
}

/// Returns the type of a part.
pub(super) fn kind(part: &Value) -> &str {
    part["type"].as_str().unwrap_or("without a type")
}
