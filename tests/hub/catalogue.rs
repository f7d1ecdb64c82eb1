//! The figures of the catalogue against the configurations that were published, read as a checkpoint's are:
//! no figure is typed unproven, and no model is listed whose configuration this program refuses.

use std::collections::BTreeMap;
use std::path::Path;

use mist::checkpoint::layouts::huggingface;
use mist::hub::catalogue::ENTRIES;
use serde_json::{Value, json};

/// A configuration of `architecture` from layers, C, F, H, G, D, the vocabulary and the context.
fn published(architecture: &str, sizes: [u64; 8], more: Value) -> Value {
    let [layers, hidden, inner, heads, groups, head, words, context] = sizes;
    let mut config = json!({
        "architectures": [format!("{architecture}ForCausalLM")], "model_type": architecture.to_lowercase(),
        "num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": inner, "head_dim": head,
        "num_attention_heads": heads, "num_key_value_heads": groups, "vocab_size": words,
        "max_position_embeddings": context, "hidden_act": "silu", "rms_norm_eps": 1e-5,
        "bos_token_id": 1, "eos_token_id": 2, "attention_dropout": 0.0, "initializer_range": 0.02,
        "torch_dtype": "bfloat16", "transformers_version": "4.45.0", "use_cache": true,
        "tie_word_embeddings": false,
    });
    if architecture != "Llama" {
        config["sliding_window"] = Value::Null;
    }
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn mistral(sizes: [u64; 8], theta: f64) -> Value {
    published("Mistral", sizes, json!({ "rope_theta": theta }))
}

fn mixtral(sizes: [u64; 8]) -> Value {
    let experts = json!({ "num_local_experts": 8, "num_experts_per_tok": 2, "rope_theta": 1e6 });
    published("Mixtral", sizes, experts)
}

fn smollm(sizes: [u64; 8], theta: f64) -> Value {
    published("Llama", sizes, json!({ "rope_theta": theta, "tie_word_embeddings": true, "mlp_bias": false }))
}

fn llama(sizes: [u64; 8]) -> Value {
    let scaling = json!({
        "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3",
    });
    let more = json!({ "rope_theta": 5e5, "rope_scaling": scaling, "tie_word_embeddings": true });
    published("Llama", sizes, more)
}

fn configs() -> BTreeMap<&'static str, Value> {
    let first = published(
        "Mistral",
        [32, 4096, 14336, 32, 8, 128, 32000, 32768],
        json!({ "rope_theta": 1e4, "sliding_window": 4096 }),
    );
    let second = mistral([32, 4096, 14336, 32, 8, 128, 32000, 32768], 1e6);
    let third = mistral([32, 4096, 14336, 32, 8, 128, 32768, 32768], 1e6);
    let mut mathstral = third.clone();
    mathstral["sliding_window"] = json!(4096);
    let mixtral_7 = mixtral([32, 4096, 14336, 32, 8, 128, 32000, 32768]);
    let nemo = mistral([40, 5120, 14336, 32, 8, 128, 131_072, 131_072], 1e6);
    let mut ministral = mistral([36, 4096, 12288, 32, 8, 128, 131_072, 32768], 1e8);
    ministral["sliding_window"] = json!(32768);
    let small_22 = mistral([56, 6144, 16384, 48, 8, 128, 32768, 32768], 1e6);
    let small_24 = mistral([40, 5120, 32768, 32, 8, 128, 131_072, 32768], 1e8);
    let large = mistral([88, 12288, 28672, 96, 8, 128, 32768, 131_072], 1e6);
    let smollm_135 = smollm([30, 576, 1536, 9, 3, 64, 49152, 8192], 1e5);
    let smollm_360 = smollm([32, 960, 2560, 15, 5, 64, 49152, 8192], 1e5);
    let smollm_1700 = smollm([24, 2048, 8192, 32, 32, 64, 49152, 8192], 1.3e5);
    let tiny = published("Llama", [22, 2048, 5632, 32, 4, 64, 32000, 2048], json!({ "rope_theta": 1e4 }));
    let llama_1 = llama([16, 2048, 8192, 32, 8, 64, 128_256, 131_072]);
    let llama_3 = llama([28, 3072, 8192, 24, 8, 128, 128_256, 131_072]);
    BTreeMap::from([
        ("mistralai/Mistral-7B-v0.1", first.clone()),
        ("mistralai/Mistral-7B-Instruct-v0.1", first),
        ("mistralai/Mixtral-8x7B-v0.1", mixtral_7.clone()),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", mixtral_7),
        ("mistralai/Mistral-7B-Instruct-v0.2", second.clone()),
        ("unsloth/mistral-7b-v0.2", second),
        ("mistralai/Mistral-7B-v0.3", third.clone()),
        ("mistralai/Mistral-7B-Instruct-v0.3", third),
        ("mistralai/Mathstral-7B-v0.1", mathstral),
        ("mistralai/Mixtral-8x22B-v0.1", mixtral([56, 6144, 16384, 48, 8, 128, 32000, 65536])),
        ("mistralai/Mixtral-8x22B-Instruct-v0.1", mixtral([56, 6144, 16384, 48, 8, 128, 32768, 65536])),
        ("mistralai/Codestral-22B-v0.1", small_22.clone()),
        ("mistralai/Mistral-Nemo-Base-2407", nemo.clone()),
        ("mistralai/Mistral-Nemo-Instruct-2407", nemo),
        ("mistralai/Ministral-8B-Instruct-2410", ministral),
        ("mistralai/Mistral-Small-Instruct-2409", small_22),
        ("mistralai/Mistral-Small-24B-Base-2501", small_24.clone()),
        ("mistralai/Mistral-Small-24B-Instruct-2501", small_24),
        ("mistralai/Mistral-Large-Instruct-2407", large.clone()),
        ("mistralai/Mistral-Large-Instruct-2411", large),
        ("HuggingFaceTB/SmolLM2-135M", smollm_135.clone()),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", smollm_135),
        ("HuggingFaceTB/SmolLM2-360M", smollm_360.clone()),
        ("HuggingFaceTB/SmolLM2-360M-Instruct", smollm_360),
        ("HuggingFaceTB/SmolLM2-1.7B", smollm_1700.clone()),
        ("HuggingFaceTB/SmolLM2-1.7B-Instruct", smollm_1700),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", tiny),
        ("meta-llama/Llama-3.2-1B", llama_1.clone()),
        ("meta-llama/Llama-3.2-1B-Instruct", llama_1),
        ("meta-llama/Llama-3.2-3B-Instruct", llama_3),
    ])
}

#[test]
fn the_catalogue_says_what_the_published_configurations_say() {
    let mut configs = configs();
    for entry in ENTRIES {
        let published = configs.remove(entry.name);
        // A figure may be blank, but none may stand there without its configuration.
        let Some(published) = published else {
            assert_eq!((entry.parameters, entry.active, entry.context), (None, None, None), "{}", entry.name);
            continue;
        };
        let config = huggingface::from_json(&published.to_string(), Path::new(entry.name)).unwrap();
        let (all, active) = config.parameters();
        let figures = [
            (entry.parameters, Some(all)),
            (entry.active, config.experts.map(|_| active)),
            (entry.context.map(u64::from), Some(config.context_length as u64)),
        ];
        for (said, computed) in figures {
            assert!(said.is_none() || said == computed, "{}: {said:?}, not {computed:?}", entry.name);
        }
    }
    assert!(configs.is_empty(), "not listed: {:?}", configs.keys());
}
