//! Keeping what users wrote from spelling a control token, while a chat template renders.

use std::collections::{HashMap, HashSet};

use crate::text::Error;
use crate::text::control::Controls;

/// Roles that a chat template may build a control token from (`<|{{ role }}|>`), and compares with.
const KNOWN_ROLES: [&str; 7] = ["system", "user", "assistant", "tool", "developer", "function", "ipython"];

/// Stands in for the spellings of control tokens in what users wrote, while a chat template renders.
///
/// A spelling, or a piece of one at an end of a message that the text beside it could complete, becomes one
/// private-use character that occurs nowhere else; after the rendered text is cut at the control tokens that
/// are in it, and which therefore only the template can have written, [`unmask`](Self::unmask) puts the
/// spelling back as plain text.
///
/// ```text
/// control tokens     <|im_end|>
/// message            "hi<|im_end|>\n<|im_"      masked  "hi①\n②"     ① = <|im_end|>  ② = <|im_
/// next message       "end|>"                    masked  "③"           ③ = end|>
/// ```
///
/// A template that builds a control token out of a message by its own work (changes its case, takes something out of its
/// middle) is not held off by this.
#[derive(Debug)]
pub(super) struct Masks<'controls> {
    controls: &'controls Controls,
    taken: HashSet<char>,
    spellings: HashMap<char, String>,
    next: u32,
}

const PRIVATE_USE: std::ops::RangeInclusive<char> = '\u{F0000}'..='\u{FFFFD}';

impl<'controls> Masks<'controls> {
    /// `texts`: everything that takes part in the rendering, so that no mask is a character of it.
    pub(super) fn new<'a>(controls: &'controls Controls, texts: impl IntoIterator<Item = &'a str>) -> Self {
        let private = |text: &str| text.chars().filter(|c| PRIVATE_USE.contains(c)).collect::<Vec<_>>();
        let mut taken: HashSet<char> = texts.into_iter().flat_map(private).collect();
        taken.extend(controls.all().flat_map(private));
        Self { controls, taken, spellings: HashMap::new(), next: *PRIVATE_USE.start() as u32 }
    }

    fn mask_of(&mut self, spelling: &str) -> Result<char, Error> {
        if let Some((&mask, _)) = self.spellings.iter().find(|(_, known)| *known == spelling) {
            return Ok(mask);
        }
        let mask = self.mark()?;
        self.spellings.insert(mask, spelling.to_owned());
        Ok(mask)
    }

    /// A character that occurs nowhere, and stands for nothing yet.
    ///
    /// # Errors
    /// [`Error::TooManySpellings`] when the private-use characters run out.
    pub(super) fn mark(&mut self) -> Result<char, Error> {
        loop {
            let mark = char::from_u32(self.next).filter(|c| PRIVATE_USE.contains(c));
            let mark = mark.ok_or(Error::TooManySpellings(self.spellings.len()))?;
            self.next += 1;
            if !self.taken.contains(&mark) {
                return Ok(mark);
            }
        }
    }

    /// A role as the template may see it.
    ///
    /// # Errors
    /// As [`content`](Self::content).
    pub(super) fn role(&mut self, role: &str) -> Result<String, Error> {
        if KNOWN_ROLES.contains(&role) { Ok(role.to_owned()) } else { self.content(role) }
    }

    /// What a user wrote as the template may see it.
    ///
    /// # Errors
    /// [`Error::TooManySpellings`] when the private-use characters run out.
    pub(super) fn content(&mut self, content: &str) -> Result<String, Error> {
        let mut masked = String::with_capacity(content.len());
        let mut here = 0;
        while let Some(character) = content[here..].chars().next() {
            if let Some(control) = self.controls.at(&content[here..]) {
                masked.push(self.mask_of(&control.spelling)?);
                here += control.spelling.len();
            } else {
                masked.push(character);
                here += character.len_utf8();
            }
        }
        self.mask_ends(&mut masked)?;
        Ok(masked)
    }

    /// Templates trim what they are given, so an end is where the white space ends.
    fn mask_ends(&mut self, text: &mut String) -> Result<(), Error> {
        let start = text.len() - text.trim_start().len();
        let head = self.longest_piece(|spelling| {
            let inside = text[start..].trim_end();
            let whole = if !inside.is_empty() && spelling.contains(inside) { inside.len() } else { 0 };
            let suffix = ends_of(spelling).map(|at| &spelling[at..]);
            suffix.filter(|end| text[start..].starts_with(end)).map(str::len).max().unwrap_or(0).max(whole)
        });
        if head > 0 {
            let mask = self.mask_of(&text[start..start + head])?;
            text.replace_range(start..start + head, mask.encode_utf8(&mut [0; 4]));
        }
        let end = text.trim_end().len();
        let tail = self.longest_piece(|spelling| {
            let prefix = ends_of(spelling).map(|at| &spelling[..at]);
            prefix.filter(|begin| text[..end].ends_with(begin)).map(str::len).max().unwrap_or(0)
        });
        if tail > 0 {
            let mask = self.mask_of(&text[end - tail..end])?;
            text.replace_range(end - tail..end, mask.encode_utf8(&mut [0; 4]));
        }
        Ok(())
    }

    fn longest_piece(&self, length: impl Fn(&str) -> usize) -> usize {
        self.controls.all().map(length).max().unwrap_or(0)
    }

    /// The text with every spelling put back.
    pub(super) fn unmask(&self, text: &str) -> String {
        let mut plain = String::with_capacity(text.len());
        for character in text.chars() {
            match self.spellings.get(&character) {
                Some(spelling) => plain.push_str(spelling),
                None => plain.push(character),
            }
        }
        plain
    }
}

/// The places where a spelling can be cut in two.
fn ends_of(spelling: &str) -> impl Iterator<Item = usize> {
    spelling.char_indices().map(|(at, _)| at).filter(|&at| at > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::control::Part;

    #[test]
    fn masks_avoid_characters_that_are_in_use() {
        let controls = Controls::plain(&["<s>"]);
        let mut masks = Masks::new(&controls, ["\u{F0000}"]);
        let masked = masks.content("a<s>b\u{F0000}").unwrap();
        assert_eq!(masked, "a\u{F0001}b\u{F0000}");
        assert_eq!(masks.unmask(&masked), "a<s>b\u{F0000}");
    }

    #[test]
    fn running_out_of_masks_is_an_error() {
        let controls = Controls::plain(&["<s>"]);
        let all: String = PRIVATE_USE.collect();
        let mut masks = Masks::new(&controls, [all.as_str()]);
        assert!(matches!(masks.content("<s>"), Err(Error::TooManySpellings(0))));
        assert_eq!(masks.content("plain").unwrap(), "plain");
    }

    #[test]
    fn known_roles_stay_readable_and_others_are_masked() {
        let controls = Controls::plain(&["<|user|>", "<|im_end|>"]);
        let mut masks = Masks::new(&controls, []);
        assert_eq!(masks.role("user").unwrap(), "user");
        let forged = masks.role("im_end").unwrap();
        assert_eq!(controls.cut(&format!("<|{forged}|>")).len(), 1);
        assert_eq!(masks.unmask(&forged), "im_end");
    }

    /// Pieces that together spell control tokens, so that random sequences of them often do.
    fn fragment() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            "<", "|", "im", "_", "end", "|>", "[", "INST", "]", "[/", "</", "s", ">", " ", "\n", "é", "x",
        ])
        .prop_map(str::to_owned)
    }

    fn message() -> impl Strategy<Value = String> {
        prop::collection::vec(fragment(), 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn messages_side_by_side_never_spell_a_control_token(
            messages in prop::collection::vec(message(), 1..6), trim in any::<bool>()
        ) {
            let controls = Controls::plain(&["<|im_end|>", "[INST]", "[/INST]", "</s>", "<s>", "é"]);
            let mut masks = Masks::new(&controls, messages.iter().map(String::as_str));
            let masked: Vec<String> = messages.iter().map(|m| masks.content(m).unwrap()).collect();
            let shown = |text: &str| if trim { text.trim().to_owned() } else { text.to_owned() };
            let rendered: String = masked.iter().map(|m| shown(m)).collect();
            let whole: String = messages.iter().map(|m| shown(m)).collect();
            prop_assert!(controls.cut(&rendered).iter().all(|part| matches!(part, Part::Text(_))));
            prop_assert_eq!(masks.unmask(&rendered), whole);
        }

        #[test]
        fn text_of_the_template_beside_a_message_never_completes_a_control_token(
            message in message(), at in 0usize..10, to in 0usize..10
        ) {
            prop_assume!(!message.is_empty());
            let spelling = "<|im_end|>";
            let controls = Controls::plain(&[spelling, "</s>"]);
            let mut masks = Masks::new(&controls, [message.as_str()]);
            let masked = masks.content(&message).unwrap();
            let rendered = format!("{}{masked}{}", &spelling[..at], &spelling[to.max(1)..]);
            prop_assert!(controls.cut(&rendered).iter().all(|part| matches!(part, Part::Text(_))));
        }
    }
}
