"""Write a GGUF of Mixtral-8x7B's shape in q4_k, block by block: no f16 copy of it is ever made.

usage: python mixtral_shape.py OUT.gguf [LAYERS=32]        (26 GB; 8 layers are a quarter of it)
Needs numpy, gguf, mistral-common and sentencepiece. Every matrix but the routers is q4_k. A block's sixteen levels lie evenly
about zero and its quants are random, so that routers send tokens to all experts. The tokenizer is Mistral's first, from
mistral-common.
"""
import sys
from pathlib import Path

import gguf
import mistral_common
import numpy as np
import sentencepiece

HIDDEN, INNER, HEADS, KEY_VALUE_HEADS, HEAD, VOCABULARY, EXPERTS = 4096, 14336, 32, 8, 128, 32000, 8
BLOCK, BLOCK_BYTES = 256, 144

out = sys.argv[1]
layers = int(sys.argv[2]) if len(sys.argv) > 2 else 32
rng = np.random.default_rng(0)

# Scale and minimum, f16; eight groups' 6-bit scales and minima, all 32, as ggml packs them; 256 quants of 4 bits. A weight is
# 32 d (q - 7.5), with a standard deviation of 0.02.
d = 0.02 / (32 * 4.61)
head = np.array([d, 7.5 * d], np.float16).tobytes() + bytes([160] * 8 + [0] * 4)
blocks = np.empty((1 << 19, BLOCK_BYTES), np.uint8)
blocks[:, :16] = np.frombuffer(head, np.uint8)
blocks[:, 16:] = rng.integers(0, 256, (len(blocks), BLOCK_BYTES - 16), np.uint8)

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
        layer + "ffn_gate_inp.weight": (EXPERTS, HIDDEN),
        layer + "ffn_gate_exps.weight": (EXPERTS, INNER, HIDDEN),
        layer + "ffn_up_exps.weight": (EXPERTS, INNER, HIDDEN),
        layer + "ffn_down_exps.weight": (EXPERTS, HIDDEN, INNER),
    }

writer = gguf.GGUFWriter(out, "llama")
writer.add_name(f"mixtral-shape-{layers}")
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
writer.add_expert_count(EXPERTS)
writer.add_expert_used_count(2)
writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
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
        rows = (*shape[:-1], shape[-1] // BLOCK * BLOCK_BYTES)
        quantized = gguf.GGMLQuantizationType.Q4_K
        writer.add_tensor_info(name, rows, np.dtype(np.uint8), int(np.prod(rows)), quantized)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_ti_data_to_file()
for name, shape in shapes.items():
    if len(shape) == 1:
        data = (1 + 0.1 * rng.standard_normal(shape)).astype(np.float32)
    elif dense(name):
        data = (0.02 * rng.standard_normal(shape)).astype(np.float32)
    else:
        count, first = int(np.prod(shape)) // BLOCK, int(rng.integers(0, len(blocks)))
        data = np.take(blocks, range(first, first + count), axis=0, mode="wrap")
    writer.write_tensor_data(data)
writer.close()
print("wrote", out)
