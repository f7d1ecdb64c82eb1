//! `mist chat`: under construction.

use clap::Args;
use mist::terminal::Printer;

use super::exit::Status;

/// Talk to a model.
#[derive(Args, Debug)]
pub struct ChatArgs {}

/// Runs `mist chat`.
pub fn run(_args: &ChatArgs, _printer: &Printer) -> anyhow::Result<Status> {
    Err(super::model::not_yet("chat"))
}
