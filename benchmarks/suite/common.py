"""What the benchmarks share: networks, data, and kernels that are compiled before any clock runs."""

import functools
import tempfile
import time

import numpy as np

import hotloop as hl

ROWS = 4096
"""Of an epoch on digits: 4,096 steps at batch 1, 128 at batch 32, 32 at batch 128."""

OPTIMIZERS = {"sgd": hl.SGD(0.05), "adam": hl.Adam(1e-3)}


def network(*widths, dtype="float32"):
    """Dense layers of these widths, the first being the inputs: ReLU between them, logits at the end."""
    *hidden, outputs = widths[1:]
    layers = [*(hl.Dense(units, "relu") for units in hidden), hl.Dense(outputs)]
    return hl.Sequential(layers, input_dim=widths[0], dtype=dtype, uint8_scale=1 / 255)


def classifier(widths, batch_size, *, optimizer="adam", n_threads=1):
    """A trainer of a new `network` on labels."""
    return hl.Trainer(
        network(*widths),
        loss="softmax_cross_entropy",
        optimizer=OPTIMIZERS[optimizer],
        batch_size=batch_size,
        n_threads=n_threads,
    )


def as_given(kind, X):
    """Images in [0, 1], as a user may have them: another dtype, a memory map, or CSR."""
    if kind == "uint8":
        return (255 * X).astype(np.uint8)
    if kind == "memmap":
        with tempfile.TemporaryFile() as file:  # the map keeps it
            mapped = np.memmap(file, np.float32, "w+", shape=X.shape)
        mapped[:] = X
        return mapped
    if kind == "csr":
        from scipy.sparse import csr_matrix

        return csr_matrix(X)
    return X.astype(kind)


@functools.cache
def clean_digits(rows=ROWS):
    """The same without what is nearly paper, which is noise: four fifths are zeros then, as in MNIST."""
    images, labels = digits(rows)
    return np.where(images < 0.2, np.float32(0), images), labels


@functools.cache
def digits(rows=ROWS, seed=0):
    """Images (rows, 784) in [0, 1], float32, half of it zeros (MNIST: four fifths), and labels (rows,)."""
    images, labels = hl.data.synthetic_digits(rows, seed=seed)
    return np.divide(images, 255, dtype=np.float32), labels


@functools.cache
def normal_data(rows, width, classes):
    """Standard-normal features (rows, width), float32, and random labels (rows,)."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, width), np.float32), rng.integers(0, classes, rows)


TICKS = 2e-4
"""Seconds that a reading of the processor's clock must span: it counts in microseconds, and not evenly."""


def fastest(*calls, seconds=0.03):
    """Seconds of the fastest of some runs of each call, all in turn, for about so long; of one at least.

    For calls on one thread that wait for nothing: seconds of the processor, so it does not matter that it
    does other work in between. A short call is repeated until a reading spans `TICKS`.
    """
    runs, times = [1] * len(calls), [[] for _ in calls]
    end = time.perf_counter() + seconds
    while not all(times) or time.perf_counter() < end:
        for k, call in enumerate(calls):
            started = time.process_time()
            for _ in range(runs[k]):
                call()
            took = time.process_time() - started
            if took < TICKS:
                runs[k] *= 2
            else:
                times[k].append(took / runs[k])
    return [min(found) for found in times]


@functools.cache
def warm():
    """Compile every kernel of a float32 network, or load it from the cache; call it at import.

    A `setup` would run before each sample; at import, asv's server pays once for all benchmarks.
    """
    X, y = normal_data(64, 4, 3)
    trainer = classifier((4, 16, 3), 16)
    trainer.fit(X, y, epochs=1)
    trainer.evaluate(X, y)
    trainer.model.predict(X)
    hl.Objective(trainer.model, X, y, loss="softmax_cross_entropy").gradient(trainer.model.theta)
