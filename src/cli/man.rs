//! `mist man`: the manual, a page for each command.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Arg, Args, Command, ValueHint};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use mist::system::environment::{
    HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_TOKEN, LOCALAPPDATA, MIST_CPU, MIST_HOME,
    NO_COLOR, XDG_CACHE_HOME, XDG_STATE_HOME,
};
use mist::system::files::{Folder, Replacement};
use mist::system::quote::counted;
use mist::terminal::Printer;

use super::exit::Status;

/// Print the manual page of mist, or write the pages of all commands to a folder.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  mist man --output-dir ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Write mist.1, mist-chat.1 and so on to this folder, and nothing to stdout.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    output_dir: Option<PathBuf>,
}

/// Runs `mist man` for the commands as they are typed.
pub fn run(args: &ManArgs, command: Command, printer: &Printer) -> anyhow::Result<Status> {
    // What `mist help` prints is in the pages.
    let command = command.disable_help_subcommand(true);
    let mut command = command.mut_subcommands(|verb| verb.mut_args(with_possible_values));
    command.build();
    match &args.output_dir {
        None => printer.data(&page(&command, &command)?)?,
        Some(folder) => {
            let to = Folder::make(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            let pages = [&command].into_iter().chain(command.get_subcommands());
            let mut written = 0;
            for one in pages {
                let name = format!("{}.1", title(one));
                let page = page(one, &command)?;
                let new = Replacement::in_folder(&to, &name);
                let written_to = new.and_then(|new| new.finish_with(page.as_bytes()));
                written_to.with_context(|| format!("cannot write {}", to.join(name).display()))?;
                written += 1;
            }
            printer.note(&format!("Wrote {} to {}", counted(written, "page"), folder.display()));
        }
    }
    Ok(Status::Success)
}

/// Possible values within the text, as `--help` has them: in pages of its own clap_mangen gives each value a paragraph.
fn with_possible_values(arg: Arg) -> Arg {
    let values: Vec<String> = arg.get_possible_values().iter().map(|v| v.get_name().to_string()).collect();
    if values.is_empty() || arg.is_hide_possible_values_set() {
        return arg;
    }
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.help(format!("{help} [possible values: {}]", values.join(", "))).hide_possible_values(true)
}

/// `mist-chat`.
fn title(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// The page of `command`, of all commands under `root`.
fn page(command: &Command, root: &Command) -> io::Result<String> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    let (name, version) = (root.get_name(), root.get_version().unwrap_or_default());
    // By hand: clap_mangen leaves the date, which is empty, without quotes, so that the version takes its place.
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
        list("ENVIRONMENT", named(&ENVIRONMENT)).to_writer(&mut page)?;
        list("EXIT STATUS", named(&EXIT_STATUS)).to_writer(&mut page)?;
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// As `--help` has it: the page lists two dozen flags soon enough.
fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let rest = usage.strip_prefix(name).unwrap_or_default();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]).text([bold(name), roman(rest)]);
    roff
}

/// What follows the options in `--help`, line by line.
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

/// `mist-chat(1)`.
fn reference(command: &Command) -> Vec<Inline> {
    vec![bold(title(command)), roman("(1)")]
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn named<'a>(table: &'a [(&str, &str)]) -> impl Iterator<Item = (Vec<Inline>, String)> + 'a {
    table.iter().map(|(name, meaning)| (vec![italic(*name)], meaning.to_string()))
}

/// Terms, each with what it means.
fn list(heading: &str, entries: impl Iterator<Item = (Vec<Inline>, String)>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for (term, meaning) in entries {
        roff.control("TP", []).text(term).text([roman(meaning)]);
    }
    roff
}

/// The variables that a user may want to set.
const ENVIRONMENT: [(&str, &str); 11] = [
    (MIST_HOME, "Where models and conversions are kept; mist in the platform's folder for data by default."),
    (HF_TOKEN, "The hub's access token."),
    (HF_HOME, "The folder in which the hub's own tools have stored one."),
    (HF_HUB_CACHE, "The hub's own cache, which is only read; hub in HF_HOME by default."),
    (XDG_CACHE_HOME, "Where that lies if neither is set, in huggingface/hub; ~/.cache by default."),
    (HF_ENDPOINT, "A mirror of the hub; https://huggingface.co by default."),
    (HF_HUB_OFFLINE, "When 1, true, yes or on, nothing is fetched."),
    (NO_COLOR, "When set, no colour."),
    (
        MIST_CPU,
        "The CPU kernels to use: portable, neon, avx2, avxvnni, avx512 or amx; the best of them by default.",
    ),
    (
        XDG_STATE_HOME,
        "Where the chat's history and conversations are kept, in mist; ~/.local/state by default.",
    ),
    (LOCALAPPDATA, "The same on Windows."),
];

const EXIT_STATUS: [(&str, &str); 4] = [
    ("0", "Done; also where whoever read the output has closed it."),
    ("1", "It failed, and stderr says why."),
    ("2", "The call is wrong."),
    ("130", "Ended by Ctrl-C."),
];
