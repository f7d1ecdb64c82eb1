//! Renders chat templates within limits, because a template is part of an untrusted file.
//!
//! `jinja` counts steps and levels; [`budget`](crate::system::budget) counts bytes and seconds.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::jinja::{self, Ch, Failure, Origin, SOMEONE, Value};
use crate::system::budget::{Budget, Exceeded, within};
use crate::text::error::one_line;
use crate::text::guard::guarded;
use crate::text::{Error, Message};

/// Maximum length of a template in bytes. The longest published ones have about 20 KiB.
const MAX_TEMPLATE: usize = 64 << 10;
/// Limits for one rendering. A turn of a published template takes a few hundred KiB and less than a millisecond.
const BUDGET: Budget = Budget { bytes: 256 << 20, time: Duration::from_secs(20), stack: STACK };
/// Stack size for the levels of evaluation that `jinja` allows. The deepest templates of 20 kinds took 14 MB in a release
/// build (x86-64, November 2026). Builds without optimization have larger frames.
const STACK: usize = if cfg!(debug_assertions) { 256 << 20 } else { 64 << 20 };
/// Roles that a chat template may build a control token from (`<|{{ role }}|>`).
const KNOWN_ROLES: [&str; 7] = ["system", "user", "assistant", "tool", "developer", "function", "ipython"];

/// Spellings of the tokens that templates use by name.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::text) struct Names<'a> {
    pub(in crate::text) bos: Option<&'a str>,
    pub(in crate::text) eos: Option<&'a str>,
    pub(in crate::text) unknown: Option<&'a str>,
}

/// Returns the origin of a message's content.
fn origin_of(message: usize) -> Origin {
    Origin::try_from(message + 1).unwrap_or(SOMEONE).min(SOMEONE)
}

/// Renders a conversation and marks the origin of each character. With `prompt`, the text ends where the assistant's turn
/// begins.
///
/// # Errors
/// [`Error::TemplateTooLarge`]; [`Error::Template`] with the template's own message if it refuses the conversation, or
/// with its defect, or with the limit that it exceeded.
pub(super) fn render(
    source: &str,
    messages: &[Message],
    names: Names<'_>,
    prompt: bool,
) -> Result<Vec<Ch>, Error> {
    if source.len() > MAX_TEMPLATE {
        return Err(Error::TemplateTooLarge { bytes: source.len(), limit: MAX_TEMPLATE });
    }
    let (template, messages) = (source.to_owned(), messages.to_vec());
    let names = [names.bos, names.eos, names.unknown].map(|name| name.map(str::to_owned));
    let work = move || {
        guarded(|| {
            let context = context(&messages, &names, prompt)?;
            jinja::render(&template, context, &now)
        })
        .map(|rendered| rendered.map_err(|failure| *failure))
    };
    let rendered = known_to_exceed(source, || within(BUDGET, work))?;
    rendered.map_err(|panic| Error::Template(one_line(&panic)))?.map_err(refused)
}

/// Keeps a template that exceeded its budget from running again, because the memory it took is not freed.
fn known_to_exceed<T>(source: &str, run: impl FnOnce() -> Result<T, Exceeded>) -> Result<T, Error> {
    static KNOWN: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, reason)) = known().iter().find(|(template, _)| template == source) {
        return Err(Error::Template(reason.clone()));
    }
    run().map_err(|exceeded| {
        // The template is not at fault.
        if matches!(exceeded, Exceeded::NoThread | Exceeded::NoStack(_)) {
            return Error::NotStarted(exceeded);
        }
        known().push((source.to_owned(), exceeded.to_string()));
        Error::Template(exceeded.to_string())
    })
}

/// Returns the variables of transformers. A name that the tokenizer does not have stays undefined, since templates test
/// for it.
fn context(
    messages: &[Message],
    names: &[Option<String>; 3],
    prompt: bool,
) -> Result<Vec<(&'static str, Value)>, Box<Failure>> {
    let turn = |(index, message): (usize, &Message)| {
        let known = KNOWN_ROLES.contains(&message.role.as_str());
        let role = Value::text_of(&message.role, if known { 0 } else { SOMEONE });
        let content = Value::text_of(&message.content, origin_of(index));
        Value::record(vec![("role", role), ("content", content)])
    };
    let turns = messages.iter().enumerate().map(turn).collect::<Result<_, _>>()?;
    let mut all = vec![
        ("messages", Value::list(turns)?),
        ("add_generation_prompt", Value::Bool(prompt)),
        ("tools", Value::None),
        ("documents", Value::None),
    ];
    for (name, token) in ["bos_token", "eos_token", "unk_token"].into_iter().zip(names) {
        all.extend(token.as_ref().map(|token| (name, Value::text_of(token, 0))));
    }
    Ok(all)
}

/// Implements Python's `datetime.now().strftime(format)`; `None` for a bad format.
fn now(format: &str) -> Option<String> {
    let mut text = String::new();
    write!(text, "{}", chrono::Local::now().format(format)).ok().map(|()| text)
}

fn refused(failure: Failure) -> Error {
    let line = failure.line.map(|line| format!(" (line {line})")).unwrap_or_default();
    Error::Template(one_line(&failure.message) + &line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::chat::jinja::plain;

    fn message(role: &str, content: &str) -> Message {
        Message::new(role, content)
    }

    fn rendered(source: &str) -> Result<String, String> {
        let names = Names { bos: Some("<s>"), eos: Some("</s>"), unknown: None };
        let rendered = render(source, &[message("user", "Hi & <bye>")], names, true);
        rendered.map(|text| plain(&text)).map_err(|error| error.to_string())
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
        assert_eq!(rendered("{% set generation = 1 %}{{ generation }}").unwrap(), "1");
        assert!(rendered("{% generation").is_err());
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
            "the chat template failed: it writes more than 16777216 characters (line 1)"
        );
        let recursion = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
        assert!(rendered(recursion).unwrap_err().contains("recursion"), "{:?}", rendered(recursion));
        for deep in
            ["(", "-", "not ", "[", "a.", "{1:", "a[", "a(", "1 if ", "a|b(", "a is b(", "a+", "a~", "a<"]
        {
            let nesting = "{{ ".to_owned() + &deep.repeat((MAX_TEMPLATE - 10) / deep.len()) + "1 }}";
            // Any result will do: a stack overflow would end the whole test program here.
            let _ = rendered(&nesting);
        }
        for deep in ["{% if 1 %}", "{% for a in b %}", "{% macro a() %}", "{% set a %}", "{% call a() %}"] {
            let _ = rendered(&deep.repeat((MAX_TEMPLATE - 10) / deep.len()));
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
