//! Measures the perplexity of a model on a text:
//! `cargo run --release --example perplexity -- ORG/NAME TEXT.txt`
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use mist::Model;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "examples/data/tiny-mistral".into());
    let text = match arguments.next() {
        Some(file) => std::fs::read_to_string(file)?,
        None => "The lighthouse keeper wrote down the weather every evening.".into(),
    };

    let likelihood = Model::open(name)?.perplexity(&text)?;
    println!("perplexity {:.4} over {} tokens", likelihood.perplexity(), likelihood.scored);
    Ok(())
}
