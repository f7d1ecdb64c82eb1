//! Renaming between layouts, as data. The names in code are those of Hugging Face's checkpoints.

use super::mix::Role;

/// Names outside the layers: GGUF, ours.
const GGUF_TOP: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];

/// Names within layer N: GGUF after `blk.N.`, ours after `model.layers.N.`.
const GGUF_LAYER: [(&str, &str); 13] = [
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
];

/// One expert's matrices in older GGUF files, `ffn_gate.E.weight`: GGUF, ours.
const GGUF_EXPERT: [(&str, &str); 3] = [("ffn_gate", "w1"), ("ffn_down", "w2"), ("ffn_up", "w3")];

/// A GGUF file's name in ours; a name that is in no table stays as it is, and the gate refuses it by name.
pub fn from_gguf(name: &str) -> String {
    if let Some((_, ours)) = GGUF_TOP.iter().find(|(gguf, _)| *gguf == name) {
        return (*ours).into();
    }
    layer_from_gguf(name).unwrap_or_else(|| name.into())
}

fn layer_from_gguf(name: &str) -> Option<String> {
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    if let Some((_, ours)) = GGUF_LAYER.iter().find(|(gguf, _)| *gguf == rest) {
        return Some(format!("model.layers.{layer}.{ours}"));
    }
    let (matrix, expert) = rest.strip_suffix(".weight")?.split_once('.')?;
    let (_, ours) = GGUF_EXPERT.iter().find(|(gguf, _)| *gguf == matrix)?;
    Some(format!("model.layers.{layer}.block_sparse_moe.experts.{expert}.{ours}.weight"))
}

/// Our name in a GGUF file's; a name that is in no table stays as it is.
pub fn to_gguf(name: &str) -> String {
    if let Some((gguf, _)) = GGUF_TOP.iter().find(|(_, ours)| *ours == name) {
        return (*gguf).into();
    }
    let layer = || {
        let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
        let (gguf, _) = GGUF_LAYER.iter().find(|(_, ours)| *ours == rest)?;
        Some(format!("blk.{layer}.{gguf}"))
    };
    layer().unwrap_or_else(|| name.into())
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
    fn every_gguf_name_has_one_name_of_ours_and_no_other_has_it() {
        let mut ours = BTreeSet::new();
        for (gguf, expected) in GGUF_TOP {
            assert_eq!(from_gguf(gguf), expected);
            assert_eq!(to_gguf(expected), gguf);
            assert!(ours.insert(expected.to_string()));
        }
        for (gguf, expected) in GGUF_LAYER {
            let name = from_gguf(&format!("blk.17.{gguf}"));
            assert_eq!(name, format!("model.layers.17.{expected}"));
            assert_eq!(to_gguf(&name), format!("blk.17.{gguf}"));
            assert!(ours.insert(name));
        }
        for (gguf, expected) in GGUF_EXPERT {
            let name = from_gguf(&format!("blk.3.{gguf}.7.weight"));
            assert_eq!(name, format!("model.layers.3.block_sparse_moe.experts.7.{expected}.weight"));
            assert!(ours.insert(name));
        }
    }

    #[test]
    fn unknown_names_stay_as_they_are() {
        assert_eq!(from_gguf("blk.0.attn_q.bias"), "blk.0.attn_q.bias");
        assert_eq!(from_gguf("rope_freqs.weight"), "rope_freqs.weight");
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
