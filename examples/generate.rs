//! Continues a prompt and prints the text piece by piece:
//! `cargo run --release --example generate -- ORG/NAME "Hello, my name is"`
#![allow(clippy::print_stderr)]

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::anyhow;
use mist::{Error, Model, Sampling};

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("error: {error:#}");
    if let Some(hint) = error.downcast_ref::<Error>().and_then(Error::hint) {
        eprintln!("hint: {hint}");
    }
    ExitCode::FAILURE
}

fn run() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let name = arguments.next().unwrap_or_else(|| "examples/data/tiny-mistral".into());
    let prompt = arguments.next().unwrap_or_else(|| "Hello, my name is".into());
    let prompt = prompt.into_string().map_err(|_| anyhow!("the prompt is not UTF-8"))?;

    let model = Model::open(name)?;
    let mut out = stdout();
    write!(out, "{prompt}")?;
    for piece in model.generate(&prompt, Sampling::greedy())? {
        write!(out, "{}", piece?)?;
        out.flush()?;
    }
    writeln!(out)?;
    Ok(())
}
