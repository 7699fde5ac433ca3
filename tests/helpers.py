"""What the tests of the public face share: slow NumPy twins, small data, and what an error must look like."""

import contextlib
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import hotloop as hl
from hotloop.engine.address import NOWHERE
from hotloop.engine.loop import Update
from hotloop.engine.team import GIVEN_UP, Team

SOURCE = Path(hl.__file__).parent  # of the package, wherever it is installed
ROOT = Path(__file__).parents[1]  # of the repository, or of the sdist

ACTIVATIONS = {  # f(z), and f′ written with a = f(z), for the networks of these tests
    "identity": (lambda z: z, lambda a: np.ones_like(a)),
    "relu": (lambda z: np.maximum(z, 0), lambda a: (a > 0).astype(float)),
    "tanh": (np.tanh, lambda a: 1 - a**2),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
}

WIDE_NETWORKS = {  # with a first layer that some threads share, or that reads its inputs where they lie
    "relu": (hl.Dense(40, "relu"), hl.Dense(5)),
    "one layer": (hl.Dense(40),),
    "tanh": (hl.Dense(45, "tanh"), hl.Dense(7, "gelu"), hl.Dense(5)),
    "no bias": (hl.Dense(40, "relu", use_bias=False), hl.Dense(5)),
    "batch norm": (hl.Dense(40), hl.BatchNorm(), hl.Activation("relu"), hl.Dense(5)),
    "prelu": (hl.Dense(40, "prelu"), hl.Dense(5)),
    "dropout later": (hl.Dense(40, "relu"), hl.Dropout(0.5), hl.Dense(5)),
    "frozen": (hl.Dense(40, "relu", lr_scale=0), hl.Dense(5)),
    "penalty": (hl.Dense(40, "relu", penalty=hl.L2(0.1)), hl.Dense(5)),
    "limit": (hl.Dense(40, "relu", penalty=hl.MaxNorm(0.1)), hl.Dense(5)),
}
WIDE_RECIPES = {  # and what they are trained with
    "adam": {},
    "clip norm": {"clip_norm": 0.1},
    "clip value": {"clip_value": 1e-3},
    "proximal": {"penalty": hl.L1(0.1, proximal=True)},
    "average": {"average": hl.EMA(0.9)},
}


@contextlib.contextmanager
def refuses(builtin, name):
    """The block raises a `HotloopError` that is also `builtin`, and whose message begins with `name`."""
    with pytest.raises(hl.HotloopError) as caught:
        yield caught
    assert isinstance(caught.value, builtin), repr(caught.value)
    assert str(caught.value).startswith(f"{name}: "), str(caught.value)


def split(model, theta):
    """`theta` as [(kernel, bias or 0), …], one pair a layer, in float64."""
    pairs, first, n_in = [], 0, model.input_dim
    for layer in model.layers:
        n = n_in * layer.units
        kernel = np.asarray(theta[first : first + n], np.float64).reshape(n_in, layer.units)
        first += n
        bias = 0.0
        if layer.use_bias:
            bias = np.asarray(theta[first : first + layer.units], np.float64)
            first += layer.units
        pairs.append((kernel, bias))
        n_in = layer.units
    assert first == len(theta)
    return pairs


def forward(model, X, theta=None):
    """Values of every layer in float64, the inputs first."""
    values = [np.asarray(X, np.float64)]
    for layer, (kernel, bias) in zip(model.layers, split(model, _theta(model, theta)), strict=True):
        values.append(ACTIVATIONS[layer.activation][0](values[-1] @ kernel + bias))
    return values


def row_losses(loss, outputs, y):
    """Loss of each row, and ∂loss/∂outputs."""
    n = len(outputs)
    if loss == "mse":
        error = outputs - np.reshape(y, outputs.shape)
        return (error**2).sum(axis=1), 2 * error
    y = np.asarray(y, int).reshape(n)
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    delta = p.copy()
    delta[np.arange(n), y] -= 1
    return -np.log(p[np.arange(n), y]), delta


def loss_and_gradient(model, X, y, loss, weights=None, theta=None):
    """The weighted mean loss and its gradient, flat, in float64."""
    theta = _theta(model, theta)
    values = forward(model, X, theta)
    weights = np.ones(len(X)) if weights is None else np.asarray(weights, np.float64)
    losses, delta = row_losses(loss, values[-1], y)
    delta = delta * (weights / weights.sum())[:, None]
    parts = []
    pairs = split(model, theta)
    for layer, (kernel, _), before, after in reversed(
        list(zip(model.layers, pairs, values, values[1:], strict=False))
    ):
        delta = delta * ACTIVATIONS[layer.activation][1](after)
        part = [(before.T @ delta).ravel()] + ([delta.sum(axis=0)] if layer.use_bias else [])
        parts.insert(0, np.concatenate(part))
        delta = delta @ kernel.T
    return weights @ losses / weights.sum(), np.concatenate(parts)


def _theta(model, theta):
    return np.array(model.theta if theta is None else theta, np.float64)


def accuracy(outputs, y, weights=None):
    """The weighted share of rows whose largest output is their class."""
    return np.average(outputs.argmax(axis=1) == np.ravel(y), weights=weights)


def net(*units, activation="tanh", **options):
    """``net(4, 8, 3)``: inputs, hidden units, outputs; float64 unless told otherwise."""
    layers = [hl.Dense(n, activation) for n in units[1:-1]] + [hl.Dense(units[-1])]
    return hl.Sequential(layers, input_dim=units[0], **{"dtype": "float64"} | options)


def classes(n=60, features=4, n_classes=3, seed=0):
    """Rows of normal numbers, and a class that depends on them."""
    X = np.random.default_rng(seed).standard_normal((n, features))
    return X, np.argmax(X @ np.random.default_rng(seed + 1).standard_normal((features, n_classes)), axis=1)


def values(n=60, features=4, outputs=2, seed=0):
    """Rows of normal numbers, and smooth functions of them."""
    X = np.random.default_rng(seed).standard_normal((n, features))
    return X, np.sin(X @ np.random.default_rng(seed + 1).standard_normal((features, outputs)))


def quadratic(H):
    """½θᵀHθ as a function that has the Hessian H everywhere, and gives only products with it."""
    H = np.asarray(H, float)
    return hl.Function(lambda t: t @ H @ t / 2, len(H), gradient=lambda t: H @ t, hvp=lambda t, v: H @ v)


def as_memory_map(array, path):
    """`array` in a file, mapped read-only."""
    stored = np.memmap(path, array.dtype, "w+", shape=array.shape)
    stored[...] = array
    stored.flush()
    return np.memmap(path, array.dtype, "r", shape=array.shape)


def strided(array):
    """Every second row and column of a larger array."""
    wide = np.zeros((2 * len(array), 2 * array.shape[1]), array.dtype)
    wide[::2, ::2] = array
    return wide[::2, ::2]


def read_only(array):
    """A copy that cannot be written."""
    array = array.copy()
    array.flags.writeable = False
    return array


def scalars_of(optimizer, steps):
    """The numbers that the optimizer's kernel reads in each step."""
    return optimizer.scalars(steps, optimizer.rates(steps))


def update_of(optimizer, n_steps, state, **others):
    """An optimizer as the kernels take it, for the first steps; `others` are fields of an `Update`."""
    steps = np.arange(n_steps)
    plain = {"clip_norm": 0.0, "clip_value": 0.0, "needs_norm": 0, "average_rates": np.zeros(n_steps)}
    return Update(
        address=NOWHERE,  # the tests call the kernel itself
        code=optimizer.code,
        hyper=np.array(optimizer.hyper(), np.float64),
        scalars=scalars_of(optimizer, steps)[None],
        rates=optimizer.rates(steps)[None],
        state=state,
        **plain | {"average": np.empty(0, state.dtype)} | others,
    )


def take_step(optimizer, update, step, theta, grad, lo, hi):
    """One step of an optimizer's kernel on θ[lo:hi]."""
    optimizer.kernel()(
        update.code, update.hyper, update.scalars[0, step], update.state, theta, grad[lo:hi], lo, hi
    )


LAYOUTS = {  # the same numbers, held in other ways: function of (C-ordered float32 array, path of a new file)
    "float64": lambda X, path: X.astype(np.float64),
    "float16": lambda X, path: X.astype(np.float16),
    "int64": lambda X, path: X.astype(np.int64),
    "int8": lambda X, path: X.astype(np.int8),
    "uint8": lambda X, path: X.astype(np.uint8),
    "big endian": lambda X, path: X.astype(">f4"),
    "fortran": lambda X, path: np.asfortranarray(X),
    "strided": lambda X, path: strided(X),
    "reversed": lambda X, path: X[::-1].copy()[::-1],
    "read-only": lambda X, path: read_only(X),
    "unaligned": lambda X, path: np.frombuffer(b"." + X.tobytes(), np.float32, offset=1).reshape(X.shape),
    "memory map": as_memory_map,
    "memory map of uint8": lambda X, path: as_memory_map(X.astype(np.uint8), path),
    "list": lambda X, path: X.tolist(),
}


def within(seconds, function, *args):
    """``function(*args)``; a deadlock fails, and its threads are let go."""
    found = {}

    def target():
        try:
            found["value"] = function(*args)
        except BaseException as error:
            found["error"] = error

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        for team in [thing for thing in gc.get_objects() if type(thing) is Team]:
            team._sync[GIVEN_UP] = 1
        thread.join(10)
        pytest.fail(f"not back after {seconds} s: the threads wait for each other")
    if "error" in found:
        raise found["error"]
    return found["value"]


def python(code, *, timeout=60, **options):
    """Run `code` in a new interpreter with this hotloop; the finished process, its output as text."""
    return subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True,
        timeout=timeout, **options,
    )  # fmt: skip


def child_environment():
    """An environment in which a child imports the hotloop that is tested here."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(SOURCE.parent), str(Path(__file__).parent)])}
