"""Callbacks and `History`: who is called when, when training stops, and what is written down."""

import math

import numpy as np
import pytest

import hotloop as hl
from helpers import classes, net, refuses, values
from hotloop.metrics import r2

X, Y = classes(200)
HELD_OUT = classes(50, seed=1)
HOOKS = ("on_fit_begin", "on_epoch_begin", "on_epoch_end", "on_fit_end")


def trainer_of(**options):
    return hl.Trainer(net(4, 16, 3), loss="softmax_cross_entropy", **{"batch_size": 20} | options)


class Recorder(hl.Callback):
    """Writes down every call, and the weights after each epoch."""

    def __init__(self, calls=None, name=""):
        self.calls, self.name, self.thetas = [] if calls is None else calls, name, []

    def on_fit_begin(self, trainer):
        self.calls.append(f"{self.name}fit")

    def on_epoch_begin(self, trainer, epoch):
        self.calls.append(f"{self.name}{epoch}")

    def on_epoch_end(self, trainer, epoch, logs):
        assert trainer.epoch == epoch == trainer.history.epochs
        assert dict(logs) == {name: column[-1] for name, column in trainer.history.items()}
        self.thetas.append(trainer.model.theta.copy())
        self.calls.append(f"{self.name}end {epoch}")

    def on_fit_end(self, trainer):
        assert trainer.history.stopped_by is not None
        self.calls.append(f"{self.name}end")


def test_callbacks_are_called_in_order():
    recorder, trainer = Recorder(), trainer_of()
    trainer.fit(X, Y, epochs=2, callbacks=recorder, validation_data=HELD_OUT)
    assert recorder.calls == ["fit", "1", "end 1", "2", "end 2", "end"]
    trainer.fit(X, Y, epochs=1, callbacks=[recorder], validation_data=HELD_OUT)
    assert recorder.calls[6:] == ["fit", "3", "end 3", "end"]


@pytest.mark.parametrize("as_given", [list, tuple, iter])
def test_several_callbacks_take_turns(as_given):
    calls = []
    both = as_given([Recorder(calls, "a "), Recorder(calls, "b ")])
    trainer_of().fit(X, Y, epochs=1, callbacks=both)
    assert calls == [f"{name} {call}" for call in ("fit", "1", "end 1", "end") for name in "ab"]


@pytest.mark.parametrize("hook", HOOKS[:-1])
def test_stop_ends_training_after_the_epoch(hook):
    class Stop(hl.Callback):
        pass

    setattr(Stop, hook, lambda self, trainer, *rest: trainer.stop("enough") if trainer.epoch < 2 else None)
    trainer, recorder = trainer_of(), Recorder()
    history = trainer.fit(X, Y, epochs=10, callbacks=[Stop(), recorder])
    assert (history.epochs, history.stopped_by) == (1, "enough")
    assert recorder.calls == ["fit", "1", "end 1", "end"]
    history = trainer.fit(X, Y, epochs=1)
    assert (history.epochs, history.stopped_by) == (2, "epochs")


@pytest.mark.parametrize("hook", HOOKS)
def test_an_error_in_a_callback_comes_out_and_leaves_a_usable_trainer(hook, capsys):
    class Failing(hl.Callback):
        pass

    def fail(self, trainer, *rest):
        raise LookupError("in a callback")

    setattr(Failing, hook, fail)
    trainer = trainer_of()
    with pytest.raises(LookupError, match="in a callback"):
        trainer.fit(X, Y, epochs=3, callbacks=Failing())
    done = trainer.epoch
    assert trainer.history.epochs == done == {"on_epoch_end": 1, "on_fit_end": 3}.get(hook, 0)
    trainer.fit(X, Y, epochs=4)
    straight = trainer_of()
    straight.fit(X, Y, epochs=done + 4)
    np.testing.assert_array_equal(trainer.model.theta, straight.model.theta)
    assert capsys.readouterr().out == ""


# Early stopping.

RUNS = {  # values of the monitored column, patience, min_delta → best epoch, last epoch
    "better every time": ("loss", [5, 4, 3, 2], 1, 0.0, 4, 4),
    "worse at once": ("loss", [1, 2, 3, 4, 5], 1, 0.0, 1, 2),
    "patience 2": ("loss", [1, 2, 3, 4, 5], 2, 0.0, 1, 3),
    "recovers in time": ("loss", [3, 4, 2, 4, 4, 1], 2, 0.0, 3, 5),
    "equal is no improvement": ("loss", [3, 3, 3, 3], 2, 0.0, 1, 3),
    "too little": ("loss", [3.0, 2.9, 2.85, 2.8], 2, 0.5, 1, 3),
    "little by little": ("loss", [3.0, 2.9, 2.4, 2.8, 2.7], 2, 0.5, 3, 5),
    "accuracy goes up": ("accuracy", [0.1, 0.5, 0.4, 0.3, 0.9], 2, 0.0, 2, 4),
    "accuracy, too little": ("accuracy", [0.1, 0.15, 0.18, 0.9], 2, 0.1, 1, 3),
    "NaN is no improvement": ("loss", [3, math.nan, math.nan, 2], 2, 0.0, 1, 3),
    "anything is better than NaN": ("loss", [math.nan, 4, 5, 6], 2, 0.0, 2, 4),
    "never a number": ("loss", [math.nan] * 5, 2, 0.0, 1, 3),
    "a metric's accuracy": ("my_accuracy", [0.1, 0.5, 0.4, 0.3, 0.9], 2, 0.0, 2, 4),
    "inaccuracy goes down": ("inaccuracy", [5, 4, 3, 2], 2, 0.0, 4, 4),
}


@pytest.mark.parametrize(("column", "numbers", "patience", "delta", "best", "last"), RUNS.values(), ids=RUNS)
def test_early_stopping_waits_for_an_improvement(column, numbers, patience, delta, best, last):
    class Told(hl.EarlyStopping):
        """Sees the numbers of the table in place of the true ones."""

        def on_epoch_end(self, trainer, epoch, logs):
            super().on_epoch_end(trainer, epoch, {column: numbers[epoch - 1]})

        def check_fit(self, trainer):
            """Whatever the column."""

    early, recorder, trainer = Told(column, patience, min_delta=delta), Recorder(), trainer_of()
    history = trainer.fit(X, Y, epochs=len(numbers), callbacks=[recorder, early])
    assert (early.best_epoch, history.epochs) == (best, last)
    np.testing.assert_equal(early.best, numbers[best - 1])
    assert history.stopped_by == ("epochs" if best == last else "early_stopping")
    np.testing.assert_array_equal(trainer.model.theta, recorder.thetas[best - 1])


@pytest.mark.parametrize("restore", [True, False])
@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_early_stopping_restores_the_best_weights(restore, monitor):
    """A large rate: the numbers go up and down."""
    early, recorder = hl.EarlyStopping(monitor, patience=3, restore_best=restore), Recorder()
    trainer = trainer_of(optimizer=hl.Adam(0.3))
    history = trainer.fit(X, Y, epochs=200, validation_data=HELD_OUT, callbacks=[early, recorder])
    column = history[monitor]
    best = min(column) if monitor == "val_loss" else max(column)
    assert history.stopped_by == "early_stopping"
    assert early.best == best == column[early.best_epoch - 1]
    assert history.epochs == early.best_epoch + 3
    kept = recorder.thetas[early.best_epoch - 1 if restore else -1]
    np.testing.assert_array_equal(trainer.model.theta, kept)
    if restore:
        assert trainer.evaluate(*HELD_OUT)[monitor.removeprefix("val_")] == best


def test_early_stopping_begins_anew_with_each_fit():
    early, trainer = hl.EarlyStopping("loss", patience=2), trainer_of()
    trainer.fit(X, Y, epochs=3, callbacks=early)
    trainer.model.theta[:] = net(4, 16, 3, seed=1).theta
    trainer.fit(X, Y, epochs=1, callbacks=early)
    assert early.best_epoch == 4


WRONG = {
    "monitor": ({"monitor": 3}, TypeError),
    "patience": ({"patience": 0}, ValueError),
    "patience ": ({"patience": 1.5}, TypeError),
    "restore_best": ({"restore_best": "yes"}, TypeError),
    "min_delta": ({"min_delta": -0.1}, ValueError),
    "min_delta ": ({"min_delta": None}, TypeError),
}


@pytest.mark.parametrize(("name", "wrong"), WRONG.items(), ids=WRONG)
def test_wrong_arguments_are_named(name, wrong):
    options, error = wrong
    with refuses(error, name.strip()):
        hl.EarlyStopping(**options)


@pytest.mark.parametrize("monitor", ["val_loss", "accurracy"])
def test_an_unknown_column_is_an_error_that_lists_the_known(monitor):
    recorder, trainer = Recorder(), trainer_of()
    before = trainer.model.theta.copy()
    with refuses(ValueError, "monitor") as caught:
        trainer.fit(X, Y, callbacks=[recorder, hl.EarlyStopping(monitor)])
    assert "['accuracy', 'loss', 'lr']" in str(caught.value)
    assert "1" not in recorder.calls
    np.testing.assert_array_equal(trainer.model.theta, before)


def test_repr_rebuilds_early_stopping():
    early = hl.EarlyStopping("val_accuracy", patience=3, restore_best=False, min_delta=0.5)
    assert repr(eval(repr(early), vars(hl))) == repr(early)
    assert "restore_best=False, min_delta=0.5" in repr(early)


# Metrics.


def test_r2_is_that_of_scikit_learn():
    r2_score = pytest.importorskip("sklearn.metrics").r2_score
    rng = np.random.default_rng(0)
    for shape in ((50, 1), (50, 3)):
        y = rng.standard_normal(shape)
        for noise in (0.1, 1.0, 10.0):
            outputs = y + noise * rng.standard_normal(shape)
            assert r2(y, outputs) == pytest.approx(r2_score(y, outputs), rel=1e-12)
    assert r2(y[:, 0], outputs[:, :1]) == pytest.approx(r2_score(y[:, 0], outputs[:, 0]), rel=1e-12)
    assert math.isnan(r2(np.ones(5), np.ones((5, 1))))
    with refuses(ValueError, "y"):
        r2(np.ones(5), np.ones((5, 3)))


def regression(**options):
    return hl.Trainer(net(4, 16, 2), loss="mse", **{"batch_size": 20, "optimizer": hl.Adam(0.01)} | options)


REGRESSION, CURVE = values(200), values(50, seed=1)


def worst(y, outputs):
    return np.abs(y - outputs).max()


@pytest.mark.parametrize("n_threads", [1, 3])
def test_metrics_are_columns(n_threads):
    seen = []

    def spy(y, outputs):
        seen.append((y, outputs))
        return 7

    trainer = regression(n_threads=n_threads)
    metrics = {"r2": r2, "worst": worst, "spy": spy}
    history = trainer.fit(*REGRESSION, epochs=3, validation_data=CURVE, metrics=metrics)
    assert list(history) == ["loss", "lr", "val_loss", "val_r2", "val_worst", "val_spy"]
    assert trainer.columns == tuple(history)
    outputs = trainer.model.predict(CURVE[0])
    assert history["val_r2"][-1] == r2(CURVE[1], outputs)
    assert history["val_worst"][-1] == worst(CURVE[1], outputs)
    assert history["val_spy"] == [7.0] * 3
    np.testing.assert_array_equal(seen[-1][0], CURVE[1])
    np.testing.assert_array_equal(seen[-1][1], outputs)
    other = regression()
    other.fit(*REGRESSION, epochs=3)
    np.testing.assert_array_equal(other.model.theta, trainer.model.theta, err_msg="metrics change nothing")
    assert "val_r2" not in other.history


@pytest.mark.parametrize("value", [None, "0.5 or so", np.ones(2)], ids=str)
def test_a_metric_returns_a_number(value):
    with refuses(TypeError, "metrics"):
        regression().fit(*REGRESSION, epochs=1, validation_data=CURVE, metrics={"mine": lambda y, o: value})


@pytest.mark.parametrize("given", ["r2", ["r2"], ("r2",), {"r2": r2}])
def test_metrics_are_named_or_given(given):
    assert "val_r2" in regression().fit(*REGRESSION, epochs=1, validation_data=CURVE, metrics=given)


UNKNOWN = {
    "a name": ("r3", ValueError),
    "a name in a list": (["r2", "mae"], ValueError),
    "a function without a name": ([worst], ValueError),
    "no function": ({"worst": 3}, TypeError),
    "no name": ({3: worst}, TypeError),
    "a number": (3, TypeError),
    "the loss": ({"loss": worst}, ValueError),
    "the accuracy": ({"accuracy": worst}, ValueError),
}


@pytest.mark.parametrize(("metrics", "error"), UNKNOWN.values(), ids=UNKNOWN)
def test_wrong_metrics_are_refused(metrics, error):
    trainer = regression()
    before = trainer.model.theta.copy()
    with refuses(error, "metrics"):
        trainer.fit(*REGRESSION, validation_data=CURVE, metrics=metrics)
    np.testing.assert_array_equal(trainer.model.theta, before)


def test_metrics_need_validation_data():
    with refuses(ValueError, "metrics"):
        regression().fit(*REGRESSION, metrics="r2")


def test_early_stopping_takes_more_r2_for_better():
    early, recorder = hl.EarlyStopping("val_r2", patience=3), Recorder()
    trainer = regression(optimizer=hl.Adam(0.3))
    history = trainer.fit(
        *REGRESSION, epochs=200, validation_data=CURVE, metrics="r2", callbacks=[early, recorder]
    )
    column = history["val_r2"]
    assert history.stopped_by == "early_stopping"
    assert early.best == max(column) == column[early.best_epoch - 1]
    assert history.epochs == early.best_epoch + 3
    np.testing.assert_array_equal(trainer.model.theta, recorder.thetas[early.best_epoch - 1])


@pytest.mark.parametrize(("mode", "best"), [("max", 2), ("min", 4), ("auto", 4)])
def test_the_mode_tells_which_way_is_up(mode, best):
    numbers = iter([3, 5, 4, 1, 2, 3, 4])
    early = hl.EarlyStopping("val_own", patience=3, mode=mode)
    metrics = {"own": lambda y, outputs: next(numbers)}
    history = regression().fit(
        *REGRESSION, epochs=7, validation_data=CURVE, metrics=metrics, callbacks=early
    )  # fmt: skip
    assert (early.best_epoch, history.epochs) == (best, best + 3)


# A rate that goes down.


class Scripted(hl.Callback):
    """A metric whose value in each epoch is given."""

    def __init__(self, numbers):
        self.numbers = iter(numbers)

    def __call__(self, y, outputs):
        return next(self.numbers)


PLATEAUS = {  # numbers, options → lr_factor after each epoch
    "better each time": ([5, 4, 3, 2], {"patience": 1}, [1, 1, 1, 1]),
    "patience 1": ([5, 5, 5, 5], {"patience": 1}, [1, 0.5, 0.25, 0.125]),
    "patience 2": ([5, 6, 6, 6, 6, 6], {"patience": 2}, [1, 1, 0.5, 0.5, 0.25, 0.25]),
    "recovers": ([5, 6, 4, 6, 6, 3, 3], {"patience": 2}, [1, 1, 1, 1, 0.5, 0.5, 0.5]),
    "too little": ([5, 4.9, 4.8, 4.7], {"patience": 2, "min_delta": 0.5}, [1, 1, 0.5, 0.5]),
    "upwards": ([1, 2, 3, 3, 2], {"patience": 1, "mode": "max"}, [1, 1, 1, 0.5, 0.25]),
    "down to min_lr": ([5] * 5, {"patience": 1, "min_lr": 0.015}, [1, 0.5, 0.25, 0.15, 0.15]),
    "below min_lr": ([5] * 3, {"patience": 1, "min_lr": 0.2}, [1, 1, 1]),
    "NaN is no improvement": ([math.nan] * 3, {"patience": 1}, [1, 0.5, 0.25]),
    "NaN after a number": ([5, math.nan, math.nan, 4], {"patience": 2}, [1, 1, 0.5, 0.5]),
}


@pytest.mark.parametrize(("numbers", "options", "factors"), PLATEAUS.values(), ids=PLATEAUS)
def test_the_rate_is_lowered_on_a_plateau(numbers, options, factors):
    class Factors(hl.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            found.append(trainer.lr_factor)

    found, trainer = [], regression(optimizer=hl.SGD(0.1))
    reduce = hl.ReduceOnPlateau("val_own", factor=0.5, **options)
    history = trainer.fit(
        *REGRESSION, epochs=len(numbers), validation_data=CURVE, metrics={"own": Scripted(numbers)},
        callbacks=[reduce, Factors()],
    )  # fmt: skip
    assert found == pytest.approx(factors, rel=1e-12)
    # The column has the rate of the epoch: a new factor counts from the next one on.
    assert history["lr"] == pytest.approx([0.1, *(0.1 * factor for factor in factors[:-1])], rel=1e-12)


def test_a_lower_factor_is_a_lower_rate(tmp_path):
    """On top of a schedule, for all groups of rates, saved and loaded."""
    trainer, other = (
        regression(optimizer=hl.SGD(rate, momentum=0.9))
        for rate in (
            hl.Exponential(0.1, 0.99),
            lambda steps: 0.1 * 0.99**steps * np.where(steps < 20, 1, 0.25),
        )
    )
    other.fit(*REGRESSION, epochs=4)
    trainer.fit(*REGRESSION, epochs=2)
    trainer.lr_factor = 0.25
    trainer.save(tmp_path / "training")
    loaded = hl.Trainer.load(tmp_path / "training")
    assert loaded.lr_factor == 0.25
    for one in (trainer, loaded):
        one.fit(*REGRESSION, epochs=2)
        np.testing.assert_allclose(one.model.theta, other.model.theta, rtol=1e-12)
        np.testing.assert_allclose(one.history["lr"], other.history["lr"], rtol=1e-12)
    for wrong, error in ((-1, ValueError), ("a", TypeError), (math.nan, ValueError)):
        with refuses(error, "lr_factor"):
            trainer.lr_factor = wrong


# Other reasons to stop.

TOLERANCES = {  # losses, tol, patience → last epoch, or None if it does not stop
    "at once": ([3, 3, 3, 3], 0.1, 1, 2),
    "three in a row": ([9, 5, 5.05, 5.01, 5.02, 5], 0.1, 3, 5),
    "interrupted": ([5, 5, 5, 4, 4, 4, 4], 0.1, 3, 7),
    "upwards counts too": ([1, 2, 3, 4], 0.1, 1, None),
    "exactly tol is no stop": ([1, 1.5, 2, 2.5], 0.5, 1, None),
    "tol 0": ([1, 1, 1, 1], 0.0, 1, None),
    "NaN": ([math.nan] * 4, 0.1, 1, None),
}


@pytest.mark.parametrize(("losses", "tol", "patience", "last"), TOLERANCES.values(), ids=TOLERANCES)
def test_training_stops_when_the_loss_stays(losses, tol, patience, last):
    class Told(hl.LossTolerance):
        def on_epoch_end(self, trainer, epoch, logs):
            super().on_epoch_end(trainer, epoch, {"loss": losses[epoch - 1]})

    history = trainer_of().fit(X, Y, epochs=len(losses), callbacks=Told(tol, patience))
    expected = (last, "tol") if last else (len(losses), "epochs")
    assert (history.epochs, history.stopped_by) == expected


def test_loss_tolerance_begins_anew_with_each_fit():
    tolerance, trainer = hl.LossTolerance(1e9, patience=2), trainer_of()
    for epochs in (3, 6):
        assert trainer.fit(X, Y, epochs=10, callbacks=tolerance).epochs == epochs


def test_training_stops_where_the_gradient_vanishes():
    """Least squares: the gradient falls by a factor in each step."""
    model = net(4, 2)
    trainer = hl.Trainer(model, loss="mse", optimizer=hl.SGD(0.2), batch_size=None)
    history = trainer.fit(*REGRESSION, epochs=1000, callbacks=hl.GradientTolerance(1e-6))
    assert history.stopped_by == "gtol"
    column = history["gradient_norm"]
    assert column[-1] < 1e-6 <= column[-2]
    solution = np.linalg.lstsq(np.c_[REGRESSION[0], np.ones(200)], REGRESSION[1], rcond=None)[0]
    np.testing.assert_allclose(model.theta, solution.ravel(), atol=1e-6)
    assert "gradient_norm" in trainer.columns


@pytest.fixture
def clock(monkeypatch):
    """A clock in place of the true one: a second more each time a callback looks at it."""

    class Clock:
        now = 0.0

        @staticmethod
        def perf_counter():
            Clock.now += 1
            return Clock.now

    monkeypatch.setattr("hotloop.callbacks.time", Clock)
    monkeypatch.setattr("hotloop.session.BLOCK_SECONDS", 1e-12)  # one step a block
    return Clock


@pytest.mark.parametrize(("seconds", "steps"), [(1, 1), (7, 7), (10, 10), (13.5, 14), (1000, 30)])
def test_training_stops_when_the_time_is_over(clock, seconds, steps):
    """Ten steps an epoch: it may end within one, which then has no entry in the history."""
    recorder, trainer = Recorder(), trainer_of()
    history = trainer.fit(X, Y, epochs=3, callbacks=[hl.TimeBudget(seconds), recorder])
    assert trainer.step == steps
    assert trainer.epoch == history.epochs == steps // 10
    assert history.stopped_by == ("time" if steps < 30 else "epochs")
    assert recorder.calls[-1] == "end"
    other = trainer_of()
    if steps >= 10:
        other.fit(X, Y, epochs=steps // 10)
    if steps % 10:
        other.fit(X, Y, epochs=1, callbacks=CutOff(steps))
    np.testing.assert_array_equal(trainer.model.theta, other.model.theta)
    trainer.fit(X, Y, epochs=1)
    assert trainer.history.stopped_by == "epochs"
    assert trainer.step == steps + 10


class CutOff(hl.Callback):
    """Stops after a step."""

    def __init__(self, step, now=True):
        self.step, self.now, self.blocks = step, now, []

    def on_block_end(self, trainer):
        self.blocks.append(trainer.step)
        if trainer.step == self.step:
            trainer.stop("cut off", now=self.now)


@pytest.mark.parametrize("step", [3, 10, 13, 20])
@pytest.mark.parametrize("now", [True, False])
def test_stop_now_ends_within_an_epoch(step, now, monkeypatch):
    """At an epoch's last block there is nothing to cut off."""
    monkeypatch.setattr("hotloop.session.BLOCK_SECONDS", 1e-12)
    cut, recorder, trainer = CutOff(step, now), Recorder(), trainer_of()
    history = trainer.fit(X, Y, epochs=5, validation_data=HELD_OUT, callbacks=[cut, recorder])
    last = step if now else -(-step // 10) * 10
    assert cut.blocks == list(range(1, last + 1))
    assert (trainer.step, trainer.epoch, history.stopped_by) == (last, last // 10, "cut off")
    assert recorder.calls[-1] == "end"
    assert trainer.fit(X, Y, epochs=1).stopped_by == "epochs", "an earlier stop is forgotten"


def test_blocks_end_inside_their_epoch(monkeypatch):
    calls = []

    class Order(Recorder):
        def on_block_end(self, trainer):
            calls.append(f"block {trainer.step}")

    monkeypatch.setattr("hotloop.session.BLOCK_BYTES", 5 * 20 * 8 * 6)
    trainer_of().fit(X, Y, epochs=2, callbacks=Order(calls))
    blocks = [[call for call in calls if "block" in call]]
    assert blocks[0][-1] == "block 20"
    assert calls.index("1") < calls.index("block 10") < calls.index("end 1") < calls.index("2")
    assert len(blocks[0]) >= 4


WRONG_STOPS = {
    "tol": (lambda: hl.LossTolerance(-1), ValueError),
    "patience": (lambda: hl.LossTolerance(1, patience=0), ValueError),
    "gtol": (lambda: hl.GradientTolerance(0), ValueError),
    "seconds": (lambda: hl.TimeBudget(0), ValueError),
    "seconds ": (lambda: hl.TimeBudget("a"), TypeError),
    "factor": (lambda: hl.ReduceOnPlateau(factor=1), ValueError),
    "factor ": (lambda: hl.ReduceOnPlateau(factor=0), ValueError),
    "patience ": (lambda: hl.ReduceOnPlateau(patience=0), ValueError),
    "min_lr": (lambda: hl.ReduceOnPlateau(min_lr=-1), ValueError),
    "monitor": (lambda: hl.ReduceOnPlateau(3), TypeError),
    "mode": (lambda: hl.ReduceOnPlateau(mode="up"), ValueError),
    "mode ": (lambda: hl.EarlyStopping(mode=1), TypeError),
}


@pytest.mark.parametrize(("name", "wrong"), WRONG_STOPS.items(), ids=WRONG_STOPS)
def test_wrong_arguments_of_the_others_are_named(name, wrong):
    make, error = wrong
    with refuses(error, name.strip()):
        make()


def test_reduce_on_plateau_needs_its_column():
    with refuses(ValueError, "monitor"):
        trainer_of().fit(X, Y, callbacks=hl.ReduceOnPlateau("val_loss"))


@pytest.mark.parametrize(
    "callback",
    [
        hl.EarlyStopping("val_r2", patience=2, mode="max"),
        hl.ReduceOnPlateau("loss", factor=0.5, patience=3, min_lr=1e-5, min_delta=0.1, mode="min"),
        hl.LossTolerance(0.25, patience=4), hl.GradientTolerance(0.5), hl.TimeBudget(2.5),
    ],
)  # fmt: skip
def test_repr_rebuilds_each(callback):
    again = eval(repr(callback), vars(hl))
    assert repr(again) == repr(callback)
    assert type(again) is type(callback)


# The history.


def test_a_history_is_a_mapping():
    history = hl.History()
    assert dict(history) == {}
    history.append({"loss": 2, "accuracy": 0.5})
    history.append({"loss": 1.5, "accuracy": 0.25})
    assert dict(history) == {"loss": [2.0, 1.5], "accuracy": [0.5, 0.25]}
    assert all(type(number) is float for column in history.values() for number in column)
    assert "loss" in history
    assert "val_loss" not in history
    with pytest.raises(KeyError, match="val_loss"):
        history["val_loss"]
    assert (len(history), history.epochs) == (2, 2)


def test_columns_that_come_and_go_are_filled_with_nan():
    history, nan = hl.History(), math.nan
    for logs in ({"loss": 3}, {"loss": 2, "val_loss": 2.5}, {"loss": 1}):
        history.append(logs)
    np.testing.assert_array_equal(history["loss"], [3, 2, 1])
    np.testing.assert_array_equal(history["val_loss"], [nan, 2.5, nan])


def test_a_fit_with_validation_after_one_without():
    trainer = trainer_of()
    trainer.fit(X, Y, epochs=2)
    history = trainer.fit(X, Y, epochs=1, validation_data=HELD_OUT)
    assert np.isnan(history["val_loss"]).tolist() == [True, True, False]
    assert len(history["loss"]) == 3


def test_repr_shows_the_last_epoch():
    history = hl.History()
    assert repr(history) == "History(epochs=0, stopped_by=None)"
    history.append({"loss": 1.23456, "val_loss": 2})
    history.stopped_by = "epochs"
    assert repr(history) == "History(epochs=1, loss=1.235, val_loss=2, stopped_by='epochs')"
