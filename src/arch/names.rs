//! What matrices do, by their published names.

use crate::quant::mix::Role;

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
