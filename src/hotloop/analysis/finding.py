"""Critical points of any kind, found by making the gradient small."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop import extras
from hotloop._checks import check_choice, check_integer, check_number
from hotloop.analysis.functions import Differentiable
from hotloop.analysis.operators import Curvature, as_operator

__all__ = ["CriticalSearch", "find_critical_point"]

Vector = NDArray[np.float64]
Ended = tuple[Vector, list[float], str, int]
"""Where a search ended, ‖∇L‖ on the way, why it stopped unless it converged, and products taken."""

DECREASE = 1e-4
"""Share of the decrease of ‖∇L‖² by its slope that a step must reach."""

INNER = 200
"""Steps of MINRES for one of Newton's: where they do not suffice, its direction still lowers ‖∇L‖."""

HALVINGS = 40
"""Of a step, before it is given up."""

STUCK = "the gradient's norm falls no further: it has a minimum near here that is not 0, or is at rounding"


@dataclass(frozen=True, repr=False, eq=False)
class CriticalSearch:
    """How a search for a critical point ended.

    Attributes
    ----------
    theta : ndarray (size,)
        The point, in the objective's dtype.
    gradient_norms : ndarray (n_iter + 1,)
        ‖∇L‖ on the way, the first point included.
    converged : bool
        Whether ‖∇L‖ is at most the tolerance.
    reason : str
        Why it stopped.
    n_hvp : int
        Products of the Hessian and a vector that were taken.

    Examples
    --------
    >>> import hotloop as hl
    >>> ball = hl.Function(lambda t: t @ t, 2, gradient=lambda t: 2 * t, hvp=lambda t, v: 2 * v)
    >>> hl.find_critical_point(ball, [0.0, 0.0])
    CriticalSearch(converged in 0 iterations, ‖∇L‖ = 0)
    """

    theta: NDArray[Any]
    gradient_norms: NDArray[np.float64]
    converged: bool
    reason: str
    n_hvp: int

    @property
    def n_iter(self) -> int:
        """Steps that were taken."""
        return len(self.gradient_norms) - 1

    def __repr__(self) -> str:
        steps = f"{self.n_iter} iteration" + "s" * (self.n_iter != 1)
        how = "converged in" if self.converged else f"{self.reason}; after"
        return f"CriticalSearch({how} {steps}, ‖∇L‖ = {self.gradient_norms[-1]:.2g})"


def find_critical_point(
    objective: Differentiable,
    theta: Any,
    *,
    method: str = "newton",
    tol: float = 1e-8,
    max_iter: int = 200,
) -> CriticalSearch:
    """A point where ∇L = 0: a saddle or a maximum as well as a minimum, whichever is near.

    For studies of the loss surface; `hl.critical_point` says what was found. To train a network is
    another matter.

    Parameters
    ----------
    objective : Objective or Function
        With second derivatives; in float64.
    theta : array-like (size,)
        Where to start.
    method : {"newton", "gradient_norm"}, default "newton"
        Newton's method, its steps −H⁺∇L by MINRES, which takes indefinite and singular H, halved
        until ‖∇L‖ falls; or L-BFGS on ½‖∇L‖², whose gradient is H∇L: slower at the end, with one
        product in place of tens for each step. Both may end where ‖∇L‖ has a minimum that is not 0.
    tol : float, default 1e-8
        The ‖∇L‖ to reach.
    max_iter : int, default 200
        Steps.

    Returns
    -------
    CriticalSearch
        The point, ‖∇L‖ on the way, and why the search stopped.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.
    MissingExtraError
        If SciPy is not installed.

    Notes
    -----
    Roosta, Liu, Xu & Mahoney, *Newton-MR: inexact Newton method with minimum residual sub-problem
    solver*, 2022, algorithm 1; Dauphin et al., 2014, and Frye et al., *Critical point-finding methods
    reveal gradient-flat regions of deep network losses*, 2021, compare methods, and warn of those minima.

    Examples
    --------
    >>> import hotloop as hl
    >>> saddle = hl.Function(
    ...     lambda t: t[0] ** 2 - t[1] ** 2 + t[1] ** 4, 2, gradient="differences", hessian="differences"
    ... )
    >>> found = hl.find_critical_point(saddle, [1.0, 0.1])
    >>> found.converged, found.theta.round(6) + 0.0
    (True, array([0., 0.]))
    """
    search = _newton if check_choice(method, "method", ("newton", "gradient_norm")) == "newton" else _norm
    tol = check_number(tol, "tol", low=0.0)
    max_iter = check_integer(max_iter, "max_iter", low=1)
    start = Curvature(objective, theta).theta
    found, norms, reason, n_hvp = search(objective, start.astype(np.float64), tol, max_iter)
    converged = norms[-1] <= tol
    reason = f"‖∇L‖ is at most {tol:g}" if converged else reason
    return CriticalSearch(found.astype(start.dtype), np.array(norms), converged, reason, n_hvp)


def _newton(objective: Differentiable, theta: Vector, tol: float, max_iter: int) -> Ended:
    """Newton-MR: p = −H⁺g, halved until ‖g‖² falls."""
    linalg = extras.require("scipy.sparse.linalg", "analysis", "hl.find_critical_point")
    g = objective.gradient(theta).astype(np.float64)
    norms, n_hvp = [float(np.linalg.norm(g))], 0
    for _ in range(max_iter):
        if norms[-1] <= tol:
            break
        curvature = Curvature(objective, theta)
        p, _ = linalg.minres(as_operator(curvature), -g, maxiter=INNER)
        slope = float(p @ curvature(g))  # half the derivative of ‖g‖² along p
        n_hvp += curvature.n_products
        shorter = _backtrack(objective, theta, g, p, slope)
        if shorter is None:
            return theta, norms, STUCK, n_hvp
        theta, g = shorter
        norms.append(float(np.linalg.norm(g)))
    return theta, norms, f"max_iter={max_iter} steps were taken", n_hvp


def _backtrack(
    objective: Differentiable, theta: Vector, g: Vector, p: Vector, slope: float
) -> tuple[Vector, Vector] | None:
    """θ + αp and its gradient for the first α of 1, ½, ¼, … that lowers ‖g‖² enough, if one does."""
    if slope >= 0:
        return None
    for alpha in 0.5 ** np.arange(HALVINGS):
        trial = theta + alpha * p
        new = objective.gradient(trial).astype(np.float64)
        if new @ new <= g @ g + 2 * DECREASE * alpha * slope:
            return trial, new
    return None


def _norm(objective: Differentiable, theta: Vector, tol: float, max_iter: int) -> Ended:
    """L-BFGS on ½‖g‖², whose gradient is Hg; it stops at ‖g‖ ≤ tol and by no other rule."""
    optimize = extras.require("scipy.optimize", "analysis", "hl.find_critical_point")
    norms = [float(np.linalg.norm(objective.gradient(theta).astype(np.float64)))]
    n_hvp = 0

    def half_square(theta: Vector) -> tuple[float, Vector]:
        """½‖g‖² and Hg."""
        nonlocal n_hvp
        n_hvp += 1
        g = objective.gradient(theta).astype(np.float64)
        return float(g @ g) / 2, Curvature(objective, theta)(g)

    def look(intermediate_result: Any) -> None:
        """Keep ‖g‖, and stop SciPy once it is small."""
        norms.append(float(np.sqrt(2 * intermediate_result.fun)))
        if norms[-1] <= tol:
            raise StopIteration

    if norms[0] <= tol:
        return theta, norms, "", n_hvp
    options = {"maxiter": max_iter, "maxfun": HALVINGS * max_iter, "ftol": 0.0, "gtol": 0.0}
    ended = optimize.minimize(half_square, theta, jac=True, method="L-BFGS-B", callback=look, options=options)
    reason = f"max_iter={max_iter} steps were taken" if len(norms) > max_iter else STUCK
    return ended.x, norms, reason, n_hvp
