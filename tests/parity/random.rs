//! Random checkpoints, made where a test needs a shape that no fixture has.

use std::path::Path;

use mist::checkpoint::convert::output::Rounding;
use mist::checkpoint::layouts::mist as convert;
use mist::checkpoint::open::Checkpoint;
use mist::quant::Scheme;
use rand::{Rng, SeedableRng};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

use crate::fixture::open;

/// A model 256 wide, so that blocks of 256 fit its rows.
pub struct Shape {
    pub layers: usize,
    /// 0 for one network a layer.
    pub experts: usize,
    pub window: Option<usize>,
}

const WIDTH: usize = 256;
const KEY_VALUES: usize = 64;
const VOCABULARY: usize = 96;

impl Shape {
    /// Writes a Hugging Face folder.
    pub fn write(&self, folder: &Path) {
        self.write_with(folder, VOCABULARY);
    }

    /// The same with so many tokens.
    pub fn write_with(&self, folder: &Path, vocabulary: usize) {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(self.layers as u64 * 16 + self.experts as u64);
        let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        let mut add = |name: String, shape: &[usize]| {
            let count = shape.iter().product::<usize>();
            let value = |_| match shape {
                [_] => rng.random_range(0.8..1.2f32),
                _ => rng.random_range(-0.1..0.1f32),
            };
            let bytes = (0..count).map(value).flat_map(f32::to_le_bytes).collect();
            tensors.push((name, shape.into(), bytes));
        };
        add("model.embed_tokens.weight".into(), &[vocabulary, WIDTH]);
        for i in 0..self.layers {
            let name = |rest: &str| format!("model.layers.{i}.{rest}.weight");
            add(name("input_layernorm"), &[WIDTH]);
            add(name("self_attn.q_proj"), &[WIDTH, WIDTH]);
            add(name("self_attn.k_proj"), &[KEY_VALUES, WIDTH]);
            add(name("self_attn.v_proj"), &[KEY_VALUES, WIDTH]);
            add(name("self_attn.o_proj"), &[WIDTH, WIDTH]);
            add(name("post_attention_layernorm"), &[WIDTH]);
            if self.experts > 0 {
                add(name("block_sparse_moe.gate"), &[self.experts, WIDTH]);
            }
            for e in 0..self.experts {
                for matrix in ["w1", "w2", "w3"] {
                    add(name(&format!("block_sparse_moe.experts.{e}.{matrix}")), &[WIDTH, WIDTH]);
                }
            }
            if self.experts == 0 {
                for matrix in ["gate_proj", "up_proj", "down_proj"] {
                    add(name(&format!("mlp.{matrix}")), &[WIDTH, WIDTH]);
                }
            }
        }
        add("model.norm.weight".into(), &[WIDTH]);
        add("lm_head.weight".into(), &[vocabulary, WIDTH]);
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
        let config = json!({
            "model_type": if self.experts > 0 { "mixtral" } else { "mistral" },
            "hidden_size": WIDTH, "intermediate_size": WIDTH, "num_hidden_layers": self.layers,
            "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": vocabulary,
            "hidden_act": "silu", "max_position_embeddings": 1024, "rms_norm_eps": 1e-5, "rope_theta": 1e4,
            "sliding_window": self.window, "tie_word_embeddings": false,
            "num_local_experts": self.experts, "num_experts_per_tok": 2,
        });
        let mut config = config;
        if self.experts == 0 {
            let fields = config.as_object_mut().unwrap();
            fields.retain(|name, _| !name.starts_with("num_local") && !name.starts_with("num_experts"));
        }
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    }
}

/// A conversion of a checkpoint, in `scheme` or as it is.
pub fn convert_to(checkpoint: &Checkpoint, folder: &Path, scheme: Option<Scheme>) -> Checkpoint {
    let rounding = Rounding { quantize: scheme, ..Rounding::default() };
    let plan = convert::plan(checkpoint, folder, rounding, Vec::new()).unwrap();
    plan.write(&mut |_| Ok(())).unwrap();
    open(folder)
}

/// So many ids.
pub fn ids(count: usize, seed: u64) -> Vec<u32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(0..VOCABULARY as u32)).collect()
}
