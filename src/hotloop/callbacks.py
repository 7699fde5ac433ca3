"""Callbacks: what may happen between epochs."""

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_choice, check_flag, check_integer, check_number
from hotloop.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from hotloop.trainer import Trainer

__all__ = [
    "Callback",
    "EarlyStopping",
    "GradientTolerance",
    "LossTolerance",
    "ReduceOnPlateau",
    "TimeBudget",
]


UPWARDS = ("accuracy", "r2")
"""Columns that improve upwards, with or without something before an underscore."""


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

    needs_gradient_norm: ClassVar[bool] = False
    """True to have the column "gradient_norm"; it takes two walks over θ a step, and two barriers more."""

    def epochs_at_once(self) -> int:
        """How many epochs may be trained before `on_epoch_end` is called for each of them; 1 at first.

        Where epochs are short, several of them take less time in one block. A callback that neither looks at
        the weights nor stops so soon may say more; it is asked before each block.
        """
        return 1

    def check_fit(self, trainer: "Trainer") -> None:
        """Before a fit changes anything: raise if what you need is missing, as a column may be."""

    def on_fit_begin(self, trainer: "Trainer") -> None:
        """Before the first epoch of a fit."""

    def on_epoch_begin(self, trainer: "Trainer", epoch: int) -> None:
        """Before epoch `epoch`, counted from 1 over the life of the trainer."""

    def on_block_end(self, trainer: "Trainer") -> None:
        """After a block of steps, some tens a second: keep it short. How steps come in blocks may vary."""

    def on_epoch_end(self, trainer: "Trainer", epoch: int, logs: Mapping[str, float]) -> None:
        """After epoch `epoch`; `logs` has its "loss", and, where they apply, "accuracy" and ``"val_…"``."""

    def on_fit_end(self, trainer: "Trainer") -> None:
        """After the last epoch, also after Ctrl-C; not after an error."""


class _Monitor(Callback):
    """What watches a column of the history for an improvement."""

    monitor: str
    mode: str
    min_delta: float

    def _watch(self, monitor: Any, mode: Any, min_delta: Any) -> None:
        if not isinstance(monitor, str):
            raise InvalidTypeError(f"monitor: expected the name of a column, got {monitor!r}")
        self.monitor = monitor
        self.mode = check_choice(mode, "mode", ("auto", "min", "max"))
        self.min_delta = check_number(min_delta, "min_delta", low=0.0)
        self._forget()

    def _forget(self) -> None:
        self.best, self.best_epoch = math.nan, 0

    def check_fit(self, trainer: "Trainer") -> None:
        """There must be such a column."""
        check_choice(self.monitor, "monitor", trainer.columns)

    def _improves(self, value: float, epoch: int) -> bool:
        """Whether `value` is better than the best so far, which it then becomes."""
        upwards = self.mode == "max" or (self.mode == "auto" and self.monitor.split("_")[-1] in UPWARDS)
        gain = value - self.best if upwards else self.best - value
        first = math.isnan(self.best) and not math.isnan(value)
        if self.best_epoch == 0 or gain > self.min_delta or first:
            self.best, self.best_epoch = value, epoch
            return True
        return False


class EarlyStopping(_Monitor):
    """Stop when a number has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A column of the history, also one of a metric of your own.
    patience : int, default 5
        Epochs without improvement before training stops, at least 1.
    restore_best : bool, default True
        At the end of a fit, go back to the weights (and running statistics) of the best epoch.
    min_delta : float, default 0.0
        The least change that counts as an improvement.
    mode : {"auto", "min", "max"}, default "auto"
        Whether less or more is better; "auto" takes more for "accuracy" and "r2", less for all others.

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
    Prechelt, "Early stopping - but when?" (1998), the UP criterion on epochs. ``history.stopped_by`` is
    then "early_stopping".

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.EarlyStopping("val_accuracy", patience=3)
    EarlyStopping(monitor='val_accuracy', patience=3, restore_best=True, min_delta=0.0, mode='auto')
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        restore_best: bool = True,
        min_delta: float = 0.0,
        mode: str = "auto",
    ):
        self._watch(monitor, mode, min_delta)
        self.patience = check_integer(patience, "patience", low=1)
        self.restore_best = check_flag(restore_best, "restore_best")
        self._best_weights: tuple[NDArray[Any], NDArray[Any]] | None = None

    def on_fit_begin(self, trainer: "Trainer") -> None:
        """Forget an earlier fit."""
        self._forget()
        self._best_weights = None

    def on_epoch_end(self, trainer: "Trainer", epoch: int, logs: Mapping[str, float]) -> None:
        """Keep the weights if the value improved, stop if it has not for too long."""
        if self._improves(logs[self.monitor], epoch):
            if self.restore_best:
                model = trainer.model
                if self._best_weights is None:
                    self._best_weights = np.empty_like(model.theta), np.empty_like(model.running)
                self._best_weights[0][:], self._best_weights[1][:] = model.theta, model.running
        elif epoch - self.best_epoch >= self.patience:
            trainer.stop("early_stopping")

    def on_fit_end(self, trainer: "Trainer") -> None:
        """Go back to the best weights."""
        if self._best_weights is not None:
            trainer.model.theta[:], trainer.model.running[:] = self._best_weights
            self._best_weights = None

    def __repr__(self) -> str:
        return (
            f"EarlyStopping(monitor={self.monitor!r}, patience={self.patience}, "
            f"restore_best={self.restore_best}, min_delta={self.min_delta}, mode={self.mode!r})"
        )


class ReduceOnPlateau(_Monitor):
    """Lower the learning rate when a number has not improved for some epochs.

    Multiplies ``trainer.lr_factor``, so it works on top of any schedule, and is saved with the trainer.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A column of the history.
    factor : float, default 0.1
        What the rate is multiplied with, above 0 and below 1.
    patience : int, default 10
        Epochs without improvement before that, at least 1; after it, as many again.
    min_lr : float, default 0.0
        The rate is not taken below it.
    min_delta : float, default 0.0
        The least change that counts as an improvement.
    mode : {"auto", "min", "max"}, default "auto"
        As in `EarlyStopping`.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is out of its range; in fit, if `monitor` is not a column of the history.

    Notes
    -----
    As ``torch.optim.lr_scheduler.ReduceLROnPlateau``, with an absolute threshold, and a patience one
    longer than there: here training goes on for `patience` epochs in all.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.ReduceOnPlateau("val_loss", factor=0.5, patience=3)
    ReduceOnPlateau(monitor='val_loss', factor=0.5, patience=3, min_lr=0.0, min_delta=0.0, mode='auto')
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_lr: float = 0.0,
        min_delta: float = 0.0,
        mode: str = "auto",
    ):
        self._watch(monitor, mode, min_delta)
        self.factor = check_number(factor, "factor", low=1e-30, below=1.0)
        self.patience = check_integer(patience, "patience", low=1)
        self.min_lr = check_number(min_lr, "min_lr", low=0.0)
        self._since = 0

    def on_fit_begin(self, trainer: "Trainer") -> None:
        """Forget an earlier fit, but not how far the rate was taken down."""
        self._forget()

    def on_epoch_end(self, trainer: "Trainer", epoch: int, logs: Mapping[str, float]) -> None:
        """Count epochs without improvement."""
        if self._improves(logs[self.monitor], epoch):
            self._since = epoch
        elif epoch - self._since >= self.patience:
            self._since = epoch
            lowest = self.min_lr / logs["lr"] if logs["lr"] > 0 else 1.0
            trainer.lr_factor *= min(max(self.factor, lowest), 1.0)

    def __repr__(self) -> str:
        return (
            f"ReduceOnPlateau(monitor={self.monitor!r}, factor={self.factor}, patience={self.patience}, "
            f"min_lr={self.min_lr}, min_delta={self.min_delta}, mode={self.mode!r})"
        )


class LossTolerance(Callback):
    """Stop when the training loss has changed by less than `tol` in each of some epochs.

    Parameters
    ----------
    tol : float, default 1e-4
        The least change |loss − loss of the epoch before| that counts, at least 0.
    patience : int, default 10
        Epochs in a row with less, at least 1.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is out of its range.

    Notes
    -----
    ``history.stopped_by`` is then "tol". ``notes/000``, section 2.3, when to stop.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.LossTolerance(1e-5)
    LossTolerance(tol=1e-05, patience=10)
    """

    def __init__(self, tol: float = 1e-4, patience: int = 10):
        self.tol = check_number(tol, "tol", low=0.0)
        self.patience = check_integer(patience, "patience", low=1)
        self._before, self._waited = math.nan, 0

    def on_fit_begin(self, trainer: "Trainer") -> None:
        """Forget an earlier fit."""
        self._before, self._waited = math.nan, 0

    def on_epoch_end(self, trainer: "Trainer", epoch: int, logs: Mapping[str, float]) -> None:
        """Compare with the epoch before."""
        small = abs(logs["loss"] - self._before) < self.tol
        self._before, self._waited = logs["loss"], self._waited + 1 if small else 0
        if self._waited >= self.patience:
            trainer.stop("tol")

    def __repr__(self) -> str:
        return f"LossTolerance(tol={self.tol}, patience={self.patience})"


class GradientTolerance(Callback):
    """Stop when the norm of the gradient is below `gtol`: at a critical point of the loss.

    With ``batch_size=None`` that is the gradient over all data before the epoch's one step. With smaller
    batches it is the mean over the steps of an epoch, which the noise of minibatches keeps up.

    Parameters
    ----------
    gtol : float, default 1e-5
        Of ‖∇L‖₂, above 0.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If `gtol` is not such a number.

    Notes
    -----
    ``history.stopped_by`` is then "gtol". ``notes/000``, critical points.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.GradientTolerance(1e-6)
    GradientTolerance(gtol=1e-06)
    """

    needs_gradient_norm = True

    def __init__(self, gtol: float = 1e-5):
        self.gtol = check_number(gtol, "gtol", low=1e-300)

    def on_epoch_end(self, trainer: "Trainer", epoch: int, logs: Mapping[str, float]) -> None:
        """Compare the norm."""
        if logs["gradient_norm"] < self.gtol:
            trainer.stop("gtol")

    def __repr__(self) -> str:
        return f"GradientTolerance(gtol={self.gtol})"


class TimeBudget(Callback):
    """Stop a fit when it has taken some time, within an epoch if need be.

    Parameters
    ----------
    seconds : float
        Of the fit, without compilation, above 0; it ends about a tenth of a second later, up to half a
        second where there are millions of weights.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If `seconds` is not such a number.

    Notes
    -----
    ``history.stopped_by`` is then "time". An epoch that was cut off has no entry in the history, but
    its steps are done. How many they are depends on the machine: such a run does not repeat bit by bit.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.TimeBudget(60)
    TimeBudget(seconds=60)
    """

    def __init__(self, seconds: float):
        check_number(seconds, "seconds", low=1e-9)
        self.seconds = seconds
        self._started = 0.0

    def on_fit_begin(self, trainer: "Trainer") -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_block_end(self, trainer: "Trainer") -> None:
        """Look at the clock."""
        if time.perf_counter() - self._started >= self.seconds:
            trainer.stop("time", now=True)

    def __repr__(self) -> str:
        return f"TimeBudget(seconds={self.seconds})"


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
