"""What holds for every estimator, whatever it fits."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import hotloop as hl

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

REFUSALS = {
    "weights": lambda X, y: (np.c_[X, X], y, -np.ones(len(y))),
    "labels and weights": lambda X, y: (X, y + 7, -np.ones(len(y))),
    "rows": lambda X, y: (np.c_[X, X], y[:-1]),
    "numbers": lambda X, y: (np.where(X > 1, np.nan, X), y + 7),
}
ESTIMATORS = [
    hl.LinearRegression(), hl.LinearRegression(solver="sgd", max_iter=2), hl.Ridge(), hl.Lasso(alpha=0.01),
    hl.LogisticRegression(), hl.Perceptron(), hl.MLPClassifier(max_iter=2), hl.MLPRegressor(max_iter=2),
    hl.SeedEnsembleRegressor(hl.MLPRegressor(max_iter=2), n_estimators=2),
]  # fmt: skip


@pytest.mark.parametrize("refused", REFUSALS)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_a_refused_fit_leaves_an_estimator_as_it_was(estimator, refused):
    """What it has learnt predicts as before: the names, the width and the classes are those of that fit."""
    rng = np.random.default_rng(0)
    X, model = rng.standard_normal((60, 3)), clone(estimator)
    y = np.digitize(X[:, 0], [-0.5, 0.5])
    with pytest.raises((ValueError, TypeError)):
        model.fit(*REFUSALS[refused](X, y))
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.fit(X, y)
    before, state = model.predict(X), model.__dict__.copy()
    with pytest.raises((ValueError, TypeError)):
        model.fit(*REFUSALS[refused](X, y))
    np.testing.assert_array_equal(model.predict(X), before)
    assert model.__dict__.keys() == state.keys()
    assert all(model.__dict__[name] is value for name, value in state.items())
