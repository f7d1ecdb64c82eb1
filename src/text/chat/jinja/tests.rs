//! Tests the results of a few hundred templates against Jinja's own, and templates that are built to crash the process.

use serde::Deserialize;

use super::{Value, plain, render};

/// Made by `tests/fixtures/jinja/make.py`.
const EXPECTED: &str = include_str!("../../../../tests/fixtures/jinja/expected.json");

/// Features that are not supported. The error names the feature.
const NOT_SUPPORTED: [&str; 4] =
    ["'abc'.encode()", "'abc'.translate({})", "'x' | random | length", "{{ self }}"];

#[derive(Deserialize)]
struct Case {
    template: String,
    text: Option<String>,
}

fn rendered(source: &str) -> Result<String, String> {
    let source = source.to_owned();
    let work = move || {
        let messages = [("user", "Hi & <bye>"), ("assistant", "Yes, é.")].map(|(role, content)| {
            Value::record(vec![("role", Value::text_of(role, 0)), ("content", Value::text_of(content, 1))])
        });
        let messages = messages.into_iter().collect::<Result<_, _>>().unwrap();
        let context = vec![
            ("messages", Value::list(messages).unwrap()),
            ("add_generation_prompt", Value::Bool(true)),
            ("tools", Value::None),
            ("documents", Value::None),
            ("bos_token", Value::text_of("<s>", 0)),
            ("eos_token", Value::text_of("</s>", 0)),
        ];
        render(&source, context, &|_| None).map(|text| plain(&text)).map_err(|failure| failure.message)
    };
    // The stack size of a template's thread.
    std::thread::Builder::new().stack_size(256 << 20).spawn(work).unwrap().join().unwrap()
}

#[test]
fn templates_become_what_jinja_makes_of_them() {
    let cases: Vec<Case> = serde_json::from_str(EXPECTED).unwrap();
    assert!(cases.len() > 1000);
    let mut wrong = Vec::new();
    for Case { template, text } in cases {
        let ours = rendered(&template);
        let right = match (&ours, &text) {
            (Ok(ours), Some(text)) => ours == text,
            (Err(_), None) => true,
            (Err(error), Some(_)) => {
                NOT_SUPPORTED.iter().any(|known| template.contains(known)) && error.contains("not supported")
            }
            (Ok(_), None) => false,
        };
        if !right {
            wrong.push(format!("{template}: {ours:?} for {text:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Expressions that nest a value `V` one level deeper.
const DEEPER: [&str; 26] = [
    "[V]",
    "(V,)",
    "{'a': V}",
    "[V] + [1]",
    "(V,) + (1,)",
    "[1, V][1:]",
    "[V] * 2",
    "[V, V]",
    "[[V]] | first",
    "[V] | list",
    "[V] | map('default', 1) | list",
    "[V] | select('defined') | list",
    "[V] | reverse",
    "[V] | batch(1) | list",
    "[V] | slice(1) | list",
    "[V] | map('default', 1)",
    "{'a': V}.items()",
    "{'a': V}.items() | list",
    "{'a': V}.values()",
    "{'a': V} | items",
    "dict(a=V)",
    "{}.fromkeys('a', V)",
    "[{'k': 1, 'v': V}] | groupby('k')",
    "{'a': V} | dictsort",
    "{'a': V}.get",
    "cycler(V, V)",
];

/// Expressions that recurse over the value `v`.
const USES: [&str; 20] = [
    "v",
    "v | tojson",
    "v | string",
    "v == w",
    "[v] | sort",
    "v in [w]",
    "v ~ ''",
    "[v] | join",
    "[v, w] | unique | list",
    "{v: 1}",
    "'%s' % [v]",
    "'{}'.format(v)",
    "'%r' % [v]",
    "[v, w] | min",
    "v | pprint",
    "[v].index(w)",
    "v | tojson(indent=1)",
    "v < w",
    "v | urlencode",
    "v | length",
];

#[test]
fn a_value_that_is_nested_too_deep_is_an_error() {
    for deeper in DEEPER {
        let deeper = deeper.replace("V", "ns.x");
        let source = format!(
            "{{% set ns = namespace(x=1) %}}{{% for i in range(100000) %}}{{% set ns.x = {deeper} %}}{{% endfor %}}done"
        );
        let ours = rendered(&source);
        let deep = ours.as_ref().is_err_and(|error| error.contains("nests values too deep"));
        assert!(deep, "{deeper}: {ours:?}");
    }
}

#[test]
fn a_value_of_the_greatest_depth_can_be_used_in_every_way() {
    for step in ["[ns.x]", "(ns.x,)", "{'a': ns.x}", "[ns.x, ns.x][:1]"] {
        let make = |name: &str| {
            format!(
                "{{% set ns = namespace(x=1) %}}{{% for i in range(99) %}}{{% set ns.x = {step} %}}{{% endfor %}}{{% set {name} = ns.x %}}"
            )
        };
        for used in USES {
            let ours = rendered(&format!("{}{}{{{{ {used} }}}}", make("v"), make("w")));
            if let Err(error) = ours {
                assert!(!error.contains("fuel") && !error.contains("recursion"), "{step} {used}: {error}");
            }
        }
    }
}

#[test]
fn a_namespace_that_holds_itself_is_an_error_where_it_is_put_together() {
    let cycles = [
        "{% set ns = namespace() %}{% set ns.ns = ns %}",
        "{% set ns = namespace() %}{% set ns.ns = [ns] %}",
        "{% set ns = namespace() %}{% set ns.ns = {'a': (1, ns)} %}",
        "{% set ns = namespace() %}{% set ns.ns = {'a': ns}.items() %}",
        "{% set ns = namespace() %}{% set ns.ns = {'a': ns}.get %}",
        "{% set ns = namespace() %}{% set ns.ns = cycler(ns) %}",
        "{% set ns = namespace() %}{% set ns.ns = [ns] | map('default') %}",
        "{% set ns = namespace() %}{% for x in [ns] %}{% set ns.ns = loop %}{% endfor %}",
        "{% set ns = namespace() %}{% set ns.m = namespace(a=[ns, ns]) %}",
        "{% set a = namespace() %}{% set b = namespace(a=a) %}{% set c = namespace(b=b) %}{% set a.c = c %}",
    ];
    for cycle in cycles {
        for used in ["", "{{ ns }}", "{{ ns == ns }}", "{{ ns | tojson }}"] {
            let error = rendered(&format!("{cycle}{used}")).unwrap_err();
            assert!(error.contains("nests values too deep"), "{cycle}: {error}");
        }
    }
    let chain = "{% set ns = namespace(x=1) %}{% for i in range(50000) %}{% set ns.x = namespace(x=ns.x) %}{% endfor %}";
    assert!(rendered(chain).unwrap_err().contains("nests values too deep"));
}

#[test]
fn a_chain_of_namespaces_that_grows_at_its_end_is_an_error_where_it_is_written() {
    let chain = "{% set ns = namespace(c=namespace()) %}{% set first = ns.c %}{% for i in range(50000) %}{% set c = ns.c %}{% set n = namespace() %}{% set c.n = n %}{% set ns.c = n %}{% endfor %}";
    assert_eq!(rendered(&format!("{chain}done")).unwrap(), "done");
    for used in ["first", "[first] | string", "first ~ ''", "'%s' % [first]"] {
        let error = rendered(&format!("{chain}{{{{ {used} }}}}")).unwrap_err();
        assert!(error.contains("nests values too deep"), "{used}: {error}");
    }
    let alone = "{% set a = namespace(x=1) %}{% set b = namespace(a=a, l=[a]) %}{{ b.a.x }}{{ b.l[0].x }}{{ b == b }}";
    assert_eq!(rendered(alone).unwrap(), "11True");
}

#[test]
fn a_value_that_is_wide_at_every_level_runs_out_of_fuel_and_not_of_time() {
    let wide = "{% set ns = namespace(x=1) %}{% for i in range(90) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{% set y = namespace(x=1) %}{% for i in range(90) %}{% set y.x = [y.x, y.x] %}{% endfor %}";
    for used in
        ["ns.x", "ns.x == y.x", "ns.x | tojson", "[ns.x, y.x] | sort", "ns.x | string", "[ns.x, y.x] | min"]
    {
        let error = rendered(&format!("{wide}{{{{ {used} }}}}")).unwrap_err();
        assert!(error.contains("fuel") || error.contains("characters"), "{used}: {error}");
    }
}

#[test]
fn calls_in_calls_and_loops_in_loops_are_limited() {
    let endless = [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f() %}{% call f() %}{% endcall %}{{ caller() }}{% endmacro %}{{ f() }}",
        "{% macro f(x) %}{{ [1] | map('string') | list }}{{ f([x]) }}{% endmacro %}{{ f(1) }}",
        "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% macro f() %}{% for a in [1] recursive %}{{ f() }}{% endfor %}{% endmacro %}{{ f() }}",
        "{% macro f() %}{{ [f()] | join }}{% endmacro %}{{ f() }}",
        "{% macro f() %}{% set ns = namespace(x=f()) %}{% endmacro %}{{ f() }}",
    ];
    for source in endless {
        let error = rendered(source).unwrap_err();
        assert!(error.contains("recursion") || error.contains("deep"), "{source}: {error}");
    }
}

#[test]
fn newlines_of_a_template_are_jinjas_and_a_byte_order_mark_is_not_text() {
    assert_eq!(rendered("a\r\nb\rc\r\n").unwrap(), "a\nb\nc");
    assert_eq!(rendered("{% if true %}\r\n{{ 'a\r\nb' }}\r\n{% endif %}\r\n").unwrap(), "a\nb\n");
    assert_eq!(rendered("\u{feff}a").unwrap(), "a");
}
