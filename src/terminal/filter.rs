//! Escapes characters that control a terminal, in text from models, servers and files.
//!
//! Such characters could move the cursor, set the title or the clipboard, reverse the reading order, or hide text. They
//! are shown as `\u{1b}` and never dropped, so that a reader sees them. Text to a pipe is data and is not filtered.

use std::borrow::Cow;

/// Escapes characters that could control a terminal or deceive its reader, in a text that arrives in pieces.
///
/// Escapes C0 controls except newline and tab, DEL, C1 controls, bidirectional marks, and invisible characters. `\r\n`
/// becomes `\n`. Joiners and variation selectors, which emoji and many scripts need, pass where they have an effect: one
/// at a time, after a visible character.
///
/// The filter decides character by character and remembers one character. It also catches an escape sequence that is
/// split over pieces, because it never passes the first character of one.
#[derive(Clone, Debug, Default)]
pub struct EscapeFilter {
    before: Before,
    /// Whether a carriage return is held back until the next character: dropped before a newline, else shown.
    held_return: bool,
}

/// The kind of the last character, on which the decision about a joiner or selector depends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Before {
    /// No character that can be joined or varied: the start, white space, a joiner, or an escaped character.
    #[default]
    Nothing,
    /// A visible ASCII character. Scripts that need joiners do not use ASCII.
    Ascii,
    /// A visible character outside ASCII.
    Visible,
    /// A variation selector, which belongs to the character before it.
    Selector,
}

impl EscapeFilter {
    /// Returns the escaped piece, borrowed if it is unchanged. Holds back a `\r` at its end until the next piece or
    /// [`finish`](Self::finish).
    pub fn filter<'a>(&mut self, piece: &'a str) -> Cow<'a, str> {
        let first_change = match self.held_return {
            true => Some(0),
            false => piece.char_indices().find(|&(_, c)| !self.passes(c)).map(|(at, _)| at),
        };
        let Some(at) = first_change else {
            return Cow::Borrowed(piece);
        };
        let (unchanged, rest) = piece.split_at(at);
        let mut shown = String::with_capacity(piece.len() + 8);
        shown.push_str(unchanged);
        rest.chars().for_each(|c| self.push(c, &mut shown));
        Cow::Owned(shown)
    }

    /// Returns the text that is held back, and resets the filter.
    pub fn finish(&mut self) -> &'static str {
        match std::mem::take(self).held_return {
            true => "\\u{d}",
            false => "",
        }
    }

    fn push(&mut self, c: char, shown: &mut String) {
        if std::mem::take(&mut self.held_return) && c != '\n' {
            shown.extend('\r'.escape_unicode());
        }
        if c == '\r' {
            self.held_return = true;
            self.before = Before::Nothing;
        } else if self.passes(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
            self.before = Before::Nothing;
        }
    }

    /// Returns whether `c` may be shown unescaped; if so, remembers its kind.
    fn passes(&mut self, c: char) -> bool {
        let (passes, then) = match c {
            '\n' | '\t' => (true, Before::Nothing),
            _ if is_joiner(c) => (matches!(self.before, Before::Visible | Before::Selector), Before::Nothing),
            _ if is_selector(c) => (matches!(self.before, Before::Visible | Before::Ascii), Before::Selector),
            _ if c.is_control() || is_bidirectional(c) || is_invisible(c) => (false, Before::Nothing),
            _ if c.is_whitespace() => (true, Before::Nothing),
            _ if c.is_ascii() => (true, Before::Ascii),
            _ => (true, Before::Visible),
        };
        if passes {
            self.before = then;
        }
        passes
    }
}

/// Escapes a whole text like [`EscapeFilter`].
pub fn escaped(text: &str) -> Cow<'_, str> {
    let mut filter = EscapeFilter::default();
    let shown = filter.filter(text);
    match filter.finish() {
        "" => shown,
        held => shown + held,
    }
}

/// Returns whether `c` is a zero width joiner or non-joiner, which shape letters in Arabic and Indic scripts and build
/// family and flag emoji.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
}

fn is_selector(c: char) -> bool {
    matches!(c, '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}')
}

/// Returns whether `c` is a bidirectional mark, embedding, override or isolate ("Trojan Source", CVE-2021-42574).
fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Returns whether `c` is invisible.
///
/// The set is Unicode's Default_Ignorable_Code_Point without joiners, selectors and the soft hyphen, which some terminals
/// show. It also has the line and paragraph separators, which some terminals treat as newlines, and the tag characters,
/// which three flag emoji need but which are often used to hide text.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{034F}' // combining grapheme joiner
            | '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}' // Hangul fillers
            | '\u{17B4}' | '\u{17B5}' // Khmer inherent vowels
            | '\u{180B}'..='\u{180F}' // Mongolian selectors and vowel separator
            | '\u{200B}' // zero width space
            | '\u{2028}' | '\u{2029}'
            | '\u{2060}'..='\u{206F}' // word joiner, invisible operators, deprecated formatting
            | '\u{FEFF}'
            | '\u{FFF0}'..='\u{FFFB}' // unassigned, interlinear annotation
            | '\u{1BCA0}'..='\u{1BCA3}' // shorthand format controls
            | '\u{1D173}'..='\u{1D17A}' // musical format controls
            | '\u{E0000}'..='\u{E0FFF}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_is_borrowed() {
        for text in ["", "Hello,\n\tworld", "Grüße, 東京", "한국어 العربية עברית", "a soft\u{AD}hyphen"]
        {
            assert!(matches!(escaped(text), Cow::Borrowed(t) if t == text), "{text:?}");
        }
    }

    #[test]
    fn every_class_is_shown_as_an_escape() {
        for (text, shown) in [
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("a\u{8}b\0", "a\\u{8}b\\u{0}"),
            ("\u{7f}", "\\u{7f}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{85}", "\\u{85}"),
            ("a\u{202E}b\u{2066}\u{200F}\u{61C}", "a\\u{202e}b\\u{2066}\\u{200f}\\u{61c}"),
            ("in\u{200B}visible\u{FEFF}\u{2060}", "in\\u{200b}visible\\u{feff}\\u{2060}"),
            ("\u{E0041}\u{E007F}", "\\u{e0041}\\u{e007f}"),
            ("a\u{2028}b", "a\\u{2028}b"),
        ] {
            assert_eq!(escaped(text), shown, "{text:?}");
        }
    }

    #[test]
    fn carriage_returns_are_shown_unless_they_end_a_line() {
        for (text, shown) in
            [("a\r\nb", "a\nb"), ("a\rb", "a\\u{d}b"), ("a\r\r\nb", "a\\u{d}\nb"), ("a\r", "a\\u{d}")]
        {
            assert_eq!(escaped(text), shown, "{text:?}");
        }
    }

    #[test]
    fn joiners_and_selectors_pass_only_where_they_have_an_effect() {
        for text in [
            "👩\u{200D}🚀",
            "❤\u{FE0F}\u{200D}🔥",
            "می\u{200C}خواهم",
            "क्\u{200D}ष",
            "1\u{FE0F}\u{20E3}",
            "葛\u{E0100}",
        ] {
            assert!(matches!(escaped(text), Cow::Borrowed(_)), "{text:?}");
        }
        for (text, shown) in [
            ("ab\u{200D}c", "ab\\u{200d}c"),
            ("\u{200C}a", "\\u{200c}a"),
            ("é\u{200D}\u{200D}", "é\u{200D}\\u{200d}"),
            ("😀\u{FE0F}\u{FE01}", "😀\u{FE0F}\\u{fe01}"),
            (" \u{E0100}", " \\u{e0100}"),
        ] {
            assert_eq!(escaped(text), shown, "{text:?}");
        }
    }

    #[test]
    fn a_sequence_split_over_pieces_is_caught() {
        let mut filter = EscapeFilter::default();
        let shown: Vec<String> = ["x\u{1b}", "[2J", "\r", "\n", "👩", "\u{200D}", "🚀", "\r"]
            .map(|p| filter.filter(p).into_owned())
            .into();
        assert_eq!(shown.concat(), "x\\u{1b}[2J\n👩\u{200D}🚀");
        assert_eq!(filter.finish(), "\\u{d}");
        assert_eq!(filter.finish(), "");
    }

    /// Generates characters, most of which the filter treats specially.
    fn character() -> impl Strategy<Value = char> {
        let deciding: Vec<char> =
            "\u{1b}\u{9b}\u{7}\u{7f}\r\n\t \u{200B}\u{200C}\u{200D}\u{200E}\u{202E}\u{2067}\
            \u{2060}\u{FEFF}\u{FE0F}\u{E0101}\u{E0061}aé👩\u{301}"
                .chars()
                .collect();
        prop_oneof![3 => prop::sample::select(deciding), 1 => any::<char>()]
    }

    proptest! {
        #[test]
        fn no_forbidden_character_passes_however_the_text_is_split(
            pieces in prop::collection::vec(prop::collection::vec(character(), 0..6), 0..12)
        ) {
            let pieces: Vec<String> = pieces.into_iter().map(|p| p.into_iter().collect()).collect();
            let mut filter = EscapeFilter::default();
            let mut shown: String = pieces.iter().map(|p| filter.filter(p).into_owned()).collect();
            shown.push_str(filter.finish());

            let whole = pieces.concat();
            prop_assert_eq!(&shown, &escaped(&whole), "depends on the split");
            prop_assert_eq!(&shown, &escaped(&shown), "not stable");
            let mut before = ' ';
            for c in shown.chars() {
                let code = u32::from(c);
                prop_assert!(code >= 0x20 || c == '\n' || c == '\t');
                prop_assert!(!(0x7f..=0x9f).contains(&code));
                prop_assert!(![0x61c, 0x200b, 0x200e, 0x200f, 0xfeff].contains(&code));
                prop_assert!(!(0x202a..=0x202e).contains(&code) && !(0x2060..=0x206f).contains(&code));
                prop_assert!(!(0xe0000..=0xe007f).contains(&code));
                prop_assert!(code != 0x200d || !before.is_ascii());
                before = c;
            }
        }
    }
}
