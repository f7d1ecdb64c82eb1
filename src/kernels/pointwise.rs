//! Operations on each row of activations: RMSNorm, rotary position embedding, gated activation, softmax.

use crate::cpu::pool::each_row;
use crate::cpu::simd::{Simd, dispatch, exp};
use crate::cpu::{dot, kernel};

/// Which elements of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeLayout {
    /// Element i with element i + D/2, as in Hugging Face checkpoints.
    HalfSplit,
    /// Element 2i with element 2i + 1, as in Mistral's own files and llama-architecture GGUF files.
    Interleaved,
}

/// Computes RMSNorm (Zhang and Sennrich 2019): divides each row of `x (T, C)` by its root mean square and
/// multiplies it by `weight (C)`.
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let columns = weight.len().max(1);
    each_row(out, columns, |i, out| rms_norm_row(&x[i * columns..][..columns], weight, epsilon, out));
}

kernel! { fn rms_norm_row(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) = rms_norm_body }

#[inline(always)]
fn rms_norm_body<const FUSED: bool>(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let mean = dot::<FUSED>(x, x) / x.len() as f32;
    let scale = 1.0 / (mean + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = weight * (x * scale);
    }
}

/// Applies rotary position embedding (Su et al. 2021) in place.
///
/// It rotates the first `heads` heads of every row of `x`, which is `width` wide, by the row's angles: `cos` and
/// `sin` have `half` values per row.
pub fn rope(
    x: &mut [f32],
    width: usize,
    heads: usize,
    [cos, sin]: [&[f32]; 2],
    half: usize,
    layout: RopeLayout,
) {
    if half == 0 || heads == 0 {
        return;
    }
    each_row(x, width, |i, row| {
        let (cos, sin) = (&cos[i * half..][..half], &sin[i * half..][..half]);
        row.chunks_exact_mut(half * 2).take(heads).for_each(|head| rotate(head, cos, sin, layout));
    });
}

kernel! { fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32], layout: RopeLayout) = rotate_body }

#[inline(always)]
fn rotate_body<const FUSED: bool>(head: &mut [f32], cos: &[f32], sin: &[f32], layout: RopeLayout) {
    let turn = |x: &mut f32, y: &mut f32, cos: f32, sin: f32| {
        (*x, *y) = (*x * cos - *y * sin, *y * cos + *x * sin);
    };
    match layout {
        RopeLayout::HalfSplit => {
            let (first, second) = head.split_at_mut(cos.len());
            for (((x, y), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                turn(x, y, *cos, *sin);
            }
        }
        RopeLayout::Interleaved => {
            for (([x, y], cos), sin) in head.as_chunks_mut().0.iter_mut().zip(cos).zip(sin) {
                turn(x, y, *cos, *sin);
            }
        }
    }
}

/// Computes the gated activation (SwiGLU, Shazeer 2020). Rows of `gate_up (T, 2F)` hold gate, then up; `out (T, F)`
/// is silu(gate) · up.
pub fn swiglu(gate_up: &[f32], inner: usize, out: &mut [f32]) {
    each_row(out, inner.max(1), |i, out| {
        let (gate, up) = gate_up[2 * i * inner..][..2 * inner].split_at(inner);
        gated(gate, up, out);
    });
}

fn gated(gate: &[f32], up: &[f32], out: &mut [f32]) {
    dispatch!(gated_body(gate: &[f32], up: &[f32], out: &mut [f32]));
}

#[inline(always)]
fn gated_body<S: Simd>(gate: &[f32], up: &[f32], out: &mut [f32]) {
    let inner = out.len();
    let whole = inner - inner % S::LANES;
    assert!(gate.len() == inner && up.len() == inner);
    for i in (0..whole).step_by(S::LANES) {
        // SAFETY: all three have more than i + LANES values.
        #[allow(unsafe_code)]
        unsafe {
            gate_one::<S>(gate.as_ptr().add(i), up.as_ptr().add(i), out.as_mut_ptr().add(i));
        }
    }
    let mut ends = [[0.0; 16]; 3];
    let end = inner - whole;
    ends[0][..end].copy_from_slice(&gate[whole..]);
    ends[1][..end].copy_from_slice(&up[whole..]);
    let [gate, up, ends] = &mut ends;
    // SAFETY: no instruction set has more than sixteen lanes.
    #[allow(unsafe_code)]
    unsafe {
        gate_one::<S>(gate.as_ptr(), up.as_ptr(), ends.as_mut_ptr());
    }
    out[whole..].copy_from_slice(&ends[..end]);
}

/// Computes silu(gate) · up for one register.
///
/// # Safety
/// `LANES` values can be read at `gate` and `up`, and written at `out`.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn gate_one<S: Simd>(gate: *const f32, up: *const f32, out: *mut f32) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let gate = S::load(gate);
        let denominator = exp(S::splat(0.0).sub(gate)).add(S::splat(1.0));
        gate.div(denominator).mul(S::load(up)).store(out);
    }
}

/// Computes the softmax of logits in place, in f32, after subtracting the largest. The sum is taken in the order of
/// the logits.
pub fn softmax(logits: &mut [f32]) {
    exponentials(logits);
    let sum: f32 = logits.iter().fold(0.0, |sum, x| sum + x);
    logits.iter_mut().for_each(|x| *x /= sum);
}

/// Replaces each logit x by e^(x - largest).
fn exponentials(logits: &mut [f32]) {
    dispatch!(exponentials_body(logits: &mut [f32]));
}

#[inline(always)]
fn exponentials_body<S: Simd>(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut chunks = logits.chunks_exact_mut(S::LANES);
    for chunk in &mut chunks {
        // SAFETY: a chunk is LANES values.
        #[allow(unsafe_code)]
        unsafe {
            exp(S::load(chunk.as_ptr()).sub(S::splat(largest))).store(chunk.as_mut_ptr());
        }
    }
    let rest = chunks.into_remainder();
    let mut end = [0.0; 16];
    end[..rest.len()].copy_from_slice(rest);
    // SAFETY: no instruction set has more than sixteen lanes.
    #[allow(unsafe_code)]
    unsafe {
        exp(S::load(end.as_ptr()).sub(S::splat(largest))).store(end.as_mut_ptr());
    }
    rest.copy_from_slice(&end[..rest.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_rope_layouts_are_the_same_rotation_of_permuted_heads() {
        let head: Vec<f32> = (0..8).map(|v| v as f32).collect();
        let (cos, sin) = ([0.8, 0.6, 0.0, 1.0], [0.6, 0.8, 1.0, 0.0]);
        let mut split = head.clone();
        rotate(&mut split, &cos, &sin, RopeLayout::HalfSplit);
        let mut interleaved: Vec<f32> = (0..8).map(|i| head[i / 2 + i % 2 * 4]).collect();
        rotate(&mut interleaved, &cos, &sin, RopeLayout::Interleaved);
        let back: Vec<f32> = (0..8).map(|i| interleaved[i % 4 * 2 + i / 4]).collect();
        assert_eq!(split, back);
        assert_eq!(split[0], 0.0 * 0.8 - 4.0 * 0.6);
    }

    #[test]
    fn swiglu_is_its_definition_for_any_width_and_number_of_rows() {
        for (rows, inner) in [(1, 1), (3, 7), (2, 16), (5, 33), (200, 576)] {
            let x: Vec<f32> = (0..rows * 2 * inner).map(|i| (i as f32 * 0.37).sin() * 9.0).collect();
            let mut out = vec![f32::NAN; rows * inner];
            swiglu(&x, inner, &mut out);
            for (i, y) in out.iter().enumerate() {
                let row = &x[i / inner * 2 * inner..][..2 * inner];
                let (gate, up) = (f64::from(row[i % inner]), f64::from(row[inner + i % inner]));
                let exact = gate / (1.0 + (-gate).exp()) * up;
                assert!((f64::from(*y) - exact).abs() <= exact.abs() * 5e-7, "{y} {exact}");
            }
        }
    }

    #[test]
    fn softmax_of_huge_logits_is_finite() {
        let mut logits = [1e30, 1e30, -1e30];
        softmax(&mut logits);
        assert_eq!(logits, [0.5, 0.5, 0.0]);
    }

    #[test]
    fn softmax_is_its_definition_for_any_number_of_logits() {
        for count in [1, 2, 8, 15, 16, 17, 40, 1000] {
            let logits: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin() * 9.0).collect();
            let mut probabilities = logits.clone();
            softmax(&mut probabilities);
            let exponentials = || logits.iter().map(|x| f64::from(*x).exp());
            let sum: f64 = exponentials().sum();
            for (probability, exact) in probabilities.iter().zip(exponentials()) {
                assert!((f64::from(*probability) - exact / sum).abs() < exact / sum * 1e-5);
            }
        }
    }
}
