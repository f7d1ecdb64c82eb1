"""mist beside llama.cpp on the same weights and threads, in turn: a row of medians, and the median of the ratios of neighbours.

usage: against_llama_cpp.py LLAMA_CPP_BIN FOLDER [ROUNDS=5] [ROW…]

LLAMA_CPP_BIN has llama-bench and llama-completion; FOLDER what make_shapes.sh makes, or other weights by these names:

  7b8-Q4_K_M 7b8-Q4_0 7b8-Q8_0 7b8-BF16     .gguf, 8 layers of Mistral 7B's width
  7b32-Q4_K_M 7b32-Q4_0 7b32-Q8_0           .gguf, all 32 of them
  mixtral8-Q4_K_M                           .gguf, 8 layers of Mixtral 8x7B's width
  starter starter-q8_0                      .gguf, SmolLM2-135M-Instruct as published (Q4_1) and in Q8_0

A row is FILE/WHAT. WHAT is

  decode        generating from an empty cache
  gguf          the same, mist too on the .gguf file as it is
  prompt        a prompt of 512 tokens
  depth         generating with 8192 tokens in the cache
  sequences     four sequences generated together: mist's rate of all beside its own of one
  first-token   seconds from the command to the first token of a prompt of 16, files in memory
  busy          decode beside another process that is always busy: which share of the quiet rate is left

Rows are chosen by name or pattern ('starter/*', '*/decode'); without, all whose files are there. mist runs the converted form,
which is made once as FILE.mist beside the file (delete it after a change of the format). A ratio above 1 says that mist is
faster. "of reading" is the part of the machine's read rate, measured in the same run, at which mist reads weights and caches.

Environment: MIST another mist than target/release/mist; THREADS another number than 2 for both programs. Everything else
(LD_LIBRARY_PATH) reaches llama.cpp as it is. Only Python's own library is needed. Of two ways to run llama.cpp (flash
attention or not, weights repacked or not) the one that is faster in a first try is taken.
"""
import json
import os
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
PROMPT_TOKENS, DEPTH, SEQUENCES = 512, 8192, 4
# 16 tokens of Mistral's first vocabulary, with the beginning token.
PROMPT = "The wind from the north brought rain over the hills and the old mill by"

if len(sys.argv) < 3:
    sys.exit(__doc__)
llama_cpp, folder = map(Path, sys.argv[1:3])
threads = os.environ.get("THREADS", "2")
mist = os.environ.get("MIST", str(Path(__file__).parent.parent / "target/release/mist"))


class Failed(Exception):
    """A program ended with an error."""


def run(command):
    """What a program prints."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [""]
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        raise Failed(f"{Path(command[0]).name}: {how} {last[0][:120]}".rstrip())
    return done.stdout


def generated(file):
    """Tokens to generate: some seconds of them."""
    return 128 if file.startswith("starter") else 32


class Llama:
    """llama.cpp, as it runs one row fastest."""

    def __init__(self, file, arguments):
        self.arguments = [llama_cpp / "llama-bench", "-m", folder / f"{file}.gguf", "-t", threads, "-o", "json", *arguments]
        self.repack, self.note = [], ""
        try:
            tried = self.samples("-fa", "0,1", "-r", "2")
        except Failed as error:
            # Its repacking for some instruction sets crashes on some machines.
            if "signal" not in str(error):
                raise
            self.repack, self.note = ["--repack", "0"], "llama.cpp crashed while repacking, ran without"
            tried = self.samples("-fa", "0,1", "-r", "2")
        self.flash = str(max(range(len(tried)), key=lambda i: max(tried[i])))

    def samples(self, *arguments):
        out = run([*map(str, self.arguments), *arguments, *self.repack])
        return [test["samples_ts"] for test in json.loads(out)]

    def rate(self, repetitions=1):
        [samples] = self.samples("-fa", self.flash, "-r", str(repetitions))
        return median(samples)


class Mist:
    """mist on a file, as it is or converted."""

    def __init__(self, file, converts=True):
        self.checkpoint = str(folder / f"{file}.gguf")
        if converts:
            converted = folder / f"{file}.mist"
            if not (converted / "mist.json").exists():
                print(f"converting {file}.gguf", file=sys.stderr)
                run([mist, "convert", "--checkpoint-dir", self.checkpoint, "--output-dir", str(converted), "-q"])
            self.checkpoint = str(converted)

    def bench(self, prompt=0, generate=0, depth=0, sequences=1, repetitions=1):
        """The rate, and the part of the machine's read rate if it is one of generating."""
        counts = {"prompt-tokens": prompt, "generate-tokens": generate, "depth": depth, "sequences": sequences}
        counts["repetitions"] = repetitions
        flags = [part for name, count in counts.items() for part in (f"--{name}", str(count))]
        out = run([mist, "bench", "--checkpoint-dir", self.checkpoint, "--threads", threads, *flags, "--json", "-q"])
        result = json.loads(out)
        rates = result["generate_tokens_per_second" if generate else "prompt_tokens_per_second"]
        return rates["median"], result["bandwidth_share"]


def in_turn(rounds, one, other):
    """Both in each round, the other first in every second one."""
    pairs = []
    for round in range(rounds):
        order = [one, other] if round % 2 == 0 else [other, one]
        results = [program() for program in order]
        pairs.append(results if round % 2 == 0 else results[::-1])
    return pairs


def ratio(pairs):
    """Of the second to the first."""
    return median(second / first for first, second in pairs)


def medians(pairs):
    return [median(values) for values in zip(*pairs)]


def of_reading(shares):
    shares = [share for share in shares if share is not None]
    return f"{100 * median(shares):.0f} %" if shares else ""


def rates(file, rounds, prompt=0, generate=0, depth=0, repetitions=1, converts=True):
    """A row of both programs' rates."""
    ours = Mist(file, converts)
    llama, note, shares = None, "", []

    def mist_rate():
        rate, share = ours.bench(prompt, generate, depth, repetitions=repetitions)
        shares.append(share)
        return rate

    try:
        llama = Llama(file, ["-p", str(prompt), "-n", str(generate), "-d", str(depth)])
        pairs = in_turn(rounds, lambda: llama.rate(repetitions), mist_rate)
        note = llama.note
    except Failed as error:
        if "llama" not in str(error):
            raise
        return ["", f"{median(mist_rate() for _ in range(rounds)):.2f}", "", of_reading(shares), str(error)]
    theirs, own = medians(pairs)
    return [f"{theirs:.2f}", f"{own:.2f}", f"{ratio(pairs):.2f}", of_reading(shares), note]


def decode(file, rounds):
    return rates(file, rounds, generate=generated(file))


def plain(file, rounds):
    return rates(file, rounds, generate=generated(file), converts=False)


def prompt(file, rounds):
    return rates(file, rounds, prompt=PROMPT_TOKENS)


def depth(file, rounds):
    # Filling the cache takes minutes, so a run measures more than once, and there are no more than three.
    return rates(file, min(rounds, 3), generate=generated(file), depth=DEPTH, repetitions=3)


def sequences(file, rounds):
    ours, shares = Mist(file), []

    def together():
        rate, share = ours.bench(generate=generated(file), sequences=SEQUENCES)
        shares.append(share)
        return rate

    pairs = in_turn(rounds, lambda: ours.bench(generate=generated(file))[0], together)
    one, four = medians(pairs)
    return ["", f"{four:.2f}", f"{ratio(pairs):.2f}", of_reading(shares), f"ratio to mist's own rate of one, {one:.2f}"]


def seconds(command):
    start = time.monotonic()
    run(command)
    return time.monotonic() - start


def first_token(file, rounds):
    ours = Mist(file).checkpoint
    own = [mist, "generate", "--checkpoint-dir", ours, "--prompt", PROMPT, "--max-new-tokens", "1"]
    own += ["--temperature", "0", "--threads", threads, "-q"]
    # Its own run to warm up would only be more to wait for, and the cache need not be the model's whole context. Repacking the
    # weights can take longer than it saves for so short a prompt: both ways are tried.
    theirs = [str(llama_cpp / "llama-completion"), "-m", str(folder / f"{file}.gguf"), "-p", PROMPT, "-n", "1", "-c", "512"]
    theirs += ["--temp", "0", "-t", threads, "-no-cnv", "--no-warmup", "--simple-io"]
    ways, note = {}, ""
    for way in [], ["--no-repack"]:
        try:
            ways[min(seconds([*theirs, *way]) for _ in range(2))] = way
        except Failed as error:
            note = str(error)
    seconds(own)
    if not ways:
        return ["", f"{median(seconds(own) for _ in range(rounds)):.2f} s", "", "", note]
    way = ways[min(ways)]
    pairs = in_turn(rounds, lambda: seconds([*theirs, *way]), lambda: seconds(own))
    them, us = medians(pairs)
    note = "; ".join([*filter(None, [note]), f"llama.cpp {'without' if way else 'with'} repacking"])
    return [f"{them:.2f} s", f"{us:.2f} s", f"{1 / ratio(pairs):.2f}", "", note]


def busy(file, rounds):
    ours = Mist(file)
    llama = Llama(file, ["-p", "0", "-n", str(generated(file))])

    def beside(rate):
        """The rate beside a busy process, as a share of the quiet one."""
        quiet = rate()
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            return rate() / quiet
        finally:
            other.kill()
            other.wait()

    pairs = in_turn(rounds, lambda: beside(llama.rate), lambda: beside(lambda: ours.bench(generate=generated(file))[0]))
    theirs, own = medians(pairs)
    return [f"{100 * theirs:.0f} %", f"{100 * own:.0f} %", f"{ratio(pairs):.2f}", "", f"of the quiet rate; {llama.note}".rstrip("; ")]


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
    patterns = rest or ["*"]
    for pattern in patterns:
        if not any(fnmatch(row, pattern) for row in ROWS):
            sys.exit(f"error: there is no row {pattern}\nhint: {' '.join(ROWS)}")
    print(f"{machine()}; medians of {rounds} rounds")
    line = lambda cells: f"{cells[0]:28} {cells[1]:>10} {cells[2]:>10} {cells[3]:>6} {cells[4]:>10}  {cells[5]}".rstrip()
    print(line(["", "llama.cpp", "mist", "ratio", "of reading", ""]), flush=True)
    for row in ROWS:
        file, kind = row.split("/")
        if not any(fnmatch(row, pattern) for pattern in patterns):
            continue
        if not (folder / f"{file}.gguf").exists():
            print(f"{row}: there is no {file}.gguf", file=sys.stderr)
            continue
        try:
            cells = KINDS[kind](file, rounds)
        except Failed as error:
            cells = ["", "", "", "", str(error)]
        print(line([row, *cells]), flush=True)


main()
