"""What `warmup` runs: what users call, on a few rows.

A kernel is compiled for the types of its arguments, so the face itself is what warms it. The runs come
from the tables of the library (`OPTIMIZERS`, `LOSSES`, `ACTIVATIONS`, …): a new member is among them by
itself. Where it has an argument without a default, `REQUIRED` needs a value for it.
"""

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.activations import ACTIVATIONS
from hotloop.analysis.jacobians import jacobian, jvp, vjp
from hotloop.data.staging import FEW_BYTES
from hotloop.engine.gather import CONVERT_FROM
from hotloop.engine.sparse import FEWEST_INPUTS, FEWEST_OUTPUTS
from hotloop.engine.unit import has_amx
from hotloop.errors import HotloopError, InvalidValueError
from hotloop.extras import require
from hotloop.layers import LAYERS, Dense, Layer
from hotloop.losses import LOSSES, Custom, Loss
from hotloop.objective import Objective
from hotloop.optimizers import OPTIMIZERS, SGD, Adam, Optimizer
from hotloop.penalties import L1, L2, PENALTIES
from hotloop.sequential import Sequential
from hotloop.trainer import Trainer

__all__ = ["RUNS", "Run"]

Run = tuple[str, Callable[[], None]]
"""What the progress bar says, and what compiles."""

USUAL_LOSSES = ("softmax_cross_entropy", "sigmoid_cross_entropy", "mse")

X: NDArray[Any] = np.array([[0.0, 0.5], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [1.0, 1.0], [0.5, 0.0]])
CLASSES: NDArray[Any] = np.array([0, 1, 0, 1, 0, 1])
SHARES: NDArray[Any] = np.eye(2)[CLASSES]

WIDE_ENOUGH = 128
"""Rows, inputs and outputs for the processor's matrix unit (`engine.amx`)."""

REQUIRED = {
    "units": 2, "name": "tanh", "rate": 0.1,  # of layers
    "strength": 0.1, "beta": 1.0, "k": 1, "limit": 1.0,  # of penalties
}  # fmt: skip
"""Argument that has no default → a value to warm up with."""

DISTANCE = Custom(value=lambda z, y: ((z - y) ** 2).sum(axis=1), gradient=lambda z, y: 2 * (z - y))


def usual_runs(dtype: str) -> Iterator[Run]:
    """What nearly every user runs: the loop itself, and the commonest optimizers."""
    layers = [Dense(2, "relu"), Dense(2)]
    for name in USUAL_LOSSES:
        yield f"{dtype} {name}", partial(use, layers, dtype, loss=LOSSES[name])
    for kind in (Adam, SGD):
        yield f"{dtype} {kind.__name__}", partial(use, layers, dtype, optimizer=kind())
    for kind in (Adam, SGD):
        yield f"{dtype} {kind.__name__}, one row at a time", partial(use_single, layers, dtype, kind())
    penalty = L1(0.1, proximal=True)
    yield f"{dtype} penalty and limit", partial(use, layers, dtype, penalty=penalty, clip_norm=1.0)
    for given in CONVERT_FROM:
        yield f"{dtype} of {given}", partial(use_data, layers, dtype, given)
    yield f"{dtype} where rows lie", partial(use_direct, layers, dtype)
    if dtype == "float32" and has_amx():
        yield f"{dtype} on the matrix unit", partial(use_unit, layers, dtype)


def all_runs(dtype: str) -> Iterator[Run]:
    """Every member of every family, one after the other."""
    yield from usual_runs(dtype)
    last = Dense(2)
    for kind in OPTIMIZERS:
        optimizer: Optimizer = example(kind)
        yield f"{dtype} {kind.__name__}", partial(use, [last], dtype, optimizer=optimizer)
    for loss in (*LOSSES.values(), DISTANCE):
        yield f"{dtype} {loss.name}", partial(use, [last], dtype, loss=loss)
    networks = {activation: [Dense(2, activation), last] for activation in ACTIVATIONS}
    networks |= {name: [example(layer), last] for name, layer in LAYERS.items()}
    for name, layers in networks.items():
        yield f"{dtype} {name}", partial(use, layers, dtype)
    for penalty in PENALTIES:
        yield f"{dtype} {penalty.__name__}", partial(use, [last], dtype, penalty=example(penalty))
    for loss in LOSSES.values():
        yield f"{dtype} curvature of {loss.name}", partial(use_objective, [last], dtype, loss)
    for name, layers in networks.items():
        yield f"{dtype} curvature of {name}", partial(use_objective, layers, dtype, LOSSES["mse"])
    if importlib.util.find_spec("sklearn"):
        yield from estimator_runs(dtype)


RUNS = {"usual": usual_runs, "all": all_runs}
"""What `warmup` takes → its runs for a dtype."""


def use(layers: Sequence[Layer], dtype: str, loss: Loss | str = "mse", **options: Any) -> None:
    """Train, evaluate and predict; only predict where the layers cannot be trained."""
    model = Sequential(layers, input_dim=X.shape[1], dtype=dtype)
    model.predict(X)
    if is_trainable(model):
        trainer = Trainer(model, loss=loss, **{"batch_size": len(X) // 2} | options)
        y = targets_for(trainer.loss, model)
        trainer.fit(X, y, epochs=1, validation_data=(X, y))


def use_data(layers: Sequence[Layer], dtype: str, given: np.dtype[Any]) -> None:
    """More rows than are converted at once, of few features, and of many, for a layer with its own form."""
    numbers = FEW_BYTES // np.dtype(dtype).itemsize

    def train(layers: Sequence[Layer], width: int) -> None:
        rows = np.resize(X, (numbers // width + 1, width)).astype(given)
        trainer = Trainer(Sequential(layers, input_dim=width, dtype=dtype), loss="mse", n_threads=2)
        trainer.fit(rows, np.resize(SHARES, (len(rows), 2)), epochs=1)

    train(layers, X.shape[1])
    train([Dense(FEWEST_OUTPUTS), *layers], FEWEST_INPUTS)


def use_single(layers: Sequence[Layer], dtype: str, optimizer: Optimizer) -> None:
    """Train on one row at a time, with a first layer that is large enough to begin with the next row."""
    many = np.tile(X, WIDE_ENOUGH // X.shape[1])
    wide = Sequential([Dense(WIDE_ENOUGH, "relu"), *layers], input_dim=many.shape[1], dtype=dtype)
    Trainer(wide, loss="mse", optimizer=optimizer, batch_size=1).fit(many, SHARES, epochs=1)


def use_direct(layers: Sequence[Layer], dtype: str) -> None:
    """Train on wide rows without zeros, which are read where they lie (`engine.direct`)."""
    many = np.ones((2 * WIDE_ENOUGH, WIDE_ENOUGH), dtype)
    wide = Sequential([Dense(FEWEST_OUTPUTS, "relu"), *layers], input_dim=many.shape[1], dtype=dtype)
    y = np.resize(SHARES, (len(many), SHARES.shape[1]))
    Trainer(wide, loss="mse", batch_size=WIDE_ENOUGH).fit(many, y, epochs=1)


def use_unit(layers: Sequence[Layer], dtype: str) -> None:
    """Train a layer that is wide enough for the processor's matrix unit, on two threads."""
    many = np.ones((WIDE_ENOUGH, 4 * WIDE_ENOUGH))
    wide = Sequential([Dense(WIDE_ENOUGH), *layers], input_dim=many.shape[1], dtype=dtype)
    y = np.resize(SHARES, (len(many), SHARES.shape[1]))
    Trainer(wide, loss="mse", batch_size=len(many), n_threads=2).fit(many, y, epochs=1)


def use_objective(layers: Sequence[Layer], dtype: str, loss: Loss) -> None:
    """The loss as a function of θ, and the outputs: first and second derivatives."""
    model = Sequential(layers, input_dim=X.shape[1], dtype=dtype)
    if not is_trainable(model):
        return
    objective = Objective(model, X, targets_for(loss, model), loss=loss, penalty=L2(0.1))
    theta = model.theta
    objective.value(theta)
    for derivative in (objective.gradient, objective.hessian, objective.gauss_newton):
        derivative(theta)
    objective.per_sample_gradients(theta)
    for times in (objective.hvp, objective.gauss_newton_product):
        times(theta, theta)
    for wrt, direction in (("inputs", X), ("theta", theta)):
        jacobian(model, X, wrt=wrt)
        jvp(model, X, direction, wrt=wrt)
        vjp(model, X, SHARES, wrt=wrt)


def is_trainable(model: Sequential) -> bool:
    """Whether a gradient passes through all layers."""
    try:
        model.check_trainable()
    except InvalidValueError:
        return False
    return True


def targets_for(loss: Loss, model: Sequential) -> NDArray[Any]:
    """Targets that the loss takes: classes, or else a number for each output."""
    try:
        loss.check_targets(CLASSES, "y", len(X), model.output_dim, model.dtype)
    except HotloopError:
        return SHARES
    return CLASSES


def example(kind: type[Any]) -> Any:
    """One of a kind of layers, optimizers or penalties, with its defaults where it has them."""
    return kind(**{f.name: REQUIRED[f.name] for f in fields(kind) if f.default is MISSING})


ESTIMATOR_OPTIONS: dict[str, list[dict[str, Any]]] = {
    "Lasso": [{"alpha": 0.01}, {"alpha": 0.01, "precompute": True}],  # else no coefficient moves
    "LogisticRegression": [{"solver": name} for name in ("newton-cg", "coordinate", "sgd")],
    "Perceptron": [{"keep": "average"}, {"multi_class": "joint"}],
}
"""Name of an estimator → options that take other kernels than its defaults."""


def estimator_runs(dtype: str) -> Iterator[Run]:
    """Every estimator with its defaults, and with the options that have kernels of their own."""
    names: dict[str, str] = importlib.import_module("hotloop")._ESTIMATORS
    for name in names:
        for options in ({}, *ESTIMATOR_OPTIONS.get(name, [])):
            yield f"{dtype} {name}", partial(use_estimator, name, dtype, options)


def use_estimator(name: str, dtype: str, options: dict[str, Any]) -> None:
    """Fit and predict: two classes and three, dense and sparse."""
    sparse = require("scipy.sparse", "sklearn", "hl.warmup")
    tags = require("sklearn.utils", "sklearn", "hl.warmup").get_tags
    model = getattr(importlib.import_module("hotloop"), name)(**options)
    if "max_iter" in model.get_params():
        model.set_params(max_iter=2)
    dense = X.astype(dtype)
    layouts = (dense, sparse.csr_matrix(dense)) if tags(model).input_tags.sparse else (dense,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few rows and steps converge to nothing
        for data, y in product(layouts, (CLASSES, np.arange(len(X)) % 3)):
            model.fit(data, y).predict(data)
            if hasattr(model, "predict_proba"):
                model.predict_proba(data)
