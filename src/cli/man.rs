//! `mist man`: prints or writes the manual pages.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command, ValueHint};
use mist::system::environment;
use mist::system::files::{Folder, Replacement};
use mist::system::quote::counted;
use mist::terminal::{Printer, command};

use super::exit::{self, Status};

/// Print the manual page of mist, or write the pages of all commands to a folder.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  mist man --output-dir ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Write mist.1, mist-chat.1 and so on to this folder, and nothing to stdout.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    output_dir: Option<PathBuf>,
}

/// Runs `mist man` for the command tree `program`.
pub fn run(args: &ManArgs, program: Command, printer: &Printer) -> anyhow::Result<Status> {
    let sections: [command::Section; 2] =
        [("ENVIRONMENT", &environment::MANUAL), ("EXIT STATUS", &exit::MANUAL)];
    let pages = command::pages(program, &sections)?;
    let Some(folder) = &args.output_dir else {
        let (_, first) = &pages[0];
        printer.data(first)?;
        return Ok(Status::Success);
    };
    let to = Folder::make(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, page) in &pages {
        let written = Replacement::in_folder(&to, name).and_then(|new| new.finish_with(page.as_bytes()));
        written.with_context(|| format!("cannot write {}", to.join(name).display()))?;
    }
    printer.note(&format!("Wrote {} to {}", counted(pages.len(), "page"), folder.display()));
    Ok(Status::Success)
}
