"""Whether the programs that `mist convert` writes for load what it writes, and compute the same on it.

usage: python run.py LLAMA_CPP CHECKPOINT... [--text FILE] [--schemes q8_0,q4_k]
  LLAMA_CPP    a folder with bin/llama-perplexity, bin/llama-quantize and src/convert_hf_to_gguf.py (build 11434)
  CHECKPOINT   Hugging Face folders with trained weights; those of tests/fixtures are too small for a perplexity
Needs torch, transformers, accelerate, litgpt, gguf, sentencepiece, and `cargo build --release` done.

Of each checkpoint it compares, every perplexity by one program on both files, in windows of 512 tokens:
 - tensors after hf -> mist -> hf with the originals, byte for byte; perplexity by transformers
 - perplexity by litgpt of `--to litgpt` with that by transformers of the original
 - perplexity by llama-perplexity of `--to gguf` with that of llama.cpp's own conversion
 - of each scheme the tensors with those of llama-quantize, byte for byte; perplexity
One line a comparison; exit 1 if one fails.
"""
import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import torch
import transformers
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
MIST = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "mist"
WINDOW = 512
transformers.utils.logging.disable_progress_bar()
# what llama-quantize calls the mixes
THEIRS = {
    "q8_0": "Q8_0", "q6_k": "Q6_K", "q5_k": "Q5_K_M", "q5_1": "Q5_1", "q5_0": "Q5_0", "q4_k": "Q4_K_M", "q4_1": "Q4_1", "q4_0": "Q4_0",
}
failed = False


def say(checkpoint, what, result, passed):
    global failed
    failed |= not passed
    print(f"{'ok' if passed else 'FAILED':6} {checkpoint.name:18} {what:34} {result}", flush=True)


def same_perplexity(checkpoint, what, ours, theirs):
    """Equal to three digits."""
    say(checkpoint, what, f"{ours:.4f} {theirs:.4f}", abs(ours / theirs - 1) < 5e-4)


def call(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, errors="replace")
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def convert(source, to, folder, *flags):
    call(MIST, "convert", "--quiet", "--checkpoint-dir", source, "--to", to, "--output-dir", folder, *flags)
    return folder


def perplexity(logits_of, ids):
    """Over windows, each scored from its second token."""
    total, count = 0.0, 0
    with torch.no_grad():
        for window in ids.split(WINDOW):
            if len(window) > 1:
                logs = torch.log_softmax(logits_of(window[None])[0, :-1].float(), -1)
                total -= logs.gather(-1, window[1:, None]).double().sum().item()
                count += len(window) - 1
    return math.exp(total / count)


def by_transformers(folder, ids):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return perplexity(lambda window: model(window).logits, ids)


def by_litgpt(folder, ids):
    import litgpt

    model = litgpt.GPT(litgpt.Config.from_file(folder / "model_config.yaml")).float().eval()
    model.load_state_dict(torch.load(folder / "lit_model.pth", mmap=True, weights_only=True), strict=True)
    return perplexity(model, ids)


def by_llama_cpp(programs, file, text, *flags):
    # repacked weights: its build 11434 crashes on q8_0 where the processor has AMX
    flags = ["-c", WINDOW, "-t", os.cpu_count(), "--no-repack", *flags]
    said = call(programs / "bin" / "llama-perplexity", "-m", file, "-f", text, *flags)
    return float(re.search(r"Final estimate: PPL = ([0-9.]+)", said)[1])


def ids_by_llama_cpp(programs, file, text):
    said = subprocess.run(
        [programs / "bin" / "llama-tokenize", "-m", file, "-f", text, "--ids", "--no-bos", "--no-parse-special"],
        capture_output=True, text=True, check=True,
    )
    return json.loads(said.stdout.splitlines()[-1])


def pre_tokenizer(file):
    """Flags by which another file of the same vocabulary is cut into the same words."""
    field = gguf.GGUFReader(file).fields.get("tokenizer.ggml.pre")
    return ["--override-kv", f"tokenizer.ggml.pre=str:{field.contents()}"] if field else []


def safetensors(folder):
    """Every tensor of a folder: its type, shape and bytes."""
    tensors = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            for name in opened.keys():
                tensor = opened.get_tensor(name)
                tensors[name] = (tensor.dtype, tensor.shape, tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return tensors


def gguf_tensors(file):
    return {t.name: (t.tensor_type, tuple(t.shape), t.data.tobytes()) for t in gguf.GGUFReader(file).tensors}


def same_tensors(checkpoint, what, ours, theirs):
    names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    say(checkpoint, what, f"{len(theirs)} tensors, {len(names)} differ {' '.join(names[:3])}", not names)


def check(checkpoint, programs, text, schemes, work):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    ids = tokenizer(text.read_text(), return_tensors="pt", verbose=False).input_ids[0]
    original = by_transformers(checkpoint, ids)

    again = convert(convert(checkpoint, "mist", work / "mist"), "hf", work / "hf")
    same_tensors(checkpoint, "hf -> mist -> hf", safetensors(again), safetensors(checkpoint))
    same_perplexity(checkpoint, "hf, by transformers", by_transformers(again, ids), original)
    same_perplexity(checkpoint, "litgpt, by litgpt", by_litgpt(convert(checkpoint, "litgpt", work / "litgpt"), ids), original)

    dense = work / "theirs.gguf"
    call(sys.executable, programs / "src" / "convert_hf_to_gguf.py", checkpoint, "--outtype", "bf16", "--outfile", dense)
    for scheme in [None, *schemes]:
        flags = ["--quantize", scheme] if scheme else []
        [ours] = convert(checkpoint, "gguf", work / f"gguf-{scheme}", *flags).glob("*.gguf")
        theirs = dense
        if scheme:
            theirs = work / f"theirs-{scheme}.gguf"
            call(programs / "bin" / "llama-quantize", dense, theirs, THEIRS[scheme])
        what = f"gguf {scheme or 'as it is'}"
        if not scheme:
            plain = tokenizer(text.read_text(), add_special_tokens=False, verbose=False).input_ids
            say(checkpoint, "gguf, ids by llama-tokenize", f"{len(plain)}", ids_by_llama_cpp(programs, ours, text) == plain)
        same_tensors(checkpoint, what, gguf_tensors(ours), gguf_tensors(theirs))
        size = f"{ours.stat().st_size} {theirs.stat().st_size}"
        say(checkpoint, f"{what}, bytes", size, ours.stat().st_size <= theirs.stat().st_size)
        # Its converter guesses how texts are cut from how one text is; ours reads it from tokenizer.json.
        measured = by_llama_cpp(programs, ours, text), by_llama_cpp(programs, theirs, text, *pre_tokenizer(ours))
        same_perplexity(checkpoint, f"{what}, by llama-perplexity", *measured)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("llama_cpp", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--text", type=Path)
    parser.add_argument("--schemes", default="q8_0,q6_k,q5_k,q4_k,q4_0")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        text = args.text
        if text is None:
            text = Path(work) / "text.txt"
            text.write_text("".join((ROOT / name).read_text() for name in ("LICENSE", "README.md")))
        for checkpoint in args.checkpoints:
            with tempfile.TemporaryDirectory() as one:
                check(checkpoint.resolve(), args.llama_cpp, text, args.schemes.split(","), Path(one))
    sys.exit(failed)


main()
