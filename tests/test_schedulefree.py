"""Schedule-free optimizers: which of x and y the model holds when, and averages that no block changes.

Their steps are tested with all others, in `test_optimizers` and `test_resume`.
"""

import itertools
import math

import numpy as np
import pytest

import hotloop as hl
from helpers import classes, net, scalars_of, take_step, update_of
from hotloop._jit import COMPILED
from hotloop.errors import DivergenceError
from hotloop.optimizers.schedulefree import CHUNK

X, Y = classes(203)
FACE = pytest.mark.skipif(not COMPILED, reason="the face is tested compiled")
OPTIMIZERS = {
    "SGD": hl.ScheduleFreeSGD(0.3),
    "SGD with other numbers": hl.ScheduleFreeSGD(
        hl.Exponential(0.3, 0.99), momentum=0.7, weight_decay=0.01, warmup_steps=9, r=1.5, weight_lr_power=1.0
    ),
    "SGD without momentum": hl.ScheduleFreeSGD(0.3, momentum=0.0),
    "AdamW": hl.ScheduleFreeAdamW(0.02),
    "AdamW with other numbers": hl.ScheduleFreeAdamW(
        0.02, betas=(0.95, 0.99), eps=1e-6, weight_decay=0.1, warmup_steps=9, r=0.5
    ),
}
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def trainer_of(optimizer=OPTIMIZERS["AdamW"], dtype="float32", **options):
    return hl.Trainer(
        net(4, 8, 3, dtype=dtype, seed=1), loss="softmax_cross_entropy", optimizer=optimizer,
        **{"batch_size": 16} | options,
    )  # fmt: skip


def assert_same(one, other):
    np.testing.assert_array_equal(one.model.theta, other.model.theta)
    np.testing.assert_array_equal(one.stepper.state, other.stepper.state)
    assert dict(one.history) == dict(other.history)


def average(trainer):
    """x."""
    return trainer.stepper.state[1]


class Watch(hl.Callback):
    """θ at the beginning and at the end of each epoch, and whether it is x."""

    def __init__(self):
        self.thetas, self.are_averages = [], []

    def on_epoch_begin(self, trainer, epoch):
        self.thetas.append(trainer.model.theta.copy())
        self.are_averages.append(trainer.step == 0 or np.array_equal(trainer.model.theta, average(trainer)))

    def on_epoch_end(self, trainer, epoch, logs):
        self.on_epoch_begin(trainer, epoch)


@FACE
@each_optimizer
def test_between_epochs_the_model_holds_the_average(optimizer):
    trainer, watch = trainer_of(optimizer), Watch()
    trainer.fit(X, Y, epochs=3, validation_data=(X, Y), callbacks=watch)
    assert watch.are_averages == [True] * 6
    same = [np.array_equal(*pair) for pair in itertools.pairwise(watch.thetas)]
    assert same == [False, True, False, True, False], "an epoch moves it, and nothing else"
    np.testing.assert_array_equal(trainer.model.theta, watch.thetas[-1])
    found = trainer.evaluate(X, Y)
    assert (found["loss"], found["accuracy"]) == (
        trainer.history["val_loss"][-1], trainer.history["val_accuracy"][-1],
    )  # fmt: skip
    assert found["loss"] < trainer.history["loss"][0]


@FACE
@each_optimizer
def test_between_blocks_too(optimizer, monkeypatch, tmp_path):
    """A trainer that is saved, or whose weights are written, in the middle of an epoch goes on from there."""
    monkeypatch.setattr("hotloop.session.BLOCK_SECONDS", 1e-12)  # one step a block
    plain, looked, written = (trainer_of(optimizer) for _ in range(3))
    loaded = []

    class Look(hl.Callback):
        def on_block_end(self, trainer):
            assert np.array_equal(trainer.model.theta, average(trainer))
            if trainer.step == 5:
                trainer.save(tmp_path / "trainer")
                loaded.append((hl.Trainer.load(tmp_path / "trainer"), trainer.evaluate(X, Y)))

    class Write(hl.Callback):
        def on_block_end(self, trainer):
            trainer.model.theta[:] = 0

    plain.fit(X, Y, epochs=2)
    looked.fit(X, Y, epochs=2, callbacks=Look())
    assert_same(looked, plain)
    (other, found), *_ = loaded
    assert other.evaluate(X, Y) == found
    written.fit(X, Y, epochs=1, callbacks=Write())
    np.testing.assert_array_equal(written.model.theta, 0)


@pytest.mark.kernels
@each_dtype
@each_optimizer
def test_there_and_back_is_y_to_the_last_bit(optimizer, dtype):
    rng = np.random.default_rng(0)
    size, n_steps = (1000, 12) if COMPILED else (20, 12)
    theta, state = rng.standard_normal(size).astype(dtype), np.zeros((optimizer.slots, size), dtype)
    start = theta.copy()
    optimizer.to_training(theta, state, 0)
    optimizer.to_evaluation(theta, state, 0)
    np.testing.assert_array_equal(theta, start, err_msg="before the first step there is nothing but θ")
    update = update_of(optimizer, n_steps, state)
    for step in range(n_steps):
        take_step(optimizer, update, step, theta, rng.standard_normal(size).astype(dtype), 0, size)
        y = theta.copy()
        optimizer.to_evaluation(theta, state, step + 1)
        np.testing.assert_array_equal(theta, state[1])
        optimizer.to_training(theta, state, step + 1)
        np.testing.assert_array_equal(theta, y)


@FACE
@each_dtype
@each_optimizer
def test_threads_and_blocks_change_nothing(optimizer, dtype, monkeypatch):
    whole = trainer_of(optimizer, dtype)
    whole.fit(X, Y, epochs=3)
    for n_threads in (2, 3):
        other = trainer_of(optimizer, dtype, n_threads=n_threads)
        other.fit(X, Y, epochs=3)
        assert_same(other, whole)
    monkeypatch.setattr("hotloop.session.BLOCK_SECONDS", 1e-12)  # one step a block
    steps = trainer_of(optimizer, dtype)
    steps.fit(X, Y, epochs=3)
    np.testing.assert_array_equal(steps.model.theta, whole.model.theta)
    np.testing.assert_array_equal(steps.stepper.state, whole.stepper.state)


@FACE
@each_dtype
@each_optimizer
def test_stopping_and_going_on_changes_nothing(optimizer, dtype, tmp_path):
    whole, parts = trainer_of(optimizer, dtype), trainer_of(optimizer, dtype)
    whole.fit(X, Y, epochs=10)
    parts.fit(X, Y, epochs=3)
    parts.fit(X, Y, epochs=1)
    parts.save(tmp_path / "training")
    parts = hl.Trainer.load(tmp_path / "training")
    np.testing.assert_array_equal(hl.Sequential.load(tmp_path / "training").theta, average(parts))
    parts.fit(X, Y, epochs=6)
    assert_same(parts, whole)


@FACE
def test_written_weights_count():
    """One step from them is as from a start: z and x are where they are, and x goes its share towards z."""
    optimizer = hl.ScheduleFreeSGD(0.3)
    trainer = trainer_of(optimizer, "float64", batch_size=None)
    trainer.fit(X, Y, epochs=4)
    written = np.random.default_rng(2).standard_normal(trainer.model.theta.size)
    trainer.model.theta[:] = written
    np.testing.assert_array_equal(trainer.model.theta, written)
    trainer.fit(X, Y, epochs=1, shuffle=False)
    g = hl.Objective(trainer.model, X, Y, loss="softmax_cross_entropy").gradient(written)
    np.testing.assert_allclose(trainer.stepper.state[0], written - 0.3 * g, rtol=0, atol=1e-14)
    np.testing.assert_allclose(trainer.model.theta, written - 0.3 * g / 5, rtol=0, atol=1e-14)


@FACE
def test_weights_written_before_an_epoch_by_a_callback_count():
    class Writing(hl.Callback):
        def on_epoch_begin(self, trainer, epoch):
            trainer.model.theta[:] = 0.5

    trainer = trainer_of(hl.ScheduleFreeSGD(0.0), "float64")
    trainer.fit(X, Y, epochs=2, callbacks=Writing())
    np.testing.assert_array_equal(trainer.model.theta, 0.5)
    np.testing.assert_array_equal(trainer.stepper.state, 0.5)


@FACE
def test_early_stopping_brings_back_the_best_average_and_training_goes_on_from_it():
    trainer, watch = trainer_of(hl.ScheduleFreeAdamW(0.3)), Watch()
    noise = np.random.default_rng(0).integers(0, 3, len(Y))
    stopping = hl.EarlyStopping(patience=4)
    trainer.fit(X, noise, epochs=30, validation_data=(X, Y), callbacks=[stopping, watch])
    assert 0 < stopping.best_epoch < trainer.epoch
    best = watch.thetas[2 * stopping.best_epoch - 1]
    np.testing.assert_array_equal(trainer.model.theta, best)
    with trainer.stepper.training():
        np.testing.assert_array_equal(trainer.model.theta, best)
        np.testing.assert_array_equal(trainer.stepper.state[:2], [best, best])


@FACE
def test_after_a_divergence_the_model_holds_a_finite_average():
    def explodes(steps):
        return np.where(steps == 30, 1e60, 0.1)

    trainer = trainer_of(hl.ScheduleFreeSGD(explodes))
    with pytest.raises(DivergenceError):
        trainer.fit(X, Y, epochs=9)
    assert trainer.step == 30, "within the third epoch"
    np.testing.assert_array_equal(trainer.model.theta, average(trainer))
    assert np.isfinite(trainer.model.theta).all()


@FACE
def test_a_divergence_in_the_first_step_leaves_the_weights():
    trainer = hl.Trainer(net(4, 8, 2, dtype="float32"), loss="mse", optimizer=hl.ScheduleFreeSGD())
    before = trainer.model.theta.copy()
    with pytest.raises(DivergenceError):
        trainer.fit(X, np.full((len(X), 2), 1e30))
    assert trainer.step == 0
    np.testing.assert_array_equal(trainer.model.theta, before)


@FACE
def test_whatever_ends_an_epoch_leaves_the_average(monkeypatch):
    trainer = trainer_of()
    monkeypatch.setattr("hotloop.session.BLOCK_SECONDS", 1e-12)
    train, calls = hl.Trainer._train_block, []

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return train(self, *arguments)

    monkeypatch.setattr(hl.Trainer, "_train_block", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y)
    assert trainer.step == 4
    np.testing.assert_array_equal(trainer.model.theta, average(trainer))


@pytest.mark.parametrize("schedule", [0.1, hl.CosineRestarts(0.1, steps=700), hl.InverseSqrt(0.1, 50)])
def test_averaging_weights_follow_from_the_step_alone(schedule):
    def make():  # each with nothing kept from the others
        return hl.ScheduleFreeAdamW(schedule, warmup_steps=300, r=0.7, weight_lr_power=1.5)

    last = 2 * CHUNK + 100
    whole = scalars_of(make(), np.arange(last))
    optimizer = make()
    edges = [0, 1, 5, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 7, last]
    parts = [scalars_of(optimizer, np.arange(*edge)) for edge in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(scalars_of(make(), np.arange(last - 3, last)), whole[-3:])
    np.testing.assert_array_equal(
        scalars_of(optimizer, np.arange(3, 6)), whole[3:6], err_msg="a block repeated"
    )

    rates = optimizer.rates(np.arange(last))
    weights = np.arange(1, last + 1) ** 0.7 * np.maximum.accumulate(rates) ** 1.5
    for step in (0, 1, 299, CHUNK, last - 1):
        expected = weights[step] / math.fsum(weights[: step + 1])
        assert whole[step, 1] == pytest.approx(expected, rel=1e-13)
    np.testing.assert_array_equal(whole[:, 2], np.arange(last) == 0)


def test_a_late_block_looks_back_no_further_than_its_chunk():
    asked = []

    def schedule(steps):
        asked.append(len(steps))
        return np.full(steps.shape, 0.1)

    optimizer = hl.ScheduleFreeSGD(schedule)
    scalars_of(optimizer, np.arange(50 * CHUNK, 50 * CHUNK + 10))
    assert sum(asked) == 50 * CHUNK + 20, "the steps twice: for their rates, and for the sums"
    asked.clear()
    scalars_of(optimizer, np.arange(50 * CHUNK + 10, 50 * CHUNK + 20))
    assert sum(asked) == 30


def test_a_constant_rate_gives_the_plain_mean():
    shares = scalars_of(hl.ScheduleFreeSGD(1.0), np.arange(5000))[:, 1]
    np.testing.assert_allclose(shares, 1 / np.arange(1, 5001), rtol=1e-13)
    assert scalars_of(hl.ScheduleFreeSGD(1.0), np.arange(0)).shape == (0, 3)


def test_as_long_as_the_rate_is_zero_nothing_is_averaged():
    scalars = scalars_of(hl.ScheduleFreeSGD(lambda steps: np.where(steps < 3, 0.0, 0.5)), np.arange(5))
    np.testing.assert_array_equal(scalars[:, 1], [0, 0, 0, 1, 0.5])


def test_the_warm_up_is_that_of_the_schedule():
    steps = np.arange(20)
    found = hl.ScheduleFreeAdamW(0.3, warmup_steps=8).rates(steps)
    np.testing.assert_allclose(found, hl.Warmup(8, 0.3)(steps), rtol=1e-15)


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if "without" not in name])
def test_path_is_that_of_the_authors(name):
    """y and x at every step; their package refuses β = 0."""
    torch = pytest.importorskip("torch", reason="PyTorch is what the peer runs on, and is not installed")
    peers = pytest.importorskip("schedulefree", reason="the authors' package is the peer, and not installed")
    optimizer, n_steps = OPTIMIZERS[name], 200
    kind = peers.SGDScheduleFree if "SGD" in name else peers.AdamWScheduleFree
    names = set(vars(optimizer)) - {"lr", "_edges"}
    curvature, start = np.linspace(0.1, 3.0, 11), np.linspace(-1.5, 2.0, 11)
    theirs = torch.tensor(start, requires_grad=True, dtype=torch.float64)
    peer = kind([theirs], lr=1.0, **{name: getattr(optimizer, name) for name in names})
    theta, state = start.copy(), np.zeros((optimizer.slots, 11))
    update = update_of(optimizer, n_steps, state)
    plain = optimizer.lr(np.arange(n_steps)) if callable(optimizer.lr) else [optimizer.lr] * n_steps
    for step, rate in enumerate(plain):
        peer.param_groups[0]["lr"] = float(rate)
        peer.train()
        at = theirs.detach().numpy().copy()
        np.testing.assert_allclose(theta, at, rtol=0, atol=1e-9)
        theirs.grad = torch.from_numpy(curvature * at - 3 * np.sin(3 * at))
        peer.step()
        take_step(optimizer, update, step, theta, curvature * theta - 3 * np.sin(3 * theta), 0, 11)
        peer.eval()
        np.testing.assert_allclose(state[1], theirs.detach().numpy(), rtol=0, atol=1e-9)
