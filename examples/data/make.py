"""Make the tiny checkpoint `tiny-mistral`, on which the examples of the documentation run: random weights, 58 KB.

usage: python3 make.py        (Python's standard library is enough; the same bytes everywhere)
"""
import json
import random
import shutil
import struct
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / "tiny-mistral"
TOKENIZER = HERE.parent.parent / "tests/fixtures/tokenizer"

CONFIG = {
    "architectures": ["MistralForCausalLM"],
    "model_type": "mistral",
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "hidden_act": "silu",
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "bfloat16",
}


def bf16(value):
    """The nearest bf16, ties to even, as two bytes."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    return struct.pack("<H", (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)


def tensors():
    """Names and shapes of the weights, as Hugging Face has them."""
    c = CONFIG
    hidden, inner, head = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    queries, keys = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
    yield "model.embed_tokens.weight", (c["vocab_size"], hidden)
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        yield f"{layer}.input_layernorm.weight", (hidden,)
        yield f"{layer}.self_attn.q_proj.weight", (queries, hidden)
        yield f"{layer}.self_attn.k_proj.weight", (keys, hidden)
        yield f"{layer}.self_attn.v_proj.weight", (keys, hidden)
        yield f"{layer}.self_attn.o_proj.weight", (hidden, queries)
        yield f"{layer}.post_attention_layernorm.weight", (hidden,)
        yield f"{layer}.mlp.gate_proj.weight", (inner, hidden)
        yield f"{layer}.mlp.up_proj.weight", (inner, hidden)
        yield f"{layer}.mlp.down_proj.weight", (hidden, inner)
    yield "model.norm.weight", (hidden,)


def values(name, shape, rng):
    """Ones for norms; else normal values, so large that what attention finds decides the next token."""
    if len(shape) == 1:
        return [1.0] * shape[0]
    gain = 0.3 if "embed" in name else 1.5
    scale = gain if "embed" in name else gain / shape[1] ** 0.5
    # Sums of uniform values: `gauss` is not the same on every platform's libm.
    return [scale * (sum(rng.random() for _ in range(12)) - 6) for _ in range(shape[0] * shape[1])]


def main():
    OUT.mkdir(exist_ok=True)
    rng = random.Random(2026)
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, shape in tensors():
        bytes_ = b"".join(map(bf16, values(name, shape, rng)))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [len(data), len(data) + len(bytes_)]}
        data += bytes_
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    (OUT / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (OUT / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    for name in ["tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(TOKENIZER / name, OUT / name)


if __name__ == "__main__":
    main()
