"""Callbacks: what may happen between epochs."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_choice, check_flag, check_integer, check_number
from hotloop.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from hotloop.trainer import Trainer

__all__ = ["Callback", "EarlyStopping"]


class Callback:
    """Base of callbacks: override what you need. ``trainer.stop(reason)`` ends training after the epoch.

    Examples
    --------
    >>> import hotloop as hl
    >>> class StopBelow(hl.Callback):
    ...     def on_epoch_end(self, trainer, epoch, logs):
    ...         if logs["loss"] < 0.1:
    ...             trainer.stop("loss below 0.1")
    """

    def on_fit_begin(self, trainer: "Trainer") -> None:
        """Before the first epoch of a fit."""

    def on_epoch_begin(self, trainer: "Trainer", epoch: int) -> None:
        """Before epoch `epoch`, counted from 1 over the life of the trainer."""

    def on_epoch_end(self, trainer: "Trainer", epoch: int, logs: Mapping[str, float]) -> None:
        """After epoch `epoch`; `logs` has its "loss", and, where they apply, "accuracy" and "val_…"."""

    def on_fit_end(self, trainer: "Trainer") -> None:
        """After the last epoch, also after Ctrl-C; not after an error."""


class EarlyStopping(Callback):
    """Stop when a number has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A column of the history. Columns that end in "accuracy" improve upwards, all others downwards.
    patience : int, default 5
        Epochs without improvement before training stops, at least 1.
    restore_best : bool, default True
        At the end of a fit, go back to the weights of the best epoch.
    min_delta : float, default 0.0
        The least change that counts as an improvement.

    Attributes
    ----------
    best_epoch : int
        The epoch with the best value, from 1; 0 before any.
    best : float
        Its value.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is out of its range; in fit, if `monitor` is not a column of the history.

    Notes
    -----
    Prechelt, "Early stopping - but when?" (1998), the UP criterion on epochs.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.EarlyStopping("val_accuracy", patience=3)
    EarlyStopping(monitor='val_accuracy', patience=3, restore_best=True, min_delta=0.0)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        restore_best: bool = True,
        min_delta: float = 0.0,
    ):
        if not isinstance(monitor, str):
            raise InvalidTypeError(f"monitor: expected the name of a column, got {monitor!r}")
        self.monitor = monitor
        self.patience = check_integer(patience, "patience", low=1)
        self.restore_best = check_flag(restore_best, "restore_best")
        self.min_delta = check_number(min_delta, "min_delta", low=0.0)
        self._reset()

    def _reset(self) -> None:
        self.best, self.best_epoch, self._waited = math.nan, 0, 0
        self._best_theta: NDArray[Any] | None = None

    def on_fit_begin(self, trainer: "Trainer") -> None:
        """Forget an earlier fit."""
        self._reset()
        check_choice(self.monitor, "monitor", trainer.columns)

    def on_epoch_end(self, trainer: "Trainer", epoch: int, logs: Mapping[str, float]) -> None:
        """Keep the weights if the value improved, stop if it has not for too long."""
        value = logs[self.monitor]
        gain = value - self.best if self.monitor.endswith("accuracy") else self.best - value
        if self.best_epoch == 0 or gain > self.min_delta or math.isnan(self.best):
            self.best, self.best_epoch, self._waited = value, epoch, 0
            if self.restore_best:
                if self._best_theta is None:
                    self._best_theta = np.empty_like(trainer.model.theta)
                self._best_theta[:] = trainer.model.theta
            return
        self._waited += 1
        if self._waited >= self.patience:
            trainer.stop("early_stopping")

    def on_fit_end(self, trainer: "Trainer") -> None:
        """Go back to the best weights."""
        if self._best_theta is not None:
            trainer.model.theta[:] = self._best_theta
            self._best_theta = None

    def __repr__(self) -> str:
        return (
            f"EarlyStopping(monitor={self.monitor!r}, patience={self.patience}, "
            f"restore_best={self.restore_best}, min_delta={self.min_delta})"
        )


def check_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """`callbacks` as a tuple; a single one is accepted too."""
    if isinstance(callbacks, Callback):
        return (callbacks,)
    try:
        found = tuple(callbacks)
    except TypeError as error:
        raise InvalidTypeError(f"callbacks: expected a list of callbacks, got {callbacks!r}") from error
    for k, callback in enumerate(found):
        if not isinstance(callback, Callback):
            hint = " (pass an instance, not the class)" if isinstance(callback, type) else ""
            raise InvalidTypeError(f"callbacks[{k}]: expected a hotloop.Callback, got {callback!r}{hint}")
    if len(set(map(id, found))) != len(found):
        raise InvalidValueError("callbacks: the same callback is listed twice")
    return found
