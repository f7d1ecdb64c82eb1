//! Formats the timings of a generation.

use std::fmt;

use super::request::Timings;
use crate::system::quote::counted;

impl fmt::Display for Timings {
    /// Writes one line, without rates that are unknown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = |count, rate: Option<f64>| {
            let rate = rate.map_or(String::new(), |rate| format!(", {}", per_second(rate)));
            format!("{}{rate}", counted(count, "token"))
        };
        let cached = more_in_cache(self.cached_tokens);
        let first = match self.generated_tokens {
            0 => String::new(),
            _ => format!(" First token after {:.2} s.", self.first_token.as_secs_f64()),
        };
        write!(
            f,
            "Prompt: {}{cached}. Generated: {}.{first}",
            tokens(self.prompt_tokens, self.prompt_rate()),
            tokens(self.generated_tokens, self.generate_rate()),
        )
    }
}

/// Formats the number of prompt tokens that were in the cache, to follow that of the computed ones; empty for 0.
pub fn more_in_cache(tokens: usize) -> String {
    match tokens {
        0 => String::new(),
        _ => format!(" ({tokens} more in the cache)"),
    }
}

/// Formats a rate in tokens per second; below 0.05, where two decimals are imprecise, as seconds per token.
pub fn per_second(rate: f64) -> String {
    match rate < 0.05 {
        true => format!("{:.0} s a token", 1.0 / rate),
        false => format!("{rate:.2} tokens/s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_of_nothing_are_not_shown() {
        let timings = |prompt_tokens, cached_tokens, generated_tokens| Timings {
            prompt_tokens,
            cached_tokens,
            prompt: Duration::from_secs(2),
            generated_tokens,
            generate: Duration::from_secs(if generated_tokens == 1 { 0 } else { 4 }),
            first_token: Duration::from_secs(3),
        };
        let line = |prompt, cached, generated| timings(prompt, cached, generated).to_string();
        let rest = "Generated: 9 tokens, 2.00 tokens/s. First token after 3.00 s.";
        assert_eq!(line(4, 0, 9), format!("Prompt: 4 tokens, 2.00 tokens/s. {rest}"));
        assert_eq!(line(1, 7, 9), format!("Prompt: 1 token, 0.50 tokens/s (7 more in the cache). {rest}"));
        let prompt = "Prompt: 4 tokens, 2.00 tokens/s.";
        assert_eq!(line(4, 0, 1), format!("{prompt} Generated: 1 token. First token after 3.00 s."));
        assert_eq!(line(4, 0, 0), format!("{prompt} Generated: 0 tokens."));
        let at_once = Timings { prompt: Duration::ZERO, ..timings(4, 0, 0) };
        assert_eq!(at_once.to_string(), "Prompt: 4 tokens. Generated: 0 tokens.");
    }

    #[test]
    fn a_slow_rate_is_not_rounded_to_nothing() {
        let rates = [123.456, 0.05, 0.004].map(per_second);
        assert_eq!(rates, ["123.46 tokens/s", "0.05 tokens/s", "250 s a token"]);
    }
}
