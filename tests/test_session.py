"""The pace of a fit: how many threads run a block, and how many steps it has."""

import numpy as np
import pytest

import hotloop as hl
from helpers import classes, net
from hotloop._jit import COMPILED
from hotloop.data.staging import Samples
from hotloop.engine.loop import SUMS
from hotloop.engine.team import Team
from hotloop.errors import DivergenceError
from hotloop.session import ASKED_EVERY, FIRST_ASKED, WORTH_A_THREAD, Session, Threads
from hotloop.stepper import Stepper

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


def test_a_fit_begins_at_the_pace_of_the_one_before(monkeypatch):
    """Whether steps are quicker or slower than was guessed; a block that diverges tells nothing of them."""
    step_seconds, blocks, took = [0.0], [], Session.took

    def noted(session, team, seconds, steps):
        blocks.append(steps)
        took(session, team, step_seconds[0] * steps, steps)

    monkeypatch.setattr(Session, "took", noted)
    X, y = classes(n=600)
    trainer = hl.Trainer(net(X.shape[1], 5, 3), loss="softmax_cross_entropy", batch_size=1)
    for seconds, expected in ((1e-3, 100), (1e-5, 600), (1e-2, 10), (10.0, 1)):
        step_seconds[0], trainer._threads = seconds, None
        trainer.fit(X, y, epochs=1)
        blocks.clear()
        trainer.fit(X, y, epochs=1)
        assert abs(blocks[0] - expected) <= 1, seconds
    monkeypatch.setattr(trainer.stepper, "train", lambda *_: (np.zeros((1, SUMS)), 0))
    blocks.clear()
    with pytest.raises(DivergenceError):
        trainer.fit(X, y, epochs=1)
    assert not blocks


EPOCHS = 7


class Each(hl.Callback):
    """Looks at the weights after each epoch: blocks then have one epoch at most."""

    def __init__(self):
        self.thetas = []

    def on_epoch_end(self, trainer, epoch, logs):
        self.thetas.append(trainer.model.theta.copy())


class Some(Each):
    def __init__(self, epochs):
        super().__init__()
        self.epochs, self.seen = epochs, []

    def epochs_at_once(self):
        return self.epochs

    def on_epoch_begin(self, trainer, epoch):
        self.seen.append(-epoch)

    def on_block_end(self, trainer):
        self.seen.append("block")

    def on_epoch_end(self, trainer, epoch, logs):
        super().on_epoch_end(trainer, epoch, logs)
        self.seen.append(epoch)


@pytest.fixture
def blocks(monkeypatch):
    """Steps of each block that was trained."""
    steps = []
    train = Stepper.train

    def noted(stepper, net, block, n_steps, batch_size, team):
        steps.append(n_steps)
        return train(stepper, net, block, n_steps, batch_size, team)

    monkeypatch.setattr(Stepper, "train", noted)
    # However slow: pace must not decide what is tested.
    monkeypatch.setattr("hotloop.session.BLOCK_SECONDS", 10.0)
    return steps


def fitted(callbacks=(), *, features=4, shuffle=True, n_threads=1, n=45, **options):
    X, y = classes(n=n, features=features)
    layers = hl.Dense(9, "relu"), hl.Dropout(0.2), hl.Dense(3)
    model = hl.Sequential(layers, input_dim=features, dtype="float64")
    usual = {"optimizer": hl.Adam(hl.Cosine(0.02, epochs=7)), "penalty": hl.L2(0.01), "batch_size": 20}
    trainer = hl.Trainer(model, loss="softmax_cross_entropy", n_threads=n_threads, **usual | options)
    weights = np.arange(1.0, n + 1)
    trainer.fit(X, y, epochs=EPOCHS, callbacks=callbacks, shuffle=shuffle, sample_weight=weights)
    return trainer


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("features", [4, 70])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": None},
        {"batch_size": 1},
        {"clip_norm": 0.1, "average": hl.EMA(0.9)},
        {"penalty": hl.L0(5), "average": hl.SWA(epochs=2)},
        {"n_threads": 2},
    ],
    ids=str,
)
def test_several_epochs_in_a_block_are_those_of_one_at_a_time(options, features, shuffle, blocks):
    single = fitted([Each()], features=features, shuffle=shuffle, **options)
    one_each = len(blocks)
    joined = fitted(features=features, shuffle=shuffle, **options)
    assert len(blocks) - one_each == 1 < one_each
    np.testing.assert_array_equal(joined.model.theta, single.model.theta)
    np.testing.assert_array_equal(joined.stepper.average, single.stepper.average)
    assert dict(joined.history) == dict(single.history)
    assert (joined.epoch, joined.step) == (single.epoch, single.step)


@pytest.mark.parametrize("features", [4, 70])
def test_rows_in_the_same_order_are_staged_once_for_several_epochs(features, blocks, monkeypatch):
    """There is room for two epochs; shuffled ones each want some of it."""
    row_bytes = []
    count = Samples.row_bytes
    monkeypatch.setattr(Samples, "row_bytes", lambda *given: row_bytes.append(count(*given)) or row_bytes[-1])
    fitted(features=features)
    monkeypatch.setattr("hotloop.session.BLOCK_BYTES", 2 * 60 * row_bytes[0])
    blocks.clear()
    shuffled = fitted(features=features)
    assert blocks == [6, 6, 6, 3]
    blocks.clear()
    in_order = fitted(features=features, shuffle=False)
    assert blocks == [6, 3 * EPOCHS - 6], "the first is a guess"
    monkeypatch.setattr("hotloop.session.BLOCK_BYTES", 40 * row_bytes[0])  # not even one
    blocks.clear()
    parts = fitted(features=features, shuffle=False)
    assert blocks == [2, 1] * EPOCHS
    np.testing.assert_array_equal(parts.model.theta, in_order.model.theta)
    assert not np.array_equal(shuffled.model.theta, in_order.model.theta)


def test_callbacks_say_how_many_epochs_may_go_by(blocks):
    watch = Some(3)
    single, joined = fitted([Each()]), fitted([watch, Some(5)])
    assert blocks[-3:] == [9, 9, 3]
    assert watch.seen == [-1, -2, -3, "block", 1, 2, 3, -4, -5, -6, "block", 4, 5, 6, -7, "block", 7]
    assert dict(joined.history) == dict(single.history)
    np.testing.assert_array_equal(watch.thetas[0], watch.thetas[2])
    np.testing.assert_array_equal(joined.model.theta, single.model.theta)


def test_what_looks_at_the_weights_has_one_epoch_at_a_time(blocks):
    rate = hl.Cosine(0.02, 21)
    for options in (
        {"penalty": hl.Nuclear(0.01)},
        {"optimizer": hl.ScheduleFreeSGD(0.1)},
        {"optimizer": hl.SGD(lambda step: rate(step))},
    ):
        blocks.clear()
        fitted(**options)
        assert blocks == [3] * EPOCHS


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_that_diverges_ends_after_those_before_it(shuffle, blocks):
    def diverging(callbacks):
        trainer = hl.Trainer(net(4, 3), loss="mse", optimizer=hl.SGD(1e30), batch_size=20)
        X, _ = classes(n=45, features=4)
        with pytest.raises(DivergenceError) as caught:
            trainer.fit(X, X[:, :3], epochs=EPOCHS, callbacks=callbacks, shuffle=shuffle)
        return trainer, (caught.value.epoch, caught.value.step)

    (single, at), (joined, there) = diverging([Each()]), diverging(())
    assert at == there
    assert at[0] > 1
    assert single.epoch == joined.epoch == at[0] - 1
    assert dict(single.history) == dict(joined.history)
    np.testing.assert_array_equal(single.model.theta, joined.model.theta)
    assert single.step == joined.step


@pytest.mark.parametrize("features", [4, 70])
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clip_norm": 0.1, "average": hl.EMA(0.9)},
        {"clip_value": 0.01, "optimizer": hl.SGD(0.1)},
        {"penalty": hl.L1(0.01, proximal=True), "batch_size": 40},
        {"penalty": hl.MaxNorm(1.0)},
    ],
    ids=str,
)
def test_large_minibatches_go_through_some_rows_at_a_time(options, features, n_threads, monkeypatch):
    """Dropout has the masks, and sums the order, of all rows together."""
    options = {"batch_size": None, "features": features, "n_threads": n_threads} | options
    whole = fitted(**options)
    monkeypatch.setattr("hotloop.stepper.MOST_ROWS", 16)
    parts = fitted(**options)
    np.testing.assert_array_equal(parts.model.theta, whole.model.theta)
    for name, column in whole.history.items():
        np.testing.assert_allclose(parts.history[name], column, rtol=1e-14, err_msg=name)


@pytest.mark.parametrize("shuffle", [True, False])
def test_some_rows_at_a_time_with_one_input_or_what_needs_all_rows(shuffle, monkeypatch):
    X, y = classes(n=100, features=1)
    own = hl.losses.Custom(
        lambda outputs, y: ((outputs - y) ** 2).sum(axis=1), lambda outputs, y: 2 * (outputs - y)
    )

    def trained(rows):
        monkeypatch.setattr("hotloop.stepper.MOST_ROWS", rows)
        found = []
        for layers, loss, target in (
            ([hl.Dense(3)], "softmax_cross_entropy", y),
            ([hl.Dense(5), hl.BatchNorm(), hl.Dense(1)], "mse", y),
            ([hl.Dense(5, "tanh"), hl.Dense(1)], own, y[:, None]),
        ):
            model = hl.Sequential(layers, input_dim=1, dtype="float64")
            hl.Trainer(model, loss=loss, batch_size=90).fit(X, target, epochs=2, shuffle=shuffle)
            found.append(model.theta)
        return np.concatenate(found)

    np.testing.assert_allclose(trained(32), trained(1000), rtol=1e-12)


def test_a_large_minibatch_takes_little_memory():
    model = net(20, 100, 100, 3, dtype="float32")
    trainer = hl.Trainer(model, loss="softmax_cross_entropy", batch_size=None)
    few, many = (trainer.stepper.bind(rows, 1, True).work.nbytes for rows in (5_000, 1_000_000))
    assert few == many
