"""The multi-layer perceptrons: scikit-learn's steps, attributes and checks, and what goes beyond them."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit
from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import parametrize_with_checks

import hotloop as hl
from helpers import refuses
from hotloop.data.staging import SparseRows

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

C, R = "MLPClassifier", "MLPRegressor"


def data(kind, n=None):
    """Standardised rows, and labels or standardised values."""
    X, y = {C: load_iris, R: load_diabetes, "two": load_breast_cancer}[kind](return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(X))[:n]
    return scale(X)[rows], (scale(y) if kind == R else y)[rows]


def both(kind, **options):
    """Ours and theirs, alike, fitted to the same data."""
    X, y = data(kind)
    name = R if kind == R else C
    options = {"random_state": 0, "max_iter": 25} | options
    return [getattr(module, name)(**options).fit(X, y) for module in (hl, theirs)]


SETTINGS = [
    {},
    {"solver": "sgd"},
    {"solver": "sgd", "nesterovs_momentum": False, "batch_size": 32, "alpha": 0.1},
    {"solver": "sgd", "momentum": 0.0, "shuffle": False},
    {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2, "batch_size": 7},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.01, "n_iter_no_change": 2, "max_iter": 60},
    {"activation": "logistic", "hidden_layer_sizes": (20, 10), "alpha": 1.0, "batch_size": 32},
    {"activation": "tanh", "beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1, "hidden_layer_sizes": 8},
    {"activation": "identity", "hidden_layer_sizes": (), "learning_rate_init": 0.01},
    {"early_stopping": True, "validation_fraction": 0.2, "n_iter_no_change": 3, "tol": 1e-2},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", [C, R, "two"])
def test_minibatches_take_scikit_learn_s_steps(kind, settings):
    ours, their = both(kind, **settings)
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(ours, name), getattr(their, name), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-9)
    np.testing.assert_allclose(ours.loss_curve_, their.loss_curve_, rtol=1e-9)
    for name in ("loss_", "best_loss_", "n_iter_", "t_", "n_layers_", "n_outputs_"):
        if getattr(their, name) is None:
            assert getattr(ours, name) is None, name
        else:
            assert getattr(ours, name) == pytest.approx(getattr(their, name), rel=1e-9), name
    assert ours.out_activation_ == their.out_activation_
    if settings.get("early_stopping"):
        np.testing.assert_allclose(ours.validation_scores_, their.validation_scores_, rtol=1e-9)
        assert ours.best_validation_score_ == pytest.approx(their.best_validation_score_)
    X = data(kind)[0]
    np.testing.assert_allclose(ours.predict(X), their.predict(X), atol=1e-9)
    if kind != R:
        np.testing.assert_allclose(ours.predict_proba(X), their.predict_proba(X), atol=1e-9)
        np.testing.assert_allclose(ours.predict_log_proba(X), their.predict_log_proba(X), rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", [C, R, "two"])
def test_lbfgs_minimises_scikit_learn_s_objective(kind, weighted):
    X, y = data(kind)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(X)) if weighted else None
    settings = {
        "solver": "lbfgs",
        "alpha": 0.3,
        "hidden_layer_sizes": (6,),
        "random_state": 0,
        "max_iter": 40,
    }
    name = R if kind == R else C
    ours, their = (getattr(m, name)(**settings).fit(X, y, weights) for m in (hl, theirs))
    assert ours.loss_ == pytest.approx(their.loss_, rel=1e-6)
    assert ours.n_iter_ == their.n_iter_
    np.testing.assert_allclose(ours.coefs_[0], their.coefs_[0], atol=1e-5)
    assert ours.loss_curve_[-1] == ours.loss_
    assert ours.t_ == 0


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_poisson_and_several_targets(solver):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3))
    counts, values = rng.poisson(np.exp(X[:, 0])), X @ rng.standard_normal((3, 2))
    if not hasattr(theirs.MLPRegressor(), "loss"):
        pytest.skip("this scikit-learn has no losses to choose from")
    settings = {"solver": solver, "random_state": 0, "max_iter": 20, "hidden_layer_sizes": 5}
    ours, their = (m.MLPRegressor("poisson", **settings).fit(X, counts) for m in (hl, theirs))
    np.testing.assert_allclose(ours.predict(X), their.predict(X), rtol=1e-6)
    assert ours.loss_ == pytest.approx(their.loss_, rel=1e-6)
    assert ours.out_activation_ == "exp"
    ours, their = (m.MLPRegressor(**settings).fit(X, values) for m in (hl, theirs))
    assert ours.predict(X).shape == (80, 2)
    if solver == "sgd":  # scikit-learn's L-BFGS gets a value and a gradient that do not belong together
        np.testing.assert_allclose(ours.predict(X), their.predict(X), atol=1e-9)
        np.testing.assert_allclose(ours.loss_curve_, their.loss_curve_, rtol=1e-9)


def test_several_labels():
    X, Y = make_multilabel_classification(60, n_features=5, n_classes=3, random_state=0)
    X = scale(X)
    settings = {"random_state": 0, "max_iter": 50, "learning_rate_init": 0.01}
    ours, their = (m.MLPClassifier(**settings).fit(X, Y) for m in (hl, theirs))
    np.testing.assert_allclose(ours.predict_proba(X), their.predict_proba(X), atol=1e-9)
    np.testing.assert_array_equal(ours.predict(X), their.predict(X))
    assert ours.score(X, Y) == their.score(X, Y)
    from_sparse = hl.MLPClassifier(**settings).fit(X, sparse.csr_matrix(Y))
    np.testing.assert_array_equal(from_sparse.coefs_[0], ours.coefs_[0])
    early = hl.MLPClassifier(early_stopping=True, **settings).fit(X, Y)
    assert len(early.validation_scores_) == early.n_iter_
    step = hl.MLPClassifier(random_state=0).partial_fit(X, Y, classes=[0, 1, 2])
    assert step.predict(X).shape == Y.shape


@pytest.mark.parametrize("kind", [C, R])
def test_partial_fit_and_warm_start_go_on_like_scikit_learn(kind):
    X, y = data(kind)
    for solver in ("sgd", "adam"):
        options = {"solver": solver, "random_state": 3, "batch_size": 32, "learning_rate": "invscaling"}
        pair = [getattr(m, kind)(**options) for m in (hl, theirs)]
        for part in (slice(0, 80), slice(80, None), slice(0, 50)):
            extra = {"classes": np.unique(y)} if kind == C else {}
            for model in pair:
                model.partial_fit(X[part], y[part], **extra)
        np.testing.assert_allclose(pair[0].coefs_[0], pair[1].coefs_[0], atol=1e-9)
        assert (pair[0].t_, pair[0].n_iter_) == (pair[1].t_, pair[1].n_iter_)
        pair = [getattr(m, kind)(warm_start=True, max_iter=4, **options) for m in (hl, theirs)]
        for model in pair * 3:
            model.fit(X, y)
        np.testing.assert_allclose(pair[0].coefs_[0], pair[1].coefs_[0], atol=1e-9)
        np.testing.assert_allclose(pair[0].loss_curve_, pair[1].loss_curve_, rtol=1e-9)


def test_partial_fit_goes_on_after_a_pickle():
    X, y = data(C)
    model = hl.MLPClassifier(random_state=0, dropout=0.2, batch_normalization=True)
    model.partial_fit(X, y, classes=[0, 1, 2])
    other = pickle.loads(pickle.dumps(model))
    for one in (model, other, copy.deepcopy(other)):
        one.partial_fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], other.coefs_[0])


def test_a_warm_start_goes_on_with_lbfgs():
    X, y = data(C)
    model = hl.MLPClassifier(solver="lbfgs", warm_start=True, max_iter=10, random_state=0).fit(X, y)
    before = model.loss_
    assert model.fit(X, y).loss_ < before
    with refuses(ValueError, "y"):
        model.fit(X, y + (y == 2))
    model.set_params(hidden_layer_sizes=7)
    with refuses(ValueError, "warm_start, partial_fit"):
        model.fit(X, y)


def test_a_warm_start_goes_on_with_another_loss():
    X, y = data(C)
    model = hl.MLPClassifier(warm_start=True, max_iter=3, random_state=0).fit(X, y)
    before = model.coefs_[0].copy()
    smooth = hl.losses.SoftmaxCrossEntropy(label_smoothing=0.3)
    model.set_params(loss=smooth, max_iter=300, learning_rate_init=0.01).fit(X, y)
    assert (model.coefs_[0] != before).any()
    # The loss that is left is the smoothing's: −Σ q log q with q of 0.8, 0.1 and 0.1.
    least = -(0.8 * np.log(0.8) + 2 * 0.1 * np.log(0.1))
    assert least < model.loss_ < least + 0.1
    one = hl.MLPClassifier(warm_start=True, max_iter=3).fit(X, y == 0)
    assert one.out_activation_ == "logistic"
    before = one.model_.theta.copy()
    with refuses(ValueError, "loss"):
        one.set_params(loss="softmax_cross_entropy").fit(X, y == 0)
    np.testing.assert_array_equal(one.model_.theta, before)
    X, y = data(R)
    model = hl.MLPRegressor(warm_start=True, max_iter=3, random_state=0).fit(X, y)
    model.set_params(loss="mae", max_iter=300).fit(X, y)
    assert model.loss_ == pytest.approx(np.abs(model.predict(X) - y).mean(), rel=0.2)
    with refuses(ValueError, "loss"):
        model.set_params(loss="gaussian_nll").fit(X, y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(("kind", "loss"), [(C, hl.losses.SoftmaxCrossEntropy(0.3)), (R, "huber")])
def test_the_best_of_another_loss_stops_nothing(kind, loss, solver):
    X, y = data(kind)
    options = {"solver": solver, "max_iter": 400, "learning_rate_init": 0.01, "random_state": 0}
    model = getattr(hl, kind)(warm_start=True, **options).fit(X, y)
    done, factor = len(model.loss_curve_), 100 if kind == R else 1
    model.set_params(loss=loss).fit(X, y * factor if kind == R else y)
    assert model.n_iter_ > 5
    assert model.best_loss_ == min(model.loss_curve_[done:])


def test_a_refused_fit_leaves_the_estimator_as_it_was():
    X, y = data(R)
    model = hl.MLPRegressor(warm_start=True, max_iter=5, random_state=0).fit(X, y)
    before, state = model.predict(X), model.__dict__.copy()
    for change, error, refused in (
        ({}, "y: ", lambda: model.fit(X, -np.abs(y))),
        ({}, "sample_weight: ", lambda: model.fit(X, np.abs(y), sample_weight=-np.ones(len(y)))),
        ({"hidden_layer_sizes": (7,)}, "warm_start, partial_fit: ", lambda: model.fit(X, np.abs(y))),
        ({"hidden_layer_sizes": (7,)}, "warm_start, partial_fit: ", lambda: model.partial_fit(X, np.abs(y))),
        ({}, "X has 1 features", lambda: model.fit(X, np.abs(y), X_val=X[:, :1], y_val=y)),
        ({"solver": "lbfgs"}, "y: ", lambda: model.fit(X, -np.abs(y))),
        ({"warm_start": False}, "y: ", lambda: model.fit(X, -np.abs(y))),
    ):
        with pytest.raises(ValueError, match=f"^{error}"):
            model.set_params(loss="poisson", **change) and refused()
        np.testing.assert_array_equal(model.predict(X), before)
        model.set_params(loss="squared_error", **{name: state[name] for name in change})
        assert model.__dict__ == state
    X, y = data(C)
    model = hl.MLPClassifier(max_iter=5).fit(X, y)
    with refuses(ValueError, "sample_weight"):
        model.fit(X, y + 7, sample_weight=-np.ones(len(y)))
    assert set(model.predict(X)) <= {0, 1, 2}


def test_a_refused_first_fit_leaves_nothing_behind():
    X, y = data(C)
    model = hl.MLPClassifier(early_stopping=True)
    with refuses(ValueError, "early_stopping"):
        model.partial_fit(X, y, classes=[0, 1, 2])
    with refuses(ValueError, "sample_weight"):
        model.fit(X, y, sample_weight=-np.ones(len(y)))
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.set_params(early_stopping=False).partial_fit(X, y, classes=[0, 1, 2, 3])
    assert model.n_outputs_ == 4


def test_a_best_of_the_past_is_not_restored():
    X, y = data(C)
    model = hl.MLPClassifier(warm_start=True, early_stopping=True, max_iter=5, random_state=0).fit(X, y)
    before = model.coefs_[0].copy()
    model.set_params(early_stopping=False).fit(X, y)
    assert (model.coefs_[0] != before).any()
    assert model.best_loss_ == min(model.loss_curve_[5:])


@pytest.mark.parametrize("kind", [C, R])
def test_weights_are_views(kind):
    X, y = data(kind)
    model = getattr(hl, kind)(max_iter=2).fit(X, y)
    model.coefs_[0][:] = 0
    assert not model.model_.parameters()["dense_0/kernel"].any()
    assert [w.shape for w in model.coefs_] == [(X.shape[1], 100), (100, model.n_outputs_)]
    assert [b.shape for b in model.intercepts_] == [(100,), (model.n_outputs_,)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [C, R])
def test_dtypes(kind, dtype):
    X, y = data(kind)
    for solver in ("adam", "lbfgs"):
        model = getattr(hl, kind)(solver=solver, max_iter=5, random_state=0).fit(X.astype(dtype), y)
        assert model.coefs_[0].dtype == dtype
        asked = getattr(hl, kind)(solver=solver, max_iter=5, random_state=0, dtype=dtype).fit(X, y)
        np.testing.assert_allclose(asked.coefs_[0], model.coefs_[0], atol=1e-5)
        if kind == R:
            assert model.predict(X).dtype == dtype
        else:
            assert model.predict_proba(X).dtype == dtype


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("early", [False, True])
def test_sparse_is_dense(solver, early):
    X, y = data(C)
    X = np.where(np.abs(X) < 0.7, 0, X).astype(np.float32)
    options = {"solver": solver, "early_stopping": early, "max_iter": 10, "random_state": 0, "batch_size": 32}
    dense = hl.MLPClassifier(**options).fit(X, y)
    for matrix in (sparse.csr_matrix(X), sparse.csc_array(X), sparse.coo_array(X)):
        model = hl.MLPClassifier(**options).fit(matrix, y)
        np.testing.assert_array_equal(model.coefs_[0], dense.coefs_[0])
        np.testing.assert_array_equal(model.predict_proba(matrix), dense.predict_proba(X))


def test_sparse_rows_are_never_dense_all_at_once(monkeypatch):
    X = sparse.random_array((20000, 500), density=0.001, rng=np.random.default_rng(0), format="csr")
    y = np.arange(20000) % 2
    stage, largest = SparseRows.stage, []

    def watched(self, rows, out):
        largest.append(len(out))
        stage(self, rows, out)

    monkeypatch.setattr(SparseRows, "stage", watched)
    monkeypatch.setattr(type(X), "toarray", None)
    hl.MLPClassifier(4, max_iter=1, n_iter_no_change=1).fit(X, y).predict(X)
    assert 0 < max(largest) < 5000


def test_threads_and_seeds():
    X, y = data(R)
    fits = [
        hl.MLPRegressor(max_iter=5, n_threads=n, random_state=seed, dropout=0.1).fit(X, y).coefs_[0]
        for n, seed in [(1, 0), (2, 0), (None, np.random.RandomState(0)), (1, 1)]
    ]
    np.testing.assert_array_equal(fits[0], fits[1])
    np.testing.assert_array_equal(fits[0], fits[2])
    assert (fits[0] != fits[3]).any()


def test_layers_of_one_s_own():
    X, y = data(C)
    options = {"max_iter": 60, "learning_rate_init": 0.01, "random_state": 0}
    own = [hl.Standardize(), hl.Dense(16, "gelu", penalty=hl.L1(1e-4)), hl.Dropout(0.1), hl.Dense(8, "tanh")]
    model = hl.MLPClassifier(layers=own, **options).fit(X * 100 + 3, y)
    assert model.score(X * 100 + 3, y) > 0.9
    assert (model.n_layers_, len(model.coefs_)) == (4, 3)
    mixed = hl.MLPClassifier(
        (16, 8), ["silu", "logistic"], dropout=[0.1, 0], batch_normalization=True, **options
    )
    assert mixed.fit(X, y).score(X, y) > 0.9
    kinds = [type(layer).__name__ for layer in mixed.model_.layers]
    assert kinds == [
        "Dense",
        "BatchNorm",
        "Activation",
        "Dropout",
        "Dense",
        "BatchNorm",
        "Activation",
        "Dense",
    ]


def test_any_optimizer_and_schedule():
    X, y = data(C)
    for optimizer in (hl.AdamW(hl.Cosine(0.02, epochs=40)), hl.Lion(3e-3), hl.ScheduleFreeAdamW(0.02)):
        assert hl.MLPClassifier(optimizer=optimizer, max_iter=40, random_state=0).fit(X, y).score(X, y) > 0.9


LOG_COSH = hl.losses.Custom(
    value=lambda z, y: np.logaddexp(z - y, y - z).sum(axis=1), gradient=lambda z, y: np.tanh(z - y)
)


@pytest.mark.parametrize("loss", ["mse", "mae", hl.losses.Huber(0.5), LOG_COSH, "gaussian_nll"], ids=str)
def test_losses_on_values(loss):
    X, y = data(R)
    model = hl.MLPRegressor(loss, 16, max_iter=60, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.4
    with_two = hl.MLPRegressor(loss, 16, max_iter=3, random_state=0).fit(X, np.column_stack([y, -y]))
    assert with_two.predict(X).shape == (len(X), 2)


LOG_LOSS = hl.losses.Custom(
    value=lambda z, y: (np.logaddexp(0, z) - y * z).sum(axis=1), gradient=lambda z, y: expit(z) - y
)


@pytest.mark.parametrize("kind", [C, "two"])
@pytest.mark.parametrize(
    "loss",
    ["hinge", "squared_hinge", "perceptron", "mse", hl.losses.SoftmaxCrossEntropy(0.1), "kl_divergence",
     LOG_LOSS],
    ids=str,
)  # fmt: skip
def test_losses_on_classes(kind, loss):
    X, y = data(kind)
    labels = np.array(["a", "b", "c"])[y]
    model = hl.MLPClassifier(loss=loss, max_iter=60, random_state=0, learning_rate_init=0.01).fit(X, labels)
    assert model.score(X, labels) > 0.9
    has = loss == "kl_divergence" or isinstance(loss, hl.losses.SoftmaxCrossEntropy)
    assert hasattr(model, "predict_proba") == hasattr(model, "predict_log_proba") == has
    if has:
        np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


def test_intervals():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (1500, 1))
    noise = np.where(X[:, 0] > 0, 1.0, 0.1)
    y = 2 * X[:, 0] + noise * rng.standard_normal(1500)
    model = hl.MLPRegressor("gaussian_nll", 32, learning_rate_init=0.01, random_state=0).fit(X, y)
    mean, deviation = model.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, model.predict(X))
    assert np.median(deviation[X[:, 0] > 0.2]) == pytest.approx(1.0, rel=0.3)
    assert np.median(deviation[X[:, 0] < -0.2]) == pytest.approx(0.1, rel=0.3)
    low, high = model.predict_interval(X, 0.8)
    assert ((low < y) & (y < high)).mean() == pytest.approx(0.8, abs=0.05)
    with refuses(ValueError, "confidence"):
        model.predict_interval(X, 1.0)
    plain = hl.MLPRegressor(max_iter=2).fit(X, y)
    assert not hasattr(plain, "predict_interval")
    with refuses(ValueError, "return_std"):
        plain.predict(X, return_std=True)


def test_weights_of_classes_are_weights_of_samples():
    X, y = data("two")
    options = {"max_iter": 10, "random_state": 0}
    by_class = hl.MLPClassifier(class_weight={0: 3.0, 1: 0.5}, **options).fit(X, y)
    by_sample = hl.MLPClassifier(**options).fit(X, y, np.where(y == 0, 3.0, 0.5))
    np.testing.assert_array_equal(by_class.coefs_[0], by_sample.coefs_[0])
    balanced = hl.MLPClassifier(class_weight="balanced", **options).fit(X, y)
    n = np.bincount(y)
    by_sample = hl.MLPClassifier(**options).fit(X, y, len(y) / (2 * n[y]))
    np.testing.assert_array_equal(balanced.coefs_[0], by_sample.coefs_[0])
    early = hl.MLPClassifier(class_weight="balanced", early_stopping=True, **options)
    early.fit(X[100:], y[100:], X_val=X[:100], y_val=y[:100])
    assert early.best_validation_score_ == pytest.approx(early.score(X[:100], y[:100]))
    ones, none = (hl.MLPClassifier(**options).fit(X, y, weights) for weights in (1.0, None))
    np.testing.assert_array_equal(ones.coefs_[0], none.coefs_[0])


def test_weights_of_classes_hold_where_a_class_is_missing():
    X, y = data(C)
    some, options = y < 2, {"max_iter": 5, "random_state": 0}
    for weight, sample_weight in (({2: 5.0}, None), ({0: 3.0, 2: 5.0}, np.where(y == 0, 3.0, 1.0)[some])):
        model = hl.MLPClassifier((8,), class_weight=weight, **options)
        model.partial_fit(X[some], y[some], classes=[0, 1, 2])
        same = hl.MLPClassifier((8,), **options)
        same.partial_fit(X[some], y[some], sample_weight, classes=[0, 1, 2])
        np.testing.assert_array_equal(model.coefs_[0], same.coefs_[0])
        model.fit(X, y, X_val=X[some], y_val=y[some])
        assert len(model.validation_scores_) == 5
    Y = np.column_stack([np.zeros_like(y), y == 1])  # no sample has the first label
    model = hl.MLPClassifier((8,), class_weight=[{1: 5.0}, {1: 2.0}], **options).fit(X, Y)
    same = hl.MLPClassifier((8,), **options).fit(X, Y, np.where(y == 1, 2.0, 1.0))
    np.testing.assert_array_equal(model.coefs_[0], same.coefs_[0])
    for unknown in ({7: 5.0}, {0: 2.0, 7: 5.0}):
        model = hl.MLPClassifier((8,), class_weight=unknown, **options)
        with refuses(ValueError, "class_weight"):
            model.fit(X, y)
        with refuses(ValueError, "class_weight"):
            model.partial_fit(X, y, classes=[0, 1, 2])
    with refuses(ValueError, "class_weight"):
        hl.MLPClassifier(class_weight={1: 5.0}).fit(X, Y)


@pytest.mark.parametrize("name", [C, R])
def test_one_s_own_validation_samples(name):
    X, y = data(name)
    options = {"max_iter": 100, "random_state": 0, "learning_rate_init": 0.05, "n_iter_no_change": 5}
    model = getattr(hl, name)(**options).fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
    assert model.score(X[100:], y[100:]) == pytest.approx(model.best_validation_score_)
    assert max(model.validation_scores_) == model.best_validation_score_
    assert model.best_loss_ is None
    assert model.n_iter_ < 100


@pytest.mark.parametrize("scoring", ["neg_log_loss", lambda model, X, y: (model.predict(X) == y).mean()])
def test_any_scorer_decides(scoring):
    X, y = data(C)
    model = hl.MLPClassifier(scoring=scoring, max_iter=20, n_iter_no_change=np.inf, random_state=0).fit(X, y)
    assert len(model.validation_scores_) == 20
    assert np.isfinite(model.validation_scores_).all()
    assert scoring == "neg_log_loss" or 0 <= model.best_validation_score_ <= 1


def test_callbacks_and_output(capsys):
    X, y = data(C)

    class Spy(hl.Callback):
        epochs = 0

        def on_epoch_end(self, trainer, epoch, logs):
            assert {"loss", "val_loss", "val_score"} <= logs.keys()
            Spy.epochs += 1
            if epoch == 6:
                trainer.stop("enough")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = hl.MLPClassifier(
            callbacks=[Spy()], early_stopping=True, random_state=0, verbose=True, progress=True
        ).fit(X, y)
    assert (model.n_iter_, Spy.epochs) == (6, 6)
    out, err = capsys.readouterr()
    assert f"Iteration 6, loss = {model.loss_:.8f}\nValidation score: " in out
    assert "epoch 6/200" in err
    watched = hl.MLPClassifier(callbacks=hl.EarlyStopping("loss", patience=2), max_iter=5, random_state=0)
    assert watched.fit(X, y).n_iter_ == 5
    hl.MLPClassifier(solver="lbfgs", verbose=True, max_iter=2).fit(X, y)
    assert "Iteration 2" in capsys.readouterr().out


@pytest.mark.filterwarnings("error")
def test_it_says_when_it_has_not_converged():
    X, y = data(C)
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(3\)"):
        hl.MLPClassifier(max_iter=3).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed"):
        hl.MLPClassifier(solver="lbfgs", max_iter=3).fit(X, y)
    with pytest.warns(UserWarning, match="clipped"):
        hl.MLPClassifier(batch_size=1000, tol=10).fit(X, y)
    with pytest.warns(DataConversionWarning):
        hl.MLPRegressor(tol=10).fit(X, y[:, None].astype(float))
    hl.MLPClassifier(tol=10).partial_fit(X, y, classes=[0, 1, 2])


def test_divergence():
    X, y = data(R)
    options = {"activation": "identity", "solver": "sgd", "learning_rate_init": 10.0, "random_state": 0}
    with refuses(ValueError, "X"):
        hl.MLPRegressor(**options).fit(X, y)
    model = hl.MLPRegressor(early_stopping=True, **options).fit(X, y)
    assert np.isnan(model.validation_scores_[-1])
    assert np.isfinite(model.predict(X)).all()


def test_one_class_only():
    X = np.arange(12.0).reshape(6, 2)
    model = hl.MLPClassifier(max_iter=2).fit(X, ["a"] * 6)
    assert model.predict(X).tolist() == ["a"] * 6
    assert model.predict_proba(X).shape == (6, 1)


def test_no_logarithm_is_infinite():
    X, y = data(C)
    for target in (y, y == 1, np.column_stack([y == 1, y == 2])):
        model = hl.MLPClassifier(max_iter=2).fit(X, target)
        found = model.predict_log_proba(X * 1e6)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(np.exp(found), model.predict_proba(X * 1e6), atol=1e-12)


def test_it_works_with_scikit_learn_s_tools():
    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(
        make_pipeline(
            StandardScaler(), hl.MLPClassifier(max_iter=60, learning_rate_init=0.01, random_state=0)
        ),
        {
            "mlpclassifier__hidden_layer_sizes": [(8,), (16, 8)],
            "mlpclassifier__optimizer": [None, hl.NAdam()],
        },
        cv=3,
    ).fit(X, y)
    assert search.best_score_ > 0.9
    model = search.best_estimator_[-1]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    again.coefs_[0][:] = 0  # still the views of the network that predicts
    assert (again.predict_proba(X) != model.predict_proba(X)).any()
    assert not hasattr(clone(model), "coefs_")
    with pytest.raises(NotFittedError):
        clone(model).predict(X)


@pytest.mark.parametrize(
    ("parameters", "error", "name"),
    [
        ({"hidden_layer_sizes": (5, 0)}, ValueError, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": (5.5,)}, TypeError, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": "5"}, TypeError, "hidden_layer_sizes"),
        ({"activation": "sine"}, ValueError, "activation"),
        ({"activation": ["relu", "relu"]}, ValueError, "activation"),
        ({"activation": None}, TypeError, "activation"),
        ({"solver": "newton"}, ValueError, "solver"),
        ({"learning_rate": "fast"}, ValueError, "learning_rate"),
        ({"learning_rate_init": 0.0}, ValueError, "learning_rate_init"),
        ({"alpha": -1.0}, ValueError, "alpha"),
        ({"tol": -1.0}, ValueError, "tol"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"max_iter": 0}, ValueError, "max_iter"),
        ({"max_fun": 0.5}, TypeError, "max_fun"),
        ({"momentum": 1.5}, ValueError, "momentum"),
        ({"beta_1": 1.0}, ValueError, "beta_1"),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction"),
        ({"n_iter_no_change": 0}, ValueError, "n_iter_no_change"),
        ({"shuffle": "yes"}, TypeError, "shuffle"),
        ({"optimizer": "adam"}, TypeError, "optimizer"),
        ({"layers": hl.Dense(3)}, TypeError, "layers"),
        ({"layers": [3]}, TypeError, "layers[0]"),
        ({"layers": [hl.Dense(3)], "dropout": 0.1}, ValueError, "dropout, batch_normalization"),
        ({"layers": [hl.Dropout(0.1)], "solver": "lbfgs"}, ValueError, "layers[0]"),
        ({"dropout": 1.0}, ValueError, "dropout"),
        ({"dropout": [0.1, 0.1]}, ValueError, "dropout"),
        ({"dropout": 0.1, "solver": "lbfgs"}, ValueError, "dropout"),
        ({"batch_normalization": True, "solver": "lbfgs"}, ValueError, "batch_normalization"),
        ({"loss": "accuracy"}, ValueError, "loss"),
        ({"loss": 3}, TypeError, "loss"),
        ({"scoring": 3}, TypeError, "scoring"),
        ({"callbacks": 3}, TypeError, "callbacks"),
        ({"n_threads": 0}, ValueError, "n_threads"),
        ({"dtype": "float16"}, ValueError, "dtype"),
        ({"progress": 1}, TypeError, "progress"),
    ],
)
@pytest.mark.parametrize("kind", [C, R])
def test_parameters_are_checked(kind, parameters, error, name):
    with refuses(error, name):
        getattr(hl, kind)(**parameters).fit(*data(kind))


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ({"sample_weight": -np.ones(150)}, ValueError, "sample_weight"),
        ({"sample_weight": np.ones(3)}, ValueError, "sample_weight"),
        ({"X_val": np.ones((3, 4))}, ValueError, "X_val, y_val"),
        ({"X_val": np.ones((3, 4)), "y_val": [0, 1, 7]}, ValueError, "y"),
        ({"y": np.column_stack([np.arange(150) % 3] * 2)}, ValueError, "y"),
    ],
)
def test_arguments_are_checked(options, error, name):
    X, y = data(C)
    with refuses(error, name):
        hl.MLPClassifier(max_iter=2).fit(X, **{"y": y, **options})


def test_what_does_not_go_together():
    X, y = data(C)
    with refuses(ValueError, "X_val"):
        hl.MLPClassifier(solver="lbfgs").fit(X, y, X_val=X, y_val=y)
    with refuses(ValueError, "loss"):
        hl.MLPRegressor("hinge").fit(X, y)
    with refuses(ValueError, "validation_fraction"):
        hl.MLPRegressor(early_stopping=True).fit(X[:3], y[:3])
    with refuses(ValueError, "early_stopping"):
        hl.MLPRegressor(early_stopping=True).partial_fit(X, y)
    assert not hasattr(hl.MLPRegressor(solver="lbfgs"), "partial_fit")


@pytest.mark.parametrize("kind", [C, "two", "several"])
@pytest.mark.parametrize("loss", ["gaussian_nll", "poisson_nll", hl.losses.GaussianNLL()], ids=str)
def test_a_loss_that_decides_no_class_is_refused(kind, loss):
    X, y = data(C if kind == "several" else kind)
    model = hl.MLPClassifier(loss=loss, max_iter=1)
    with refuses(ValueError, "loss"):
        model.fit(X, np.column_stack([y == 1, y == 2]) if kind == "several" else y)
    assert not hasattr(model, "model_")


def test_losses_on_several_labels():
    X, y = data(C)
    Y = np.column_stack([y == 1, y > 0]).astype(int)
    for loss in ("hinge", "squared_hinge", "perceptron", "kl_divergence", hl.losses.SoftmaxCrossEntropy(0.1)):
        for labels in (Y, np.eye(3, dtype=int)[y]):
            with refuses(ValueError, "loss") as caught:
                hl.MLPClassifier(loss=loss, max_iter=1).fit(X, labels)
            assert "takes one label a sample" in str(caught.value)
    for loss in ("log_loss", "sigmoid_cross_entropy", "mse", "mae", "huber", LOG_LOSS):
        model = hl.MLPClassifier(loss=loss, max_iter=60, learning_rate_init=0.01, random_state=0).fit(X, Y)
        assert model.score(X, Y) > 0.85


def test_classes_of_several_labels_are_the_numbers_of_the_columns():
    X, y = data(C)
    Y = np.column_stack([y == 1, y == 2]).astype(int)
    for classes in ([0, 1, 2, 3], [0], [1, 2], ["a", "b"]):
        model = hl.MLPClassifier(max_iter=1)
        with refuses(ValueError, "classes"):
            model.partial_fit(X, Y, classes=classes)
        model.partial_fit(X, Y, classes=[1, 0])
        assert model.classes_.tolist() == [0, 1]
    with refuses(ValueError, "y"):
        model.partial_fit(X, np.eye(3, dtype=int)[y], classes=[0, 1])


def test_partial_fit_checks_its_classes():
    X, y = data(C)
    with refuses(ValueError, "classes"):
        hl.MLPClassifier().partial_fit(X, y)
    with refuses(ValueError, "class_weight"):
        hl.MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
    with refuses(ValueError, "y"):
        hl.MLPClassifier().partial_fit(X, y, classes=[0, 1])
    model = hl.MLPClassifier().partial_fit(X[:5], y[:5], classes=[0, 1, 2])
    with refuses(ValueError, "classes"):
        model.partial_fit(X, y, classes=[0, 1, 2, 3])
    with refuses(ValueError, "y"):
        hl.MLPRegressor().partial_fit(X, y).partial_fit(X, np.column_stack([y, y]))


def checked():
    """Settings that scikit-learn checks of its own, and some of ours."""
    for kind in (hl.MLPClassifier, hl.MLPRegressor):
        yield kind(max_iter=100)
        yield kind(max_iter=50, layers=[hl.Dense(16, "silu")], optimizer=hl.AdamW(0.01), dtype="float64")
    yield hl.MLPRegressor(loss="huber", max_iter=50)


@parametrize_with_checks([*checked()])
def test_scikit_learn_s_own_checks(estimator, check):
    check(estimator)
