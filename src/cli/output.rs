//! Prints lines about a generation to stderr.

use indicatif::HumanBytes;
use mist::checkpoint::open::Checkpoint;
use mist::generate::Timings;
use mist::placement;
use mist::terminal::Printer;

/// Prints the bytes that a token reads, for a mixture of experts and for weights that are read from the disk.
pub fn note_reading(checkpoint: &Checkpoint, disk_a_token: Option<f64>, printer: &Printer) {
    let disk = disk_a_token.filter(|bytes| *bytes >= 1.0);
    if checkpoint.config.experts.is_none() && disk.is_none() {
        return;
    }
    let weights = HumanBytes(placement::bytes_per_token(checkpoint));
    let disk =
        disk.map_or(String::new(), |bytes| format!(", {} of them from the disk", HumanBytes(bytes as u64)));
    printer.note(&format!("A token reads {weights} of weights{disk}."));
}

/// Prints the speed of a generation, unless it was interrupted during prefill.
pub fn note_timings(timings: &Timings, printer: &Printer) {
    if timings.prompt_tokens > 0 {
        printer.note(&timings.to_string());
    }
}
