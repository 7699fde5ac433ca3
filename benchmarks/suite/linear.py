"""Linear models, next to scikit-learn's in the same run. Where to look when one of these slows down:

=====================================  ===============================================================
ClosedForm, tall                       `DenseDesign.gram_and_moments`: pieces too large for the cache?
ClosedForm, wide                       the dual in `estimators/_least_squares.py`
CoordinateDescent, many sweeps         `descend` in `engine/coordinate.py` vectorises no more
CoordinateDescent, few sweeps          passes over X before and between the sweeps
Logistic, lbfgs and newton-cg          `binary_gradient`, `softmax_gradient` in `engine/logistic.py`
Logistic, coordinate                   `newton_sweeps` in `engine/logistic_coordinate.py`, or more steps
=====================================  ===============================================================
"""

import time

import numpy as np
from sklearn import linear_model

import hotloop as hl
from hotloop import estimators


def regression(rows, width):
    """Normal features, and a target of which the first ten know."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, width))
    return X, X[:, :10].sum(axis=1) + rng.standard_normal(rows)


def ratio(ours, theirs, X, y, rounds=5):
    """Minima of fits in turn, ours divided by theirs."""
    times = [[], []]
    for _ in range(rounds):
        for model, found in zip((ours, theirs), times, strict=True):
            started = time.perf_counter()
            model.fit(X, y)
            found.append(time.perf_counter() - started)
    return min(times[0]) / min(times[1])


hl.Lasso(0.1).fit(*regression(50, 20))  # compiles, or loads from the cache

SHAPES = {"10000 x 100": (10_000, 100), "2000 x 500": (2000, 500), "200 x 2000": (200, 2000)}


class ClosedForm:
    """A fit in float64, by model and shape."""

    params = (["LinearRegression", "Ridge"], list(SHAPES))
    param_names = ("model", "shape")

    def setup(self, name, shape):
        self.X, self.y = regression(*SHAPES[shape])
        self.ours, self.theirs = getattr(estimators, name)(), getattr(linear_model, name)()

    def time_fit(self, name, shape):
        self.ours.fit(self.X, self.y)

    def track_time_against_sklearn(self, name, shape):
        """Below 1 ours is faster."""
        return ratio(self.ours, self.theirs, self.X, self.y)

    track_time_against_sklearn.unit = "of scikit-learn's time"


class CoordinateDescent:
    """A Lasso in float64: few sweeps on many rows, many sweeps on many columns, and on the Gram matrix."""

    params = (["few sweeps", "many sweeps", "gram"],)
    param_names = ("problem",)

    def setup(self, problem):
        shape, alpha = ((200, 2000), 0.01) if problem == "many sweeps" else ((10_000, 100), 0.02)
        options = {"alpha": alpha, "tol": 1e-6, "precompute": problem == "gram", "max_iter": 10_000}
        self.X, self.y = regression(*shape)
        self.ours, self.theirs = hl.Lasso(**options), linear_model.Lasso(**options)

    def time_fit(self, problem):
        self.ours.fit(self.X, self.y)

    def track_time_against_sklearn(self, problem):
        """Below 1 ours is faster; both do the same sweeps."""
        return ratio(self.ours, self.theirs, self.X, self.y)

    track_time_against_sklearn.unit = "of scikit-learn's time"


def labelled(rows, width, classes):
    """Normal features, and overlapping classes of which the first ten know."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, width))
    W = np.zeros((width, classes))
    W[:10] = rng.standard_normal((10, classes))
    return X, np.argmax(X @ W + rng.gumbel(size=(rows, classes)), axis=1)


LABELLED = {
    "200 x 10, 2 classes": (200, 10, 2),
    "10000 x 100, 2 classes": (10_000, 100, 2),
    "2000 x 64, 10 classes": (2000, 64, 10),
    "200 x 2000, 2 classes": (200, 2000, 2),
}
for classes in (2, 3):
    for solver in ("lbfgs", "newton-cg", "coordinate"):
        hl.LogisticRegression(solver=solver).fit(*labelled(50, 20, classes))


class Logistic:
    """A logistic regression in float64, by solver and problem; "coordinate" with L1, next to SAGA."""

    params = (["lbfgs", "newton-cg", "coordinate"], list(LABELLED))
    param_names = ("solver", "problem")

    def setup(self, solver, problem):
        self.X, self.y = labelled(*LABELLED[problem])
        l1_ratio = 1.0 if solver == "coordinate" else 0.0
        options = {"C": 0.1, "l1_ratio": l1_ratio, "max_iter": 1000}
        self.ours = hl.LogisticRegression(solver=solver, **options)
        theirs = "saga" if solver == "coordinate" else solver
        self.theirs = linear_model.LogisticRegression(solver=theirs, **options)

    def time_fit(self, solver, problem):
        self.ours.fit(self.X, self.y)

    def track_time_against_sklearn(self, solver, problem):
        """Below 1 ours is faster."""
        return ratio(self.ours, self.theirs, self.X, self.y, rounds=3)

    track_time_against_sklearn.unit = "of scikit-learn's time"
