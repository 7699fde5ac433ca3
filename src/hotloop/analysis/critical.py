"""Critical points of L(θ): what kind of one a point is, by the eigenvalues of the Hessian."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_integer, check_number
from hotloop.analysis.density import check_quadrature, quadrature
from hotloop.analysis.functions import Differentiable
from hotloop.analysis.operators import Curvature
from hotloop.analysis.probes import Estimate, estimate
from hotloop.analysis.spectra import check_method, check_zero, eigsh

__all__ = ["CriticalPoint", "critical_point"]


@dataclass(frozen=True, repr=False, eq=False)
class CriticalPoint:
    """What kind of point θ is.

    Attributes
    ----------
    kind : str
        "local minimum", "local maximum", "saddle", "degenerate" or "not critical".
    value : float
        L(θ).
    gradient_norm : float
        ‖∇L(θ)‖.
    eigenvalues : ndarray
        Of the Hessian, ascending: all of them, or for large θ some of both ends.
    index : int or None
        How many eigenvalues are negative; None where they were not all computed and their signs differ.
    minimum_ratio, negative_ratio : Estimate
        The share of the eigenvalues that are positive, which the notes call minimum ratio, and that
        are negative. They add up to 1 unless some count as 0.
    tol : float
        The largest ‖∇L‖ that counts as 0.
    zero : float
        The largest |λ| that counts as 0.

    Examples
    --------
    >>> import hotloop as hl
    >>> cube = hl.Function(lambda t: t[0] ** 3, 1, gradient=lambda t: 3 * t**2, hessian="differences")
    >>> hl.critical_point(cube, [0.0])
    CriticalPoint(degenerate, ‖∇L‖ = 0, λ from 0 to 0, index 0, minimum ratio 0)
    """

    kind: str
    value: float
    gradient_norm: float
    eigenvalues: NDArray[np.float64]
    index: int | None
    minimum_ratio: Estimate
    negative_ratio: Estimate
    tol: float
    zero: float

    def __repr__(self) -> str:
        low, high = self.eigenvalues[0], self.eigenvalues[-1]
        index = "" if self.index is None else f", index {self.index}"
        return (
            f"CriticalPoint({self.kind}, ‖∇L‖ = {self.gradient_norm:.2g}, "
            f"λ from {low:.4g} to {high:.4g}{index}, minimum ratio {self.minimum_ratio})"
        )


def critical_point(
    objective: Differentiable,
    theta: Any,
    *,
    tol: float = 1e-6,
    eigenvalue_tol: float | None = None,
    method: str = "auto",
    k: int = 3,
    n_probes: int = 5,
    n_steps: int = 80,
    seed: int = 0,
) -> CriticalPoint:
    """Minimum, maximum or saddle, by the signs of the Hessian's eigenvalues.

    A point is critical if ‖∇L‖ ≤ `tol`. There it is a saddle if some eigenvalue is positive and some
    negative, a local minimum if all are positive, a local maximum if all are negative. An eigenvalue
    counts as 0 if |λ| ≤ eigenvalue_tol · the largest |λ|; if some do and the others have one sign,
    the second order does not decide, and the point is called degenerate. So are most minima
    of networks: dead or interchangeable units leave directions in which the loss is flat.

    Parameters
    ----------
    objective : Objective or Function
        With second derivatives.
    theta : array-like (size,)
        Where.
    tol : float, default 1e-6
        The largest ‖∇L‖ of a critical point, absolute, so in units of the loss per unit of θ. In
        float32 the gradient is hardly better than 1e-4: use ``objective.astype("float64")``.
    eigenvalue_tol : float, optional
        The size of an eigenvalue that counts as 0, in units of the largest; 1e-6 if not given, by
        Lanczos' method 1e-4, since it is the accuracy of the eigenvalues too. It should lie above the
        relative error of the Hessian: 1e-15 for exact products in float64, 1e-6 in float32 and for
        differences of differences.
    method : {"auto", "dense", "lanczos"}, default "auto"
        All eigenvalues, or some of both ends by Lanczos' method and estimated shares; ``"auto"`` is
        ``"dense"`` up to size 1000.
    k : int, default 3
        Eigenvalues of each end, by Lanczos' method.
    n_probes, n_steps : int, default 5 and 80
        For the shares, by Lanczos' method, where the two ends do not tell them: as in
        `spectral_density`.
    seed : int, default 0
        Of the random vectors of Lanczos' method.

    Returns
    -------
    CriticalPoint
        The kind and what it follows from. Eigenvalues and ratios are there for points that are not
        critical too; they say something about a minimum only where the gradient is 0.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described, or as `eigsh` does.
    MissingExtraError
        If Lanczos' method is needed and SciPy is not installed.

    Notes
    -----
    ``notes/000``, 2.3.2, critical points and minimum ratio; Dauphin et al., *Identifying and attacking
    the saddle point problem in high-dimensional non-convex optimization*, 2014.

    Examples
    --------
    >>> import hotloop as hl
    >>> saddle = hl.Function(
    ...     lambda t: t[0] ** 2 - t[1] ** 2, 2,
    ...     gradient=lambda t: [2 * t[0], -2 * t[1]], hessian=lambda t: [[2, 0], [0, -2]],
    ... )
    >>> hl.critical_point(saddle, [0.0, 0.0])
    CriticalPoint(saddle, ‖∇L‖ = 0, λ from -2 to 2, index 1, minimum ratio 0.5)
    """
    curvature = Curvature(objective, theta)
    tol = check_number(tol, "tol", low=0.0)
    dense, k = check_method(method, curvature.size), check_integer(k, "k", low=1)
    eigenvalue_tol = check_zero(eigenvalue_tol, dense)
    n_probes, n_steps, seed = check_quadrature(n_probes, n_steps, seed)
    value, gradient = objective.value_and_gradient(curvature.theta)
    norm = float(np.linalg.norm(gradient.astype(np.float64)))
    if dense:
        values: NDArray[Any] = np.linalg.eigvalsh(curvature.dense()) + 0.0  # no −0
    else:
        # Each end for itself: should one not converge, that is an error, and not one end taken for both.
        k = max(1, min(k, curvature.size // 2))
        ends = (
            eigsh(objective, theta, k, which=end, method="lanczos", tol=eigenvalue_tol, seed=seed)
            for end in ("SA", "LA")
        )
        values = np.concatenate([end.values for end in ends])
    zero = eigenvalue_tol * float(np.abs(values).max())
    signs = np.sign(np.where(np.abs(values) <= zero, 0.0, values))
    index: int | None
    if dense or signs.min() == signs.max():
        # All are known, or all lie between two ends of one sign.
        positive, negative = (Estimate(float(np.mean(side)), 0.0) for side in (signs > 0, signs < 0))
        index = round(negative.value * curvature.size)
    else:
        nodes, weights = quadrature(curvature, n_probes, n_steps, seed)
        sides = (nodes > zero, nodes < -zero)
        positive, negative = (estimate(np.sum(weights * side, axis=1)) for side in sides)
        index = 0 if signs.min() == 0 else None
    kind = _kind(signs) if norm <= tol else "not critical"
    return CriticalPoint(kind, float(value), norm, values, index, positive, negative, tol, zero)


def _kind(signs: NDArray[np.float64]) -> str:
    """By the signs of all eigenvalues, or of both ends of them."""
    if signs.min() < 0 < signs.max():
        return "saddle"
    if 0 in signs:
        return "degenerate"
    return "local minimum" if signs.min() > 0 else "local maximum"
