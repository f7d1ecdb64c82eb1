//! Models that write one letter after another for ever unless something ends them.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};

pub const BOS: usize = 256;
pub const END: usize = 257;
pub const USER: usize = 258;
pub const ASSISTANT: usize = 259;
pub const THINK: usize = 260;
pub const OTHER: usize = 261;
const VOCABULARY: usize = 262;
const WIDTH: usize = 64;

/// What ends with `</think>` is left out of earlier replies.
pub const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}\
    {% set c = m.content %}{% if '</think>' in c %}{% set c = c.split('</think>')[-1] %}{% endif %}<|A|>{{ c }}<|end|>\
    {% else %}<|U|>{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|A|>{% endif %}";

/// GPT-2's letter for a byte.
fn letter(byte: u8) -> String {
    let printable = |b: u8| matches!(b, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let code = match printable(byte) {
        true => u32::from(byte),
        false => 0x100 + (0..byte).filter(|b| !printable(*b)).count() as u32,
    };
    char::from_u32(code).unwrap().to_string()
}

/// `tokenizer.json`: bytes, and these control tokens, of which `special` are marked so.
pub fn tokenizer(special: &[usize]) -> Value {
    let vocabulary: serde_json::Map<_, _> = (0..=255u8).map(|b| (letter(b), json!(b))).collect();
    let added = [
        ("<|bos|>", BOS),
        ("<|end|>", END),
        ("<|U|>", USER),
        ("<|A|>", ASSISTANT),
        ("</think>", THINK),
        ("<|other|>", OTHER),
    ];
    let added = added.map(|(content, id)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": special.contains(&id)})
    });
    let level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({"version": "1.0", "added_tokens": added, "pre_tokenizer": level, "decoder": level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []}})
}

/// Signs for each token, near enough to being orthogonal.
fn signs() -> Vec<[f32; WIDTH]> {
    let mut state = 7u64;
    let mut sign = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if state >> 63 == 0 { 1.0 } else { -1.0 }
    };
    (0..VOCABULARY).map(|_| std::array::from_fn(|_| sign())).collect()
}

/// A model that writes after each of these tokens the one behind it, and `x` after any other. Its attention and its
/// network add nothing. Texts end with the `context`.
pub fn model(folder: &Path, next: &[(usize, usize)], context: usize) {
    let signs = signs();
    let next: HashMap<usize, usize> = next.iter().copied().collect();
    let mut head = vec![0f32; VOCABULARY * WIDTH];
    for (id, signs) in signs.iter().enumerate() {
        let after = next.get(&id).copied().unwrap_or(usize::from(b'x'));
        let scale = if next.contains_key(&id) { 1.0 } else { 0.05 };
        head[after * WIDTH..][..WIDTH].iter_mut().zip(signs).for_each(|(h, s)| *h += s * scale);
    }
    let zeros = |rows: usize| vec![0f32; rows * WIDTH];
    let ones = || vec![1f32; WIDTH];
    let square = || (vec![WIDTH, WIDTH], zeros(WIDTH));
    let layer = |name: &str| format!("model.layers.0.{name}.weight");
    let mut tensors = vec![
        ("model.embed_tokens.weight".to_owned(), (vec![VOCABULARY, WIDTH], signs.concat())),
        ("lm_head.weight".to_owned(), (vec![VOCABULARY, WIDTH], head)),
    ];
    for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
        tensors.push((layer(&format!("self_attn.{name}")), square()));
    }
    for name in ["gate_proj", "up_proj", "down_proj"] {
        tensors.push((layer(&format!("mlp.{name}")), square()));
    }
    for name in [layer("input_layernorm"), layer("post_attention_layernorm"), "model.norm.weight".to_owned()]
    {
        tensors.push((name, (vec![WIDTH], ones())));
    }
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, (shape, values)) in tensors {
        let start = data.len();
        values.iter().for_each(|value| data.extend(value.to_le_bytes()));
        header.insert(name, json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    std::fs::write(folder.join("model.safetensors"), bytes).unwrap();
    let config = json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH,
        "intermediate_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
        "max_position_embeddings": context, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false,
        "vocab_size": VOCABULARY, "hidden_act": "silu"});
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
}
