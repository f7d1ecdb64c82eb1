//! Finds the control tokens of a vocabulary in text that this program or a template wrote.

use std::collections::HashMap;

use super::alphabet::SPACE;

/// One control token.
#[derive(Clone, Debug)]
pub(super) struct Control {
    pub(super) spelling: String,
    pub(super) id: u32,
    /// Whether the token includes the white space before (after) it.
    pub(super) takes_left: bool,
    pub(super) takes_right: bool,
    /// Whether the token is searched in normalized text, as `▁<s>` where SentencePiece adds a space before a text. It
    /// is then found after a space, which it includes, and at the start of a stretch. Elsewhere it is text.
    pub(super) after_space: bool,
}

/// A stretch of a rendered conversation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'text> {
    Text(&'text str),
    /// Text that was normalized together with the text before it.
    Joined(&'text str),
    Control(u32),
}

impl<'text> Part<'text> {
    /// Returns the text; `None` for a control token.
    pub(super) fn text(&self) -> Option<&'text str> {
        match self {
            Self::Text(text) | Self::Joined(text) => Some(text),
            Self::Control(_) => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Controls {
    /// Control tokens by their first character, longest first, since the longest spelling at a position wins.
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

    /// Returns the spelling of a control token; `None` for other ids.
    pub(super) fn spelling(&self, id: u32) -> Option<&str> {
        self.ids.get(&id).map(String::as_str)
    }

    /// Finds the longest control token at `here`; the rest of its stretch begins at `start`.
    fn found(&self, text: &str, start: usize, here: usize, begins: bool) -> Option<&Control> {
        let rest = &text[here..];
        let candidates = self.by_first.get(&rest.chars().next()?)?;
        let follows_space = begins && here == start || text[start..here].ends_with([' ', SPACE]);
        candidates.iter().find(|c| rest.starts_with(&c.spelling) && (!c.after_space || follows_space))
    }

    /// Cuts `text` at its control tokens, the leftmost first, and the longest of those that begin at one position.
    pub(super) fn cut<'text>(&self, text: &'text str) -> Vec<Part<'text>> {
        let mut parts = Vec::new();
        let (mut start, mut here) = (0, 0);
        // Whether the stretch begins at `start`, as it does after a control token that is found before normalization.
        let mut begins = true;
        let part = |text, begins| if begins { Part::Text(text) } else { Part::Joined(text) };
        while let Some(character) = text[here..].chars().next() {
            let Some(control) = self.found(text, start, here, begins) else {
                here += character.len_utf8();
                continue;
            };
            let before = &text[start..here];
            let shorter = if control.after_space { before.strip_suffix([' ', SPACE]) } else { None };
            let before = match shorter {
                // The rest is the space before the stretch, which no other token spells.
                Some("") if begins => {
                    begins = false;
                    before
                }
                shorter => shorter.unwrap_or(before),
            };
            let before = if control.takes_left { before.trim_end() } else { before };
            if !before.is_empty() {
                parts.push(part(before, begins));
            }
            parts.push(Part::Control(control.id));
            begins = !control.after_space;
            here += control.spelling.len();
            if control.takes_right {
                here = text.len() - text[here..].trim_start().len();
            }
            start = here;
        }
        if start < text.len() {
            parts.push(part(&text[start..], begins));
        }
        parts
    }

    /// Creates control tokens with the ids 0, 1 and so on, which take no white space.
    #[cfg(test)]
    pub(super) fn plain(spellings: &[&str]) -> Self {
        Self::new(spellings.iter().zip(0..).map(|(spelling, id)| Control {
            spelling: (*spelling).to_owned(),
            id,
            takes_left: false,
            takes_right: false,
            after_space: false,
        }))
    }

    /// Returns all spellings.
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
        let mut control = Control {
            spelling: "<e>".into(),
            id: 7,
            takes_left: true,
            takes_right: false,
            after_space: false,
        };
        let left = Controls::new([control.clone()]);
        assert_eq!(left.cut("a \n<e> b"), [Part::Text("a"), Part::Control(7), Part::Text(" b")]);
        (control.takes_left, control.takes_right) = (false, true);
        let right = Controls::new([control]);
        assert_eq!(right.cut("a <e>\n b"), [Part::Text("a "), Part::Control(7), Part::Text("b")]);
        assert_eq!(right.cut("<e>  "), [Part::Control(7)]);
    }

    #[test]
    fn a_control_token_that_is_normalized_needs_a_space_or_the_start_of_a_stretch() {
        let control = |spelling: &str, id, after_space| Control {
            spelling: spelling.into(),
            id,
            takes_left: false,
            takes_right: false,
            after_space,
        };
        let controls = Controls::new([control("<n>", 1, true), control("<r>", 2, false)]);
        let (n, r) = (Part::Control(1), Part::Control(2));
        assert_eq!(
            controls.cut("<n>a <n>b\n<n>"),
            [n, Part::Joined("a"), Part::Control(1), Part::Joined("b\n<n>")]
        );
        assert_eq!(controls.cut("a<r><n> <n>"), [Part::Text("a"), r, Part::Control(1), Part::Control(1)]);
        assert_eq!(controls.cut(" <n>"), [Part::Joined(" "), Part::Control(1)]);
        assert_eq!(controls.cut("  <n>"), [Part::Text(" "), Part::Control(1)]);
        assert_eq!(controls.cut("a<n>"), [Part::Text("a<n>")]);
    }
}
