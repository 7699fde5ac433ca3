"""`MinimizeResult`: where a minimization ended, why, and what it took."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MinimizeResult"]


@dataclass(frozen=True, repr=False, eq=False)
class MinimizeResult:
    """What `minimize` found.

    Attributes
    ----------
    theta : ndarray (size,)
        The last iterate, in the objective's dtype. No iterate before it had a lower value, beyond
        rounding, but for "newton" and steps of a fixed length.
    value, gradient_norm : float
        L and ‖∇L‖₂ there; the norm is NaN where the method takes no gradients.
    n_iter : int
        Iterations.
    n_values, n_gradients, n_hvps, n_hessians : int
        Evaluations, trial steps included. A gradient that came with a value counts in both; products
        with Gauss–Newton matrices are among the hvps, these matrices among the Hessians.
    values, gradient_norms : ndarray (n_iter + 1,)
        The same two numbers at the start and after each iteration.
    path : ndarray (n_iter + 1, size) or None
        θ at the start and after each iteration, with ``path=True``.
    stopped_by : str
        "gtol", "ftol", "step" (steps no longer change θ), "max_iter", "time", "callback", "interrupt",
        "line search" (no acceptable step was found), "diverged" (the next value or gradient, or the second
        derivatives, were not finite), or "singular" (so was Newton's Hessian).
    converged : bool
        Whether that was one of the first three.
    message : str
        The same as a sentence, with the numbers.

    Examples
    --------
    >>> import hotloop as hl
    >>> bowl = hl.Function(lambda t: t @ t, 2, gradient=lambda t: 2 * t)
    >>> hl.minimize(bowl, [3.0, 4.0], method="gradient_descent", step=0.5)
    MinimizeResult(value=0, gradient_norm=0, n_iter=1, stopped_by='gtol', converged=True)
    """

    theta: NDArray[Any]
    value: float
    gradient_norm: float
    n_iter: int
    n_values: int
    n_gradients: int
    n_hvps: int
    n_hessians: int
    values: NDArray[np.float64]
    gradient_norms: NDArray[np.float64]
    path: NDArray[Any] | None
    stopped_by: str
    converged: bool
    message: str

    def __repr__(self) -> str:
        return (
            f"MinimizeResult(value={self.value:.4g}, gradient_norm={self.gradient_norm:.2g}, "
            f"n_iter={self.n_iter}, stopped_by={self.stopped_by!r}, converged={self.converged})"
        )
