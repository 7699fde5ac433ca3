"""The pace of a fit: how many threads run a block, and how many steps it has."""

import numpy as np
import pytest

import hotloop as hl
from helpers import classes, net
from hotloop._jit import COMPILED
from hotloop.engine.team import Team
from hotloop.session import ASKED_EVERY, FIRST_ASKED, WORTH_A_THREAD, Threads

pytestmark = pytest.mark.kernels

CHOICE = Threads.of_next_block


@pytest.fixture(autouse=True)
def choice(monkeypatch):
    """Elsewhere in the tests all threads run."""
    monkeypatch.setattr(Threads, "of_next_block", CHOICE)


LARGE, SMALL = 1e12, 1.0
"""Floating-point operations of a step."""


def run(threads, seconds, blocks):
    """Which numbers of threads the blocks get, if a step takes ``seconds[n_threads]``."""
    chosen = []
    for _ in range(blocks):
        chosen.append(threads.of_next_block())
        threads.took(chosen[-1], seconds[chosen[-1]])
    return chosen


@pytest.mark.parametrize("flops", [SMALL, LARGE])
@pytest.mark.parametrize("best", [1, 2, 4, 9])
def test_the_quickest_number_of_threads_runs_nearly_all_blocks(best, flops):
    seconds = {n: 2.0 for n in (9, 4, 2, 1)} | {best: 1.0}
    chosen = run(Threads(9, flops), seconds, 1000)
    last = max(FIRST_ASKED) + 1
    others = [n for n in chosen[last:] if n != best]
    assert 0 < len(others) <= 1000 // ASKED_EVERY
    assert set(others) == set(seconds) - {best}, "all are asked again"


@pytest.mark.parametrize(("flops", "first"), [(SMALL, 1), (2.5 * WORTH_A_THREAD, 2), (LARGE, 9)])
def test_the_first_blocks_get_what_their_work_is_worth(flops, first):
    assert Threads(9, flops).of_next_block() == first
    seconds = dict.fromkeys((9, 4, 2, 1), 2.0) | {first: 1.0}
    assert run(Threads(9, flops), seconds, FIRST_ASKED[0]) == [first] * FIRST_ASKED[0]


def test_a_machine_that_becomes_busy_is_noticed():
    threads = Threads(2, LARGE)
    run(threads, {2: 1.0, 1: 1.5}, 100)
    assert run(threads, {2: 8.0, 1: 1.5}, 100)[20:].count(2) <= 1 + 100 // ASKED_EVERY


def test_one_thread_has_no_choice():
    assert set(run(Threads(1, LARGE), {1: 1.0}, 100)) == {1}


@pytest.mark.skipif(not COMPILED, reason="in plain Python every team is one thread")
@pytest.mark.parametrize("most", [2, 3, 5])
def test_blocks_of_any_numbers_of_threads_train_the_same_weights(most, monkeypatch):
    monkeypatch.setattr("hotloop.session.BLOCK_SECONDS", 1e-9)  # a step a block
    monkeypatch.setattr("hotloop.session.WORTH_A_THREAD", 1.0)
    given = []
    part = Team.part
    monkeypatch.setattr(Team, "part", lambda team, n: given.append(n) or part(team, n))
    X, y = classes(n=60)

    def trained(n_threads):
        model = net(X.shape[1], 70, 3)
        trainer = hl.Trainer(model, loss="softmax_cross_entropy", batch_size=20, n_threads=n_threads)
        trainer.fit(X, y, epochs=15)
        return model.theta

    np.testing.assert_array_equal(trained(most), trained(1))
    assert 1 in given


@pytest.mark.skipif(not COMPILED, reason="in plain Python every team is one thread")
def test_short_fits_learn_what_a_long_one_does(monkeypatch):
    """Of one block each, none of them would ever ask."""
    seen = []
    took = Threads.took
    monkeypatch.setattr(Threads, "took", lambda threads, n, s: seen.append(n) or took(threads, n, float(n)))
    monkeypatch.setattr("hotloop.session.WORTH_A_THREAD", 1.0)
    X, y = classes(n=60)
    model = net(X.shape[1], 70, 3)
    trainer = hl.Trainer(model, loss="softmax_cross_entropy", batch_size=60, n_threads=2)
    for _ in range(FIRST_ASKED[0] + 3):
        trainer.fit(X, y, epochs=1)
    assert seen == [2] * FIRST_ASKED[0] + [1] * 3, "one thread takes half as long, and stays"
    trainer.batch_size = 30
    trainer.fit(X, y, epochs=1)
    assert seen[-1] == 2, "other work"
