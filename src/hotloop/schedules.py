"""Schedules: the learning rate as a function of the step.

A schedule is called with an array of step numbers, counted from 0, and returns an array of rates.
Lengths are in steps: with n rows in batches of b an epoch has ⌈n / b⌉ of them. Any function of that
form is a schedule too. To add one: a frozen dataclass with `at`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_integer, check_number
from hotloop.errors import InvalidTypeError, InvalidValueError

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "InverseSqrt",
    "Linear",
    "OneCycle",
    "Polynomial",
    "Schedule",
    "ScheduleFunction",
    "Step",
    "Warmup",
]

ScheduleFunction: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Called with an array of step numbers, from 0, it returns an array of rates of the same shape."""


@dataclass(frozen=True)
class Schedule(ABC):
    """Base of all schedules: immutable, a rate for each step, whatever came before."""

    def __call__(self, steps: Any) -> NDArray[np.float64]:
        """Rates of the steps, counted from 0; same shape."""
        steps = np.asarray(steps)
        return np.asarray(self.at(steps.astype(np.float64)), dtype=np.float64)

    @abstractmethod
    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """The formula."""


@dataclass(frozen=True)
class Constant(Schedule):
    """η₀ at every step.

    Parameters
    ----------
    lr : float
        η₀.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Constant(0.1)([0, 100])
    array([0.1, 0.1])
    """

    lr: float

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """η₀."""
        return np.full(t.shape, self.lr)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from η₀ down to `end`: end + ½ (η₀ − end)(1 + cos(π t / T)), then `end`.

    Parameters
    ----------
    lr : float
        η₀.
    steps : int
        T.
    end : float, default 0.0
        The rate from step T on.

    Notes
    -----
    ``notes/001``, cosine decay; Loshchilov & Hutter, "SGDR" (2017), equation 5.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Cosine(1.0, steps=10)([0, 5, 10, 20]).round(3)
    array([1. , 0.5, 0. , 0. ])
    """

    lr: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        check_integer(self.steps, "steps", low=1)
        check_number(self.end, "end", low=0.0)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """end + ½ (η₀ − end)(1 + cos(π t / T))."""
        return _cosine(self.lr, self.end, t / self.steps)


@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """`Cosine` over and over, each run `factor` times as long as the one before.

    Parameters
    ----------
    lr : float
        η₀, at the start of each run.
    steps : int
        T, the length of the first run.
    factor : float, default 1.0
        At least 1.
    end : float, default 0.0
        What each run falls to.

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
    steps: int
    factor: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        check_integer(self.steps, "steps", low=1)
        check_number(self.factor, "factor", low=1.0)
        check_number(self.end, "end", low=0.0)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Run k starts at T (factorᵏ − 1) / (factor − 1) and lasts T factorᵏ."""
        if self.factor == 1.0:
            return _cosine(self.lr, self.end, t % self.steps / self.steps)
        # The small number keeps the very start of a run, where the logarithm is whole, in its run.
        inside = 1.0 + t * (self.factor - 1.0) / self.steps
        run = np.floor(np.log(inside) / math.log(self.factor) + 1e-9)
        start = self.steps * (self.factor**run - 1.0) / (self.factor - 1.0)
        return _cosine(self.lr, self.end, np.maximum(t - start, 0.0) / (self.steps * self.factor**run))


@dataclass(frozen=True)
class Exponential(Schedule):
    """η₀ γ^(t / steps): multiplied by γ every `steps` steps, smoothly.

    Parameters
    ----------
    lr : float
        η₀.
    gamma : float
        γ, above 0 and at most 1.
    steps : int, default 1
        Steps for one factor of γ: with 1, γ applies at each step, as in the notes.

    Notes
    -----
    ``notes/001``, exponential decay.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Exponential(1.0, gamma=0.5)([0, 1, 2])
    array([1.  , 0.5 , 0.25])
    """

    lr: float
    gamma: float
    steps: int = 1

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        _check_gamma(self.gamma)
        check_integer(self.steps, "steps", low=1)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """η₀ γ^(t / steps)."""
        return np.asarray(self.lr * self.gamma ** (t / self.steps))


@dataclass(frozen=True)
class Step(Schedule):
    """η₀ γ^⌊t / T⌋: multiplied by γ every T steps, at once.

    Parameters
    ----------
    lr : float
        η₀.
    steps : int
        T.
    gamma : float, default 0.1
        γ, above 0 and at most 1.

    Notes
    -----
    ``notes/001``, step decay.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Step(1.0, steps=10, gamma=0.5)([0, 9, 10, 20])
    array([1.  , 1.  , 0.5 , 0.25])
    """

    lr: float
    steps: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        check_integer(self.steps, "steps", low=1)
        _check_gamma(self.gamma)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """η₀ γ^⌊t / T⌋."""
        return np.asarray(self.lr * self.gamma ** np.floor(t / self.steps))


@dataclass(frozen=True)
class Polynomial(Schedule):
    """end + (η₀ − end)(1 − t / T)^power, then `end`.

    Parameters
    ----------
    lr : float
        η₀.
    steps : int
        T.
    power : float, default 2.0
        Above 0.
    end : float, default 0.0
        The rate from step T on.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Polynomial(1.0, steps=10, power=2)([0, 5, 10, 11])
    array([1.  , 0.25, 0.  , 0.  ])
    """

    lr: float
    steps: int
    power: float = 2.0
    end: float = 0.0

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        check_integer(self.steps, "steps", low=1)
        if check_number(self.power, "power", low=0.0) == 0:
            raise InvalidValueError("power: must be above 0, got 0; a constant rate is hl.Constant(lr)")
        check_number(self.end, "end", low=0.0)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """end + (η₀ − end)(1 − t / T)^power."""
        left = 1.0 - np.minimum(t / self.steps, 1.0)
        return np.asarray(self.end + (self.lr - self.end) * left**self.power)


@dataclass(frozen=True)
class Linear(Schedule):
    """A straight line from η₀ to `end` in T steps: end + (η₀ − end)(1 − t / T), then `end`.

    Parameters
    ----------
    lr : float
        η₀.
    steps : int
        T.
    end : float, default 0.0
        The rate from step T on.

    Notes
    -----
    ``notes/001``, linear decay.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Linear(1.0, steps=4)([0, 1, 4, 9])
    array([1.  , 0.75, 0.  , 0.  ])
    """

    lr: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        check_integer(self.steps, "steps", low=1)
        check_number(self.end, "end", low=0.0)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """end + (η₀ − end)(1 − t / T)."""
        return np.asarray(self.end + (self.lr - self.end) * (1.0 - np.minimum(t / self.steps, 1.0)))


@dataclass(frozen=True)
class InverseSqrt(Schedule):
    """η₀ / √(1 + t / steps).

    Parameters
    ----------
    lr : float
        η₀.
    steps : int, default 1
        The time scale. With 1 this is the notes' α₀ / √t, whose t counts from 1.

    Notes
    -----
    ``notes/001``, inverse square root decay.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.InverseSqrt(1.0)([0, 3, 99])
    array([1. , 0.5, 0.1])
    """

    lr: float
    steps: int = 1

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        check_integer(self.steps, "steps", low=1)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """η₀ / √(1 + t / steps)."""
        return np.asarray(self.lr / np.sqrt(1.0 + t / self.steps))


@dataclass(frozen=True)
class Warmup(Schedule):
    """A straight line up to the first rate of another schedule, which then starts.

    Step t < steps has the rate ``then(0) * (t + 1) / steps``; step t ≥ steps has ``then(t - steps)``.

    Parameters
    ----------
    steps : int
        How long the line is.
    then : Schedule, callable or float
        What follows; a number is a constant rate.

    Notes
    -----
    ``notes/001``, linear warm-up; Goyal et al., "Accurate, large minibatch SGD" (2017), section 2.2.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Warmup(4, hl.Linear(1.0, steps=10))([0, 1, 3, 4, 9])
    array([0.25, 0.5 , 1.  , 1.  , 0.5 ])
    """

    steps: int
    then: Any

    def __post_init__(self) -> None:
        check_integer(self.steps, "steps", low=1)
        if not callable(self.then):
            object.__setattr__(self, "then", Constant(check_number(self.then, "then", low=0.0)))
        if isinstance(self.then, type):
            raise InvalidTypeError(f"then: expected a schedule, got the class {self.then.__name__}")

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """The line, then the other schedule."""
        late = np.asarray(self.then(np.maximum(t - self.steps, 0.0).astype(np.int64)))
        return np.where(t < self.steps, late * np.minimum((t + 1.0) / self.steps, 1.0), late)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to the peak along half a cosine, then down to almost nothing along another.

    From ``lr / start_factor`` to `lr` in the first `rise` of the steps, then to
    ``lr / start_factor / end_factor``.

    Parameters
    ----------
    lr : float
        The peak.
    steps : int
        T, all steps of the cycle, at least 2.
    rise : float, default 0.3
        The part of the steps that goes up, in (0, 1).
    start_factor : float, default 25.0
        How many times smaller than the peak the start is, at least 1.
    end_factor : float, default 1e4
        How many times smaller than the start the end is, at least 1.

    Notes
    -----
    Smith & Topin, "Super-convergence" (2019), in the form of ``torch.optim.lr_scheduler.OneCycleLR``.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.OneCycle(1.0, steps=101, rise=0.3)([0, 29, 100]).round(3)
    array([0.04, 1.  , 0.  ])
    """

    lr: float
    steps: int
    rise: float = 0.3
    start_factor: float = 25.0
    end_factor: float = 1e4

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        check_integer(self.steps, "steps", low=2)
        if check_number(self.rise, "rise", low=0.0, below=1.0) == 0:
            raise InvalidValueError("rise: must be above 0, got 0; without a rise use hl.Cosine")
        check_number(self.start_factor, "start_factor", low=1.0)
        check_number(self.end_factor, "end_factor", low=1.0)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Two cosines, which meet at step ``rise * T - 1``."""
        start = self.lr / self.start_factor
        peak, last = max(self.rise * self.steps - 1.0, 1e-9), self.steps - 1.0
        up = _cosine(start, self.lr, t / peak)
        down = _cosine(self.lr, start / self.end_factor, np.maximum(t - peak, 0.0) / (last - peak))
        return np.where(t <= peak, up, down)


def _cosine(first: float, last: float, part: NDArray[np.float64]) -> NDArray[np.float64]:
    """From `first` at part 0 to `last` at part 1 and after, along half a cosine."""
    return np.asarray(last + 0.5 * (first - last) * (1.0 + np.cos(np.pi * np.minimum(part, 1.0))))


def _check_gamma(gamma: Any) -> None:
    if check_number(gamma, "gamma", low=0.0) == 0 or gamma > 1:
        raise InvalidValueError(f"gamma: must be above 0 and at most 1, got {gamma!r}")


SCHEDULES: tuple[type[Schedule], ...] = (
    Constant, Cosine, CosineRestarts, Exponential, Step, Polynomial, Linear, InverseSqrt, Warmup, OneCycle,
)  # fmt: skip
"""All members: what a trainer's file may name."""
