"""`LinearRegression` and `Ridge`: closed forms of every shape and condition, and minibatches."""

import pickle
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn import linear_model
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import hotloop as hl
from helpers import LAYOUTS, as_memory_map, refuses
from hotloop.estimators import ElasticNet, _least_squares

SHAPES = {"tall": (60, 7), "wide": (12, 30), "square": (15, 15), "one column": (20, 1), "one row": (1, 3)}
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
each_intercept = pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", "origin"])
each_weighting = pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "equal"])
KINDS = {
    "LinearRegression": (hl.LinearRegression, linear_model.LinearRegression, {}),
    "Ridge": (hl.Ridge, linear_model.Ridge, {"alpha": 0.7}),
    "Ridge, an α a target": (hl.Ridge, linear_model.Ridge, {"alpha": np.array([0.1, 5.0])}),
}
each_kind = pytest.mark.parametrize(("ours", "theirs", "options"), KINDS.values(), ids=KINDS)


def regression(n=60, p=7, targets=2, seed=0):
    """Rows around 1, and linear targets with noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 1
    return X, X @ rng.standard_normal((p, targets)) + 0.1 * rng.standard_normal((n, targets)) + 3


def random_weights(n, seed=1):
    return np.random.default_rng(seed).random(n) + 0.1


def slow_ridge(X, Y, alpha, weights, fit_intercept):
    """The twin: the pseudo-inverse of all rows, those of √α · I and a column of ones for the intercept."""
    n, p = X.shape
    roots = np.sqrt(weights)[:, None]
    ones = np.ones((n, 1)) if fit_intercept else np.zeros((n, 1))
    # A column of ones is no feature: the solution of least norm is that of the centred problem.
    means = (weights @ X / weights.sum()) * fit_intercept
    rows = np.vstack([roots * (X - means), np.sqrt(alpha) * np.eye(p)])
    y_means = (weights @ Y / weights.sum()) * fit_intercept
    right = np.vstack([roots * (Y - y_means * ones), np.zeros((p, Y.shape[1]))])
    W = np.linalg.pinv(rows, rcond=1e-9) @ right
    return W, y_means - means @ W


# --- closed forms -----------------------------------------------------------------------------------


@each_kind
@each_shape
@each_intercept
@each_weighting
def test_coefficients_are_scikit_learns(ours, theirs, options, shape, fit_intercept, weighted):
    X, Y = regression(*shape)
    weights = random_weights(len(X)) if weighted else None
    a = ours(fit_intercept=fit_intercept, **options).fit(X, Y, weights)
    b = theirs(fit_intercept=fit_intercept, **options).fit(X, Y, weights)
    np.testing.assert_allclose(a.coef_, b.coef_, atol=1e-8)
    np.testing.assert_allclose(a.intercept_, b.intercept_, atol=1e-8)
    np.testing.assert_allclose(a.predict(X), b.predict(X), atol=1e-8)
    assert a.coef_.shape == b.coef_.shape
    assert np.shape(a.intercept_) == np.shape(b.intercept_)
    if theirs is linear_model.LinearRegression:
        assert a.rank_ == b.rank_
        np.testing.assert_allclose(a.singular_, b.singular_, atol=1e-6)


@pytest.mark.parametrize("solver", ["auto", "cholesky", "svd", "lsqr"])
@each_shape
@each_intercept
def test_every_solver_is_the_slow_twin(solver, shape, fit_intercept):
    X, Y = regression(*shape)
    weights = random_weights(len(X))
    model = hl.Ridge(0.5, solver=solver, fit_intercept=fit_intercept, tol=1e-12).fit(X, Y, weights)
    W, b = slow_ridge(X, Y, 0.5, weights, fit_intercept)
    np.testing.assert_allclose(model.coef_.T, W, atol=1e-8)
    np.testing.assert_allclose(np.broadcast_to(model.intercept_, 2), b, atol=1e-8)
    assert model.solver_ == ("cholesky" if solver == "auto" else solver)


@pytest.mark.parametrize("solver", ["auto", "svd", "lsqr"])
@each_intercept
@pytest.mark.parametrize("shape", [(30, 5), (6, 20)])
def test_a_singular_design_gives_the_solution_of_least_norm(solver, fit_intercept, shape):
    X, Y = regression(*shape)
    X = np.hstack([X, X[:, :2], X[:, :1] - X[:, 1:2], np.zeros((len(X), 1))])
    for model in (hl.LinearRegression(solver=solver, tol=1e-10), hl.Ridge(0.0, solver=solver, tol=1e-12)):
        model.set_params(fit_intercept=fit_intercept).fit(X, Y)
        W, b = slow_ridge(X, Y, 0.0, np.ones(len(X)), fit_intercept)
        np.testing.assert_allclose(model.coef_.T, W, atol=1e-6)
        np.testing.assert_allclose(np.broadcast_to(model.intercept_, 2), b, atol=1e-6)


def test_the_condition_chooses():
    X, Y = regression(50, 6)
    assert hl.LinearRegression().fit(X, Y).solver_ == "cholesky"
    assert hl.Ridge().fit(X, Y).solver_ == "cholesky"
    X[:, 5] = X[:, 0] + 1e-6 * X[:, 5]
    assert hl.LinearRegression().fit(X, Y).solver_ == "svd"
    assert hl.Ridge(1e-14).fit(X, Y).solver_ == "svd"
    assert hl.Ridge(1.0).fit(X, Y).solver_ == "cholesky"
    X[:, 5] = X[:, 0]
    assert hl.Ridge(0.0, solver="cholesky").fit(X, Y).coef_.shape == (2, 6)


@given(st.integers(0, 10**6), st.floats(0, 14), st.sampled_from([(40, 6), (6, 40)]))
def test_no_condition_spoils_the_fit(seed, exponent, shape):
    """With columns of condition 10^exponent the residual is still that of the best solution."""
    rng = np.random.default_rng(seed)
    U, _, Vt = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    X = U * np.logspace(0, -exponent, 6) @ Vt
    y = X @ rng.standard_normal(shape[1])
    model = hl.LinearRegression(fit_intercept=False, tol=1e-15).fit(X, y)
    assert np.linalg.norm(y - model.predict(X)) < 1e-12 * np.linalg.norm(y) * 10
    ridge = hl.Ridge(1e-20, fit_intercept=False).fit(X, y)
    assert np.linalg.norm(y - ridge.predict(X)) < 1e-8 * np.linalg.norm(y)


def test_refinement_wins_back_what_squaring_lost():
    """At κ = 3000 the normal equations alone lose seven digits; the coefficients keep eleven."""
    rng = np.random.default_rng(0)
    U, _, Vt = np.linalg.svd(rng.standard_normal((200, 8)), full_matrices=False)
    X, w = U * np.geomspace(1, 1 / 3000, 8) @ Vt, rng.standard_normal(8)
    model = hl.LinearRegression(fit_intercept=False).fit(X, X @ w)
    assert model.solver_ == "cholesky"
    np.testing.assert_allclose(model.coef_, w, atol=1e-11)
    model = hl.LinearRegression(fit_intercept=False).fit(X.T, X.T @ np.ones(200))
    assert model.solver_ == "cholesky"
    np.testing.assert_allclose(model.coef_, np.linalg.lstsq(X.T, X.T @ np.ones(200))[0], atol=1e-11)
    for data, alpha in ((X, 2e-7), (X.T, 2e-7)):
        y = data @ np.ones(data.shape[1])
        ridge = hl.Ridge(alpha, fit_intercept=False).fit(data, y)
        assert ridge.solver_ == "cholesky"
        exact = hl.Ridge(alpha, fit_intercept=False, solver="svd").fit(data, y)
        np.testing.assert_allclose(ridge.coef_, exact.coef_, atol=1e-11)


def test_a_large_mean_does_not_spoil_the_centred_products():
    X, Y = regression(200, 4)
    near = hl.LinearRegression().fit(X, Y)
    far = hl.LinearRegression().fit(X + 1e7, Y)
    np.testing.assert_allclose(far.coef_, near.coef_, atol=1e-7)


@given(st.integers(0, 10**6), st.sampled_from([(20, 4), (5, 9)]), st.booleans())
def test_weights_are_repetition(seed, shape, fit_intercept):
    X, Y = regression(*shape, seed=seed)
    times = np.random.default_rng(seed).integers(1, 4, len(X))
    for model in (
        hl.LinearRegression(fit_intercept=fit_intercept),
        hl.Ridge(0.3, fit_intercept=fit_intercept),
    ):
        weighted = clone(model).fit(X, Y, times)
        repeated = model.fit(np.repeat(X, times, 0), np.repeat(Y, times, 0))
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-6)
        np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, atol=1e-6)


@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.floats(1.01, 100), st.sampled_from([(20, 4), (5, 9)]))
def test_ridge_shrinks(seed, alpha, factor, shape):
    X, Y = regression(*shape, seed=seed)
    less, more = (hl.Ridge(a).fit(X, Y[:, 0]) for a in (alpha, alpha * factor))
    assert np.linalg.norm(more.coef_) <= np.linalg.norm(less.coef_) * (1 + 1e-9)
    assert less.score(X, Y[:, 0]) >= more.score(X, Y[:, 0]) - 1e-9


@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.sampled_from([(20, 4), (5, 9)]))
def test_ridges_gradient_is_0(seed, alpha, shape):
    X, Y = regression(*shape, seed=seed)
    model = hl.Ridge(alpha).fit(X, Y)
    residual = Y - model.predict(X)
    np.testing.assert_allclose(X.T @ residual, alpha * model.coef_.T, atol=1e-7)
    np.testing.assert_allclose(residual.sum(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize("name", ["LinearRegression", "Ridge"])
@pytest.mark.parametrize("shape", [(40, 5), (6, 12)])
def test_nonnegative_coefficients_are_scikit_learns(name, shape):
    X, Y = regression(*shape)
    tight = {"tol": 1e-12} if name == "Ridge" else {}
    ours = getattr(hl, name)(positive=True).fit(X, Y, random_weights(len(X)))
    theirs = getattr(linear_model, name)(positive=True, **tight).fit(X, Y, random_weights(len(X)))
    assert np.all(ours.coef_ >= 0)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-4)


# --- kinds of data ----------------------------------------------------------------------------------


@each_kind
@each_intercept
@each_weighting
@pytest.mark.parametrize("kind", [sp.csr_array, sp.csc_matrix, sp.coo_array])
def test_sparse_is_dense(ours, theirs, options, fit_intercept, weighted, kind):
    X, Y = regression(80, 9)
    X = X * (np.random.default_rng(3).random(X.shape) < 0.3)
    weights = random_weights(80) if weighted else None
    model = ours(fit_intercept=fit_intercept, **options)
    dense, sparse = clone(model).fit(X, Y, weights), model.fit(kind(X), Y, weights)
    np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-9)
    np.testing.assert_allclose(sparse.intercept_, dense.intercept_, atol=1e-9)
    np.testing.assert_allclose(sparse.predict(kind(X)), dense.predict(X), atol=1e-9)


@pytest.mark.parametrize("model", [hl.LinearRegression(solver="sgd"), hl.Ridge(solver="sgd")], ids=str)
@pytest.mark.parametrize("kind", [sp.csr_array, sp.csc_matrix, sp.coo_array])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_sparse_minibatches_are_dense_ones(model, kind, dtype):
    X, Y = scaled_regression(80)
    X = (3 * X * (np.random.default_rng(3).random(X.shape) < 0.5)).astype(dtype)
    model = clone(model).set_params(tol=1e-2, random_state=0, batch_size=16)
    dense, sparse = clone(model).fit(X, Y, random_weights(80)), model.fit(kind(X), Y, random_weights(80))
    np.testing.assert_array_equal(sparse.coef_, dense.coef_)
    dense.partial_fit(X, Y)
    sparse.partial_fit(kind(X), Y)
    np.testing.assert_array_equal(sparse.coef_, dense.coef_)
    assert sparse.coef_.dtype == (np.float32 if dtype == "float32" else np.float64)


@each_kind
def test_wide_sparse_data_are_only_multiplied_by(ours, theirs, options, monkeypatch):
    X, Y = regression(30, 20)
    X = X * (np.random.default_rng(3).random(X.shape) < 0.3)
    wanted = ours(**options).fit(X, Y)
    monkeypatch.setattr(_least_squares, "SMALL_GRAM", 10)
    monkeypatch.setattr(_least_squares, "SMALL_DENSE", 10)
    found = ours(tol=1e-13, **options).fit(sp.csr_array(X), Y, np.ones(30))
    assert found.solver_ == "lsqr"
    assert np.all(found.n_iter_ > 1)
    np.testing.assert_allclose(found.coef_, wanted.coef_, atol=1e-7)


def test_means_that_swamp_a_sparse_gram_are_noticed(monkeypatch):
    """XᵀX − n m mᵀ would be rounding errors; LSQR and the decomposition centre first."""
    X, Y = regression(60, 4)
    far = sp.csr_array(X + 1e6)
    assert hl.Ridge(1.0).fit(far, Y).solver_ == "svd"
    np.testing.assert_allclose(hl.Ridge(1.0).fit(far, Y).coef_, hl.Ridge(1.0).fit(X, Y).coef_, atol=1e-6)
    assert hl.LinearRegression().fit(far, Y).solver_ == "svd"
    monkeypatch.setattr(_least_squares, "SMALL_DENSE", 10)
    assert hl.Ridge(1.0).fit(far, Y).solver_ == "lsqr"
    assert hl.LinearRegression().fit(far, Y).solver_ == "lsqr"


@each_kind
@pytest.mark.parametrize("shape", [(60, 7), (12, 30)])
def test_float32_stays_float32(ours, theirs, options, shape):
    X, Y = regression(*shape)
    small = ours(**options).fit(X.astype(np.float32), Y.astype(np.float32), random_weights(len(X)))
    large = ours(**options).fit(X, Y, random_weights(len(X)))
    assert small.coef_.dtype == small.intercept_.dtype == np.float32
    assert small.predict(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(small.coef_, large.coef_, atol=2e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("solver", ["auto", "sgd"])
def test_the_layout_of_the_data_does_not_matter(layout, solver, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (40, 4)).astype(np.float32)
    y = X @ [1.0, -2.0, 0.5, 0.0] + 1
    model = hl.LinearRegression(solver=solver, random_state=0)
    given = clone(model).fit(LAYOUTS[layout](X, tmp_path / "X"), y)
    np.testing.assert_allclose(given.coef_, [1, -2, 0.5, 0], atol=1e-5 if solver == "auto" else 0.1)


@pytest.mark.parametrize("flat", [True, False])
def test_the_shape_of_the_targets_is_kept(flat):
    X, Y = regression(targets=1)
    y = Y[:, 0] if flat else Y
    for model in (hl.LinearRegression(), hl.Ridge(), hl.LinearRegression(solver="sgd", tol=1e-3)):
        model.fit(X, y)
        assert model.coef_.shape == ((7,) if flat else (1, 7))
        assert np.shape(model.intercept_) == (() if flat else (1,))
        assert model.predict(X).shape == y.shape


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_data_are_not_touched(order):
    X, Y = regression()
    X, kept = np.array(X, order=order), X.copy()
    kept_Y = Y.copy()
    for solver in ("auto", "svd", "lsqr"):
        hl.LinearRegression(copy_X=False, solver=solver).fit(X, Y, random_weights(60))
    for fit_intercept in (True, False):
        hl.Ridge(copy_X=False, solver="svd", fit_intercept=fit_intercept).fit(X, Y)
        hl.LinearRegression(copy_X=False, solver="svd", fit_intercept=fit_intercept).fit(X, Y)
        hl.Ridge(copy_X=False, positive=True, fit_intercept=fit_intercept).fit(X, Y)
    np.testing.assert_array_equal(X, kept)
    np.testing.assert_array_equal(Y, kept_Y)


@pytest.mark.parametrize(
    "model",
    [
        hl.LinearRegression(),
        hl.Ridge(),
        hl.LinearRegression(solver="sgd", max_iter=2, tol=1.0),
        hl.LinearRegression(solver="sgd", batch_size=32, max_iter=2, tol=1.0, optimizer=hl.SGD(0.01)),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_memory_map_is_never_copied_whole(model, tmp_path):
    X = np.random.default_rng(0).standard_normal((100_000, 40), np.float32)  # 16 MB
    y = X[:, 0] - X[:, 1]
    mapped = as_memory_map(X, tmp_path / "X")
    model.fit(mapped[:100], y[:100])  # imports and compiles
    tracemalloc.start()
    model.fit(mapped, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.75 * X.nbytes
    assert model.score(mapped, y) > 0.9


# --- minibatches ------------------------------------------------------------------------------------


def scaled_regression(n=400, targets=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 5))
    return X, X @ rng.standard_normal((5, targets)) * 50 + 0.5 * rng.standard_normal((n, targets)) + 1000


OPTIMIZERS = {
    "default": None, "sgd": hl.SGD(0.05), "momentum": hl.SGD(hl.InverseSqrt(0.02, 50), momentum=0.9),
    "rmsprop": hl.RMSprop(hl.InverseSqrt(0.01, 50)), "nadam": hl.NAdam(hl.InverseSqrt(0.02, 100)),
}  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@each_intercept
@pytest.mark.parametrize("batch_size", [32, None])
def test_minibatches_come_to_the_closed_form(optimizer, fit_intercept, batch_size):
    X, Y = scaled_regression()
    Y = Y if fit_intercept else Y - 1000
    model = hl.LinearRegression(
        solver="sgd", optimizer=optimizer, batch_size=batch_size, fit_intercept=fit_intercept,
        random_state=0, tol=1e-8,
    ).fit(X, Y)  # fmt: skip
    exact = hl.LinearRegression(fit_intercept=fit_intercept).fit(X, Y)
    assert model.solver_ == "sgd"
    assert 5 < model.n_iter_ <= 1000
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=1.0)
    assert model.score(X, Y) > 0.999


def test_all_rows_at_once_come_as_near_as_one_likes():
    X, Y = scaled_regression()
    weights = random_weights(400)
    model = hl.LinearRegression(solver="sgd", optimizer=hl.SGD(0.1), batch_size=None, tol=1e-15)
    exact = hl.LinearRegression().fit(X, Y, weights)
    np.testing.assert_allclose(model.fit(X, Y, weights).coef_, exact.coef_, atol=1e-4)
    np.testing.assert_allclose(model.intercept_, exact.intercept_, atol=1e-4)


def test_the_same_seed_gives_the_same_coefficients():
    X, Y = scaled_regression()
    first, again, other = (
        hl.LinearRegression(solver="sgd", random_state=s, tol=1e-4).fit(X, Y).coef_ for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_too_few_epochs_warn():
    X, Y = scaled_regression()
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        model = hl.LinearRegression(solver="sgd", max_iter=3).fit(X, Y)
    assert model.n_iter_ == 3


def test_partial_fits_are_one_training():
    """The optimizer keeps its state: passes one by one are the epochs of one fit."""
    X, Y = scaled_regression()
    options = {"solver": "sgd", "random_state": 0, "optimizer": hl.Adam(0.01)}
    with pytest.warns(ConvergenceWarning):
        together = hl.LinearRegression(max_iter=4, **options).fit(X, Y)
    alone = hl.LinearRegression(**options)
    for k in range(4):
        alone.partial_fit(X, Y)
        if k == 1:
            alone = pickle.loads(pickle.dumps(alone))  # with the optimizer's state
    np.testing.assert_array_equal(alone.coef_, together.coef_)
    together.partial_fit(X, Y)
    alone.partial_fit(X, Y)
    np.testing.assert_array_equal(alone.coef_, together.coef_)


@pytest.mark.parametrize("several", [False, True], ids=["one target", "several"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_partial_fit_goes_on_from_another_solver(several, fit_intercept):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 5))
    Y = X @ rng.standard_normal((5, 2)) + [[3.0, -2.0]]
    Y = Y if several else Y[:, 0]
    model = hl.Ridge(1e-3, fit_intercept=fit_intercept).fit(X, Y)
    coef, intercept = model.coef_.copy(), np.copy(model.intercept_)
    model.set_params(solver="sgd", optimizer=hl.SGD(0.0)).partial_fit(X[:50], Y[:50])
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-12)
    np.testing.assert_allclose(model.intercept_, intercept, rtol=1e-12)
    other = hl.Ridge().fit(X, Y).set_params(solver="sgd")
    with refuses(ValueError, "y"):
        other.partial_fit(X, np.column_stack((Y, Y, Y)))


def test_partial_fit_goes_on_with_other_rows():
    X, Y = scaled_regression(4000)
    model = hl.LinearRegression(solver="sgd", optimizer=hl.Adam(0.02), batch_size=16, random_state=0)
    for _ in range(4):
        for rows in np.split(np.arange(4000), 10):
            model.partial_fit(X[rows], Y[rows])
    assert model.n_iter_ == 1
    assert model.score(X, Y) > 0.99
    with pytest.raises(ValueError, match="4 features"):
        model.partial_fit(X[:, :4], Y)
    with refuses(ValueError, "y"):
        model.partial_fit(X, Y[:, 0])


def test_partial_fit_needs_minibatches():
    assert not hasattr(hl.LinearRegression(), "partial_fit")
    assert not hasattr(hl.Ridge(), "partial_fit")
    X, Y = regression()
    model = hl.LinearRegression(solver="sgd").partial_fit(X, Y).set_params(solver="auto").fit(X[:, :3], Y)
    assert model.set_params(solver="sgd").partial_fit(X[:, :3], Y).coef_.shape == (2, 3), "it began anew"


@pytest.mark.parametrize("n", [40, 200])
def test_ridge_by_minibatches(n):
    X, Y = scaled_regression(n)
    model = hl.Ridge(20.0, solver="sgd", optimizer=hl.SGD(0.05), batch_size=None, tol=1e-15)
    if not hasattr(hl, "L2"):
        with refuses(ValueError, "solver"):
            model.fit(X, Y)
        return
    np.testing.assert_allclose(model.fit(X, Y).coef_, hl.Ridge(20.0).fit(X, Y).coef_, atol=1e-4)
    weights = random_weights(n)
    np.testing.assert_allclose(
        model.fit(X, Y, weights).coef_, hl.Ridge(20.0).fit(X, Y, weights).coef_, atol=1e-4
    )


def test_ridge_without_a_penalty_by_minibatches():
    X, Y = scaled_regression()
    model = hl.Ridge(0.0, solver="sgd", optimizer=hl.SGD(0.1), batch_size=None, tol=1e-15).fit(X, Y)
    np.testing.assert_allclose(model.coef_, hl.LinearRegression().fit(X, Y).coef_, atol=1e-4)


def test_training_that_diverges_says_so():
    X, Y = scaled_regression()
    with pytest.raises(hl.errors.DivergenceError):
        hl.LinearRegression(solver="sgd", optimizer=hl.SGD(1e9)).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match="worse than none"):
        hl.LinearRegression(solver="sgd", optimizer=hl.SGD(1.5), max_iter=3).fit(X, Y)


# --- the estimators ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("builtin", "name", "model"),
    [
        (ValueError, "solver", hl.LinearRegression(solver="cholesky")),
        (TypeError, "solver", hl.Ridge(solver=None)),
        (ValueError, "tol", hl.LinearRegression(tol=-1)),
        (TypeError, "fit_intercept", hl.Ridge(fit_intercept=1)),
        (ValueError, "max_iter", hl.Ridge(max_iter=0)),
        (TypeError, "optimizer", hl.LinearRegression(solver="sgd", optimizer="adam")),
        (ValueError, "batch_size", hl.LinearRegression(solver="sgd", batch_size=0)),
        (ValueError, "solver", hl.Ridge(positive=True, solver="svd")),
        (ValueError, "alpha", hl.Ridge(-1.0)),
        (ValueError, "alpha", hl.Ridge([1.0, 2.0, 3.0])),
        (ValueError, "alpha[1]", hl.Ridge([1.0, -2.0])),
        (ValueError, "alpha", hl.Ridge([1.0, 2.0], solver="sgd")),
    ],
)
def test_wrong_parameters_are_refused(builtin, name, model):
    with refuses(builtin, name):
        model.fit(*regression())


@pytest.mark.parametrize("model", [hl.LinearRegression(), hl.Ridge(solver="sgd"), hl.Lasso()], ids=str)
def test_sparse_targets_are_refused(model):
    with refuses(TypeError, "y"):
        model.fit(np.eye(3), sp.csr_array(np.ones((3, 1))))


@pytest.mark.parametrize(
    "weights", [-np.ones(60), np.zeros(60), np.ones(59), np.full(60, np.nan), ["a"] * 60]
)
@pytest.mark.parametrize("kind", [hl.LinearRegression, hl.Ridge, hl.Lasso])
def test_wrong_weights_are_refused(weights, kind):
    with refuses(TypeError if weights[0] == "a" else ValueError, "sample_weight"):
        kind().fit(*regression(), weights)


@pytest.mark.parametrize("kind", [hl.LinearRegression, hl.Ridge, hl.Lasso, ElasticNet])
def test_before_a_fit_there_is_nothing(kind):
    with pytest.raises(NotFittedError):
        kind().predict([[1.0]])


def test_they_live_in_pipelines_and_searches():
    X, Y = regression()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), hl.Ridge()), {"ridge__alpha": [0.01, 1.0, 1e5]}, cv=3
    ).fit(X, Y)
    assert search.best_params_["ridge__alpha"] < 1e5
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))
    rates = GridSearchCV(
        hl.LinearRegression(solver="sgd", tol=1e-3, random_state=0),
        {"optimizer": [hl.SGD(0.0), hl.Adam(0.05)]},
        cv=3,
    ).fit(X, Y)
    assert rates.best_params_["optimizer"] == hl.Adam(0.05)


CHECKED = [
    hl.LinearRegression(), hl.LinearRegression(positive=True), hl.LinearRegression(solver="svd"),
    hl.LinearRegression(solver="lsqr", tol=1e-12), hl.LinearRegression(solver="sgd", max_iter=100, tol=1e-4),
    hl.Ridge(), hl.Ridge(solver="cholesky"), hl.Ridge(solver="svd"), hl.Ridge(positive=True),
    hl.Ridge(solver="lsqr", tol=1e-12),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(CHECKED)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)
