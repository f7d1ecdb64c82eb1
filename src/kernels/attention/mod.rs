//! Scaled dot-product attention over the cache, in f32 with the softmax.
//!
//! | file | what |
//! |---|---|
//! | `heads` | sizes of heads |
//! | `positions` | which positions a query sees, and how they are divided |
//! | `store` | keys and values of a sequence as they lie in memory, in four types |
//! | `blocked` | a tile of queries over spans of positions |
//! | `tiles` | its innermost loops, in registers |

mod blocked;
mod heads;
mod positions;
mod store;
mod tiles;

use std::cell::RefCell;

use blocked::{Kernels, Scratch, Tile, clear, sums_width};
use positions::{GROUP, SPAN};
use store::{AllHeads, each_type};

use crate::cpu::pool::{self, Shared};
use crate::quant::rows::Buffer;
pub use heads::Heads;
pub use positions::Span;
pub use store::{CacheType, KeyValues};

/// Consecutive tokens of one sequence, among the rows of queries.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// Row of the first.
    pub row: usize,
    /// How many.
    pub tokens: usize,
    /// What they see.
    pub span: Span,
    /// Its keys and values, those of these tokens included.
    pub kept: &'a KeyValues,
}

/// Computes the attention of the queries in `rows (T, width)`, the first H·D values of each row: `out (T, H·D)`.
///
/// `sequences` are in the order of their rows. Each row and head is summed over its positions in an order that depends on
/// its own position alone, so the result does not depend on how the ring lies, how a prompt was cut into chunks, or which
/// sequences share a step.
///
/// # Panics
/// Rows overlap or lie beyond `rows` or `out`, or a sequence's cache has other heads or slots.
pub fn attention(rows: &[f32], width: usize, heads: Heads, sequences: &[Queries], out: &mut [f32]) {
    let job = Job { rows, width, heads, sequences, out: Shared(out.as_mut_ptr()) };
    job.check(out.len());
    let (whole, cut) = job.cut(pool::threads());
    if cut == Cut::Whole {
        return pool::run(whole, |task| job.task(cut, task, &mut []));
    }
    let (tasks, size) = (job.tasks(cut), job.sums());
    let mut sums = Buffer::new(tasks * size);
    pool::each_piece(&mut sums, size, |task, sums| job.task(cut, task, sums));
    pool::run(whole, |tile| job.merge(cut, tile, &sums));
}

/// How a tile is divided into tasks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// It is one.
    Whole,
    /// One for each group of its positions.
    Groups,
    /// One for each span.
    Spans,
}

impl Cut {
    /// Positions of a task.
    fn positions(self) -> usize {
        match self {
            Cut::Whole => usize::MAX,
            Cut::Groups => GROUP,
            Cut::Spans => SPAN,
        }
    }
}

/// Rows of a tile, about: with them a widened block of keys or values is used often, and is still in the first-level cache
/// with the queries.
const TILE_ROWS: usize = 32;

struct Job<'a> {
    rows: &'a [f32],
    width: usize,
    heads: Heads,
    sequences: &'a [Queries<'a>],
    out: Shared<f32>,
}

/// One tile of a job: some tokens of a sequence, and a key/value head.
struct Place<'a> {
    queries: &'a Queries<'a>,
    /// The first token, of the sequence's.
    token: usize,
    tokens: usize,
    head: usize,
}

thread_local! {
    /// Kept, so that a token allocates only when a tile is larger than any before.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl<'a> Job<'a> {
    /// Query heads that share a key/value head.
    fn group(&self) -> usize {
        self.heads.query / self.heads.key_value.max(1)
    }

    fn tokens_of_tile(&self) -> usize {
        (TILE_ROWS / self.group().max(1)).max(1)
    }

    /// Numbers of a tile's sums.
    fn sums(&self) -> usize {
        self.tokens_of_tile() * self.group() * sums_width(self.heads.size)
    }

    fn tasks(&self, cut: Cut) -> usize {
        self.tiles().map(|place| place.parts(cut)).sum()
    }

    /// Checks what tasks rely on when they read and write without bounds checks. Sums saturate: no slice is that long.
    fn check(&self, out: usize) {
        let Heads { query, key_value, size } = self.heads;
        let mut row = 0usize;
        for queries in self.sequences {
            assert!(queries.row >= row, "rows of two sequences overlap");
            row = queries.row.saturating_add(queries.tokens);
            assert!(queries.kept.fits(self.heads) && queries.span.slots == queries.kept.slots());
            let end = queries.span.first.saturating_add(queries.tokens);
            assert!(end <= isize::MAX as usize, "no position is {end}");
        }
        assert!(key_value > 0 && query.is_multiple_of(key_value) && size > 0);
        let mixed = query.saturating_mul(size);
        assert!(row.saturating_mul(mixed) <= out && row.saturating_mul(self.width) <= self.rows.len());
        assert!(mixed <= self.width);
    }

    /// How many tiles there are, and how they are divided: threads share the positions of a few tiles.
    fn cut(&self, threads: usize) -> (usize, Cut) {
        let whole = self.tasks(Cut::Whole);
        if whole >= 8 * threads {
            return (whole, Cut::Whole);
        }
        let groups = self.tasks(Cut::Groups);
        if groups > whole && groups >= 4 * threads {
            return (whole, Cut::Groups);
        }
        match whole < 2 * threads && self.tasks(Cut::Spans) > whole {
            true => (whole, Cut::Spans),
            false => (whole, Cut::Whole),
        }
    }

    /// The tiles of all sequences.
    fn tiles(&self) -> impl Iterator<Item = Place<'a>> {
        let (at_once, heads) = (self.tokens_of_tile(), self.heads.key_value);
        self.sequences.iter().flat_map(move |queries| {
            (0..queries.tokens).step_by(at_once).flat_map(move |token| {
                let tokens = at_once.min(queries.tokens - token);
                (0..heads).map(move |head| Place { queries, token, tokens, head })
            })
        })
    }

    /// The tile of a task, and which of its parts the task is.
    fn find(&self, cut: Cut, mut task: usize) -> Option<(Place<'a>, usize)> {
        for place in self.tiles() {
            let parts = place.parts(cut);
            if task < parts {
                return Some((place, task));
            }
            task -= parts;
        }
        None
    }

    fn task(&self, cut: Cut, task: usize, sums: &mut [f32]) {
        let Some((place, part)) = self.find(cut, task) else { return };
        each_type!(&place.queries.kept.heads, heads => self.part(cut, &place, &heads[place.head], part, sums));
    }

    fn tile<'k, K>(&self, place: &Place, kept: &'k K) -> Tile<'k, K> {
        Tile { kept, size: self.heads.size, heads: self.group(), tokens: place.tokens, span: place.span() }
    }

    fn part<K: Kernels>(&self, cut: Cut, place: &Place, kept: &K, part: usize, sums: &mut [f32]) {
        let tile = self.tile(place, kept);
        let size = tile.rows() * sums_width(tile.size);
        SCRATCH.with_borrow_mut(|scratch| {
            self.scale(place, scratch);
            let first = (place.first_part(cut) + part).saturating_mul(cut.positions());
            match cut {
                Cut::Groups => K::group(&tile, first, scratch, &mut sums[..size]),
                Cut::Spans => K::span(&tile, first, scratch, &mut sums[..size]),
                Cut::Whole => {
                    let mut all = std::mem::take(&mut scratch.all);
                    all.resize(size, 0.0);
                    K::all(&tile, scratch, &mut all);
                    self.finish(place, &all);
                    scratch.all = all;
                }
            }
        });
    }

    /// Puts the tile's queries, divided by the root of D, into the scratch.
    fn scale(&self, place: &Place, scratch: &mut Scratch) {
        let (size, wide) = (self.heads.size, self.group() * self.heads.size);
        let scale = 1.0 / (size as f32).sqrt();
        scratch.q.clear();
        for token in 0..place.tokens {
            let row = place.queries.row + place.token + token;
            let q = &self.rows[row * self.width + place.head * wide..][..wide];
            scratch.q.extend(q.iter().map(|q| q * scale));
        }
    }

    /// Merges the parts of a tile.
    fn merge(&self, cut: Cut, tile: usize, parts: &[f32]) {
        let before: usize = self.tiles().take(tile).map(|place| place.parts(cut)).sum();
        let Some(place) = self.tiles().nth(tile) else { return };
        let parts = &parts[before * self.sums()..][..place.parts(cut) * self.sums()];
        each_type!(&place.queries.kept.heads, heads => self.merge_parts(cut, &place, &heads[place.head], parts));
    }

    /// In the order in which the whole tile is summed: spans within their groups, then groups.
    fn merge_parts<K: Kernels>(&self, cut: Cut, place: &Place, kept: &K, parts: &[f32]) {
        let tile = self.tile(place, kept);
        let size = tile.rows() * sums_width(tile.size);
        let take =
            |scratch: &mut Scratch| (std::mem::take(&mut scratch.all), std::mem::take(&mut scratch.group));
        let (mut all, mut group) = SCRATCH.with_borrow_mut(take);
        all.resize(size, 0.0);
        group.resize(size, 0.0);
        clear(&tile, &mut all);
        clear(&tile, &mut group);
        let of_group = GROUP / SPAN;
        for (i, part) in (place.first_part(cut)..).zip(parts.chunks_exact(self.sums())) {
            if cut == Cut::Groups {
                K::merge(&tile, &part[..size], &mut all);
                continue;
            }
            if i % of_group == 0 {
                K::merge(&tile, &group, &mut all);
                clear(&tile, &mut group);
            }
            K::merge(&tile, &part[..size], &mut group);
        }
        K::merge(&tile, &group, &mut all);
        self.finish(place, &all);
        SCRATCH.with_borrow_mut(|scratch| (scratch.all, scratch.group) = (all, group));
    }

    /// Divides the sums by their weights and writes them to the result.
    fn finish(&self, place: &Place, sums: &[f32]) {
        let (size, group) = (self.heads.size, self.group());
        let width = sums_width(size);
        for (r, sums) in sums.chunks_exact(width).enumerate() {
            let row = place.queries.row + place.token + r / group;
            let at = (row * self.heads.query + place.head * group + r % group) * size;
            // SAFETY: the result has a row for each token and in it `size` values for each query head; a tile's tokens and
            // heads are in no other tile.
            #[allow(unsafe_code)]
            let out = unsafe { std::slice::from_raw_parts_mut(self.out.get().add(at), size) };
            let below = sums[width - 1];
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum / below);
        }
    }
}

impl Place<'_> {
    /// What its tokens see.
    fn span(&self) -> Span {
        Span { first: self.queries.span.first + self.token, ..self.queries.span }
    }

    /// The first part that has positions: parts are counted from position 0.
    fn first_part(&self, cut: Cut) -> usize {
        self.span().seen(self.tokens).start / cut.positions()
    }

    fn parts(&self, cut: Cut) -> usize {
        self.span().seen(self.tokens).end.div_ceil(cut.positions()) - self.first_part(cut)
    }
}

#[cfg(test)]
mod tests;
