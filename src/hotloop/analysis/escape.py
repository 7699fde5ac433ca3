"""The way down from a saddle."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_number
from hotloop.analysis.functions import Differentiable
from hotloop.analysis.operators import Curvature
from hotloop.analysis.spectra import check_method, check_zero, eigsh
from hotloop.errors import InvalidValueError

__all__ = ["Escape", "escape_saddle"]

HALVINGS = 40
"""Of the step, before it is given up."""


@dataclass(frozen=True, repr=False, eq=False)
class Escape:
    """A step away from a saddle.

    Attributes
    ----------
    theta : ndarray (size,)
        Where the step leads, in the objective's dtype.
    eigenvalue : float
        λ, the most negative one.
    direction : ndarray (size,)
        The unit eigenvector u, with the sign that was taken.
    step : float
        α, the length of the step.
    predicted : float
        The change of L by Taylor's second order, α ∇Lᵀu + ½λα²; at a critical point ½λα².
    actual : float
        L(θ + αu) − L(θ).

    Examples
    --------
    >>> import hotloop as hl
    >>> product = hl.Function(
    ...     lambda t: (1 - t[0] * t[1]) ** 2, 2, gradient="differences", hessian="differences"
    ... )
    >>> hl.escape_saddle(product, [0.0, 0.0])
    Escape(λ = -2, step 1, predicted -1, actual -0.75)
    """

    theta: NDArray[Any]
    eigenvalue: float
    direction: NDArray[np.float64]
    step: float
    predicted: float
    actual: float

    def __repr__(self) -> str:
        return (
            f"Escape(λ = {self.eigenvalue:.4g}, step {self.step:.4g}, "
            f"predicted {self.predicted:.4g}, actual {self.actual:.4g})"
        )


def escape_saddle(
    objective: Differentiable,
    theta: Any,
    *,
    step: float = 1.0,
    eigenvalue_tol: float | None = None,
    method: str = "auto",
    seed: int = 0,
) -> Escape:
    """Go down from a saddle, along the eigenvector of the Hessian's most negative eigenvalue.

    Both signs of the eigenvector are tried and the lower end is taken; the step is halved until the
    loss falls by at least half of what the curvature promises, ½|λ|α².

    Parameters
    ----------
    objective : Objective or Function
        With second derivatives.
    theta : array-like (size,)
        A point where the Hessian has a negative eigenvalue.
    step : float, default 1.0
        The longest step α to take, in units of θ.
    eigenvalue_tol : float, optional
        An eigenvalue is negative below −eigenvalue_tol · the largest |λ|; as in `critical_point`.
    method : {"auto", "dense", "lanczos"}, default "auto"
        As in `eigsh`.
    seed : int, default 0
        As in `eigsh`.

    Returns
    -------
    Escape
        The point it leads to, and the change of the loss, predicted and true.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described, there is no negative eigenvalue, or no step along the
        eigenvector lowers the loss by more than rounding.
    MissingExtraError
        If Lanczos' method is needed and SciPy is not installed.

    Notes
    -----
    ``notes/000``, 2.3.2, how to leave a saddle. The rule for the step: Moré & Sorensen, *On the use of
    directions of negative curvature in a modified Newton method*, 1979.

    Examples
    --------
    >>> import hotloop as hl
    >>> ridge = hl.Function(
    ...     lambda t: t[0] ** 2 - t[1] ** 2 + t[1] ** 4, 2, gradient="differences", hessian="differences"
    ... )
    >>> hl.escape_saddle(ridge, [0.0, 0.0])
    Escape(λ = -2, step 0.5, predicted -0.25, actual -0.1875)
    """
    curvature = Curvature(objective, theta)
    theta = curvature.theta
    step = check_number(step, "step", low=float(np.finfo(objective.dtype).eps))
    eigenvalue_tol = check_zero(eigenvalue_tol, check_method(method, curvature.size))
    lowest = eigsh(objective, theta, 1, which="SA", method=method, tol=eigenvalue_tol, seed=seed)
    eigenvalue, direction = float(lowest.values[0]), lowest.vectors[0]
    if eigenvalue >= -eigenvalue_tol * lowest.scale:
        raise InvalidValueError(
            f"theta: the Hessian has no negative eigenvalue here, its smallest is {eigenvalue:.3g}, "
            "so there is no saddle to leave; hl.critical_point says what kind of point it is"
        )
    value, gradient = objective.value_and_gradient(theta)
    for alpha in step / 2.0 ** np.arange(HALVINGS):
        ends = [(theta + sign * alpha * direction).astype(theta.dtype) for sign in (1, -1)]
        changes = [objective.value(end) - value for end in ends]
        lower = int(changes[1] < changes[0])
        if changes[lower] <= eigenvalue * alpha**2 / 4:
            u = (1, -1)[lower] * direction
            predicted = float(alpha * (gradient @ u) + eigenvalue * alpha**2 / 2)
            return Escape(ends[lower], eigenvalue, u, float(alpha), predicted, changes[lower])
    raise InvalidValueError(
        f"step: no step up to {step:g} along the eigenvector of {eigenvalue:.3g} lowers the loss by more "
        'than rounding; use objective.astype("float64"), or a larger eigenvalue_tol'
    )
