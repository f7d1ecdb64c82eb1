//! The control tokens of a vocabulary: finding them in a text that code wrote.

use std::collections::HashMap;

/// One control token.
#[derive(Clone, Debug)]
pub(super) struct Control {
    pub(super) spelling: String,
    pub(super) id: u32,
    /// White space before (after) it belongs to it.
    pub(super) takes_left: bool,
    pub(super) takes_right: bool,
}

/// A stretch of a rendered conversation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'text> {
    Text(&'text str),
    Control(u32),
}

#[derive(Debug, Default)]
pub(super) struct Controls {
    /// By first character, longest first: the longest spelling at a place is the one that counts.
    by_first: HashMap<char, Vec<Control>>,
    ids: HashMap<u32, String>,
}

impl Controls {
    pub(super) fn new(controls: impl IntoIterator<Item = Control>) -> Self {
        let mut all = Self::default();
        for control in controls {
            if let Some(first) = control.spelling.chars().next() {
                all.ids.insert(control.id, control.spelling.clone());
                all.by_first.entry(first).or_default().push(control);
            }
        }
        for controls in all.by_first.values_mut() {
            controls.sort_by_key(|control| std::cmp::Reverse(control.spelling.len()));
        }
        all
    }

    /// The spelling of a control token.
    pub(super) fn spelling(&self, id: u32) -> Option<&str> {
        self.ids.get(&id).map(String::as_str)
    }

    /// The longest control token that `text` begins with.
    pub(super) fn at(&self, text: &str) -> Option<&Control> {
        let candidates = self.by_first.get(&text.chars().next()?)?;
        candidates.iter().find(|control| text.starts_with(&control.spelling))
    }

    /// `text` cut at its control tokens, the leftmost first, the longest where several begin.
    pub(super) fn cut<'text>(&self, text: &'text str) -> Vec<Part<'text>> {
        let mut parts = Vec::new();
        let (mut start, mut here) = (0, 0);
        while let Some(character) = text[here..].chars().next() {
            let Some(control) = self.at(&text[here..]) else {
                here += character.len_utf8();
                continue;
            };
            let before = &text[start..here];
            let before = if control.takes_left { before.trim_end() } else { before };
            if !before.is_empty() {
                parts.push(Part::Text(before));
            }
            parts.push(Part::Control(control.id));
            here += control.spelling.len();
            if control.takes_right {
                here = text.len() - text[here..].trim_start().len();
            }
            start = here;
        }
        if start < text.len() {
            parts.push(Part::Text(&text[start..]));
        }
        parts
    }

    /// Control tokens with the ids 0, 1 and so on, which take no white space.
    #[cfg(test)]
    pub(super) fn plain(spellings: &[&str]) -> Self {
        Self::new(spellings.iter().zip(0..).map(|(spelling, id)| Control {
            spelling: (*spelling).to_owned(),
            id,
            takes_left: false,
            takes_right: false,
        }))
    }

    /// All spellings.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.ids.values().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_takes_the_leftmost_and_there_the_longest() {
        let controls = Controls::plain(&["<s", "<s>", "</s>", "é"]);
        assert_eq!(
            controls.cut("a<s>b<sé</s>"),
            [
                Part::Text("a"),
                Part::Control(1),
                Part::Text("b"),
                Part::Control(0),
                Part::Control(3),
                Part::Control(2)
            ]
        );
        assert_eq!(controls.cut(""), []);
        assert_eq!(controls.cut("<"), [Part::Text("<")]);
    }

    #[test]
    fn a_control_token_takes_the_white_space_it_says_it_takes() {
        let mut control = Control { spelling: "<e>".into(), id: 7, takes_left: true, takes_right: false };
        let left = Controls::new([control.clone()]);
        assert_eq!(left.cut("a \n<e> b"), [Part::Text("a"), Part::Control(7), Part::Text(" b")]);
        (control.takes_left, control.takes_right) = (false, true);
        let right = Controls::new([control]);
        assert_eq!(right.cut("a <e>\n b"), [Part::Text("a "), Part::Control(7), Part::Text("b")]);
        assert_eq!(right.cut("<e>  "), [Part::Control(7)]);
    }
}
