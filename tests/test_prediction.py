"""Prediction by its three ways: any rows, a few by the shortest way, and bound to one shape."""

import re
import threading

import numpy as np
import pytest

import helpers
from helpers import refuses
from hotloop.engine.decisions import ONE_OF_MANY, ONE_OF_TWO, SEVERAL, class_probabilities, winners
from hotloop.engine.team import Team
from hotloop.prediction import BATCH, outputs_as_given

pytestmark = pytest.mark.kernels


def net(*units, dtype="float32", **options):
    """A network of float32, if nothing else is said."""
    return helpers.net(*units, dtype=dtype, **options)


def rows(n, width=5, dtype="float32"):
    """Normal numbers (n, width)."""
    return np.random.default_rng(n).standard_normal((n, width)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 7, BATCH, BATCH + 3])
def test_a_few_rows_come_out_as_many_do(n, dtype):
    """Whatever the way: from a list of rows, staged, among others, by a bound function."""
    model, X = net(5, 9, 3, activation="tanh", dtype=dtype), rows(n, dtype=dtype)
    direct = outputs_as_given(model, X, 1)
    assert direct.dtype == dtype
    many = model.predict(np.vstack([X, rows(2 * BATCH, dtype=dtype)]))[:n]
    for outputs in (model.predict(X), model.predict(X.tolist()), many, model.predictor(n)(X)):
        np.testing.assert_array_equal(outputs, direct)


STRANGE = {
    "float64": lambda X: X.astype("float64"),
    "other byte order": lambda X: X.astype(">f4"),
    "by columns": np.asfortranarray,
    "every other row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "read-only": lambda X: np.frombuffer(X.tobytes(), np.float32).reshape(X.shape),
    "a subclass": lambda X: X.view(np.memmap),
    "unaligned": lambda X: np.frombuffer(bytearray(b"x" + X.tobytes()), np.float32, offset=1).reshape(
        X.shape
    ),
}


@pytest.mark.parametrize("kind", STRANGE.values(), ids=STRANGE)
def test_arrays_that_kernels_do_not_take_go_the_long_way(kind):
    """Otherwise each kind would be compiled for, or be read wrongly."""
    model, X = net(5, 3), rows(4)
    assert outputs_as_given(model, kind(X), 1) is None
    np.testing.assert_array_equal(model.predict(kind(X)), model.predict(X))
    with pytest.raises(ValueError, match=r"^x: expected .* float32 array of shape \(4, 5\).*model.predict"):
        model.predictor(4)(kind(X))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [(0, 0), (3, 4)])
def test_a_number_that_is_not_finite_is_refused_however_few_rows_there_are(where, wrong):
    model, X = net(5, 3, activation="sigmoid"), rows(4)
    X[where] = wrong
    with refuses(ValueError, "X"):
        model.predict(X)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("where", [0, BATCH - 1, BATCH, 3 * BATCH + 4])
def test_a_number_that_is_not_finite_is_found_by_whichever_thread_has_it(where, n_threads):
    model, X = net(5, 3, activation="relu"), rows(3 * BATCH + 5)
    expected = model.predict(X.tolist())
    np.testing.assert_array_equal(outputs_as_given(model, X, n_threads), expected)
    np.testing.assert_array_equal(model.predict(X, n_threads=n_threads), expected)
    X[where, 2] = np.nan
    assert outputs_as_given(model, X, n_threads) is None
    with refuses(ValueError, "X"):
        model.predict(X, n_threads=n_threads)


@pytest.mark.parametrize("wrong", [True, 1.0, "1"])
@pytest.mark.parametrize("n", [2, 2 * BATCH])
def test_threads_are_a_whole_number_however_many_rows_there_are(n, wrong):
    with refuses(TypeError, "n_threads"):
        net(5, 3).predict(rows(n), n_threads=wrong)


@pytest.mark.parametrize(
    ("n", "n_threads", "used"),
    [
        (64, 2, 1),
        (65, 2, 2),
        (BATCH, 2, 2),
        (BATCH, 3, 3),
        (BATCH, None, 1),
        (2 * BATCH, 2, 2),
        (2 * BATCH, 1, 1),
    ],
)
def test_as_many_threads_as_asked_for_share_what_is_worth_it(n, n_threads, used, monkeypatch):
    teams = []
    monkeypatch.setattr("hotloop.prediction.Team", lambda n: teams.append(n) or Team(n))
    model = net(5, 3)
    np.testing.assert_array_equal(outputs_as_given(model, rows(n), n_threads), model.predict(rows(n)))
    assert max(teams[:1], default=1) == used


@pytest.mark.parametrize("shape", [(0, 5), (1, 4), (1, 6), (5,), (1, 1, 5)])
def test_few_rows_of_another_shape_are_refused(shape):
    with refuses(ValueError, "X"):
        net(5, 3).predict(np.zeros(shape, np.float32))


def test_a_bound_function_takes_its_shape_alone():
    predict = net(5, 3).predictor(2)
    for shape in ((1, 5), (3, 5), (2, 4), (10,)):
        with pytest.raises(ValueError, match=rf"^x: expected .*\(2, 5\), got .*{re.escape(str(shape))}"):
            predict(np.zeros(shape, np.float32))
    with pytest.raises(TypeError, match=r"^x: expected .* got list"):
        predict([[0.0] * 5] * 2)
    for rows_wanted, error in ((0, ValueError), (1.0, TypeError)):
        with refuses(error, "rows"):
            net(5, 3).predictor(rows_wanted)


def test_a_bound_function_has_the_weights_of_the_moment_and_new_memory_each_time():
    model, X = net(5, 3), rows(2)
    predict = model.predictor(2)
    before = predict(X)
    kept = before.copy()
    model.theta[:] *= 2
    after = predict(X)
    np.testing.assert_array_equal(before, kept)
    np.testing.assert_array_equal(after, model.predict(X))
    assert (after != before).any()


def test_several_threads_may_call_one_bound_function():
    model = net(20, 64, 64, 2, activation="relu")
    predict, X = model.predictor(), rows(40, 20)
    expected, wrong = model.predict(X), []

    def check(i):
        for _ in range(200):
            if (predict(X[i : i + 1]) != expected[i]).any():
                wrong.append(i)

    threads = [threading.Thread(target=check, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_are_those_of_the_formulas(dtype):
    z = np.array([[0.0, 1.0, -1.0], [80.0, 0.0, -80.0], [3.0, 3.0, 3.0]], dtype)
    e = np.exp(z.astype("f8") - z.max(axis=1, keepdims=True))
    sigmoid = 1 / (1 + np.exp(-z.astype("f8")))
    out = np.empty_like(z)
    class_probabilities(ONE_OF_MANY, z, out)
    np.testing.assert_allclose(out, e / e.sum(axis=1, keepdims=True), rtol=1e-6, atol=1e-37)
    class_probabilities(SEVERAL, z, out)
    np.testing.assert_allclose(out, sigmoid, rtol=1e-6, atol=1e-37)
    column, pair = np.ascontiguousarray(z[:, :1]), np.empty((3, 2), dtype)
    class_probabilities(ONE_OF_TWO, column, pair)
    np.testing.assert_allclose(pair[:, 1], sigmoid[:, 0], rtol=1e-6)
    np.testing.assert_allclose(pair[:, 0], 1 / (1 + np.exp(column[:, 0].astype("f8"))), rtol=1e-6)


def test_winners_are_the_first_largest_and_what_is_above_the_middle():
    z, out = rows(50, 4), np.empty(50, np.int64)
    z[::7, 3] = z[::7].max(axis=1)
    winners(z, 0.0, out)
    np.testing.assert_array_equal(out, z.argmax(axis=1))
    for middle in (0.0, 0.5):
        winners(z[:, :1].copy(), middle, out)
        np.testing.assert_array_equal(out, z[:, 0] > middle)
