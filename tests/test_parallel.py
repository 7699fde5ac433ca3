"""Many models at once: in joblib's threads and processes, with the results of one after the other."""

import os
import threading

import joblib
import numpy as np
import pytest
from joblib import delayed
from joblib.externals.loky import get_reusable_executor
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import scale

import hotloop as hl
from helpers import python
from hotloop.engine.team import check_threads

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

MODELS = [
    hl.MLPClassifier((8,), max_iter=15, random_state=0),
    hl.MLPClassifier((8,), max_iter=15, random_state=0, n_threads=None, early_stopping=True),
    hl.MLPRegressor(hidden_layer_sizes=8, max_iter=15, random_state=0),
    hl.LogisticRegression(),
    hl.Perceptron(max_iter=20),
]


def iris():
    X, y = load_iris(return_X_y=True)
    return scale(X), y


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_threads_give_the_scores_of_one_job(model):
    X, y = iris()
    alone = cross_val_score(model, X, y, cv=6)
    with joblib.parallel_backend("threading"):
        np.testing.assert_array_equal(cross_val_score(model, X, y, cv=6, n_jobs=3), alone)


def test_a_search_in_threads_gives_the_scores_of_one_job():
    X, y = iris()
    grid = {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(4,), (8, 8)]}
    with joblib.parallel_backend("threading"):
        one, two = (GridSearchCV(MODELS[0], grid, cv=2, n_jobs=jobs).fit(X, y) for jobs in (1, 2))
    np.testing.assert_array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])


def test_threads_of_a_worker():
    """One in each thread of joblib's; the share that joblib names in each of its processes."""
    usable = check_threads(None)
    jobs = [delayed(check_threads)(n) for n in (None, None, 3)]
    with joblib.parallel_backend("threading"):
        assert joblib.Parallel(n_jobs=2)(jobs) == [1, 1, 3]
        assert joblib.Parallel(n_jobs=1)(jobs) == [usable, usable, 3]
    with joblib.parallel_backend("loky", inner_max_num_threads=1):
        assert joblib.Parallel(n_jobs=2)(jobs) == [1, 1, 3]
    get_reusable_executor().shutdown()  # it would keep its processes, and threads that other tests count
    assert check_threads(None) == usable


@pytest.mark.parametrize(("setting", "expected"), [("1", 1), ("4096", None)])
def test_threads_are_as_many_as_numba_may_use(setting, expected, monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", setting)
    found = python("from hotloop.engine.team import check_threads; print(check_threads(None))")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert int(found.stdout) == (expected or usable), found.stderr


FIRST_COMPILE = """
import threading, numpy as np, hotloop as hl
X = np.random.default_rng(0).standard_normal((50, 3))
models = [hl.Perceptron(keep="last", max_iter=500) for _ in range(4)]
threads = [threading.Thread(target=model.fit, args=(X, X[:, 0] > 0), daemon=True) for model in models]
for thread in threads: thread.start()
for thread in threads: thread.join(120)
print(*[np.array_equal(model.coef_, models[0].coef_) for model in models], models[0].converged_)
"""


def test_kernels_may_be_compiled_first_by_several_threads(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    found = python(FIRST_COMPILE)
    assert (found.stdout.split(), found.returncode) == (["True"] * 5, 0), found.stderr


def test_a_network_may_be_trained_beside_another_on_teams_of_threads():
    """Each fit has a team of its own, and barriers of its own."""
    X, y = iris()
    model = hl.MLPClassifier((8,), max_iter=15, random_state=0, n_threads=2)
    alone = model.fit(X, y).coefs_[0].copy()
    found = [None] * 3

    def fit(k):
        found[k] = hl.MLPClassifier(**model.get_params()).fit(X, y).coefs_[0]

    threads = [threading.Thread(target=fit, args=(k,), daemon=True) for k in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for coefs in found:
        np.testing.assert_array_equal(coefs, alone)
