#!/usr/bin/env bash
# Measures converting a checkpoint to q4_k against llama.cpp's converter and quantizer, one after the other.
#
# usage: convert.sh CHECKPOINT LLAMA_CPP [RUNS=1]
#   CHECKPOINT   a Hugging Face folder with a tokenizer.model or tokenizer.json, such as shape.py writes
#   LLAMA_CPP    a folder with bin/llama-quantize, src/convert_hf_to_gguf.py and venv/bin/python3 to run it
# PYTHON is the path of another python3. Needs free disk of one and a half times the weights. Prints the seconds of both, mist's
# peak memory without mapped files, and the ratio. The page cache is emptied before each, if the system allows it. llama.cpp's quantizer reads a file
# that was just written.
set -euo pipefail
checkpoint=$(realpath "$1") llama_cpp=$(realpath "$2") runs=${3:-1}
python=${PYTHON:-$llama_cpp/venv/bin/python3}
[ -z "${PYTHON:-}" ] || python=$(realpath -s "$PYTHON")
cd "$(dirname "$0")/.."
cargo build --release --quiet
mist=${CARGO_TARGET_DIR:-target}/release/mist
work=$(mktemp -d "$(dirname "$checkpoint")/convert.XXXXXX")
trap 'rm -rf "$work"' EXIT

cold() { sync; echo 3 2>/dev/null > /proc/sys/vm/drop_caches || true; }
seconds() { local start=$EPOCHREALTIME; "$@" > "$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; exit 1; }; bc <<< "$EPOCHREALTIME - $start"; }

for _ in $(seq "$runs"); do
  cold
  ours=$(seconds "$mist" convert --quiet --json --checkpoint-dir "$checkpoint" --quantize q4_k --output-dir "$work/mist")
  memory=$(grep -o '"peak_memory_bytes":[0-9]*' "$work/log" | cut -d: -f2)
  cold
  converter=$(seconds "$python" "$llama_cpp/src/convert_hf_to_gguf.py" "$checkpoint" --outtype bf16 --outfile "$work/dense.gguf")
  quantizer=$(seconds "$llama_cpp/bin/llama-quantize" "$work/dense.gguf" "$work/theirs.gguf" Q4_K_M "$(nproc)")
  printf 'mist %.1f s, %d MiB; llama.cpp %.1f + %.1f s; ratio %.2f\n' \
    "$ours" "$((memory >> 20))" "$converter" "$quantizer" "$(bc -l <<< "$ours / ($converter + $quantizer)")"
  rm -rf "$work"/*
done
