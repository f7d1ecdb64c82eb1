//! Manual pages: one for the program, and one for each of its commands.

use std::io::{self, Write};

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

/// A section of the program's page: a heading, and terms with their meanings.
pub type Section<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// Returns the file names and contents of the pages (`mist.1`, `mist-chat.1` and so on). `sections` end the first page.
///
/// # Errors
/// Never fails: the pages are written to memory, but the interface for writing has an error type.
pub fn pages(command: Command, sections: &[Section]) -> io::Result<Vec<(String, String)>> {
    // The pages already contain the output of the help command.
    let command = command.disable_help_subcommand(true);
    let mut command = command.mut_subcommands(|verb| verb.mut_args(with_possible_values));
    command.build();
    let all = [&command].into_iter().chain(command.get_subcommands());
    all.map(|one| Ok((format!("{}.1", title(one)), page(one, &command, sections)?))).collect()
}

/// Appends possible values to the help text, like `--help`. clap_mangen would give each value a separate paragraph.
fn with_possible_values(arg: Arg) -> Arg {
    let values: Vec<String> = arg.get_possible_values().iter().map(|v| v.get_name().to_string()).collect();
    if values.is_empty() || arg.is_hide_possible_values_set() {
        return arg;
    }
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.help(format!("{help} [possible values: {}]", values.join(", "))).hide_possible_values(true)
}

/// Returns the title of a page, such as `mist-chat`.
fn title(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// Returns the page of `command`, which is `root` or one of its subcommands.
fn page(command: &Command, root: &Command, sections: &[Section]) -> io::Result<String> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    let (name, version) = (root.get_name(), root.get_version().unwrap_or_default());
    // clap_mangen writes the empty date without quotes, so that the version would take its place.
    writeln!(page, ".TH {} 1 \"\" \"{name} {version}\"", title(command).to_uppercase())?;
    man.render_name_section(&mut page)?;
    synopsis(command).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    let verbs: Vec<&Command> = command.get_subcommands().collect();
    if !verbs.is_empty() {
        list("COMMANDS", verbs.iter().map(|verb| (reference(verb), about(verb)))).to_writer(&mut page)?;
    }
    man.render_options_section(&mut page)?;
    if let Some(text) = command.get_after_help() {
        example(&text.to_string()).to_writer(&mut page)?;
    }
    if verbs.is_empty() {
        let mut roff = Roff::new();
        roff.control("SH", ["SEE ALSO"]).text(reference(root));
        roff.to_writer(&mut page)?;
    } else {
        for (heading, terms) in sections {
            list(heading, named(terms)).to_writer(&mut page)?;
        }
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Returns the synopsis in the short form of `--help`, because the page lists all flags below.
fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let rest = usage.strip_prefix(name).unwrap_or_default();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]).text([bold(name), roman(rest)]);
    roff
}

/// Returns the example that follows the options in `--help`.
fn example(text: &str) -> Roff {
    let text = text.strip_prefix("Example:\n").unwrap_or(text);
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLE"]).control("EX", []);
    for line in text.lines() {
        roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    roff.control("EE", []);
    roff
}

/// Returns a reference to a page, such as `mist-chat(1)`.
fn reference(command: &Command) -> Vec<Inline> {
    vec![bold(title(command)), roman("(1)")]
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn named<'a>(table: &'a [(&str, &str)]) -> impl Iterator<Item = (Vec<Inline>, String)> + 'a {
    table.iter().map(|(name, meaning)| (vec![italic(*name)], meaning.to_string()))
}

/// Returns a section with terms and their meanings.
fn list(heading: &str, entries: impl Iterator<Item = (Vec<Inline>, String)>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for (term, meaning) in entries {
        roff.control("TP", []).text(term).text([roman(meaning)]);
    }
    roff
}
