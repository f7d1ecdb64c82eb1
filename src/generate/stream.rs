//! Text as it is generated: whole characters, and nothing of a stop text.

use crate::text::Detokenizer;

/// Turns ids into text that can be shown at once. A character or a stop text may run over several tokens: what
/// may still become part of one is held back.
#[derive(Debug)]
pub struct TextStream {
    detokenizer: Detokenizer,
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl TextStream {
    /// A stream that ends before the first of `stops`; empty ones are left out.
    pub fn new(detokenizer: Detokenizer, stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { detokenizer, stops, held: String::new(), stopped: false }
    }

    /// The text that `id` completes.
    pub fn push(&mut self, id: u32) -> String {
        let text = self.detokenizer.push(id);
        self.release(&text)
    }

    /// Whether a stop text was found: nothing more comes.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// What was held back, when no more ids come.
    pub fn finish(&mut self) -> String {
        let text = self.detokenizer.flush();
        let mut shown = self.release(&text);
        if !self.stopped {
            shown.push_str(&std::mem::take(&mut self.held));
        }
        shown
    }

    /// Adds `text` to what is held, and gives what can no longer be part of a stop text.
    fn release(&mut self, text: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let kept = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        std::mem::replace(&mut self.held, rest)
    }
}

/// Bytes at the end of `text` that begin `stop`, all of it excepted.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len().saturating_sub(1));
    (1..=longest).rev().find(|n| text.as_bytes().ends_with(&stop.as_bytes()[..*n])).unwrap_or(0)
}
