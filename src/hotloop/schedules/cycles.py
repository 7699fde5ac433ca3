"""Rates that also rise: restarts, a warm-up before anything else, one cycle."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_number
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.schedules.base import Timed, cosine
from hotloop.schedules.decays import Constant

__all__ = ["CosineRestarts", "OneCycle", "Warmup"]


@dataclass(frozen=True, repr=False)
class CosineRestarts(Timed):
    """`Cosine` over and over, each run `factor` times as long as the one before.

    Parameters
    ----------
    lr : float
        η₀, at the start of each run.
    steps : int, optional
        T, the length of the first run.
    factor : float, default 1.0
        At least 1.
    end : float, default 0.0
        What each run falls to.
    epochs : float, optional
        T in epochs, instead of `steps`.

    Notes
    -----
    Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), section 3.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.CosineRestarts(1.0, steps=10, factor=2)([0, 5, 10, 20]).round(3)
    array([1. , 0.5, 1. , 0.5])
    """

    lr: float
    steps: int | None = None
    factor: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        self._check_length()
        check_number(self.factor, "factor", low=1.0)
        check_number(self.end, "end", low=0.0)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Run k starts at T (factorᵏ − 1) / (factor − 1) and lasts T factorᵏ."""
        if self.factor == 1.0:
            return cosine(self.lr, self.end, t % self.length / self.length)
        # The small number keeps the very start of a run, where the logarithm is whole, in its run.
        inside = 1.0 + t * (self.factor - 1.0) / self.length
        run = np.floor(np.log(inside) / math.log(self.factor) + 1e-9)
        start = self.length * (self.factor**run - 1.0) / (self.factor - 1.0)
        return cosine(self.lr, self.end, np.maximum(t - start, 0.0) / (self.length * self.factor**run))


@dataclass(frozen=True, repr=False)
class Warmup(Timed):
    """A straight line up to the first rate of another schedule, which then starts.

    Step t < steps has the rate ``then(0) * (t + 1) / steps``; step t ≥ steps has ``then(t - steps)``.

    Parameters
    ----------
    steps : int, optional
        How long the line is.
    then : Schedule, callable or float
        What follows; a number is a constant rate.
    epochs : float, optional
        How long it is in epochs, instead of `steps`.

    Notes
    -----
    ``notes/001``, linear warm-up; Goyal et al., "Accurate, large minibatch SGD" (2017), section 2.2.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Warmup(4, hl.Linear(1.0, steps=10))([0, 1, 3, 4, 9])
    array([0.25, 0.5 , 1.  , 1.  , 0.5 ])

    In epochs, here of 40 steps:

    >>> schedule = hl.Warmup(epochs=0.5, then=hl.Cosine(0.1, epochs=10))
    >>> schedule.in_steps(40)
    Warmup(steps=20, then=Cosine(lr=0.1, steps=400, end=0.0))
    """

    steps: int | None = None
    then: Any = None

    def __post_init__(self) -> None:
        self._check_length()
        if self.then is None:
            raise InvalidTypeError("then: what follows is missing: a schedule, a function or a number")
        if not callable(self.then):
            object.__setattr__(self, "then", Constant(check_number(self.then, "then", low=0.0)))
        if isinstance(self.then, type):
            raise InvalidTypeError(f"then: expected a schedule, got the class {self.then.__name__}")

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """The line, then the other schedule."""
        late = np.asarray(self.then(np.maximum(t - self.length, 0.0).astype(np.int64)))
        return np.where(t < self.length, late * np.minimum((t + 1.0) / self.length, 1.0), late)


@dataclass(frozen=True, repr=False)
class OneCycle(Timed):
    """Up to the peak along half a cosine, then down to almost nothing along another.

    From ``lr / start_factor`` to `lr` in the first `rise` of the steps, then to
    ``lr / start_factor / end_factor``.

    Parameters
    ----------
    lr : float
        The peak.
    steps : int, optional
        T, all steps of the cycle, at least 2.
    rise : float, default 0.3
        The part of the steps that goes up, in (0, 1).
    start_factor : float, default 25.0
        How many times smaller than the peak the start is, at least 1.
    end_factor : float, default 1e4
        How many times smaller than the start the end is, at least 1.
    epochs : float, optional
        T in epochs, instead of `steps`.

    Notes
    -----
    Smith & Topin, "Super-convergence" (2019), in the form of ``torch.optim.lr_scheduler.OneCycleLR``.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.OneCycle(1.0, steps=101, rise=0.3)([0, 29, 100]).round(3)
    array([0.04, 1.  , 0.  ])
    """

    least: ClassVar[int] = 2

    lr: float
    steps: int | None = None
    rise: float = 0.3
    start_factor: float = 25.0
    end_factor: float = 1e4

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        self._check_length()
        if check_number(self.rise, "rise", low=0.0, below=1.0) == 0:
            raise InvalidValueError("rise: must be above 0, got 0; without a rise use hl.Cosine")
        check_number(self.start_factor, "start_factor", low=1.0)
        check_number(self.end_factor, "end_factor", low=1.0)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Two cosines, which meet at step ``rise * T - 1``."""
        start = self.lr / self.start_factor
        peak, last = max(self.rise * self.length - 1.0, 1e-9), self.length - 1.0
        up = cosine(start, self.lr, t / peak)
        down = cosine(self.lr, start / self.end_factor, np.maximum(t - peak, 0.0) / (last - peak))
        return np.where(t <= peak, up, down)
