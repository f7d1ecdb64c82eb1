//! Streams generated text in whole characters, without stop texts.

use crate::text::Detokenizer;

/// Converts ids to text that can be shown immediately. A character or a stop text may span several tokens, so text that
/// may still become part of one is held back.
#[derive(Debug)]
pub struct TextStream {
    detokenizer: Detokenizer,
    stops: Stops,
}

impl TextStream {
    /// Creates a stream that ends before the first of `stops`; empty stop texts are ignored.
    pub fn new(detokenizer: Detokenizer, stops: &[String]) -> Self {
        let texts = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { detokenizer, stops: Stops::new(texts) }
    }

    /// Adds a token, and returns the text that it completes.
    pub fn push(&mut self, id: u32) -> &str {
        self.stops.release(self.detokenizer.push(id))
    }

    /// Returns whether a stop text was found. No more text is returned after it.
    pub fn stopped(&self) -> bool {
        self.stops.found
    }

    /// Returns the text that was held back, after the last id.
    pub fn finish(&mut self) -> &str {
        self.stops.release(self.detokenizer.flush());
        self.stops.all()
    }
}

/// Finds stop texts, and holds back the end of the text that may become one.
#[derive(Debug)]
struct Stops {
    texts: Vec<String>,
    /// The last released text, followed by the text that is held back.
    held: String,
    released: usize,
    found: bool,
}

impl Stops {
    fn new(texts: Vec<String>) -> Self {
        Self { texts, held: String::new(), released: 0, found: false }
    }

    /// Adds `text`, and returns the text that can no longer be part of a stop text.
    fn release(&mut self, text: &str) -> &str {
        self.held.drain(..self.released);
        self.released = 0;
        if self.found {
            return "";
        }
        self.held.push_str(text);
        if let Some(at) = self.texts.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.found = true;
            self.held.truncate(at);
            return self.all();
        }
        let kept = self.texts.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        self.released = self.held.len() - kept;
        &self.held[..self.released]
    }

    /// Releases the held text; returns it after the last released text.
    fn all(&mut self) -> &str {
        self.released = self.held.len();
        &self.held
    }
}

/// Returns the length in bytes of the longest end of `text` that is a proper beginning of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len().saturating_sub(1));
    (1..=longest).rev().find(|n| text.as_bytes().ends_with(&stop.as_bytes()[..*n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stops(texts: &[&str]) -> Stops {
        Stops::new(texts.iter().map(|t| t.to_string()).collect())
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
                shown.push_str(stops.release(&piece));
            }
            prop_assert!(rest.is_empty());
            stops.release("");
            shown.push_str(stops.all());
            prop_assert_eq!(&shown, text.split(&stop).next().unwrap_or_default());
        }
    }
}
