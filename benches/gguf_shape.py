"""Write a GGUF of Mistral-7B's or Mixtral-8x7B's shape in q8_0 or q4_k, block by block, without a dense copy.

usage: python gguf_shape.py OUT.gguf mistral|mixtral [LAYERS=32] [q8_0|q4_k]    (all of Mixtral in q4_k: 26 GB)
Needs numpy, gguf, mistral-common and sentencepiece. All matrices but the routers have the scheme. A block's values are evenly
distributed around zero and its quants are random, so that routers send tokens to all experts. The tokenizer is Mistral's first,
from mistral-common. `llama-quantize --allow-requantize` makes other schemes from a q8_0 file: speed does not depend on the values.
"""
import sys
from pathlib import Path

import gguf
import mistral_common
import numpy as np
import sentencepiece

HIDDEN, INNER, HEADS, KEY_VALUE_HEADS, HEAD, VOCABULARY = 4096, 14336, 32, 8, 128, 32000
STANDARD_DEVIATION = 0.02

out, shape_name = sys.argv[1:3]
layers = int(sys.argv[3]) if len(sys.argv) > 3 else 32
scheme = sys.argv[4] if len(sys.argv) > 4 else "q8_0"
experts = {"mistral": 0, "mixtral": 8}[shape_name]
rng = np.random.default_rng(0)

if scheme == "q8_0":
    # A block is an f16 scale d and 32 quants q of 8 bits. A weight is d q, with q from -128 to 127.
    block, quantized, file_type = 32, gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0
    head = np.array([STANDARD_DEVIATION / 73.9], np.float16).tobytes()
    quants = 32
elif scheme == "q4_k":
    # A block is an f16 scale d and minimum, the 6-bit scales and minima of eight groups (all 32, packed as in ggml), and 256
    # quants q of 4 bits. A weight is 32 d (q - 7.5).
    block, quantized, file_type = 256, gguf.GGMLQuantizationType.Q4_K, gguf.LlamaFileType.MOSTLY_Q4_K_M
    d = STANDARD_DEVIATION / (32 * 4.61)
    head = np.array([d, 7.5 * d], np.float16).tobytes() + bytes([160] * 8 + [0] * 4)
    quants = 128
else:
    sys.exit(f"{scheme}: q8_0 or q4_k")
blocks = np.empty((1 << 19, len(head) + quants), np.uint8)
blocks[:, : len(head)] = np.frombuffer(head, np.uint8)
blocks[:, len(head) :] = rng.integers(0, 256, (len(blocks), quants), np.uint8)

shapes = {"token_embd.weight": (VOCABULARY, HIDDEN), "output_norm.weight": (HIDDEN,), "output.weight": (VOCABULARY, HIDDEN)}
for i in range(layers):
    layer = f"blk.{i}."
    shapes |= {
        layer + "attn_norm.weight": (HIDDEN,),
        layer + "attn_q.weight": (HEADS * HEAD, HIDDEN),
        layer + "attn_k.weight": (KEY_VALUE_HEADS * HEAD, HIDDEN),
        layer + "attn_v.weight": (KEY_VALUE_HEADS * HEAD, HIDDEN),
        layer + "attn_output.weight": (HIDDEN, HEADS * HEAD),
        layer + "ffn_norm.weight": (HIDDEN,),
    }
    if experts:
        shapes |= {
            layer + "ffn_gate_inp.weight": (experts, HIDDEN),
            layer + "ffn_gate_exps.weight": (experts, INNER, HIDDEN),
            layer + "ffn_up_exps.weight": (experts, INNER, HIDDEN),
            layer + "ffn_down_exps.weight": (experts, HIDDEN, INNER),
        }
    else:
        shapes |= {
            layer + "ffn_gate.weight": (INNER, HIDDEN),
            layer + "ffn_up.weight": (INNER, HIDDEN),
            layer + "ffn_down.weight": (HIDDEN, INNER),
        }

writer = gguf.GGUFWriter(out, "llama")
writer.add_name(f"{shape_name}-shape-{layers}")
writer.add_context_length(32768)
writer.add_embedding_length(HIDDEN)
writer.add_block_count(layers)
writer.add_feed_forward_length(INNER)
writer.add_head_count(HEADS)
writer.add_head_count_kv(KEY_VALUE_HEADS)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_dimension_count(HEAD)
writer.add_rope_freq_base(1e6)
writer.add_vocab_size(VOCABULARY)
if experts:
    writer.add_expert_count(experts)
    writer.add_expert_used_count(2)
writer.add_file_type(file_type)
model = str(Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1")
pieces = sentencepiece.SentencePieceProcessor(model)
kind = lambda i: 2 if pieces.is_unknown(i) else 3 if pieces.is_control(i) else 6 if pieces.is_byte(i) else 1
writer.add_tokenizer_model("llama")
writer.add_tokenizer_pre("default")
writer.add_token_list([pieces.id_to_piece(i).encode() for i in range(VOCABULARY)])
writer.add_token_scores([pieces.get_score(i) for i in range(VOCABULARY)])
writer.add_token_types([kind(i) for i in range(VOCABULARY)])
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
writer.add_unk_token_id(0)

dense = lambda name: len(shapes[name]) == 1 or "gate_inp" in name
for name, shape in shapes.items():
    if dense(name):
        writer.add_tensor_info(name, shape, np.dtype(np.float32), 4 * int(np.prod(shape)))
    else:
        rows = (*shape[:-1], shape[-1] // block * blocks.shape[1])
        writer.add_tensor_info(name, rows, np.dtype(np.uint8), int(np.prod(rows)), quantized)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_ti_data_to_file()
for name, shape in shapes.items():
    if len(shape) == 1:
        data = (1 + 0.1 * rng.standard_normal(shape)).astype(np.float32)
    elif dense(name):
        data = (STANDARD_DEVIATION * rng.standard_normal(shape)).astype(np.float32)
    else:
        count, first = int(np.prod(shape)) // block, int(rng.integers(0, len(blocks)))
        data = np.take(blocks, range(first, first + count), axis=0, mode="wrap")
    writer.write_tensor_data(data)
writer.close()
print("wrote", out)
