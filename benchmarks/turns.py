"""Contestants in turn: each in a process of its own, with threads of its own.

A library sets up its threads when it starts, and leaves them spinning when it has worked. So each
contestant is a process, started with the environment of `thread_settings`, that may use no more
processors than threads; it lives through all cases, and waits while others have their turn.

Run as a program, this file is that process: a JSON line in, a JSON line out.
"""

import json
import os
import subprocess
import sys
import time

import numpy as np

from contestants import PEERS, Case, Train

EPOCHS = 4
"""Of a timed call: what a fit costs once, such as checks of the data, is shared by this many."""

SETTLE_SECONDS = 0.02
"""Pause before each call: by then the thread pool of the one before has stopped spinning."""

DATA_BYTES = 1 << 28


def thread_settings(threads: int) -> dict[str, str]:
    """What libraries read when they start: OpenMP, OpenBLAS and MKL, and XLA below JAX.

    XLA has no option for a number of threads. It starts as many as $NPROC says, and with one thread its
    products must not be handed to a pool at all.
    """
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
    eigen = f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}"
    return {**dict.fromkeys(pools, str(threads)), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": eigen}


class Contestant:
    """One library's process, for as long as the context lasts; `images` is the file that has MNIST."""

    def __init__(self, name: str, threads: int, images: str = ""):
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, __file__, name, str(threads), images],
            env={**os.environ, **thread_settings(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Contestant":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _ask(self, *question: object) -> float:
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise SystemExit(f"{self.name}: its process has ended; the reason is above")
        return json.loads(answer)

    def prepare(self, case: Case, epoch_seconds: float) -> None:
        """Build and warm up the network; from now on an epoch lasts about so long."""
        self._ask("prepare", case, epoch_seconds)

    def microseconds(self) -> float:
        """A timed call: µs a step."""
        return self._ask("train")


def take_turns(
    contestants: list[Contestant], case: Case, rounds: int, seconds: float, epoch_seconds: float
) -> dict[str, list[float]]:
    """µs a step of each contestant in each round; fewer than `rounds`, but 3, when `seconds` are over."""
    for contestant in contestants:
        contestant.prepare(case, epoch_seconds)
    found: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    end = time.perf_counter() + seconds
    for done in range(rounds):
        if done >= 3 and time.perf_counter() > end:
            break
        for contestant in contestants:
            time.sleep(SETTLE_SECONDS)
            found[contestant.name].append(contestant.microseconds())
    return found


def data_for(case: Case, images: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, inputs), float32, and labels (n,): MNIST's, or as many as `DATA_BYTES` hold.

    n is a multiple of the batch.
    """
    if case.images:
        with np.load(images) as data:
            n = len(data["y"]) // case.batch * case.batch
            return data["X"][:n] / np.float32(255), data["y"][:n]
    rng = np.random.default_rng(0)
    steps = max(1, min(100_000, DATA_BYTES // (4 * case.widths[0] * case.batch)))
    X = rng.standard_normal((steps * case.batch, case.widths[0]), np.float32)
    return X, rng.integers(0, case.widths[-1], len(X))


def rows_of_epoch(train: Train, case: Case, most: int, seconds: float) -> int:
    """Rows on which an epoch lasts so long, in whole minibatches; warms up on the way."""
    steps, most_steps = min(8, most // case.batch), most // case.batch
    while True:
        train(steps * case.batch, 1)
        started = time.perf_counter()
        train(steps * case.batch, 1)
        growth = seconds / (time.perf_counter() - started)
        if growth < 1.1 or steps == most_steps:
            return steps * case.batch
        steps = min(most_steps, int(np.ceil(steps * min(growth, 16))))


def limit_processors(threads: int) -> None:
    """No more processors than threads, where the system has a way to say so (Linux has)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def serve(name: str, threads: int, images: str) -> None:
    """Answer `Contestant` until it hangs up."""
    limit_processors(threads)
    for line in sys.stdin:
        order, *rest = json.loads(line)
        if order == "prepare":
            (widths, *others), epoch_seconds = rest
            case = Case(tuple(widths), *others)
            X, y = data_for(case, images)
            train = PEERS[name][0](case, X, y, threads)
            rows = rows_of_epoch(train, case, len(X), epoch_seconds)
            answer = float(rows)
        else:
            started = time.perf_counter()
            train(rows, EPOCHS)
            answer = 1e6 * (time.perf_counter() - started) / (EPOCHS * rows // case.batch)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3])
