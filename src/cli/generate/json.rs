//! The JSON object of a text, with all settings that the text depends on.

use mist::generate::Generation;
use mist::placement;
use mist::runtime::{Quantize, weights};
use serde_json::json;

use super::job::{Job, Text};
use super::prompts::Prompt;

impl Job<'_> {
    /// Returns the settings that a text depends on, besides the model and the prompt.
    fn settings(&self) -> serde_json::Value {
        let mut settings = self.options.sampling.clone().unwrap_or_default().as_json();
        settings["stop"] = json!(self.args.stop);
        settings["max_new_tokens"] = json!(self.args.max_new_tokens);
        settings["ignore_eos"] = json!(self.args.ignore_eos);
        settings["chat"] = json!(self.args.chat);
        settings["context_length"] = json!(self.model.context_length());
        settings["cache_dtype"] = json!(self.model.cache_dtype().name());
        settings["dtype"] = json!(self.model.dtype().name());
        settings["activations"] = json!(self.model.activations());
        settings
    }

    /// Returns the JSON object of a text: the flags that generate it again, and the result.
    ///
    /// `model` is a value for `--checkpoint-dir`, `device` for `--devices`, and so on. null stands for an omitted flag.
    pub fn json(
        &self,
        prompt: &Prompt,
        Text { sample, seed }: Text,
        generation: &Generation,
        text: &str,
        disk: Option<f64>,
    ) -> serde_json::Value {
        let (model, timings) = (&self.model, &generation.timings);
        let devices: Vec<String> = model.shares().iter().map(|share| share.device.to_string()).collect();
        let layers: Vec<usize> = model.shares().iter().map(|share| share.layers.len()).collect();
        json!({
            "model": model.name(),
            "quantization": Quantize::again(self.args.model.quantize, model.checkpoint()),
            "weights": weights(model.checkpoint()),
            "device": devices.join(","),
            "split": layers,
            "prompt": prompt.text,
            "seed": seed,
            "sample": sample,
            "prompt_ids": prompt.ids,
            "output_ids": generation.ids,
            "text": text,
            "finish_reason": generation.finish.name(),
            "timings": {
                "load_seconds": model.load_seconds(),
                "prompt_tokens_per_second": timings.prompt_rate(),
                "generate_tokens_per_second": timings.generate_rate(),
                "time_to_first_token_seconds": timings.first_token.as_secs_f64(),
            },
            "peak_memory_bytes": self.memory.bytes(),
            "sampling": self.settings(),
            "weights_bytes_per_token": placement::bytes_per_token(model.checkpoint()),
            "disk_bytes_per_token": disk,
        })
    }
}
