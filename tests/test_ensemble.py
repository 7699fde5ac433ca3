"""Ensembles of seeds: what members are, that their mean is taken, and scikit-learn's conventions."""

import pickle
import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import hotloop as hl
from helpers import refuses

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 15, "solver": "lbfgs"}


def labels():
    X, y = load_iris(return_X_y=True)
    return scale(X), np.array(["a", "b", "c"])[y]


def values():
    X, y = load_diabetes(return_X_y=True)
    return scale(X)[:150], scale(y)[:150]


def test_probabilities_are_the_mean_of_the_members():
    X, y = labels()
    model = hl.SeedEnsembleClassifier(hl.MLPClassifier(**SMALL), 3, random_state=0).fit(X, y)
    each = [member.predict_proba(X) for member in model.estimators_]
    np.testing.assert_allclose(model.predict_proba(X), np.mean(each, axis=0))
    np.testing.assert_array_equal(model.predict(X), model.classes_[np.mean(each, axis=0).argmax(axis=1)])
    assert (each[0] != each[1]).any()
    assert model.score(X, y) > 0.95


def test_members_are_the_estimator_with_other_seeds():
    X, y = values()
    model = hl.SeedEnsembleRegressor(hl.MLPRegressor(**SMALL), 3, random_state=4).fit(X, y)
    seeds = [member.random_state for member in model.estimators_]
    assert len(set(seeds)) == 3
    for member in model.estimators_:
        alone = hl.MLPRegressor(**SMALL, random_state=member.random_state).fit(X, y)
        np.testing.assert_array_equal(alone.predict(X), member.predict(X))
    assert model.estimator.random_state is None  # the user's own is left as it was


@pytest.mark.parametrize("shape", [(150,), (150, 2)])
def test_values_are_the_mean_and_the_deviation_that_of_the_members(shape):
    X, y = values()
    y = np.column_stack([y, -y]).reshape(-1)[: np.prod(shape)].reshape(shape)
    model = hl.SeedEnsembleRegressor(hl.MLPRegressor(**SMALL), 4, random_state=0).fit(X, y)
    each = [member.predict(X) for member in model.estimators_]
    mean, deviation = model.predict(X, return_std=True)
    np.testing.assert_allclose(mean, np.mean(each, axis=0))
    np.testing.assert_allclose(deviation, np.std(each, axis=0))
    np.testing.assert_array_equal(model.predict(X), mean)
    assert mean.shape == shape


def test_the_mean_does_better_than_members_on_average():
    X, y = load_diabetes(return_X_y=True)
    X, X_test, y, y_test = train_test_split(scale(X), scale(y), random_state=0)
    one = hl.MLPRegressor(hidden_layer_sizes=30, max_iter=60, learning_rate_init=0.01)
    model = hl.SeedEnsembleRegressor(one, 5, random_state=0).fit(X, y)
    alone = np.mean([member.score(X_test, y_test) for member in model.estimators_])
    assert model.score(X_test, y_test) > alone + 0.01


@pytest.mark.parametrize("n_jobs", [2, -1])
def test_any_number_of_jobs_gives_the_same(n_jobs):
    X, y = labels()
    models = [
        hl.SeedEnsembleClassifier(hl.MLPClassifier((6,), max_iter=20), 4, n_jobs=jobs, random_state=0)
        for jobs in (None, n_jobs)
    ]
    one, several = (model.fit(X, y).predict_proba(X) for model in models)
    np.testing.assert_array_equal(one, several)


def test_several_labels():
    X, Y = make_multilabel_classification(60, n_features=5, n_classes=3, random_state=0)
    one = hl.MLPClassifier(**SMALL | {"max_iter": 100})
    model = hl.SeedEnsembleClassifier(one, 2, random_state=0).fit(scale(X), Y)
    np.testing.assert_array_equal(model.predict(scale(X)), model.predict_proba(scale(X)) > 0.5)
    assert model.score(scale(X), Y) > 0.7


@pytest.mark.parametrize("loss", ["hinge", "mse"])
def test_members_whose_loss_gives_no_probabilities_vote(loss):
    """Which is known once they are trained."""
    X, y = load_iris(return_X_y=True)
    member = hl.MLPClassifier((8,), loss=loss, max_iter=20)
    model = hl.SeedEnsembleClassifier(make_pipeline(StandardScaler(), member), 3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    votes = np.stack([each.predict(X) for each in model.estimators_])
    most = [np.bincount(column, minlength=3).argmax() for column in votes.T]
    np.testing.assert_array_equal(model.predict(X), most)
    assert not hasattr(model, "predict_proba")


def test_members_without_probabilities_vote_on_each_label():
    X, Y = make_multilabel_classification(100, n_classes=3, random_state=0)
    model = hl.SeedEnsembleClassifier(RidgeClassifier(), 3, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), RidgeClassifier().fit(X, Y).predict(X))


def test_members_without_probabilities_vote():
    X, y = labels()
    model = hl.SeedEnsembleClassifier(hl.Perceptron(max_iter=5), 3, random_state=0).fit(X, y)
    votes = np.stack([member.predict(X) for member in model.estimators_])
    most = [max(model.classes_, key=lambda label, v=column: (v == label).sum()) for column in votes.T]
    np.testing.assert_array_equal(model.predict(X), most)
    assert not hasattr(model, "predict_proba")


def test_weights_of_samples_reach_the_members():
    X, y = labels()
    one = hl.SeedEnsembleClassifier(hl.MLPClassifier(**SMALL), 2, random_state=0)
    weights = np.where(y == "c", 0.0, 1.0)
    assert set(one.fit(X, y, weights).predict(X)) == {"a", "b"}
    with pytest.raises((TypeError, ValueError), match="sample_weight"):
        one.set_params(estimator=make_pipeline(hl.MLPClassifier())).fit(X, y, weights)


def test_it_works_with_scikit_learn_s_tools():
    X, y = labels()
    pipeline = make_pipeline(StandardScaler(), hl.MLPClassifier(**SMALL))
    ensemble = hl.SeedEnsembleClassifier(pipeline, 2, random_state=0)
    name = "estimator__mlpclassifier__alpha"
    search = GridSearchCV(ensemble, {name: [1e-4, 1e3]}, cv=2).fit(X, y)
    assert search.best_params_ == {name: 1e-4}
    best = search.best_estimator_
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(best)).predict(X), best.predict(X))
    assert not hasattr(clone(best), "estimators_")
    theirs = hl.SeedEnsembleClassifier(DecisionTreeClassifier(splitter="random"), 3, random_state=0)
    assert theirs.fit(X, y).score(X, y) == 1
    with joblib.parallel_config(backend="threading"):
        one = hl.MLPClassifier(max_iter=50, learning_rate_init=0.01)
        bagging = BaggingClassifier(one, 2, random_state=0, n_jobs=2).fit(X, y)
        assert bagging.score(X, y) > 0.9


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ({"n_estimators": 0}, ValueError, "n_estimators"),
        ({"n_estimators": 2.0}, TypeError, "n_estimators"),
        ({"estimator": KNeighborsRegressor()}, ValueError, "estimator"),
        ({"estimator": hl.LogisticRegression()}, ValueError, "estimator"),
        ({"estimator": hl.Ridge}, TypeError, "estimator"),
        ({"estimator": 3}, TypeError, "estimator"),
    ],
)
def test_parameters_are_checked(options, error, name):
    with refuses(error, name):
        hl.SeedEnsembleRegressor(**options).fit(*values())


def test_classifiers_are_checked():
    X = values()[0][:6]
    with refuses(ValueError, "estimator"):
        hl.SeedEnsembleClassifier(hl.Ridge()).fit(X, [0, 1] * 3)
    tree = hl.SeedEnsembleClassifier(DecisionTreeClassifier(), 2)
    with refuses(ValueError, "y"):
        tree.fit(X, [[0, 1], [1, 2], [2, 0]] * 2)
    tree.fit(X, [[0, 1], [1, 1], [1, 0]] * 2)
    with refuses(ValueError, "estimator"):
        tree.predict(X)


def test_return_std_is_a_flag():
    model = hl.SeedEnsembleRegressor(hl.MLPRegressor(**SMALL), 1).fit(*values())
    with refuses(TypeError, "return_std"):
        model.predict(values()[0], return_std="yes")


@parametrize_with_checks(
    [
        hl.SeedEnsembleClassifier(hl.LogisticRegression(), 2, random_state=0),
        hl.SeedEnsembleRegressor(hl.MLPRegressor(**SMALL), 2, random_state=0),
    ]
)
def test_scikit_learn_s_own_checks(estimator, check):
    check(estimator)
