"""Rates that only fall, or stay: the decays of ``notes/001`` and the polynomial."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_number
from hotloop.errors import InvalidValueError
from hotloop.schedules.base import Schedule, Timed, cosine

__all__ = ["Constant", "Cosine", "Exponential", "InverseSqrt", "Linear", "Polynomial", "Step"]


@dataclass(frozen=True, repr=False)
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


@dataclass(frozen=True, repr=False)
class Cosine(Timed):
    """Half a cosine from η₀ down to `end`: end + ½ (η₀ − end)(1 + cos(π t / T)), then `end`.

    Parameters
    ----------
    lr : float
        η₀.
    steps : int, optional
        T.
    end : float, default 0.0
        The rate from step T on.
    epochs : float, optional
        T in epochs, instead of `steps`.

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
    steps: int | None = None
    end: float = 0.0

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        self._check_length()
        check_number(self.end, "end", low=0.0)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """end + ½ (η₀ − end)(1 + cos(π t / T))."""
        return cosine(self.lr, self.end, t / self.length)


@dataclass(frozen=True, repr=False)
class Exponential(Timed):
    """η₀ γ^(t / steps): multiplied by γ every `steps` steps, smoothly.

    Parameters
    ----------
    lr : float
        η₀.
    gamma : float
        γ, above 0 and at most 1.
    steps : int, optional
        Steps for one factor of γ. With 1, the default, γ applies at each step, as in the notes.
    epochs : float, optional
        `steps` in epochs, instead of it.

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
    steps: int | None = None

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        _check_gamma(self.gamma)
        self._check_length(default=1)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """η₀ γ^(t / steps)."""
        return np.asarray(self.lr * self.gamma ** (t / self.length))


@dataclass(frozen=True, repr=False)
class Step(Timed):
    """η₀ γ^⌊t / T⌋: multiplied by γ every T steps, at once.

    Parameters
    ----------
    lr : float
        η₀.
    steps : int, optional
        T.
    gamma : float, default 0.1
        γ, above 0 and at most 1.
    epochs : float, optional
        T in epochs, instead of `steps`.

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
    steps: int | None = None
    gamma: float = 0.1

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        self._check_length()
        _check_gamma(self.gamma)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """η₀ γ^⌊t / T⌋."""
        return np.asarray(self.lr * self.gamma ** np.floor(t / self.length))


@dataclass(frozen=True, repr=False)
class Polynomial(Timed):
    """end + (η₀ − end)(1 − t / T)^power, then `end`.

    Parameters
    ----------
    lr : float
        η₀.
    steps : int, optional
        T.
    power : float, default 2.0
        Above 0.
    end : float, default 0.0
        The rate from step T on.
    epochs : float, optional
        T in epochs, instead of `steps`.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Polynomial(1.0, steps=10, power=2)([0, 5, 10, 11])
    array([1.  , 0.25, 0.  , 0.  ])
    """

    lr: float
    steps: int | None = None
    power: float = 2.0
    end: float = 0.0

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        self._check_length()
        if check_number(self.power, "power", low=0.0) == 0:
            raise InvalidValueError("power: must be above 0, got 0; a constant rate is hl.Constant(lr)")
        check_number(self.end, "end", low=0.0)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """end + (η₀ − end)(1 − t / T)^power."""
        left = 1.0 - np.minimum(t / self.length, 1.0)
        return np.asarray(self.end + (self.lr - self.end) * left**self.power)


@dataclass(frozen=True, repr=False)
class Linear(Timed):
    """A straight line from η₀ to `end` in T steps: end + (η₀ − end)(1 − t / T), then `end`.

    Parameters
    ----------
    lr : float
        η₀.
    steps : int, optional
        T.
    end : float, default 0.0
        The rate from step T on.
    epochs : float, optional
        T in epochs, instead of `steps`.

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
    steps: int | None = None
    end: float = 0.0

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        self._check_length()
        check_number(self.end, "end", low=0.0)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """end + (η₀ − end)(1 − t / T)."""
        return np.asarray(self.end + (self.lr - self.end) * (1.0 - np.minimum(t / self.length, 1.0)))


@dataclass(frozen=True, repr=False)
class InverseSqrt(Timed):
    """η₀ / √(1 + t / steps).

    Parameters
    ----------
    lr : float
        η₀.
    steps : int, optional
        The time scale. With 1, the default, this is the notes' α₀ / √t, whose t counts from 1.
    epochs : float, optional
        `steps` in epochs, instead of it.

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
    steps: int | None = None

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", low=0.0)
        self._check_length(default=1)

    def at(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """η₀ / √(1 + t / steps)."""
        return np.asarray(self.lr / np.sqrt(1.0 + t / self.length))


def _check_gamma(gamma: Any) -> None:
    if check_number(gamma, "gamma", low=0.0) == 0 or gamma > 1:
        raise InvalidValueError(f"gamma: must be above 0 and at most 1, got {gamma!r}")
