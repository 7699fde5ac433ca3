"""`Trainer`: it learns, it counts right, it survives what goes wrong, and it needs little memory."""

import copy
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import hotloop as hl
import reference
from helpers import (
    LAYOUTS,
    accuracy,
    as_memory_map,
    child_environment,
    classes,
    forward,
    loss_and_gradient,
    net,
    python,
    refuses,
    row_losses,
    values,
)
from hotloop.data import staging
from hotloop.data.staging import WIDE
from hotloop.engine.fetch import STRIP
from hotloop.errors import DivergenceError
from hotloop.losses import LOSSES
from hotloop.trainer import SETTLED

MEGABYTE = 1 << 20
DATA = {"softmax_cross_entropy": classes(203), "mse": values(203, outputs=3)}
OPTIMIZERS = {
    "SGD": hl.SGD(0.1),
    "momentum": hl.SGD(0.05, momentum=0.9),
    "Nesterov": hl.SGD(0.05, momentum=0.9, nesterov=True),
    "Adam": hl.Adam(0.01),
    "schedule": hl.Adam(lambda steps: 0.01 / (1 + 0.1 * steps)),
}
each_loss = pytest.mark.parametrize("loss", DATA)
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)


def trainer_of(loss="softmax_cross_entropy", *, model=None, **options):
    """A trainer of 4-8-3 in float64."""
    return hl.Trainer(net(4, 8, 3) if model is None else model, loss=loss, **{"batch_size": 16} | options)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Compile before anything is timed or captured."""
    for dtype in ("float32", "float64"):
        model = net(4, 8, 3, dtype=dtype)
        hl.Trainer(model, loss="mse").fit(*DATA["mse"], epochs=1, validation_data=DATA["mse"])
        model.predict(DATA["mse"][0])


# It learns.


def test_it_learns_digits():
    X, y = hl.data.synthetic_digits(2000, seed=0)
    test_X, test_y = hl.data.synthetic_digits(500, seed=1)
    model = net(784, 64, 10, activation="relu", dtype="float32", uint8_scale=1 / 255)
    trainer = hl.Trainer(model, loss="softmax_cross_entropy", optimizer=hl.Adam(3e-3), batch_size=32)
    history = trainer.fit(X, y, epochs=10)
    assert trainer.evaluate(test_X, test_y)["accuracy"] > 0.9
    assert history["loss"][-1] < 0.2 * history["loss"][0]


def test_it_learns_a_curve():
    X = np.linspace(-3, 3, 200).reshape(-1, 1)
    trainer = hl.Trainer(net(1, 32, 1, dtype="float32"), loss="mse", optimizer=hl.Adam(0.01), batch_size=20)
    trainer.fit(X, np.sin(X), epochs=200)
    assert trainer.evaluate(X, np.sin(X))["loss"] < 0.01


def test_it_learns_xor():
    X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    trainer = hl.Trainer(net(2, 8, 1), loss="mse", optimizer=hl.Adam(0.05), batch_size=None)
    trainer.fit(X, y, epochs=500)
    np.testing.assert_allclose(trainer.model.predict(X).ravel(), y, atol=0.05)


@pytest.mark.skipif("HOTLOOP_DATA" not in os.environ, reason="HOTLOOP_DATA is not set")
def test_it_learns_mnist():
    (X, y), (test_X, test_y) = hl.data.load_mnist()
    model = net(784, 128, 10, activation="relu", dtype="float32", uint8_scale=1 / 255)
    trainer = hl.Trainer(model, loss="softmax_cross_entropy")
    trainer.fit(X, y, epochs=2)
    assert trainer.evaluate(test_X, test_y)["accuracy"] > 0.95


# It counts right.


def twin(model, X, y, loss, *, lr, batch_size, orders, weights=None):
    """SGD in NumPy: trains `model`, returns the mean loss and the hits of every epoch."""
    weights = np.ones(len(X)) if weights is None else weights
    found = []
    for order in orders:
        total = hits = 0.0
        for first in range(0, len(X), batch_size):
            rows = order[first : first + batch_size]
            outputs = forward(model, X[rows])[-1]
            total += weights[rows] @ row_losses(loss, outputs, y[rows])[0]
            if loss != "mse":
                hits += weights[rows] @ (outputs.argmax(axis=1) == y[rows])
            model.theta[:] -= lr * loss_and_gradient(model, X[rows], y[rows], loss, weights[rows])[1]
        found.append((total / weights.sum(), hits / weights.sum()))
    return np.transpose(found)


@each_loss
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
@pytest.mark.parametrize("batch_size", [1, 16, 203, 1000, None])
def test_epochs_are_those_of_a_loop_in_numpy(loss, weighted, shuffle, batch_size):
    """203 rows: the last minibatch of 16 has 11."""
    X, y = DATA[loss]
    weights = np.random.default_rng(3).uniform(0.1, 2, len(X)) if weighted else None
    trainer = trainer_of(loss, optimizer=hl.SGD(0.02), batch_size=batch_size, seed=5)
    slow = copy.deepcopy(trainer.model)
    history = trainer.fit(X, y, epochs=3, sample_weight=weights, shuffle=shuffle)
    orders = [reference.permutation(203, 5, k) if shuffle else np.arange(203) for k in range(3)]
    losses, hits = twin(
        slow, X, y, loss, lr=0.02, batch_size=batch_size or 203, orders=orders, weights=weights
    )
    np.testing.assert_allclose(trainer.model.theta, slow.theta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-10)
    if loss != "mse":
        np.testing.assert_allclose(history["accuracy"], hits, rtol=1e-12)
    assert trainer.step == 3 * -(-203 // min(batch_size or 203, 203))
    assert trainer.epoch == 3


@each_loss
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("rows", [1, 255, 257, 2000])
def test_evaluate_is_the_mean_over_the_rows(loss, weighted, rows):
    X, y = classes(rows) if loss != "mse" else values(rows, outputs=3)
    weights = np.random.default_rng(3).uniform(0, 2, rows) if weighted else None
    trainer = trainer_of(loss)
    before = trainer.model.theta.copy()
    found = trainer.evaluate(X, y, sample_weight=weights)
    outputs = forward(trainer.model, X)[-1]
    expected = {"loss": np.average(row_losses(loss, outputs, y)[0], weights=weights)}
    if loss != "mse":
        expected["accuracy"] = accuracy(outputs, y, weights)
    assert found == pytest.approx(expected, rel=1e-11)
    assert list(found) == list(expected)
    assert trainer_of(loss, n_threads=3).evaluate(X, y, sample_weight=weights) == found
    np.testing.assert_array_equal(trainer.model.theta, before)
    assert (trainer.step, dict(trainer.history)) == (0, {})


@each_loss
def test_the_history_has_a_column_for_each_number(loss):
    names = ["loss"] if loss == "mse" else ["loss", "accuracy"]
    X, y = DATA[loss]
    trainer = trainer_of(loss)
    history = trainer.fit(X, y, epochs=3)
    assert history is trainer.history
    assert list(history) == [*names, "lr"]
    trainer = trainer_of(loss)
    history = trainer.fit(X, y, epochs=3, validation_data=(X[:50], y[:50]))
    assert list(history) == [*names, "lr"] + [f"val_{name}" for name in names]
    assert {len(column) for column in history.values()} == {3}
    last = {name: history[f"val_{name}"][-1] for name in names}
    assert trainer.evaluate(X[:50], y[:50]) == last
    assert (history.epochs, history.stopped_by) == (3, "epochs")


def test_validation_changes_nothing_and_takes_weights():
    X, y = DATA["softmax_cross_entropy"]
    weights = np.arange(50)
    with_data, without = trainer_of(), trainer_of()
    history = with_data.fit(X, y, epochs=3, validation_data=[X[:50], y[:50], weights])
    without.fit(X, y, epochs=3)
    np.testing.assert_array_equal(with_data.model.theta, without.model.theta)
    expected = with_data.evaluate(X[:50], y[:50], sample_weight=weights)
    assert history["val_loss"][-1] == expected["loss"]


@pytest.mark.parametrize("rows", [1, 50, 600])
@pytest.mark.parametrize("a_block", [1, 1000], ids=["two blocks", "one block"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_each_epoch_is_validated_with_its_own_weights(rows, a_block, n_threads, monkeypatch):
    """What an evaluation needs is made once a fit; what it says is of the weights and statistics of now."""
    monkeypatch.setattr("hotloop.evaluation.batches_a_block", lambda *_: a_block)
    X, y = classes(600)
    layers = [hl.Dense(8, "tanh"), hl.BatchNorm(), hl.Dense(3)]
    trainer = hl.Trainer(
        hl.Sequential(layers, input_dim=X.shape[1]), loss="softmax_cross_entropy", n_threads=n_threads
    )
    found = []

    class After(hl.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            found.append(trainer.evaluate(X[:rows], y[:rows]))

    history = trainer.fit(X, y, epochs=4, validation_data=(X[:rows], y[:rows]), callbacks=After())
    assert list(history["val_loss"]) == [each["loss"] for each in found]
    assert list(history["val_accuracy"]) == [each["accuracy"] for each in found]
    assert len({each["loss"] for each in found}) == 4


@pytest.mark.parametrize("rows", [1, 40, 600])
def test_validation_follows_data_that_change(rows):
    """As training does: nobody has said that they stay as they were."""
    X, y = classes(rows)
    trainer = trainer_of()

    class Change(hl.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            assert logs["val_loss"] == trainer.evaluate(X, y)["loss"]
            X[:] *= -1

    losses = trainer.fit(*classes(60), epochs=3, validation_data=(X, y), callbacks=Change())["val_loss"]
    assert len(set(losses)) == 3


@pytest.mark.parametrize("name", SETTLED)
def test_what_steps_are_made_of_stays(name):
    trainer = trainer_of()
    before = getattr(trainer, name)
    with refuses(TypeError, name):
        setattr(trainer, name, before)
    assert getattr(trainer, name) is before
    assert copy.deepcopy(trainer).seed == trainer.seed


def test_numbers_of_the_next_fit_are_checked():
    trainer = trainer_of()
    for name, value, error in (
        ("batch_size", 0, ValueError),
        ("batch_size", "8", TypeError),
        ("n_threads", 0, ValueError),
        ("optimizer", 0.1, TypeError),
        ("optimizer", hl.SGD(0.1), ValueError),
        ("optimizer", hl.Adam(amsgrad=True), ValueError),
    ):
        before = getattr(trainer, name)
        with refuses(error, name):
            setattr(trainer, name, value)
        assert getattr(trainer, name) is before
    trainer.batch_size, trainer.n_threads = None, 2
    assert (trainer.batch_size, trainer.n_threads) == (None, 2)


SGD_THEN = hl.SGD(hl.Cosine(0.2, epochs=6), momentum=0.9, nesterov=True)


@pytest.mark.parametrize(
    ("first", "then", "similar"),
    [
        (hl.SGD(0.1, momentum=0.5), SGD_THEN, hl.SGD(SGD_THEN.lr, momentum=0.5)),
        (hl.Adam(0.01), hl.Adam(0.01, betas=(0.0, 0.2)), hl.Adam(0.01, betas=(0.0, 0.999))),
        (hl.Adam(0.01, betas=(0.2, 0.9)), hl.Adam(0.01, betas=(0.6, 0.9)), hl.Adam(0.01, betas=(0.6, 0.8))),
    ],
    ids=["SGD", "Adam to a short memory", "Adam to a longer memory"],
)
@pytest.mark.parametrize("batch_size", [1, 8])
def test_another_optimizer_of_the_same_kind(first, then, similar, batch_size):
    """All of it counts, and in the middle of a fit, too."""
    X, y = DATA["softmax_cross_entropy"]

    class Change(hl.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            if epoch == 2:
                trainer.optimizer = then

    def fresh():
        return trainer_of(model=net(4, 40, 3), optimizer=first, batch_size=batch_size)

    between, within, unchanged = fresh(), fresh(), fresh()
    between.fit(X, y, epochs=2)
    between.optimizer = then
    between.fit(X, y, epochs=2)
    within.fit(X, y, epochs=4, callbacks=Change())
    np.testing.assert_array_equal(within.model.theta, between.model.theta)
    assert within.history["lr"] == between.history["lr"]
    unchanged.fit(X, y, epochs=2)
    unchanged.optimizer = similar
    unchanged.fit(X, y, epochs=2)
    assert np.any(unchanged.model.theta != between.model.theta)


def test_the_reason_to_stop_is_text():
    trainer = trainer_of()
    for reason, error in ((None, TypeError), (3, TypeError), ("", ValueError)):
        with refuses(error, "reason"):
            trainer.stop(reason)


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ({"metrics": "r2"}, ValueError, "metrics"),
        ({"callbacks": hl.EarlyStopping("val_los")}, ValueError, "monitor"),
        ({"callbacks": hl.ReduceOnPlateau("val_los")}, ValueError, "monitor"),
    ],
    ids=["r2 of classes", "stop", "plateau"],
)
def test_a_refused_fit_has_changed_nothing(options, error, name):
    X, y = DATA["softmax_cross_entropy"]
    model = hl.Sequential([hl.Standardize(), hl.Dense(3)], input_dim=X.shape[1])
    trainer = hl.Trainer(model, loss="softmax_cross_entropy")
    before = model.theta.copy(), model.running.copy()
    with refuses(error, name):
        trainer.fit(X * 100, y, epochs=2, validation_data=(X, y), **options)
    np.testing.assert_array_equal(model.theta, before[0])
    np.testing.assert_array_equal(model.running, before[1])
    assert (trainer.step, trainer.epoch) == (0, 0)
    trainer.fit(X, y, epochs=1)
    np.testing.assert_allclose(next(iter(model.buffers().values())), X.mean(axis=0), atol=1e-6)


@each_loss
def test_weight_2_is_the_row_twice(loss):
    X, y = DATA[loss]
    weights = np.ones(len(X))
    weights[::3] = 2
    weighted, doubled = (trainer_of(loss, optimizer=hl.SGD(0.1), batch_size=None) for _ in range(2))
    weighted.fit(X, y, epochs=5, sample_weight=weights)
    doubled.fit(np.concatenate([X, X[::3]]), np.concatenate([y, y[::3]]), epochs=5)
    np.testing.assert_allclose(weighted.model.theta, doubled.model.theta, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(weighted.history["loss"], doubled.history["loss"], rtol=1e-12)


@each_loss
@each_optimizer
def test_weight_0_is_no_row(loss, optimizer):
    X, y = DATA[loss]
    weights = np.ones(len(X))
    weights[::3] = 0
    kept = weights > 0
    weighted, fewer = (trainer_of(loss, optimizer=optimizer, batch_size=None) for _ in range(2))
    weighted.fit(X, y, epochs=5, sample_weight=weights, shuffle=False)
    fewer.fit(X[kept], y[kept], epochs=5, shuffle=False)
    np.testing.assert_allclose(weighted.model.theta, fewer.model.theta, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(weighted.history["loss"], fewer.history["loss"], rtol=1e-12)


@each_loss
def test_a_minibatch_without_weight_does_no_harm(loss):
    X, y = DATA[loss]
    weights = np.ones(len(X))
    weights[32:48] = 0
    trainer = trainer_of(loss, optimizer=hl.SGD(0.1))
    history = trainer.fit(X, y, epochs=1, sample_weight=weights, shuffle=False)
    kept = weights > 0
    other = trainer_of(loss, optimizer=hl.SGD(0.1))
    other.fit(X[kept], y[kept], epochs=1, shuffle=False)
    np.testing.assert_array_equal(trainer.model.theta, other.model.theta)
    assert history["loss"] == pytest.approx(other.history["loss"], rel=1e-12)


def test_one_sample():
    trainer = trainer_of()
    history = trainer.fit([[1, 2, 3, 4]], [2], epochs=50)
    assert history["accuracy"][-1] == 1
    assert trainer.step == 50


@pytest.mark.parametrize("n_threads", [2, 3, None])
@each_optimizer
def test_threads_change_nothing(n_threads, optimizer):
    X, y = DATA["softmax_cross_entropy"]
    one, more = (trainer_of(optimizer=optimizer, n_threads=n) for n in (1, n_threads))
    for trainer in (one, more):
        trainer.fit(X, y, epochs=3, validation_data=(X, y))
    np.testing.assert_array_equal(more.model.theta, one.model.theta)
    assert dict(more.history) == dict(one.history)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
@pytest.mark.parametrize("width", [4, WIDE, 3 * STRIP + 1])
@pytest.mark.parametrize("few", [True, False], ids=["few", "many"])
def test_layouts_change_nothing(few, layout, shuffle, width, tmp_path, monkeypatch):
    if not few:
        monkeypatch.setattr(staging, "FEW_BYTES", 0)
    X = np.random.default_rng(0).integers(0, 5, (203, width)).astype(np.float32)
    y = DATA["softmax_cross_entropy"][1]
    plain, other = (trainer_of(model=net(width, 8, 3, dtype="float32")) for _ in range(2))
    plain.fit(X, y, epochs=2, shuffle=shuffle)
    other.fit(layout(X, tmp_path / "X"), y, epochs=2, shuffle=shuffle)
    np.testing.assert_array_equal(other.model.theta, plain.model.theta)
    assert other.evaluate(layout(X, tmp_path / "X"), y) == plain.evaluate(X, y)


def test_the_data_is_not_changed():
    X, y = (np.array(part) for part in DATA["mse"])
    trainer_of("mse").fit(X, y, epochs=2, sample_weight=np.ones(len(X)))
    np.testing.assert_array_equal(X, DATA["mse"][0])
    np.testing.assert_array_equal(y, DATA["mse"][1])


# It goes on from where it stands.


@each_optimizer
def test_4_epochs_and_6_are_10(optimizer):
    X, y = DATA["softmax_cross_entropy"]
    at_once, in_parts = trainer_of(optimizer=optimizer), trainer_of(optimizer=optimizer)
    at_once.fit(X, y, epochs=10)
    in_parts.fit(X, y, epochs=4)
    in_parts.fit(X, y, epochs=6)
    np.testing.assert_array_equal(in_parts.model.theta, at_once.model.theta)
    assert dict(in_parts.history) == dict(at_once.history)
    assert (in_parts.epoch, in_parts.history.epochs) == (10, 10)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda trainer: pickle.loads(pickle.dumps(trainer))])
def test_a_copied_trainer_goes_on_the_same_way(duplicate):
    X, y = DATA["softmax_cross_entropy"]
    trainer = trainer_of()
    trainer.fit(X, y, epochs=3)
    other = duplicate(trainer)
    for each in (trainer, other):
        each.fit(X, y, epochs=3)
    np.testing.assert_array_equal(other.model.theta, trainer.model.theta)
    assert dict(other.history) == dict(trainer.history)


def test_the_seed_decides_the_order():
    X, y = DATA["softmax_cross_entropy"]
    theta = {}
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        trainer = trainer_of(seed=seed)
        trainer.fit(X, y, epochs=1)
        theta[name] = trainer.model.theta
    np.testing.assert_array_equal(theta["one"], theta["same"])
    assert (theta["one"] != theta["other"]).any()


def test_repr_shows_how_it_was_made():
    assert repr(trainer_of("mse", model=net(2, 1), optimizer=hl.SGD(0.1), batch_size=None)) == (
        "Trainer(Sequential([Dense(units=1)], input_dim=2, seed=0, dtype='float64'), loss='mse', "
        "optimizer=SGD(lr=0.1, momentum=0.0, nesterov=False), batch_size=None, seed=0, n_threads=1)"
    )


# The progress bar.


def test_the_bar_shows_epoch_loss_accuracy_and_pace(capsys):
    X, y = DATA["softmax_cross_entropy"]
    trainer_of().fit(X, y, epochs=2, validation_data=(X, y), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    last = err.replace("\r", "\n").strip().splitlines()[-1]
    for part in ("epoch 2/2", "100%", " loss=0.", "accuracy=0.", "val_loss=", "val_accuracy="):
        assert part in last
    assert re.search(r"\d ?[kMG]? rows/s", last), last


def test_no_bar_is_shown_unasked(capsys):
    X, y = DATA["softmax_cross_entropy"]
    trainer_of().fit(X, y, epochs=2)
    assert capsys.readouterr() == ("", "")


# Divergence.

BATCHES = 13  # of 16 rows an epoch


class Exploding:
    """A schedule whose rate is enormous at one step, counted from 0, until it is disarmed."""

    def __init__(self, step, rate):
        self.step, self.rate = step, rate

    def __call__(self, steps):
        return np.where(steps == self.step, self.rate, 0.001)

    def disarm(self):
        self.rate = 0.001


@each_loss
@pytest.mark.parametrize(("dtype", "rate"), [("float32", 1e30), ("float32", 1e300), ("float64", 1e300)])
@pytest.mark.parametrize("at", [0, 1, 5, 11, 12, 13, 20, 30])
@pytest.mark.parametrize("make", [hl.SGD, lambda lr: hl.SGD(lr, momentum=0.9), hl.Adam])
def test_divergence_leaves_the_weights_from_just_before(loss, dtype, rate, at, make):
    """A run of as many steps as were counted, on the same rows, ends with the same bits."""
    X, y = DATA[loss]
    schedule = Exploding(at, rate)
    optimizer = make(schedule)
    failing = trainer_of(loss, model=net(4, 8, 3, dtype=dtype, activation="relu"), optimizer=optimizer)
    with pytest.raises(DivergenceError) as caught:
        failing.fit(X, y, epochs=4, shuffle=False)
    error = caught.value
    assert error.epoch == failing.epoch + 1
    assert f"epoch {error.epoch}, step {error.step};" in str(error)
    assert "learning rate" in str(error)
    steps_done = failing.step
    # The rate explodes after the gradient of step `at` (from 0): step at + 1 fails, or the one after it.
    failed = failing.epoch * BATCHES + error.step
    assert failed in (at + 1, at + 2)
    assert at <= steps_done < failed
    assert 1 <= error.step <= BATCHES
    assert np.isfinite(failing.model.theta).all()
    assert failing.history.epochs == failing.epoch

    epochs, steps = divmod(steps_done, BATCHES)
    stopped = trainer_of(loss, model=net(4, 8, 3, dtype=dtype, activation="relu"), optimizer=optimizer)
    if epochs:
        stopped.fit(X, y, epochs=epochs, shuffle=False)
    if steps:
        stopped.fit(X[: 16 * steps], y[: 16 * steps], epochs=1, shuffle=False)
    assert stopped.step == failing.step
    np.testing.assert_array_equal(failing.model.theta, stopped.model.theta)

    # The optimizer's state is the one from just before, too.
    start = net(4, 8, 3, seed=4).theta
    schedule.disarm()
    for trainer in (failing, stopped):
        trainer.model.theta[:] = start
        trainer.fit(X, y, epochs=1, shuffle=False)
    np.testing.assert_array_equal(failing.model.theta, stopped.model.theta)
    assert np.isfinite(failing.history["loss"]).all()


@pytest.mark.parametrize("n_threads", [1, 2])
def test_targets_too_large_diverge_at_once(n_threads):
    X, y = DATA["mse"]
    model = net(4, 8, 3, dtype="float32")
    trainer, before = trainer_of("mse", model=model, n_threads=n_threads), model.theta.copy()
    with pytest.raises(DivergenceError, match=r"epoch 1, step 1;.*targets") as caught:
        trainer.fit(X, y * 1e30)
    assert (caught.value.epoch, caught.value.step) == (1, 1)
    assert (trainer.step, trainer.epoch, trainer.history.epochs) == (0, 0, 0)
    np.testing.assert_array_equal(model.theta, before)
    trainer.fit(X, y, epochs=3)
    fresh = trainer_of("mse", model=net(4, 8, 3, dtype="float32"))
    fresh.fit(X, y, epochs=3)
    np.testing.assert_array_equal(model.theta, fresh.model.theta)


def test_divergence_tells_the_rate_and_not_the_address_of_a_schedule():
    trainer = trainer_of("mse", model=net(4, 8, 3, dtype="float32"), optimizer=hl.SGD(Exploding(3, 1e30)))
    with pytest.raises(DivergenceError) as caught:
        trainer.fit(*DATA["mse"])
    assert " at 0x" not in str(caught.value)


def test_divergence_is_an_arithmetic_error_that_travels_between_processes():
    X, y = DATA["mse"]
    with pytest.raises(ArithmeticError) as caught:
        trainer_of("mse", model=net(4, 8, 3, dtype="float32")).fit(X, y * 1e30)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.epoch, again.step) == (str(caught.value), 1, 1)


SPOILED = {
    "before fit": "model.theta[3] = np.nan",
    "by a callback": "Spoiler.on_epoch_begin = lambda self, trainer, epoch: trainer.model.theta.fill(np.inf)",
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_weights_that_are_not_finite_are_an_error(spoil):
    """In a process of its own: it must not go on for ever."""
    found = python(
        "import numpy as np, hotloop as hl\n"
        "from helpers import classes, net\n"
        "class Spoiler(hl.Callback): pass\n"
        "model = net(4, 8, 3)\n"
        f"{spoil}\n"
        "try:\n"
        "    hl.Trainer(model, loss='softmax_cross_entropy').fit(*classes(), callbacks=Spoiler())\n"
        "except hl.HotloopError as error:\n"
        "    print('refused:', error)\n",
        timeout=60,
    )
    assert found.stdout.startswith("refused: "), found.stderr


def test_a_failed_fit_does_not_claim_to_have_ended_well():
    X, y = DATA["mse"]
    trainer = trainer_of("mse", model=net(4, 8, 3, dtype="float32"))
    trainer.fit(X, y, epochs=1)
    with pytest.raises(DivergenceError):
        trainer.fit(X, y * 1e30, epochs=1)
    assert trainer.history.stopped_by != "epochs"


# Ctrl-C.

BOUND = 0.25
"""Seconds from Ctrl-C to the end of fit. A busy machine may spoil a trial: the best of three counts."""

INTERRUPTED = {
    "small network": "model, rows, batch = net(20, 64, 3, dtype='float32'), 5000, 32",
    "784-128-10": "model, rows, batch = net(784, 128, 10, dtype='float32'), 2000, 128",
    "two threads": "model, rows, batch = net(784, 128, 10, dtype='float32'), 2000, 128; threads = 2",
    "first block of a wide network": (
        "model, rows, batch, delay = net(20, 2048, 2048, 3, dtype='float32'), 5000, 128, 0.1"
    ),
    "validation": (
        "model, rows, batch, delay = net(20, 512, 512, 3, dtype='float32'), 100, 100, 0.4; held_out = 400_000"
    ),
}

CHILD = """
import signal, warnings
import numpy as np
import hotloop as hl
from helpers import classes, net

signal.signal(signal.SIGINT, signal.default_int_handler)  # a child of a background job would ignore it
threads, delay, held_out = 1, 0.3, 10
{setup}
rng = np.random.default_rng(0)
X = rng.standard_normal((rows, model.input_dim), np.float32)
V = rng.standard_normal((held_out, model.input_dim), np.float32)
small = net(4, 8, 3, dtype="float32")
hl.Trainer(small, loss="softmax_cross_entropy").fit(*classes(), epochs=1, validation_data=classes())
optimizer = hl.SGD(1e-4)
recipe = dict(loss="softmax_cross_entropy", optimizer=optimizer, batch_size=batch, n_threads=threads)
hl.Trainer(model, **recipe).fit(X[:batch], np.zeros(batch, int), epochs=1)  # compiles
trainer = hl.Trainer(model, **recipe)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    print(delay, flush=True)
    validation_data = V, np.zeros(held_out, int)
    history = trainer.fit(X, np.zeros(rows, int), epochs=10**6, validation_data=validation_data)
    print(flush=True)
print(
    history.stopped_by, bool(np.isfinite(model.theta).all()), [warning.category.__name__ for warning in seen],
    trainer.epoch == history.epochs == len(history.get("loss", [])), trainer.step > 0,
)
"""


def seconds_to_stop(setup):
    """Presses Ctrl-C in a child that trains; how long until `fit` returns, and what the child then says."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(setup=setup)],
        env=child_environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    watch = threading.Timer(60, child.kill)
    watch.start()
    try:
        time.sleep(float(child.stdout.readline()))
        child.send_signal(signal.SIGINT)
        sent = time.perf_counter()
        child.stdout.readline()
        return time.perf_counter() - sent, child.stdout.readline().strip()
    finally:
        watch.cancel()
        child.kill()
        child.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("setup", INTERRUPTED.values(), ids=INTERRUPTED)
def test_ctrl_c_ends_training_at_once(setup):
    for _ in range(3):
        took, found = seconds_to_stop(setup)
        print(f"{took:.3f} s from Ctrl-C to the end of fit")
        assert found == "interrupt True ['UserWarning'] True True"
        if took < BOUND:
            break
    assert took < BOUND


@pytest.fixture
def ctrl_c():
    """Ctrl-C as at a terminal, also where the tests run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


class Interrupting(hl.Callback):
    """Presses Ctrl-C some times when an epoch begins."""

    def __init__(self, epoch, times=1):
        self.epoch, self.times = epoch, times

    def on_epoch_begin(self, trainer, epoch):
        if epoch == self.epoch:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


def test_the_first_ctrl_c_leaves_whole_epochs_in_the_history(ctrl_c, monkeypatch):
    monkeypatch.setattr("hotloop.session.BLOCK_SECONDS", 1e-6)  # an epoch has many blocks
    X, y = np.zeros((6000, 784), np.float32), np.zeros(6000, int)
    trainer = trainer_of(model=net(784, 3, dtype="float32"))
    with pytest.warns(UserWarning, match="training was interrupted; 2 epochs are complete$"):
        history = trainer.fit(X, y, epochs=10, callbacks=Interrupting(3))
    assert (history.epochs, history.stopped_by) == (2, "interrupt")
    assert 2 * 375 < trainer.step < 3 * 375
    assert trainer.fit(X, y, epochs=1).stopped_by == "epochs"
    assert trainer.history.epochs == 3


def test_the_second_ctrl_c_is_a_keyboard_interrupt(ctrl_c):
    X, y = DATA["softmax_cross_entropy"]
    trainer = trainer_of()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, y, epochs=10, callbacks=Interrupting(3, times=2))
    assert trainer.fit(X, y, epochs=1).epochs == 3


def test_a_handler_of_the_users_own_stays_in_charge(ctrl_c):
    calls = []
    before = signal.signal(signal.SIGINT, lambda *args: calls.append(args))
    try:
        X, y = DATA["softmax_cross_entropy"]
        history = trainer_of().fit(X, y, epochs=3, callbacks=Interrupting(2))
        assert (len(calls), history.stopped_by) == (1, "epochs")
    finally:
        signal.signal(signal.SIGINT, before)


# Threads of the caller.


def test_fit_works_in_other_threads():
    X, y = DATA["softmax_cross_entropy"]
    trainers = [trainer_of(seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda trainer: trainer.fit(X, y, epochs=5), trainers))
    for seed, trainer in enumerate(trainers):
        alone = trainer_of(seed=seed)
        alone.fit(X, y, epochs=5)
        np.testing.assert_array_equal(trainer.model.theta, alone.model.theta)


# Memory.


def peak_of(function):
    """Bytes that NumPy and Python hold at most while `function` runs, above those before it."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


STORED = {
    "uint8 map": lambda path: as_memory_map(np.zeros((60_000, 784), np.uint8), path),
    "float32 map": lambda path: as_memory_map(np.zeros((20_000, 784), np.float32), path),
    "float32 map by columns": lambda path: as_memory_map(np.zeros((784, 20_000), np.float32), path).T,
    "float64 by columns": lambda path: np.zeros((784, 20_000)).T,
    "float32 strided": lambda path: np.zeros((20_000, 1568), np.float32)[:, ::2],
}


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
def test_data_is_never_copied_whole(stored, shuffle, tmp_path):
    X = stored(tmp_path / "X")
    y = np.arange(len(X)) % 10
    trainer = hl.Trainer(net(784, 8, 10, dtype="float32"), loss="softmax_cross_entropy", batch_size=512)

    def run():
        trainer.fit(X, y, epochs=1, shuffle=shuffle, validation_data=(X, y))
        trainer.model.predict(X)

    assert peak_of(run) < 20 * MEGABYTE


@pytest.mark.parametrize("early", [False, True], ids=["plain", "with early stopping"])
def test_training_takes_at_most_8_times_theta(early):
    """θ, its gradient, Adam's two vectors, and the copies to go back to; early stopping keeps one more."""
    X, y = np.random.default_rng(0).standard_normal((32, 512)).astype(np.float32), np.arange(32) % 10
    size = 4 * net(512, 2048, 2048, 10, dtype="float32").theta.size

    def run():
        model = net(512, 2048, 2048, 10, dtype="float32")
        trainer = hl.Trainer(model, loss="softmax_cross_entropy", batch_size=16)
        callbacks = hl.EarlyStopping("val_loss") if early else ()
        trainer.fit(X, y, epochs=3, validation_data=(X, y), callbacks=callbacks)
        assert not early or callbacks.best_epoch > 1

    peak = peak_of(run)
    print(f"{peak / size:.2f} times θ")
    assert peak < 8 * size + 12 * MEGABYTE


def test_a_block_that_breaks_off_leaves_the_weights_from_before_it(monkeypatch):
    """A second Ctrl-C may arrive when some threads of a block have run and others have not."""
    X, y = np.ones((8, 2)), np.zeros(8)
    trainer = hl.Trainer(net(2, 1, dtype="float64"), loss="mse", optimizer=hl.SGD(0.01, momentum=0.5))
    trainer.fit(X, y, epochs=1)
    before, state = trainer.model.theta.copy(), trainer.stepper.state.copy()

    def break_off(*arguments):
        trainer.model.theta[:] = 7
        trainer.stepper.state[:] = 7
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer.stepper, "compile", lambda *arguments: None)
    monkeypatch.setattr(trainer.stepper, "_run", break_off)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, y, epochs=1)
    np.testing.assert_array_equal(trainer.model.theta, before)
    np.testing.assert_array_equal(trainer.stepper.state, state)
    assert trainer.step == 1


def test_labels_may_change_after_they_were_checked():
    """Kernels use them as indices: what counts is what was checked."""
    X, y = np.ones((8, 2)), np.zeros(8, int)
    objective = hl.Objective(net(2, 3, dtype="float64"), X, y, loss="softmax_cross_entropy")
    theta = objective.model.theta
    before = objective.value(theta)
    y[:] = 10**9
    assert objective.value(theta) == before


def test_weights_that_are_not_finite_hit_nothing():
    trainer = hl.Trainer(net(2, 3, dtype="float64"), loss="softmax_cross_entropy")
    trainer.model.theta[:] = np.nan
    found = trainer.evaluate(np.ones((4, 2)), np.arange(4) % 3)
    assert np.isnan(found["loss"])
    assert found["accuracy"] == 0


# Schedules in epochs.

IN_EPOCHS = {
    "cosine": hl.Cosine(0.1, epochs=3),
    "warmup and cosine": hl.Warmup(epochs=1, then=hl.Cosine(0.1, epochs=4)),
    "half an epoch": hl.Step(0.1, gamma=0.5, epochs=0.5),
    "one cycle": hl.OneCycle(0.1, epochs=5),
}
each_schedule = pytest.mark.parametrize("schedule", IN_EPOCHS.values(), ids=IN_EPOCHS)


@each_schedule
@pytest.mark.parametrize("make", [hl.SGD, hl.Adam, hl.ScheduleFreeSGD])
def test_a_schedule_in_epochs_is_the_same_in_steps(schedule, make):
    X, y = DATA["softmax_cross_entropy"]
    in_epochs, in_steps = (
        trainer_of(optimizer=make(lr)) for lr in (schedule, schedule.in_steps(BATCHES))
    )  # fmt: skip
    for trainer in (in_epochs, in_steps):
        trainer.fit(X, y, epochs=5)
    np.testing.assert_array_equal(in_epochs.model.theta, in_steps.model.theta)
    assert dict(in_epochs.history) == dict(in_steps.history)
    ends = schedule.in_steps(BATCHES)(np.arange(BATCHES - 1, 5 * BATCHES, BATCHES))
    np.testing.assert_array_equal(in_epochs.history["lr"], ends)
    assert in_epochs.optimizer.lr == schedule


@each_schedule
def test_a_schedule_in_epochs_is_saved_and_goes_on(schedule, tmp_path):
    X, y = DATA["softmax_cross_entropy"]
    whole, first = (trainer_of(optimizer=hl.SGD(schedule)) for _ in range(2))
    whole.fit(X, y, epochs=5)
    first.fit(X, y, epochs=2)
    first.save(tmp_path / "training")
    second = hl.Trainer.load(tmp_path / "training")
    assert second.optimizer.lr == schedule
    second.fit(X, y, epochs=3)
    np.testing.assert_array_equal(second.model.theta, whole.model.theta)
    assert dict(second.history) == dict(whole.history)


# Losses that include an activation.

INCLUDED = {
    "softmax_cross_entropy": "softmax",
    "kl_divergence": "softmax",
    "sigmoid_cross_entropy": "sigmoid",
}


@pytest.mark.parametrize(("loss", "activation"), INCLUDED.items(), ids=INCLUDED)
@pytest.mark.parametrize("as_layer", [False, True], ids=["of the layer", "a layer of its own"])
@pytest.mark.parametrize("make", [hl.Trainer, hl.Objective], ids=lambda make: make.__name__)
def test_an_activation_that_the_loss_includes_is_refused(loss, activation, as_layer, make):
    def made(loss, activation):
        last = [hl.Dense(3), hl.Activation(activation)] if as_layer else [hl.Dense(3, activation)]
        model = hl.Sequential([hl.Dense(8, activation), *last], input_dim=4)
        data = () if make is hl.Trainer else (np.ones((2, 4)), np.full((2, 3), 1 / 3))
        return make(model, *data, loss=loss)

    with refuses(ValueError, "loss") as caught:
        made(loss, activation)
    assert repr(loss) in str(caught.value)
    assert activation in str(caught.value)
    with refuses(ValueError, "loss"):
        made(type(LOSSES[loss])(), activation)
    made(loss, "tanh")
    made("mse", activation)


# Copies.


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda trainer: pickle.loads(pickle.dumps(trainer))])
@pytest.mark.parametrize("average", [None, hl.EMA(0.9)])
def test_a_copied_trainer_returns_to_its_own_weights(duplicate, average):
    """What a divergence goes back to must be the copy's, not the original's."""
    X, y = DATA["mse"]
    layers = [hl.Dense(8), hl.BatchNorm(), hl.Dense(3)]
    model = hl.Sequential(layers, input_dim=4, dtype="float32")
    trainer = trainer_of("mse", model=model, average=average)
    trainer.fit(X, y, epochs=2)
    other = duplicate(trainer)
    before = [array.copy() for array in (other.model.theta, other.model.running, other.stepper.average)]
    with pytest.raises(DivergenceError):
        other.fit(X, y * 1e30, epochs=1)
    for array, expected in zip(
        (other.model.theta, other.model.running, other.stepper.average), before, strict=True
    ):
        np.testing.assert_array_equal(array, expected)
    for one in (trainer, other):
        one.fit(X, y, epochs=2)
    np.testing.assert_array_equal(other.model.theta, trainer.model.theta)
    np.testing.assert_array_equal(other.model.running, trainer.model.running)
