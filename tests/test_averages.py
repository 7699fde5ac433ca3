"""Averages of the weights: against NumPy along the path, through blocks, threads, files and a divergence."""

import copy

import numpy as np
import pytest

import hotloop as hl
import reference
from helpers import classes, net, refuses
from hotloop._jit import COMPILED
from hotloop.errors import DivergenceError

pytestmark = pytest.mark.skipif(not COMPILED, reason="the face is tested compiled")

X, Y = classes(75)
STEPS = 5
"""Of 16 rows, an epoch."""
AVERAGES = {
    "EMA": hl.EMA(0.9),
    "EMA that forgets": hl.EMA(0.0),
    "SWA in epochs": hl.SWA(epochs=2),
    "SWA every second epoch": hl.SWA(epochs=1, every=2),
    "SWA from the first": hl.SWA(epochs=0),
    "SWA in steps": hl.SWA(steps=7, every=3),
}
each_average = pytest.mark.parametrize("average", AVERAGES.values(), ids=AVERAGES)


def trainer_of(average=None, *, dtype="float64", layers=None, **options):
    model = net(4, 8, 3, dtype=dtype)
    if layers is not None:
        model = hl.Sequential(layers, input_dim=4, dtype=dtype)
    return hl.Trainer(
        model, loss="softmax_cross_entropy", average=average,
        **{"optimizer": hl.Adam(0.02), "batch_size": 16} | options,
    )  # fmt: skip


def path_of(steps):
    """θ after each step of a trainer in blocks of one."""

    class Path(hl.Callback):
        def __init__(self):
            self.thetas = []

        def on_block_end(self, trainer):
            assert trainer.step == len(self.thetas) + 1
            self.thetas.append(trainer.model.theta.copy())

    path = Path()
    trainer_of().fit(X, Y, epochs=steps // STEPS, callbacks=path)
    return np.array(path.thetas)


def twin(average, path):
    """The average after all steps of a path, in NumPy."""
    if isinstance(average, hl.EMA):
        return reference.ema(path, average.decay)
    unit, start = (STEPS, average.epochs) if average.steps is None else (1, average.steps)
    taken = [path[k] for k in range(len(path)) if k + 1 in range((start + average.every) * unit,
             len(path) + 1, average.every * unit)]  # fmt: skip
    return np.mean(taken, axis=0)


@each_average
def test_it_is_that_of_numpy_along_the_path(average, monkeypatch):
    with monkeypatch.context() as context:
        context.setattr("hotloop.session.BLOCK_SECONDS", 1e-12)
        path = path_of(30)
    trainer = trainer_of(average)
    trainer.fit(X, Y, epochs=6)
    np.testing.assert_array_equal(trainer.model.theta, path[-1], err_msg="an average must not disturb")
    averaged = trainer.averaged_model()
    np.testing.assert_allclose(averaged.theta, twin(average, path), rtol=1e-12, atol=1e-14)
    if average != hl.EMA(0.0):
        assert (averaged.theta != trainer.model.theta).any()


@each_average
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_and_blocks_change_nothing(average, dtype, monkeypatch):
    def trained(n_threads=1):
        trainer = trainer_of(average, dtype=dtype, n_threads=n_threads)
        trainer.fit(X, Y, epochs=6)
        return trainer.averaged_model().theta

    whole = trained()
    for n_threads in (2, 3, 5):
        np.testing.assert_array_equal(trained(n_threads), whole)
    for name, number in (("SECONDS", 1e-12), ("BYTES", 3 * 16 * 6 * np.dtype(dtype).itemsize)):
        with monkeypatch.context() as context:
            context.setattr(f"hotloop.session.BLOCK_{name}", number)
            np.testing.assert_array_equal(trained(), whole)


@each_average
def test_saved_and_resumed_it_goes_on(average, tmp_path):
    whole, first = trainer_of(average), trainer_of(average)
    whole.fit(X, Y, epochs=7)
    first.fit(X, Y, epochs=4)
    first.save(tmp_path / "training")
    second = hl.Trainer.load(tmp_path / "training")
    assert second.average == average
    assert repr(second) == repr(first)
    np.testing.assert_array_equal(second.averaged_model().theta, first.averaged_model().theta)
    for trainer in (second, copy.deepcopy(first)):
        trainer.fit(X, Y, epochs=3)
        np.testing.assert_array_equal(trainer.averaged_model().theta, whole.averaged_model().theta)
        np.testing.assert_array_equal(trainer.model.theta, whole.model.theta)


def test_the_averaged_model_is_a_model_of_its_own(tmp_path):
    layers = [hl.Dense(8), hl.BatchNorm(), hl.Activation("relu"), hl.Dense(3)]
    trainer = trainer_of(hl.EMA(0.9), layers=layers)
    trainer.fit(X, Y, epochs=3)
    model, before = trainer.averaged_model(), trainer.model.theta.copy()
    np.testing.assert_array_equal(model.running, trainer.model.running)
    expected = model.predict(X)
    assert (expected != trainer.model.predict(X)).any()
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(hl.Sequential.load(tmp_path / "model").predict(X), expected)
    model.theta[:] = 0
    np.testing.assert_array_equal(trainer.model.theta, before)
    np.testing.assert_array_equal(trainer.averaged_model().predict(X), expected)


@pytest.mark.parametrize("average", [None, hl.EMA(), hl.SWA(epochs=5)])
def test_there_is_none_before_it_began(average):
    trainer = trainer_of(average)
    with refuses(ValueError, "average"):
        trainer.averaged_model()
    trainer.fit(X, Y, epochs=5)
    if isinstance(average, hl.EMA):
        trainer.averaged_model()
    else:
        with refuses(ValueError, "average"):
            trainer.averaged_model()


class Watch(hl.Callback):
    """θ and its average after each step, in blocks of one."""

    def __init__(self):
        self.seen = []

    def on_block_end(self, trainer):
        self.seen.append((trainer.model.theta.copy(), trainer.stepper.average.copy()))


@each_average
@pytest.mark.parametrize("at", [0, 12, 14, 15, 17])
def test_a_divergence_leaves_the_average_from_just_before(average, at, monkeypatch):
    """SWA(epochs=2) takes its first weights after step 15, SWA(steps=7, every=3) after 10, 13 and 16."""

    def trained(rate):
        optimizer = hl.SGD(lambda steps: np.where(steps == at, rate, 0.05), momentum=0.5)
        return trainer_of(average, optimizer=optimizer, dtype="float32")

    failing, well, watch = trained(1e300), trained(0.05), Watch()  # 1e300 is ∞ in float32
    with pytest.raises(DivergenceError):
        failing.fit(X, Y, epochs=6)
    assert failing.step == at
    with monkeypatch.context() as context:
        context.setattr("hotloop.session.BLOCK_SECONDS", 1e-12)
        well.fit(X, Y, epochs=6, callbacks=watch)
    start = trainer_of(dtype="float32").model.theta, np.zeros_like(failing.model.theta)
    theta, expected = watch.seen[at - 1] if at else start
    np.testing.assert_array_equal(failing.model.theta, theta)
    np.testing.assert_array_equal(failing.stepper.average, expected)


@pytest.mark.parametrize("optimizer", [hl.ScheduleFreeSGD(0.1), hl.ScheduleFreeAdamW(0.1)])
def test_schedule_free_averages_already(optimizer):
    with refuses(ValueError, "average"):
        trainer_of(hl.EMA(), optimizer=optimizer)


WRONG = {
    "decay": (lambda: hl.EMA(1.0), ValueError),
    "decay ": (lambda: hl.EMA("a"), TypeError),
    "epochs, steps": (lambda: hl.SWA(), ValueError),
    "epochs, steps ": (lambda: hl.SWA(epochs=1, steps=1), ValueError),
    "epochs": (lambda: hl.SWA(epochs=-1), ValueError),
    "steps": (lambda: hl.SWA(steps=1.5), TypeError),
    "every": (lambda: hl.SWA(steps=1, every=0), ValueError),
    "every ": (lambda: hl.SWA(steps=1, every=2**53), ValueError),
    "average": (lambda: trainer_of(0.9), TypeError),
    "average ": (lambda: trainer_of(hl.EMA), TypeError),
}


@pytest.mark.parametrize(("name", "wrong"), WRONG.items(), ids=WRONG)
def test_wrong_arguments_are_named(name, wrong):
    make, error = wrong
    with refuses(error, name.strip()):
        make()


@each_average
def test_repr_rebuilds_each(average):
    assert eval(repr(average), vars(hl)) == average


def test_numbers_of_any_kind_are_counted_as_whole_ones():
    """np.int8(20) times 10 steps an epoch would be −56."""
    steps = np.arange(300)
    for options in ({"epochs": 20}, {"steps": 120, "every": 3}):
        small = hl.SWA(**{name: np.int8(value) for name, value in options.items()})
        assert small == hl.SWA(**options)
        np.testing.assert_array_equal(small.rates(steps, 10), hl.SWA(**options).rates(steps, 10))
