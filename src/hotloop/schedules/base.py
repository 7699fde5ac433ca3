"""What all schedules share: a rate for each step, and a length in steps or in epochs."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import COUNTABLE, check_integer, check_number
from hotloop.errors import InvalidValueError

__all__ = ["Schedule", "ScheduleFunction", "Timed", "cosine", "resolve"]

ScheduleFunction: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Called with an array of step numbers, from 0, it returns an array of rates of the same shape."""


@dataclass(frozen=True, repr=False)
class Schedule(ABC):
    """Base of all schedules: immutable, a rate for each step, whatever came before."""

    def __call__(self, steps: Any) -> NDArray[np.float64]:
        """Rates of the steps, counted from 0; same shape.

        Raises
        ------
        InvalidValueError
            If a length is given in epochs, here or in what follows: see `in_steps`.
        """
        steps = np.asarray(steps)
        return np.asarray(self.at(steps.astype(np.float64)), dtype=np.float64)

    @abstractmethod
    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """The formula."""

    def in_steps(self, steps_per_epoch: int) -> "Schedule":
        """The same schedule with all lengths in steps; itself where they are already.

        Parameters
        ----------
        steps_per_epoch : int
            ⌈n / b⌉ for n rows in batches of b. A length becomes the nearest whole number of steps,
            at least the smallest that the schedule takes.

        Returns
        -------
        Schedule
            It can be called.
        """
        steps_per_epoch = check_integer(steps_per_epoch, "steps_per_epoch", low=1)
        changes: dict[str, Any] = {}
        for name, value in self._given().items():
            if isinstance(value, Schedule) and value.in_steps(steps_per_epoch) is not value:
                changes[name] = value.in_steps(steps_per_epoch)
        if isinstance(self, Timed) and self.epochs is not None:
            changes |= {"epochs": None, "steps": max(self.least, round(self.epochs * steps_per_epoch))}
        return replace(self, **changes) if changes else self

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._given().items())
        return f"{type(self).__name__}({given})"

    def _given(self) -> dict[str, Any]:
        """Arguments that make it again, in the order of the signature; of two units, the one in use."""
        ordered = sorted(fields(self), key=lambda f: bool(f.kw_only))
        return {f.name: getattr(self, f.name) for f in ordered if getattr(self, f.name) is not None}


@dataclass(frozen=True, repr=False)
class Timed(Schedule):
    """A schedule with a length, in steps or in epochs: exactly one of the two is given."""

    epochs: float | None = field(default=None, kw_only=True)

    least: ClassVar[int] = 1
    """The smallest length in steps."""

    @property
    @abstractmethod
    def steps(self) -> int | None:
        """The length, or None where it is given in epochs: a field, at its own place in each signature."""

    @property
    def length(self) -> int:
        """The length in steps, for the formulas."""
        if self.steps is None:
            raise InvalidValueError(
                f"epochs: {self!r} is given in epochs; call .in_steps(steps_per_epoch) first, which a "
                "Trainer does by itself"
            )
        return self.steps

    def _check_length(self, default: int | None = None) -> None:
        """Raise unless one of `steps` and `epochs` is right; `default` is `steps` where neither is given."""
        if self.steps is None and self.epochs is None and default is not None:
            object.__setattr__(self, "steps", default)
        if (self.steps is None) == (self.epochs is None):
            got = "neither" if self.steps is None else f"steps={self.steps!r} and epochs={self.epochs!r}"
            raise InvalidValueError(f"steps: give either steps or epochs, got {got}")
        if self.steps is not None:
            check_integer(self.steps, "steps", low=self.least, below=COUNTABLE)
        elif check_number(self.epochs, "epochs", low=0.0) == 0:
            raise InvalidValueError("epochs: must be above 0, got 0; a fraction such as 0.5 is allowed")


def resolve(lr: float | ScheduleFunction, steps_per_epoch: int) -> float | ScheduleFunction:
    """`lr` with all lengths in steps; a number, or a function of the user's own, is what it was."""
    return lr.in_steps(steps_per_epoch) if isinstance(lr, Schedule) else lr


def cosine(first: float, last: float, part: NDArray[np.float64]) -> NDArray[np.float64]:
    """From `first` at part 0 to `last` at part 1 and after, along half a cosine."""
    return np.asarray(last + 0.5 * (first - last) * (1.0 + np.cos(np.pi * np.minimum(part, 1.0))))
