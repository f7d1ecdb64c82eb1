//! A model of the tile instructions in plain Rust, so that the kernels are tested on processors without AMX.
//!
//! Source: Intel's manual, volume 2 (`TILELOADD`, `TILESTORED`, `TILEZERO`, `TDPBSSD`, `TDPBSUD`).

use std::cell::RefCell;
use std::sync::OnceLock;

use crate::cpu::Level;

/// Maximum number of rows of a tile, and of bytes of a row.
const ROWS: usize = 16;
const BYTES: usize = 64;

#[derive(Clone, Copy)]
struct Tile {
    rows: usize,
    /// Bytes of a row.
    bytes: usize,
    content: [[u8; BYTES]; ROWS],
}

impl Tile {
    const NONE: Self = Self { rows: 0, bytes: 0, content: [[0; BYTES]; ROWS] };
}

thread_local! {
    static TILES: RefCell<[Tile; 8]> = const { RefCell::new([Tile::NONE; 8]) };
}

/// Returns whether the model is used: this processor has no AMX.
pub fn is_used() -> bool {
    static USED: OnceLock<bool> = OnceLock::new();
    *USED.get_or_init(|| Level::available().all(|level| level != Level::Amx))
}

/// Returns the number of a tile operand such as `tmm4`.
fn number(operand: &str) -> usize {
    operand.strip_prefix("tmm").unwrap().parse().unwrap()
}

/// Sets the shapes of the tiles, as rows and bytes per row, and zeroes them.
pub fn configure(shapes: impl Iterator<Item = (u8, u16)>) {
    TILES.with_borrow_mut(|tiles| {
        for (tile, (rows, bytes)) in tiles.iter_mut().zip(shapes) {
            *tile = Tile { rows: rows.into(), bytes: bytes.into(), ..Tile::NONE };
        }
    });
}

/// Loads a tile.
///
/// # Safety
/// The tile's rows can be read; each begins `stride` bytes after the one before.
#[allow(unsafe_code)]
pub unsafe fn load(operand: &str, at: *const u8, stride: usize) {
    TILES.with_borrow_mut(|tiles| {
        let tile = &mut tiles[number(operand)];
        tile.content = Tile::NONE.content;
        for (row, content) in tile.content.iter_mut().enumerate().take(tile.rows) {
            // SAFETY: guaranteed by the caller.
            let from = unsafe { std::slice::from_raw_parts(at.add(row * stride), tile.bytes) };
            content[..tile.bytes].copy_from_slice(from);
        }
    });
}

/// Stores a tile.
///
/// # Safety
/// The tile's rows can be written; each begins `stride` bytes after the one before.
#[allow(unsafe_code)]
pub unsafe fn store(operand: &str, at: *mut u8, stride: usize) {
    TILES.with_borrow(|tiles| {
        let tile = &tiles[number(operand)];
        for (row, content) in tile.content.iter().enumerate().take(tile.rows) {
            // SAFETY: guaranteed by the caller.
            let to = unsafe { std::slice::from_raw_parts_mut(at.add(row * stride), tile.bytes) };
            to.copy_from_slice(&content[..tile.bytes]);
        }
    });
}

/// Zeroes a tile.
pub fn zero(operand: &str) {
    TILES.with_borrow_mut(|tiles| tiles[number(operand)].content = Tile::NONE.content);
}

/// Adds the products of signed bytes with signed (`tdpbssd`) or unsigned (`tdpbsud`) bytes, four to a sum.
pub fn dot(kind: &str, sums: &str, x: &str, w: &str) {
    let weight = |byte: u8| match kind {
        "tdpbssd" => i32::from(byte as i8),
        "tdpbsud" => i32::from(byte),
        _ => panic!("{kind}"),
    };
    TILES.with_borrow_mut(|tiles| {
        let (x, w) = (tiles[number(x)], tiles[number(w)]);
        let sums = &mut tiles[number(sums)];
        // The processor requires these shapes and raises a fault otherwise.
        assert!(x.rows == sums.rows && w.bytes == sums.bytes && x.bytes == 4 * w.rows);
        for m in 0..sums.rows {
            for (n, sum) in sums.content[m][..sums.bytes].as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let products = (0..x.bytes)
                    .map(|k| i32::from(x.content[m][k] as i8) * weight(w.content[k / 4][4 * n + k % 4]));
                *sum = products.fold(i32::from_le_bytes(*sum), i32::wrapping_add).to_le_bytes();
            }
        }
    });
}
