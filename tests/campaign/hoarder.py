"""One thing done over and over, and the memory that it takes on; run as a script with how often.

The process prints, as JSON, by how many bytes its resident memory and Python's allocations have grown.
"""

import gc
import json
import os
import sys
import tempfile
import tracemalloc
import warnings
from pathlib import Path

import numpy as np

import hotloop as hl

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 10)).astype(np.float32)
Y = RNG.integers(0, 3, 64)
PATH = Path(tempfile.mkdtemp(), "training")


def new_trainer(n_threads=1):
    layers = [hl.Dense(40, "relu"), hl.BatchNorm(), hl.Dropout(0.2), hl.Dense(3)]
    model = hl.Sequential(layers, input_dim=10)
    return hl.Trainer(
        model, loss="softmax_cross_entropy", batch_size=16, n_threads=n_threads, average=hl.EMA()
    )


TRAINER = new_trainer()
TRAINER.save(PATH)
TINY = hl.Sequential([hl.Dense(4, "tanh"), hl.Dense(1)], input_dim=10, dtype="float64")
CLASSIFIER = hl.MLPClassifier((8,), max_iter=2, random_state=0)


def fit():
    new_trainer().fit(X, Y, epochs=2, validation_data=(X, Y))


def fit_on_two_threads():
    new_trainer(2).fit(X, Y, epochs=1)


def fit_that_diverges():
    model = hl.Sequential([hl.Dense(3)], input_dim=10)
    try:
        hl.Trainer(model, loss="mse", optimizer=hl.SGD(1e30)).fit(X, np.eye(3)[Y], epochs=20)
    except hl.errors.DivergenceError:
        return
    raise AssertionError("it did not diverge")


def predict():
    TRAINER.model.predict(X)
    TRAINER.model.predict(X[:1])
    TRAINER.model.predict(X, n_threads=2)


def save():
    TRAINER.save(PATH)


def load():
    hl.Trainer.load(PATH)


def load_what_is_damaged():
    damaged = PATH.with_name("damaged")
    damaged.write_bytes(PATH.read_bytes()[:-1])
    try:
        hl.Trainer.load(damaged)
    except hl.HotloopError:
        return
    raise AssertionError("it loaded")


def minimize():
    objective = hl.Objective(TINY, X, Y / 3, loss="mse", penalty=hl.L2(1e-3))
    hl.minimize(objective, method="l-bfgs", max_iter=3)


def hessian():
    objective = hl.Objective(TINY, X, Y / 3, loss="mse")
    objective.hessian(TINY.theta)
    hl.eigsh(objective, TINY.theta, 2)


def estimator():
    CLASSIFIER.fit(X, Y).predict(X)


THINGS = {
    thing.__name__: thing
    for thing in (
        fit, fit_on_two_threads, fit_that_diverges, predict, save, load, load_what_is_damaged, minimize,
        hessian, estimator,
    )
}  # fmt: skip


def resident():
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(thing, n, measure):
    """How much `measure` grows over n times the thing, once it has settled."""
    for _ in range(5 + n // 8):
        thing()
    gc.collect()
    before = measure()
    for _ in range(n):
        thing()
    gc.collect()
    return measure() - before


if __name__ == "__main__":
    n = int(sys.argv[1])
    warnings.simplefilter("ignore")  # an estimator's, that it has not converged
    found = {name: {"resident": growth(thing, n, resident)} for name, thing in THINGS.items()}
    tracemalloc.start()
    for name, thing in THINGS.items():
        found[name]["traced"] = growth(thing, n, lambda: tracemalloc.get_traced_memory()[0])
    print(json.dumps(found))
