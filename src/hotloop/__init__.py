"""hotloop: dense neural networks, trained on the CPU in explicit, compiled loops.

>>> import hotloop as hl
>>> model = hl.Sequential([hl.Dense(128, "relu"), hl.Dense(10)], input_dim=784)
>>> trainer = hl.Trainer(model, loss="softmax_cross_entropy", optimizer=hl.Adam(1e-3))
"""

import importlib
from typing import Any

from hotloop import data, errors, initializers, losses
from hotloop.analysis.derivatives import GradientCheck, check_gradient, directional_derivative
from hotloop.analysis.functions import Function, numerical_gradient, numerical_hessian
from hotloop.analysis.jacobians import jacobian, jvp, vjp
from hotloop.analysis.norms import Norms, norms
from hotloop.averages import EMA, SWA
from hotloop.callbacks import (
    Callback,
    EarlyStopping,
    GradientTolerance,
    LossTolerance,
    ReduceOnPlateau,
    TimeBudget,
)
from hotloop.errors import HotloopError
from hotloop.history import History
from hotloop.layers import Activation, BatchNorm, Dense, Dropout, Standardize
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
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
)
from hotloop.penalties import L0, L1, L2, ElasticNet, MaxNorm, Nuclear
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
    "EMA",
    "L0",
    "L1",
    "L2",
    "SGD",
    "SWA",
    "Activation",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "BatchNorm",
    "Callback",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "ElasticNet",
    "Exponential",
    "Function",
    "GradientCheck",
    "GradientTolerance",
    "History",
    "HotloopError",
    "InverseSqrt",
    "Linear",
    "Lion",
    "LossTolerance",
    "MaxNorm",
    "NAdam",
    "Norms",
    "Nuclear",
    "Objective",
    "OneCycle",
    "Polynomial",
    "RAdam",
    "RMSprop",
    "ReduceOnPlateau",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Sequential",
    "Standardize",
    "Step",
    "TimeBudget",
    "Trainer",
    "Warmup",
    "check_gradient",
    "data",
    "directional_derivative",
    "errors",
    "initializers",
    "jacobian",
    "jvp",
    "losses",
    "norms",
    "numerical_gradient",
    "numerical_hessian",
    "vjp",
]

__version__ = "0.1.0"

_ESTIMATORS: dict[str, str] = {
    "Lasso": "coordinate",
    "LinearRegression": "linear",
    "LogisticRegression": "logistic",
    "MLPClassifier": "mlp",
    "MLPRegressor": "mlp",
    "Perceptron": "perceptron",
    "Ridge": "linear",
}
"""Public name → module in `hotloop.estimators`, imported when first asked for: they need scikit-learn."""


def __getattr__(name: str) -> Any:
    if name not in _ESTIMATORS:
        raise AttributeError(f"module 'hotloop' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"hotloop.estimators.{_ESTIMATORS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ESTIMATORS})
