//! Renaming between layouts, as data. The names in code are those of Hugging Face's checkpoints.

use crate::quant::mix::Role;

/// The names of one layout beside ours.
#[derive(Debug)]
pub struct Table {
    /// Outside the layers: theirs, ours.
    top: &'static [(&'static str, &'static str)],
    /// What stands before a layer's number.
    layers: &'static str,
    /// Within layer N: theirs, ours after `model.layers.N.`.
    layer: &'static [(&'static str, &'static str)],
    /// One expert's matrices within layer N: theirs before and after the expert's number, ours.
    experts: &'static [(&'static str, &'static str, &'static str)],
}

/// GGUF of the architecture `llama`. Experts one by one are in its older files only.
pub const GGUF: Table = Table {
    top: &[
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("output.weight", "lm_head.weight"),
    ],
    layers: "blk.",
    layer: &[
        ("attn_norm.weight", "input_layernorm.weight"),
        ("attn_q.weight", "self_attn.q_proj.weight"),
        ("attn_k.weight", "self_attn.k_proj.weight"),
        ("attn_v.weight", "self_attn.v_proj.weight"),
        ("attn_output.weight", "self_attn.o_proj.weight"),
        ("ffn_norm.weight", "post_attention_layernorm.weight"),
        ("ffn_gate.weight", "mlp.gate_proj.weight"),
        ("ffn_up.weight", "mlp.up_proj.weight"),
        ("ffn_down.weight", "mlp.down_proj.weight"),
        ("ffn_gate_inp.weight", "block_sparse_moe.gate.weight"),
        ("ffn_gate_exps.weight", "block_sparse_moe.experts.w1.weight"),
        ("ffn_down_exps.weight", "block_sparse_moe.experts.w2.weight"),
        ("ffn_up_exps.weight", "block_sparse_moe.experts.w3.weight"),
    ],
    experts: &[("ffn_gate.", ".weight", "w1"), ("ffn_down.", ".weight", "w2"), ("ffn_up.", ".weight", "w3")],
};

/// Mistral's own layout.
pub const MISTRAL: Table = Table {
    top: &[
        ("tok_embeddings.weight", "model.embed_tokens.weight"),
        ("norm.weight", "model.norm.weight"),
        ("output.weight", "lm_head.weight"),
    ],
    layers: "layers.",
    layer: &[
        ("attention_norm.weight", "input_layernorm.weight"),
        ("attention.wq.weight", "self_attn.q_proj.weight"),
        ("attention.wk.weight", "self_attn.k_proj.weight"),
        ("attention.wv.weight", "self_attn.v_proj.weight"),
        ("attention.wo.weight", "self_attn.o_proj.weight"),
        ("ffn_norm.weight", "post_attention_layernorm.weight"),
        ("feed_forward.w1.weight", "mlp.gate_proj.weight"),
        ("feed_forward.w3.weight", "mlp.up_proj.weight"),
        ("feed_forward.w2.weight", "mlp.down_proj.weight"),
        ("feed_forward.gate.weight", "block_sparse_moe.gate.weight"),
    ],
    experts: &[
        ("feed_forward.experts.", ".w1.weight", "w1"),
        ("feed_forward.experts.", ".w2.weight", "w2"),
        ("feed_forward.experts.", ".w3.weight", "w3"),
    ],
};

/// litgpt, with queries, keys and values one below the other.
pub const LITGPT: Table = Table {
    top: &[
        ("transformer.wte.weight", "model.embed_tokens.weight"),
        ("transformer.ln_f.weight", "model.norm.weight"),
        ("lm_head.weight", "lm_head.weight"),
    ],
    layers: "transformer.h.",
    layer: &[
        ("norm_1.weight", "input_layernorm.weight"),
        ("attn.qkv.weight", "self_attn.qkv_proj.weight"),
        ("attn.proj.weight", "self_attn.o_proj.weight"),
        ("norm_2.weight", "post_attention_layernorm.weight"),
        ("mlp.fc_1.weight", "mlp.gate_proj.weight"),
        ("mlp.fc_2.weight", "mlp.up_proj.weight"),
        ("mlp.proj.weight", "mlp.down_proj.weight"),
        ("mlp.gate.weight", "block_sparse_moe.gate.weight"),
    ],
    experts: &[
        ("mlp.experts.", ".fc_1.weight", "w1"),
        ("mlp.experts.", ".proj.weight", "w2"),
        ("mlp.experts.", ".fc_2.weight", "w3"),
    ],
};

impl Table {
    /// Our name for one of theirs, if it is in the table.
    pub fn ours(&self, name: &str) -> Option<String> {
        if let Some((_, ours)) = self.top.iter().find(|(theirs, _)| *theirs == name) {
            return Some((*ours).into());
        }
        let (layer, rest) = name.strip_prefix(self.layers)?.split_once('.')?;
        if let Some((_, ours)) = self.layer.iter().find(|(theirs, _)| *theirs == rest) {
            return Some(format!("model.layers.{layer}.{ours}"));
        }
        self.experts.iter().find_map(|(before, after, ours)| {
            let expert = rest.strip_prefix(before)?.strip_suffix(after)?;
            Some(format!("model.layers.{layer}.block_sparse_moe.experts.{expert}.{ours}.weight"))
        })
    }

    /// Their name for one of ours; one that is in no table stays as it is.
    pub fn theirs(&self, name: &str) -> String {
        if let Some((theirs, _)) = self.top.iter().find(|(_, ours)| *ours == name) {
            return (*theirs).into();
        }
        let layer = || {
            let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
            let prefix = format!("{}{layer}.", self.layers);
            if let Some((theirs, _)) = self.layer.iter().find(|(_, ours)| *ours == rest) {
                return Some(prefix + theirs);
            }
            let (expert, matrix) =
                rest.strip_prefix("block_sparse_moe.experts.")?.strip_suffix(".weight")?.split_once('.')?;
            let (before, after, _) = self.experts.iter().find(|(.., ours)| *ours == matrix)?;
            Some(format!("{prefix}{before}{expert}{after}"))
        };
        layer().unwrap_or_else(|| name.into())
    }
}

/// What the matrices do that are called so, and in which layer; 0 outside them. Fused and stacked names are known; norms
/// and routers do nothing that matters to a quantization.
pub fn role(name: &str) -> Option<(Role, usize)> {
    match name {
        "model.embed_tokens.weight" => return Some((Role::Embedding, 0)),
        "lm_head.weight" => return Some((Role::Head, 0)),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let rest = rest.strip_suffix(".weight").unwrap_or(rest);
    let matrix = rest.rsplit('.').next()?;
    let role = match matrix {
        "q_proj" => Role::Query,
        "k_proj" => Role::Key,
        "v_proj" => Role::Value,
        "o_proj" => Role::AttentionOutput,
        "gate_proj" | "up_proj" | "gate_up_proj" | "w1" | "w3" => Role::GateUp,
        "down_proj" | "w2" => Role::Down,
        _ => return None,
    };
    Some((role, layer.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_has_one_name_of_ours_and_no_other_has_it() {
        for table in [GGUF, MISTRAL, LITGPT] {
            let mut all = BTreeSet::new();
            let mut both_ways = |theirs: String, ours: String| {
                assert_eq!(table.ours(&theirs).as_deref(), Some(ours.as_str()));
                assert_eq!(table.theirs(&ours), theirs);
                assert!(all.insert(ours));
            };
            for (theirs, ours) in table.top {
                both_ways(theirs.to_string(), ours.to_string());
            }
            for (theirs, ours) in table.layer {
                both_ways(format!("{}17.{theirs}", table.layers), format!("model.layers.17.{ours}"));
            }
            for (before, after, ours) in table.experts {
                let ours = format!("model.layers.3.block_sparse_moe.experts.7.{ours}.weight");
                both_ways(format!("{}3.{before}7{after}", table.layers), ours);
            }
        }
    }

    #[test]
    fn unknown_names_have_none() {
        assert_eq!(GGUF.ours("blk.0.attn_q.bias"), None);
        assert_eq!(GGUF.ours("rope_freqs.weight"), None);
        assert_eq!(MISTRAL.ours("layers.0.block_sparse_moe.w1"), None);
        assert_eq!(MISTRAL.ours("model.norm.weight"), None);
        assert_eq!(LITGPT.ours("transformer.h.0.attn.attn.weight"), None);
        assert_eq!(LITGPT.ours("transformer.h.0.mlp.experts.fc_1.weight"), None);
    }

    #[test]
    fn a_role_is_told_by_published_fused_and_stacked_names() {
        for (name, expected) in [
            ("lm_head.weight", Some((Role::Head, 0))),
            ("model.layers.3.self_attn.v_proj.weight", Some((Role::Value, 3))),
            ("model.layers.3.block_sparse_moe.experts.7.w2.weight", Some((Role::Down, 3))),
            ("model.layers.3.block_sparse_moe.experts.w1.weight", Some((Role::GateUp, 3))),
            ("model.layers.30.mlp.experts.gate_up_proj", Some((Role::GateUp, 30))),
            ("model.layers.3.block_sparse_moe.gate.weight", None),
            ("model.layers.3.mlp.gate.weight", None),
            ("model.layers.3.input_layernorm.weight", None),
            ("model.norm.weight", None),
        ] {
            assert_eq!(role(name), expected, "{name}");
        }
    }
}
