"""A case of the campaign: a network, its data, how it is trained; and what training came to."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

import hotloop as hl
from helpers import LAYOUTS
from hotloop.data.staging import SparseRows

LAYOUTS = {name: LAYOUTS[name] for name in ("float64", "fortran", "strided", "reversed", "memory map")} | {
    "uint8": LAYOUTS["uint8"],
    "memory map of uint8": LAYOUTS["memory map of uint8"],
    "CSR": lambda X, path: SparseRows(csr_array(X)),  # as the MLP estimators give it to a trainer
}
"""The same whole numbers as float32 rows in C order, held in other ways."""


def log_cosh(outputs, targets):
    error = outputs - targets
    return np.logaddexp(error, -error).sum(axis=1)  # and log 2, which changes no gradient


def tanh_error(outputs, targets):
    return np.tanh(outputs - targets)


@dataclass(frozen=True)
class Case:
    """All that decides a training, as plain data that other processes can read."""

    layers: tuple
    input_dim: int
    dtype: str
    loss: hl.losses.Loss
    targets: str  # a key of TARGETS
    outputs: int
    n: int
    training: dict  # of `Trainer`
    fit: dict
    weighted: bool
    validated: bool
    seed: int


class Outcome(NamedTuple):
    """What a training came to; one that diverged has the epoch and step, too."""

    theta: np.ndarray
    state: np.ndarray
    running: np.ndarray
    average: np.ndarray
    outputs: np.ndarray
    history: dict
    diverged: tuple


def _probabilities(rng, n, k):
    p = rng.uniform(0, 1, (n, k))
    return p / p.sum(axis=1, keepdims=True)


TARGETS = {  # function of (generator, rows, outputs of the model)
    "values": lambda rng, n, k: rng.standard_normal((n, k)),
    "one value an output and its variance": lambda rng, n, k: rng.standard_normal((n, k // 2)),
    "counts": lambda rng, n, k: rng.integers(0, 4, (n, k)),
    "labels": lambda rng, n, k: rng.integers(0, k, n),
    "probabilities": _probabilities,
    "shares": lambda rng, n, k: rng.uniform(0, 1, (n, k)),
    "signs": lambda rng, n, k: 2 * rng.integers(0, 2, n) - 1,
}


def data_of(case):
    """Features that every dtype holds exactly, most of them 0; targets; weights or None."""
    rng = np.random.default_rng(case.seed)
    X = rng.integers(0, 4, (case.n, case.input_dim)) * (rng.random((case.n, case.input_dim)) < 0.6)
    y = TARGETS[case.targets](rng, case.n, case.outputs)
    return X.astype(np.float32), y, rng.uniform(0.1, 2, case.n) if case.weighted else None


def trainer_of(case, n_threads=1):
    """A new trainer, and its new model."""
    model = hl.Sequential(case.layers, input_dim=case.input_dim, seed=case.seed, dtype=case.dtype)
    return hl.Trainer(model, loss=case.loss, seed=case.seed, n_threads=n_threads, **case.training)


def train(case, *, n_threads=1, layout=None, nudge=None):
    """Train, evaluate and predict; with a nudge, a seed, from weights and data changed by some roundings."""
    X, y, weights = data_of(case)
    trainer = trainer_of(case, n_threads)
    if nudge is not None:
        X, trainer.model.theta[:] = _nudged(nudge, X.astype(case.dtype), trainer.model.theta)
    diverged = ()
    with tempfile.TemporaryDirectory() as folder:
        held = X if layout is None else LAYOUTS[layout](X, Path(folder, "X"))
        validation = (held, y, weights) if case.validated else None
        try:
            trainer.fit(held, y, sample_weight=weights, validation_data=validation, **case.fit)
        except hl.errors.DivergenceError as error:
            diverged = error.epoch, error.step
        outputs = trainer.model.predict(held, n_threads=n_threads)
        del held, validation
    model, stepper = trainer.model, trainer.stepper
    return Outcome(
        model.theta, stepper.state, model.running, stepper.average, outputs, dict(trainer.history), diverged
    )


def _nudged(seed, *arrays):
    rng = np.random.default_rng(seed)
    return [a + 8 * np.finfo(a.dtype).eps * a * rng.standard_normal(a.shape).astype(a.dtype) for a in arrays]


def assert_same(one, other, message):
    """Bit for bit (and NaN where there is NaN)."""
    assert one.diverged == other.diverged, message
    assert list(one.history) == list(other.history), message
    for name in ("theta", "state", "running", "average", "outputs"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), f"{message}: {name}")
    for name, column in one.history.items():
        np.testing.assert_array_equal(column, other.history[name], f"{message}: history[{name!r}]")
