//! Random changes of bytes, and of numbers and words in them.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Numbers at which programs go wrong.
const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0xff,
    0x100,
    0xffff,
    1 << 20,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// Texts at which they do.
const TEXTS: [&str; 30] = [
    "null",
    "true",
    "false",
    "-1",
    "1e999",
    "0.5",
    "NaN",
    "18446744073709551616",
    "99999999",
    "[]",
    "{}",
    "[[[[[[[[",
    "{\"a\":",
    "\"\"",
    "\\ud800",
    "\\u0000",
    "\u{feff}",
    "\n",
    "\r\n",
    "../",
    "/",
    "\0",
    "\u{202e}",
    "<unk>",
    "<s>",
    "%s",
    "{{",
    "%}",
    "*a",
    "&a",
];

/// The longest input that is made.
const LONGEST: usize = 1 << 20;

/// One of `seeds`, changed in a few places.
pub fn mutated(random: &mut ChaCha8Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
    let changes = 1 << random.random_range(0..5);
    for _ in 0..changes {
        change(random, &mut bytes, seeds);
    }
    bytes.truncate(LONGEST);
    bytes
}

/// A place in the bytes: most often near their beginning or their end, where descriptions are.
fn place(random: &mut ChaCha8Rng, bytes: &[u8]) -> usize {
    let length = bytes.len();
    let near = random.random_range(0..=length.min(4096));
    match random.random_range(0..4) {
        0 => random.random_range(0..=length),
        1 => length - near,
        _ => near,
    }
}

fn change(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = place(random, bytes);
    let left = bytes.len() - at;
    let stretch = random.random_range(0..=left.min(64));
    match random.random_range(0..11) {
        0 if left > 0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 if left > 0 => bytes[at] = random.random(),
        2 if left > 0 => put_number(random, &mut bytes[at..]),
        3 => drop(bytes.drain(at..at + stretch)),
        4 => drop(bytes.splice(at..at, bytes[at..at + stretch].to_vec())),
        5 => insert_text(random, bytes, at),
        6 => digits(random, bytes, at),
        7 => swap_words(random, bytes, at),
        8 => {
            let other = &seeds[random.random_range(0..seeds.len())];
            let from = place(random, other);
            let piece = &other[from..(from + random.random_range(0..256)).min(other.len())];
            bytes.splice(at..at + stretch, piece.iter().copied());
        }
        9 if random.random_range(0..8) == 0 => bytes.truncate(at),
        9 => {
            let piece = bytes[at..at + stretch].repeat(random.random_range(1..64));
            bytes.splice(at..at, piece);
        }
        _ => drop(bytes.splice(at..at, [random.random()])),
    }
}

fn put_number(random: &mut ChaCha8Rng, bytes: &mut [u8]) {
    let mut number = NUMBERS[random.random_range(0..NUMBERS.len())];
    number = number.wrapping_add(random.random_range(0..3)).wrapping_sub(1);
    let width = [1, 2, 4, 8][random.random_range(0..4)].min(bytes.len());
    bytes[..width].copy_from_slice(&number.to_le_bytes()[..width]);
}

fn insert_text(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>, at: usize) {
    let text = TEXTS[random.random_range(0..TEXTS.len())];
    let times = if random.random_range(0..10) == 0 { random.random_range(1..4096) } else { 1 };
    bytes.splice(at..at, text.repeat(times).into_bytes());
}

/// Puts another number in the place of the next run of digits.
fn digits(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>, at: usize) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|i| at + i) else { return };
    let end = bytes[start..].iter().position(|b| !b.is_ascii_digit()).map_or(bytes.len(), |i| start + i);
    let number = NUMBERS[random.random_range(0..NUMBERS.len())].to_string();
    bytes.splice(start..end, number.into_bytes());
}

/// Puts a word in quotes in the place of another one.
fn swap_words(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>, at: usize) {
    let word = |from: usize| {
        let start = from + bytes[from..].iter().position(|b| *b == b'"')?;
        let end = start + 1 + bytes[start + 1..].iter().position(|b| *b == b'"')?;
        Some(start..end + 1)
    };
    let Some(to) = word(at) else { return };
    let Some(from) = word(random.random_range(0..=bytes.len())) else { return };
    let new = bytes[from].to_vec();
    bytes.splice(to, new);
}
