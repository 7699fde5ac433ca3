"""Averages of the weights along training: they often predict better than the last ones.

The average moves after a step t by a rate that depends on t alone: average += rate (θ − average).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import COUNTABLE, check_integer, check_number
from hotloop.errors import InvalidTypeError, InvalidValueError

__all__ = ["AVERAGES", "EMA", "SWA", "Average"]


@dataclass(frozen=True)
class Average(ABC):
    """Base of all averages: immutable; the average itself lives in the trainer."""

    @abstractmethod
    def rates(self, steps: NDArray[np.int64], steps_per_epoch: int) -> NDArray[np.float64]:
        """How far the average moves after each step, counted from 0."""


@dataclass(frozen=True)
class EMA(Average):
    """Exponential moving average: average ← decay · average + (1 − decay) θ after each step.

    It starts as a copy of θ after the first step, as ``torch.optim.swa_utils`` does.

    Parameters
    ----------
    decay : float, default 0.999
        At least 0 and below 1: about 1 / (1 − decay) steps are remembered.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If the decay is not such a number.

    Notes
    -----
    Polyak & Juditsky, "Acceleration of stochastic approximation by averaging" (1992).

    Examples
    --------
    >>> import hotloop as hl
    >>> model = hl.Sequential([hl.Dense(1)], input_dim=1)
    >>> trainer = hl.Trainer(model, loss="mse", average=hl.EMA(0.9))
    >>> history = trainer.fit([[1.0], [2.0]], [2.0, 4.0], epochs=3)
    >>> trainer.averaged_model().predict([[3.0]]).shape
    (1, 1)
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        check_number(self.decay, "decay", low=0.0, below=1.0)

    def rates(self, steps: NDArray[np.int64], steps_per_epoch: int) -> NDArray[np.float64]:
        """1 in the first step, then 1 − decay."""
        return np.where(steps == 0, 1.0, 1.0 - self.decay)


@dataclass(frozen=True)
class SWA(Average):
    """Stochastic weight averaging: the plain mean of θ at regular times, from some time on.

    Parameters
    ----------
    epochs : int, optional
        Start after so many epochs, and take θ at the end of each later one.
    steps : int, optional
        Start after so many steps instead; give one of the two.
    every : int, default 1
        Take every so many epochs, or steps.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is out of its range, or not exactly one start is given.

    Notes
    -----
    Izmailov et al., "Averaging weights leads to wider optima and better generalization" (2018),
    algorithm 1; use a constant or slowly falling rate. Epochs are counted in steps, of those that the
    running fit has in each: an epoch cut off by `TimeBudget` shifts the times. The running statistics
    of batch normalisation are those of the model, not of the average.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.SWA(epochs=5)
    SWA(epochs=5, steps=None, every=1)
    """

    epochs: int | None = None
    steps: int | None = None
    every: int = 1

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise InvalidValueError("epochs, steps: give exactly one of them, for example hl.SWA(epochs=5)")
        given = "epochs" if self.steps is None else "steps"
        start = check_integer(getattr(self, given), given, low=0, below=COUNTABLE)
        every = check_integer(self.every, "every", low=1, below=COUNTABLE)
        object.__setattr__(self, given, start)
        object.__setattr__(self, "every", every)

    def rates(self, steps: NDArray[np.int64], steps_per_epoch: int) -> NDArray[np.float64]:
        """1, ½, ⅓, … at the times when θ is taken, else 0."""
        unit = steps_per_epoch if self.steps is None else 1
        start = (self.epochs if self.steps is None else self.steps) or 0
        after = steps + 1 - start * unit
        taken = after // (self.every * unit)
        due = (after > 0) & (after % (self.every * unit) == 0)
        return np.where(due, 1.0 / np.maximum(taken, 1), 0.0)


AVERAGES: tuple[type[Average], ...] = (EMA, SWA)
"""All members: what a trainer's file may name."""


def check_average(value: Any, name: str) -> Average | None:
    """`value`, if it is an average or None."""
    if value is not None and not isinstance(value, Average):
        raise InvalidTypeError(f"{name}: expected one such as hl.EMA(0.999), or None, got {value!r}")
    return value
