//! The sampling settings of `generate`, `generate-sequential` and `chat`: from flags, else from the model's publishers,
//! else defaults.

use clap::Args;
use mist::checkpoint::open::Checkpoint;
use mist::generate::{Sampling, SamplingError};
use mist::runtime;
use mist::system::numbers::{at_least, number};
use mist::terminal::Printer;

/// The flags for sampling.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArgs {
    /// 0 takes the most likely token; higher is more varied [default: the model's own, else 0.8].
    #[arg(long, allow_negative_numbers = true, value_parser = number)]
    temperature: Option<f32>,
    /// Choose among the K most likely tokens, 0 for all [default: the model's own, else 50].
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = at_least(0usize))]
    top_k: Option<usize>,
    /// Choose among the most likely tokens whose probabilities reach P [default: the model's own, else 1].
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = number)]
    top_p: Option<f32>,
    /// Exclude tokens less than P times as likely as the most likely token [default: the model's own, else 0].
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = number, hide_short_help = true)]
    min_p: Option<f32>,
    /// Make tokens that occurred less likely, 1 for no change [default: the model's own, else 1].
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = number, hide_short_help = true)]
    repeat_penalty: Option<f32>,
    /// Seed of the random numbers; each further text has the next seed [default: random, and printed].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least(0u64))]
    seed: Option<u64>,
}

impl SamplingArgs {
    /// Checks the flags before a model is opened.
    pub fn check(&self) -> anyhow::Result<()> {
        Ok(self.over(Sampling::default()).check().map_err(as_typed)?)
    }

    /// Returns the sampling settings for a model. Ignores invalid suggestions of its publishers, with a warning unless a
    /// flag overrides them.
    pub fn sampling(&self, checkpoint: &Checkpoint, printer: &Printer) -> anyhow::Result<Sampling> {
        let is_typed = |field: &str| match field {
            "temperature" => self.temperature.is_some(),
            "top_k" => self.top_k.is_some(),
            "top_p" => self.top_p.is_some(),
            "min_p" => self.min_p.is_some(),
            _ => self.repeat_penalty.is_some(),
        };
        let (suggested, passed_over) = runtime::suggested_sampling(&checkpoint.suggestions, &is_typed);
        passed_over.iter().for_each(|line| printer.warn(line));
        let sampling = self.over(suggested);
        sampling.check().map_err(as_typed)?;
        Ok(sampling)
    }

    /// Returns the settings with the values of flags in place of `others`.
    fn over(&self, others: Sampling) -> Sampling {
        Sampling {
            temperature: self.temperature.unwrap_or(others.temperature),
            top_k: self.top_k.unwrap_or(others.top_k),
            top_p: self.top_p.unwrap_or(others.top_p),
            min_p: self.min_p.unwrap_or(others.min_p),
            repeat_penalty: self.repeat_penalty.unwrap_or(others.repeat_penalty),
        }
    }

    /// Returns the seed. Without a flag draws one, and prints it if sampling is random.
    pub fn seed(&self, sampling: &Sampling, printer: &Printer) -> u64 {
        self.seed.unwrap_or_else(|| {
            let seed = mist::runtime::random_seed();
            if sampling.temperature > 0.0 {
                printer.note(&format!("Seed: {seed}"));
            }
            seed
        })
    }
}

/// Adds the name of the flag to an error.
fn as_typed(error: SamplingError) -> SamplingError {
    error.called(|field| format!("--{}", field.replace('_', "-")))
}
