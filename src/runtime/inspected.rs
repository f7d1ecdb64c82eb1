//! Describes a checkpoint: its sizes, its weights, and its defaults for text.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::model::schemes;
use super::speech::Speech;
use crate::checkpoint::open::Checkpoint;
use crate::kernels::attention::CacheType;
use crate::quant::Scheme;

/// The description of a checkpoint that `mist inspect` prints.
#[derive(Debug)]
pub struct Inspected<'a> {
    checkpoint: &'a Checkpoint,
    speech: Speech,
    /// Number of positions for the size of the KV cache.
    positions: usize,
    /// Whether all weights were checked to be finite.
    pub is_finite: bool,
    /// Number of files whose hashes match those of the download; `None` if they were not compared.
    pub hashed_files: Option<usize>,
}

impl<'a> Inspected<'a> {
    /// Describes a checkpoint, with the size of a KV cache for `positions` (`None`: the model's context).
    pub fn new(checkpoint: &'a Checkpoint, speech: Speech, positions: Option<usize>) -> Self {
        let config = &checkpoint.config;
        let positions = positions.unwrap_or(config.context_length);
        let positions = config.window.unwrap_or(positions).min(positions);
        Self { checkpoint, speech, positions, is_finite: false, hashed_files: None }
    }

    /// Returns the bytes of the KV cache.
    fn cache(&self, cache: CacheType) -> u64 {
        let config = &self.checkpoint.config;
        let position = cache.position(config.key_value_heads, config.head_size);
        (self.positions as u64).saturating_mul((position * config.layers) as u64)
    }

    /// Returns the JSON object of `mist inspect --json`.
    pub fn as_json(&self) -> Value {
        let config = &self.checkpoint.config;
        let (total, active) = config.parameters();
        let schemes = schemes(self.checkpoint);
        let mut json = json!({
            "format": self.checkpoint.format.name(),
            "architecture": config.architecture,
            "parameters": total,
            "active_parameters": active,
            "weight_bytes": schemes.values().sum::<u64>(),
            "context_length": config.context_length,
            "cache_positions": self.positions,
            "cache_bytes_f32": self.cache(CacheType::F32),
            "cache_bytes_f16": self.cache(CacheType::F16),
            "scheme_bytes": schemes,
            "finite": self.is_finite.then_some(true),
            "hashed_files": self.hashed_files,
            "config": config,
        });
        json.as_object_mut().into_iter().for_each(|json| self.speech.add_to(json));
        json
    }

    /// Returns the description as names and values.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let config = &self.checkpoint.config;
        let (total, active) = config.parameters();
        let millions = |count: u64| format!("{:.2} M", count as f64 / 1e6);
        let active = if active == total { String::new() } else { format!(" ({} active)", millions(active)) };
        let schemes = schemes(self.checkpoint);
        let weights = HumanBytes(schemes.values().sum());
        let [f32, f16] = [CacheType::F32, CacheType::F16].map(|cache| HumanBytes(self.cache(cache)));
        let mut lines = vec![("format", self.checkpoint.format.name().to_string())];
        lines.extend(config.described());
        lines.push(("parameters", format!("{}{active}", millions(total))));
        lines.push(("weights", format!("{weights} ({})", shares(&schemes))));
        lines.push(("cache", format!("{f32} in f32, {f16} in f16, for {} positions", self.positions)));
        lines.extend(self.speech.lines());
        lines
    }
}

/// Lists schemes with their shares of the bytes, the largest first, such as `q4_k 82.0 %`.
pub(super) fn shares(schemes: &BTreeMap<Scheme, u64>) -> String {
    let total = schemes.values().sum::<u64>().max(1) as f64;
    let mut sorted: Vec<_> = schemes.iter().collect();
    sorted.sort_by_key(|(_, bytes)| Reverse(**bytes));
    let share =
        |(scheme, bytes): &(&Scheme, &u64)| format!("{scheme} {:.1} %", **bytes as f64 * 100.0 / total);
    sorted.iter().map(share).collect::<Vec<_>>().join(", ")
}
