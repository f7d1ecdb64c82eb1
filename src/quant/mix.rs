//! Selects the scheme of each matrix of a quantized checkpoint.
//!
//! Matrices with the most effect on predictions get more bits than requested, as in llama.cpp's Q4_K_M and similar
//! types (`llama_tensor_get_type_impl` in `llama-quant.cpp`, without an importance matrix). A matrix whose rows are
//! not a whole number of blocks gets a scheme that fits. So a file is as large as llama.cpp's.
//!
//! | requested | llama.cpp's file type | more bits |
//! |---|---|---|
//! | q4_k | Q4_K_M | head q6_k; values and down projections q6_k in half of the layers |
//! | q5_k | Q5_K_M | the same |
//! | q6_k, q8_0 | Q6_K, Q8_0 | none |
//! | q4_0, q4_1, q5_0, q5_1 | Q4_0, Q4_1, Q5_0, Q5_1 | head q6_k |
//!
//! A tied embedding counts as the head. With 8 experts, keys and values are q8_0 for every requested scheme, and
//! the attention outputs of q4_k are q5_k. Norms and routers are not quantized and have no role here.

use super::scheme::Scheme;

/// The role of a matrix in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Token embedding.
    Embedding,
    /// Output head: hidden states to logits.
    Head,
    /// Query projection.
    Query,
    /// Key projection.
    Key,
    /// Value projection.
    Value,
    /// Output projection of attention: the heads' results to the hidden state.
    AttentionOutput,
    /// Gate or up projection of a feed-forward network or expert.
    GateUp,
    /// Down projection of a feed-forward network or expert.
    Down,
}

/// How a model is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// The requested scheme, one of [`super::quantize::WRITTEN`].
    pub asked: Scheme,
    /// Whether all matrices get the requested scheme.
    pub pure: bool,
    /// Number of layers.
    pub layers: usize,
    /// Number of experts per layer; 0 or 1 if there is a single network.
    pub experts: usize,
    /// Whether several query heads share a key/value head.
    pub grouped_heads: bool,
    /// Whether the token embedding is also the head.
    pub tied_head: bool,
}

impl Mix {
    /// Returns the scheme of a matrix with `columns` columns. `layer` is ignored for the embedding and the head.
    pub fn scheme(&self, role: Role, layer: usize, columns: usize) -> Scheme {
        let preferred = match self.pure {
            true => self.asked,
            false => self.preferred(role, layer, columns),
        };
        with_rows_of(columns, preferred)
    }

    fn preferred(&self, role: Role, layer: usize, columns: usize) -> Scheme {
        let middling = matches!(self.asked, Scheme::Q4K | Scheme::Q5K);
        match role {
            Role::Head => self.head(columns),
            Role::Embedding if self.tied_head => self.head(columns),
            // With 8 experts, keys and values are a small part of the model.
            Role::Key | Role::Value if self.experts == 8 => Scheme::Q8_0,
            Role::AttentionOutput if self.experts == 8 && self.asked == Scheme::Q4K => Scheme::Q5K,
            Role::Value | Role::Down if middling && self.takes_more(layer) => Scheme::Q6K,
            // llama.cpp's rule for a 70B model: eight query heads share a value head, so values are a small part of
            // the model.
            Role::Value if self.layers == 80 && self.grouped_heads && self.asked == Scheme::Q4K => {
                Scheme::Q5K
            }
            _ => self.asked,
        }
    }

    /// Returns the scheme of the head. As in llama.cpp, it is q8_0 if the requested scheme does not fit its rows,
    /// even where q6_k would fit.
    fn head(&self, columns: usize) -> Scheme {
        match self.asked == Scheme::Q8_0 || self.asked.row_bytes(columns).is_none() {
            true => Scheme::Q8_0,
            false => Scheme::Q6K,
        }
    }

    /// Returns whether a layer gets more bits: the first eighth of the layers, the last eighth, and every third
    /// layer between. With 32 layers: 0 to 3, then 6, 9, … 27, and 28 to 31.
    fn takes_more(&self, layer: usize) -> bool {
        let eighth = self.layers / 8;
        layer < eighth || layer >= 7 * self.layers / 8 || (layer - eighth) % 3 == 2
    }
}

/// Returns a scheme whose blocks fit rows of `columns`: the given scheme, else the scheme with blocks of 32 and at
/// least as many bits, else f16.
fn with_rows_of(columns: usize, scheme: Scheme) -> Scheme {
    let of_32 = match scheme {
        Scheme::Q4K => Scheme::Q5_0,
        Scheme::Q5K => Scheme::Q5_1,
        Scheme::Q6K => Scheme::Q8_0,
        other => other,
    };
    [scheme, of_32].into_iter().find(|scheme| scheme.row_bytes(columns).is_some()).unwrap_or(Scheme::F16)
}

#[cfg(test)]
mod tests {
    use super::super::quantize::WRITTEN;
    use super::*;

    const MISTRAL_7B: Mix = Mix {
        asked: Scheme::Q4K,
        pure: false,
        layers: 32,
        experts: 0,
        grouped_heads: true,
        tied_head: false,
    };

    #[test]
    fn half_of_the_values_and_down_projections_of_mistral_7b_take_six_bits() {
        let layers_of = |role: Role, columns: usize| -> Vec<usize> {
            (0..32).filter(|layer| MISTRAL_7B.scheme(role, *layer, columns) == Scheme::Q6K).collect()
        };
        let more = [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31];
        assert_eq!(layers_of(Role::Value, 4096), more);
        assert_eq!(layers_of(Role::Down, 14336), more);
        for role in [Role::Query, Role::Key, Role::AttentionOutput, Role::GateUp, Role::Embedding] {
            assert!((0..32).all(|layer| MISTRAL_7B.scheme(role, layer, 4096) == Scheme::Q4K), "{role:?}");
        }
        assert_eq!(MISTRAL_7B.scheme(Role::Head, 0, 4096), Scheme::Q6K);
    }

    /// Returns the bytes of all quantized matrices of a model. Its queries are as wide as its hidden state, it has
    /// 1536 inner weights and 49152 tokens; `keys` is the width of keys and values.
    fn size(mix: Mix, hidden: usize, keys: usize) -> usize {
        let networks = mix.experts.max(1);
        let layer = [
            (Role::Query, hidden, hidden),
            (Role::Key, keys, hidden),
            (Role::Value, keys, hidden),
            (Role::AttentionOutput, hidden, hidden),
            (Role::GateUp, networks * 2 * 1536, hidden),
            (Role::Down, networks * hidden, 1536),
        ];
        let ends = [(Role::Embedding, 49152, hidden), (Role::Head, 49152, hidden)];
        let ends = &ends[..if mix.tied_head { 1 } else { 2 }];
        let bytes = |at: usize, matrices: &[(Role, usize, usize)]| -> usize {
            let each = matrices.iter().map(|(role, rows, columns)| {
                rows * mix.scheme(*role, at, *columns).row_bytes(*columns).unwrap()
            });
            each.sum()
        };
        (0..mix.layers).map(|at| bytes(at, &layer)).sum::<usize>() + bytes(0, ends)
    }

    /// The expected sizes are from `llama-quantize --dry-run` (build 11434), for two variants of SmolLM2 135M: rows
    /// widened to 768 with a separate head, and a mixture of 8 experts with rows of 576 and a tied head.
    #[test]
    fn a_mix_is_as_large_as_llama_cpps_to_the_byte() {
        for (asked, wide, mixture) in [
            (Scheme::Q8_0, 243_154_944, 735_105_024),
            (Scheme::Q6K, 187_729_920, 683_679_744),
            (Scheme::Q5K, 164_908_032, 529_708_032),
            (Scheme::Q5_1, 174_292_992, 529_818_624),
            (Scheme::Q4K, 143_428_608, 488_388_096),
            (Scheme::Q4_0, 138_461_184, 406_646_784),
        ] {
            let mix = Mix { asked, layers: 30, ..MISTRAL_7B };
            assert_eq!(size(mix, 768, 256), wide, "{asked}");
            assert_eq!(size(Mix { experts: 8, tied_head: true, ..mix }, 576, 192), mixture, "{asked}");
        }
    }

    #[test]
    fn eight_experts_keep_keys_and_values_at_eight_bits() {
        for asked in WRITTEN {
            let mix = Mix { asked, experts: 8, ..MISTRAL_7B };
            assert_eq!(mix.scheme(Role::Key, 7, 4096), Scheme::Q8_0);
            assert_eq!(mix.scheme(Role::Value, 7, 4096), Scheme::Q8_0);
            let output = if asked == Scheme::Q4K { Scheme::Q5K } else { asked };
            assert_eq!(mix.scheme(Role::AttentionOutput, 7, 4096), output);
            assert_eq!(Mix { experts: 4, ..mix }.scheme(Role::Key, 7, 4096), asked);
        }
    }

    #[test]
    fn a_tied_embedding_is_a_head() {
        for asked in WRITTEN {
            let mix = Mix { asked, ..MISTRAL_7B };
            let head = if asked == Scheme::Q8_0 { asked } else { Scheme::Q6K };
            assert_eq!(mix.scheme(Role::Head, 0, 4096), head);
            assert_eq!(mix.scheme(Role::Embedding, 0, 4096), asked);
            assert_eq!(Mix { tied_head: true, ..mix }.scheme(Role::Embedding, 0, 4096), head);
            assert_eq!(Mix { tied_head: true, ..mix }.scheme(Role::Embedding, 0, 576), Scheme::Q8_0);
        }
    }

    #[test]
    fn rows_that_a_scheme_cannot_cut_take_at_least_its_bits() {
        for (asked, layer, of_32) in [
            (Scheme::Q4K, 5, Scheme::Q5_0),
            (Scheme::Q4K, 0, Scheme::Q8_0),
            (Scheme::Q5K, 5, Scheme::Q5_1),
            (Scheme::Q6K, 5, Scheme::Q8_0),
            (Scheme::Q4_0, 5, Scheme::Q4_0),
        ] {
            let mix = Mix { asked, ..MISTRAL_7B };
            assert_eq!(mix.scheme(Role::Down, layer, 1536 + 32), of_32, "{asked}");
            assert_eq!(mix.scheme(Role::Down, layer, 40), Scheme::F16, "{asked}");
        }
        for scheme in WRITTEN {
            let bits = |scheme: Scheme, columns: usize| scheme.row_bytes(columns).unwrap() * 8 / columns;
            assert!(bits(with_rows_of(96, scheme), 96) >= bits(scheme, 256));
        }
    }

    #[test]
    fn pure_is_one_scheme_throughout() {
        for asked in WRITTEN {
            let mix = Mix { asked, pure: true, experts: 8, tied_head: true, ..MISTRAL_7B };
            for role in
                [Role::Embedding, Role::Head, Role::Key, Role::Value, Role::AttentionOutput, Role::Down]
            {
                assert_eq!(mix.scheme(role, 0, 4096), asked);
            }
        }
    }

    #[test]
    fn values_of_a_70b_take_five_bits() {
        let mix = Mix { layers: 80, ..MISTRAL_7B };
        assert_eq!(mix.scheme(Role::Value, 11, 8192), Scheme::Q5K);
        assert_eq!(mix.scheme(Role::Value, 12, 8192), Scheme::Q6K);
        assert_eq!(Mix { grouped_heads: false, ..mix }.scheme(Role::Value, 11, 8192), Scheme::Q4K);
    }
}
