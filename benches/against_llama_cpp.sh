#!/usr/bin/env bash
# Decoding beside llama.cpp on the same weights, in turn: medians, and the median of the ratios of neighbours.
#
# usage: benches/against_llama_cpp.sh LLAMA_BENCH FILE.gguf [ROUNDS=7] [TOKENS=32]
#
# mist runs the GGUF as it is and its converted form (made beside it, once). Two threads each.
set -euo pipefail
llama_bench=$1 gguf=$2 rounds=${3:-7} tokens=${4:-32}
mist=${MIST:-target/release/mist}
converted=${gguf%.gguf}.mist
[ -f "$converted/mist.json" ] || "$mist" convert --checkpoint-dir "$gguf" --output-dir "$converted" -q

mist_rate() {
  "$mist" generate --checkpoint-dir "$1" --prompt "The wind" --temperature 0 --max-new-tokens "$tokens" --ignore-eos \
    --threads 2 --json -q | python3 -c 'import json, sys; print(json.load(sys.stdin)["timings"]["generate_tokens_per_second"])'
}
llama_rate() {
  "$llama_bench" -m "$gguf" -t 2 -p 0 -n "$tokens" -r 1 -o json 2>/dev/null |
    python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["avg_ts"])'
}

mist_rate "$gguf" >/dev/null
mist_rate "$converted" >/dev/null # both in memory
for ((round = 0; round < rounds; round++)); do
  echo "$(llama_rate) $(mist_rate "$gguf") $(mist_rate "$converted")"
done | python3 -c '
import sys
from statistics import median
rows = [[float(x) for x in line.split()] for line in sys.stdin]
llama, plain, converted = map(list, zip(*rows))
print(f"llama.cpp {median(llama):.2f} tok/s")
for name, rates in ("mist, the GGUF", plain), ("mist, converted", converted):
    ratio = median(m / l for m, l in zip(rates, llama))
    print(f"{name} {median(rates):.2f} tok/s, {ratio:.2f} times llama.cpp")
'
