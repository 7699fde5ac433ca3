"""Inputs that are read where they lie: the bits of copied ones, wherever the first layer does so."""

import numpy as np
import pytest

import hotloop as hl
from helpers import WIDE_NETWORKS, WIDE_RECIPES
from hotloop._jit import COMPILED
from hotloop.engine.descent import kernel_gradient
from hotloop.engine.direct import direct_gradient, is_direct, link_direct
from hotloop.engine.network import forward, forward_direct
from hotloop.engine.table import DELTA, PREDICTION, VALUE
from hotloop.engine.team import Crew, sync_zeros

pytestmark = pytest.mark.kernels

if COMPILED:
    N_IN, SHAPES = 339, [(1, 32), (16, 45), (37, 64), (150, 97), (37, 300), (330, 260), (300, 33)]
else:
    N_IN, SHAPES = 17, [(1, 5), (9, 13)]
SHAPES = [pytest.param(*shape, id="x".join(map(str, shape))) for shape in SHAPES]
DTYPES = ("float32", "float64")


def sequential(*layers, n_in, dtype="float32"):
    return hl.Sequential(layers, input_dim=n_in, dtype=dtype, seed=4)


def values(net, k, column, n):
    """What row k of the table has for each of `n` rows, (n, outputs): VALUE or DELTA."""
    n_out = net.table[k, 3]
    return net.work[net.table[k, column] :][: n * n_out].reshape(n, n_out)


def both(rows, units, dtype, activation="relu", use_bias=True, n_threads=1):
    """(the model, X, places, a network that reads X[places] where they lie, one for a copy of these)."""
    dense = hl.Dense(units, activation, use_bias=use_bias)
    model = sequential(dense, hl.Dense(2), n_in=N_IN, dtype=dtype)
    rng = np.random.default_rng(rows)
    model.theta[:] = rng.standard_normal(model.theta.size)
    X, places = rng.standard_normal((rows + 30, N_IN)).astype(dtype), rng.permutation(rows + 30)[:rows]
    net, other = model.bind(rows, n_threads, None, True, (), True), model.bind(rows, 1)
    net.work[:] = np.nan
    net.work[net.zeros : net.zeros + max(units, N_IN)] = 0
    link_direct(net)
    return model, X, places, net, other


def panel_of(net, tid=0):
    return net.work[net.panels + tid * net.panel_size :][: net.panel_size]


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(("activation", "use_bias"), [("relu", True), ("tanh", True), ("relu", False)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "units"), SHAPES)
def test_the_outputs_are_those_of_a_copy(rows, units, dtype, activation, use_bias, n_threads):
    model, X, places, net, other = both(rows, units, dtype, activation, use_bias, n_threads)
    sync = sync_zeros(n_threads)
    for tid in range(n_threads):
        crew = Crew(tid, n_threads, sync)
        forward_direct(net, X.reshape(-1), places, model.theta, crew, panel_of(net, tid))
    x = X[places].reshape(-1)
    forward(other, model.theta, x, rows, PREDICTION, Crew(0, 1, sync), panel_of(other))
    k = int(activation == "relu")
    np.testing.assert_array_equal(values(net, k, VALUE, rows), values(other, k, VALUE, rows))
    assert net.direct == k + 1
    assert np.ptp(values(net, k, VALUE, rows)) > 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "units"), SHAPES)
def test_the_gradient_is_that_of_a_copy(rows, units, dtype):
    """Of some inputs, not of all, with an odd number of them at the end."""
    _, X, places, net, other = both(rows, units, dtype)
    deltas = np.random.default_rng(1).standard_normal((rows, units)).astype(dtype)
    values(net, 0, DELTA, rows)[:] = values(other, 0, DELTA, rows)[:] = deltas
    x, lo, hi = X[places].reshape(-1), 3, N_IN
    expected = np.full((hi - lo) * units + 5, np.nan, dtype)
    kernel_gradient(other, other.work, 0, x, 0, rows, lo, hi, expected, 5, False, panel_of(other))
    panel = panel_of(net)
    for room in (len(panel), 40 * rows):  # for all inputs, and for some of them at a time
        found = np.full_like(expected, np.nan)
        arguments = (X.reshape(-1), places, lo, hi, found, 5, panel[:room])
        direct_gradient(net.table[0], net.work, net.zeros, *arguments)
        np.testing.assert_array_equal(found, expected)
    twin = X[places][:, lo:hi].astype("float64").T @ deltas.astype("float64")
    np.testing.assert_allclose(
        found[5:].reshape(twin.shape), twin, rtol=0, atol=1e-5 * rows if dtype == "float32" else 1e-11
    )


def full(n, n_in=256):
    """What `is_direct` asks for, of data without zeros."""
    return np.ones((n, n_in), bool)


def test_where_it_pays():
    """Wide inputs, some units and not very many, many rows in a minibatch, and data that has few zeros."""

    def direct(n_in=256, units=64, capacity=64, filled=full, *first):
        model = sequential(*(first or (hl.Dense(units),)), n_in=n_in)
        return is_direct(model._operations[0], capacity, lambda n: filled(n, n_in))

    def zeros_of(share):
        """Where about so many numbers are 0, all over."""
        return lambda n, n_in: np.random.default_rng(0).random((n, n_in)) > share

    def empty_inputs(share):
        return lambda n, n_in: np.tile(np.arange(n_in) >= share * n_in, (n, 1))

    def empty_rows(share):
        return lambda n, n_in: np.tile(np.arange(n) >= share * n, (n_in, 1)).T

    assert direct()
    assert not direct(n_in=63, capacity=1000)
    assert not direct(units=31)
    assert not direct(units=1024)
    assert not direct(capacity=63)
    assert not direct(n_in=4096, capacity=15)
    assert direct(n_in=1024, capacity=16)
    assert not direct(256, 64, 64, full, hl.Standardize(), hl.Dense(64))
    assert direct(filled=zeros_of(0.5))  # of eight neighbours nearly always one is not
    assert not direct(filled=zeros_of(0.9))
    assert direct(filled=empty_inputs(0.1))
    assert not direct(filled=empty_inputs(0.5))
    assert not direct(filled=empty_rows(0.5))


def test_of_what_a_fit_gathers_as_it_is():
    """Not of what it converts; and not where a minibatch goes through the network in parts."""
    model = sequential(hl.Dense(64, "relu"), hl.Dense(3), n_in=256)
    stepper = hl.Trainer(model, loss="softmax_cross_entropy").stepper

    def direct(batch_size=128, gathers=True, filled=full, converts=False):
        return stepper.bind(batch_size, 1, gathers, filled, converts).direct

    assert direct() == 2
    assert direct(gathers=False) == 0
    assert direct(filled=None) == 0
    assert direct(converts=True) == 0
    assert direct(batch_size=1024) == 2
    assert direct(batch_size=1025) == 0


def test_no_room_for_a_copy():
    model = sequential(hl.Dense(32), n_in=2000)
    copies, direct = (model.bind(256, 1, None, True, (), direct) for direct in (False, True))
    assert copies.work.nbytes - direct.work.nbytes > 1e6


def squared(z, y):
    return ((z - np.eye(5)[y[:, 0].astype(int)]) ** 2).sum(axis=1)


def slope(z, y):
    return 2 * (z - np.eye(5)[y[:, 0].astype(int)])


RECIPES = WIDE_RECIPES | {
    "schedule-free": {"optimizer": hl.ScheduleFreeAdamW()},
    "own loss": {"loss": hl.losses.Custom(value=squared, gradient=slope)},
}


def trained(network, direct, monkeypatch, batch_size=128, n_threads=1, dtype="float32", recipe="adam", n=406):
    """(θ, losses) after two epochs; the last minibatch has fewer rows."""
    monkeypatch.setattr("hotloop.sequential.is_direct", lambda *_: direct)
    model = sequential(*WIDE_NETWORKS[network], n_in=130, dtype=dtype)
    X = np.random.default_rng(2).standard_normal((n, 130)).astype(dtype)
    options = {"loss": "softmax_cross_entropy", "optimizer": hl.Adam(0.01)} | RECIPES[recipe]
    trainer = hl.Trainer(model, batch_size=batch_size, n_threads=n_threads, **options)
    assert bool(trainer.stepper.bind(batch_size, n_threads, True, full).direct) == direct
    history = trainer.fit(X, np.arange(n) % 5, epochs=2)
    return model.theta.copy(), history["loss"]


def assert_alike(monkeypatch, network="relu", **options):
    there, copied = (trained(network, direct, monkeypatch, **options) for direct in (True, False))
    np.testing.assert_array_equal(there[0], copied[0])
    assert there[1] == copied[1]


compiled_only = pytest.mark.skipif(not COMPILED, reason="takes minutes in plain Python")


@compiled_only
@pytest.mark.parametrize("network", WIDE_NETWORKS)
def test_every_network_trains_the_same_weights(network, monkeypatch):
    assert_alike(monkeypatch, network)


@compiled_only
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_trains_the_same_weights(recipe, monkeypatch):
    assert_alike(monkeypatch, recipe=recipe)


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [5, 32, 81, 400])
def test_minibatches_of_any_size_train_the_same_weights(batch_size, n_threads, dtype, monkeypatch):
    """In relays of threads, and where these share the rows. (406 rows leave one, 22, 1 and 6.)"""
    monkeypatch.setattr("hotloop.session.Threads.of_next_block", lambda self: self.work[0])
    assert_alike(monkeypatch, batch_size=batch_size, n_threads=n_threads, dtype=dtype)


@compiled_only
def test_a_fit_takes_it_by_itself(monkeypatch):
    """Where rows are shuffled, as they lie, in the model's dtype, and have few zeros; and only there."""
    monkeypatch.setattr("hotloop.data.staging.FEW_BYTES", 0)
    taken = []

    def link(net):
        taken.append(net.direct)
        link_direct(net)

    monkeypatch.setattr("hotloop.stepper.link_direct", link)
    X = np.random.default_rng(0).standard_normal((256, 130)).astype("float32")
    half_empty = X * (np.arange(130) < 65)
    for data in (X, half_empty, X.astype("float64"), np.asfortranarray(X)):
        for shuffle in (True, False):
            model = sequential(hl.Dense(40, "relu"), hl.Dense(5), n_in=130)
            trainer = hl.Trainer(model, loss="softmax_cross_entropy")
            trainer.fit(data, np.arange(256) % 5, epochs=1, shuffle=shuffle)
    assert taken == [2, 0, 0, 0, 0, 0, 0, 0]
