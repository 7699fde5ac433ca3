"""A process that loads whatever files it is told to, in bounded memory: where it dies, nothing else does.

Run as a script, it reads a path a line and writes a line of JSON for each. `Loader` is the other end.
"""

import contextlib
import json
import subprocess
import sys
import threading

import numpy as np

import hotloop as hl
from helpers import child_environment

MORE_BYTES = 1 << 28
"""How much address space the process may take beyond what it has once hotloop is there and warm."""
LIMIT = 60
"""Seconds for a file, then it counts as endless."""


class Loader:
    """``loader(path)`` is what came of the file: see `answer`."""

    def __init__(self):
        self._child = subprocess.Popen(
            [sys.executable, __file__], env=child_environment(), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, path):
        watchdog = threading.Timer(LIMIT, self._child.kill)
        watchdog.start()
        try:
            self._child.stdin.write(f"{path}\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        finally:
            watchdog.cancel()
        assert line, f"the process died at {path}: {self._child.wait()}"
        return json.loads(line)

    def close(self):
        self._child.stdin.close()
        self._child.wait(LIMIT)
        self._child.stdout.close()


def answer(path):
    """{loader: "refused", the bytes of the tensors by name, or what should not have happened}."""
    return {"model": result(load_model, path), "trainer": result(load_trainer, path)}


def result(load, path):
    try:
        return load(path)
    except hl.HotloopError:
        return "refused"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:500]


def load_model(path):
    """Load and predict."""
    model = hl.Sequential.load(path)
    tensors = {name: values.tobytes().hex() for name, values in model.tensors().items()}
    if model.input_dim < 1000:
        model.predict(np.ones((3, model.input_dim)))
    return tensors


def load_trainer(path):
    """Load and go on, for one epoch."""
    trainer = hl.Trainer.load(path)
    tensors = {name: values.tobytes().hex() for name, values in trainer.model.tensors().items()}
    model = trainer.model
    if model.input_dim < 1000:
        trainer.n_threads = 1
        X, y = np.ones((3, model.input_dim)), [0, 1, 0]
        with contextlib.suppress(hl.HotloopError):
            trainer.fit(X, y, epochs=1)
    return tensors


def bound_memory():
    """No more address space than now and `MORE_BYTES`; where the system cannot say, no bound."""
    try:
        import resource

        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MORE_BYTES, now + MORE_BYTES))
    except (ImportError, OSError):
        pass


if __name__ == "__main__":
    hl.Sequential([hl.Dense(1)], input_dim=1).predict([[0.0]])
    bound_memory()
    for line in sys.stdin:
        print(json.dumps(answer(line.rstrip("\n"))), flush=True)
