"""The perceptron: its kernels, its theorem, and its face as an estimator of scikit-learn."""

import math
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Perceptron as TheirPerceptron
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import hotloop as hl
import reference
from helpers import as_memory_map, read_only, refuses
from hotloop.engine import perceptron as engine
from hotloop.estimators._inputs import samples_of

KEEPS, FORMS = ("pocket", "average", "last"), ("ovr", "joint")

kernels = pytest.mark.kernels
unseparated = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def noisy(n=150, features=6, n_classes=2, seed=0, whole=False):
    """Rows that no hyperplane separates; with `whole`, of whole numbers, so that sums are exact."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-3, 4, (n, features)).astype(float) if whole else rng.standard_normal((n, features))
    scores = X @ rng.standard_normal((features, n_classes))
    return X, (scores + 0.7 * features**0.5 * rng.standard_normal(scores.shape)).argmax(axis=1)


def separable(n=60, features=4, n_classes=2, seed=0):
    """Rows whose classes hyperplanes separate."""
    rng = np.random.default_rng(seed)
    centres = 4 * np.eye(n_classes, features)
    y = rng.permutation(np.arange(n) % n_classes)
    return centres[y] + rng.uniform(-0.5, 0.5, (n, features)), y


def fit_quietly(model, *data, **options):
    """Fit, whether it converges or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(*data, **options)


class Kernels:
    """Separators as the kernels take them: everything kept at once."""

    def __init__(self, start, samples, labels, steps):
        self.task = samples, labels, steps
        self.weights, self.pocket, self.drift = start.copy(), start.copy(), np.zeros_like(start)
        self.state = np.zeros((len(start), engine.STATE_SIZE))
        for m in range(len(start)):
            engine.start_pocket(self.pocket[m], self.state[m], samples, labels[m], steps)

    def run(self, orders):
        mistakes = np.zeros((len(orders), len(self.weights)), int)
        active = np.arange(len(self.weights))
        for found, order in zip(mistakes, orders, strict=True):
            engine.epoch(
                found, self.weights, self.drift, self.pocket, self.state, *self.task, order, active
            )  # fmt: skip
        samples, labels, steps = self.task
        for m in active:
            engine.fill_pocket(
                self.pocket[m], self.state[m], self.weights[m], samples, labels[m], steps
            )  # fmt: skip
        return mistakes


@kernels
@pytest.mark.parametrize("constant", [1.0, 0.0])
@pytest.mark.parametrize("whole", [True, False], ids=["whole numbers", "real numbers"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", ["dense", "csr"])
@pytest.mark.parametrize("task", ["binary", "ovr", "joint"])
def test_epochs_are_those_of_the_twin(task, form, dtype, whole, constant):
    rng = np.random.default_rng(1)
    X, y = noisy(40, 5, 2 if task == "binary" else 4, whole=whole)
    X = X.astype(dtype)
    X[rng.random(X.shape) < 0.3] = 0
    labels = {
        "binary": 2 * y[None] - 1,
        "ovr": np.where(y == np.arange(4)[:, None], 1, -1),
        "joint": y[None],
    }[task]
    rows = 4 if task == "joint" else 1
    start = rng.integers(-2, 3, (len(labels), rows, 6)) * 1.0
    steps = rng.integers(0, 3, len(X)) * 1.0
    orders = [np.arange(40), *(rng.permutation(40) for _ in range(5))]

    samples = samples_of(X if form == "dense" else sparse.csr_matrix(X), constant)
    ours = Kernels(start, samples, labels, steps)
    mistakes = ours.run(orders)
    augmented = np.column_stack([X.astype(float), np.full(len(X), constant)])
    for m in range(len(labels)):
        after, history, pocket = reference.perceptron(start[m], augmented, labels[m], steps, orders)
        assert mistakes[:, m].tolist() == history
        np.testing.assert_allclose(ours.weights[m], after[-1], atol=1e-11)
        np.testing.assert_allclose(ours.pocket[m], pocket, atol=1e-11)
        average = ours.weights[m] - ours.drift[m] / ours.state[m, engine.SEEN]
        np.testing.assert_allclose(average, np.mean(after, axis=0), atol=1e-11)


@kernels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", ["dense", "csr"])
@pytest.mark.parametrize("rows", [1, 3])
def test_what_is_measured(rows, form, dtype):
    X, y = separable(30, 4, max(rows, 2))
    X, labels = X.astype(dtype), y if rows > 1 else 2 * y - 1
    rng = np.random.default_rng(0)
    steps = rng.integers(0, 3, len(X)) * 0.5
    samples = samples_of(X if form == "dense" else sparse.csr_matrix(X), 1.0)
    augmented = np.column_stack([X.astype(float), np.ones(len(X))])
    counted = steps > 0

    random, good = rng.standard_normal((rows, 5)), np.eye(rows, 5)
    if rows == 1:
        good = np.array([[-1.0, 1, 0, 0, 0]])
    scores = np.empty((len(X), rows))
    engine.score_all(scores, random, samples)
    np.testing.assert_allclose(scores, augmented @ random.T, atol=1e-12)
    errors = reference.perceptron_errors(random, augmented, labels, steps)
    assert engine.count_errors(random, samples, labels, steps, math.inf) == errors > 1
    assert 1 <= engine.count_errors(random, samples, labels, steps, 1.0) < 2

    out = np.zeros(2)
    engine.smallest_lead(out, random, samples, labels, steps)
    assert out.tolist() == [0, 0]
    leads = reference.perceptron_leads(good, augmented, labels)[counted]
    engine.smallest_lead(out, good, samples, labels, steps)
    np.testing.assert_allclose(out, [leads.min(), (leads * steps[counted]).min()], atol=1e-12)
    lengths = np.linalg.norm(augmented, axis=1)
    engine.greatest_length(out, samples, steps)
    np.testing.assert_allclose(out, [lengths[counted].max() ** 2, (steps * lengths).max() ** 2], rtol=1e-12)


@given(
    seed=st.integers(0, 10**6), n=st.integers(3, 40), features=st.integers(3, 6), n_classes=st.integers(2, 3),
    form=st.sampled_from(FORMS), keep=st.sampled_from(KEEPS), shuffle=st.booleans(),
    weighted=st.booleans(), started=st.booleans(), eta0=st.sampled_from([0.1, 1.0, 7.0]),
)  # fmt: skip
def test_there_are_no_more_mistakes_than_the_bound(
    seed, n, features, n_classes, form, keep, shuffle, weighted, started, eta0
):
    X, y = separable(n, features, n_classes, seed)
    rng = np.random.default_rng(seed)
    options = {"sample_weight": rng.uniform(0.5, 2, n)} if weighted else {}
    if started:
        options["coef_init"] = rng.standard_normal((1 if n_classes == 2 else n_classes, features))
    model = hl.Perceptron(
        keep=keep, multi_class=form, shuffle=shuffle, eta0=eta0, max_iter=10**5, random_state=seed
    ).fit(X, y, **options)
    assert model.converged_
    assert model.n_updates_ == model.n_mistakes_.sum() <= model.bound_ * (1 + 1e-9)
    assert model.n_mistakes_[-1] == 0
    assert model.n_iter_ == len(model.n_mistakes_)
    assert keep == "average" or model.score(X, y) == 1
    assert model.margin_ > 0
    simple = not weighted and not started and (n_classes == 2 or form == "joint")
    assert not simple or model.bound_ == pytest.approx((model.radius_ / model.margin_) ** 2)


def test_the_margin_is_the_distance_in_the_space_with_the_constant():
    X, y = separable()
    model = hl.Perceptron().fit(X, y)
    w = np.append(model.coef_, model.intercept_)
    leads = (2 * y - 1) * model.decision_function(X)
    assert model.margin_ == pytest.approx(leads.min() / np.linalg.norm(w))
    assert model.radius_ == pytest.approx(np.sqrt((X**2).sum(axis=1) + 1).max())


def test_the_largest_margin_counts():
    """The average has a larger one than the last weights here, and gives the better bound."""
    X, y = separable(seed=3)
    last, average = (hl.Perceptron(keep=keep, shuffle=False).fit(X, y) for keep in ("last", "average"))
    assert (average.margin_, average.bound_) != (last.margin_, last.bound_)
    assert average.margin_ > last.margin_
    assert average.bound_ < last.bound_


def their_mistakes(X, y, epochs):
    """scikit-learn's perceptron, one sample a call: weights, and mistakes of each epoch."""
    theirs = TheirPerceptron(shuffle=False, tol=None)
    mistakes = []
    before = np.zeros(X.shape[1] + 1)
    for _ in range(epochs):
        mistakes.append(0)
        for i in range(len(X)):
            theirs.partial_fit(X[[i]], y[[i]], classes=np.unique(y))
            now = np.append(theirs.coef_, theirs.intercept_)
            mistakes[-1] += (now != before).any()
            before = now
    return theirs.coef_, theirs.intercept_, mistakes


@unseparated
@pytest.mark.parametrize("whole", [True, False], ids=["whole numbers", "real numbers"])
@pytest.mark.parametrize("started", [False, True])
def test_mistakes_and_weights_are_those_of_scikit_learn(started, whole):
    X, y = noisy(whole=whole)
    if started:
        options = {"coef_init": np.arange(6.0) - 2, "intercept_init": [1.0]}
        theirs = TheirPerceptron(shuffle=False, tol=None, max_iter=5)
        theirs.fit(X, y, coef_init=np.arange(6.0) - 2, intercept_init=[1.0])  # it writes into them
        coef, intercept = theirs.coef_, theirs.intercept_
    else:
        options = {}
        coef, intercept, mistakes = their_mistakes(X, y, 5)
    ours = hl.Perceptron(keep="last", shuffle=False, max_iter=5).fit(X, y, **options)
    np.testing.assert_allclose(ours.coef_, coef, atol=1e-12)
    np.testing.assert_allclose(ours.intercept_, intercept, atol=1e-12)
    assert started or ours.n_mistakes_.tolist() == mistakes


@unseparated
def test_one_versus_rest_and_average_are_those_of_scikit_learn():
    X, y = load_digits(return_X_y=True)
    options = {"shuffle": False, "max_iter": 4, "tol": None}
    theirs = TheirPerceptron(**options).fit(X, y)
    ours = hl.Perceptron(keep="last", shuffle=False, max_iter=4).fit(X, y)
    np.testing.assert_array_equal(ours.coef_, theirs.coef_)
    np.testing.assert_array_equal(ours.intercept_, theirs.intercept_)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    theirs = SGDClassifier(
        loss="perceptron", penalty=None, learning_rate="constant", eta0=1.0, average=True, **options
    ).fit(X, y)
    ours = hl.Perceptron(keep="average", shuffle=False, max_iter=4).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-9)


@unseparated
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sparse_is_dense(dtype, keep, form):
    X, y = noisy(n_classes=3, whole=True)
    X = X.astype(dtype)
    csr = sparse.csr_matrix(X)
    dense, *others = (
        hl.Perceptron(keep=keep, multi_class=form, max_iter=20).fit(matrix, y)
        for matrix in (X, csr, sparse.csc_array(X), sparse.coo_array(X), np.asfortranarray(X))
    )
    for other in others:
        np.testing.assert_array_equal(other.coef_, dense.coef_)
        np.testing.assert_array_equal(other.intercept_, dense.intercept_)
        np.testing.assert_array_equal(other.n_mistakes_, dense.n_mistakes_)
        np.testing.assert_allclose(other.decision_function(csr), dense.decision_function(X), atol=1e-12)


def test_doubled_places_of_a_sparse_matrix_are_summed():
    X = sparse.csr_matrix(([1.0, 2.0, -3.0], [0, 0, 0], [0, 2, 3]), shape=(2, 1))
    model = hl.Perceptron().fit(X, [0, 1])
    assert model.radius_ == pytest.approx(np.sqrt(10))
    assert X.nnz == 3  # the user's matrix is left as it was


@unseparated
@pytest.mark.parametrize("keep", KEEPS)
def test_float32_makes_the_mistakes_of_float64(keep):
    X, y = noisy()
    X = X.astype(np.float32)
    single, double = (hl.Perceptron(keep=keep, max_iter=30).fit(data, y) for data in (X, X.astype(float)))
    np.testing.assert_array_equal(single.n_mistakes_, double.n_mistakes_)
    np.testing.assert_allclose(single.coef_, double.coef_, rtol=1e-12)


def test_data_is_read_where_it_lies(tmp_path):
    X, y = separable()
    for data in (X, X.astype(np.float32), read_only(X), as_memory_map(X, tmp_path / "X")):
        assert np.shares_memory(samples_of(data, 1.0).values, data)
        assert hl.Perceptron().fit(data, y).converged_


@given(seed=st.integers(0, 10**6), n_classes=st.integers(2, 3), form=st.sampled_from(FORMS),
       shuffle=st.booleans(), epochs=st.integers(1, 12))  # fmt: skip
def test_the_pocket_is_never_worse_than_the_last_weights(seed, n_classes, form, shuffle, epochs):
    X, y = noisy(40, 3, n_classes, seed)
    pocket, last = (
        fit_quietly(
            hl.Perceptron(
                keep=keep, multi_class=form, shuffle=shuffle, max_iter=epochs, random_state=seed
            ), X, y,
        )
        for keep in ("pocket", "last")
    )  # fmt: skip
    np.testing.assert_array_equal(pocket.n_mistakes_, last.n_mistakes_)
    if n_classes == 2 or form == "joint":
        assert pocket.score(X, y) >= last.score(X, y)


@pytest.mark.parametrize("keep", KEEPS)
def test_without_a_separator_it_stops_and_says_so(keep):
    X, y = noisy()
    with pytest.warns(ConvergenceWarning, match=rf"max_iter=7 epochs.*Kept: '{keep}'"):
        model = hl.Perceptron(keep=keep, max_iter=7).fit(X, y)
    assert (model.n_iter_, len(model.n_mistakes_), model.converged_) == (7, 7, False)
    assert np.isnan([model.margin_, model.bound_]).all()
    assert model.radius_ > 0


def test_pocket_and_average_beat_the_last_weights_on_noise():
    scores = dict.fromkeys(KEEPS, 0.0)
    for seed in range(6):
        X, y = noisy(2000, 10, seed=seed)
        for keep in KEEPS:
            model = fit_quietly(hl.Perceptron(keep=keep, max_iter=20), X[:1000], y[:1000])
            scores[keep] += model.score(X[1000:], y[1000:])
    assert scores["average"] > scores["pocket"] > scores["last"]


def test_stopped_in_time():
    """The last mistake may leave a separator, though no epoch was without a mistake."""
    model = hl.Perceptron(max_iter=1, fit_intercept=False).fit([[1.0], [-2.0]], [1, 0])
    assert (model.n_mistakes_.tolist(), model.converged_, model.margin_) == ([1], True, 1.0)


@pytest.mark.parametrize("labels", [("no", "yes"), (-1, 1), (False, True), (3.0, 7.0)])
def test_labels_may_be_any_two_values(labels):
    X, y = separable()
    y = np.array(labels)[y]
    model = hl.Perceptron().fit(X, y)
    np.testing.assert_array_equal(model.predict(X), y)
    np.testing.assert_array_equal(model.classes_, labels)
    assert model.coef_.shape == (1, 4)
    assert model.intercept_.shape == (1,)


@pytest.mark.parametrize("form", FORMS)
def test_several_classes(form):
    X, y = separable(90, 5, 4)
    model = hl.Perceptron(multi_class=form).fit(X, y)
    assert model.score(X, y) == 1
    assert model.decision_function(X).shape == (90, 4)
    assert (model.coef_.shape, model.intercept_.shape) == ((4, 5), (4,))


def test_without_a_bias():
    model = hl.Perceptron(fit_intercept=False).fit([[1.0, 0.0], [-1.0, 1.0]], [0, 1])
    assert model.intercept_ == 0
    assert model.radius_ == pytest.approx(np.sqrt(2))


@unseparated
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("keep", ["average", "last"])
def test_partial_fit_goes_on(keep, form):
    X, y = noisy(n_classes=3)
    options = {"keep": keep, "multi_class": form, "shuffle": False}
    whole = hl.Perceptron(max_iter=3, **options).fit(X, y)
    parts = hl.Perceptron(**options)
    for _ in range(3):
        parts.partial_fit(X[:70], y[:70], classes=[0, 1, 2]).partial_fit(X[70:], y[70:])
    np.testing.assert_allclose(parts.coef_, whole.coef_, atol=1e-12)
    assert (parts.n_updates_, parts.n_iter_) == (whole.n_updates_, 6)
    assert not parts.converged_
    assert np.isnan(parts.bound_)


def test_partial_fit_keeps_what_does_best_on_these_samples():
    X, y = noisy()
    model = hl.Perceptron().partial_fit(X, y, classes=[0, 1])
    for _ in range(5):
        before = model.score(X, y)
        model.partial_fit(X, y)
        assert model.score(X, y) >= before
    model.set_params(keep="last").partial_fit(X, y)
    assert model.n_iter_ == 7


def test_a_start_and_a_warm_start():
    X, y = separable()
    first = hl.Perceptron().fit(X, y)
    again = hl.Perceptron().fit(X, y, coef_init=first.coef_, intercept_init=first.intercept_)
    assert (again.n_updates_, again.n_iter_) == (0, 1)
    warm = hl.Perceptron(warm_start=True).fit(X, y)
    assert warm.fit(X, y).n_updates_ == 0
    with refuses(ValueError, "warm_start"):
        warm.fit(X, y + (np.arange(len(y)) == 0) * 2)


@unseparated
def test_weights_of_samples_and_classes():
    X, y = noisy()
    options = {"max_iter": 10, "shuffle": False}
    weight = np.where(np.arange(len(X)) % 3 == 0, 0.0, 1.0)
    some = hl.Perceptron(**options).fit(X, y, sample_weight=weight)
    without = hl.Perceptron(**options).fit(X[weight > 0], y[weight > 0])
    np.testing.assert_array_equal(some.coef_, without.coef_)
    np.testing.assert_array_equal(some.n_mistakes_, without.n_mistakes_)
    by_class = hl.Perceptron(class_weight={0: 1, 1: 4}, **options).fit(X, y)
    by_sample = hl.Perceptron(**options).fit(X, y, sample_weight=np.where(y == 1, 4, 1))
    np.testing.assert_array_equal(by_class.coef_, by_sample.coef_)
    hl.Perceptron(class_weight="balanced", **options).fit(X, y)


def test_the_rate_only_scales():
    X, y = separable()
    one, half = (hl.Perceptron(eta0=eta0).fit(X, y) for eta0 in (1.0, 0.5))
    np.testing.assert_array_equal(0.5 * one.coef_, half.coef_)
    assert one.bound_ == pytest.approx(half.bound_)


@unseparated
def test_seeds():
    X, y = noisy()
    coefs = [
        hl.Perceptron(max_iter=3, random_state=seed).fit(X, y).coef_
        for seed in (1, 1, np.random.RandomState(1), 2)
    ]
    np.testing.assert_array_equal(coefs[0], coefs[1])
    np.testing.assert_array_equal(coefs[0], coefs[2])
    assert (coefs[0] != coefs[3]).any()


@unseparated
def test_it_works_with_scikit_learn_s_tools():
    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), hl.Perceptron(max_iter=20)),
        {"perceptron__keep": KEEPS, "perceptron__multi_class": FORMS}, cv=3,
    ).fit(X, y)  # fmt: skip
    assert search.best_score_ > 0.9
    model = search.best_estimator_[-1]
    Z = search.best_estimator_[0].transform(X)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(Z), model.predict(Z))
    assert copy.partial_fit(Z, y).n_iter_ == model.n_iter_ + 1
    assert not hasattr(clone(model), "coef_")


@pytest.mark.parametrize(
    ("parameters", "error", "name"),
    [
        ({"keep": "best"}, ValueError, "keep"),
        ({"keep": None}, TypeError, "keep"),
        ({"multi_class": "multinomial"}, ValueError, "multi_class"),
        ({"max_iter": 0}, ValueError, "max_iter"),
        ({"max_iter": 1.5}, TypeError, "max_iter"),
        ({"shuffle": 1}, TypeError, "shuffle"),
        ({"fit_intercept": None}, TypeError, "fit_intercept"),
        ({"eta0": 0}, ValueError, "eta0"),
        ({"eta0": -1.0}, ValueError, "eta0"),
        ({"eta0": np.nan}, ValueError, "eta0"),
        ({"class_weight": {0: -1.0}}, ValueError, "class_weight"),
    ],
)
def test_parameters_are_checked(parameters, error, name):
    with refuses(error, name):
        hl.Perceptron(**parameters).fit(*separable())


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ({"sample_weight": -np.ones(60)}, ValueError, "sample_weight"),
        ({"sample_weight": np.zeros(60)}, ValueError, "sample_weight"),
        ({"sample_weight": np.ones(59)}, ValueError, "sample_weight"),
        ({"coef_init": np.zeros(3)}, ValueError, "coef_init"),
        ({"coef_init": np.full(4, np.nan)}, ValueError, "coef_init"),
        ({"coef_init": ["a"] * 4}, TypeError, "coef_init"),
        ({"intercept_init": [0.0, 1.0]}, ValueError, "intercept_init"),
        ({"y": np.zeros(60)}, ValueError, "y"),
    ],
)
def test_arguments_are_checked(options, error, name):
    X, y = separable()
    with refuses(error, name):
        hl.Perceptron().fit(X, **{"y": y, **options})


def test_data_that_kernels_cannot_read_is_refused():
    X, y = separable()
    broken = sparse.csr_matrix(X)
    broken.indices[0] = 99
    with refuses(ValueError, "X"):
        hl.Perceptron().fit(broken, y)
    with refuses(ValueError, "X"), np.errstate(all="ignore"):
        hl.Perceptron(max_iter=2).fit(np.where(X > 0, 1e308, -1e308), noisy(60)[1])


def test_partial_fit_checks_its_classes():
    X, y = separable()
    with refuses(ValueError, "classes"):
        hl.Perceptron().partial_fit(X, y)
    with refuses(ValueError, "class_weight"):
        hl.Perceptron(class_weight="balanced").partial_fit(X, y, classes=[0, 1])
    with refuses(ValueError, "y"):
        hl.Perceptron().partial_fit(X, y, classes=[0, 2])
    model = hl.Perceptron().partial_fit(X, y, classes=[0, 1])
    with refuses(ValueError, "classes"):
        model.partial_fit(X, y, classes=[0, 1, 2])


WEIGHTS_ARE_NO_REPEATS = "a repeated sample is right the second time; scikit-learn's Perceptron fails it too"


@unseparated
@parametrize_with_checks(
    [hl.Perceptron(keep=keep, multi_class=form, max_iter=50) for keep in KEEPS for form in FORMS],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": WEIGHTS_ARE_NO_REPEATS,
        "check_sample_weight_equivalence_on_sparse_data": WEIGHTS_ARE_NO_REPEATS,
    },
)
def test_scikit_learn_s_own_checks(estimator, check):
    check(estimator)
