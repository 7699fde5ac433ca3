"""Threads: shares of a range, the barrier, and the same bits for any number of them."""

import threading
import time

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hotloop as hl
from helpers import within
from hotloop._jit import COMPILED
from hotloop.data.staging import WIDE
from hotloop.engine.team import Team, barrier, check_threads, share, sync_zeros
from hotloop.errors import InvalidTypeError, InvalidValueError

pytestmark = pytest.mark.kernels

threads_only = pytest.mark.skipif(not COMPILED, reason="in plain Python every team is one thread")
LINE = 16  # int64 numbers, so that counters of two threads share no cache line


@given(n=st.integers(0, 5000), grain=st.integers(1, 70), n_threads=st.integers(1, 20))
def test_shares_are_a_partition_in_whole_grains(n, grain, n_threads):
    parts = [share(n, grain, tid, n_threads) for tid in range(n_threads)]
    assert parts[0][0] == 0
    assert parts[-1][1] == n
    grains = -(-n // grain)
    for (lo, hi), (following, _) in zip(parts, [*parts[1:], (n, n)], strict=True):
        assert lo <= hi == following
        assert lo % grain == 0 or lo == n
        assert hi - lo <= -(-grains // n_threads) * grain, "somebody does more than a fair share"


@numba.njit(nogil=True)
def lockstep(counts, rounds, tid, n_threads, sync):
    """Rounds in which another thread was seen behind, or ahead by more than it may be."""
    wrong = 0
    for r in range(1, rounds + 1):
        counts[tid * LINE] = r
        barrier(sync, n_threads)
        for other in range(n_threads):
            seen = counts[other * LINE]
            if seen != r and seen != r + 1:
                wrong += 1
    return wrong


@numba.njit(nogil=True)
def take_turns(total, rounds, tid, n_threads, sync):
    """In each round one thread alone adds 1, plainly: nothing is lost if the others really wait."""
    for r in range(rounds):
        if r % n_threads == tid:
            total[0] += 1
        barrier(sync, n_threads)
    return total[0]


@threads_only
@pytest.mark.parametrize("n_threads", [1, 2, 3, 4, 5])
def test_barrier_holds_everybody(n_threads):
    rounds = 20_000
    counts, total, wrong = np.zeros(n_threads * LINE, np.int64), np.zeros(1, np.int64), np.zeros(n_threads)

    def one(tid, n, sync):
        wrong[tid] = lockstep(counts, rounds, tid, n, sync)

    def run():
        with Team(n_threads) as team:
            team.run(one)
            assert team.run(take_turns, total, rounds) == rounds

    within(60, run)
    np.testing.assert_array_equal(wrong, 0)
    np.testing.assert_array_equal(counts[::LINE], rounds)


@threads_only
def test_barrier_waits_for_the_last():
    """With one thread late by much more than it may spin: the others have not gone on."""
    sync, order = sync_zeros(1), []

    @numba.njit(nogil=True)
    def meet(sync):
        barrier(sync, 3)

    meet.compile((numba.int64[::1],))

    def early():
        meet(sync)
        order.append("early")

    def late():
        time.sleep(0.2)
        order.append("late")
        meet(sync)

    threads = [threading.Thread(target=f, daemon=True) for f in (early, early, late)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert order == ["late", "early", "early"]


@threads_only
@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_every_thread_runs_once_with_its_number(n_threads):
    seen = []

    def note(word, tid, n, sync):
        seen.append((word, tid, n, threading.get_ident()))
        return tid, word

    with Team(n_threads) as team:
        for word in ("first", "second"):
            seen.clear()
            assert team.run(note, word) == (0, word)
            assert sorted(row[:3] for row in seen) == [(word, tid, n_threads) for tid in range(n_threads)]
            assert [row[3] for row in seen if row[1] == 0] == [threading.get_ident()]
    assert threading.active_count() <= 2  # this one, and perhaps a monitor of the test runner


@threads_only
def test_a_failure_of_the_main_thread_hangs_nobody():
    def work(tid, n, sync):
        if tid == 0:
            raise ArithmeticError("in the middle of a block")
        take_turns(np.zeros(1, np.int64), 3, tid, n, sync)

    def run():
        with Team(3) as team:
            team.run(work)

    # Compiled now, not while the others wait.
    take_turns(np.zeros(1, np.int64), 1, 0, 1, sync_zeros(1))
    with pytest.raises(ArithmeticError, match="in the middle"):
        within(20, run)


@threads_only
def test_a_failure_of_another_thread_is_raised():
    def work(tid, n, sync):
        if tid == 2:
            raise ArithmeticError("far away")

    def run():
        with Team(3) as team:
            team.run(work)

    with pytest.raises(ArithmeticError, match="far away"):
        within(20, run)


def test_number_of_threads_is_checked():
    assert check_threads(3) == 3
    assert check_threads(None) >= 1
    assert check_threads(1024) == 1024
    for bad in (0, -1, 1025, 10**6):
        with pytest.raises(InvalidValueError, match=r"^n_threads:"):
            check_threads(bad)
    for bad in (1.0, "2", True):
        with pytest.raises(InvalidTypeError, match=r"^n_threads:"):
            check_threads(bad)


# Features, layers, loss: fewer rows than threads, odd widths, a kernel larger than a chunk.
NETWORKS = {
    "small": (3, (hl.Dense(5, "sigmoid"), hl.Dense(1, "tanh"), hl.Dense(2)), "mse"),
    "odd": (6, (hl.Dense(7, "relu"), hl.Dense(5, "tanh"), hl.Dense(3)), "softmax_cross_entropy"),
}
if COMPILED:
    NETWORKS |= {
        "odd": (20, (hl.Dense(67, "relu"), hl.Dense(33, "tanh"), hl.Dense(3)), "softmax_cross_entropy"),
        "wide": (130, (hl.Dense(257, "relu", use_bias=False), hl.Dense(10)), "softmax_cross_entropy"),
    }


def train(name, *, dtype="float32", batch_size=32, optimizer=None, n_threads=1, weighted=False, epochs=2):
    """(θ, history) after some epochs; 83 rows leave a last partial batch for any batch size."""
    n_in, layers, loss = NETWORKS[name]
    rng = np.random.default_rng(5)
    n = 83 if COMPILED else 9
    model = hl.Sequential(layers, input_dim=n_in, seed=2, dtype=dtype)
    X = rng.standard_normal((n, n_in))
    y = rng.standard_normal((n, 2)) if loss == "mse" else rng.integers(0, layers[-1].units, n)
    weights = rng.uniform(0, 2, n) if weighted else None
    trainer = hl.Trainer(
        model,
        loss=loss,
        optimizer=optimizer or hl.Adam(0.01),
        batch_size=batch_size,
        seed=3,
        n_threads=n_threads,
    )
    data = {"validation_data": (X[::2], y[::2]), "sample_weight": weights}
    history = within(60, lambda: trainer.fit(X, y, epochs=epochs, **data))
    assert np.isfinite(model.theta).all()
    return model.theta, history


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [1, 7, 32, None])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_number_of_threads_trains_the_same_weights(name, batch_size, dtype, weighted):
    given = {"dtype": dtype, "batch_size": batch_size, "weighted": weighted}
    optimizers = (hl.Adam(0.01), hl.SGD(0.05, momentum=0.9)) if batch_size == 7 else (hl.Adam(0.01),)
    for optimizer in optimizers:
        alone, history = train(name, optimizer=optimizer, **given)
        for n_threads in (2, 3, 5):
            together, other = train(name, optimizer=optimizer, n_threads=n_threads, **given)
            np.testing.assert_array_equal(together, alone)
            assert other == history


@threads_only
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads_measures_the_same(dtype):
    """Else an early stop could come at another epoch with more threads."""
    n_in, layers, loss = NETWORKS["odd"]
    model = hl.Sequential(layers, input_dim=n_in, dtype=dtype)
    rng = np.random.default_rng(0)
    for n in (200, 1000, 3333):
        X, y, weights = rng.standard_normal((n, n_in)), rng.integers(0, 3, n), rng.uniform(0, 1, n)

        def measured(n_threads, X=X, y=y, weights=weights):
            trainer = hl.Trainer(model, loss=loss, n_threads=n_threads)
            return trainer.evaluate(X, y, sample_weight=weights)

        found = {n_threads: within(60, measured, n_threads) for n_threads in (1, 2, 3, 5)}
        assert all(one == found[1] for one in found.values()), found


@threads_only
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads_and_rows_predicts_the_same(dtype):
    n_in, layers, _ = NETWORKS["odd"]
    X = np.random.default_rng(0).standard_normal((700, n_in))
    model = hl.Sequential(layers, input_dim=n_in, dtype=dtype)
    alone = model.predict(X)
    for n_threads in (2, 3, 5):
        np.testing.assert_array_equal(within(60, lambda n=n_threads: model.predict(X, n_threads=n)), alone)
    for rows in (slice(0, 1), slice(3, 5), slice(100, 351), slice(699, 700)):
        np.testing.assert_array_equal(model.predict(X[rows]), alone[rows])


@threads_only
@pytest.mark.parametrize("n_threads", [3, 5])
def test_no_thread_predicts_into_rows_that_another_still_reads(n_threads):
    """Layers that take longer than a turn on the processor, and a short last batch, shared otherwise."""
    model = hl.Sequential([hl.Dense(500, "relu"), hl.Dense(500, "tanh"), hl.Dense(3)], input_dim=100)
    X = np.random.default_rng(0).standard_normal((n_threads * 256 + 400, 100))
    alone = model.predict(X)
    for _ in range(10):
        np.testing.assert_array_equal(within(60, lambda: model.predict(X, n_threads=n_threads)), alone)


@threads_only
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_number_of_threads_gives_the_same_gradient(name, dtype):
    n_in, layers, loss = NETWORKS[name]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((75, n_in))
    y = rng.standard_normal((75, 2)) if loss == "mse" else rng.integers(0, layers[-1].units, 75)
    model = hl.Sequential(layers, input_dim=n_in, dtype=dtype)

    def measured(n_threads):
        objective = hl.Objective(model, X, y, loss=loss, batch_size=20, n_threads=n_threads)
        return objective.value_and_gradient(model.theta)

    value, gradient = measured(1)
    for n_threads in (2, 3, 5):
        other_value, other_gradient = within(60, measured, n_threads)
        assert other_value == value
        np.testing.assert_array_equal(other_gradient, gradient)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_size_of_a_block_trains_the_same_weights(name, n_threads, monkeypatch):
    blocks = []

    def rate(steps):
        """Asked once a block, for its steps."""
        blocks.append(len(steps))
        return 0.01 / (1 + steps)

    optimizer = hl.Adam(rate)
    given = {"batch_size": 5, "epochs": 4, "n_threads": n_threads, "weighted": True, "optimizer": optimizer}
    usual, history = train(name, **given)
    n_in, _, loss = NETWORKS[name]
    row = 4 * (2 if loss == "mse" else 1) + 4  # targets, weight
    row += 8 if n_in >= WIDE else 4 * n_in  # the number of a row that the loop reads, or its features
    most = {}
    for size, settings in {
        "one step a block": {"BLOCK_BYTES": 1},
        "hasty": {"BLOCK_SECONDS": 1e-12},
        "patient": {"BLOCK_SECONDS": 1e9},
        "three steps a block": {"BLOCK_BYTES": 3 * 5 * row},
    }.items():
        blocks.clear()
        with monkeypatch.context() as context:
            for constant, value in settings.items():
                context.setattr(f"hotloop.session.{constant}", value)
            theta, other = train(name, **given)
        np.testing.assert_array_equal(theta, usual, err_msg=size)
        assert other == history
        most[size] = max(blocks)
    assert most["one step a block"] == 1
    assert most["three steps a block"] == (3 if COMPILED else 2)
    assert most["patient"] == (17 if COMPILED else 2)  # an epoch
    assert most["hasty"] == 1


@pytest.mark.parametrize("constant", ["hotloop.objective.BLOCK_BYTES", "hotloop.prediction.BLOCK_BYTES"])
def test_any_size_of_a_block_measures_the_same(constant, monkeypatch):
    n_in, layers, _ = NETWORKS["small"]
    n = 600 if COMPILED else 7
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n, n_in)), rng.standard_normal((n, 2))
    model = hl.Sequential(layers, input_dim=n_in, dtype="float64")

    def measured():
        objective = hl.Objective(model, X, y, loss="mse", batch_size=3)
        return objective.value(model.theta), objective.gradient(model.theta), model.predict(X)

    usual = measured()
    monkeypatch.setattr(constant, 1)
    for one, other in zip(measured(), usual, strict=True):
        np.testing.assert_array_equal(one, other)


@threads_only
def test_training_leaves_the_mode_of_the_processor_as_it_was():
    """The loop flushes denormal numbers to zero; NumPy's own must not be, afterwards."""
    smallest = np.nextafter(np.zeros(4, np.float32), np.float32(1))
    model = hl.Sequential([hl.Dense(2)], input_dim=3)
    trainer = hl.Trainer(model, loss="mse", optimizer=hl.SGD(0.1), n_threads=2)
    trainer.fit(np.ones((5, 3)), np.ones((5, 2)), epochs=1)
    assert np.all(smallest * np.float32(1) > 0)
    with pytest.raises(hl.HotloopError):
        hl.Trainer(model, loss="mse", optimizer=hl.SGD(1e30)).fit(
            np.ones((5, 3)), 9 * np.ones((5, 2)), epochs=99
        )
    assert np.all(smallest * np.float32(1) > 0)
