"""The objective of logistic regression with a smooth penalty, and two ways to minimise it.

Sizes are those of a mean: (1/S) Σᵢ sᵢ ℓᵢ + ½λ ‖W‖² + μ ‖W‖₁, with S = Σ s. Divided by λ + μ = 1/(CS), it is
scikit-learn's C Σᵢ sᵢ ℓᵢ + penalty, whose tolerances, too, are for this scale.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.sparse import issparse

from hotloop.engine.logistic import (
    binary_gradient,
    binary_hvp,
    binary_slopes,
    softmax_bend,
    softmax_gradient,
    softmax_hvp,
    softmax_slopes,
)

__all__ = ["Found", "Smooth", "Task", "by_lbfgs", "by_newton_cg", "describe_trouble"]

Array = NDArray[Any]

MAX_CG_STEPS = 200
"""Of one Newton step, as in scikit-learn."""
MAX_HALVINGS = 40
SUFFICIENT = 1e-4
"""Of the decrease that the slope promises, a step must bring so much (Armijo)."""
LARGE_KERNEL = 1 << 12
"""With more coefficients than this, of several classes, W leaves the first cache for each row: then X is
multiplied by BLAS, and the kernels only see logits. 5,000 x 784, 10 classes: 14.2 ms so, 6.5 ms by BLAS."""
PIECE_NUMBERS = 1 << 17
"""X is multiplied in pieces of so many: one is still in the second cache when it is needed again."""
ROUNDING = 16 * np.finfo(np.float64).eps
"""What two values of the objective may differ by, relative, though they are the same."""


class Task(NamedTuple):
    """Data and penalty.

    Attributes
    ----------
    X : ndarray in C order or CSR matrix (n, p)
    targets : ndarray (n,)
        Signs ±1.0 for two classes, labels 0 … K − 1 for more.
    weights : ndarray (n,)
        They sum to 1.
    n_logits : int
        K: 1 for two classes.
    fit_intercept : bool
    l1, l2 : float
        μ and λ.
    """

    X: Any
    targets: Array
    weights: Array
    n_logits: int
    fit_intercept: bool
    l1: float
    l2: float


class Found(NamedTuple):
    """θ, the steps it took, and "" or what is wrong with it."""

    theta: Array
    n_iter: int
    trouble: str


class Smooth:
    """The objective without μ‖W‖₁, as a function of θ: the rows of W (K, p), then b (K,) if there is one.

    A Hessian-vector product is at the point where value and gradient were last asked for.
    """

    def __init__(self, task: Task):
        self.task = task
        (n, p), k = task.X.shape, task.n_logits
        self._shape, self._n_coef = (k, p), k * p
        self.size = k * (p + task.fit_intercept)
        self._X = task.X
        self._by_products = issparse(task.X) or (k > 1 and k * p > LARGE_KERNEL)
        if issparse(task.X):
            self._pieces = [(slice(0, n), task.X.astype(np.float64, copy=False))]
        else:
            step = max(1, PIECE_NUMBERS // p)
            pieces = [slice(first, first + step) for first in range(0, n, step)]
            self._pieces = [(rows, task.X[rows]) for rows in pieces]
        # What the Hessian is made of: s d²ℓ/dz² for two classes, p for more.
        self._bends = np.empty(n if k == 1 else (n, k))
        self._scratch = np.empty(k)

    def value_and_gradient(self, theta: Array) -> tuple[float, Array]:
        """At θ (size,)."""
        X, targets, weights = self._X, self.task.targets, self.task.weights
        grad = np.zeros(self.size)
        if self._by_products:
            z = self._times(theta)
            slopes = np.empty_like(z)
            kernel = binary_slopes if self._shape[0] == 1 else softmax_slopes
            value = kernel(z, targets, weights, slopes, self._bends)
            self._add_transposed_times(grad, slopes)
        elif self._shape[0] == 1:
            value = binary_gradient(X, targets, weights, theta, self._bends, grad)
        else:
            value = softmax_gradient(X, targets, weights, theta, self._bends, self._scratch, grad)
        w = theta[: self._n_coef]
        grad[: self._n_coef] += self.task.l2 * w
        return value + 0.5 * self.task.l2 * float(w @ w), grad

    def hvp(self, v: Array) -> Array:
        """H v for a v (size,)."""
        out = np.zeros(self.size)
        out[: self._n_coef] = self.task.l2 * v[: self._n_coef]
        if self._by_products:
            u = self._times(v)
            if self._shape[0] == 1:
                u *= self._bends
            else:
                softmax_bend(u, self._bends, self.task.weights)
            self._add_transposed_times(out, u)
        elif self._shape[0] == 1:
            binary_hvp(self._X, self._bends, v, out)
        else:
            softmax_hvp(self._X, self.task.weights, self._bends, v, self._scratch, out)
        return out

    def _times(self, theta: Array) -> Array:
        """X Wᵀ + b: (n,) or (n, K)."""
        W = theta[: self._n_coef].reshape(self._shape)
        z = np.empty((self._X.shape[0], len(W)))
        for rows, X in self._pieces:
            z[rows] = X @ W.T
        if self.task.fit_intercept:
            z += theta[self._n_coef :]
        return z[:, 0] if self._shape[0] == 1 else z

    def _add_transposed_times(self, out: Array, slopes: Array) -> None:
        slopes = slopes.reshape(len(slopes), -1)
        for rows, X in self._pieces:
            out[: self._n_coef] += (X.T @ slopes[rows]).T.ravel()
        if self.task.fit_intercept:
            out[self._n_coef :] += slopes.sum(axis=0)


def by_lbfgs(task: Task, start: Array, *, tol: float, max_iter: int) -> Found:
    """SciPy's L-BFGS-B, with scikit-learn's settings: Liu and Nocedal (1989)."""
    found = optimize.minimize(
        Smooth(task).value_and_gradient, start, method="L-BFGS-B", jac=True,
        options={"maxiter": max_iter, "maxls": 50, "gtol": tol, "ftol": 64 * np.finfo(float).eps},
    )  # fmt: skip
    steepest = float(np.abs(found.jac).max())
    trouble = "" if found.status == 0 or steepest <= tol else describe_trouble(steepest, int(found.nit), tol)
    return Found(found.x, int(found.nit), trouble)


def by_newton_cg(task: Task, start: Array, *, tol: float, max_iter: int) -> Found:
    """Newton steps, each by conjugate gradients only as accurately as it pays.

    Nocedal and Wright, "Numerical optimization" (2006), algorithm 7.1 with a backtracking line search; the
    objective is convex, so no curvature is negative.
    """
    smooth, theta = Smooth(task), start
    value, grad = smooth.value_and_gradient(theta)
    for n_iter in range(max_iter + 1):
        steepest = float(np.abs(grad).max())
        if not steepest > tol:
            return Found(theta, n_iter, "")
        if n_iter == max_iter:
            break
        direction = _newton_direction(smooth, grad)
        slope, step = float(grad @ direction), 1.0
        for _ in range(MAX_HALVINGS):
            new = theta + step * direction
            new_value, new_grad = smooth.value_and_gradient(new)
            if new_value <= value + SUFFICIENT * step * slope + ROUNDING * abs(value):
                break
            step *= 0.5
        else:
            break
        theta, value, grad = new, new_value, new_grad
    return Found(theta, n_iter, describe_trouble(steepest, n_iter, tol))


def _newton_direction(smooth: Smooth, grad: Array) -> Array:
    """d with H d ≈ −g; the residual may be min(½, √‖g‖) ‖g‖, so convergence is faster than linear."""
    norm = float(np.linalg.norm(grad))
    enough = min(0.5, norm**0.5) * norm
    direction, residual = np.zeros_like(grad), grad
    conjugate, square = -grad, norm * norm
    for _ in range(MAX_CG_STEPS):
        bent = smooth.hvp(conjugate)
        curvature = float(conjugate @ bent)
        if curvature <= 3 * np.finfo(float).eps * float(conjugate @ conjugate):
            break  # a flat direction, as between the intercepts of several classes
        length = square / curvature
        direction = direction + length * conjugate
        residual = residual + length * bent
        before, square = square, float(residual @ residual)
        if square <= enough * enough:
            break
        conjugate = (square / before) * conjugate - residual
    return direction if direction.any() else -grad


def describe_trouble(steepest: float, n_iter: int, tol: float) -> str:
    """What a user reads who got a `ConvergenceWarning`."""
    return f"the largest slope is {steepest:.3g} after {n_iter} iterations, its limit tol={tol:g}"
