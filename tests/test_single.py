"""Minibatches of one row leave out what is 0, and are otherwise those of any other size."""

import numpy as np
import pytest

import hotloop as hl
from hotloop.engine.address import NOWHERE
from hotloop.engine.single import nonzeros
from hotloop.engine.table import SINGLE_FORWARD, SINGLE_STEP

pytestmark = pytest.mark.kernels

OPTIMIZERS = {
    "sgd": hl.SGD(0.1),
    "schedule": hl.SGD(lambda steps: 0.1 / (steps + 1.0)),
    "momentum": hl.SGD(0.05, momentum=0.9),
    "adam": hl.Adam(0.01),
}
RECIPES = {
    "": {},
    "clip_value": {"clip_value": 1e-3},
    "clip_norm": {"clip_norm": 0.1},
    "penalty": {"penalty": hl.L2(0.1)},
    "average": {"average": hl.EMA(0.9)},
}


def sparse_rows(n=9, width=21, share=0.3, dtype=np.float32):
    """Rows of which about `share` is not 0: one is all 0, one has no 0, one a negative 0."""
    rng = np.random.default_rng(1)
    X = (rng.standard_normal((n, width)) * (rng.random((n, width)) < share)).astype(dtype)
    X[1], X[2], X[3, 0] = 0, 1, -0.0
    return X, np.arange(n) % 5


def trained(X, y, *, units=(17, 5), use_bias=True, n_threads=1, dtype="float32", **recipe):
    """A model after two epochs in minibatches of one."""
    *hidden, last = units
    layers = [
        *(hl.Dense(width, "relu", use_bias=use_bias) for width in hidden),
        hl.Dense(last, use_bias=use_bias),
    ]
    model = hl.Sequential(layers, input_dim=X.shape[1], dtype=dtype)
    trainer = hl.Trainer(model, loss="softmax_cross_entropy", batch_size=1, n_threads=n_threads, **recipe)
    trainer.fit(X, y, epochs=2)
    return trainer


def twin_of(monkeypatch, *args, **options):
    """The same in the form of other minibatches."""
    with monkeypatch.context() as patch:
        patch.setattr("hotloop.stepper.link_single", lambda *args, **options: None)
        return trained(*args, **options)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bit_for_bit_like_any_minibatch(optimizer, recipe, dtype, monkeypatch):
    X, y = sparse_rows(dtype=dtype)
    options = RECIPES[recipe] | {"optimizer": OPTIMIZERS[optimizer], "dtype": dtype}
    found, expected = trained(X, y, **options), twin_of(monkeypatch, X, y, **options)
    assert np.any(found.model.theta != hl.Sequential(found.model.layers, input_dim=21, dtype=dtype).theta)
    np.testing.assert_array_equal(found.model.theta, expected.model.theta)
    np.testing.assert_array_equal(found.stepper.state, expected.stepper.state)
    np.testing.assert_array_equal(found.stepper.average, expected.stepper.average)
    assert found.history["loss"] == expected.history["loss"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
@pytest.mark.parametrize("units", [(5,), (64, 40, 7), (3, 6), (1, 2, 5)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_any_share_of_zeros_and_any_width(share, units, use_bias, monkeypatch):
    X, y = sparse_rows(share=share)
    options = {"optimizer": hl.SGD(0.1), "units": units, "use_bias": use_bias}
    found, expected = trained(X, y, **options), twin_of(monkeypatch, X, y, **options)
    np.testing.assert_array_equal(found.model.theta, expected.model.theta)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_threads_change_nothing(n_threads):
    X, y = sparse_rows()
    one, more = (trained(X, y, optimizer=hl.SGD(0.1), n_threads=n) for n in (1, n_threads))
    np.testing.assert_array_equal(more.model.theta, one.model.theta)


def test_rows_of_a_kernel_whose_input_is_zero_stay():
    X, y = sparse_rows()
    X[:, 4:9] = 0
    trainer = trained(X, y, optimizer=hl.SGD(0.1))
    fresh = hl.Sequential(trainer.model.layers, input_dim=X.shape[1])
    now, before = (model.parameters() for model in (trainer.model, fresh))
    first = next(iter(now))
    same = np.all(now[first] == before[first], axis=1)
    np.testing.assert_array_equal(np.flatnonzero(same), np.arange(4, 9))


def test_only_where_it_holds():
    """Of one row alone, and in place only if the step is θ − η g and nothing else."""

    def calls(capacity, optimizer, **recipe):
        model = hl.Sequential([hl.Dense(5)], input_dim=3)
        trainer = hl.Trainer(model, loss="mse", optimizer=optimizer, **recipe)
        net = trainer.stepper.bind(capacity, 1, gathers=False)
        return [net.calls[k] != NOWHERE for k in (SINGLE_FORWARD, SINGLE_STEP)]

    assert calls(1, hl.SGD(0.1)) == [True, True]
    assert calls(2, hl.SGD(0.1)) == [False, False]
    assert calls(1, hl.SGD(0.1, momentum=0.9)) == [True, False]
    assert calls(1, hl.Adam()) == [True, False]
    assert calls(1, hl.SGD(0.1), clip_value=1.0) == [True, False]


def test_nonzeros():
    x, places = np.array([0.0, 2.0, -0.0, np.nan, np.inf, 0.0]), np.full(7, -1.0)
    assert nonzeros(x, places) == 3
    np.testing.assert_array_equal(places[:3], [1, 3, 4])
    assert places[6] == -1
    assert nonzeros(x[:0], places) == 0
