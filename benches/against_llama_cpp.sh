#!/usr/bin/env bash
# mist beside llama.cpp on the same weights: usage and rows are in against_llama_cpp.py.
exec python3 "$(dirname "$0")/against_llama_cpp.py" "$@"
