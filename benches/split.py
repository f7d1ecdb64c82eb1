"""Measure the cost of splitting a model over devices, and the gain of computing prompts together.

usage: python split.py MIST CHECKPOINT [PAIRS=20] [DEVICES=4] [TOKENS=64]

Split: decodes on one and on several logical CPU devices, alternating, and every other pair begins with the split. Prints medians
of both rates and of the ratios within a pair. Batch: runs four prompts in one call and one at a time. Measures prompts and
decoding, but not loading.
"""
import json
import subprocess
import sys
import tempfile
import time
from statistics import median

mist, checkpoint = sys.argv[1:3]
pairs, devices, tokens = (int(a) for a in [*sys.argv[3:6], *["20", "4", "64"][len(sys.argv) - 3 :]])
PROMPTS = ["The wind", "A mill stands on the river and", "In winter the ice", "What is the capital of Italy? It is"]
COMMON = ["--checkpoint-dir", checkpoint, "--temperature", "0", "--max-new-tokens", str(tokens), "--ignore-eos", "--json", "-q"]


def run(*arguments):
    command = [mist, "generate-sequential", *COMMON, *arguments]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def rate(count):
    [text] = run("--prompt", PROMPTS[0], "--devices", str(count))
    return text["timings"]["generate_tokens_per_second"], text["output_ids"]


run("--prompt", PROMPTS[0])  # loads the files into memory
one, split, ratios = [], [], []
for pair in range(pairs):
    order = [1, devices] if pair % 2 == 0 else [devices, 1]
    (a, ids_a), (b, ids_b) = (rate(count) for count in order)
    assert ids_a == ids_b, "the split changes the tokens"
    if order[0] != 1:
        a, b = b, a
    one.append(a)
    split.append(b)
    ratios.append(b / a)
print(f"one device {median(one):.2f} tok/s, {devices} devices {median(split):.2f} tok/s, median ratio {median(ratios):.4f} of {pairs}")


def wall(call):
    """Return the seconds of a call without loading, and the ids of its texts."""
    start = time.monotonic()
    texts = call()
    return time.monotonic() - start - max(t["timings"]["load_seconds"] for t in texts), [t["output_ids"] for t in texts]


with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
    file.write("\n".join(PROMPTS) + "\n")
    file.flush()
    together, alone, gains = [], [], []
    for _ in range(max(pairs // 4, 3)):
        a, ids_a = wall(lambda: run("--prompts-file", file.name))
        b, ids_b = 0.0, []
        for prompt in PROMPTS:
            seconds, ids = wall(lambda: run("--prompt", prompt))
            b += seconds
            ids_b += ids
        assert ids_a == ids_b, "computing together changes the tokens"
        together.append(len(PROMPTS) * tokens / a)
        alone.append(len(PROMPTS) * tokens / b)
        gains.append(b / a)
print(f"four prompts: together {median(together):.2f} tok/s, one at a time {median(alone):.2f} tok/s, median ratio {median(gains):.2f}")
