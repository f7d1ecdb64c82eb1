//! Holds a conversation with one turn per argument:
//! `cargo run --release --example chat -- ORG/NAME "How many days are there in a week?" "And in a year?"`
#![allow(clippy::print_stdout)]

use std::io::{Write, stdout};

use mist::{Model, Options};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "examples/data/tiny-mistral".into());
    let mut turns: Vec<String> = arguments.collect();
    if turns.is_empty() {
        turns.push("How many days are there in a week?".into());
    }

    let model = Model::open(name)?;
    let options = Options { max_new_tokens: Some(100), ..Options::default() };
    let mut chat = model.chat().system("Be brief.").options(options);
    for text in turns {
        println!("> {text}");
        // The KV cache holds the earlier turns, so that each turn computes only its new tokens.
        for piece in chat.stream(&text)? {
            print!("{}", piece?);
            stdout().flush()?;
        }
        println!();
    }
    Ok(())
}
