//! Text as it is generated: whole characters, and nothing of a stop text.

use crate::text::Detokenizer;

/// Turns ids into text that can be shown at once. A character or a stop text may run over several tokens: what
/// may still become part of one is held back.
#[derive(Debug)]
pub struct TextStream {
    detokenizer: Detokenizer,
    stops: Stops,
}

impl TextStream {
    /// A stream that ends before the first of `stops`; empty ones are left out.
    pub fn new(detokenizer: Detokenizer, stops: &[String]) -> Self {
        let texts = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { detokenizer, stops: Stops { texts, held: String::new(), found: false } }
    }

    /// The text that `id` completes.
    pub fn push(&mut self, id: u32) -> String {
        self.stops.release(self.detokenizer.push(id))
    }

    /// Whether a stop text was found: nothing more comes.
    pub fn stopped(&self) -> bool {
        self.stops.found
    }

    /// What was held back, when no more ids come.
    pub fn finish(&mut self) -> String {
        let mut shown = self.stops.release(self.detokenizer.flush());
        if !self.stops.found {
            shown.push_str(&std::mem::take(&mut self.stops.held));
        }
        shown
    }
}

/// The stop texts, and the end of the text that may become one.
#[derive(Debug)]
struct Stops {
    texts: Vec<String>,
    held: String,
    found: bool,
}

impl Stops {
    /// Adds `text` to what is held, and gives what can no longer be part of a stop text.
    fn release(&mut self, text: &str) -> String {
        if self.found {
            return String::new();
        }
        self.held.push_str(text);
        if let Some(at) = self.texts.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.found = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let kept = self.texts.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        std::mem::replace(&mut self.held, rest)
    }
}

/// Bytes at the end of `text` that begin `stop`, all of it excepted.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len().saturating_sub(1));
    (1..=longest).rev().find(|n| text.as_bytes().ends_with(&stop.as_bytes()[..*n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stops(texts: &[&str]) -> Stops {
        let texts = texts.iter().map(|t| t.to_string()).collect();
        Stops { texts, held: String::new(), found: false }
    }

    #[test]
    fn what_may_become_a_stop_text_is_held_until_it_cannot() {
        let mut stops = stops(&["###", "\nUser:"]);
        assert_eq!(stops.release("a#"), "a");
        assert_eq!(stops.release("#b\nUs"), "##b");
        assert_eq!(stops.release("es"), "\nUses");
        assert_eq!(stops.release("\nUser"), "");
        assert_eq!(stops.release(": x"), "");
        assert!(stops.found);
        assert_eq!(stops.release("more"), "");
    }

    proptest! {
        #[test]
        fn however_a_text_is_cut_it_ends_before_the_first_stop(text in "[abé]{0,20}", stop in "[abé]{1,4}", cuts in proptest::collection::vec(1usize..4, 20)) {
            let mut stops = stops(&[&stop]);
            let mut shown = String::new();
            let mut rest: Vec<char> = text.chars().collect();
            for cut in cuts {
                let piece: String = rest.drain(..cut.min(rest.len())).collect();
                shown.push_str(&stops.release(&piece));
            }
            prop_assert!(rest.is_empty());
            if !stops.found {
                shown.push_str(&stops.held);
            }
            prop_assert_eq!(&shown, text.split(&stop).next().unwrap_or_default());
        }
    }
}
