use super::{Architecture, Config, ExpertCount, Value, from_json};
use serde_json::json;
use std::path::Path;

fn mixtral() -> Value {
    json!({
        "architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2,
        "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
        "max_position_embeddings": 32768, "model_type": "mixtral", "num_attention_heads": 32,
        "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8,
        "output_router_logits": false, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
        "router_aux_loss_coef": 0.02, "sliding_window": null, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16", "transformers_version": "4.36.0.dev0", "use_cache": true, "vocab_size": 32000
    })
}

fn read(value: &Value) -> Result<Config, String> {
    from_json(&value.to_string(), Path::new("config.json")).map_err(|e| e.to_string())
}

#[test]
fn the_published_mixtral_config_reads_and_counts_its_parameters() {
    let config = read(&mixtral()).unwrap();
    assert_eq!(config.parameters(), (46_702_792_704, 12_879_925_248));
    assert_eq!((config.head_size, config.window, config.rope.theta), (128, None, 1e6));
    assert_eq!(config.end_ids, [2]);
}

#[test]
fn the_new_spelling_says_the_same_as_the_old() {
    let mut new = mixtral();
    new["rope_parameters"] = json!({"rope_type": "default", "rope_theta": 1e6});
    new["dtype"] = json!("bfloat16");
    let map = new.as_object_mut().unwrap();
    map.remove("rope_theta");
    map.remove("torch_dtype");
    assert_eq!(read(&new), read(&mixtral()));
}

fn with(name: &str, value: Value) -> Value {
    let mut config = mixtral();
    config[name] = value;
    config
}

#[track_caller]
fn assert_refused(name: &str, value: Value, part: &str) {
    let error = read(&with(name, value)).unwrap_err();
    assert!(error.contains(part), "{error}");
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    assert_refused("attention_multiplier", json!(0.5), "attention_multiplier (0.5) is not understood");
    assert_refused("quantization_config", json!({"bits": 4}), "quantization_config");
    assert_refused("attention_bias", json!(true), "attention_bias");
    assert_refused("hidden_act", json!("gelu"), "hidden_act");
    assert_refused("rope_scaling", json!({"rope_type": "yarn", "factor": 4.0}), "rope type \"yarn\"");
    assert_refused("architectures", json!(["FooForCausalLM"]), "the architecture FooForCausalLM");
    assert_refused("rope_parameters", json!({"rope_theta": 5.0}), "rope_theta is given twice");
}

#[test]
fn sizes_beyond_limits_are_refused() {
    assert_refused("num_hidden_layers", json!(0), "num_hidden_layers is 0");
    assert_refused("num_key_value_heads", json!(5), "no multiple");
    assert_refused("num_experts_per_tok", json!(9), "more than num_local_experts");
    assert_refused("vocab_size", json!(1u64 << 40), "vocab_size");
    assert_refused("hidden_size", json!(-1), "hidden_size");
    assert_refused("rms_norm_eps", json!("x"), "rms_norm_eps");
    assert_refused("head_dim", json!(127), "odd");
}

/// A config that names only its architecture has the defaults of transformers 5.24.
#[test]
fn what_is_left_out_is_what_transformers_fills_in() {
    let bare = |class: &str, fields: Value| {
        let mut config = json!({"architectures": [class]});
        config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        read(&config).unwrap()
    };
    let sizes = |c: &Config| (c.vocabulary_size, c.hidden_size, c.intermediate_size, c.layers, c.query_heads);
    let rest = |c: &Config| (c.key_value_heads, c.head_size, c.norm_epsilon, c.rope.theta, c.context_length);
    let llama = bare("LlamaForCausalLM", json!({}));
    assert_eq!(sizes(&llama), (32_000, 4096, 11_008, 32, 32));
    assert_eq!((rest(&llama), llama.window), ((32, 128, 1e-6, 1e4, 2048), None));
    let mistral = bare("MistralForCausalLM", json!({}));
    assert_eq!(sizes(&mistral), (32_000, 4096, 14_336, 32, 32));
    assert_eq!((rest(&mistral), mistral.window), ((8, 128, 1e-6, 1e4, 131_072), Some(4096)));
    let mixtral = bare("MixtralForCausalLM", json!({}));
    assert_eq!((rest(&mixtral), mixtral.window), ((8, 128, 1e-5, 1e6, 131_072), None));
    assert_eq!(mixtral.experts, Some(ExpertCount { all: 8, active: 2 }));
    // Null differs from a missing field.
    let nulls = json!({"num_key_value_heads": null, "sliding_window": null, "head_dim": null});
    let mistral = bare("MistralForCausalLM", nulls);
    assert_eq!((mistral.key_value_heads, mistral.window), (32, None));
    assert_eq!(bare("LlamaForCausalLM", json!({"max_sequence_length": 1024})).context_length, 1024);
    let both = json!({"max_sequence_length": 1024, "max_position_embeddings": 512});
    assert_eq!(bare("LlamaForCausalLM", both).context_length, 512);
    assert_eq!(bare("MixtralForCausalLM", json!({"num_experts": 4})).experts.unwrap().all, 4);
    assert_refused("num_experts", json!(4), "num_local_experts is 8, num_experts 4");
    assert_refused("tie_word_embeddings", json!("yes"), "tie_word_embeddings is \"yes\"");
}

/// `MistralConfig` has no field `use_sliding_window`.
#[test]
fn a_window_stays_whatever_use_sliding_window_says() {
    for class in ["MistralForCausalLM", "MixtralForCausalLM"] {
        let mut config = with("architectures", json!([class]));
        config.as_object_mut().unwrap().remove("model_type");
        if class == "MistralForCausalLM" {
            config.as_object_mut().unwrap().retain(|name, _| !name.contains("experts"));
        }
        config["sliding_window"] = json!(4096);
        for used in [json!(false), json!(true), json!(null)] {
            config["use_sliding_window"] = used;
            assert_eq!(read(&config).unwrap().window, Some(4096));
        }
        // A Mistral with `layer_types` is a Ministral.
        config["layer_types"] = json!(vec!["full_attention"; 32]);
        let full = (class == "MixtralForCausalLM").then_some(4096);
        assert_eq!(read(&config).unwrap().window, full);
        config["layer_types"] = json!(vec!["sliding_attention"; 32]);
        assert_eq!(read(&config).unwrap().window, Some(4096));
        config["layer_types"][7] = json!("full_attention");
        assert!(read(&config).unwrap_err().contains("layer_types are not of one kind throughout"));
    }
}

/// transformers computes the same logits of a Llama at any window.
#[test]
fn a_window_of_a_llama_is_passed_over_because_its_attention_has_none() {
    let mut llama = with("model_type", json!("llama"));
    llama.as_object_mut().unwrap().retain(|name, _| !name.contains("experts"));
    for value in [json!(4), json!(4096), json!(32768), json!(null), json!("many")] {
        llama["sliding_window"] = value;
        let config = read(&llama).unwrap();
        assert_eq!((config.architecture, config.window), (Architecture::Llama, None));
        llama["layer_types"] = json!(vec!["sliding_attention"; 32]);
    }
}

/// `AutoModelForCausalLM` chooses its class by `model_type`.
#[test]
fn model_type_decides_where_architectures_says_another_one() {
    let mut config = with("model_type", json!("llama"));
    config.as_object_mut().unwrap().retain(|name, _| !name.contains("experts"));
    for (kind, class, expected) in [
        (json!("llama"), "MistralForCausalLM", (Architecture::Llama, None)),
        (json!("mistral"), "LlamaForCausalLM", (Architecture::Mistral, Some(4096))),
        (json!(null), "MistralForCausalLM", (Architecture::Mistral, Some(4096))),
    ] {
        config["sliding_window"] = json!(4096);
        config["model_type"] = kind;
        config["architectures"] = json!([class]);
        let config = read(&config).unwrap();
        assert_eq!((config.architecture, config.window), expected);
    }
    for (kind, part) in [(json!("qwen2"), "the architecture qwen2"), (json!(1), "model_type is 1")] {
        config["model_type"] = kind;
        assert!(read(&config).unwrap_err().contains(part), "{part}");
    }
}

/// Python's `json`, and so transformers, reads such numbers; a setting that is read must be finite.
#[test]
fn a_number_that_is_not_finite_is_passed_over_where_nothing_reads_it_and_named_where_something_does() {
    let text = |name: &str, number: &str| {
        let mut config = mixtral();
        config[name] = json!("here");
        config.to_string().replace("\"here\"", number)
    };
    for number in ["NaN", "Infinity", "-Infinity", "1e999"] {
        for name in ["initializer_range", "router_aux_loss_coef", "neftune_noise_alpha", "attention_dropout"]
        {
            let read = from_json(&text(name, number), Path::new("config.json")).unwrap();
            assert_eq!(read, from_json(&mixtral().to_string(), Path::new("config.json")).unwrap());
        }
        for name in
            ["rms_norm_eps", "rope_theta", "vocab_size", "sliding_window", "eos_token_id", "unheard_of"]
        {
            let error = from_json(&text(name, number), Path::new("config.json")).unwrap_err().to_string();
            let shown = if number == "1e999" { "Infinity" } else { number };
            assert!(error.contains(name) && error.contains(shown), "{error}");
        }
    }
}

/// Fields of published configs that transformers ignores in this family.
#[test]
fn what_changes_nothing_is_passed_over() {
    let harmless: Value = serde_json::from_str(r#"{
        "auto_map": {"AutoModelForCausalLM": "modeling_llama.LlamaForCausalLM"}, "activation": "swiglu",
        "hidden_activation": "silu", "max_sequence_length": 2048, "seq_length": 2048, "length_penalty": 1.3,
        "num_beams": 4, "diversity_penalty": 0.5, "no_repeat_ngram_size": 3, "do_sample": true, "max_length": 20,
        "repetition_penalty": 1.2, "typical_p": 0.9, "bad_words_ids": [[1]], "early_stopping": true,
        "exponential_decay_length_penalty": [1, 1.5], "task_specific_params": {"x": 1}, "eos_token_id": [2, -1],
        "unk_token_id": 0, "pad_token_id": -1, "use_flash_attention": true, "use_flash_attention_2": true,
        "use_flash_attn": true, "_attn_implementation": "sdpa", "_attn_implementation_autoset": true,
        "attn_implementation": "eager", "_flash_attn_2_enabled": true, "hidden_dropout": 0.1, "embd_pdrop": 0.1,
        "attention_probs_dropout_prob": 0.1, "use_sliding_window": true, "max_window_layers": 28, "is_decoder": true,
        "num_labels": 2, "problem_type": "x", "tokenizer_class": "LlamaTokenizer", "torchscript": true,
        "return_dict_in_generate": true, "layer_norm_eps": 1e-5, "gradient_checkpointing": true, "init_std": 0.02,
        "logit_scale": 1, "residual_multiplier": 1.0, "first_k_dense_replace": 0, "norm_topk_prob": true,
        "position_embedding_type": "rope", "norm_type": "RMSNorm", "original_max_position_embeddings": 4096,
        "neftune_noise_alpha": 5.0, "layerdrop": 0.1, "loss_type": "ForCausalLM", "weight_decay": 0.1,
        "label_smoothing": 0.1, "bos_token": "<s>", "padding_side": "left", "tie_last_hidden_states": true,
        "quantization_config": {}, "pretraining_tp": 2, "tie_encoder_decoder": false, "pruned_heads": {},
        "rope_scaling": {"type": "default", "rope_type": "default", "factor": 1.0}
    }"#).unwrap();
    for (name, value) in harmless.as_object().unwrap() {
        assert_eq!(read(&with(name, value.clone())), read(&mixtral()), "{name}");
    }
    let mut all = mixtral();
    all.as_object_mut().unwrap().extend(harmless.as_object().unwrap().clone());
    assert_eq!(read(&all), read(&mixtral()));
    for (name, value) in [
        ("activation", json!("gelu")),
        ("logit_scale", json!(0.0625)),
        ("residual_multiplier", json!(0.22)),
        ("first_k_dense_replace", json!(1)),
        ("norm_topk_prob", json!("no")),
        ("position_embedding_type", json!("alibi")),
        ("pruned_heads", json!({"0": [1]})),
        ("is_encoder_decoder", json!(true)),
    ] {
        assert_refused(name, value, &format!("the field {name}"));
    }
}

#[test]
fn what_is_given_twice_is_an_error() {
    let twice = mixtral().to_string().replacen('{', "{\"hidden_size\":64,", 1);
    let error = from_json(&twice, Path::new("config.json")).unwrap_err().to_string();
    assert!(error.starts_with("config.json: the key \"hidden_size\" is given twice at line 1"), "{error}");
    let kinds = json!({"rope_type": "linear", "type": "default", "factor": 2.0});
    assert_refused("rope_scaling", kinds, "the rope type is given twice");
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192});
    let mut config = with("rope_scaling", llama3);
    config["original_max_position_embeddings"] = json!(8192);
    assert!(read(&config).is_ok());
    config["original_max_position_embeddings"] = json!(4096);
    assert!(read(&config).unwrap_err().contains("original_max_position_embeddings is given twice"));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    let marked = format!("\u{feff}{}", mixtral());
    assert_eq!(from_json(&marked, Path::new("x")).unwrap(), read(&mixtral()).unwrap());
}

#[test]
fn fields_that_are_off_are_as_if_not_there() {
    let mut config = mixtral();
    for name in ["attention_bias", "mlp_bias", "some_new_switch"] {
        config[name] = json!(false);
    }
    config["pruned_heads"] = json!({});
    assert_eq!(read(&config), read(&mixtral()));
}
