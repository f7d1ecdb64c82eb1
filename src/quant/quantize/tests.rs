use super::*;
use crate::quant::dequantize::dequantize;
use proptest::prelude::*;

fn blocks(scheme: Scheme, weights: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0xa5; scheme.row_bytes(weights.len()).unwrap()];
    quantize_rows(scheme, weights, weights.len(), &mut bytes).unwrap();
    bytes
}

fn round_trip(scheme: Scheme, weights: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; weights.len()];
    dequantize(scheme, &blocks(scheme, weights), &mut out);
    out
}

/// Returns the number of weights that share a scale, the number of steps from the lowest to the highest quant, and
/// the largest distance of a weight from its quant in such steps.
fn bounds(scheme: Scheme) -> (usize, f32, f32) {
    match scheme {
        // Half a step, plus the rounding of the scale to f16 at the last quant. If the largest weight has the
        // lowest quant, no quant on the other side is as large in magnitude, so the distance is up to a whole step.
        Scheme::Q8_0 => (32, 254.0, 0.5 + 127.0 / 2048.0),
        Scheme::Q5_0 => (32, 32.0, 1.0 + 16.0 / 2048.0),
        Scheme::Q4_0 => (32, 16.0, 1.0 + 8.0 / 2048.0),
        // The minimum is rounded too, by up to 1/2048 of itself.
        Scheme::Q5_1 => (32, 31.0, 0.5 + 2.0 * 31.0 / 2048.0),
        Scheme::Q4_1 => (32, 15.0, 0.5 + 2.0 * 15.0 / 2048.0),
        // A search may clip the largest weights: by 2 steps at one end, 5 at both ends of q6_k, and half a step.
        // Scales and minima are also rounded to 6 bits of those of the widest group.
        Scheme::Q4K => (32, 15.0, 3.0),
        Scheme::Q5K => (32, 31.0, 3.5),
        Scheme::Q6K => (16, 64.0, 6.0),
        _ => unreachable!(),
    }
}

fn widths(weights: &[f32], group: usize, symmetric: bool) -> Vec<f32> {
    let width = |group: &[f32]| {
        let (low, high) = group.iter().fold((0f32, 0f32), |(low, high), x| (low.min(*x), high.max(*x)));
        if symmetric { 2.0 * high.max(-low) } else { high - low }
    };
    weights.chunks(group).map(width).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_weight_stays_within_the_error_of_its_scheme(
        weights in prop::collection::vec(-1f32..1.0, 256),
        scales in prop::collection::vec(-3i32..3, 16),
        largest in 0i32..12,
    ) {
        let scaled = weights.iter().enumerate().map(|(i, x)| x * 2f32.powi(largest - scales[i / 16].abs()));
        let weights: Vec<f32> = scaled.collect();
        for scheme in WRITTEN {
            let (group, steps, most) = bounds(scheme);
            let symmetric = matches!(scheme, Scheme::Q8_0 | Scheme::Q5_0 | Scheme::Q4_0 | Scheme::Q6K);
            let widths = widths(&weights, group, symmetric);
            // Scales of k-quants have 6 or 8 bits relative to the widest group's. The error is half a unit, times
            // the number of steps.
            let widest = widths.iter().fold(0f32, |most, x| most.max(*x));
            for (i, (x, y)) in weights.iter().zip(round_trip(scheme, &weights)).enumerate() {
                let width = if group * 16 < 512 && scheme.block_len() == 256 {
                    widths[i / group] + widest / 40.0
                } else {
                    widths[i / group]
                };
                // Scales of narrow groups are subnormal in f16. The error is half the smallest subnormal, times the
                // number of steps.
                let coarse = steps * 2f32.powi(-25);
                prop_assert!((x - y).abs() <= most * width / steps + coarse, "{scheme}: {x} became {y}");
            }
        }
    }

    #[test]
    fn searched_blocks_are_those_of_the_search_without_lanes(
        weights in prop::collection::vec(-1f32..1.0, 256),
        scales in prop::collection::vec(-30i32..3, 16),
        zeros in 0usize..40,
    ) {
        let scaled = weights.iter().enumerate().map(|(i, x)| x * 2f32.powi(scales[i / 16]));
        let weights: Vec<f32> = scaled.enumerate().map(|(i, x)| if i < zeros { 0.0 } else { x }).collect();
        let twins: [(Scheme, Vec<f32>); 3] = [
            (Scheme::Q4K, twin::affine(&weights, 15.0, -1.0, 21)),
            (Scheme::Q5K, twin::affine(&weights, 31.0, -0.5, 16)),
            (Scheme::Q6K, twin::symmetric(&weights)),
        ];
        for (scheme, expected) in twins {
            for (i, (y, expected)) in round_trip(scheme, &weights).into_iter().zip(expected).enumerate() {
                // Dequantization may fuse its multiply-add.
                prop_assert!((y - expected).abs() <= 2e-6 * expected.abs().max(y.abs()).max(1e-4), "{scheme} {i}: {y} {expected}");
            }
        }
    }

    #[test]
    fn all_levels_of_a_searched_block_are_the_nearest(
        weights in prop::collection::vec(-1f32..1.0, 256),
    ) {
        for scheme in [Scheme::Q4K, Scheme::Q5K, Scheme::Q6K] {
            let out = round_trip(scheme, &weights);
            let group = bounds(scheme).0;
            for (weights, out) in weights.chunks(group).zip(out.chunks(group)) {
                for (x, y) in weights.iter().zip(out) {
                    // No other quant of the group is nearer to the weight.
                    let nearest = out.iter().map(|quant| (x - quant).abs()).fold(f32::MAX, f32::min);
                    prop_assert!((x - y).abs() <= nearest + 1e-6, "{scheme}: {x} became {y}");
                }
            }
        }
    }
}

/// Returns weights distributed as in models, half of them with heavier tails.
fn typical(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let normal = |i: usize| {
        let sum: f32 = (0..6).map(|_| uniform()).sum();
        if i % 512 < 256 { sum * 0.03 } else { sum * sum * sum * 0.2 }
    };
    (0..count).map(normal).collect()
}

#[test]
fn blocks_are_the_same_on_every_instruction_set() {
    let weights = typical(300 * 256);
    for scheme in WRITTEN {
        let bytes = blocks(scheme, &weights);
        let mut portable = vec![0; bytes.len()];
        body::<false>(scheme, &weights, &mut portable, &mut None);
        assert!(portable == bytes, "{scheme}");
    }
}

#[test]
fn more_bits_leave_less_error() {
    let weights = typical(64 * 256);
    let error = |scheme: Scheme| {
        let out = round_trip(scheme, &weights);
        let squares: f32 = weights.iter().zip(out).map(|(x, y)| (x - y) * (x - y)).sum();
        (squares / weights.iter().map(|x| x * x).sum::<f32>()).sqrt()
    };
    let order = [Scheme::Q8_0, Scheme::Q6K, Scheme::Q5K, Scheme::Q5_1, Scheme::Q5_0];
    let errors = order.map(error);
    assert!(errors.is_sorted(), "{errors:?}");
    // The measured errors plus 1 %, to detect a search that finds worse blocks.
    let searched = [Scheme::Q6K, Scheme::Q5K, Scheme::Q4K].map(error);
    let most = [0.0240, 0.0494, 0.0911];
    assert!(searched.iter().zip(most).all(|(error, most)| *error < most), "{searched:?}");
}

#[test]
fn zeros_stay_zeros_and_negligible_weights_become_zeros() {
    for scheme in WRITTEN {
        for value in [0.0, -0.0, f32::MIN_POSITIVE, 1e-45, -1e-45, -1e-39, 2e-8] {
            let mut weights = vec![value; 256];
            weights[3] = 0.0;
            assert!(round_trip(scheme, &weights).iter().all(|x| *x == 0.0), "{scheme} of {value}");
        }
    }
}

#[test]
fn constants_and_outliers_are_kept() {
    for scheme in WRITTEN {
        for value in [0.3, -0.3, 100.0, -0.02] {
            for x in round_trip(scheme, &[value; 256]) {
                assert!((x - value).abs() <= value.abs() / 60.0, "{scheme}: {value} became {x}");
            }
            let mut weights = vec![0.0; 256];
            weights[77] = value;
            let out = round_trip(scheme, &weights);
            assert!((out[77] - value).abs() <= value.abs() / 500.0, "{scheme}: {value} became {}", out[77]);
            assert!(
                out.iter().enumerate().all(|(i, x)| i == 77 || x.abs() <= value.abs() / 500.0),
                "{scheme}"
            );
        }
    }
}

/// Returns how far rounding a block's f16 number can move a weight, in units of the smallest f16: half a unit,
/// times the largest quant and, for k-quants, the largest multiple. Smaller weights may become zeros.
fn coarse(scheme: Scheme) -> f32 {
    match scheme {
        Scheme::Q6K => 128.0 * 32.0 / 2.0,
        Scheme::Q5K => 63.0 * 31.0 / 2.0,
        Scheme::Q4K => 63.0 * 15.0 / 2.0,
        other => bounds(other).1 / 2.0,
    }
}

#[test]
fn weights_at_the_coarse_end_of_f16_move_by_at_most_its_smallest_step() {
    let smallest = 2f32.powi(-24);
    for scheme in WRITTEN {
        let weights: Vec<f32> = (0..256).map(|i| (i as f32 / 128.0 - 1.0) * 40.0 * smallest).collect();
        let group = bounds(scheme);
        for (x, y) in weights.iter().zip(round_trip(scheme, &weights)) {
            let most = 80.0 * smallest / group.1 * group.2 + coarse(scheme) * smallest;
            assert!((x - y).abs() <= most, "{scheme}: {} became {}", x / smallest, y / smallest);
        }
    }
}

#[test]
fn the_first_bad_weight_is_named() {
    for scheme in WRITTEN {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut weights = typical(1024);
            (weights[512 + 70], weights[1000]) = (value, value);
            let mut bytes = vec![0; scheme.row_bytes(1024).unwrap()];
            let message = quantize_rows(scheme, &weights, 512, &mut bytes).unwrap_err().to_string();
            assert_eq!(
                message,
                format!("the weight in row 1, column 70 is {value}, which {scheme} cannot store")
            );
        }
        for value in [f32::MAX, -f32::MAX, 4e8] {
            let mut weights = typical(256 * 64 * 4);
            (weights[256 * 130 + 5], weights[256 * 200]) = (value, value);
            let mut bytes = vec![0; scheme.row_bytes(weights.len()).unwrap()];
            let expected = Error::TooLarge { scheme, row: 130, column: 5, value };
            assert_eq!(quantize_rows(scheme, &weights, 256, &mut bytes), Err(expected));
            let below = Error::TooLarge { scheme, row: 130, column: 5, value }.below(1000);
            assert!(below.to_string().contains("in row 1130, column 5 is too large"));
        }
    }
}

#[test]
fn weights_at_the_limit_of_f16_scales_are_stored() {
    for scheme in WRITTEN {
        // The largest f16 at the last quant, on one side or both.
        let largest = match scheme {
            Scheme::Q8_0 => 65504.0 * 127.0,
            Scheme::Q6K => 65504.0 * 120.0 * 27.0,
            Scheme::Q5K | Scheme::Q4K => 65504.0 * 60.0 * 13.0,
            Scheme::Q5_0 => 65504.0 * 16.0,
            Scheme::Q4_0 => 65504.0 * 8.0,
            _ => 65504.0,
        };
        let weights: Vec<f32> = (0..256).map(|i| largest * (i as f32 / 255.0)).collect();
        let out = round_trip(scheme, &weights);
        assert!(out.iter().all(|x| x.is_finite()), "{scheme}");
        assert!((out[255] / largest - 1.0).abs() < 0.15, "{scheme}: {} of {largest}", out[255]);
    }
}

#[test]
fn other_schemes_and_lengths_that_do_not_agree_are_refused() {
    let refused = |scheme: Scheme, weights: usize, columns: usize, bytes: usize| {
        quantize_rows(scheme, &vec![0.0; weights], columns, &mut vec![0; bytes]).unwrap_err().to_string()
    };
    assert_eq!(
        refused(Scheme::Q2K, 256, 256, 84),
        "weights cannot be quantized to q2_k, only to q8_0, q6_k, q5_k, q5_1, q5_0, q4_k, q4_1, q4_0"
    );
    assert_eq!(refused(Scheme::Q8_0, 64, 32, 67), "64 weights in rows of 32 do not fill 67 bytes of q8_0");
    refused(Scheme::Q8_0, 65, 32, 68);
    refused(Scheme::Q8_0, 32, 0, 34);
    refused(Scheme::Q4K, 32, 32, 18);
    refused(Scheme::Q4K, 576, 576, 324);
    assert_eq!(quantize_rows(Scheme::Q4K, &[], 256, &mut []), Ok(()));
}
