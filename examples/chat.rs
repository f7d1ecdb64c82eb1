//! Holds a conversation with one turn per argument:
//! `cargo run --release --example chat -- ORG/NAME "How many days are there in a week?" "And in a year?"`
#![allow(clippy::print_stderr)]

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::anyhow;
use mist::{Error, Model, Options};

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
    let turns = arguments.map(|turn| turn.into_string().map_err(|_| anyhow!("a turn is not UTF-8")));
    let mut turns: Vec<String> = turns.collect::<Result<_, _>>()?;
    if turns.is_empty() {
        turns.push("How many days are there in a week?".into());
    }

    let model = Model::open(name)?;
    let options = Options { max_new_tokens: Some(100), ..Options::default() };
    let mut chat = model.chat().system("Be brief.").options(options);
    let mut out = stdout();
    for text in turns {
        writeln!(out, "> {text}")?;
        // The KV cache holds the earlier turns, so that each turn computes only its new tokens.
        for piece in chat.stream(&text)? {
            write!(out, "{}", piece?)?;
            out.flush()?;
        }
        writeln!(out)?;
    }
    Ok(())
}
