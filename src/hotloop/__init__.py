"""hotloop: dense neural networks, trained on the CPU in explicit, compiled loops.

>>> import hotloop as hl
>>> model = hl.Sequential([hl.Dense(128, "relu"), hl.Dense(10)], input_dim=784)
>>> trainer = hl.Trainer(model, loss="softmax_cross_entropy", optimizer=hl.Adam(1e-3))
"""

import importlib
from typing import Any

from hotloop import data, errors, initializers, losses
from hotloop.analysis.derivatives import GradientCheck, check_gradient
from hotloop.callbacks import Callback, EarlyStopping
from hotloop.errors import HotloopError
from hotloop.history import History
from hotloop.layers import Dense
from hotloop.objective import Objective
from hotloop.optimizers import (
    SGD,
    AdaBelief,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
)
from hotloop.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseSqrt,
    Linear,
    OneCycle,
    Polynomial,
    Step,
    Warmup,
)
from hotloop.sequential import Sequential
from hotloop.trainer import Trainer

__all__ = [
    "SGD",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Callback",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Dense",
    "EarlyStopping",
    "Exponential",
    "GradientCheck",
    "History",
    "HotloopError",
    "InverseSqrt",
    "Linear",
    "Lion",
    "NAdam",
    "Objective",
    "OneCycle",
    "Polynomial",
    "RAdam",
    "RMSprop",
    "Rprop",
    "Sequential",
    "Step",
    "Trainer",
    "Warmup",
    "check_gradient",
    "data",
    "errors",
    "initializers",
    "losses",
]

__version__ = "0.1.0"

_ESTIMATORS = {"Perceptron": "perceptron"}
"""Public name → module in `hotloop.estimators`, imported when first asked for: they need scikit-learn."""


def __getattr__(name: str) -> Any:
    if name not in _ESTIMATORS:
        raise AttributeError(f"module 'hotloop' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"hotloop.estimators.{_ESTIMATORS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ESTIMATORS})
