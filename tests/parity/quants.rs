//! Quantized blocks against the `gguf` package's values.

use std::collections::BTreeMap;

use mist::kernels::Scheme;
use mist::kernels::dequantize::dequantize;
use serde::Deserialize;

/// Four blocks and their values, in hexadecimal.
#[derive(Deserialize)]
struct Blocks {
    blocks: String,
    values: String,
}

#[test]
fn blocks_of_every_scheme_have_the_values_of_the_gguf_package_bit_for_bit() {
    let text = std::fs::read_to_string(crate::support::fixtures().join("quants.json")).unwrap();
    let all: BTreeMap<String, Blocks> = serde_json::from_str(&text).unwrap();
    for scheme in Scheme::all().filter(|scheme| !scheme.is_dense()) {
        let case = &all[&scheme.name().to_uppercase()];
        let expected: Vec<u32> =
            bytes(&case.values).as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
        let mut found = vec![0.0f32; expected.len()];
        dequantize(scheme, &bytes(&case.blocks), &mut found);
        let found: Vec<u32> = found.iter().map(|value| value.to_bits()).collect();
        let differ = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!(differ, 0, "of {} values of {scheme}", expected.len());
    }
    let ours = Scheme::all().filter(|scheme| !scheme.is_dense()).count();
    assert_eq!(all.len(), ours, "every block type of the fixture has a scheme");
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
