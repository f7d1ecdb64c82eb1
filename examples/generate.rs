//! Continues a prompt and prints the text piece by piece:
//! `cargo run --release --example generate -- ORG/NAME "Hello, my name is"`
#![allow(clippy::print_stdout)]

use std::io::{Write, stdout};

use mist::{Model, Sampling};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "examples/data/tiny-mistral".into());
    let prompt = arguments.next().unwrap_or_else(|| "Hello, my name is".into());

    let model = Model::open(name)?;
    print!("{prompt}");
    for piece in model.generate(&prompt, Sampling::greedy())? {
        print!("{}", piece?);
        stdout().flush()?;
    }
    println!();
    Ok(())
}
