//! The rules of the house, held over `src/`: which room may import which, no circles within a room, no file too long, no
//! retired word. The table of rooms is [`FLOORS`]; what each room knows is on the page of its `mod.rs`.
// The lint knows functions marked as tests, not their helpers; a helper that fails here is a failed test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod lines;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{House, Import};

/// Rooms from the top floor down. A room imports only rooms of lower floors.
const FLOORS: [&[&str]; 13] = [
    &["system"],
    &["cpu", "json"],
    &["quant"],
    &["kernels"],
    &["arch", "tensor"],
    &["text", "hub"],
    &["checkpoint"],
    &["model", "store"],
    &["generate", "placement"],
    &["chat", "evaluate", "bench"],
    &["runtime"],
    &["terminal"],
    &["cli"],
];

/// Most lines of a file.
const LONGEST_FILE: usize = 450;

/// Most lines of the room that reads arguments and prints: what decides something belongs to a room of the library.
const LARGEST_CLI: usize = 3000;

/// Identifiers that were retired for the field's terms.
const RETIRED: [&str; 10] =
    ["Of32", "Reach", "Growth", "Made", "Bed", "Post", "apart", "companions", "Companions", "uninitialized"];

/// Words that no identifier holds.
const RETIRED_WORDS: [&str; 3] = ["strip", "strips", "fifths"];

/// Names that hold them and are not ours: the standard library's, and a field of `tokenizer.json`.
const STANDARD: [&str; 3] = ["strip_prefix", "strip_suffix", "strip_accents"];

/// Everything in a house that breaks a rule, a sentence each.
fn faults(house: &House) -> Vec<String> {
    let imports = house.imports();
    let mut faults = upward(&imports);
    faults.extend(circles(&imports));
    faults.extend(long_files(house));
    faults.extend(large_cli(house));
    faults.extend(retired_words(house));
    faults.extend(sources_said_twice(house));
    faults
}

fn room(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or(file)
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn upward(imports: &[Import]) -> Vec<String> {
    let mut faults = BTreeSet::new();
    for Import { from, to, path } in imports {
        let (above, below) = (room(from), room(to));
        if above == below || ["lib", "main"].contains(&above) {
            continue;
        }
        match (floor(above), floor(below)) {
            (Some(above), Some(below)) if above > below => {}
            (Some(_), Some(_)) => {
                faults.insert(format!("{from} imports {path}: {above} does not stand above {below}"));
            }
            (None, _) => {
                faults.insert(format!("{from}: the room {above} is on no floor"));
            }
            (_, None) => {
                faults.insert(format!("{from} imports {path}: the room {below} is on no floor"));
            }
        }
    }
    faults.into_iter().collect()
}

/// One circle of each set of files that import each other.
fn circles(imports: &[Import]) -> Vec<String> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let is_held = |import: &&Import| import.from != import.to;
    for Import { from, to, .. } in imports.iter().filter(is_held) {
        next.entry(from).or_default().insert(to);
    }
    // A file that leads nowhere, or only to such files, is in no circle, and neither is one that nothing leads to.
    let mut left: BTreeSet<&str> = next.keys().copied().collect();
    loop {
        let leads = |file: &&str| next.get(*file).is_some_and(|to| to.iter().any(|to| left.contains(to)));
        let is_led_to = |file: &&str| left.iter().any(|from| next[from].contains(*file));
        let kept: BTreeSet<&str> =
            left.iter().copied().filter(|file| leads(file) && is_led_to(file)).collect();
        if kept.len() == left.len() {
            break;
        }
        left = kept;
    }
    let mut faults = Vec::new();
    while let Some(first) = left.first().copied() {
        let mut path = vec![first];
        let circle = loop {
            let last = path[path.len() - 1];
            let Some(to) = next[last].iter().copied().find(|to| left.contains(to)) else {
                break None;
            };
            if let Some(start) = path.iter().position(|file| *file == to) {
                break Some(path[start..].to_vec());
            }
            path.push(to);
        };
        match circle {
            Some(circle) => {
                faults.push(format!("files import each other in a circle: {}", circle.join(" -> ")));
                circle.iter().for_each(|file| {
                    left.remove(file);
                });
            }
            None => {
                left.remove(path[path.len() - 1]);
            }
        }
    }
    faults
}

fn long_files(house: &House) -> Vec<String> {
    let is_long = |(file, text): (&String, &String)| {
        let lines = text.lines().count();
        (lines > LONGEST_FILE)
            .then(|| format!("{file} has {lines} lines, at most {LONGEST_FILE} are read with ease"))
    };
    house.files().iter().filter_map(is_long).collect()
}

fn large_cli(house: &House) -> Option<String> {
    let files = house.files().iter().filter(|(file, _)| room(file) == "cli");
    let lines: usize = files.map(|(_, text)| text.lines().count()).sum();
    (lines > LARGEST_CLI).then(|| format!("cli has {lines} lines, at most {LARGEST_CLI}"))
}

fn retired_words(house: &House) -> Vec<String> {
    let mut faults = Vec::new();
    for (file, names) in house.identifiers() {
        for name in names {
            let is_retired = RETIRED.contains(&name.as_str())
                || !STANDARD.contains(&name.as_str())
                    && source::words(&name).iter().any(|word| RETIRED_WORDS.contains(&word.as_str()));
            if is_retired {
                faults.push(format!("{file}: the name {name} was retired (see docs/glossary.md)"));
            }
        }
    }
    faults
}

/// Errors whose message holds that of their source: whoever prints the chain of causes prints it twice. Such a source is a
/// `reason`, or the message is left to it (`transparent`).
fn sources_said_twice(house: &House) -> Vec<String> {
    let mut faults = Vec::new();
    for (file, text) in house.files() {
        for (at, _) in text.match_indices("#[error(") {
            let rest = &text[at..];
            // To the next variant.
            let end = rest[1..].find("#[error(").map_or(rest.len(), |end| end + 1);
            let (message, fields) = rest[..end].split_once(")]\n").unwrap_or((&rest[..end], ""));
            let fields = fields.split("\n}").next().unwrap_or_default();
            let is_shown =
                message.contains("{source") || message.contains("{0}") && fields.contains("#[from]");
            if is_shown {
                faults.push(format!("{file}: the message {message:?} holds its source's"));
            } else if fields.contains("#[source]") {
                faults.push(format!(
                    "{file}: the error of {message:?} has a source: name it `reason`, in the message"
                ));
            }
        }
    }
    faults
}

#[test]
fn the_rules_of_the_house_hold() {
    let faults = faults(&House::read());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// A part of the house that is read faster than the whole.
fn some_rooms() -> House {
    House::read().only(&["arch", "cpu", "json", "model", "generate"])
}

/// The fault that appears where `text` is added to the end of `file`.
fn planted(file: &str, text: &str) -> String {
    let mut house = some_rooms();
    let before = faults(&house);
    house.add(file, text);
    let new: Vec<String> = faults(&house).into_iter().filter(|fault| !before.contains(fault)).collect();
    assert_eq!(new.len(), 1, "{new:?}");
    new.into_iter().next().unwrap()
}

#[test]
fn an_import_of_a_room_above_is_a_fault() {
    let expected = "model does not stand above generate";
    for text in [
        "use crate::generate::Sampling;",
        "fn f() { crate::generate::stream(); }",
        "fn f() { println!(\"{}\", crate::generate::x()); }",
        "use crate::{generate::Sampling as S};",
        "mod inner { use super::super::super::generate; }",
    ] {
        let fault = planted("model/rope.rs", text);
        assert!(fault.contains(expected), "{text}: {fault}");
    }
    let fault = planted("cpu/level.rs", "use crate::json::Value;");
    assert!(fault.contains("cpu does not stand above json"), "rooms of one floor: {fault}");
}

#[test]
fn files_that_import_each_other_are_a_fault() {
    // `config` imports `naming`; through a name that the room's page gives further it is a circle as well.
    for text in ["use super::config::Config;", "use crate::arch::Config;"] {
        let fault = planted("arch/naming.rs", text);
        assert!(fault.contains("circle") && fault.contains("arch/config.rs"), "{fault}");
    }
}

#[test]
fn what_only_tests_use_is_no_fault() {
    let mut house = some_rooms();
    let before = faults(&house);
    house.add("model/rope.rs", "#[cfg(test)] mod more_tests { use crate::generate::Sampling; }");
    house.add("model/rope.rs", "#[cfg(test)] use crate::generate::Sampling;");
    assert_eq!(faults(&house), before);
}

#[test]
fn a_retired_name_is_a_fault_and_a_standard_one_is_not() {
    for name in ["Growth", "multiply_strips", "STRIP", "NibblesAndFifths", "apart"] {
        let item = format!("const X: u8 = {name}(0);");
        assert!(planted("model/rope.rs", &item).contains(name));
    }
    let mut house = some_rooms();
    let before = faults(&house);
    house.add("model/rope.rs", "fn f(x: &str) { x.strip_prefix(\"strips of fifths\"); } // Growth");
    assert_eq!(faults(&house), before);
}

#[test]
fn a_message_that_holds_its_sources_is_a_fault() {
    for error in [
        "#[error(\"cannot read: {source}\")]\nRead { source: io::Error },",
        "#[error(\"cannot read: {0}\")]\nRead(#[from] io::Error),",
        "#[error(\"cannot read: {cause}\")]\nRead { #[source] cause: io::Error },",
    ] {
        assert!(planted("model/rope.rs", &format!("enum E {{ {error} }}")).contains("cannot read"));
    }
    let mut house = some_rooms();
    let before = faults(&house);
    house.add(
        "model/rope.rs",
        "enum E { #[error(\"no {reason}\")]\nA { reason: X },\n#[error(transparent)]\nB(#[from] Y) }",
    );
    assert_eq!(faults(&house), before);
}

#[test]
fn a_long_file_is_a_fault() {
    assert!(planted("model/rope.rs", &"// line\n".repeat(LONGEST_FILE)).contains("lines"));
}

#[test]
fn a_large_command_line_is_a_fault() {
    let mut house = House::read().only(&["cli"]);
    house.add("cli/exit.rs", &"// line\n".repeat(LARGEST_CLI));
    assert!(large_cli(&house).unwrap().contains("at most 3000"));
}
