//! Scaled dot-product attention over the KV cache, in f32, with softmax.
//!
//! | file | what |
//! |---|---|
//! | `heads` | number and size of heads |
//! | `positions` | the positions that a query sees, and how they are divided into spans |
//! | `store` | the keys and values of a sequence in memory, in four types |
//! | `blocked` | a tile of queries over spans of positions |
//! | `tiles` | the innermost loops, in registers |

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

/// A sequence slice: consecutive tokens of one sequence among the rows of queries.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// Row of the first token.
    pub row: usize,
    /// Number of tokens.
    pub tokens: usize,
    /// The positions that the tokens see.
    pub span: Span,
    /// The sequence's keys and values, including those of these tokens.
    pub kept: &'a KeyValues,
}

/// Computes the attention of the queries in `rows (T, width)`, the first H·D values of each row: `out (T, H·D)`.
///
/// `sequences` are in the order of their rows. Each row and head is summed over its positions in an order that
/// depends only on its own position. So the result does not depend on the number of slots, on how a prompt is
/// divided into chunks, or on the other sequences of the batch.
///
/// # Panics
/// If rows overlap or lie outside `rows` or `out`, or if a sequence's cache has other heads or slots.
pub fn attention(rows: &[f32], width: usize, heads: Heads, sequences: &[Queries], out: &mut [f32]) {
    let job = AttentionJob { rows, width, heads, sequences, out: Shared(out.as_mut_ptr()) };
    job.check(out.len());
    let (whole, division) = job.divide(pool::threads());
    if division == Division::Whole {
        return pool::run(whole, |task| job.task(division, task, &mut []));
    }
    let (tasks, size) = (job.tasks(division), job.sums());
    let mut sums = Buffer::new(tasks * size);
    pool::each_piece(&mut sums, size, |task, sums| job.task(division, task, sums));
    pool::run(whole, |tile| job.merge(division, tile, &sums));
}

/// How a tile is divided into tasks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Division {
    /// One task per tile.
    Whole,
    /// One task per group of positions.
    Groups,
    /// One task per span of positions.
    Spans,
}

impl Division {
    /// Returns the number of positions per task.
    fn positions(self) -> usize {
        match self {
            Division::Whole => usize::MAX,
            Division::Groups => GROUP,
            Division::Spans => SPAN,
        }
    }
}

/// Approximate number of rows of a tile. With 32, a converted block of keys or values is reused often, and still
/// fits the L1 cache together with the queries.
const TILE_ROWS: usize = 32;

struct AttentionJob<'a> {
    rows: &'a [f32],
    width: usize,
    heads: Heads,
    sequences: &'a [Queries<'a>],
    out: Shared<f32>,
}

/// A tile of the job: some tokens of a sequence, and a key/value head.
struct HeadTile<'a> {
    queries: &'a Queries<'a>,
    /// Index of the first token within the sequence slice.
    token: usize,
    tokens: usize,
    head: usize,
}

thread_local! {
    /// Reused, so that a token allocates only for a tile larger than any before.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl<'a> AttentionJob<'a> {
    /// Returns the number of query heads that share a key/value head.
    fn group(&self) -> usize {
        self.heads.query / self.heads.key_value.max(1)
    }

    fn tokens_of_tile(&self) -> usize {
        (TILE_ROWS / self.group().max(1)).max(1)
    }

    /// Returns the number of floats in a tile's sums.
    fn sums(&self) -> usize {
        self.tokens_of_tile() * self.group() * sums_width(self.heads.size)
    }

    fn tasks(&self, division: Division) -> usize {
        self.tiles().map(|head_tile| head_tile.parts(division)).sum()
    }

    /// Checks the sizes that tasks rely on when they read and write without bounds checks. Arithmetic saturates,
    /// and no slice has the maximal length.
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

    /// Returns the number of tiles and how to divide them. If there are few tiles, threads share a tile's
    /// positions.
    fn divide(&self, threads: usize) -> (usize, Division) {
        let whole = self.tasks(Division::Whole);
        if whole >= 8 * threads {
            return (whole, Division::Whole);
        }
        let groups = self.tasks(Division::Groups);
        if groups > whole && groups >= 4 * threads {
            return (whole, Division::Groups);
        }
        match whole < 2 * threads && self.tasks(Division::Spans) > whole {
            true => (whole, Division::Spans),
            false => (whole, Division::Whole),
        }
    }

    /// Returns the tiles of all sequences.
    fn tiles(&self) -> impl Iterator<Item = HeadTile<'a>> {
        let (at_once, heads) = (self.tokens_of_tile(), self.heads.key_value);
        self.sequences.iter().flat_map(move |queries| {
            (0..queries.tokens).step_by(at_once).flat_map(move |token| {
                let tokens = at_once.min(queries.tokens - token);
                (0..heads).map(move |head| HeadTile { queries, token, tokens, head })
            })
        })
    }

    /// Returns the tile that a task belongs to, and the index of the task within the tile.
    fn find(&self, division: Division, mut task: usize) -> Option<(HeadTile<'a>, usize)> {
        for head_tile in self.tiles() {
            let parts = head_tile.parts(division);
            if task < parts {
                return Some((head_tile, task));
            }
            task -= parts;
        }
        None
    }

    fn task(&self, division: Division, task: usize, sums: &mut [f32]) {
        let Some((head_tile, part)) = self.find(division, task) else { return };
        each_type!(&head_tile.queries.kept.heads, heads => {
            self.part(division, &head_tile, &heads[head_tile.head], part, sums);
        });
    }

    fn tile<'k, K>(&self, head_tile: &HeadTile, kept: &'k K) -> Tile<'k, K> {
        Tile {
            kept,
            size: self.heads.size,
            heads: self.group(),
            tokens: head_tile.tokens,
            span: head_tile.span(),
        }
    }

    fn part<K: Kernels>(
        &self,
        division: Division,
        head_tile: &HeadTile,
        kept: &K,
        part: usize,
        sums: &mut [f32],
    ) {
        let tile = self.tile(head_tile, kept);
        let size = tile.rows() * sums_width(tile.size);
        SCRATCH.with_borrow_mut(|scratch| {
            self.scale(head_tile, scratch);
            let first = (head_tile.first_part(division) + part).saturating_mul(division.positions());
            match division {
                Division::Groups => K::group(&tile, first, scratch, &mut sums[..size]),
                Division::Spans => K::span(&tile, first, scratch, &mut sums[..size]),
                Division::Whole => {
                    let mut all = std::mem::take(&mut scratch.all);
                    all.resize(size, 0.0);
                    K::all(&tile, scratch, &mut all);
                    self.finish(head_tile, &all);
                    scratch.all = all;
                }
            }
        });
    }

    /// Writes the tile's queries, divided by the root of D, to the scratch.
    fn scale(&self, head_tile: &HeadTile, scratch: &mut Scratch) {
        let (size, wide) = (self.heads.size, self.group() * self.heads.size);
        let scale = 1.0 / (size as f32).sqrt();
        scratch.q.clear();
        for token in 0..head_tile.tokens {
            let row = head_tile.queries.row + head_tile.token + token;
            let q = &self.rows[row * self.width + head_tile.head * wide..][..wide];
            scratch.q.extend(q.iter().map(|q| q * scale));
        }
    }

    /// Merges the partial sums of a tile.
    fn merge(&self, division: Division, tile: usize, parts: &[f32]) {
        let before: usize = self.tiles().take(tile).map(|head_tile| head_tile.parts(division)).sum();
        let Some(head_tile) = self.tiles().nth(tile) else { return };
        let parts = &parts[before * self.sums()..][..head_tile.parts(division) * self.sums()];
        each_type!(&head_tile.queries.kept.heads, heads => {
            self.merge_parts(division, &head_tile, &heads[head_tile.head], parts);
        });
    }

    /// Merges partial sums in the order in which a whole tile is summed: spans within groups, then groups.
    fn merge_parts<K: Kernels>(&self, division: Division, head_tile: &HeadTile, kept: &K, parts: &[f32]) {
        let tile = self.tile(head_tile, kept);
        let size = tile.rows() * sums_width(tile.size);
        let take =
            |scratch: &mut Scratch| (std::mem::take(&mut scratch.all), std::mem::take(&mut scratch.group));
        let (mut all, mut group) = SCRATCH.with_borrow_mut(take);
        all.resize(size, 0.0);
        group.resize(size, 0.0);
        clear(&tile, &mut all);
        clear(&tile, &mut group);
        let spans_per_group = GROUP / SPAN;
        for (i, part) in (head_tile.first_part(division)..).zip(parts.chunks_exact(self.sums())) {
            if division == Division::Groups {
                K::merge(&tile, &part[..size], &mut all);
                continue;
            }
            if i % spans_per_group == 0 {
                K::merge(&tile, &group, &mut all);
                clear(&tile, &mut group);
            }
            K::merge(&tile, &part[..size], &mut group);
        }
        K::merge(&tile, &group, &mut all);
        self.finish(head_tile, &all);
        SCRATCH.with_borrow_mut(|scratch| (scratch.all, scratch.group) = (all, group));
    }

    /// Divides the sums by the sum of weights and writes them to the result.
    fn finish(&self, head_tile: &HeadTile, sums: &[f32]) {
        let (size, group) = (self.heads.size, self.group());
        let width = sums_width(size);
        for (r, sums) in sums.chunks_exact(width).enumerate() {
            let row = head_tile.queries.row + head_tile.token + r / group;
            let at = (row * self.heads.query + head_tile.head * group + r % group) * size;
            // SAFETY: the result has a row for each token, with `size` values for each query head. Tiles have
            // disjoint tokens or heads.
            #[allow(unsafe_code)]
            let out = unsafe { std::slice::from_raw_parts_mut(self.out.get().add(at), size) };
            let below = sums[width - 1];
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum / below);
        }
    }
}

impl HeadTile<'_> {
    /// Returns the positions that the tile's tokens see.
    fn span(&self) -> Span {
        Span { first: self.queries.span.first + self.token, ..self.queries.span }
    }

    /// Returns the first part with a position that the tile sees. Parts are counted from position 0.
    fn first_part(&self, division: Division) -> usize {
        self.span().seen(self.tokens).start / division.positions()
    }

    fn parts(&self, division: Division) -> usize {
        self.span().seen(self.tokens).end.div_ceil(division.positions()) - self.first_part(division)
    }
}

#[cfg(test)]
mod tests;
