"""Functions of θ: what the tools of this folder take, a network's loss or one of the user's own."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_directions, check_integer, check_number, check_vector
from hotloop.errors import InvalidTypeError, InvalidValueError

__all__ = ["Differentiable", "Function", "check_objective", "numerical_gradient", "numerical_hessian"]

DIFFERENCES = "differences"
Given = Callable[[NDArray[Any]], Any] | str | None


@runtime_checkable
class Differentiable(Protocol):
    """What `Objective` and `Function` have in common, and all that the tools use."""

    @property
    def size(self) -> int:
        """How many numbers θ has."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of θ and of what comes back."""

    def value(self, theta: Any) -> float:
        """L(θ)."""

    def gradient(self, theta: Any) -> NDArray[Any]:
        """∇L(θ), shape (size,)."""

    def value_and_gradient(self, theta: Any) -> tuple[float, NDArray[Any]]:
        """Both."""

    def hvp(self, theta: Any, v: Any) -> NDArray[Any]:
        """∇²L(θ) v, shape of v: (size,), or (k, size) for k vectors."""

    def hessian(self, theta: Any) -> NDArray[Any]:
        """∇²L(θ), shape (size, size), symmetric."""


class Function:
    """A function of a vector, written in Python, for all tools that take an `Objective`.

    Parameters
    ----------
    value : callable
        θ (size,) → a number.
    size : int
        How many numbers θ has.
    gradient : callable or "differences", optional
        θ → (size,). ``"differences"`` takes central differences of the value, 2 size calls each.
    hessian : callable or "differences", optional
        θ → (size, size). ``"differences"`` takes central differences of the gradient.
    hvp : callable, optional
        (θ, v) → ∇²L(θ) v, where the Hessian itself would be too large.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described; when used, if a derivative is asked for that was not
        given, or a callable returns another shape.

    Examples
    --------
    >>> import hotloop as hl
    >>> saddle = hl.Function(
    ...     lambda t: t[0] ** 2 - t[1] ** 2, 2, gradient="differences", hessian="differences"
    ... )
    >>> saddle.hessian([0.0, 0.0]).round(5)
    array([[ 2.,  0.],
           [ 0., -2.]])
    """

    dtype: np.dtype[Any] = np.dtype(np.float64)

    def __init__(
        self,
        value: Callable[[NDArray[Any]], Any],
        size: int,
        *,
        gradient: Given = None,
        hessian: Given = None,
        hvp: Callable[[NDArray[Any], NDArray[Any]], Any] | None = None,
    ):
        for given, name in ((value, "value"), (gradient, "gradient"), (hessian, "hessian"), (hvp, "hvp")):
            optional = name != "value" and given is None
            differences = isinstance(given, str) and given == DIFFERENCES and name in ("gradient", "hessian")
            if not (callable(given) or optional or differences):
                raise InvalidTypeError(f"{name}: expected a function of θ, got {given!r}")
        self.size = check_integer(size, "size", low=1)
        self._value, self._gradient, self._hessian, self._hvp = value, gradient, hessian, hvp

    def value(self, theta: Any) -> float:
        """The function at θ, array-like (size,)."""
        return float(self._shaped(self._value(self._point(theta)), (), "value"))

    def gradient(self, theta: Any) -> NDArray[Any]:
        """Its gradient, shape (size,)."""
        theta = self._point(theta)
        if self._gradient is None:
            raise InvalidValueError(
                "objective: this function was given no gradient; "
                "pass hl.Function(..., gradient=...), or gradient='differences'"
            )
        if isinstance(self._gradient, str):
            return numerical_gradient(self, theta)
        return self._shaped(self._gradient(theta), (self.size,), "gradient")

    def value_and_gradient(self, theta: Any) -> tuple[float, NDArray[Any]]:
        """Both."""
        return self.value(theta), self.gradient(theta)

    def hvp(self, theta: Any, v: Any) -> NDArray[Any]:
        """The Hessian times v, array-like (size,), or times each of the k rows of v (k, size)."""
        theta, v = self._point(theta), check_directions(v, "v", self.size, self.dtype)
        if self._hvp is None:
            product: NDArray[Any] = v @ self.hessian(theta)
            return product
        rows = [self._shaped(self._hvp(theta, row), (self.size,), "hvp") for row in np.atleast_2d(v)]
        return np.array(rows).reshape(v.shape)

    def hessian(self, theta: Any) -> NDArray[Any]:
        """Its Hessian, shape (size, size), made symmetric."""
        theta = self._point(theta)
        if callable(self._hessian):
            H = self._shaped(self._hessian(theta), (self.size, self.size), "hessian")
        elif self._hvp is not None:
            H = self.hvp(theta, np.eye(self.size))
        elif self._hessian is not None:
            H = numerical_hessian(self, theta)
        else:
            raise InvalidValueError(
                "objective: this function was given no second derivatives; "
                "pass hl.Function(..., hessian=...) or hvp=..., or hessian='differences'"
            )
        return symmetric(H)

    def _point(self, theta: Any) -> NDArray[Any]:
        return check_vector(theta, "theta", self.size, self.dtype).astype(self.dtype)

    def _shaped(self, found: Any, shape: tuple[int, ...], name: str) -> NDArray[Any]:
        try:
            array = np.asarray(found)
            if array.dtype.kind == "O":  # fractions and the like; not None, which NumPy takes for NaN
                array = np.asarray(np.frompyfunc(float, 1, 1)(array), self.dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidTypeError(f"{name}: must return real numbers, returned {found!r}") from error
        if array.dtype.kind not in "biuf":
            raise InvalidTypeError(f"{name}: must return real numbers, returned {found!r}")
        if array.shape != shape:
            what = f"an array of shape {shape}" if shape else "a number"
            raise InvalidValueError(f"{name}: must return {what} here, returned shape {array.shape}")
        return array.astype(self.dtype)


def check_objective(objective: Any, name: str = "objective") -> Differentiable:
    """`objective`, if it is a function of θ."""
    if not isinstance(objective, Differentiable):
        raise InvalidTypeError(
            f"{name}: expected a hotloop.Objective or a hotloop.Function, got {objective!r}"
        )
    return objective


def numerical_gradient(objective: Differentiable, theta: Any, *, step: float = 1e-5) -> NDArray[Any]:
    """Central differences of the value, one number of θ after the other.

    Parameters
    ----------
    objective : Objective or Function
        In float32 the differences keep some three digits: use ``objective.astype("float64")``.
    theta : array-like (size,)
        Where.
    step : float, default 1e-5
        h, in units of |θᵢ| or of 1 if that is larger.

    Returns
    -------
    ndarray (size,)
        (L(θ + h eᵢ) − L(θ − h eᵢ)) / 2h, with an error of order h² and 1e-16/h.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Notes
    -----
    ``notes/001``, numerical gradients; Nocedal & Wright, *Numerical Optimization*, section 8.1.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.numerical_gradient(hl.Function(lambda t: t @ t, 2), [1.0, 2.0]).round(6)
    array([2., 4.])
    """
    return _differences(check_objective(objective).value, objective, theta, step)


def numerical_hessian(objective: Differentiable, theta: Any, *, step: float = 1e-5) -> NDArray[Any]:
    """Central differences of the gradient, made symmetric.

    Parameters
    ----------
    objective : Objective or Function
        With a gradient.
    theta : array-like (size,)
        Where.
    step : float, default 1e-5
        h, in units of |θᵢ| or of 1 if that is larger.

    Returns
    -------
    ndarray (size, size)
        (H + Hᵀ)/2, where row i of H is (∇L(θ + h eᵢ) − ∇L(θ − h eᵢ)) / 2h.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Notes
    -----
    Nocedal & Wright, *Numerical Optimization*, section 8.1.

    Examples
    --------
    >>> import hotloop as hl
    >>> ball = hl.Function(lambda t: t @ t, 2, gradient=lambda t: 2 * t)
    >>> hl.numerical_hessian(ball, [1.0, 2.0]).round(6)
    array([[2., 0.],
           [0., 2.]])
    """
    return symmetric(_differences(check_objective(objective).gradient, objective, theta, step))


def symmetric(H: NDArray[Any]) -> NDArray[Any]:
    """(H + Hᵀ)/2."""
    found: NDArray[Any] = (H + H.T) / 2
    return found


def _differences(
    function: Callable[[NDArray[Any]], Any], objective: Differentiable, theta: Any, step: float
) -> NDArray[Any]:
    """A row for each number of θ: the central difference of `function` along it."""
    step = check_number(step, "step", low=float(np.finfo(np.float64).eps))
    theta = check_vector(theta, "theta", objective.size, objective.dtype).astype(objective.dtype)
    rows = []
    for i in range(objective.size):
        above, below = theta.copy(), theta.copy()
        h = step * max(1.0, abs(float(theta[i])))
        above[i] += h
        below[i] -= h
        rows.append((function(above) - function(below)) / float(above[i] - below[i]))
    return np.array(rows)
