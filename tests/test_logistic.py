"""`LogisticRegression`: its kernels, and every solver next to scikit-learn."""

import pickle
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn import linear_model
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import hotloop as hl
import reference
from helpers import LAYOUTS, as_memory_map, refuses
from hotloop.engine import logistic as kernels
from hotloop.engine import logistic_coordinate as coordinate
from hotloop.estimators import _logistic
from hotloop.estimators._logistic import Smooth, Task

TIGHT = {"tol": 1e-9, "max_iter": 2000}
EXACT_SGD = {"solver": "sgd", "batch_size": None, "tol": 1e-13, "max_iter": 20_000}
each_n_classes = pytest.mark.parametrize("n_classes", [2, 3], ids=["binary", "softmax"])
each_intercept = pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", "origin"])
each_weighting = pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
each_form = pytest.mark.parametrize("form", ["dense", "csc"])
each_solver = pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "coordinate"])


def noisy_classes(n=120, p=5, n_classes=3, seed=0, mean=1.0):
    """Rows around `mean`, and classes drawn from softmax of a linear function: they overlap."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + mean
    logits = (X - mean) @ rng.standard_normal((p, n_classes)) * 0.7
    return X, np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)


def random_weights(n, seed=1):
    return np.random.default_rng(seed).random(n) + 0.1


# --- kernels ----------------------------------------------------------------------------------------


def kernel_problem(n_logits, dtype=np.float64, n=9, p=4, seed=0):
    """X, targets, weights, W, b."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)).astype(dtype)
    targets = rng.choice([-1.0, 1.0], n) if n_logits == 1 else rng.integers(0, n_logits, n)
    weights = rng.random(n)
    weights[0] = 0
    return X, targets, weights, rng.standard_normal((n_logits, p)), rng.standard_normal(n_logits)


def columns_of(X, form):
    if form == "dense":
        return coordinate.Columns(np.ascontiguousarray(X.T), None, None)
    X = sp.csc_array(X)
    return coordinate.Columns(X.data, X.indices, X.indptr)


def without_intercept(array, n_logits, p):
    return array.reshape(n_logits, p + 1)[:, :p].ravel()


each_n_logits = pytest.mark.parametrize("n_logits", [1, 2, 3, 7])
each_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])


@pytest.mark.kernels
@each_n_logits
@each_dtype
@each_intercept
@pytest.mark.parametrize("way", ["rows", "products", "sparse"])
def test_value_gradient_and_hvp_are_the_slow_twins(n_logits, dtype, fit_intercept, way, monkeypatch):
    X, targets, weights, W, b = kernel_problem(n_logits, dtype)
    p = X.shape[1]
    if way == "products":
        monkeypatch.setattr(_logistic, "LARGE_KERNEL", 0)
        monkeypatch.setattr(_logistic, "PIECE_NUMBERS", 2 * p)
    given = sp.csr_array(X) if way == "sparse" else X
    smooth = Smooth(Task(given, targets, weights, n_logits, fit_intercept, 0.0, 0.3))
    b = b if fit_intercept else 0 * b
    value, gradient, hessian = reference.logistic(X.astype(np.float64), targets, weights, W, b)
    # From (K, p + 1) to θ: the intercepts come last, or not at all.
    places = np.arange(n_logits * (p + 1)).reshape(n_logits, p + 1)
    order = np.concatenate([places[:, :p].ravel(), places[:, p] if fit_intercept else []]).astype(int)
    gradient, hessian = gradient.ravel()[order], hessian[np.ix_(order, order)]
    gradient[: n_logits * p] += 0.3 * W.ravel()
    hessian[np.arange(n_logits * p), np.arange(n_logits * p)] += 0.3
    theta = np.concatenate([W.ravel(), b if fit_intercept else []])
    found = smooth.value_and_gradient(theta)
    np.testing.assert_allclose(found[0], value + 0.15 * (W**2).sum(), rtol=1e-12)
    np.testing.assert_allclose(found[1], gradient, atol=1e-12)
    v = np.random.default_rng(1).standard_normal(theta.size)
    np.testing.assert_allclose(smooth.hvp(v), hessian @ v, atol=1e-12)


@pytest.mark.kernels
@each_n_logits
def test_the_gradient_is_that_of_the_value(n_logits):
    X, targets, weights, W, b = kernel_problem(n_logits)
    smooth = Smooth(Task(X, targets, weights, n_logits, True, 0.0, 0.1))
    theta, rng = np.concatenate([W.ravel(), b]), np.random.default_rng(2)
    for _ in range(5):
        d, h = rng.standard_normal(theta.size), 1e-5
        ahead, behind = (smooth.value_and_gradient(theta + t * d) for t in (h, -h))
        here = smooth.value_and_gradient(theta)[1]
        np.testing.assert_allclose((ahead[0] - behind[0]) / (2 * h), here @ d, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose((ahead[1] - behind[1]) / (2 * h), smooth.hvp(d), rtol=1e-6, atol=1e-8)


@pytest.mark.kernels
@each_n_logits
@each_dtype
@each_form
def test_columns_are_summed(form, n_logits, dtype):
    X, _, _, _, _ = kernel_problem(n_logits, dtype)
    columns, a = columns_of(X, form), np.random.default_rng(0).random((n_logits, len(X)))
    out = np.empty((n_logits, X.shape[1]))
    coordinate.column_slopes(columns, a, out)
    np.testing.assert_allclose(out, a @ X.astype(np.float64), rtol=1e-12)
    coordinate.column_bends(columns, a, out)
    np.testing.assert_allclose(out, a @ X.astype(np.float64) ** 2, rtol=1e-12)


@pytest.mark.kernels
@each_n_logits
@each_form
@pytest.mark.parametrize("sweeps", [1, 4])
def test_sweeps_are_the_slow_twin(form, n_logits, sweeps):
    X, targets, weights, W, b = kernel_problem(n_logits)
    p = X.shape[1]
    _, gradient, hessian = reference.logistic(X, targets, weights, W, b)
    z = X @ W.T + b
    slopes, shares = np.empty_like(z), np.empty_like(z)
    if n_logits == 1:
        kernels.binary_slopes(z[:, 0], targets, weights, slopes[:, 0], shares[:, 0])
        shares[:, 0] = 1 / (1 + np.exp(-z[:, 0]))
    else:
        kernels.softmax_slopes(z, targets, weights, slopes, shares)
    shares = np.ascontiguousarray(shares.T)
    columns = np.vstack([X.T, np.ones(len(X))])
    np.testing.assert_allclose(slopes.T @ columns.T, gradient, atol=1e-12)
    pulls = shares * weights
    bends = (pulls * (1 - shares)) @ (columns**2).T
    l1, l2 = np.append(np.full(p, 0.2), 0), np.append(np.full(p, 0.1), 0)
    start = np.column_stack([W, b])
    w, moved, means = start.copy(), np.zeros_like(shares), np.zeros(len(X))
    order = np.arange(w.size)
    done = coordinate.newton_sweeps(
        columns_of(columns.T, form),
        gradient,
        bends,
        pulls,
        shares,
        l1,
        l2,
        order,
        w,
        moved,
        means,
        0.0,
        sweeps,
    )
    assert done == sweeps
    wanted = reference.newton_model(gradient, hessian, start, l1, l2, sweeps)
    np.testing.assert_allclose(w, wanted, atol=1e-8)
    assert np.any(w == 0)
    np.testing.assert_allclose(moved, (w - start) @ columns, atol=1e-9)
    np.testing.assert_allclose(means, (shares * moved).sum(axis=0), atol=1e-9)


@pytest.mark.kernels
def test_huge_logits_are_safe():
    z = np.array([1e4, -1e4, 1e4, -1e4, 1e308, -1e308, 0.0])
    signs = np.array([1.0, -1, -1, 1, 1, 1, 1])
    slopes, curvature = np.empty(7), np.empty(7)
    wanted = [0, 0, 1e4, 1e4, 0, 1e308, np.log(2)]
    for i in range(7):
        one = slice(i, i + 1)
        loss = kernels.binary_slopes(z[one], signs[one], np.ones(1), slopes[one], curvature[one])
        np.testing.assert_allclose(loss, wanted[i], rtol=1e-12)
    np.testing.assert_allclose(slopes, [0, 0, 1, -1, 0, -1, -0.5], atol=1e-12)
    np.testing.assert_allclose(curvature, [0, 0, 0, 0, 0, 0, 0.25], atol=1e-12)
    Z = np.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]])
    slopes, shares = np.empty((3, 3)), np.empty((3, 3))
    loss = kernels.softmax_slopes(Z, np.array([0, 1, 2]), np.ones(3), slopes, shares)
    np.testing.assert_allclose(loss, 2e4 + np.log(3), rtol=1e-12)
    np.testing.assert_allclose(shares, [[1, 0, 0], [1, 0, 0], [1 / 3] * 3])


# --- coefficients -----------------------------------------------------------------------------------

PENALTIES = {
    "l2": (0.3, 0.0), "weak l2": (30.0, 0.0), "none": (np.inf, 0.0), "l1": (0.3, 1.0),
    "elastic net": (0.3, 0.4), "strong l1": (0.06, 1.0),
}  # fmt: skip
each_penalty = pytest.mark.parametrize(("C", "l1_ratio"), PENALTIES.values(), ids=PENALTIES)


def scikit_learns(C, l1_ratio, **options):
    """Their model, by a solver that can, tighter than any comparison.

    But SAGA stops when no *coefficient* moves, with intercepts that still lack up to 1e-3; that ours are the
    optimal ones, `test_the_optimum_is_one` says.
    """
    solver = {"solver": "saga", "tol": 1e-10, "max_iter": 100_000, "random_state": 0} if l1_ratio else TIGHT
    return linear_model.LogisticRegression(C=C, l1_ratio=l1_ratio, **solver, **options)


def assert_same(ours, theirs, atol=1e-4):
    """`atol` of the coefficients, or of them and of the intercepts."""
    of_coef, of_intercept = np.broadcast_to(atol, 2)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=of_coef)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=of_intercept)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.intercept_.shape == theirs.intercept_.shape


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "coordinate", "sgd"])
@each_penalty
@each_n_classes
@each_intercept
@each_weighting
def test_coefficients_are_scikit_learns(solver, C, l1_ratio, n_classes, fit_intercept, weighted):
    if l1_ratio and solver in ("lbfgs", "newton-cg"):
        return  # refused, see below
    X, y = noisy_classes(n_classes=n_classes)
    options = {"C": C, "l1_ratio": l1_ratio, "fit_intercept": fit_intercept}
    weights = None
    if weighted:
        weights, options["class_weight"] = random_weights(len(X)), {0: 2.0, 1: 0.7}
    theirs = scikit_learns(**options).fit(X, y, weights)
    how = {"solver": solver, **TIGHT}
    if solver == "sgd":
        how = EXACT_SGD | {"optimizer": hl.SGD(0.4)}
    ours = hl.LogisticRegression(**options, **how).fit(X, y, weights)
    assert_same(ours, theirs, 1e-4 if l1_ratio == 0 else (1e-4, 2e-3))
    assert ours.solver_ == solver
    assert ours.n_iter_.shape == (1,)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-3)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=2e-3)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=2e-3)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.score(X, y, weights) == theirs.score(X, y, weights)


@each_solver
@each_n_classes
def test_balanced_classes(solver, n_classes):
    X, y = noisy_classes(n_classes=n_classes)
    kept = (y != 0) | (np.arange(len(y)) % 3 == 0)
    X, y, weights = X[kept], y[kept], random_weights(kept.sum())
    for some in (None, weights):
        ours = hl.LogisticRegression(class_weight="balanced", solver=solver, **TIGHT).fit(X, y, some)
        theirs = scikit_learns(1.0, 0.0, class_weight="balanced").fit(X, y, some)
        assert_same(ours, theirs)


@pytest.mark.parametrize(("ours", "theirs"), [
    ({"penalty": "l2", "C": 0.5}, {"C": 0.5}),
    ({"penalty": None}, {"C": np.inf}),
    ({"penalty": "l1", "solver": "saga"}, {"l1_ratio": 1.0}),
    ({"penalty": "l1", "l1_ratio": None, "solver": "coordinate"}, {"l1_ratio": 1.0}),
    ({"penalty": "elasticnet", "l1_ratio": 0.3, "solver": "saga"}, {"l1_ratio": 0.3}),
    ({"solver": "newton-cholesky"}, {}),
    ({"solver": "sag"}, {}),
    ({"solver": "saga", "l1_ratio": None}, {}),
])  # fmt: skip
def test_older_and_other_ways_to_say_it(ours, theirs):
    X, y = noisy_classes()
    theirs = scikit_learns(**{"C": 1.0, "l1_ratio": 0.0} | theirs).fit(X, y)
    assert_same(hl.LogisticRegression(**TIGHT | ours).fit(X, y), theirs, (1e-4, 2e-3))


@pytest.mark.parametrize("options", [
    {"penalty": None, "C": 0.5}, {"penalty": "l2", "l1_ratio": 0.5},
    {"penalty": "l1", "l1_ratio": 0.5, "solver": "coordinate"},
])  # fmt: skip
def test_contradictions_warn(options):
    with pytest.warns(UserWarning, match="is ignored"):
        hl.LogisticRegression(**options).fit(*noisy_classes())


def test_scikit_learns_parameters_are_taken():
    """``hl.LogisticRegression(**theirs.get_params())``, and the same defaults."""
    theirs, ours = linear_model.LogisticRegression().get_params(), hl.LogisticRegression().get_params()
    assert ours == theirs | {"optimizer": None, "batch_size": 128}


@each_n_classes
@each_intercept
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_the_optimum_is_one(n_classes, fit_intercept, l1_ratio):
    """The conditions of Karush, Kuhn and Tucker, for columns of any scale, one of them constant."""
    X, y = noisy_classes(300, 12, n_classes)
    X = X * np.geomspace(0.1, 30, 12)
    X[:, 3] = 5.0
    C, weights = 0.05, random_weights(300)
    model = hl.LogisticRegression(
        C=C, l1_ratio=l1_ratio, solver="coordinate", fit_intercept=fit_intercept, tol=1e-10
    ).fit(X, y, weights)
    P = model.predict_proba(X)
    slopes = weights[:, None] * (P - np.eye(n_classes)[y])
    slopes = slopes[:, 1:] if n_classes == 2 else slopes
    gradient = C * slopes.T @ X + (1 - l1_ratio) * model.coef_
    active = model.coef_ != 0
    assert 0 < active.sum() < active.size
    np.testing.assert_allclose(gradient[active], -l1_ratio * np.sign(model.coef_[active]), atol=1e-5)
    assert np.all(np.abs(gradient[~active]) <= l1_ratio + 1e-5)
    if fit_intercept:
        assert not model.coef_[:, 3].any()
        np.testing.assert_allclose(slopes.sum(axis=0), 0, atol=1e-5)


def test_a_strong_penalty_leaves_the_intercept_alone():
    """All coefficients are 0, and the probabilities those of the classes."""
    for n_classes in (2, 3):
        X, y = noisy_classes(n_classes=n_classes)
        model = hl.LogisticRegression(C=1e-4, l1_ratio=1, solver="coordinate", tol=1e-12).fit(X, y)
        assert not model.coef_.any()
        np.testing.assert_allclose(model.predict_proba(X[:1])[0], np.bincount(y) / len(y), atol=1e-9)


@given(st.integers(0, 10**6), st.sampled_from([2, 3]), st.floats(0.01, 100), st.sampled_from([0.0, 0.5, 1.0]))
def test_coordinate_descent_agrees_with_itself_and_newton(seed, n_classes, C, l1_ratio):
    """From anywhere it comes to the same objective; without L1 that is Newton's."""
    X, y = noisy_classes(40, 6, n_classes, seed)
    if len(np.unique(y)) < n_classes:
        return
    options = {"C": C, "l1_ratio": l1_ratio, "tol": 1e-8, "max_iter": 1000}
    first = hl.LogisticRegression(solver="coordinate", **options).fit(X, y)
    if l1_ratio == 0:
        assert_same(first, hl.LogisticRegression(solver="newton-cg", **options).fit(X, y))
    again = clone(first).set_params(warm_start=True)
    again.fit(X[:, ::-1], y).fit(X, y)
    np.testing.assert_allclose(again.predict_proba(X), first.predict_proba(X), atol=1e-4)


@given(st.integers(0, 10**6), st.sampled_from([2, 3]))
def test_weights_are_repetition(seed, n_classes):
    X, y = noisy_classes(40, 4, n_classes, seed)
    if len(np.unique(y)) < n_classes:
        return
    times = np.random.default_rng(seed).integers(1, 4, len(X))
    for solver in ("lbfgs", "newton-cg", "coordinate"):
        model = hl.LogisticRegression(solver=solver, class_weight="balanced", **TIGHT)
        weighted = clone(model).fit(X, y, times)
        assert_same(weighted, model.fit(np.repeat(X, times, 0), np.repeat(y, times)))


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "coordinate", "sgd"])
@each_n_classes
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_separable_data_stay_finite(solver, n_classes):
    """Without a penalty the optimum is at infinity: it ends where the slope is small."""
    X = np.arange(12.0).reshape(-1, 1)
    y = np.arange(12) * n_classes // 12
    model = hl.LogisticRegression(C=np.inf, solver=solver, max_iter=300).fit(X - 6, y)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.predict_log_proba(X - 6)).all()
    if solver != "sgd":
        assert model.score(X - 6, y) == 1


@each_n_classes
def test_sure_predictions_are_safe(n_classes):
    X, y = noisy_classes(n_classes=n_classes, p=1)
    model = hl.LogisticRegression().fit(X, y)
    model.coef_ = np.arange(len(model.coef_))[:, None] + 1e4
    model.coef_[-1] += 1e4
    for x in (-1.0, 1.0):
        P, log_P = model.predict_proba([[x]]), model.predict_log_proba([[x]])
        np.testing.assert_allclose(P.sum(), 1)
        assert np.isfinite(log_P).all()
        assert log_P.min() < -9e3


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "coordinate"])
def test_ill_scaled_columns_converge(solver):
    X, y = noisy_classes(n_classes=2)
    scales = np.array([1e-3, 1.0, 30.0, 1.0, 1e-2])
    options = {"C": np.inf, "solver": solver, "tol": 1e-10, "max_iter": 10_000}
    plain = hl.LogisticRegression(**options).fit(X, y)
    scaled = hl.LogisticRegression(**options).fit(X * scales, y)
    tolerance = 0.3 if solver == "lbfgs" else 1e-4
    np.testing.assert_allclose(scaled.coef_ * scales, plain.coef_, atol=tolerance)


def test_newton_needs_few_steps():
    X, y = noisy_classes(500, 20)
    newton = hl.LogisticRegression(solver="newton-cg", tol=1e-8).fit(X, y)
    descent = hl.LogisticRegression(solver="coordinate", l1_ratio=0.5, tol=1e-8).fit(X, y)
    assert newton.n_iter_[0] < 12
    assert descent.n_iter_[0] < 12


# --- kinds of data ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("solver", "l1_ratio"), [
    ("lbfgs", 0.0), ("newton-cg", 0.0), ("coordinate", 0.0), ("coordinate", 0.5), ("saga", 1.0),
])  # fmt: skip
@each_n_classes
@each_intercept
@pytest.mark.parametrize("kind", [sp.csr_array, sp.csc_matrix, sp.coo_array])
def test_sparse_is_dense(solver, l1_ratio, n_classes, fit_intercept, kind):
    X, y = noisy_classes(n_classes=n_classes)
    X = X * (np.random.default_rng(3).random(X.shape) < 0.4)
    model = hl.LogisticRegression(
        solver=solver, l1_ratio=l1_ratio, C=0.1, fit_intercept=fit_intercept, **TIGHT
    )
    weights = random_weights(len(X))
    dense = clone(model).fit(X, y, weights)
    assert_same(model.fit(kind(X), y, weights), dense, 1e-6)
    np.testing.assert_allclose(model.predict_proba(kind(X)), dense.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(model.coef_ == 0, dense.coef_ == 0)
    small = clone(model).fit(kind(X.astype(np.float32)), y, weights)
    assert small.coef_.dtype == np.float32


@pytest.mark.parametrize("labels", [2, 3])
def test_partial_fit_goes_on_from_another_solver(labels):
    X, y = load_iris(return_X_y=True)
    X, y = X[y < labels], y[y < labels]
    model = hl.LogisticRegression(max_iter=1000).fit(X, y)
    coef, intercept = model.coef_.copy(), model.intercept_.copy()
    model.set_params(solver="sgd", optimizer=hl.SGD(0.0)).partial_fit(X[:60], y[:60])
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-6)
    np.testing.assert_allclose(model.intercept_, intercept, rtol=1e-6)
    assert list(model.classes_) == list(range(labels))


@each_n_classes
@pytest.mark.parametrize("kind", [sp.csr_array, sp.csc_matrix, sp.coo_array])
@pytest.mark.parametrize("options", [{}, {"l1_ratio": 1.0}, {"optimizer": hl.Adam(0.01)}], ids=str)
def test_sparse_minibatches_are_dense_ones(n_classes, kind, options):
    X, y = noisy_classes(n_classes=n_classes)
    X = X * (np.random.default_rng(3).random(X.shape) < 0.4)
    model = hl.LogisticRegression(solver="sgd", tol=1e-2, random_state=0, batch_size=16, **options)
    dense, sparse = clone(model).fit(X, y, random_weights(120)), model.fit(kind(X), y, random_weights(120))
    np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-12)
    dense.partial_fit(X, y)
    sparse.partial_fit(kind(X), y)
    np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-12)


@pytest.mark.parametrize("model", [
    hl.LogisticRegression(solver="saga", l1_ratio=1.0), hl.LogisticRegression(solver="sgd", max_iter=1),
    hl.Ridge(solver="sgd", max_iter=1),
], ids=str)  # fmt: skip
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_sparse_data_are_never_dense_as_a_whole(model):
    X = sp.random_array((10_000, 1000), density=1e-3, format="csr", rng=np.random.default_rng(0))
    y = np.arange(10_000) % 2
    clone(model).fit(X[:100], y[:100])  # compiles
    tracemalloc.start()
    try:
        model.fit(X, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000 * 1000 * 8 / 4


@pytest.mark.parametrize("model", [
    hl.LogisticRegression(), hl.LogisticRegression(solver="sgd"), hl.LinearRegression(),
    hl.LinearRegression(solver="sgd"), hl.Lasso(), hl.Perceptron(), hl.MLPClassifier(max_iter=1),
    hl.MLPRegressor(max_iter=1),
], ids=str)  # fmt: skip
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("form", [sp.csr_array, sp.csc_array])
def test_a_broken_sparse_matrix_is_refused(model, form):
    X, y = noisy_classes()
    fitted = clone(model).fit(X, y)
    broken = form(X)
    broken.indices[3] = 1000
    for method in (clone(model).fit, fitted.score):
        with refuses(ValueError, "X"):
            method(broken, y)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "coordinate", "sgd"])
@each_n_classes
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_float32_stays_float32(solver, n_classes):
    X, y = noisy_classes(n_classes=n_classes)
    options = {"solver": solver} | (TIGHT if solver != "sgd" else {"batch_size": None, "max_iter": 200})
    small = hl.LogisticRegression(**options).fit(X.astype(np.float32), y)
    large = hl.LogisticRegression(**options).fit(X.astype(np.float32).astype(np.float64), y)
    assert small.coef_.dtype == small.intercept_.dtype == np.float32
    for method in ("decision_function", "predict_proba", "predict_log_proba"):
        assert getattr(small, method)(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(small.coef_, large.coef_, atol=1e-6 if solver != "sgd" else 1e-3)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "coordinate"])
def test_the_layout_of_the_data_does_not_matter(layout, solver, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (60, 4)).astype(np.float32)
    y = (X @ [1.0, -1.0, 0.5, 0.0] + rng.logistic(size=60) > 0).astype(int)
    model = hl.LogisticRegression(solver=solver, **TIGHT)
    given = clone(model).fit(LAYOUTS[layout](X, tmp_path / "X"), y)
    np.testing.assert_allclose(given.coef_, model.fit(X.astype(np.float64), y).coef_, atol=1e-5)


@each_solver
def test_the_data_are_not_touched(solver, tmp_path):
    X, y = noisy_classes()
    weights = random_weights(len(X))
    copies = X.copy(), y.copy(), weights.copy()
    hl.LogisticRegression(solver=solver, class_weight="balanced").fit(X, y, weights)
    for after, before in zip((X, y, weights), copies, strict=True):
        np.testing.assert_array_equal(after, before)
    hl.LogisticRegression(solver=solver).fit(as_memory_map(X, tmp_path / "X"), y)


def test_labels_of_any_kind():
    X, y = noisy_classes()
    names = np.array(["b", "c", "a"])[y]
    model = hl.LogisticRegression().fit(X, names)
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert set(model.predict(X)) <= {"a", "b", "c"}
    numbers = hl.LogisticRegression().fit(X, np.array([-5.0, 7.0, -9.0])[y])
    np.testing.assert_array_equal(numbers.coef_, model.coef_[[0, 1, 2]])


def test_coefficients_may_be_kept_sparse():
    X, y = noisy_classes()
    model = hl.LogisticRegression(C=0.1, l1_ratio=1, solver="coordinate").fit(X, y)
    wanted, coef = model.predict_proba(X), model.coef_
    assert sp.issparse(model.sparsify().coef_)
    np.testing.assert_allclose(model.predict_proba(X), wanted)
    np.testing.assert_allclose(model.predict_proba(sp.csr_array(X)), wanted)
    model.set_params(warm_start=True).fit(X, y)
    np.testing.assert_array_equal(model.sparsify().densify().densify().coef_, model.coef_)
    np.testing.assert_allclose(model.coef_, coef, atol=1e-3)
    with pytest.raises(NotFittedError):
        hl.LogisticRegression().sparsify()


# --- warm starts and minibatches --------------------------------------------------------------------


@each_solver
@each_n_classes
@each_intercept
def test_a_warm_start_begins_where_the_last_fit_ended(solver, n_classes, fit_intercept):
    X, y = noisy_classes(n_classes=n_classes)
    model = hl.LogisticRegression(solver=solver, warm_start=True, fit_intercept=fit_intercept, tol=1e-7)
    cold = model.fit(X, y).n_iter_[0]
    coef = model.coef_
    assert cold > 1
    assert model.fit(X, y).n_iter_[0] <= 1
    np.testing.assert_allclose(model.coef_, coef, atol=1e-5)
    with refuses(ValueError, "warm_start"):
        model.fit(X[:, :3], y)
    with refuses(ValueError, "warm_start"):
        clone(model).fit(X, y).fit(X, y + 1)


def test_a_warm_start_of_minibatches():
    X, y = noisy_classes()
    model = hl.LogisticRegression(solver="sgd", warm_start=True, random_state=0, max_iter=500).fit(X, y)
    model.fit(X, y)
    exact = hl.LogisticRegression().fit(X, y)
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=0.1)


OPTIMIZERS = {
    "default": None, "sgd": hl.SGD(hl.InverseSqrt(0.3, 100)),
    "momentum": hl.SGD(hl.InverseSqrt(0.03, 50), 0.9),
    "rmsprop": hl.RMSprop(hl.InverseSqrt(0.01, 50)), "adamw": hl.AdamW(hl.InverseSqrt(0.02, 100)),
    "schedule-free": hl.ScheduleFreeSGD(0.1),
}  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
@each_n_classes
def test_minibatches_come_near_the_optimum(optimizer, l1_ratio, n_classes):
    X, y = noisy_classes(400, n_classes=n_classes, mean=0)
    options = {"C": 0.1, "l1_ratio": l1_ratio}
    model = hl.LogisticRegression(
        solver="sgd", optimizer=optimizer, batch_size=32, random_state=0, max_iter=1000, **options
    ).fit(X, y)
    exact = hl.LogisticRegression(solver="coordinate", **options).fit(X, y)
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=0.15)
    assert 5 < model.n_iter_[0] < 1000
    assert model.score(X, y) > exact.score(X, y) - 0.03


@each_n_classes
@pytest.mark.parametrize("l1_ratio", [1.0, 0.6])
def test_minibatches_leave_exact_zeros(n_classes, l1_ratio):
    X, y = noisy_classes(300, 8, n_classes)
    options = {"C": 0.03, "l1_ratio": l1_ratio}
    model = hl.LogisticRegression(**EXACT_SGD, **options).fit(X, y)
    exact = hl.LogisticRegression(solver="coordinate", tol=1e-9, **options).fit(X, y)
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=1e-3)
    np.testing.assert_array_equal(model.coef_ == 0, exact.coef_ == 0)
    assert np.any(model.coef_ == 0)


def test_the_same_seed_gives_the_same_coefficients():
    X, y = noisy_classes()
    options = {"solver": "sgd", "tol": 1e-3, "batch_size": 16}
    first, again, other = (
        hl.LogisticRegression(random_state=s, **options).fit(X, y).coef_ for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


@each_n_classes
def test_partial_fits_are_one_training(n_classes):
    X, y = noisy_classes(n_classes=n_classes)
    options = {"solver": "sgd", "random_state": 0, "optimizer": hl.Adam(0.01), "class_weight": {0: 2.0}}
    weights = random_weights(len(X))
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        together = hl.LogisticRegression(max_iter=4, **options).fit(X, y, weights)
    assert together.n_iter_[0] == 4
    alone = hl.LogisticRegression(**options)
    for k in range(4):
        alone.partial_fit(X, y, np.unique(y) if k == 0 else None, weights)
        if k == 1:
            alone = pickle.loads(pickle.dumps(alone))  # with the optimizer's state
    np.testing.assert_array_equal(alone.coef_, together.coef_)
    together.partial_fit(X, y, sample_weight=weights)
    alone.partial_fit(X, y, np.unique(y), weights)
    np.testing.assert_array_equal(alone.coef_, together.coef_)


def test_partial_fit_learns_from_a_stream():
    X, y = noisy_classes(4000, mean=0)
    model = hl.LogisticRegression(solver="sgd", optimizer=hl.Adam(0.02), batch_size=16, random_state=0)
    for _ in range(3):
        for rows in np.split(np.arange(4000), 10):
            model.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
    exact = hl.LogisticRegression().fit(X, y)
    assert model.score(X, y) > exact.score(X, y) - 0.02
    one_class = y == 1
    model.partial_fit(X[one_class], y[one_class])
    with pytest.raises(ValueError, match="4 features"):
        model.partial_fit(X[:, :4], y)


def test_partial_fit_checks_its_classes():
    X, y = noisy_classes()
    assert not hasattr(hl.LogisticRegression(), "partial_fit")
    model = hl.LogisticRegression(solver="sgd")
    with refuses(ValueError, "classes"):
        model.partial_fit(X, y)
    with refuses(ValueError, "y"):
        clone(model).partial_fit(X, y, classes=[0, 1])
    model.partial_fit(X, y, classes=[0, 1, 2, 3])
    assert model.coef_.shape == (4, 5)
    with refuses(ValueError, "classes"):
        model.partial_fit(X, y, classes=[0, 1, 2])
    with refuses(ValueError, "class_weight"):
        hl.LogisticRegression(solver="sgd", class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])


def test_training_that_diverges_says_so():
    X, y = noisy_classes()
    with pytest.warns(ConvergenceWarning, match="worse than none"):
        hl.LogisticRegression(solver="sgd", optimizer=hl.SGD(1e3), max_iter=3).fit(X, y)


# --- the estimator ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("builtin", "name", "parameters"), [
    (ValueError, "C", {"C": 0}), (ValueError, "C", {"C": -1.0}), (TypeError, "C", {"C": "1"}),
    (ValueError, "C", {"C": np.nan}), (ValueError, "C", {"C": -np.inf}),
    (ValueError, "l1_ratio", {"l1_ratio": 1.5}), (ValueError, "l1_ratio", {"l1_ratio": -0.1}),
    (TypeError, "l1_ratio", {"l1_ratio": "0"}),
    (ValueError, "l1_ratio", {"penalty": "elasticnet", "l1_ratio": None, "solver": "saga"}),
    (ValueError, "penalty", {"penalty": "l3"}), (TypeError, "penalty", {"penalty": 2}),
    (ValueError, "solver", {"solver": "liblinear"}), (ValueError, "solver", {"solver": "newton"}),
    (TypeError, "solver", {"solver": None}),
    (ValueError, "solver", {"l1_ratio": 1.0}),
    (ValueError, "solver", {"l1_ratio": 0.5, "solver": "newton-cg"}),
    (ValueError, "solver", {"penalty": "l1", "solver": "sag"}),
    (ValueError, "dual", {"dual": True}), (TypeError, "dual", {"dual": 1}),
    (ValueError, "tol", {"tol": -1}), (ValueError, "max_iter", {"max_iter": 0}),
    (TypeError, "fit_intercept", {"fit_intercept": 1}), (TypeError, "warm_start", {"warm_start": "yes"}),
    (TypeError, "optimizer", {"solver": "sgd", "optimizer": "adam"}),
    (ValueError, "batch_size", {"solver": "sgd", "batch_size": 0}),
    (ValueError, "class_weight", {"class_weight": {0: -1.0}}),
])  # fmt: skip
def test_wrong_parameters_are_refused(builtin, name, parameters):
    with refuses(builtin, name):
        hl.LogisticRegression(**parameters).fit(*noisy_classes())


@pytest.mark.parametrize(
    "weights", [-np.ones(120), np.zeros(120), np.ones(119), np.full(120, np.nan), ["a"] * 120]
)
def test_wrong_weights_are_refused(weights):
    with refuses(TypeError if weights[0] == "a" else ValueError, "sample_weight"):
        hl.LogisticRegression().fit(*noisy_classes(), weights)


@each_solver
@each_n_classes
@pytest.mark.parametrize("scale", [1e30, 1e150, 1e300, 1e307])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_huge_numbers_give_finite_coefficients(solver, n_classes, scale):
    X, y = noisy_classes(n_classes=n_classes)
    model = hl.LogisticRegression(solver=solver).fit(X * scale, y)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.intercept_).all()


def test_one_class_is_refused():
    with refuses(ValueError, "y"):
        hl.LogisticRegression().fit([[1.0], [2.0]], [1, 1])


@each_solver
def test_too_few_steps_warn(solver):
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        model = hl.LogisticRegression(solver=solver, max_iter=1, tol=1e-9).fit(*noisy_classes())
    assert model.n_iter_[0] == 1


def test_before_a_fit_there_is_nothing():
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(hl.LogisticRegression(), method)([[1.0]])


def test_it_lives_in_pipelines_and_searches():
    X, y = noisy_classes()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), hl.LogisticRegression(solver="coordinate")),
        {"logisticregression__C": [1e-4, 1.0], "logisticregression__l1_ratio": [0.0, 1.0]},
        cv=3,
    ).fit(X, y)
    assert search.best_params_["logisticregression__C"] == 1.0
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict_proba(X), search.predict_proba(X))
    rates = GridSearchCV(
        hl.LogisticRegression(solver="sgd", tol=1e-3, max_iter=500, random_state=0),
        {"optimizer": [hl.SGD(0.0), hl.Adam(0.05)]},
        cv=3,
    ).fit(X, y)
    assert rates.best_params_["optimizer"] == hl.Adam(0.05)
    assert cross_val_score(hl.LogisticRegression(), X, y, scoring="neg_log_loss").min() > -1.2


CHECKED = [
    hl.LogisticRegression(), hl.LogisticRegression(solver="newton-cg"),
    hl.LogisticRegression(solver="coordinate"), hl.LogisticRegression(solver="coordinate", l1_ratio=0.5),
    hl.LogisticRegression(solver="coordinate", l1_ratio=1.0, C=2.0),
    hl.LogisticRegression(solver="sgd", random_state=0, batch_size=None, optimizer=hl.Adam(0.05), tol=1e-3),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(CHECKED)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)
