"""Callbacks and `History`: who is called when, when training stops, and what is written down."""

import math

import numpy as np
import pytest

import hotloop as hl
from helpers import classes, net, refuses

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
}


@pytest.mark.parametrize(("column", "numbers", "patience", "delta", "best", "last"), RUNS.values(), ids=RUNS)
def test_early_stopping_waits_for_an_improvement(column, numbers, patience, delta, best, last):
    class Told(hl.EarlyStopping):
        """Sees the numbers of the table in place of the true ones."""

        def on_epoch_end(self, trainer, epoch, logs):
            super().on_epoch_end(trainer, epoch, {column: numbers[epoch - 1]})

    early, recorder, trainer = Told(column, patience, min_delta=delta), Recorder(), trainer_of()
    history = trainer.fit(X, Y, epochs=len(numbers), callbacks=[recorder, early])
    assert (early.best_epoch, history.epochs) == (best, last)
    assert early.best == numbers[best - 1]
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
