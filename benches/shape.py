"""Write a Hugging Face checkpoint of Mistral-7B's shape with random bf16 weights, for measuring conversion and loading.

usage: python shape.py OUT [LAYERS=32]        (14.5 GB; a quarter of it with 8 layers)
Needs numpy, transformers, mistral-common and sentencepiece. Weights are drawn from a pool of 2^26 normal values; a search for
scales takes as long as with trained weights. The tokenizer is Mistral's first, from mistral-common.
"""
import json
import shutil
import sys
from pathlib import Path

import mistral_common
import numpy as np
from transformers import AutoTokenizer

HIDDEN, INNER, HEADS, KEY_VALUE_HEADS, HEAD, VOCABULARY = 4096, 14336, 32, 8, 128, 32000
SHARD = 5_000_000_000  # bytes; the size of published shards

out = Path(sys.argv[1])
layers = int(sys.argv[2]) if len(sys.argv) > 2 else 32
out.mkdir(parents=True)

rng = np.random.default_rng(0)
pool = (rng.standard_normal(1 << 26, dtype=np.float32) * 0.02).view(np.uint32)
pool = ((pool + 0x8000) >> 16).astype(np.uint16)  # bf16
ones = np.full(HIDDEN, 0x3F80, np.uint16)

shapes = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
for i in range(layers):
    layer = f"model.layers.{i}."
    shapes |= {
        layer + "input_layernorm.weight": (HIDDEN,),
        layer + "self_attn.q_proj.weight": (HEADS * HEAD, HIDDEN),
        layer + "self_attn.k_proj.weight": (KEY_VALUE_HEADS * HEAD, HIDDEN),
        layer + "self_attn.v_proj.weight": (KEY_VALUE_HEADS * HEAD, HIDDEN),
        layer + "self_attn.o_proj.weight": (HIDDEN, HEADS * HEAD),
        layer + "post_attention_layernorm.weight": (HIDDEN,),
        layer + "mlp.gate_proj.weight": (INNER, HIDDEN),
        layer + "mlp.up_proj.weight": (INNER, HIDDEN),
        layer + "mlp.down_proj.weight": (HIDDEN, INNER),
    }
shapes |= {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}

size = lambda name: 2 * int(np.prod(shapes[name]))
shards = [[]]
for name in shapes:
    if shards[-1] and sum(map(size, shards[-1])) + size(name) > SHARD:
        shards.append([])
    shards[-1].append(name)


def values(name):
    """Yield a tensor's bytes in pieces."""
    left = size(name) // 2
    if left == HIDDEN:
        yield ones.tobytes()
        return
    while left:
        start = int(rng.integers(0, len(pool) // 2))
        piece = pool[start : start + left]
        left -= len(piece)
        yield piece.tobytes()


weight_map = {}
for number, names in enumerate(shards, 1):
    file = f"model-{number:05}-of-{len(shards):05}.safetensors"
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name in names:
        header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [offset, offset + size(name)]}
        offset += size(name)
        weight_map[name] = file
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    with open(out / file, "wb") as f:
        f.write(len(header).to_bytes(8, "little") + header)
        for name in names:
            f.writelines(values(name))
index = {"metadata": {"total_size": sum(map(size, shapes))}, "weight_map": weight_map}
(out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))

config = {
    "architectures": ["MistralForCausalLM"], "model_type": "mistral", "torch_dtype": "bfloat16",
    "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": layers, "num_attention_heads": HEADS,
    "num_key_value_heads": KEY_VALUE_HEADS, "head_dim": HEAD, "vocab_size": VOCABULARY, "hidden_act": "silu",
    "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "rope_theta": 1e6, "sliding_window": None,
    "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
}
(out / "config.json").write_text(json.dumps(config, indent=2))
data = Path(mistral_common.__file__).parent / "data"
shutil.copy(data / "tokenizer.model.v1", out / "tokenizer.model")
(out / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}))
AutoTokenizer.from_pretrained(out).save_pretrained(out)
