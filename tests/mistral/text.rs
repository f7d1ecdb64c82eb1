//! Ten megabytes of text from a recipe, the one of `tests/fixtures/chat/make.py`.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::support::fixtures;

/// What the reference implementations say of the text.
#[derive(Deserialize)]
pub struct Said {
    bytes: usize,
    pub tokenizers: BTreeMap<String, Ids>,
}

/// What one says.
#[derive(Deserialize)]
pub struct Ids {
    /// The sha256 of the text.
    pub text: String,
    pub count: usize,
    /// The sha256 of the ids as little-endian u32.
    pub ids: String,
    /// First and last of the ranges of characters that the tokenizer cannot spell: they are left out of its text.
    #[serde(default)]
    without: Vec<(u32, u32)>,
}

impl Ids {
    /// `text` without the characters that the tokenizer cannot spell.
    pub fn spellable(&self, text: &str) -> String {
        let lacking =
            |c: char| self.without.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(c)));
        text.chars().filter(|c| !lacking(*c)).collect()
    }
}

pub static SAID: LazyLock<Said> =
    LazyLock::new(|| serde_json::from_slice(&fs::read(fixtures().join("chat/text.json")).unwrap()).unwrap());

/// The text.
pub static TEXT: LazyLock<String> = LazyLock::new(|| {
    let fragments = fs::read(fixtures().join("chat/fragments.json")).unwrap();
    let fragments: Fragments = serde_json::from_slice(&fragments).unwrap();
    let mut chance = Chance(20);
    let mut text = String::new();
    while text.len() < 10_000_000 {
        text.push_str(&fragments.piece(&mut chance));
        text += *chance.pick(&["", " ", " ", "\n"]);
    }
    assert_eq!(text.len(), SAID.bytes);
    text
});

/// SplitMix64 (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// What lies between two places.
    fn part<'a, T>(&mut self, items: &'a [T]) -> &'a [T] {
        let (first, second) = (self.below(items.len() + 1), self.below(items.len() + 1));
        &items[first.min(second)..first.max(second)]
    }

    fn part_of(&mut self, text: &str) -> String {
        self.part(&text.chars().collect::<Vec<char>>()).iter().collect()
    }

    /// One to `most` of what `item` gives.
    fn several<T, S: FromIterator<T>>(&mut self, most: usize, mut item: impl FnMut(&mut Self) -> T) -> S {
        let count = 1 + self.below(most);
        (0..count).map(|_| item(self)).collect()
    }
}

#[derive(Deserialize)]
struct Fragments {
    texts: Vec<String>,
    /// What looks like a control token.
    marks: Vec<String>,
    /// First and last of ranges of characters.
    blocks: Vec<(u32, u32)>,
}

impl Fragments {
    fn piece(&self, chance: &mut Chance) -> String {
        const SPACES: [&str; 9] = [" ", "  ", "\n", "\n\n", "\t", "\r\n", "\r", "\u{a0}", "\u{3000}"];
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match chance.below(20) {
            0..9 => chance.pick(&self.texts).clone(),
            9..11 => {
                let text = chance.pick(&self.texts);
                chance.part_of(text)
            }
            11 => {
                let text = chance.pick(&self.texts);
                lossy(chance.part(text.as_bytes()))
            }
            12 => " ".repeat(1 + chance.below(40)),
            13 => chance.several(8, |chance| *chance.pick(&SPACES)),
            14 => {
                let (first, last) = *chance.pick(&self.blocks);
                let character = |at| char::from_u32(first + at as u32).unwrap();
                chance.several(16, |chance| character(chance.below((last - first + 1) as usize)))
            }
            15 => lossy(&chance.several::<u8, Vec<u8>>(24, |chance| chance.below(256) as u8)),
            16 => chance.several(30, |chance| char::from(b'0' + chance.below(10) as u8)),
            17 => chance.several(3, |chance| chance.pick(&self.marks).as_str()),
            18 => {
                let first = chance.pick(&self.marks);
                let first = chance.part_of(first);
                let second = chance.pick(&self.marks);
                first + &chance.part_of(second)
            }
            _ => {
                let text: Vec<char> = chance.pick(&self.texts).chars().collect();
                let character = *chance.pick(&text);
                character.to_string().repeat(1 + chance.below(12))
            }
        }
    }
}
