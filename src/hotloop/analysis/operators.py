"""The Hessian at a point, as something that multiplies vectors."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop import extras
from hotloop._checks import check_vector
from hotloop.analysis.functions import Differentiable, check_objective
from hotloop.errors import InvalidValueError

__all__ = ["Curvature", "as_operator", "hessian_operator"]


class Curvature:
    """H = ∇²L(θ) for the loops of this folder: float64 whatever the objective's dtype, products counted."""

    def __init__(self, objective: Differentiable, theta: Any):
        self.objective = check_objective(objective)
        self.size, dtype = objective.size, objective.dtype
        self.theta = check_vector(theta, "theta", self.size, dtype).astype(dtype)
        self.n_products = 0

    def __call__(self, v: NDArray[Any]) -> NDArray[np.float64]:
        """H v, shape of v: (size,) or (k, size)."""
        self.n_products += v.size // self.size
        return self._finite(self.objective.hvp(self.theta, v))

    def dense(self) -> NDArray[np.float64]:
        """H itself, (size, size); it counts as `size` products."""
        self.n_products += self.size
        return self._finite(self.objective.hessian(self.theta))

    def _finite(self, found: NDArray[Any]) -> NDArray[np.float64]:
        if not np.isfinite(found).all():
            raise InvalidValueError("theta: the second derivatives here are not finite; choose another point")
        return found.astype(np.float64)


def hessian_operator(objective: Differentiable, theta: Any) -> Any:
    """The Hessian as SciPy's iterative solvers take it: a `LinearOperator` that never forms the matrix.

    Parameters
    ----------
    objective : Objective or Function
        With second derivatives.
    theta : array-like (size,)
        Where; copied.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        Shape (size, size), symmetric, float64; the products of a float32 objective keep its
        rounding. Times a matrix it asks for all products in one call.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described, or, when used, a product is not finite.
    MissingExtraError
        If SciPy is not installed.

    Notes
    -----
    ``notes/000``, 2.3.2: H v at the cost of a few gradients; Pearlmutter, *Fast exact multiplication
    by the Hessian*, 1994.

    Examples
    --------
    >>> import hotloop as hl
    >>> ball = hl.Function(lambda t: t @ t, 2, hvp=lambda t, v: 2 * v)
    >>> hl.hessian_operator(ball, [1.0, 2.0]) @ [1.0, 0.0]
    array([2., 0.])
    """
    return as_operator(Curvature(objective, theta))


def as_operator(curvature: Curvature) -> Any:
    """The SciPy face of `curvature`."""
    linalg = extras.require("scipy.sparse.linalg", "analysis", "hl.hessian_operator")

    def vector(v: NDArray[Any]) -> NDArray[np.float64]:
        """H v; SciPy may pass a column."""
        return curvature(v.reshape(-1))

    def matrix(V: NDArray[Any]) -> NDArray[np.float64]:
        """H V, all columns in one call."""
        return curvature(V.T).T

    shape = (curvature.size, curvature.size)
    return linalg.LinearOperator(
        shape, matvec=vector, rmatvec=vector, matmat=matrix, rmatmat=matrix, dtype=np.float64
    )
