//! Quantized blocks against the `gguf` package's values, and blocks made here against the blocks it makes.

use std::collections::BTreeMap;

use mist::quant::Scheme;
use mist::quant::dequantize::dequantize;
use mist::quant::quantize::quantize_rows;
use serde::Deserialize;

/// Four blocks and their values, in hexadecimal.
#[derive(Deserialize)]
struct Blocks {
    blocks: String,
    values: String,
}

#[test]
fn blocks_of_every_scheme_have_the_values_of_the_gguf_package_bit_for_bit() {
    let all: BTreeMap<String, Blocks> = serde_json::from_str(&fixture("quants.json")).unwrap();
    for scheme in Scheme::all().filter(|scheme| !scheme.is_dense()) {
        let case = &all[&scheme.name().to_uppercase()];
        let expected: Vec<u32> = words(&case.values).collect();
        let mut found = vec![0.0f32; expected.len()];
        dequantize(scheme, &bytes(&case.blocks), &mut found);
        let found: Vec<u32> = found.iter().map(|value| value.to_bits()).collect();
        let differ = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!(differ, 0, "of {} values of {scheme}", expected.len());
    }
    let ours = Scheme::all().filter(|scheme| !scheme.is_dense()).count();
    assert_eq!(all.len(), ours, "every block type of the fixture has a scheme");
}

#[test]
fn rows_become_the_blocks_of_the_gguf_package_byte_for_byte() {
    let of_32 = [Scheme::Q4_0, Scheme::Q4_1, Scheme::Q5_0, Scheme::Q5_1, Scheme::Q8_0];
    assert_blocks_of("quantized.json", &of_32);
}

#[test]
fn rows_become_the_blocks_of_ggmls_searches_byte_for_byte() {
    assert_blocks_of("searched.json", &[Scheme::Q4K, Scheme::Q5K, Scheme::Q6K]);
}

/// Quantizes a fixture's values, a block a row, and compares with its blocks.
#[track_caller]
fn assert_blocks_of(name: &str, schemes: &[Scheme]) {
    let all: BTreeMap<String, String> = serde_json::from_str(&fixture(name)).unwrap();
    let rows: Vec<f32> = words(&all["values"]).map(f32::from_bits).collect();
    for scheme in schemes {
        let size = scheme.block_bytes();
        let expected = bytes(&all[&scheme.name().to_uppercase()]);
        let mut found = vec![0; expected.len()];
        quantize_rows(*scheme, &rows, scheme.block_len(), &mut found).unwrap();
        for (row, (found, expected)) in found.chunks(size).zip(expected.chunks(size)).enumerate() {
            assert_eq!(found, expected, "{scheme}, row {row}");
        }
    }
}

fn fixture(name: &str) -> String {
    std::fs::read_to_string(crate::support::fixtures().join(name)).unwrap()
}

fn words(hexadecimal: &str) -> impl Iterator<Item = u32> {
    let bytes = bytes(hexadecimal);
    (0..bytes.len() / 4).map(move |i| u32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap()))
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
