//! The operations as compositions of candle's operations. CUDA and Metal run them, and they are the slow twin of
//! the CPU kernels. Norms, rotary position embedding and softmax are computed in f32 for tensors of any type.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops::{silu, softmax};

use crate::kernels::attention::{Heads, Span};
use crate::kernels::pointwise::RopeLayout;

/// Multiplies by a weight matrix: see [`super::ops::linear`].
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.t()?) // (T, N)
}

/// Computes RMSNorm: see [`super::ops::rms_norm`].
pub fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    let wide = x.to_dtype(DType::F32)?; // (T, C)
    let mean = wide.sqr()?.mean_keepdim(D::Minus1)?; // (T, 1)
    let normed = wide.broadcast_div(&(mean + epsilon)?.sqrt()?)?; // (T, C)
    normed.broadcast_mul(&weight.to_dtype(DType::F32)?)?.to_dtype(x.dtype()) // (T, C)
}

/// Applies rotary position embedding to the heads `(T, heads, D)`: see [`super::ops::rotated`].
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, layout: RopeLayout) -> Result<Tensor> {
    let (tokens, heads, size) = x.dims3()?;
    // Pairs side by side: (T, heads, 2, D/2) or (T, heads, D/2, 2).
    let (shape, axis) = match layout {
        RopeLayout::HalfSplit => ((tokens, heads, 2, size / 2), 2),
        RopeLayout::Interleaved => ((tokens, heads, size / 2, 2), 3),
    };
    let pairs = x.to_dtype(DType::F32)?.reshape(shape)?;
    let (a, b) = (pairs.narrow(axis, 0, 1)?.squeeze(axis)?, pairs.narrow(axis, 1, 1)?.squeeze(axis)?); // (T, heads, D/2)
    let (cos, sin) = (cos.unsqueeze(1)?, sin.unsqueeze(1)?); // (T, 1, D/2)
    let turned_a = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?; // (T, heads, D/2)
    let turned_b = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?; // (T, heads, D/2)
    Tensor::stack(&[turned_a, turned_b], axis)?.reshape((tokens, heads, size))?.to_dtype(x.dtype()) // (T, heads, D)
}

/// Computes the gated activation: see [`super::ops::swiglu`].
pub fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    let inner = gate_up.dim(1)? / 2;
    let (gate, up) =
        (gate_up.narrow(1, 0, inner)?.contiguous()?, gate_up.narrow(1, inner, inner)?.contiguous()?); // (T, F)
    silu(&gate)? * up // (T, F)
}

/// Computes attention: see [`super::ops::attention()`]. It computes the scores of all slots and masks those that a
/// query does not see.
pub fn attention(q: &Tensor, keys: &Tensor, values: &Tensor, heads: Heads, span: Span) -> Result<Tensor> {
    let (tokens, dtype) = (q.dim(0)?, q.dtype());
    let used = span.slots.min(span.first + tokens);
    let repeat = heads.query / heads.key_value;
    let mask = Tensor::new(mask(tokens, used, span), q.device())?.reshape((1, 1, tokens, used))?; // (1, 1, T, S)
    let ring = |rows: &Tensor| rows.narrow(0, 0, used)?.to_dtype(dtype)?.transpose(0, 1)?.contiguous(); // (G, S, D)
    let (keys, values) = (ring(keys)?, ring(values)?); // (G, S, D)
    let q = q.transpose(0, 1)?.contiguous()?.reshape((heads.key_value, repeat * tokens, heads.size))?; // (G, R·T, D)
    let scores = (q.matmul(&keys.t()?)? * (1.0 / (heads.size as f64).sqrt()))?.to_dtype(DType::F32)?; // (G, R·T, S)
    let scores = scores.reshape((heads.key_value, repeat, tokens, used))?.broadcast_add(&mask)?; // (G, R, T, S)
    let weights = softmax(&scores, D::Minus1)?.to_dtype(dtype)?; // (G, R, T, S)
    let mixed = weights.reshape((heads.key_value, repeat * tokens, used))?.matmul(&values)?; // (G, R·T, D)
    let mixed = mixed.reshape((heads.query, tokens, heads.size))?.transpose(0, 1)?.contiguous()?; // (T, H, D)
    mixed.reshape((tokens, heads.query * heads.size)) // (T, H·D)
}

/// Returns 0 for each slot that a query sees and minus infinity for others, `(T, S)`.
fn mask(tokens: usize, used: usize, span: Span) -> Vec<f32> {
    let last = span.first + tokens - 1;
    let mut mask = Vec::with_capacity(tokens * used);
    for position in span.first..=last {
        for slot in 0..used {
            // The newest position in this slot: at most `last`, and equal to `slot` modulo the number of slots.
            let held = last - (last - slot) % span.slots;
            let seen = (span.oldest(position)..=position).contains(&held);
            mask.push(if seen { 0.0 } else { f32::NEG_INFINITY });
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::ops;
    use super::*;
    use candle_core::Device;

    use super::super::ops::{Angles, Qkv, Queries, Ring};
    use super::super::weight::Vector;
    use crate::kernels::attention::{CacheType, KeyValues};
    use crate::quant::{HostRows, Rows};

    fn random(shape: &[usize]) -> Tensor {
        Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn host(tensor: &Tensor) -> HostRows {
        let mut rows = HostRows::scratch(tensor.dims()[0], tensor.elem_count() / tensor.dims()[0]);
        rows.copy_from_slice(&values(tensor));
        rows
    }

    /// Returns the same rows for the kernels and for candle.
    fn both(tensor: &Tensor) -> [Rows; 2] {
        [Rows::Host(host(tensor)), Rows::Device(tensor.clone())]
    }

    fn assert_close([fast, slow]: [Rows; 2]) {
        let [fast, slow] = [fast, slow].map(|rows| rows.to_host().unwrap());
        let gap = fast.iter().zip(&*slow).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(fast.len() == slow.len() && gap < 2e-6, "largest difference {gap}");
    }

    #[test]
    fn norm_activation_and_sums_equal_their_twins() {
        let (x, weight) = (random(&[5, 24]), random(&[24]));
        let weights = [Vector::Host(values(&weight)), Vector::Device(weight)];
        let [fast, slow] = both(&x);
        assert_close(
            [(&fast, &weights[0]), (&slow, &weights[1])].map(|(x, w)| ops::rms_norm(x, w, 1e-5).unwrap()),
        );
        assert_close([&fast, &slow].map(|x| ops::swiglu(x).unwrap()));
        let (tokens, routing_weights) = ([0, 2, 2, 1, 0], [0.5, 0.25, 0.75, 1.0, 0.5]);
        assert_close([&fast, &slow].map(|x| ops::sum_by_token(x, &tokens, &routing_weights, 3).unwrap()));
        assert_close([&fast, &slow].map(|x| ops::select(x, &[4, 0, 4]).unwrap()));
        assert_close([&fast, &slow].map(|x| ops::add(ops::select(x, &[0, 1, 2, 3, 4]).unwrap(), x).unwrap()));
    }

    /// Rotary position embedding, KV cache and attention, as in a layer. The calls are long enough for a windowed
    /// ring buffer to wrap.
    #[test]
    fn attention_equals_its_twin_with_and_without_a_wrapped_ring() {
        let heads = Heads { query: 6, key_value: 2, size: 8 };
        for (window, layout) in [(None, RopeLayout::HalfSplit), (Some(4), RopeLayout::Interleaved)] {
            let mut kept = KeyValues::new(CacheType::F32, 2, 8);
            kept.grow(16);
            let ring = || Tensor::zeros((16, 2, 8), DType::F32, &Device::Cpu).unwrap();
            let mut rings = [Ring::Host(kept), Ring::Device([ring(), ring()])];
            for (first, tokens) in
                [(0, 7), (7, 1), (8, 5)].into_iter().chain((13..40).map(|first| (first, 1)))
            {
                if window.is_none() && first + tokens > 16 {
                    break;
                }
                let (qkv, angles) = (random(&[tokens, 80]), random(&[tokens, 4]));
                let [cos, sin] = [angles.cos().unwrap(), angles.sin().unwrap()];
                let angles =
                    [Angles::Host([host(&cos), host(&sin)], layout), Angles::Device([cos, sin], layout)];
                let mut each =
                    both(&qkv).into_iter().zip(&mut rings).zip(angles).map(|((qkv, ring), angles)| {
                        let qkv = ops::rotated(qkv, heads, &angles).unwrap();
                        ring.append(first, &qkv, heads, 0, tokens).unwrap();
                        let span = Span { first, window, slots: ring.slots() };
                        let ring = &*ring;
                        ops::attention(&qkv, heads, 1, |_| Some(Queries { row: 0, tokens, span, ring }))
                            .unwrap()
                    });
                assert_close([each.next().unwrap(), each.next().unwrap()]);
            }
        }
    }

    /// The closure's later results are rows that do not exist: a task that called it again would write there.
    #[test]
    fn attention_calls_the_closure_once_for_each_sequence() {
        let heads = Heads { query: 6, key_value: 2, size: 8 };
        let mut kept = KeyValues::new(CacheType::F32, 2, 8);
        kept.grow(16);
        let (mut ring, qkv) = (Ring::Host(kept), Qkv::Host(host(&random(&[7, 80]))));
        ring.append(0, &qkv, heads, 0, 7).unwrap();
        let span = Span { first: 0, window: None, slots: 16 };
        let calls = AtomicUsize::new(0);
        let changing = |_| {
            let before = calls.fetch_add(1, Ordering::Relaxed);
            Some(Queries { row: before * 1_000_000, tokens: 7, span, ring: &ring })
        };
        let out = ops::attention(&qkv, heads, 1, changing).unwrap();
        let constant = |_| Some(Queries { row: 0, tokens: 7, span, ring: &ring });
        assert_close([out, ops::attention(&qkv, heads, 1, constant).unwrap()]);
        assert_eq!(calls.into_inner(), 1);
    }
}
