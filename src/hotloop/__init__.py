"""hotloop: dense neural networks, trained on the CPU in explicit, compiled loops.

>>> import hotloop as hl
>>> model = hl.Sequential([hl.Dense(128, "relu"), hl.Dense(10)], input_dim=784)
>>> trainer = hl.Trainer(model, loss="softmax_cross_entropy", optimizer=hl.Adam(1e-3))
"""

import importlib
from typing import TYPE_CHECKING, Any

from hotloop import data, errors, initializers, losses, plot
from hotloop.analysis.critical import CriticalPoint, critical_point
from hotloop.analysis.density import SpectralDensity, spectral_density
from hotloop.analysis.derivatives import GradientCheck, check_gradient, directional_derivative
from hotloop.analysis.escape import Escape, escape_saddle
from hotloop.analysis.finding import CriticalSearch, find_critical_point
from hotloop.analysis.functions import Function, numerical_gradient, numerical_hessian
from hotloop.analysis.jacobians import jacobian, jvp, vjp
from hotloop.analysis.landscape import Landscape, landscape
from hotloop.analysis.minimizers.minimize import minimize
from hotloop.analysis.minimizers.result import MinimizeResult
from hotloop.analysis.norms import Norms, norms
from hotloop.analysis.operators import hessian_operator
from hotloop.analysis.probes import Estimate, trace
from hotloop.analysis.spectra import Eigenpairs, eigsh
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
from hotloop.versions import show_versions
from hotloop.warming import CacheReport, warmup

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
    "CacheReport",
    "Callback",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "CriticalPoint",
    "CriticalSearch",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "Eigenpairs",
    "ElasticNet",
    "Escape",
    "Estimate",
    "Exponential",
    "Function",
    "GradientCheck",
    "GradientTolerance",
    "History",
    "HotloopError",
    "InverseSqrt",
    "Landscape",
    "Linear",
    "Lion",
    "LossTolerance",
    "MaxNorm",
    "MinimizeResult",
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
    "SpectralDensity",
    "Standardize",
    "Step",
    "TimeBudget",
    "Trainer",
    "Warmup",
    "check_gradient",
    "critical_point",
    "data",
    "directional_derivative",
    "eigsh",
    "errors",
    "escape_saddle",
    "find_critical_point",
    "hessian_operator",
    "initializers",
    "jacobian",
    "jvp",
    "landscape",
    "losses",
    "minimize",
    "norms",
    "numerical_gradient",
    "numerical_hessian",
    "plot",
    "show_versions",
    "spectral_density",
    "trace",
    "vjp",
    "warmup",
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
    "SeedEnsembleClassifier": "ensemble",
    "SeedEnsembleRegressor": "ensemble",
}
"""Public name → module in `hotloop.estimators`, imported when first asked for: they need scikit-learn."""

if TYPE_CHECKING:  # who checks types, or completes names, learns of them here
    from hotloop.estimators.coordinate import Lasso as Lasso
    from hotloop.estimators.ensemble import SeedEnsembleClassifier as SeedEnsembleClassifier
    from hotloop.estimators.ensemble import SeedEnsembleRegressor as SeedEnsembleRegressor
    from hotloop.estimators.linear import LinearRegression as LinearRegression
    from hotloop.estimators.linear import Ridge as Ridge
    from hotloop.estimators.logistic import LogisticRegression as LogisticRegression
    from hotloop.estimators.mlp import MLPClassifier as MLPClassifier
    from hotloop.estimators.mlp import MLPRegressor as MLPRegressor
    from hotloop.estimators.perceptron import Perceptron as Perceptron
else:

    def __getattr__(name: str) -> Any:
        if name not in _ESTIMATORS:
            raise AttributeError(f"module 'hotloop' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"hotloop.estimators.{_ESTIMATORS[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ESTIMATORS})
