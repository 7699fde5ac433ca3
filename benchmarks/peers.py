"""hotloop beside PyTorch, JAX and scikit-learn, in turn in one run.

Training only: float32, softmax cross-entropy, ReLU between dense layers, rows shuffled anew in each epoch,
in memory: standard-normal features and random labels, or, where it says so, MNIST's images, of whose pixels
four in five are 0 (left out where the files are not at hand, see `hotloop.data.load_mnist`). A timed call
is four epochs, shuffling and gathering of rows included, after a warm-up. In each round every contestant
has one call, in turn, so that a slower phase of the machine meets all of them; a contestant's figure is its
fastest call (the minimum over the rounds), as µs a step, since others can only add time. Beside it stands
how much slower its median call is: how noisy the machine was. The last column is the limit: what share of
the processor's multiply-adds (`peak` in `suite/kernels.py`) the products of a step, their zeros included,
make use of.

    python benchmarks/peers.py                                    # the small cases, one thread
    python benchmarks/peers.py --all --threads 1 2 --markdown table.md --picture peers.png
    python benchmarks/peers.py --quick                            # does it work? Some seconds, for CI
    python benchmarks/peers.py --startup                          # seconds of a new process, cold and warm

A peer that is not installed is left out, and a line says so; `contestants.py` has how each trains,
`turns.py` how each is kept to its threads.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from contestants import PEERS, Case, installed
from hotloop.data import load_mnist
from hotloop.errors import NotFoundError
from report import Results, machine, picture, table, threads_in_words
from suite.kernels import peak
from turns import Contestant, take_turns

CASES = [
    Case((4, 16, 3), 16),
    Case((20, 64, 64, 2), 32),
    Case((784, 128, 10), 1),
    Case((784, 128, 10), 1, "sgd"),
    Case((784, 128, 10), 32),
    Case((784, 128, 10), 128),
]
LARGER_CASES = [
    Case((784, 256, 128, 10), 128),
    Case((100, 256, 256, 256, 10), 256),
    Case((784, 512, 512, 10), 256),
    Case((1024, 2048, 2048, 10), 256),
]
IMAGE_CASES = [
    case._replace(images=True)
    for case in CASES + LARGER_CASES
    if case.widths[0] == 784 and case.optimizer == "adam"
]
QUICK_CASES = [CASES[0], CASES[4]]

EPOCH_SECONDS, QUICK_EPOCH_SECONDS = 0.06, 0.01
"""An epoch has as many rows as a contestant trains on in this time: short steps are many steps."""
QUICK_ROUNDS = 3


def free_processors() -> float:
    """How many nobody used in the last minute, infinite where the system does not say."""
    return os.cpu_count() - os.getloadavg()[0] if hasattr(os, "getloadavg") else float("inf")


def cases_of(options: argparse.Namespace) -> list[Case]:
    """Those that the command line asks for."""
    if not options.all:
        return QUICK_CASES if options.quick else CASES
    return CASES + LARGER_CASES + (IMAGE_CASES if options.images else [])


def measure(names: list[str], threads: int, options: argparse.Namespace) -> Results:
    """All cases that the command line asks for."""
    rounds = QUICK_ROUNDS if options.quick else options.rounds
    epoch_seconds = QUICK_EPOCH_SECONDS if options.quick else EPOCH_SECONDS
    results = {}
    with contextlib.ExitStack() as stack:
        contestants = [stack.enter_context(Contestant(name, threads, options.images)) for name in names]
        for case in cases_of(options):
            print(f"{case}, {threads_in_words(threads)} ...", file=sys.stderr, flush=True)
            results[str(case)] = take_turns(contestants, case, rounds, options.seconds, epoch_seconds)
    return results


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


def present(wanted: list[str]) -> list[str]:
    """hotloop and those wanted that are installed; a note on stderr for the others."""
    names = ["hotloop"]
    for name in wanted:
        if installed(name):
            names.append(name)
        else:
            print(f"left out: {name} is not installed (pip install {PEERS[name][1]})", file=sys.stderr)
    return names


def write_mnist(path: Path) -> str:
    """MNIST's training images, for all contestants; where they are, or nothing if they are not at hand."""
    try:
        (X, y), _ = load_mnist()
    except NotFoundError:
        print("left out: MNIST, whose files are not at hand", file=sys.stderr)
        return ""
    np.savez(path, X=X, y=y)
    return str(path)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    peers = [name for name in PEERS if name != "hotloop"]
    add = parser.add_argument
    add("--peers", nargs="*", choices=peers, default=peers, metavar="NAME", help=f"of {peers}")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="the larger networks too")
    which.add_argument("--quick", action="store_true", help="two cases in short rounds: does it work?")
    which.add_argument("--startup", action="store_true", help="time new processes instead")
    add("--threads", type=int, nargs="+", default=[1], help="of each contestant; several: a table for each")
    add("--rounds", type=int, default=20, help="at most (default 20)")
    add("--seconds", type=float, default=30, help="after which a case ends (default 30)")
    add("--markdown", type=Path, metavar="FILE", help="write the tables here")
    add("--picture", type=Path, metavar="FILE", help="draw them here")
    add("--json", type=Path, metavar="FILE", help="write every round here")
    return parser.parse_args()


def compare(names: list[str], about: str, options: argparse.Namespace) -> None:
    """Measure; print the tables, and write the files that are asked for, after each number of threads."""
    by_threads, rate = {}, peak()
    text = f"{about}; {rate:.0f} GFLOP/s are the peak of a thread"
    print(text)
    for threads in options.threads:
        by_threads[threads] = measure(names, threads, options)
        limits = {str(case): case.flop / (1e3 * rate * threads) for case in cases_of(options)}
        rows = table(by_threads[threads], names, limits)
        part = f"\n\n{threads_in_words(threads).capitalize()} each:\n\n{rows}"
        print(part, flush=True)
        text += part
        if options.markdown:
            options.markdown.write_text(f"{text}\n")
        if options.json:
            options.json.write_text(json.dumps({"machine": about, "threads": by_threads}, indent=1) + "\n")
        if options.picture:
            picture(by_threads, names, about, options.picture)


def main() -> None:
    """Measure what the command line asks for."""
    options = arguments()
    names = ["hotloop"] if options.startup else present(options.peers)
    about = machine(names)
    if free_processors() < max(options.threads) - 0.2:
        print("the machine is busy: do not quote these figures, least of all with threads", file=sys.stderr)
    if not options.startup:
        with tempfile.TemporaryDirectory() as folder:
            options.images = write_mnist(Path(folder) / "mnist.npz") if options.all else ""
            compare(names, about, options)
        return
    text = "\n".join([f"{about}\n", *(f"{name}: {seconds:.2f} s" for name, seconds in startup().items())])
    print(text)
    if options.markdown:
        options.markdown.write_text(f"{text}\n")


if __name__ == "__main__":
    main()
