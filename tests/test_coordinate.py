"""Coordinate descent: the kernels, and `Lasso` and `ElasticNet` on top of them."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn import linear_model
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import hotloop as hl
import reference
from helpers import refuses, values
from hotloop import estimators
from hotloop.engine.coordinate import (
    SparseColumns,
    descend,
    descend_gram,
    descend_sparse,
    soft_threshold,
)
from hotloop.estimators import ElasticNet
from hotloop.estimators._design import DenseDesign, SparseDesign
from hotloop.estimators._lasso import Problem

TIGHT = {"tol": 1e-13, "max_iter": 100_000}
SOLVERS = {
    "cyclic": {},
    "random": {"selection": "random", "random_state": 0},
    "gram": {"precompute": True},
    "proximal": {"solver": "proximal"},
}
each_solver = pytest.mark.parametrize("options", SOLVERS.values(), ids=SOLVERS)


def regression(n=60, p=12, targets=None, seed=0, mean=1.0):
    """Rows around `mean`, and targets of which only the first three features know."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + mean
    W = np.zeros((p, targets or 1))
    W[:3] = rng.standard_normal((3, targets or 1)) + 2
    Y = X @ W + 0.5 * rng.standard_normal((n, targets or 1)) + 3
    return X, Y if targets else Y[:, 0]


def thinned(X, seed=0):
    """`X` with four of five numbers 0."""
    return X * (np.random.default_rng(seed).random(X.shape) < 0.2)


# --- kernels ----------------------------------------------------------------------------------------


@pytest.mark.kernels
@pytest.mark.parametrize("positive", [False, True])
def test_the_soft_threshold_is_its_twin(positive):
    for value in (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0):
        assert soft_threshold(value, 1.0, positive) == reference.soft_threshold(value, 1.0, positive)


ORDERS = np.array([[0, 1, 2, 3], [3, 1, 0, 2], [2, 2, 0, 1]])


def swept(kind, X, y, w, l1, l2, positive, orders, sweeps):
    """What a kernel makes of w in some sweeps, and what it returned."""
    number = X.dtype.type
    l1, l2, tol = number(l1), number(l2), number(-1)  # a negative tolerance is never reached
    w, squares = w.copy(), (X * X).sum(axis=0)
    residual = y - X @ w
    if kind == "dense":
        done = descend(np.asfortranarray(X).T, squares, l1, l2, positive, orders, w, residual, tol, sweeps)
        np.testing.assert_allclose(residual, y - X @ w, atol=100 * np.finfo(X.dtype).eps)
    elif kind == "gram":
        gradient = X.T @ residual
        done = descend_gram(X.T @ X, l1, l2, positive, orders, w, gradient, tol, sweeps)
        np.testing.assert_allclose(gradient, X.T @ (y - X @ w), atol=1000 * np.finfo(X.dtype).eps)
    else:
        raw = sp.csc_array(X)
        columns = SparseColumns(raw.data, raw.indices, raw.indptr, np.zeros_like(w), number(len(y)))
        done = descend_sparse(columns, squares, l1, l2, positive, orders, w, residual, tol, sweeps)
        np.testing.assert_allclose(residual, y - X @ w, atol=100 * np.finfo(X.dtype).eps)
    return w, done


@pytest.mark.kernels
@pytest.mark.parametrize("kind", ["dense", "gram", "sparse"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("positive", [False, True])
def test_sweeps_are_those_of_the_twin(kind, dtype, positive):
    X, y = (a.astype(dtype) for a in values(15, 4, 1, seed=3))
    y, w = y[:, 0], np.array([0.3, -0.2, 0.0, 1.0], dtype)
    found, done = swept(kind, X, y, w, 1.5, 0.7, positive, ORDERS, 5)
    wanted = reference.coordinate_sweeps(X, y, w, 1.5, 0.7, positive, ORDERS, 5)
    assert done == 5
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-4 if dtype == "float32" else 1e-12, atol=1e-6)


@pytest.mark.kernels
def test_sparse_columns_are_centred_without_being_made_dense():
    X, y = regression(20, 4, mean=0.0)
    X, weights = thinned(X), np.linspace(0.5, 2, 20)
    roots = np.sqrt(weights)
    means = np.average(X, axis=0, weights=weights)
    y = roots * (y - np.average(y, weights=weights))
    centred = roots[:, None] * (X - means)
    raw = sp.csc_array(roots[:, None] * X)
    columns = SparseColumns(raw.data, raw.indices, raw.indptr, means, weights.sum())
    w, squares = np.zeros(4), (centred**2).sum(axis=0)
    descend_sparse(columns, squares, 0.3, 0.1, False, ORDERS[:2], w, y.copy(), 0.0, 4)
    np.testing.assert_allclose(
        w, reference.coordinate_sweeps(centred, y, np.zeros(4), 0.3, 0.1, False, ORDERS[:2], 4), rtol=1e-12
    )


@pytest.mark.kernels
def test_a_kernel_stops_when_nothing_moves():
    X, y = values(15, 4, 1, seed=3)
    w = np.zeros(4)
    orders, squares = np.arange(4)[None], (X * X).sum(axis=0)
    residual = y[:, 0].copy()
    done = descend(np.asfortranarray(X).T, squares, 0.1, 0.0, False, orders, w, residual, 1e-10, 1000)
    assert 1 < done < 1000
    assert descend(np.asfortranarray(X).T, squares, 0.1, 0.0, False, orders, w, residual, 1e-9, 9) == 1
    assert descend(np.asfortranarray(X).T, squares, 0.1, 0.0, False, orders[:, :0], w, residual, 0.0, 9) == 1


# --- the gap ----------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.sampled_from([(2.0, 0.0), (2.0, 3.0), (0.0, 3.0)]), st.booleans())
def test_the_gap_bounds_what_is_left(seed, penalties, positive):
    rng = np.random.default_rng(seed)
    X, y, w = rng.standard_normal((8, 3)), rng.standard_normal(8), rng.standard_normal(3)
    w = np.abs(w) if positive else w
    problem = Problem(DenseDesign(X), y, (X * X).sum(axis=0), *penalties, positive)
    residual = y - X @ w
    gap = problem.gap(w, residual, X.T @ residual)
    best = reference.coordinate_sweeps(X, y, w, *penalties, positive, [range(3)], 300)
    left = reference.penalized_squares(X, y, w, *penalties) - reference.penalized_squares(
        X, y, best, *penalties
    )
    assert gap >= left - 1e-9
    residual = y - X @ best
    assert abs(problem.gap(best, residual, X.T @ residual)) < 1e-8
    at_once = problem.may_be_active(w, y - X @ w, X.T @ (y - X @ w))
    assert not np.any(best[~at_once]), "a screened coefficient is 0 at the optimum"


# --- held to scikit-learn ---------------------------------------------------------------------------


@each_solver
@pytest.mark.parametrize("name", ["Lasso", "ElasticNet"])
@pytest.mark.parametrize("shape", [(60, 12), (20, 40)], ids=["tall", "wide"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("positive", [False, True])
def test_coefficients_are_scikit_learns(options, name, shape, fit_intercept, positive):
    X, Y = regression(*shape, targets=2)
    weights = np.random.default_rng(1).random(len(X)) + 0.1
    common = {"alpha": 0.1, "fit_intercept": fit_intercept, "positive": positive} | TIGHT
    theirs = getattr(linear_model, name)(**common).fit(X, Y, weights)
    ours = getattr(estimators, name)(**common, **options).fit(X, Y, weights)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-5)
    assert np.all(ours.dual_gap_ <= TIGHT["tol"] * (Y**2).mean(axis=0) * 2)


@each_solver
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("kind", [sp.csr_array, sp.csc_matrix, sp.coo_array])
def test_sparse_is_dense(options, fit_intercept, weighted, kind):
    X, y = regression()
    X, weights = thinned(X), np.random.default_rng(1).random(60) if weighted else None
    model = ElasticNet(alpha=0.05, fit_intercept=fit_intercept, **TIGHT, **options)
    dense = clone(model).fit(X, y, weights)
    sparse = model.fit(kind(X), y, weights)
    np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-6)
    np.testing.assert_allclose(sparse.intercept_, dense.intercept_, atol=1e-6)
    np.testing.assert_allclose(sparse.predict(kind(X)), dense.predict(X), atol=1e-5)
    assert sparse.sparse_coef_.nnz == np.count_nonzero(sparse.coef_)


def test_repeated_entries_of_a_sparse_matrix_count_together():
    X, y = regression()
    column = np.r_[np.arange(60), np.arange(60)]
    parts = np.concatenate([X / 4, X * 3 / 4]).T.ravel()
    twice = sp.csc_array((parts, np.tile(column, 12), np.arange(0, 120 * 12 + 1, 120)), shape=X.shape)
    np.testing.assert_allclose(
        hl.Lasso(alpha=0.1, **TIGHT).fit(twice, y).coef_, hl.Lasso(alpha=0.1, **TIGHT).fit(X, y).coef_
    )


def test_wrong_indices_of_a_sparse_matrix_never_reach_a_kernel():
    X, y = regression()
    broken = sp.csc_array(X)
    broken.indices[5] = 10**6
    with pytest.raises(ValueError, match="indices"):
        SparseDesign(broken, None, None)
    with pytest.raises(ValueError, match="indices"):
        hl.Lasso().fit(broken, y)


@each_solver
def test_float32_stays_float32(options):
    X, y = regression()
    small = hl.Lasso(alpha=0.1, **options).fit(X.astype(np.float32), y.astype(np.float32))
    large = hl.Lasso(alpha=0.1, **options).fit(X, y)
    assert small.coef_.dtype == small.intercept_.dtype == small.predict(X.astype("f4")).dtype == np.float32
    np.testing.assert_allclose(small.coef_, large.coef_, atol=2e-2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_solver
def test_a_tolerance_that_rounding_forbids_ends_with_a_warning(dtype, options):
    X, y = (a.astype(dtype) for a in regression())
    with pytest.warns(ConvergenceWarning, match="duality gap"):
        hl.Lasso(alpha=0.1, tol=0.0, max_iter=300, **options).fit(X, y)


# --- what an optimum is -----------------------------------------------------------------------------


@given(
    st.integers(0, 10**6), st.floats(0.01, 2), st.sampled_from([0.2, 0.5, 1.0]),
    st.sampled_from(list(SOLVERS.values())), st.booleans(),
)  # fmt: skip
def test_the_optimality_conditions_hold(seed, alpha, l1_ratio, options, positive):
    """0 is a subgradient of the objective: Xⱼᵀr/n − α(1−ρ)wⱼ is αρ sign(wⱼ), or at most αρ where wⱼ = 0."""
    X, y = regression(25, 6, seed=seed)
    model = ElasticNet(alpha, l1_ratio=l1_ratio, positive=positive, **TIGHT, **options).fit(X, y)
    w, residual = model.coef_, y - model.predict(X)
    slope = X.T @ residual / len(y) - alpha * (1 - l1_ratio) * w
    limit = alpha * l1_ratio
    assert abs(residual.mean()) < 1e-10
    np.testing.assert_allclose(slope[w != 0], limit * np.sign(w[w != 0]), atol=1e-5)
    assert np.all(slope <= limit + 1e-5)
    assert np.all(w >= 0) if positive else np.all(slope >= -limit - 1e-5)


@each_solver
def test_a_large_penalty_leaves_the_mean(options):
    X, y = regression()
    X_centred = X - X.mean(axis=0)
    largest = np.abs(X_centred.T @ (y - y.mean())).max() / len(y)
    model = hl.Lasso(alpha=1.0001 * largest, **options).fit(X, y)
    assert not model.coef_.any()
    assert model.intercept_ == pytest.approx(y.mean())
    assert hl.Lasso(alpha=0.99 * largest, **TIGHT, **options).fit(X, y).coef_.any()


@each_solver
def test_weights_are_repetition(options):
    X, y = regression(30, 5)
    times = np.random.default_rng(0).integers(0, 4, 30)
    weighted = ElasticNet(0.1, **TIGHT, **options).fit(X, y, times)
    repeated = ElasticNet(0.1, **TIGHT, **options).fit(np.repeat(X, times, 0), np.repeat(y, times))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-7)
    np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, atol=1e-7)
    halved = ElasticNet(0.1, **TIGHT, **options).fit(X, y, 0.5)
    np.testing.assert_allclose(halved.coef_, ElasticNet(0.1, **TIGHT).fit(X, y).coef_, atol=1e-7)


def test_the_proximal_gradient_is_its_slow_twin():
    X, y = regression(30, 5)
    Xc, yc = X - X.mean(axis=0), y - y.mean()
    found = ElasticNet(0.2, solver="proximal", **TIGHT).fit(X, y)
    np.testing.assert_allclose(
        found.coef_, reference.proximal_gradient(Xc, yc, 0.1 * 30, 0.1 * 30, 2000), atol=1e-7
    )


def test_momentum_pays():
    """FISTA on a design of condition 300: far fewer steps than the plain gradient needs."""
    X, y = regression(80, 10, mean=0.0)
    X = X * np.geomspace(1, 30, 10)
    model = hl.Lasso(0.01, tol=1e-10, max_iter=5000, solver="proximal").fit(X, y)
    Xc, yc = X - X.mean(axis=0), y - y.mean()
    plain = reference.proximal_gradient(Xc, yc, 0.01 * 80, 0, 2 * model.n_iter_)
    left, plainly = (
        reference.penalized_squares(Xc, yc, w, 0.01 * 80, 0) for w in (model.coef_, plain)
    )  # fmt: skip
    assert left < plainly


@each_solver
def test_constant_and_empty_columns_get_no_weight(options):
    X, y = regression()
    X[:, 4], X[:, 7] = 0.1, 0.0
    for data in (X, sp.csc_array(X)):
        model = ElasticNet(0.01, **TIGHT, **options).fit(data, y)
        assert model.coef_[4] == pytest.approx(0, abs=1e-9)
        assert model.coef_[7] == 0


@each_solver
def test_a_constant_target_is_the_intercept(options):
    X, _ = regression()
    model = hl.Lasso(0.1, **options).fit(X, np.full(60, 2.5))
    assert not model.coef_.any()
    assert model.intercept_ == 2.5


@each_solver
def test_without_a_penalty_it_is_least_squares(options):
    X, y = regression()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = hl.Lasso(0.0, tol=1e-15, max_iter=5000, **options).fit(X, y)
    np.testing.assert_allclose(found.coef_, hl.LinearRegression().fit(X, y).coef_, atol=1e-6)


# --- the estimator ----------------------------------------------------------------------------------


@each_solver
def test_a_warm_start_is_at_the_goal(options):
    X, y = regression()
    model = hl.Lasso(0.1, warm_start=True, tol=1e-8, max_iter=1000, **options).fit(X, y)
    assert model.n_iter_ > 0
    first = model.coef_
    assert model.fit(X, y).n_iter_ == 0
    np.testing.assert_array_equal(model.coef_, first)
    assert model.fit(X[:, :5], y).coef_.shape == (5,), "other data start anew"
    several = model.fit(X[:, :4], y).fit(X[:, :2], np.column_stack((y, -y)))
    np.testing.assert_allclose(several.coef_, clone(model).fit(X[:, :2], np.column_stack((y, -y))).coef_)


def test_random_orders_follow_from_the_seed():
    X, y = regression()
    options = {"alpha": 0.01, "selection": "random", "tol": 1e-6}
    first, again, other = (hl.Lasso(random_state=s, **options).fit(X, y).coef_ for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_too_few_iterations_warn():
    X, y = regression(20, 40)
    for options in SOLVERS.values():
        with pytest.warns(ConvergenceWarning, match="raise max_iter"):
            model = hl.Lasso(1e-3, max_iter=2, tol=1e-10, **options).fit(X, y)
        assert model.n_iter_ == 2


def test_the_data_are_not_touched():
    X, y = regression()
    kept = X.copy(), y.copy()
    for data in (X, np.asfortranarray(X)):
        hl.Lasso(0.1, copy_X=False).fit(data, y, np.ones(60))
        np.testing.assert_array_equal(data, kept[0])
    np.testing.assert_array_equal(y, kept[1])


@pytest.mark.parametrize(
    ("builtin", "name", "options"),
    [
        (ValueError, "alpha", {"alpha": -1.0}),
        (TypeError, "alpha", {"alpha": "1"}),
        (ValueError, "l1_ratio", {"l1_ratio": 1.5}),
        (TypeError, "precompute", {"precompute": np.eye(12)}),
        (TypeError, "fit_intercept", {"fit_intercept": "yes"}),
        (ValueError, "max_iter", {"max_iter": 0}),
        (ValueError, "tol", {"tol": -1e-4}),
        (ValueError, "selection", {"selection": "sorted"}),
        (ValueError, "solver", {"solver": "newton"}),
    ],
)
def test_wrong_parameters_are_refused(builtin, name, options):
    with refuses(builtin, name):
        ElasticNet(**options).fit(*regression())


def test_numbers_that_overflow_are_refused():
    X, y = regression()
    with np.errstate(all="ignore"), warnings.catch_warnings(), refuses(ValueError, "X"):
        warnings.simplefilter("ignore")
        hl.Lasso().fit(X * 1e200, y * 1e200)


def test_it_lives_in_pipelines_and_searches():
    X, y = regression()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), hl.Lasso()), {"lasso__alpha": [1e-3, 1e-1, 10.0]}, cv=3
    ).fit(X, y)
    assert search.best_params_["lasso__alpha"] < 10
    assert search.score(X, y) > 0.9
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))


CHECKED = [
    hl.Lasso(max_iter=5), ElasticNet(max_iter=5), ElasticNet(max_iter=5, solver="proximal"),
    hl.Lasso(max_iter=5, selection="random"), ElasticNet(max_iter=5, precompute=True),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # five sweeps, as scikit-learn's
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(CHECKED)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)
