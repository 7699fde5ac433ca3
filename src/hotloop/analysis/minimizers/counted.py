"""What the loops evaluate: the objective, with every call counted, and overflow turned into infinity."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop.analysis.functions import Differentiable
from hotloop.errors import InvalidTypeError

__all__ = ["NO_GRADIENT", "Counted", "Point", "Stop"]

Vector = NDArray[np.float64]
NO_GRADIENT = np.array([np.nan])
"""For methods that take none; its norm is NaN, too."""


class Point(NamedTuple):
    """θ (size,), L(θ) and ∇L(θ) (size,)."""

    theta: Vector
    value: float
    gradient: Vector

    @property
    def is_finite(self) -> bool:
        """Whether value and gradient are, if there is one, and its norm."""
        norm = 0.0 if self.gradient is NO_GRADIENT else np.linalg.norm(self.gradient)
        return bool(np.isfinite(self.value) and np.isfinite(norm))


class Stop(Exception):
    """Ends a minimization from within a step: `reason` becomes ``stopped_by``."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class Counted:
    """The objective as the loops see it: θ and all results in float64, and each call counted.

    A trial step may lead anywhere. Where θ is beyond its dtype, or the value is NaN, the value is
    infinite: every line search then shortens the step. Second derivatives that are not finite leave
    nothing to step by, and end the minimization; so does a vector to multiply that is beyond the dtype.

    Parameters
    ----------
    objective : Objective or Function
        Computes in its own dtype.
    check : callable
        Called before each evaluation; raises `Stop` when time is up or Ctrl-C was pressed.
    """

    def __init__(self, objective: Differentiable, check: Callable[[], None]):
        self.objective = objective
        self.size = objective.size
        self.eps = float(np.finfo(objective.dtype).eps)
        self._largest = float(np.finfo(objective.dtype).max)
        self._check = check
        self.n_values = self.n_gradients = self.n_hvps = self.n_hessians = 0

    def value(self, theta: Vector) -> float:
        """L(θ)."""
        self._check()
        self.n_values += 1
        if not self._inside(theta):
            return np.inf
        return _no_nan(self.objective.value(theta))

    def gradient(self, theta: Vector) -> Vector:
        """∇L(θ), shape (size,)."""
        self._check()
        self.n_gradients += 1
        return np.asarray(self.objective.gradient(theta), np.float64)

    def at(self, theta: Vector) -> Point:
        """Value and gradient together: they count as one of each."""
        self._check()
        self.n_values += 1
        self.n_gradients += 1
        if not self._inside(theta):
            return Point(theta, np.inf, np.full(self.size, np.nan))
        value, gradient = self.objective.value_and_gradient(theta)
        return Point(theta, _no_nan(value), np.asarray(gradient, np.float64))

    def hvp(self, theta: Vector, v: Vector) -> Vector:
        """∇²L(θ) v for v (size,) or (k, size); k vectors count as k products."""
        return self._product(self.objective.hvp, theta, v)

    def gauss_newton_product(self, theta: Vector, v: Vector) -> Vector:
        """G(θ) v; counts as a Hessian-vector product."""
        return self._product(self._own("gauss_newton_product"), theta, v)

    def hessian(self, theta: Vector) -> Vector:
        """∇²L(θ), shape (size, size)."""
        self._check()
        self.n_hessians += 1
        return _finite(self.objective.hessian(theta))

    def gauss_newton(self, theta: Vector) -> Vector:
        """The Gauss–Newton matrix G(θ), shape (size, size); counts as a Hessian."""
        self._check()
        self.n_hessians += 1
        return _finite(self._own("gauss_newton")(theta))

    def _product(self, multiply: Callable[[Vector, Vector], Any], theta: Vector, v: Vector) -> Vector:
        self._check()
        if not self._inside(v):
            raise Stop("line search", "the inner loop failed: it multiplies a vector that is not finite")
        self.n_hvps += np.atleast_2d(v).shape[0]
        return _finite(multiply(theta, v))

    def _own(self, name: str) -> Callable[..., Any]:
        """What not every function of θ has."""
        found = getattr(self.objective, name, None)
        if not callable(found):
            raise InvalidTypeError(
                f"objective: this method needs its {name}, which a hotloop.Objective has and "
                f"{type(self.objective).__name__} has not; choose a method that takes the Hessian"
            )
        method: Callable[..., Any] = found
        return method

    def _inside(self, theta: Vector) -> bool:
        return bool(np.abs(theta).max() <= self._largest)


def _finite(derivatives: Any) -> Vector:
    """Second derivatives in float64, if there is a step to be had from them."""
    found = np.asarray(derivatives, np.float64)
    if not np.isfinite(found).all():
        raise Stop("diverged", "the second derivatives here are not finite; scale the data, or use float64")
    return found


def _no_nan(value: float) -> float:
    return np.inf if np.isnan(value) else float(value)
