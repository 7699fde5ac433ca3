"""The pace of a fit: how many threads run a block, and how many steps it has."""

import numpy as np
import pytest

import hotloop as hl
from helpers import classes, net
from hotloop._jit import COMPILED
from hotloop.engine.team import Team
from hotloop.session import ASK_AGAIN, ROUNDS, Threads

pytestmark = pytest.mark.kernels

CHOICE = Threads.of_next_block


@pytest.fixture(autouse=True)
def choice(monkeypatch):
    """Elsewhere in the tests all threads run."""
    monkeypatch.setattr(Threads, "of_next_block", CHOICE)


def run(threads, seconds, blocks):
    """Which numbers of threads the blocks get, if a step takes ``seconds[n_threads]``."""
    chosen = []
    for _ in range(blocks):
        chosen.append(threads.of_next_block())
        threads.took(chosen[-1], seconds[chosen[-1]])
    return chosen


@pytest.mark.parametrize("best", [1, 2, 4, 9])
def test_the_quickest_number_of_threads_runs_nearly_all_blocks(best):
    seconds = {n: 2.0 for n in (9, 4, 2, 1)} | {best: 1.0}
    chosen = run(Threads(9), seconds, 1000)
    assert chosen[: 4 * ROUNDS] == [9, 4, 2, 1] * ROUNDS
    others = [n for n in chosen[4 * ROUNDS :] if n != best]
    assert 0 < len(others) <= 1000 // ASK_AGAIN
    assert set(others) == set(seconds) - {best}, "all are asked again"


def test_one_slow_block_decides_nothing():
    threads = Threads(2)
    run(threads, {2: 9.0, 1: 2.0}, 2)  # the first of two threads came before the data was near
    assert run(threads, {2: 1.0, 1: 2.0}, 100).count(1) <= 1 + 100 // ASK_AGAIN


def test_a_machine_that_becomes_busy_is_noticed():
    threads = Threads(2)
    run(threads, {2: 1.0, 1: 1.5}, 100)
    chosen = run(threads, {2: 8.0, 1: 1.5}, 100)
    assert chosen[20:].count(2) <= 100 // ASK_AGAIN


def test_one_thread_has_no_choice():
    assert set(run(Threads(1), {1: 1.0}, 100)) == {1}


@pytest.mark.skipif(not COMPILED, reason="in plain Python every team is one thread")
@pytest.mark.parametrize("most", [2, 3, 5])
def test_blocks_of_any_numbers_of_threads_train_the_same_weights(most, monkeypatch):
    monkeypatch.setattr("hotloop.session.BLOCK_SECONDS", 1e-9)  # a step a block
    given = []
    part = Team.part
    monkeypatch.setattr(Team, "part", lambda team, n: given.append(n) or part(team, n))
    X, y = classes(n=60)

    def trained(n_threads):
        model = net(X.shape[1], 70, 3)
        trainer = hl.Trainer(model, loss="softmax_cross_entropy", batch_size=20, n_threads=n_threads)
        trainer.fit(X, y, epochs=8)
        return model.theta

    np.testing.assert_array_equal(trained(most), trained(1))
    assert 1 in given
