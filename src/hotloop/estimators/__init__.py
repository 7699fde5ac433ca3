"""scikit-learn's interface: estimators for pipelines, grid search and cross-validation.

They need scikit-learn (``pip install 'hotloop[sklearn]'``). All but one are also there as
``hl.Perceptron`` and so on, imported on first use, so that importing hotloop alone does not import
scikit-learn; ``hl.ElasticNet`` is the penalty, and the estimator is here alone.
"""

from hotloop.extras import require

require("sklearn", "sklearn", "hotloop.estimators")

from hotloop.estimators.coordinate import ElasticNet, Lasso  # noqa: E402
from hotloop.estimators.ensemble import SeedEnsembleClassifier, SeedEnsembleRegressor  # noqa: E402
from hotloop.estimators.linear import LinearRegression, Ridge  # noqa: E402
from hotloop.estimators.logistic import LogisticRegression  # noqa: E402
from hotloop.estimators.mlp import MLPClassifier, MLPRegressor  # noqa: E402
from hotloop.estimators.perceptron import Perceptron  # noqa: E402

__all__ = [
    "ElasticNet",
    "Lasso",
    "LinearRegression",
    "LogisticRegression",
    "MLPClassifier",
    "MLPRegressor",
    "Perceptron",
    "Ridge",
    "SeedEnsembleClassifier",
    "SeedEnsembleRegressor",
]
