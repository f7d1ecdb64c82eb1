//! Measures the perplexity of a model on a text:
//! `cargo run --release --example perplexity -- ORG/NAME TEXT.txt`
#![allow(clippy::print_stderr, clippy::disallowed_methods)]

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use mist::{Error, Model};

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
    let text = match arguments.next() {
        Some(file) => {
            let file = Path::new(&file);
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
        }
        None => "The lighthouse keeper wrote down the weather every evening.".into(),
    };

    let likelihood = Model::open(name)?.perplexity(&text)?;
    writeln!(stdout(), "perplexity {:.4} over {} tokens", likelihood.perplexity(), likelihood.scored)?;
    Ok(())
}
