//! The result of measuring a model's speed, compared with the machine's memory bandwidth.

use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::inspected::shares;
use super::model::{Model, most, schemes};
use crate::bench::{Rates, ReadRate, Work};
use crate::checkpoint::open::Checkpoint;
use crate::cpu::{self, pool};
use crate::placement;
use crate::quant::Scheme;
use crate::system::quote::counted;

/// The result of measuring a model's speed.
#[derive(Debug)]
pub struct Measured {
    /// The model.
    pub model: Model,
    /// The measured work.
    pub work: Work,
    /// Number of measurements of each part.
    pub repetitions: u16,
    /// Whether the weights are multiplied as they are stored.
    pub as_stored: bool,
    /// Rates of prefill; `None` without a prompt.
    pub prompt: Option<Rates>,
    /// Rates of decoding; `None` if nothing was generated.
    pub generate: Option<Rates>,
    /// The memory bandwidth for reading; `None` if the CPU does not compute.
    pub read: Option<ReadRate>,
    /// Peak memory in bytes; `None` if the system does not report it.
    pub peak_memory: Option<u64>,
    /// Fraction of the memory-mapped weights that is in large pages.
    pub large_pages: Option<f64>,
}

impl Measured {
    fn checkpoint(&self) -> &Checkpoint {
        self.model.checkpoint()
    }

    /// Returns the bytes of keys and values that a generated token reads.
    pub fn cache_bytes(&self) -> f64 {
        let config = &self.checkpoint().config;
        let position = self.model.cache_dtype().position(config.key_value_heads, config.head_size);
        self.work.positions_seen(config.window) * (position * config.layers) as f64
    }

    /// Returns the bytes of weights that a generated token reads, which the sequences of a step share.
    ///
    /// `None` if weights are not read as they are stored, or if the sequences may choose different experts.
    fn weights_bytes(&self) -> Option<f64> {
        let shares_experts = self.work.sequences > 1 && self.checkpoint().config.experts.is_some();
        if shares_experts || !self.as_stored {
            return None;
        }
        let steps = self.work.steps(self.model.transformer().devices()) as f64;
        Some(placement::bytes_per_token(self.checkpoint()) as f64 * steps / self.work.sequences as f64)
    }

    /// Returns the bytes of weights and KV caches that decoding reads per second.
    pub fn effective_bandwidth(&self) -> Option<f64> {
        Some((self.weights_bytes()? + self.cache_bytes()) * self.generate.as_ref()?.median())
    }

    /// Returns the effective bandwidth as a fraction of the memory bandwidth.
    pub fn bandwidth_share(&self) -> Option<f64> {
        Some(self.effective_bandwidth()? / self.read?.median)
    }

    /// Returns the bandwidth of reading weights alone as a fraction of the memory bandwidth.
    pub fn weights_share(&self) -> Option<f64> {
        Some(self.weights_bytes()? * self.generate.as_ref()?.median() / self.read?.median)
    }

    /// Returns the name of the CPU kernels; `None` if the CPU does not compute.
    pub fn kernels(&self) -> Option<&'static str> {
        self.model.is_on_host().then(|| cpu::level().name())
    }

    /// Headings of [`rows`](Self::rows).
    pub const HEADINGS: [&str; 5] = ["", "tokens/s", "GB/s", "of reading", "weights alone"];

    /// Returns a table row for each measured part.
    pub fn rows(&self) -> Vec<[String; 5]> {
        let gigabytes = |bytes: Option<f64>| bytes.map_or(String::new(), |b| format!("{:.2}", b / 1e9));
        let in_percent = |share: Option<f64>| share.map_or(String::new(), percent);
        let rate = |rates: &Rates| match rates.deviation() {
            Some(deviation) => format!("{:.2} ± {deviation:.2}", rates.mean()),
            None => format!("{:.2}", rates.mean()),
        };
        let row = |name: String, rates: Option<&Rates>, bytes, shares: [Option<f64>; 2]| {
            let [all, weights] = shares.map(in_percent);
            [name, rates.map_or(String::new(), rate), gigabytes(bytes), all, weights]
        };
        let prompt = self
            .prompt
            .as_ref()
            .map(|rates| row(format!("prompt of {}", self.work.prompt_tokens), Some(rates), None, [None; 2]));
        let generate = self.generate.as_ref().map(|rates| {
            let shares = [self.bandwidth_share(), self.weights_share()];
            let name = format!("generating {}", self.work.generate_tokens);
            row(name, Some(rates), self.effective_bandwidth(), shares)
        });
        let read = self.read.map(|read| row("reading memory".into(), None, Some(read.median), [None; 2]));
        [prompt, generate, read].into_iter().flatten().collect()
    }

    /// Returns two lines about the measured model: devices, kernels and types; sizes and the time to load.
    pub fn lines(&self) -> [String; 2] {
        let (model, weights) = (&self.model, shares(&schemes(self.checkpoint())));
        let threads = counted(pool::threads(), "thread");
        let kernels = self.kernels().map_or(String::new(), |name| format!("{threads}, {name} kernels; "));
        let activations =
            model.activations().map_or(String::new(), |bits| format!("activations {bits} bits; "));
        let (devices, cache) = (model.devices(), model.cache_dtype().name());
        let bytes = HumanBytes(placement::bytes_per_token(self.checkpoint()));
        let peak = self.peak_memory.map_or(String::new(), |peak| {
            format!("; at most {} of memory beside mapped weights", HumanBytes(peak))
        });
        let large = self
            .large_pages
            .map_or(String::new(), |share| format!(", {} of which in large pages", percent(share)));
        let load = model.load_seconds();
        [
            format!("On {devices}: {kernels}weights {weights}; {activations}cache {cache}"),
            format!("A token reads {bytes} of weights. Loaded in {load:.2} s{peak}{large}"),
        ]
    }

    /// Returns the JSON object of `mist bench --json`.
    pub fn as_json(&self) -> Value {
        json!({
            "prompt_tokens_per_second": self.prompt.as_ref().map(rates),
            "generate_tokens_per_second": self.generate.as_ref().map(rates),
            "load_seconds": self.model.load_seconds(),
            "weights_bytes_per_token": placement::bytes_per_token(self.checkpoint()),
            "cache_bytes_per_token": self.generate.as_ref().map(|_| self.cache_bytes()),
            "effective_bandwidth_bytes_per_second": self.effective_bandwidth(),
            "read_bandwidth_bytes_per_second": self.read.map(|read| read.median),
            "best_read_bandwidth_bytes_per_second": self.read.map(|read| read.best),
            "bandwidth_share": self.bandwidth_share(),
            "weights_share": self.weights_share(),
            "peak_memory_bytes": self.peak_memory,
            "large_pages_share": self.large_pages,
            "device": self.model.devices(),
            "threads": pool::threads(),
            "kernels": self.kernels(),
            "scheme": most(self.checkpoint()).map(Scheme::name),
            "cache_dtype": self.model.cache_dtype().name(),
            "activations": self.model.activations(),
            "prompt_tokens": self.work.prompt_tokens,
            "generate_tokens": self.work.generate_tokens,
            "depth": self.work.depth,
            "sequences": self.work.sequences,
            "repetitions": self.repetitions,
        })
    }
}

fn rates(rates: &Rates) -> Value {
    json!({
        "mean": rates.mean(),
        "median": rates.median(),
        "stddev": rates.deviation(),
        "samples": rates.samples(),
    })
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
