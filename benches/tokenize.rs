//! Measures encoding against the `tokenizers` crate: `cargo bench --bench tokenize -- TEXT FOLDER…`.
//!
//! Each folder's tokenizer encodes the file TEXT. The crate encodes it with a `tokenizer.json` that is generated
//! from the same tokenizer. Rounds alternate between the two, in one thread. The bench prints the MB/s of both as
//! mean and standard deviation of five rounds after a warm-up, the mean ratio within a round, and whether the ids
//! are equal. The crate merges by pairs where SentencePiece merges by scores, so ids may differ in runs of spaces.
#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use mist::text::Tokenizer;

const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let Some((file, folders)) = arguments.split_first() else {
        return say("usage: cargo bench --bench tokenize -- TEXT FOLDER…");
    };
    let text = std::fs::read_to_string(file)?;
    for folder in folders {
        compare(Path::new(folder), &text)?;
    }
    Ok(())
}

fn compare(folder: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    let ours = Tokenizer::from_folder(folder)?;
    let json = ours.files()?.into_iter().find(|(name, _)| name == "tokenizer.json");
    let (_, json) = json.ok_or("no tokenizer.json was made")?;
    let mut crates = tokenizers::Tokenizer::from_bytes(json).map_err(|error| error.to_string())?;
    crates.set_encode_special_tokens(true);

    let (mut mine, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut equal = true;
    for round in 0..=ROUNDS {
        let start = Instant::now();
        let ids = ours.encode(text, false)?;
        let first = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let other = crates.encode_fast(text, false).map_err(|error| error.to_string())?;
        let second = start.elapsed().as_secs_f64();
        equal &= ids == other.get_ids();
        if round > 0 {
            mine.push(text.len() as f64 / 1e6 / first);
            theirs.push(text.len() as f64 / 1e6 / second);
            ratios.push(second / first);
        }
    }
    let shown = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64;
        format!("{mean:.1} ± {:.1}", variance.sqrt())
    };
    say(&format!(
        "{}: mist {} MB/s, tokenizers {} MB/s, ratio {}, ids {}",
        folder.display(),
        shown(&mine),
        shown(&theirs),
        shown(&ratios),
        if equal { "equal" } else { "differ" },
    ))
}

fn say(line: &str) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
