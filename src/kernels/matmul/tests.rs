use super::*;
use crate::quant::Scheme;
use rand::{Rng, SeedableRng};

fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn matrix(values: &[f32], rows: usize, columns: usize) -> Matrix {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Matrix::new(Scheme::F32, rows, columns, bytes.into()).unwrap()
}

/// Ragged sizes: less than, equal to and more than a tile, a panel and the lanes.
const SIZES: [(usize, usize, usize); 8] =
    [(1, 1, 1), (1, 5, 7), (2, 4, 8), (3, 33, 64), (4, 70, 37), (7, 31, 576), (11, 3, 129), (2, 9, 40_000)];

#[test]
fn equals_the_sum_in_f64() {
    for (m, n, k) in SIZES {
        let (x, w) = (random(m * k, 1), random(n * k, 2));
        let mut out = vec![f32::NAN; m * n];
        matmul(&x, &matrix(&w, n, k), &mut out);
        for (i, y) in out.iter().enumerate() {
            let (row, column) = (i / n, i % n);
            let pairs = x[row * k..][..k].iter().zip(&w[column * k..][..k]);
            let exact: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!(
                (f64::from(*y) - exact).abs() < 2e-6 * (k as f64).sqrt() + 1e-6,
                "{m} {n} {k}: {y} {exact}"
            );
        }
    }
}

#[test]
fn a_row_is_the_same_bit_for_bit_alone_and_among_others() {
    for (m, n, k) in SIZES {
        let (x, w) = (random(m * k, 3), matrix(&random(n * k, 4), n, k));
        let mut together = vec![0.0; m * n];
        matmul(&x, &w, &mut together);
        for row in 0..m {
            let mut alone = vec![0.0; n];
            matmul(&x[row * k..][..k], &w, &mut alone);
            assert_eq!(alone, together[row * n..][..n]);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let (x, w) = (random(5 * 576, 5), matrix(&random(200 * 576, 6), 200, 576));
    let run = |threads| {
        let mut out = vec![0.0; 5 * 200];
        pool::with_threads(threads, || matmul(&x, &w, &mut out));
        out
    };
    assert_eq!(run(1), run(3));
}

/// Returns the bytes of values in a dense scheme.
fn dense(scheme: Scheme, values: &[f32]) -> Vec<u8> {
    let bytes = |v: &f32| match scheme {
        Scheme::F32 => v.to_le_bytes().to_vec(),
        Scheme::F16 => ::half::f16::from_f32(*v).to_le_bytes().to_vec(),
        _ => ::half::bf16::from_f32(*v).to_le_bytes().to_vec(),
    };
    values.iter().flat_map(bytes).collect()
}

/// Computes the product with the portable twin, fused.
fn twin(x: &[f32], w: &Matrix) -> Vec<f32> {
    let (n, k, wide) = (w.rows(), w.columns(), w.to_f32());
    let dot = |i: usize| cpu::dot::<true>(&x[i / n * k..][..k], &wide[i % n * k..][..k]);
    (0..x.len() / k * n).map(dot).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// The test runs every instruction set that fuses multiply-adds, each number of rows of a tile and more, ragged
/// sizes, and more columns than a tile or the converted panel has.
#[test]
fn the_fast_tiles_are_the_fused_portable_one_bit_for_bit() {
    let rows = (1..=20).chain([32, 33, 40, 70]).map(|m| (m, 37, 816));
    let wide = [(7, 33, 9_000), (34, 33, 9_003), (3, 2, 40_000), (35, 2, 40_007), (40, 5, 15), (40, 4, 16)];
    for (m, n, k) in SIZES.into_iter().chain(rows).chain(wide) {
        for scheme in [Scheme::F32, Scheme::F16, Scheme::Bf16] {
            let x = random(m * k, 7);
            let w = Matrix::new(scheme, n, k, dense(scheme, &random(n * k, 8)).into()).unwrap();
            let expected = bits(&twin(&x, &w));
            for level in Level::available().filter(|level| *level > Level::Portable) {
                let mut out = vec![f32::NAN; m * n];
                matmul_with(level, &x, &w, &mut out);
                assert!(bits(&out) == expected, "{scheme} {} {m} {n} {k}", level.name());
            }
        }
    }
}

#[test]
fn blocks_as_rows_and_as_panels_are_their_widened_rows_bit_for_bit() {
    use crate::quant::Layout;
    use crate::quant::layout::pack;
    use crate::quant::random::weights;
    // More columns than a converted panel of 37 rows has.
    let (n, k) = (37, 9216);
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(12);
    for scheme in Scheme::all().filter(|scheme| !scheme.is_dense()) {
        let plain = weights(scheme, n * k / scheme.block_len(), &mut rng);
        let panels = pack(scheme, n, k, &plain).unwrap();
        for (layout, bytes) in [(Layout::Rows, plain), (Layout::Panels, panels)] {
            let w = Matrix::laid(layout, scheme, n, k, bytes.into()).unwrap();
            let w = w.slice(3..n).unwrap();
            for m in [1, 7] {
                let x = random(m * k, 9);
                let expected = bits(&twin(&x, &w));
                for level in Level::available().filter(|level| *level > Level::Portable) {
                    let mut out = vec![f32::NAN; m * w.rows()];
                    matmul_with(level, &x, &w, &mut out);
                    assert!(bits(&out) == expected, "{scheme} {layout:?} {} {m}", level.name());
                }
            }
        }
    }
}

#[test]
fn infinite_weights_and_ones_that_are_no_numbers_show_in_their_column_alone() {
    let (n, k) = (9, 53);
    for scheme in [Scheme::F32, Scheme::F16, Scheme::Bf16] {
        for at in [0, 20, 50] {
            let mut values = random(n * k, 10);
            values[2 * k + at] = f32::INFINITY;
            values[5 * k + at] = f32::NAN;
            let w = Matrix::new(scheme, n, k, dense(scheme, &values).into()).unwrap();
            for m in [1, 5, 40] {
                for level in Level::available() {
                    let mut out = vec![0.0; m * n];
                    matmul_with(level, &random(m * k, 11), &w, &mut out);
                    for (i, y) in out.iter().enumerate() {
                        match i % n {
                            2 => assert!(y.is_infinite()),
                            5 => assert!(y.is_nan()),
                            _ => assert!(y.is_finite()),
                        }
                    }
                }
            }
        }
    }
}

/// Some numbers are subnormal in f16 and normal in f32; some bf16 numbers are subnormal in both.
#[test]
fn subnormal_weights_count() {
    for (scheme, bits) in
        [(Scheme::F16, 1u16), (Scheme::F16, 0x83ff), (Scheme::Bf16, 1), (Scheme::Bf16, 0x807f)]
    {
        let w = Matrix::new(scheme, 1, 17, bits.to_le_bytes().repeat(17).into()).unwrap();
        let x = vec![1e30; 17 * 40];
        for level in Level::available() {
            for m in [1, 40] {
                let mut out = vec![0.0; m];
                matmul_with(level, &x[..17 * m], &w, &mut out);
                assert_eq!(out[m - 1], cpu::dot::<true>(&x[..17], &w.to_f32()), "{scheme} {}", level.name());
                assert!(out[m - 1] != 0.0);
            }
        }
    }
}
