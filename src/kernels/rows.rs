//! Operations on rows of activations: RMSNorm, rotary positions, the gated activation, sums.

use rayon::prelude::*;

use super::cpu::{dot, kernel};

/// Which elements of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeLayout {
    /// Element i with i + D/2, as Hugging Face checkpoints have it.
    HalfSplit,
    /// Element 2i with 2i + 1, as Mistral's own files and llama-architecture GGUF files have it.
    Interleaved,
}

/// RMSNorm (Zhang and Sennrich 2019): each row of `x (T, C)` divided by its root mean square, times `weight (C)`.
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let columns = weight.len().max(1);
    let rows = x.par_chunks_exact(columns).zip(out.par_chunks_exact_mut(columns));
    rows.for_each(|(x, out)| rms_norm_row(x, weight, epsilon, out));
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

/// Rotary positions (Su et al. 2021), in place: every head of `x (T, heads, D)` is rotated by its row of
/// `cos` and `sin`, both `(T, D/2)`.
pub fn rope(x: &mut [f32], heads: usize, cos: &[f32], sin: &[f32], layout: RopeLayout, half: usize) {
    if half == 0 || heads == 0 {
        return;
    }
    let tokens = x.par_chunks_exact_mut(heads * half * 2);
    tokens.zip(cos.par_chunks_exact(half)).zip(sin.par_chunks_exact(half)).for_each(|((x, cos), sin)| {
        for head in x.chunks_exact_mut(half * 2) {
            rotate(head, cos, sin, layout);
        }
    });
}

fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32], layout: RopeLayout) {
    let half = head.len() / 2;
    for (i, (cos, sin)) in cos.iter().zip(sin).enumerate() {
        let (a, b) = match layout {
            RopeLayout::HalfSplit => (i, i + half),
            RopeLayout::Interleaved => (2 * i, 2 * i + 1),
        };
        let (x, y) = (head[a], head[b]);
        head[a] = x * cos - y * sin;
        head[b] = y * cos + x * sin;
    }
}

/// The gated activation (Shazeer 2020, SwiGLU): `gate_up (T, 2F)` holds gate then up; `out (T, F)` is
/// silu(gate) · up.
pub fn swiglu(gate_up: &[f32], inner: usize, out: &mut [f32]) {
    let rows = gate_up.par_chunks_exact(2 * inner.max(1)).zip(out.par_chunks_exact_mut(inner.max(1)));
    rows.for_each(|(gate_up, out)| {
        let (gate, up) = gate_up.split_at(inner);
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = gate / (1.0 + (-gate).exp()) * up;
        }
    });
}

/// The softmax of a few logits, in f32, with the largest subtracted first.
pub fn softmax(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for logit in logits.iter_mut() {
        *logit = (*logit - largest).exp();
        sum += *logit;
    }
    for logit in logits {
        *logit /= sum;
    }
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
    fn softmax_of_huge_logits_is_finite() {
        let mut logits = [1e30, 1e30, -1e30];
        softmax(&mut logits);
        assert_eq!(logits, [0.5, 0.5, 0.0]);
    }
}
