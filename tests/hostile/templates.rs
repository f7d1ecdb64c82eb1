//! Chat templates that recurse, that build deep values, and that hold themselves: none ends the process.

use std::fs;

use super::support::{Mist, copy_of};
use super::{clean_error, run};

/// With `tokenize` and within a conversation.
#[track_caller]
fn refused(template: &str, part: &str) {
    let folder = copy_of("llama-gqa");
    fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    fs::write(folder.path().join("chat.json"), r#"[{"role": "user", "content": "x"}]"#).unwrap();
    let ended = run(folder.path(), "tokenize --checkpoint-dir . --messages chat.json");
    let error = clean_error(&ended);
    assert!(error.contains("template") && error.contains(part), "{template}: {error}");
    let ended = Mist::new(folder.path()).args(["chat", "--checkpoint-dir", "."]).stdin("hi\n").run();
    assert!(ended.code.is_some_and(|code| code <= 1), "{template}: {:?} {}", ended.code, ended.stderr);
    assert!(ended.stderr.contains(part), "{template}: {}", ended.stderr);
}

const DEEP: &str = "nests values too deep";

#[test]
fn a_namespace_that_holds_itself() {
    let cycle = "{% set ns = namespace() %}{% set ns.ns = ns %}";
    for used in
        ["ns", "ns | string", "[ns] | join", "'%s' % [ns]", "ns | tojson", "[ns, ns] | sort", "ns == ns"]
    {
        refused(&format!("{cycle}{{{{ {used} }}}}"), DEEP);
    }
}

#[test]
fn values_nested_a_million_deep() {
    for deeper in [
        "[ns.x]",
        "(ns.x,)",
        "{'a': ns.x}",
        "[ns.x] + [1]",
        "[1, ns.x][1:]",
        "[ns.x] | map('default') | list",
    ] {
        let build = format!("{{% for j in range(100000) %}}{{% set ns.x = {deeper} %}}{{% endfor %}}");
        let source =
            format!("{{% set ns = namespace(x=1) %}}{{% for i in range(10) %}}{build}{{% endfor %}}");
        for used in ["", "{{ ns.x }}", "{{ ns.x | tojson }}", "{{ ns.x == [ns.x] }}"] {
            refused(&format!("{source}{used}"), DEEP);
        }
    }
}

/// Joiners in joiners, and loops that keep what they saw, counted for no level: 2.6 million of them.
#[test]
fn values_nested_a_million_deep_in_joiners_and_in_what_loops_keep() {
    let many = |step: &str| {
        let inner = format!("{{% for j in range(100000) %}}{step}{{% endfor %}}");
        format!("{{% set ns = namespace(x='') %}}{{% for i in range(20) %}}{inner}{{% endfor %}}")
    };
    for separator in ["ns.x", "[ns.x]", "1", "none", "missing"] {
        let source = many(&format!("{{% set ns.x = joiner({separator}) %}}"));
        refused(&source, "joiner takes a string");
    }
    for kept in ["ns.x", "[ns.x]", "cycler(ns.x)", "ns.x.cycle", "1, {'a': ns.x}", "(ns.x,) | list"] {
        let step = format!(
            "{{% for k in [1] %}}{{% set _ = loop.changed({kept}) %}}{{% set ns.x = loop %}}{{% endfor %}}"
        );
        refused(&many(&step), "loop.changed of a loop is not supported");
    }
}

#[test]
fn macros_that_call_themselves_and_loops_in_themselves() {
    refused("{% macro f(x) %}{{ f([x]) }}{% endmacro %}{{ f(1) }}", "deep");
    refused("{% for a in [1] recursive %}{{ loop([a]) }}{% endfor %}", "deep");
    refused("{% macro f() %}{% call f() %}{% endcall %}{% endmacro %}{{ f() }}", "takes no keyword argument");
}
