//! The transformer: Llama, Mistral and Mixtral in one implementation.
//!
//! Knows how weights become logits, but nothing about files, tensor names, quantization schemes, or which device is
//! which. The rows of a batch are tokens of one or several sequences. Device errors are passed through.
//!
//! Letters of the shapes at line ends:
//!
//! | letter | size |
//! |---|---|
//! | T | tokens of a batch |
//! | V | vocabulary |
//! | C | hidden size, the residual stream |
//! | H, G, D | query heads, key/value heads, size of a head |
//! | F | inner size of the feed-forward network |
//! | E, A | experts, and those active for a token |
//! | S | slots of the KV cache |
//!
//! [`Pipeline::send`] looks up the embeddings of tokens. Each [`Stage`] passes them through its blocks, and each block
//! adds the outputs of attention and a feed-forward network. [`Transformer::logits`] computes the logits.
//!
//! | file | what it knows |
//! |---|---|
//! | `transformer` | the whole model, in stages: runs of layers, each on one device |
//! | `block` | one layer: attention and a feed-forward network, each after a norm |
//! | `attention` | grouped-query attention with rotary position embeddings and a window |
//! | `mlp` | one gated network, or experts and their router |
//! | `rope` | angles of a batch's positions |
//! | `cache` | the KV cache of a sequence, over all stages |
//! | `layer_cache` | one layer's part of it, a ring buffer if the model has a window |
//! | `stage_cache` | the caches of a stage's layers, for every sequence in a batch |
//! | `pipeline` | batches in several stages at once |
//! | `link` | the residual stream from one device to the next |

mod attention;
mod block;
mod cache;
mod layer_cache;
mod link;
mod mlp;
mod pipeline;
mod rope;
mod stage_cache;
mod transformer;

pub use cache::{CHUNK, Cache, SequenceSlice, slots};
pub use pipeline::{NextTokens, OnLayer, Pipeline};
pub use rope::RopeTable;
pub use transformer::{Stage, Transformer};
