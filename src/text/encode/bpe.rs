//! Merges the symbols of a word: byte-pair encoding (<https://arxiv.org/abs/1508.07909>).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::map::Map;
use crate::text::alphabet::{SPACE, bytes_of, fallback_byte};
use crate::text::model::{Alphabet, Joins, Kind, Model};

/// Marks a missing id, and in a chain a missing symbol.
const NONE: u32 = u32::MAX;

/// The tables of a model.
#[derive(Debug)]
pub(super) struct Bpe {
    symbols: Symbols,
    joins: Table,
    /// Maps the text of each token to its id; empty unless merges or whole words are looked up by text.
    spelled: Map<Box<[u8]>, u32>,
    whole_words: bool,
    /// Ids of the byte tokens.
    fallback: Option<Vec<u32>>,
    unknown: Option<u32>,
    fuses_unknown: bool,
}

/// The symbols that a word begins as.
#[derive(Debug)]
enum Symbols {
    /// Ids by byte.
    Bytes(Vec<u32>),
    Characters(Map<char, u32>),
}

#[derive(Debug)]
enum Table {
    /// Rank by id of the merged token, which is found by its spelling.
    Ranks(Vec<u32>),
    /// Rank and merged token by pair.
    Pairs(Map<(u32, u32), (u32, u32)>),
}

/// A symbol of a word, in a chain of the symbols that remain.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    /// Range of the symbol's bytes in the word; empty once the symbol is merged into the previous one.
    start: u32,
    length: u32,
    before: u32,
    after: u32,
    id: u32,
}

/// Two symbols that may be merged, in the order in which merges are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Join {
    rank: u32,
    left: u32,
    /// Number of bytes of both symbols. If it has changed when the merge is applied, one of them was merged with
    /// another symbol.
    length: u32,
    id: u32,
}

/// Buffers that are reused for every word.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Reverse<Join>>,
}

impl Bpe {
    pub(super) fn new(model: &Model) -> Self {
        let text =
            |id: u32, token: &str| model.is_text(id).then(|| spelling(model.alphabet, token)).flatten();
        let by_spelling = model.whole_words || !matches!(model.joins, Joins::Pairs(_));
        let mut spelled = Map::default();
        let mut characters = Map::default();
        let mut bytes = vec![NONE; 256];
        // A symbol is one character in either alphabet.
        let is_used = |token: &str| by_spelling || token.chars().nth(1).is_none();
        for (id, token) in model.all().filter(|(_, token)| is_used(token)) {
            let Some(text) = text(id, token) else { continue };
            match (model.alphabet, text.as_slice()) {
                (Alphabet::Bytes, [byte]) => bytes[usize::from(*byte)] = id,
                (Alphabet::Spaces | Alphabet::Plain, text) => {
                    if let Some(character) = only_character(text) {
                        characters.insert(character, id);
                    }
                }
                _ => {}
            }
            if by_spelling {
                spelled.insert(text.into_boxed_slice(), id);
            }
        }
        let joins = match &model.joins {
            Joins::Ids => Table::Ranks((0..model.tokens.len() as u32).collect()),
            Joins::Scores(scores) => Table::Ranks(ranks(scores)),
            Joins::Pairs(pairs) => {
                let mut table = Map::with_capacity_and_hasher(pairs.len(), Default::default());
                for (rank, &[left, right, joined]) in (0..).zip(pairs) {
                    if model.is_text(joined) {
                        table.insert((left, right), (rank, joined));
                    }
                }
                Table::Pairs(table)
            }
        };
        Self {
            symbols: match model.alphabet {
                Alphabet::Bytes => Symbols::Bytes(bytes),
                Alphabet::Spaces | Alphabet::Plain => Symbols::Characters(characters),
            },
            joins,
            spelled,
            whole_words: model.whole_words,
            fallback: model.byte_fallback.then(|| fallback(model)),
            unknown: model.unknown,
            fuses_unknown: model.fuses_unknown,
        }
    }

    /// Appends the ids of `word`.
    pub(super) fn join(&self, word: &str, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        if self.whole_words
            && let Some(&id) = self.spelled.get(word.as_bytes())
        {
            return ids.push(id);
        }
        // Positions in a word have 32 bits. Longer words are cut, not refused.
        const LONGEST: usize = 1 << 30;
        let mut rest = word;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.floor_char_boundary(LONGEST));
            self.begin(now, scratch);
            self.join_all(now.as_bytes(), scratch);
            self.write(now, &scratch.symbols, ids);
            rest = later;
        }
    }

    /// Builds the chain of symbols that a word begins as. A symbol without a token is left out, as in `tokenizers`.
    fn begin(&self, word: &str, scratch: &mut Scratch) {
        let symbols = &mut scratch.symbols;
        symbols.clear();
        let can_be_written = self.fallback.is_some() || self.unknown.is_some();
        let mut push = |start: usize, length: usize, id: u32| {
            if id != NONE || can_be_written {
                let at = symbols.len() as u32;
                let (start, length) = (start as u32, length as u32);
                symbols.push(Symbol { start, length, before: at.wrapping_sub(1), after: at + 1, id });
            }
        };
        match &self.symbols {
            Symbols::Bytes(ids) => {
                word.bytes().enumerate().for_each(|(at, byte)| push(at, 1, ids[usize::from(byte)]));
            }
            Symbols::Characters(ids) => word.char_indices().for_each(|(at, character)| {
                push(at, character.len_utf8(), ids.get(&character).copied().unwrap_or(NONE));
            }),
        }
        if let Some(last) = symbols.last_mut() {
            last.after = NONE;
        }
    }

    fn join_all(&self, word: &[u8], scratch: &mut Scratch) {
        let Scratch { symbols, queue } = scratch;
        queue.clear();
        for left in 0..symbols.len().saturating_sub(1) as u32 {
            queue.extend(self.candidate(word, symbols, left, left + 1).map(Reverse));
        }
        while let Some(Reverse(Join { left, length, id, .. })) = queue.pop() {
            let first = symbols[left as usize];
            let Some(&second) = symbols.get(first.after as usize) else { continue };
            if first.length == 0 || first.length + second.length != length {
                continue;
            }
            symbols[first.after as usize].length = 0;
            symbols[left as usize] = Symbol { length, id, after: second.after, ..first };
            if let Some(third) = symbols.get_mut(second.after as usize) {
                third.before = left;
                queue.extend(self.candidate(word, symbols, left, second.after).map(Reverse));
            }
            if first.before != NONE {
                queue.extend(self.candidate(word, symbols, first.before, left).map(Reverse));
            }
        }
    }

    /// Returns the merge of two neighbours, if one exists.
    fn candidate(&self, word: &[u8], symbols: &[Symbol], left: u32, right: u32) -> Option<Join> {
        let (first, second) = (symbols[left as usize], symbols[right as usize]);
        let length = first.length + second.length;
        let (rank, id) = match &self.joins {
            Table::Pairs(pairs) => pairs.get(&(first.id, second.id)).copied()?,
            Table::Ranks(ranks) => {
                let text = word.get(first.start as usize..(first.start + length) as usize)?;
                let id = *self.spelled.get(text)?;
                (*ranks.get(id as usize)?, id)
            }
        };
        Some(Join { rank, left, length, id })
    }

    /// Appends the ids of the symbols that remain.
    fn write(&self, word: &str, symbols: &[Symbol], ids: &mut Vec<u32>) {
        let mut after_unknown = false;
        for symbol in symbols.iter().filter(|symbol| symbol.length > 0) {
            if symbol.id != NONE {
                ids.push(symbol.id);
                after_unknown = false;
                continue;
            }
            let bytes = &word.as_bytes()[symbol.start as usize..][..symbol.length as usize];
            let written =
                self.fallback.as_ref().filter(|ids| bytes.iter().all(|b| ids[usize::from(*b)] != NONE));
            match (written, self.unknown) {
                (Some(of_bytes), _) => {
                    ids.extend(bytes.iter().map(|byte| of_bytes[usize::from(*byte)]));
                    after_unknown = false;
                }
                (None, Some(unknown)) => {
                    if !(self.fuses_unknown && after_unknown) {
                        ids.push(unknown);
                    }
                    after_unknown = true;
                }
                (None, None) => {}
            }
        }
    }
}

/// Returns the text that a token spells, with spaces for `▁`; `None` for a token that no text spells.
fn spelling(alphabet: Alphabet, token: &str) -> Option<Vec<u8>> {
    match alphabet {
        Alphabet::Bytes => bytes_of(token),
        Alphabet::Plain => Some(token.into()),
        Alphabet::Spaces if token.contains(' ') => None,
        Alphabet::Spaces => Some(token.replace(SPACE, " ").into_bytes()),
    }
}

fn only_character(text: &[u8]) -> Option<char> {
    let mut characters = std::str::from_utf8(text).ok()?.chars();
    characters.next().filter(|_| characters.next().is_none())
}

/// Returns the ids of `<0x00>` to `<0xFF>`.
fn fallback(model: &Model) -> Vec<u32> {
    let mut ids = vec![NONE; 256];
    for (id, token) in model.all().filter(|&(id, _)| model.kind(id) == Kind::Byte) {
        if let Some(byte) = fallback_byte(token) {
            ids[usize::from(byte)] = id;
        }
    }
    ids
}

/// Ranks by id: the number of different scores that are higher. Equal scores have equal ranks, and the leftmost merge
/// comes first.
fn ranks(scores: &[f32]) -> Vec<u32> {
    let mut ids: Vec<usize> = (0..scores.len()).collect();
    ids.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut ranks = vec![0; scores.len()];
    for pair in ids.windows(2) {
        ranks[pair[1]] = ranks[pair[0]] + u32::from(scores[pair[0]] != scores[pair[1]]);
    }
    ranks
}
