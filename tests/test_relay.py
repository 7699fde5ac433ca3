"""Threads that share the inputs of the first layer: the bits of one thread, whatever they wait for."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hotloop as hl
from helpers import WIDE_NETWORKS, WIDE_RECIPES, within
from hotloop._jit import COMPILED, kernel
from hotloop.engine.address import NOWHERE
from hotloop.engine.cuts import GROUP, ZEROS_COST, balance, cuts_by_cost
from hotloop.engine.descent import share_of_rows
from hotloop.engine.gather import link_convert, own_inputs
from hotloop.engine.loop import Block
from hotloop.engine.network import forward
from hotloop.engine.relay import link_relay, relay
from hotloop.engine.single import link_single
from hotloop.engine.table import PREDICTION, RELAY, VALUE
from hotloop.engine.team import GIVEN_UP, ROUND, Crew, pass_on, sync_zeros, wait_for

pytestmark = pytest.mark.kernels

threads_only = pytest.mark.skipif(not COMPILED, reason="in plain Python every team is one thread")
if COMPILED:
    ROWS, N_IN, UNITS = 37, 203, 45
else:
    ROWS, N_IN, UNITS = 9, 101, 33


def sequential(*layers, n_in=N_IN, dtype="float32"):
    return hl.Sequential(layers, input_dim=n_in, dtype=dtype, seed=4)


def outputs(net, k):
    """What row k of the table has, (capacity, outputs)."""
    n_out = net.table[k, 3]
    return net.work[net.table[k, VALUE] :][: len(net.row_loss) * n_out].reshape(-1, n_out)


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize("rows", [1, 8, ROWS])
@pytest.mark.parametrize("kind", [None, "float64", "uint8"])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_outputs_of_one_thread(dtype, use_bias, kind, rows, n_threads):
    """One thread after the other, so none needs to wait."""
    model = sequential(hl.Dense(UNITS, "relu", use_bias=use_bias), hl.Dense(2), dtype=dtype)
    rng = np.random.default_rng(1)
    X = (100 * rng.standard_normal((60, N_IN)) * (rng.random((60, N_IN)) < 0.4)).astype(kind or dtype)
    numbers, nothing, scale = rng.permutation(60), np.empty((0, 1), dtype), 1.0
    net, one = model.bind(rows, n_threads, None, True), model.bind(rows, 1)
    x, other = X.reshape(-1), np.empty(0, np.uint8)
    if kind is not None:
        link_convert(net, X.dtype)
        x, other, scale = nothing[:, 0], X.reshape(-1).view(np.uint8), 0.01
    if rows == 1:
        link_single(net, hl.SGD(momentum=0.9).single_kernels, np.empty((1, model.theta.size), dtype))
    block = Block(x, numbers, nothing, nothing[:, 0], 60, other, scale)
    link_relay(net, block)
    assert net.calls[RELAY] != NOWHERE
    net.work[net.inputs :] = np.nan
    outputs(net, 0)[:] = outputs(net, 1)[:] = np.nan
    sync = sync_zeros(n_threads)
    sync[GIVEN_UP] = 1  # the first need not wait for the last
    panel = net.work[net.panels : net.panels + net.panel_size]
    for tid in range(n_threads):
        relay(net, block, 5, rows, model.theta, Crew(tid, n_threads, sync), panel)
    expected = X[numbers[5 : 5 + rows]].astype(dtype) * model.dtype.type(scale)
    alone = Crew(0, 1, sync)
    forward(one, model.theta, expected.reshape(-1), rows, PREDICTION, alone, one.work[one.panels :])
    # A minibatch of one row is rectified later.
    found = np.maximum(outputs(net, 0), 0) if rows == 1 else outputs(net, 1)
    np.testing.assert_array_equal(found, outputs(one, 1))
    assert (outputs(one, 1) > 0).any()
    fetched, owners = np.full_like(expected, np.nan), 0
    for tid in range(n_threads):
        there = net.work[own_inputs(net, Crew(tid, n_threads, sync)) :][: expected.size].reshape(rows, N_IN)
        columns = np.isfinite(there).any(axis=0)
        fetched[:, columns], owners = there[:, columns], owners + columns
    np.testing.assert_array_equal(fetched, expected)
    np.testing.assert_array_equal(owners, 1)


@given(each=st.lists(st.floats(0.1, 10.0), min_size=1, max_size=300), n_threads=st.integers(1, 20))
def test_cuts_are_a_partition_of_much_the_same_cost(each, n_threads):
    total = np.concatenate([[0], np.cumsum(each)])
    for n, cuts in enumerate(cuts_by_cost(np.array(each), n_threads)):
        if n > 0:
            cuts = cuts[: n + 1]
            assert (cuts[0], cuts[n]) == (0, len(each))
            assert (np.diff(cuts) >= 0).all()
            assert all(cut % GROUP == 0 or cut == len(each) for cut in cuts)
            assert np.diff(total[cuts]).max() <= total[-1] / n + 10 * GROUP


def test_threads_have_as_much_to_multiply():
    """Of columns that are mostly 0 one has more; of all alike as many."""
    net = sequential(hl.Dense(40), n_in=160).bind(8, 2, None, True)
    first, second = Crew(0, 2, sync_zeros(2)), Crew(1, 2, sync_zeros(2))
    X = np.random.default_rng(0).uniform(1, 2, (500, 160))
    assert [share_of_rows(net, 0, crew) for crew in (first, second)] == [(0, 80), (80, 160)]
    balance(net.cuts, X != 0)
    assert [share_of_rows(net, 0, crew) for crew in (first, second)] == [(0, 80), (80, 160)]
    X[:, :80] = 0
    balance(net.cuts, X != 0)
    _, cut = share_of_rows(net, 0, first)
    assert share_of_rows(net, 0, second) == (cut, 160)
    assert abs(ZEROS_COST * 80 + (cut - 80) - (160 - cut)) <= 16
    assert share_of_rows(net, 0, Crew(0, 1, sync_zeros(1))) == (0, 160)


def test_where_it_pays():
    """Several threads that have enough inputs and outputs each, and minibatches that are not too large."""

    def relays(n_threads=2, capacity=32, gathers=True, n_in=64, *first):
        model = sequential(*(first or (hl.Dense(32),)), n_in=n_in)
        return bool(model.bind(capacity, n_threads, None, gathers).relays)

    assert relays()
    assert relays(capacity=1)
    assert relays(capacity=1024)
    assert not relays(capacity=1025)
    assert not relays(n_threads=1)
    assert not relays(n_threads=3)
    assert relays(3, 32, True, 96)
    assert not relays(n_in=63)
    assert not relays(gathers=False)
    assert not relays(2, 32, True, 64, hl.Dense(31))
    assert not relays(2, 32, True, 64, hl.Standardize(), hl.Dense(32))
    rectified = sequential(hl.Dense(32, "relu"), n_in=64)
    assert [rectified.bind(rows, 2, None, True).relays for rows in (1, 2)] == [1, 2]


NETWORKS = WIDE_NETWORKS | {
    "dropout": (hl.Dropout(0.2), hl.Dense(40, "relu"), hl.Dropout(0.5), hl.Dense(5)),
}
RECIPES = WIDE_RECIPES | {
    "sgd": {"optimizer": hl.SGD(0.1)},
    "momentum": {"optimizer": hl.SGD(0.1, momentum=0.9)},
}


def trained(network, n_threads, batch_size, kind="float32", *, recipe="adam", n=150):
    """(θ, losses) after two epochs; 150 rows leave a last partial minibatch."""
    model = sequential(*NETWORKS[network], n_in=100)
    rng = np.random.default_rng(2)
    X = (rng.standard_normal((n, 100)) * (rng.random((n, 100)) < 0.5)).astype(kind)
    X[rng.random(n) < 0.9, :60] = 0  # so threads have unequal numbers of inputs
    options = {"optimizer": hl.Adam(0.01)} | RECIPES[recipe]
    trainer = hl.Trainer(
        model, loss="softmax_cross_entropy", batch_size=batch_size, n_threads=n_threads, **options
    )
    relays = trainer.stepper.bind(batch_size, n_threads, gathers=True).relays > 0
    assert relays == (n_threads > 1 and not isinstance(model.layers[0], hl.Dropout))
    history = within(60, lambda: trainer.fit(X, np.arange(n) % 5, epochs=2))
    return model.theta, history["loss"]


@pytest.fixture
def all_threads(monkeypatch):
    """All threads run each block, whatever is quickest."""
    monkeypatch.setattr("hotloop.session.Threads.of_next_block", lambda self: self.work[0])


@threads_only
@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 32, 128])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_layer_trains_the_same_weights(network, batch_size, n_threads, all_threads):
    rows = max(batch_size, 2) if network == "batch norm" else batch_size
    alone, together = (trained(network, n, rows) for n in (1, n_threads))
    np.testing.assert_array_equal(together[0], alone[0])
    assert together[1] == alone[1]


@threads_only
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("batch_size", [1, 32])
def test_every_recipe_trains_the_same_weights(recipe, batch_size, all_threads):
    alone, together = (trained("relu", n, batch_size, recipe=recipe) for n in (1, 2))
    np.testing.assert_array_equal(together[0], alone[0])
    assert together[1] == alone[1]


@threads_only
@pytest.mark.parametrize("kind", ["float32", "float64", "uint8"])
def test_every_dtype_trains_the_same_weights(kind, all_threads, monkeypatch):
    monkeypatch.setattr("hotloop.data.staging.FEW_BYTES", 0)
    alone, together = (trained("relu", n, 32, kind) for n in (1, 3))
    np.testing.assert_array_equal(together[0], alone[0])


@threads_only
def test_more_threads_than_processors_come_to_an_end(all_threads):
    def theta(n_threads):
        model = sequential(hl.Dense(33, "relu"), hl.Dense(3), n_in=400)
        X = np.random.default_rng(0).standard_normal((300, 400)).astype("float32")
        trainer = hl.Trainer(model, loss="softmax_cross_entropy", batch_size=64, n_threads=n_threads)
        assert trainer.stepper.bind(64, n_threads, gathers=True).relays == 2 * (n_threads > 1)
        within(60, lambda: trainer.fit(X, np.arange(300) % 3, epochs=3))
        return model.theta

    np.testing.assert_array_equal(theta(12), theta(1))


@kernel
def waits(crew, tid, rows):
    wait_for(crew, tid, rows)
    return rows


@threads_only
def test_who_waits_goes_on_when_enough_rows_are_passed():
    """Fewer rows do not do, nor those of an earlier round."""
    sync = sync_zeros(2)
    first, second = Crew(0, 2, sync), Crew(1, 2, sync)
    waits(second, 0, 0)  # compiled now
    passes = kernel(lambda crew, rows: pass_on(crew, rows))
    passes(first, 8)
    sync[ROUND] = 1
    done = []
    waiting = threading.Thread(target=lambda: done.append(waits(second, 0, 5)), daemon=True)
    waiting.start()
    for rows in (0, 4):
        passes(first, rows)
        time.sleep(0.1)
        assert not done
    passes(first, 5)
    waiting.join(20)
    assert done == [5]


@threads_only
def test_who_waits_goes_on_when_the_team_gives_up():
    sync, done = sync_zeros(2), []
    waits(Crew(1, 2, sync), 0, 0)
    waiting = threading.Thread(target=lambda: done.append(waits(Crew(1, 2, sync), 0, 5)), daemon=True)
    waiting.start()
    time.sleep(0.1)
    assert not done
    sync[GIVEN_UP] = 1
    waiting.join(20)
    assert done == [5]
