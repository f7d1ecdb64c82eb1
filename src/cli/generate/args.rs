//! The flags of `mist generate` and `mist generate-sequential`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use mist::runtime::NEW_TOKENS;
use mist::system::numbers::at_least;

use crate::cli::model::{ContextArgs, ModelArgs};
use crate::cli::sampling::SamplingArgs;

/// Generate text from a prompt.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  mist generate mistralai/Mistral-7B-v0.1 -p \"My name is\"")]
pub struct GenerateArgs {
    /// Print the plan (layers, bytes of weights and cache of each device) and stop.
    #[arg(long, help_heading = "Devices")]
    pub plan: bool,
    /// The text to continue [default: a pipe, or on a terminal "What food do llamas eat?"].
    ///
    /// - or a pipe is read to its end; its last newline is removed.
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// A file with one prompt per line, which are computed together; their texts are printed in order. The text of a
    /// blank line is empty.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "prompt")]
    pub prompts_file: Option<PathBuf>,
    /// Maximum number of tokens to generate.
    #[arg(short = 'n', long, value_name = "N", default_value_t = NEW_TOKENS, value_parser = at_least(0usize))]
    pub max_new_tokens: usize,
    /// End before this text, or at the control token that it spells; may be given several times.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = "Sampling")]
    pub stop: Vec<String>,
    /// Continue after an end token.
    #[arg(long, hide_short_help = true, help_heading = "Sampling")]
    pub ignore_eos: bool,
    /// How many texts to generate from each prompt.
    #[arg(long, help_heading = "Sampling", value_name = "N", default_value_t = 1, value_parser = at_least(1u32))]
    pub num_samples: u32,
    /// A line between texts [default: --- on a terminal, none in a pipe].
    #[arg(long, help_heading = "Output", value_name = "TEXT", allow_hyphen_values = true, conflicts_with_all = ["null", "json"])]
    pub separator: Option<String>,
    /// End each text with a NUL byte, not with a newline.
    #[arg(short = '0', long, help_heading = "Output", conflicts_with = "json")]
    pub null: bool,
    /// Print the prompt before the text.
    #[arg(long, help_heading = "Output")]
    pub echo: bool,
    /// Put the prompt into the model's chat format, as the user's message.
    #[arg(long)]
    pub chat: bool,
    /// Print one JSON object per text, with the settings to generate it again; --seed with its seed generates it alone.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub context: ContextArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
}
