"""Problems on which all minimizers are tried: sums of squares with exact derivatives and known minima."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.analysis.functions import Function

__all__ = ["PROBLEMS", "LeastSquares", "Problem"]

Vector = NDArray[np.float64]


class LeastSquares(Function):
    """L(θ) = ‖r(θ)‖², with its Gauss–Newton matrix G = 2 JᵀJ beside the Hessian.

    Parameters
    ----------
    size : int
        How many numbers θ has.
    residuals : callable
        θ (size,) → r (m,).
    jacobian : callable
        θ → J = ∂r/∂θ, (m, size).
    bend : callable
        (θ, r) → Σ rᵢ ∇²rᵢ(θ), (size, size); 0 where the residuals are linear.
    """

    def __init__(
        self,
        size: int,
        residuals: Callable[[Vector], Vector],
        jacobian: Callable[[Vector], Vector],
        bend: Callable[[Vector, Vector], Vector],
    ):
        super().__init__(
            lambda theta: np.sum(residuals(theta) ** 2),
            size,
            gradient=lambda theta: 2 * jacobian(theta).T @ residuals(theta),
            hessian=lambda theta: self.gauss_newton(theta) + 2 * bend(theta, residuals(theta)),
        )
        self._jacobian = jacobian

    def gauss_newton(self, theta: Any) -> Vector:
        """G, shape (size, size)."""
        J = self._jacobian(self._point(theta))
        return 2 * J.T @ J

    def gauss_newton_product(self, theta: Any, v: Any) -> Vector:
        """G v, shape of v: (size,) or (k, size)."""
        J = self._jacobian(self._point(theta))
        product: Vector = 2 * (np.asarray(v) @ J.T) @ J
        return product


@dataclass(frozen=True)
class Problem:
    """A function, a start (size,), and all its minima (k, size), each of value 0; none if unknown."""

    function: LeastSquares
    start: tuple[float, ...]
    minima: tuple[tuple[float, ...], ...]


def _quadratic() -> Problem:
    """½ (θ − m)ᵀ A (θ − m) with eigenvalues from 1 to 100, along axes turned away from the coordinates."""
    n = 10
    u = np.arange(1.0, n + 1)
    turn = np.eye(n) - 2 * np.outer(u, u) / (u @ u)
    root = np.sqrt(np.logspace(0, 2, n) / 2)[:, None] * turn
    m = np.linspace(-1, 1, n)
    function = LeastSquares(
        n, lambda t: root @ (t - m), lambda t: root, lambda t, r: np.zeros((n, n))
    )  # fmt: skip
    return Problem(function, (2.0,) * n, (tuple(m),))


def _rosenbrock() -> Problem:
    """A curved valley: (1 − x)² + 100 (y − x²)². Rosenbrock 1960."""
    function = LeastSquares(
        2,
        lambda t: np.array([1 - t[0], 10 * (t[1] - t[0] ** 2)]),
        lambda t: np.array([[-1.0, 0.0], [-20 * t[0], 10.0]]),
        lambda t, r: np.diag([-20 * r[1], 0.0]),
    )
    return Problem(function, (-1.2, 1.0), ((1.0, 1.0),))


def _beale() -> Problem:
    """(1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)². Beale 1958."""
    k = np.arange(1, 4)
    target = np.array([1.5, 2.25, 2.625])

    def bend(t: Vector, r: Vector) -> Vector:
        """Σ rᵢ ∇²rᵢ."""
        cross = r @ (k * t[1] ** (k - 1))
        return np.array([[0.0, cross], [cross, r[1:] @ (t[0] * (k * (k - 1))[1:] * t[1] ** (k - 2)[1:])]])

    function = LeastSquares(
        2,
        lambda t: target - t[0] * (1 - t[1] ** k),
        lambda t: np.column_stack([t[1] ** k - 1, t[0] * k * t[1] ** (k - 1)]),
        bend,
    )
    return Problem(function, (1.0, 1.0), ((3.0, 0.5),))


def _himmelblau() -> Problem:
    """Four minima around a maximum: (x² + y − 11)² + (x + y² − 7)². The Hessian at the start is negative."""
    function = LeastSquares(
        2,
        lambda t: np.array([t[0] ** 2 + t[1] - 11, t[0] + t[1] ** 2 - 7]),
        lambda t: np.array([[2 * t[0], 1.0], [1.0, 2 * t[1]]]),
        lambda t, r: 2 * np.diag(r),
    )
    minima = (
        (3.0, 2.0),
        (-2.805118086952745, 3.131312518250573),
        (-3.779310253377747, -3.283185991286170),
        (3.584428340330492, -1.848126526964404),
    )
    return Problem(function, (0.0, 0.0), minima)


def _saddle() -> Problem:
    """Two minima with a saddle at 0 between them, x² + (y² − 1)²/4, from beside its ridge."""
    function = LeastSquares(
        2,
        lambda t: np.array([t[0], (t[1] ** 2 - 1) / 2]),
        lambda t: np.array([[1.0, 0.0], [0.0, t[1]]]),
        lambda t, r: np.diag([0.0, r[1]]),
    )
    return Problem(function, (1.0, 1e-3), ((0.0, 1.0), (0.0, -1.0)))


def _powell() -> Problem:
    """(a + 10b)² + 5 (c − d)² + (b − 2c)⁴ + 10 (a − d)⁴: singular at its minimum. Powell 1962."""
    five, ten = np.sqrt(5), np.sqrt(10)
    linear = np.array([[1, 10, 0, 0], [0, 0, five, -five]])
    squared = np.array([[0, 1, -2, 0], [1, 0, 0, -1]])
    scale = np.array([1, ten])
    function = LeastSquares(
        4,
        lambda t: np.concatenate([linear @ t, scale * (squared @ t) ** 2]),
        lambda t: np.vstack([linear, (2 * scale * (squared @ t))[:, None] * squared]),
        lambda t, r: 2 * squared.T @ np.diag(scale * r[2:]) @ squared,
    )
    return Problem(function, (3.0, -1.0, 0.0, 1.0), ((0.0,) * 4,))


def _network() -> Problem:
    """The mean squared error of a network 1-8-1 with tanh on sin: Σ vⱼ tanh(wⱼ x + bⱼ) + c on 40 points.

    θ is w, b, v, c, as in ``hl.Sequential([hl.Dense(8, "tanh"), hl.Dense(1)], input_dim=1)``.
    """
    k, n = 8, 40
    x = np.linspace(-3, 3, n)
    y = np.sin(x)
    unit: float = n**-0.5

    def hidden(t: Vector) -> Vector:
        """The hidden units, (n, k)."""
        return np.tanh(np.outer(x, t[:k]) + t[k : 2 * k])

    def jacobian(t: Vector) -> Vector:
        """Of the residuals, (n, 3k + 1)."""
        a = hidden(t)
        by_bias = t[2 * k : 3 * k] * (1 - a**2)
        J = np.hstack([by_bias * x[:, None], by_bias, a, np.ones((n, 1))])
        return unit * J

    def bend(t: Vector, r: Vector) -> Vector:
        """Σ rᵢ ∇²rᵢ."""
        a, H = hidden(t), np.zeros((3 * k + 1, 3 * k + 1))
        first, second = 1 - a**2, -2 * a * (1 - a**2) * t[2 * k : 3 * k]
        w, b, v = np.arange(k), np.arange(k, 2 * k), np.arange(2 * k, 3 * k)
        H[w, w], H[w, b], H[b, b] = (r * x**2) @ second, (r * x) @ second, r @ second
        H[w, v], H[b, v] = (r * x) @ first, r @ first
        H += np.triu(H, 1).T
        return unit * H

    function = LeastSquares(
        3 * k + 1, lambda t: unit * (hidden(t) @ t[2 * k : 3 * k] + t[-1] - y), jacobian, bend
    )
    start = np.random.default_rng(0).normal(scale=0.7, size=3 * k + 1)
    start[-1] = 0.0
    return Problem(function, tuple(start), ())


PROBLEMS: dict[str, Problem] = {
    "quadratic": _quadratic(),
    "rosenbrock": _rosenbrock(),
    "beale": _beale(),
    "himmelblau": _himmelblau(),
    "saddle": _saddle(),
    "powell": _powell(),
    "network": _network(),
}
