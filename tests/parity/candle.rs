//! Against candle-transformers' Llama: another implementation by other people, with another attention, cache and
//! rotary code. Its Mistral and Mixtral are no oracle: their window is off by one.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Llama, LlamaConfig};

use crate::fixture::{Fixture, largest_difference, logits};

/// Measured: 4.1e-5.
const LOGITS: f32 = 2e-4;

#[test]
fn logits_are_those_of_candle_transformers() {
    let fixture = Fixture::model("llama-gqa");
    let ids = &fixture.reference.ids[..512];
    let found = logits(&fixture.load(), ids, 100);
    let vocabulary = found.len() / ids.len();

    let config = std::fs::read_to_string(fixture.path.join("config.json")).unwrap();
    let config: LlamaConfig = serde_json::from_str(&config).unwrap();
    let config = config.into_config(false);
    let weights = std::fs::read(fixture.path.join("model.safetensors")).unwrap();
    let weights = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu).unwrap();
    let theirs = Llama::load(weights, &config).unwrap();

    let mut most = 0.0f32;
    // It gives the logits of the last position only.
    for length in [1, 2, 33, 100, 101, 257, 512] {
        let mut cache = Cache::new(true, DType::F32, &config, &Device::Cpu).unwrap();
        let prompt = Tensor::new(&ids[..length], &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let expected = theirs.forward(&prompt, 0, &mut cache).unwrap();
        let expected = expected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let difference = largest_difference(&found[(length - 1) * vocabulary..][..vocabulary], &expected);
        most = most.max(difference);
        assert!(difference <= LOGITS, "after {length} tokens: {difference}");
    }
    println!("logits differ from candle-transformers' by at most {most:e}");
}
