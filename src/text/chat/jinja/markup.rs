//! Markup in texts, as markupsafe treats it: escapes, tags, and texts that are marked as safe.

use super::cases;
use super::failure::{Result, fail};
use super::lengthen::replaced;
use super::text::{self, Ch, Text};
use super::value::Value;

/// Escapes HTML as markupsafe does.
pub(super) fn escaped(text: &[Ch]) -> Text {
    let mut out = Vec::with_capacity(text.len());
    for &c in text {
        let escape = match c.char() {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\'' => "&#39;",
            '"' => "&#34;",
            _ => {
                out.push(c);
                continue;
            }
        };
        out.extend(escape.chars().map(|escape| c.with(escape)));
    }
    Text::from(out)
}

/// Marks the result of a method of markup as markup.
pub(super) fn marked_safe(value: Value) -> Result<Value> {
    let all = |items: &[Value]| items.iter().cloned().map(marked_safe).collect::<Result<Vec<_>>>();
    match value {
        Value::Str(text) => Ok(Value::Str(text.marked_safe())),
        Value::List(seq) => Value::list(all(&seq.items)?),
        Value::Tuple(seq) => Value::tuple(all(&seq.items)?),
        other => Ok(other),
    }
}

/// Removes comments and tags, and makes runs of white space single spaces. Only the escapes of `escape` are undone.
pub(super) fn striptags(text: &[Ch]) -> Result<Text> {
    let mut rest = text.to_vec();
    for (open, close) in [("<!--", "-->"), ("<", ">")] {
        let (open, close) = (Text::from(open), Text::from(close));
        let mut kept = Vec::new();
        let mut left = &rest[..];
        while let Some(at) = text::find(left, &open) {
            let Some(end) = text::find(&left[at..], &close) else { break };
            kept.extend_from_slice(&left[..at]);
            left = &left[at + end + close.len()..];
        }
        kept.extend_from_slice(left);
        rest = kept;
    }
    let space = Ch::new(' ', 0);
    let mut joined = text::words(&rest, usize::MAX).join(&space);
    for (escape, plain) in
        [("&lt;", "<"), ("&gt;", ">"), ("&#39;", "'"), ("&#34;", "\""), ("&quot;", "\""), ("&amp;", "&")]
    {
        let escape = Text::from(escape);
        let left = text::replace(&joined, &escape, &[], usize::MAX);
        let other = |pair: &[Ch]| pair[0].is('&') && (pair[1].is('#') || cases::is_alpha(pair[1].char()));
        if plain == "&" && left.windows(2).any(other) {
            return fail("striptags of a text with other character references is not supported");
        }
        joined = replaced(&joined, &escape, &Text::from(plain), usize::MAX)?;
    }
    Ok(joined.into())
}
