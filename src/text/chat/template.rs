//! Chat templates: Jinja as Hugging Face's `apply_chat_template` sets it up (`_compile_jinja_template` in
//! transformers/utils/chat_template_utils.py), with limits, because a template is part of an untrusted file.
//!
//! minijinja counts instructions; bytes and seconds are counted by [`budget`](crate::budget).

use std::fmt::Write as _;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, ErrorKind, context};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

use crate::budget::{Budget, Exceeded, within};
use crate::text::error::one_line;
use crate::text::guard::guarded;
use crate::text::{Error, Message};

/// The longest template that is compiled. The longest published ones are about 20 KiB.
const MAX_TEMPLATE: usize = 64 << 10;
/// Of one rendering. A turn of a published template takes a few hundred KiB and less than a millisecond. The stack:
/// minijinja's parser recurses with the template's nesting, which its length bounds; 20,000 nested signs overflowed a
/// main thread's 8 MiB.
const BUDGET: Budget = Budget { bytes: 512 << 20, time: Duration::from_secs(20), stack: 256 << 20 };
/// The longest conversation that is written, in bytes.
const MAX_OUTPUT: usize = 16 << 20;
/// Instructions; a turn of a published template takes a few hundred.
const FUEL: u64 = 10_000_000;
/// Nested macro calls and includes.
const MAX_RECURSION: usize = 128;

/// The spellings that templates ask for by name.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::text) struct Names<'a> {
    pub(in crate::text) bos: Option<&'a str>,
    pub(in crate::text) eos: Option<&'a str>,
    pub(in crate::text) unknown: Option<&'a str>,
}

/// The conversation as the template writes it; with `prompt` ready for the assistant's turn.
///
/// # Errors
/// [`Error::TemplateTooLarge`]; [`Error::Template`] with the template's own words where it refuses the
/// conversation, or with what is wrong in it, or with the limit it ran into.
pub(super) fn render(
    source: &str,
    messages: &[Message],
    names: Names<'_>,
    prompt: bool,
) -> Result<String, Error> {
    if source.len() > MAX_TEMPLATE {
        return Err(Error::TemplateTooLarge { bytes: source.len(), limit: MAX_TEMPLATE });
    }
    let (template, messages) = (without_generation_tags(source), messages.to_vec());
    let names = [names.bos, names.eos, names.unknown].map(|name| name.map(str::to_owned));
    let work = move || {
        let [bos, eos, unknown] = &names;
        let names = Names { bos: bos.as_deref(), eos: eos.as_deref(), unknown: unknown.as_deref() };
        guarded(|| render_unguarded(&template, &messages, names, prompt))
    };
    let rendered = known_to_exceed(source, || within(BUDGET, work))?;
    rendered.unwrap_or_else(|panic| Err(Error::Template(one_line(&panic))))
}

/// A template that exceeded its budget once is not run again: what it took is not given back.
fn known_to_exceed<T>(source: &str, run: impl FnOnce() -> Result<T, Exceeded>) -> Result<T, Error> {
    static KNOWN: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, reason)) = known().iter().find(|(template, _)| template == source) {
        return Err(Error::Template(reason.clone()));
    }
    run().map_err(|exceeded| {
        known().push((source.to_owned(), exceeded.to_string()));
        Error::Template(exceeded.to_string())
    })
}

fn render_unguarded(
    source: &str,
    messages: &[Message],
    names: Names<'_>,
    prompt: bool,
) -> Result<String, Error> {
    let environment = environment().map_err(refused)?;
    let template = environment.template_from_str(source).map_err(refused)?;
    let turns = messages
        .iter()
        .map(|turn| Value::from_pairs([("role", turn.role.as_str()), ("content", turn.content.as_str())]));
    let context = context! {
        messages => turns.collect::<Vec<Value>>(),
        add_generation_prompt => prompt,
        tools => Value::from(()),
        documents => Value::from(()),
        ..special(names)
    };
    let mut output = Capped::default();
    let rendered = template.render_captured_to(context, &mut output).map(drop);
    if output.full {
        return Err(Error::Template(format!("it writes more than {MAX_OUTPUT} bytes")));
    }
    rendered.map_err(refused)?;
    String::from_utf8(output.bytes).map_err(|error| Error::Template(error.to_string()))
}

/// A name that the tokenizer does not have stays undefined, as in transformers: templates test for it.
fn special(names: Names<'_>) -> Value {
    let all = [("bos_token", names.bos), ("eos_token", names.eos), ("unk_token", names.unknown)];
    Value::from_pairs(all.into_iter().filter_map(|(name, token)| Some((name, token?))))
}

fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", to_json);
    Ok(environment)
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, message)
}

/// How templates refuse a conversation, for instance roles that do not alternate.
fn raise_exception(message: String) -> Result<Value, minijinja::Error> {
    Err(invalid(message))
}

/// Python's `datetime.now().strftime(format)`.
fn strftime_now(format: &str) -> Result<String, minijinja::Error> {
    let mut text = String::new();
    write!(text, "{}", chrono::Local::now().format(format))
        .map_err(|_| invalid("strftime_now: bad format"))?;
    Ok(text)
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`: no HTML escapes, spaces after `,` and `:`.
fn to_json(value: &Value, arguments: Kwargs) -> Result<Value, minijinja::Error> {
    let indent: Option<usize> = arguments.get("indent")?;
    let _: Option<bool> = arguments.get("ensure_ascii")?;
    arguments.assert_all_used()?;
    let json = match indent.map(|width| " ".repeat(width.min(16))) {
        None => serialized(value, OneLine)?,
        Some(indent) => serialized(value, PrettyFormatter::with_indent(indent.as_bytes()))?,
    };
    Ok(Value::from(json))
}

fn serialized(value: &Value, formatter: impl Formatter) -> Result<String, minijinja::Error> {
    let mut json = Vec::new();
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut json, formatter))
        .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    String::from_utf8(json).map_err(|error| invalid(error.to_string()))
}

struct OneLine;

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// `{% generation %}` marks for training what the assistant said; here it is a block that always applies.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else { break };
        let tag = &rest[start..start + length];
        let name = tag[2..].trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        out.push_str(&rest[..start]);
        match name {
            "generation" => out.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => out.push_str(&tag.replace("endgeneration", "endif")),
            _ => out.push_str(tag),
        }
        rest = &rest[start + length..];
    }
    out + rest
}

fn refused(error: minijinja::Error) -> Error {
    let what = match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    };
    let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    Error::Template(one_line(&what) + &line)
}

/// Takes [`MAX_OUTPUT`] bytes, then refuses.
#[derive(Default)]
struct Capped {
    bytes: Vec<u8>,
    full: bool,
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > MAX_OUTPUT - self.bytes.len() {
            self.full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: &str, content: &str) -> Message {
        Message::new(role, content)
    }

    fn rendered(source: &str) -> Result<String, String> {
        let names = Names { bos: Some("<s>"), eos: Some("</s>"), unknown: None };
        render(source, &[message("user", "Hi & <bye>")], names, true).map_err(|error| error.to_string())
    }

    #[test]
    fn blocks_take_their_line_with_them_as_in_transformers() {
        let source = "{%- for m in messages %}\n  {% if true %}\n{{ m['role'] }}: {{ m.content }}\n  {% endif %}\n{% endfor %}\n";
        assert_eq!(rendered(source).unwrap(), "user: Hi & <bye>\n");
    }

    #[test]
    fn names_tools_and_the_generation_prompt_are_as_in_transformers() {
        let source = "{{ bos_token }}{{ eos_token }}{{ unk_token is defined }}{{ tools is none }}{{ add_generation_prompt }}{{ none }}";
        assert_eq!(rendered(source).unwrap(), "<s></s>FalseTrueTrueNone");
    }

    #[test]
    fn python_methods_and_reversed_lists_work() {
        let source = "{{ ' a b '.strip().split(' ')[::-1] | join(',') }}{{ messages[0]['content'].startswith('Hi') }}{{ messages[0].get('x', 'y') }}";
        assert_eq!(rendered(source).unwrap(), "b,aTruey");
    }

    #[test]
    fn loops_can_be_left_and_namespaces_written() {
        let source = "{% set ns = namespace(n=0) %}{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}";
        assert_eq!(rendered(source).unwrap(), "3");
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        let source =
            "{{ {'a': [1, 'é<'], 'b': none} | tojson }}{{ [1] | tojson(indent=2) }}{{ messages | tojson }}";
        assert_eq!(
            rendered(source).unwrap(),
            "{\"a\": [1, \"é<\"], \"b\": null}[\n  1\n][{\"role\": \"user\", \"content\": \"Hi & <bye>\"}]"
        );
    }

    #[test]
    fn generation_tags_keep_their_white_space_control() {
        assert_eq!(rendered("a {%- generation -%} b {% endgeneration %}c").unwrap(), "ab c");
        assert_eq!(
            without_generation_tags("{{ generation }}{% set generation = 1 %}"),
            "{{ generation }}{% set generation = 1 %}"
        );
        assert_eq!(without_generation_tags("{% generation"), "{% generation");
    }

    #[test]
    fn a_refusal_is_told_in_the_templates_own_words() {
        let error = rendered("\n{{ raise_exception('Roles must\nalternate') }}").unwrap_err();
        assert_eq!(error, "the chat template failed: Roles must alternate (line 2)");
    }

    #[test]
    fn a_date_is_written_and_a_bad_format_is_an_error() {
        assert_eq!(rendered("{{ strftime_now('%Y') }}").unwrap().len(), 4);
        assert!(rendered("{{ strftime_now('%Q!') }}").unwrap_err().contains("bad format"));
    }

    #[test]
    fn endless_work_endless_output_and_endless_recursion_are_errors() {
        let work = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
        assert!(rendered(work).unwrap_err().contains("fuel"), "{:?}", rendered(work));
        let output = "{% for i in range(99999) %}{{ 'x' * 100000 }}{% endfor %}";
        assert_eq!(
            rendered(output).unwrap_err(),
            "the chat template failed: it writes more than 16777216 bytes"
        );
        let recursion = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
        assert!(rendered(recursion).unwrap_err().contains("recursion"), "{:?}", rendered(recursion));
        for deep in ["(", "-", "not ", "[", "a."] {
            let nesting = "{{ ".to_owned() + &deep.repeat((MAX_TEMPLATE - 10) / deep.len()) + "1 }}";
            // Right or wrong, an answer: a stack overflow would end the whole test program here.
            let _ = rendered(&nesting);
        }
        let long = " ".repeat(MAX_TEMPLATE + 1);
        assert_eq!(rendered(&long).unwrap_err(), "the chat template is 65537 bytes; the limit is 65536");
    }

    #[test]
    fn a_template_reaches_no_file() {
        assert!(rendered("{% include '/etc/hostname' %}").is_err());
        assert!(rendered("{% import 'x' as y %}").is_err());
    }
}
