//! Fields of a `config.json` that do not change what the weights compute, listed by name or by value.
//!
//! transformers ignores every field that its class does not read. This program refuses unknown fields, since they may
//! belong to another kind of model under a known name. So harmless fields must be listed here.

use serde_json::Value;

/// Fields that transformers writes into every config or once did (`PreTrainedConfig`), and notes of other programs.
const NOTES: [&str; 53] = [
    "_commit_hash",
    "_from_model_config",
    "_name_or_path",
    "add_cross_attention",
    "architectures",
    "author",
    "auto_map",
    "base_model",
    "bos_token",
    "chunk_size_feed_forward",
    "custom_pipelines",
    "datasets",
    "decoder_start_token",
    "description",
    "dtype",
    "eos_token",
    "finetuning_task",
    "id2label",
    "is_decoder",
    "is_llama_config",
    "keys_to_ignore_at_inference",
    "label2id",
    "language",
    "library_name",
    "license",
    "model_id",
    "model_name",
    "model_size",
    "model_type",
    "model_version",
    "name",
    "name_or_path",
    "num_labels",
    "pad_token",
    "padding_side",
    "pipeline_tag",
    "prefix",
    "problem_type",
    "return_dict",
    "return_dict_in_generate",
    "tags",
    "task_specific_params",
    "tie_last_hidden_states",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "unk_token",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
    "use_return_dict",
];

/// Generation settings (`GenerationConfig`) of old configs. transformers 5 drops them while reading.
const GENERATION: [&str; 44] = [
    "assistant_confidence_threshold",
    "assistant_lookbehind",
    "bad_words_ids",
    "begin_suppress_tokens",
    "cache_implementation",
    "constraints",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "epsilon_cutoff",
    "eta_cutoff",
    "exponential_decay_length_penalty",
    "force_words_ids",
    "forced_decoder_ids",
    "guidance_scale",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "max_time",
    "min_length",
    "min_new_tokens",
    "min_p",
    "no_repeat_ngram_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "penalty_alpha",
    "remove_invalid_values",
    "renormalize_logits",
    "repetition_penalty",
    "stop_strings",
    "suppress_tokens",
    "target_lookbehind",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
];

/// Fields that matter only for training, losses and the initialisation of weights.
const TRAINING: [&str; 50] = [
    "aux_loss_alpha",
    "aux_loss_coef",
    "embedding_init_std",
    "embedding_initializer_range",
    "freeze_embeddings",
    "gradient_checkpointing",
    "gradient_checkpointing_kwargs",
    "ignore_index",
    "init_config",
    "init_device",
    "init_method",
    "init_method_std",
    "init_std",
    "initializer_cutoff_factor",
    "initializer_factor",
    "initializer_range",
    "initializer_std",
    "label_smoothing",
    "label_smoothing_factor",
    "layerdrop",
    "learning_rate",
    "lm_loss_weight",
    "loss_reduction",
    "loss_type",
    "max_grad_norm",
    "neftune_noise_alpha",
    "optimizer",
    "output_router_logits",
    "pretraining_tp",
    "rescale_prenorm_residual_init",
    "router_aux_loss_coef",
    "router_bias_update_rate",
    "router_jitter_noise",
    "router_z_loss_coef",
    "seed",
    "seq_aux",
    "summary_activation",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "tf_legacy_loss",
    "train_batch_size",
    "use_bfloat16",
    "use_gradient_checkpointing",
    "use_liger_kernel",
    "use_unsloth_gradient_checkpointing",
    "warmup_steps",
    "weight_decay",
    "weight_init",
    "z_loss_coef",
];

/// Fields that choose among implementations with the same results, or the number of devices.
const IMPLEMENTATION: [&str; 32] = [
    "_flash_attn_2_enabled",
    "attn_impl",
    "fused_attention",
    "fused_bias_dropout_add",
    "fused_mlp",
    "fused_rms_norm",
    "fused_rotary_emb",
    "fused_swiglu",
    "scale_attention_softmax_in_fp32",
    "attention_softmax_in_fp32",
    "tensor_parallel",
    "tensor_parallel_size",
    "use_memory_efficient_attention",
    "use_sdpa",
    "use_xformers",
    "world_size",
    "ep_size",
    "fuse_cross_entropy",
    "fuse_norm",
    "fuse_swiglu",
    "pp_size",
    "sequence_parallel",
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "tp_size",
    "use_deterministic_attn",
    "use_fused_cross_entropy",
    "use_fused_mlp",
    "use_fused_rmsnorm",
    "use_fused_rope",
    "use_fused_swiglu",
    "use_kernels",
];

/// Lengths in the configs of other programs or older versions. `max_position_embeddings` is the context length.
const LENGTHS: [&str; 10] = [
    "max_seq_len",
    "max_seq_length",
    "max_sequence_length",
    "model_max_length",
    "n_ctx",
    "n_positions",
    "seq_length",
    "seqlen",
    "train_seq_length",
    "training_seq_length",
];

/// Fields that other classes of transformers read, but not those of Llama, Mistral and Mixtral.
const UNREAD: [&str; 4] = ["layer_norm_eps", "layer_norm_epsilon", "max_window_layers", "use_sliding_window"];

/// Returns whether a field that was not read changes nothing.
pub fn is_harmless(name: &str, value: &Value) -> bool {
    let lists: [&[&str]; 6] = [&NOTES, &GENERATION, &TRAINING, &IMPLEMENTATION, &LENGTHS, &UNREAD];
    let by_its_kind = name.ends_with("_token_id")
        || name.ends_with("dropout")
        || name.ends_with("_pdrop")
        || name.ends_with("_dropout_prob")
        || name.contains("flash_attn")
        || name.contains("flash_attention")
        || name.contains("attn_implementation")
        || name.contains("experts_implementation");
    lists.iter().any(|list| list.contains(&name)) || by_its_kind || is_neutral(name, value)
}

/// Returns whether a field has the value that describes what this program does.
fn is_neutral(name: &str, value: &Value) -> bool {
    let text = value.as_str().map(str::to_lowercase);
    let one_of = |texts: &[&str]| text.as_deref().is_some_and(|text| texts.contains(&text));
    match name {
        "activation" | "activation_function" | "act_fn" | "hidden_activation" | "mlp_activation" => {
            is_silu(value)
        }
        "norm_type" | "normalization" | "normalization_type" | "layernorm_type" => {
            one_of(&["rmsnorm", "rms_norm", "rms"])
        }
        "position_embedding_type" | "pos_emb_type" => one_of(&["rope", "rotary"]),
        "scoring_func" => one_of(&["softmax"]),
        "causal" | "is_causal" | "use_rope" | "use_rms_norm" | "norm_topk_prob" => *value == true,
        "embedding_multiplier"
        | "residual_multiplier"
        | "logit_scale"
        | "logits_scaling"
        | "mup_scale"
        | "rope_ratio"
        | "rotary_pct"
        | "rotary_percentage"
        | "routed_scaling_factor" => value.as_f64() == Some(1.0),
        "attn_logit_softcapping"
        | "final_logit_softcapping"
        | "first_k_dense_replace"
        | "n_shared_experts"
        | "num_nextn_predict_layers"
        | "num_shared_experts" => value.as_f64() == Some(0.0),
        _ => false,
    }
}

/// Returns whether this names the activation of Llama, Mistral and Mixtral: silu, also called swish, or swiglu for the
/// gated network around it.
pub fn is_silu(value: &Value) -> bool {
    value.as_str().is_some_and(|name| ["silu", "swish", "swiglu"].contains(&name.to_lowercase().as_str()))
}
