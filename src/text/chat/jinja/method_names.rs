//! The names of Python's methods: supported ones, unsupported ones, and those that change a value.

use super::failure::{Result, fail};
use super::value::Value;

const STR: [&str; 46] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
    "encode",
];
const LIST: [&str; 3] = ["copy", "count", "index"];
const TUPLE: [&str; 2] = ["count", "index"];
const DICT: [&str; 6] = ["copy", "fromkeys", "get", "items", "keys", "values"];

/// Returns whether Python has a method of this name that changes a value.
pub(super) fn changes(of: &Value, name: &str) -> bool {
    match of {
        Value::List(_) => {
            matches!(name, "append" | "clear" | "extend" | "insert" | "pop" | "remove" | "reverse" | "sort")
        }
        Value::Dict(_) => matches!(name, "clear" | "pop" | "popitem" | "setdefault" | "update"),
        _ => false,
    }
}

/// Finds the method of a value's type by its name.
///
/// # Errors
/// Python has the method, and it is not supported here.
pub(super) fn find(of: &Value, name: &str) -> Result<Option<&'static str>> {
    let known: &[&'static str] = match of {
        Value::Str(_) => &STR,
        Value::List(_) => &LIST,
        Value::Tuple(_) | Value::Range(_) => &TUPLE,
        Value::Dict(_) => &DICT,
        Value::Int(_) | Value::Bool(_) => &["bit_length", "bit_count", "conjugate"],
        Value::Float(_) => &["is_integer", "conjugate"],
        Value::Loop(_) => &["cycle", "changed"],
        Value::Cycler(_) => &["next", "reset"],
        _ => &[],
    };
    let unsupported: &[&str] = match of {
        Value::Str(text) if text.safe => &["striptags", "unescape", "escape", "maketrans"],
        Value::Str(_) => &["maketrans"],
        Value::Int(_) | Value::Bool(_) => &["as_integer_ratio", "from_bytes", "to_bytes"],
        Value::Float(_) => &["as_integer_ratio", "fromhex", "hex"],
        Value::View(..) => &["isdisjoint", "mapping"],
        Value::Macro(_) => &["catch_kwargs", "catch_varargs", "caller", "explicit_caller"],
        Value::Stream(_) => &["close", "gi_code", "gi_frame", "gi_running", "gi_yieldfrom", "send", "throw"],
        _ => &[],
    };
    if unsupported.contains(&name) {
        return fail(format!("the attribute '{name}' of {} is not supported", of.type_name()));
    }
    Ok(known.iter().find(|known| **known == name).copied())
}
