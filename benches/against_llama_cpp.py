"""Measure mist against llama.cpp on the same weights and threads, alternating between them. Prints a line per measurement with
medians, and the median of the ratios of adjacent runs.

usage: against_llama_cpp.py LLAMA_CPP_BIN FOLDER [ROUNDS=5] [ROW…]

LLAMA_CPP_BIN has llama-bench and llama-completion. FOLDER has the files that make_shapes.sh writes, or other weights with these
names:

  7b8-Q4_K_M 7b8-Q4_0 7b8-Q8_0 7b8-BF16     .gguf, 8 layers of Mistral 7B's width
  7b32-Q4_K_M 7b32-Q4_0 7b32-Q8_0           .gguf, all 32 layers
  mixtral8-Q4_K_M                           .gguf, 8 layers of Mixtral 8x7B's width
  starter starter-q8_0                      .gguf, SmolLM2-135M-Instruct as published (Q4_1) and in Q8_0

A ROW is FILE/WHAT. WHAT is

  decode        generating from an empty cache
  gguf          the same, but mist reads the .gguf file without conversion
  prompt        a prompt of 512 tokens
  depth         generating with 8192 tokens in the cache
  sequences     four sequences generated together: mist's total rate, compared with its rate for one
  first-token   seconds from the command to the first token after a prompt of 16 tokens, with the files in memory
  busy          decode while another process is busy: the share of the quiet rate

Rows are selected by name or pattern ('starter/*', '*/decode'); the default is all rows whose files exist. mist runs a converted
checkpoint, which is written once as FILE.mist next to the file (delete it after a change of the format). A ratio above 1 means
that mist is faster. "of reading" is the rate at which mist reads weights, relative to the machine's read rate measured in the
same run. If keys and values are many, a note has the rate that includes them.

Environment: MIST is the path of mist [default: target/release/mist]. THREADS is the number of threads of both programs
[default: 2]. MIST_CPU selects mist's kernels, which the first line names. Other variables, such as LD_LIBRARY_PATH, are passed
to llama.cpp. Only Python's standard library is needed. llama.cpp runs with the options that are fastest in a first try: with or
without flash attention, and with or without repacked weights (for depth, where a try takes minutes, always repacked).
"""
import json
import os
import shutil
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path
from statistics import median

SHAPES = ["7b8-Q4_K_M", "7b8-Q4_0", "7b8-Q8_0", "7b32-Q4_K_M", "7b32-Q4_0", "7b32-Q8_0", "starter", "starter-q8_0", "mixtral8-Q4_K_M"]
ROWS = [f"{shape}/decode" for shape in [*SHAPES, "7b8-BF16"]]
ROWS += [f"{shape}/prompt" for shape in SHAPES]
ROWS += ["7b8-Q4_K_M/depth", "7b8-Q4_K_M/sequences", "7b8-Q4_K_M/first-token", "7b32-Q4_K_M/first-token", "starter/busy"]
ROWS += ["7b8-Q4_K_M/gguf", "starter/gguf", "mixtral8-Q4_K_M/gguf"]
PROMPT_TOKENS, DEPTH, SEQUENCES, DEPTH_ROUNDS = 512, 8192, 4, 3
# 16 tokens of Mistral's first vocabulary, with the beginning token.
PROMPT = "The wind from the north brought rain over the hills and the old mill by"

if len(sys.argv) < 3 or sys.argv[1] in ("-h", "--help"):
    sys.exit(__doc__)
folder = Path(sys.argv[2])
threads = os.environ.get("THREADS", "2")


def find(name, hint):
    """Return the path of a program, given as a path or found on PATH."""
    return shutil.which(name) or sys.exit(f"error: no program {name} found\nhint: {hint}")


llama_bench, llama_completion = (
    find(str(Path(sys.argv[1]).resolve() / name), "the first argument is the folder of llama.cpp's programs")
    for name in ["llama-bench", "llama-completion"]
)
mist = find(
    os.environ.get("MIST", str(Path(__file__).resolve().parent.parent / "target/release/mist")),
    "cargo build --release, or MIST=PATH",
)


class Failed(Exception):
    """A program failed or did not start."""


def run(command):
    """Run a program and return its output."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise Failed(f"{Path(command[0]).name}: {error.strerror}") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [""]
        # A hint may follow the error.
        error = next((line for line in lines if line.startswith("error:")), lines[-1])
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        raise Failed(f"{Path(command[0]).name}: {how} {error[:120]}".rstrip())
    return done.stdout


def generated(file):
    """Return the number of tokens to generate, which take some seconds."""
    return 128 if file.startswith("starter") else 32


class Llama:
    """llama.cpp with the options that are fastest for a row."""

    def __init__(self, file, arguments, repack="0,1"):
        self.arguments = [llama_bench, "-m", folder / f"{file}.gguf", "-t", threads, "-o", "json", *arguments]
        self.note = ""
        try:
            tried = self.tests("-fa", "0,1", "--repack", repack, "-r", "2")
        except Failed as error:
            # llama.cpp's repacking for some instruction sets crashes on some machines.
            if "signal" not in str(error):
                raise
            self.note = "llama.cpp crashed while repacking, ran without"
            tried = self.tests("-fa", "0,1", "--repack", "0", "-r", "2")
        best = max(tried, key=lambda test: max(test["samples_ts"]))
        self.way = ["-fa", str(int(best["flash_attn"])), "--repack", str(int(best["repack"]))]

    def tests(self, *arguments):
        return json.loads(run([*map(str, self.arguments), *arguments]))

    def rate(self, repetitions=1):
        [test] = self.tests(*self.way, "-r", str(repetitions))
        return median(test["samples_ts"])


class Mist:
    """mist with a file, converted or not."""

    def __init__(self, file, converts=True):
        self.checkpoint = str(folder / f"{file}.gguf")
        if converts:
            converted = folder / f"{file}.mist"
            if not (converted / "mist.json").exists():
                print(f"converting {file}.gguf", file=sys.stderr)
                run([mist, "convert", "--checkpoint-dir", self.checkpoint, "--output-dir", str(converted), "-q"])
            self.checkpoint = str(converted)

    def bench(self, prompt=0, generate=0, depth=0, sequences=1, repetitions=1):
        """Return the rate and, for generating, the shares of the machine's read rate: of weights, and of weights with caches."""
        counts = {"prompt-tokens": prompt, "generate-tokens": generate, "depth": depth, "sequences": sequences}
        counts["repetitions"] = repetitions
        flags = [part for name, count in counts.items() for part in (f"--{name}", str(count))]
        out = run([mist, "bench", "--checkpoint-dir", self.checkpoint, "--threads", threads, *flags, "--json", "-q"])
        result = json.loads(out)
        rates = result["generate_tokens_per_second" if generate else "prompt_tokens_per_second"]
        return rates["median"], (result["weights_share"], result["bandwidth_share"])


def in_turn(rounds, one, other):
    """Run both programs in each round, in alternating order."""
    pairs = []
    for round in range(rounds):
        order = [one, other] if round % 2 == 0 else [other, one]
        results = [program() for program in order]
        pairs.append(results if round % 2 == 0 else results[::-1])
    return pairs


def ratio(pairs):
    """Return the median ratio of the second to the first."""
    return median(second / first for first, second in pairs)


def medians(pairs):
    return [median(values) for values in zip(*pairs)]


def of_reading(shares):
    """Return the median percentages for weights alone and for weights with caches."""
    known = [pair for pair in shares if None not in pair]
    return [f"{100 * share:.0f} %" for share in medians(known)] if known else ["", ""]


def noted(*notes):
    return "; ".join(filter(None, notes))


def rates(file, rounds, prompt=0, generate=0, depth=0, repetitions=1, converts=True):
    """Return a row with both programs' rates."""
    ours = Mist(file, converts)
    shares = []

    def mist_rate():
        rate, share = ours.bench(prompt, generate, depth, repetitions=repetitions)
        shares.append(share)
        return rate

    try:
        arguments = ["-p", str(prompt), "-n", str(generate), "-d", str(depth)]
        llama = Llama(file, arguments, repack="1" if depth else "0,1")
        pairs = in_turn(rounds, lambda: llama.rate(repetitions), mist_rate)
        note = llama.note
        theirs, own = medians(pairs)
        cells = [f"{theirs:.2f}", f"{own:.2f}", f"{ratio(pairs):.2f}"]
    except Failed as error:
        if "llama" not in str(error):
            raise
        cells, note = ["", f"{median(mist_rate() for _ in range(rounds)):.2f}", ""], str(error)
    weights, with_caches = of_reading(shares)
    note = noted(f"{with_caches} with keys and values" if depth and with_caches else "", note)
    return [*cells, weights, note]


def decode(file, rounds):
    return rates(file, rounds, generate=generated(file))


def plain(file, rounds):
    return rates(file, rounds, generate=generated(file), converts=False)


def prompt(file, rounds):
    return rates(file, rounds, prompt=PROMPT_TOKENS)


def depth(file, rounds):
    # Filling the cache takes minutes, so each of at most three runs measures three times.
    return rates(file, min(rounds, DEPTH_ROUNDS), generate=generated(file), depth=DEPTH, repetitions=3)


def sequences(file, rounds):
    ours, shares = Mist(file), []

    def together():
        rate, share = ours.bench(generate=generated(file), sequences=SEQUENCES)
        shares.append(share)
        return rate

    pairs = in_turn(rounds, lambda: ours.bench(generate=generated(file))[0], together)
    one, four = medians(pairs)
    return ["", f"{four:.2f}", f"{ratio(pairs):.2f}", of_reading(shares)[0], f"ratio to mist's own rate of one, {one:.2f}"]


def seconds(command):
    start = time.monotonic()
    run(command)
    return time.monotonic() - start


def first_token(file, rounds):
    ours = Mist(file).checkpoint
    own = [mist, "generate", "--checkpoint-dir", ours, "--prompt", PROMPT, "--max-new-tokens", "1"]
    own += ["--temperature", "0", "--threads", threads, "-q"]
    # A warm-up run would only add to the time, and the cache need not hold the model's whole context. Repacking the
    # weights can take longer than it saves for such a short prompt, so both ways are tried.
    theirs = [llama_completion, "-m", str(folder / f"{file}.gguf"), "-p", PROMPT, "-n", "1", "-c", "512"]
    theirs += ["--temp", "0", "-t", threads, "-no-cnv", "--no-warmup", "--simple-io"]
    ways, failed = {}, []
    for way in [], ["--no-repack"]:
        try:
            ways[min(seconds([*theirs, *way]) for _ in range(2))] = way
        except Failed as error:
            failed.append(str(error))
    seconds(own)
    if not ways:
        return ["", f"{median(seconds(own) for _ in range(rounds)):.2f} s", "", "", failed[0]]
    way = ways[min(ways)]
    pairs = in_turn(rounds, lambda: seconds([*theirs, *way]), lambda: seconds(own))
    them, us = medians(pairs)
    note = f"llama.cpp {'without' if way else 'with'} repacking{', which crashed' if failed and way else ''}"
    return [f"{them:.2f} s", f"{us:.2f} s", f"{1 / ratio(pairs):.2f}", "", note]


def busy(file, rounds):
    ours = Mist(file)

    def beside(rate):
        """Return the rate next to a busy process, as a share of the quiet rate."""
        quiet = rate()
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            return rate() / quiet
        finally:
            other.kill()
            other.wait()

    def mist_share():
        return beside(lambda: ours.bench(generate=generated(file))[0])

    try:
        llama = Llama(file, ["-p", "0", "-n", str(generated(file))])
        pairs = in_turn(rounds, lambda: beside(llama.rate), mist_share)
    except Failed as error:
        if "llama" not in str(error):
            raise
        own = median(mist_share() for _ in range(rounds))
        return ["", f"{100 * own:.0f} %", "", "", noted("of the quiet rate", str(error))]
    theirs, own = medians(pairs)
    note = noted("of the quiet rate", llama.note)
    return [f"{100 * theirs:.0f} %", f"{100 * own:.0f} %", f"{ratio(pairs):.2f}", "", note]


KINDS = {
    "decode": decode,
    "gguf": plain,
    "prompt": prompt,
    "depth": depth,
    "sequences": sequences,
    "first-token": first_token,
    "busy": busy,
}


def machine():
    devices = json.loads(run([mist, "devices", "--json"]))["devices"][0]
    try:
        model = [line for line in open("/proc/cpuinfo") if line.startswith("model name")][0].split(":")[1].strip()
    except (OSError, IndexError):
        model = "unknown processor"
    version = run([mist, "--version"]).strip()
    return f"{version} ({devices['kernels']} kernels), {threads} threads of {devices['threads']}, {model}"


def main():
    rest = sys.argv[3:]
    rounds = int(rest.pop(0)) if rest and rest[0].isdigit() else 5
    if rounds == 0:
        sys.exit("error: ROUNDS is 0, expected at least 1\nhint: leave it out for 5")
    patterns = rest or ["*"]
    for pattern in patterns:
        if not any(fnmatch(row, pattern) for row in ROWS):
            sys.exit(f"error: no row {pattern}\nhint: {' '.join(ROWS)}")
    fewer = f", of depth {DEPTH_ROUNDS}" if rounds > DEPTH_ROUNDS else ""
    try:
        here = machine()
    except Failed as error:
        sys.exit(f"error: {error}")
    print(f"{here}; medians of {rounds} round{'s' if rounds > 1 else ''}{fewer}")
    line = lambda cells: f"{cells[0]:28} {cells[1]:>10} {cells[2]:>10} {cells[3]:>6} {cells[4]:>10}  {cells[5]}".rstrip()
    print(line(["", "llama.cpp", "mist", "ratio", "of reading", ""]), flush=True)
    for row in ROWS:
        file, kind = row.split("/")
        if not any(fnmatch(row, pattern) for pattern in patterns):
            continue
        if not (folder / f"{file}.gguf").exists():
            print(f"{row}: no {file}.gguf found", file=sys.stderr)
            continue
        try:
            cells = KINDS[kind](file, rounds)
        except Failed as error:
            cells = ["", "", "", "", str(error)]
        print(line([row, *cells]), flush=True)


main()
