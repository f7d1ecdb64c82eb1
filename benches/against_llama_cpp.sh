#!/usr/bin/env bash
# Measures mist against llama.cpp on the same weights. Usage and rows: see against_llama_cpp.py.
exec python3 "$(dirname "$0")/against_llama_cpp.py" "$@"
