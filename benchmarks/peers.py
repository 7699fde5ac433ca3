"""hotloop beside PyTorch, JAX and scikit-learn, in turn in one run.

Training only: float32, Adam, softmax cross-entropy, ReLU between dense layers, rows shuffled anew in
each epoch, standard-normal features and random labels in memory. A timed call is `EPOCHS` epochs,
shuffling and gathering of rows included, after a warm-up. In each round every contestant has one
call, in turn, so that a slower phase of the machine meets all of them; a contestant's figure is its
fastest call (the minimum over the rounds), as µs a step, since others can only add time.

    python benchmarks/peers.py                            # the five small cases, one thread
    python benchmarks/peers.py --all --markdown table.md  # every case
    python benchmarks/peers.py --startup                  # seconds of a new process, cold and warm

A peer that is not installed is skipped with a note; `contestants.py` says how each trains.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from contestants import PEERS, Case, Train, installed

EPOCHS = 4
"""Of a timed call: what a fit costs once, such as checks of the data, is shared by this many."""

EPOCH_SECONDS = 0.06
"""An epoch has as many rows as a contestant trains on in this time: short steps are many steps."""

SETTLE_SECONDS = 0.02
"""Pause before each call: by then the thread pool of the one before has stopped spinning."""

DATA_BYTES = 1 << 28

CASES = [
    Case((4, 16, 3), 16),
    Case((20, 64, 64, 2), 32),
    Case((784, 128, 10), 1),
    Case((784, 128, 10), 32),
    Case((784, 128, 10), 128),
]
LARGER_CASES = [
    Case((784, 256, 128, 10), 128),
    Case((100, 256, 256, 256, 10), 256),
    Case((784, 512, 512, 10), 256),
    Case((1024, 2048, 2048, 10), 256),
]


def random_data(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, inputs), float32, and labels (n,), n a multiple of the batch and within `DATA_BYTES`."""
    rng = np.random.default_rng(0)
    steps = max(1, min(100_000, DATA_BYTES // (4 * case.widths[0] * case.batch)))
    X = rng.standard_normal((steps * case.batch, case.widths[0]), np.float32)
    return X, rng.integers(0, case.widths[-1], len(X))


def rows_of_epoch(train: Train, case: Case, most: int) -> int:
    """Rows on which an epoch lasts `EPOCH_SECONDS`, in whole minibatches; warms up on the way."""
    steps, most_steps = min(8, most // case.batch), most // case.batch
    while True:
        train(steps * case.batch, 1)
        started = time.perf_counter()
        train(steps * case.batch, 1)
        growth = EPOCH_SECONDS / (time.perf_counter() - started)
        if growth < 1.1 or steps == most_steps:
            return steps * case.batch
        steps = min(most_steps, int(np.ceil(steps * min(growth, 16))))


def measure(
    case: Case, names: list[str], threads: int, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """µs a step of each contestant in each round; fewer than `rounds`, but 3, when `seconds` are over."""
    X, y = random_data(case)
    calls = {}
    for name in names:
        train = PEERS[name][0](case, X, y, threads)
        calls[name] = train, rows_of_epoch(train, case, len(X))
    found: dict[str, list[float]] = {name: [] for name in names}
    end = time.perf_counter() + seconds
    for done in range(rounds):
        if done >= 3 and time.perf_counter() > end:
            break
        for name, (train, rows) in calls.items():
            time.sleep(SETTLE_SECONDS)
            started = time.perf_counter()
            train(rows, EPOCHS)
            found[name].append(1e6 * (time.perf_counter() - started) / (EPOCHS * rows // case.batch))
    return found


def processor() -> str:
    """Its name, as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def free_processors() -> float:
    """How many nobody used in the last minute, infinite where the system does not say."""
    return os.cpu_count() - os.getloadavg()[0] if hasattr(os, "getloadavg") else float("inf")


def machine(names: list[str], threads: int) -> str:
    """What a figure must never be quoted without."""
    versions = ", ".join(f"{name} {installed(name)}" for name in names)
    return (
        f"{processor()}, {os.cpu_count()} processors; {threads} thread{'s' * (threads > 1)}; "
        f"{platform.system()}, Python {platform.python_version()}, numba {version('numba')}, {versions}"
    )


def table(results: dict[str, dict[str, list[float]]], names: list[str]) -> str:
    """Markdown: µs a step of each contestant, and how many times as fast hotloop is."""
    peers = names[1:]
    head = ["widths @ batch", *(f"{name}, µs a step" for name in names), *(f"vs {name}" for name in peers)]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for case, found in results.items():
        best = {name: min(times) for name, times in found.items()}
        cells = [f"{best[name]:,.1f}" for name in names]
        cells += [f"{best[name] / best['hotloop']:.1f} ×" for name in peers]
        lines.append(f"| {' | '.join([case, *cells])} |")
    return "\n".join(lines)


FIRST_FIT = """
import numpy as np
import hotloop as hl

rng = np.random.default_rng(0)
X, y = rng.standard_normal((160, 4)), rng.integers(0, 3, 160)
model = hl.Sequential([hl.Dense(16, "relu"), hl.Dense(3)], input_dim=4)
hl.Trainer(model, loss="softmax_cross_entropy", batch_size=16).fit(X, y, epochs=5)
"""


def startup(repeats: int = 5) -> dict[str, float]:
    """Seconds of a process that imports hotloop, builds and trains a small network, from start to end."""

    def seconds(cache: str) -> float:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", FIRST_FIT],
            env={**os.environ, "NUMBA_CACHE_DIR": cache},
            check=True,
            stderr=subprocess.DEVNULL,
        )
        return time.perf_counter() - started

    with tempfile.TemporaryDirectory() as cache:
        cold = seconds(cache)
        return {
            "cold cache": cold,
            f"warm cache, minimum of {repeats}": min(seconds(cache) for _ in range(repeats)),
        }


def contestants(wanted: list[str]) -> list[str]:
    """hotloop and those wanted that are installed; a note on stderr for the others."""
    names = ["hotloop"]
    for name in wanted:
        if installed(name):
            names.append(name)
        else:
            print(f"skipped: {name} is not installed (pip install {PEERS[name][1]})", file=sys.stderr)
    return names


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    peers = [name for name in PEERS if name != "hotloop"]
    parser.add_argument(
        "--peers", nargs="*", choices=peers, default=peers, metavar="NAME", help=f"of {peers}"
    )
    parser.add_argument("--all", action="store_true", help="the larger networks too")
    parser.add_argument("--threads", type=int, default=1, help="of each contestant (default 1)")
    parser.add_argument("--rounds", type=int, default=10, help="at most (default 10)")
    parser.add_argument("--seconds", type=float, default=30, help="after which a case ends (default 30)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round here")
    parser.add_argument("--startup", action="store_true", help="time new processes instead")
    return parser.parse_args()


def main() -> None:
    """Measure what the command line asks for, and print it."""
    options = arguments()
    names = ["hotloop"] if options.startup else contestants(options.peers)
    about = machine(names, options.threads)
    print(f"{about}\n")
    if free_processors() < options.threads - 0.2:
        print("the machine is busy: do not quote these figures, least of all with threads", file=sys.stderr)
    if options.startup:
        results = startup()
        text = "\n".join(f"{name}: {seconds:.2f} s" for name, seconds in results.items())
    else:
        results = {}
        for case in CASES + (LARGER_CASES if options.all else []):
            print(f"{case} ...", file=sys.stderr, flush=True)
            results[str(case)] = measure(case, names, options.threads, options.rounds, options.seconds)
        text = table(results, names)
    print(text)
    if options.markdown:
        options.markdown.write_text(f"{about}\n\n{text}\n")
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
