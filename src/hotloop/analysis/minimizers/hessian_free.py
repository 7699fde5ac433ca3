"""Hessian-free optimization: Newton's step by linear conjugate gradients, from products H v alone."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_choice, check_integer
from hotloop.analysis.minimizers.counted import Counted, Point
from hotloop.analysis.minimizers.line_search import strong_wolfe
from hotloop.analysis.minimizers.run import Run

__all__ = ["hessian_free"]

Vector = NDArray[np.float64]
LOOSEST = 0.5


def hessian_free(
    f: Counted, run: Run, point: Point, *,
    curvature: str = "hessian", preconditioner: str = "none", n_probes: int = 10,
    max_cg: int | None = None, seed: int = 0,
) -> None:  # fmt: skip
    """Line-search Newton–CG: Nocedal & Wright, algorithm 7.1; Martens 2010 for networks.

    The inner loop is stopped early, the more so the farther off the minimum seems: where its residual is
    below η ‖g‖, η ← 0.9 (‖g‖ / ‖g before‖)² (Eisenstat & Walker 1996, choice 2).
    """
    check_choice(curvature, "curvature", ("gauss_newton", "hessian"))
    check_choice(preconditioner, "preconditioner", ("gradient", "hutchinson", "none"))
    n_probes = check_integer(n_probes, "n_probes", low=1)
    max_cg = 2 * f.size if max_cg is None else check_integer(max_cg, "max_cg", low=1)
    rng = np.random.default_rng(check_integer(seed, "seed", low=0))
    multiply = f.hvp if curvature == "hessian" else f.gauss_newton_product
    squares, forcing = np.zeros(f.size), LOOSEST
    while run.goes_on(point):
        g = point.gradient
        product = partial(multiply, point.theta)
        squares += g**2
        if preconditioner == "hutchinson":
            diagonal = _floored(hutchinson(product, f.size, n_probes, rng))
        elif preconditioner == "gradient":
            diagonal = _floored(np.sqrt(squares))
        else:
            diagonal = np.ones(f.size)
        norm = float(np.linalg.norm(g))
        p = truncated_cg(product, g, diagonal, forcing * norm, max_cg)
        point, _ = strong_wolfe(f, point, p, 1.0)
        forcing = _forcing(forcing, float(np.linalg.norm(point.gradient)) / norm)


def truncated_cg(
    product: Callable[[Vector], Vector], g: Vector, diagonal: Vector, tolerance: float, max_cg: int
) -> Vector:
    """Solve H p = −g roughly, by conjugate gradients preconditioned by `diagonal` (size,).

    Where it meets a direction d of negative curvature, dᵀHd ≤ 0, it returns what it has, which leads
    down; at the first step that is d itself. Nocedal & Wright, algorithms 5.3 and 7.1.
    """
    p, residual = np.zeros_like(g), g.copy()
    scaled = residual / diagonal
    d, length = -scaled, float(residual @ scaled)
    for j in range(max_cg):
        Hd = product(d)
        bend = float(d @ Hd)
        if not bend > 0:
            return p if j else d
        t = length / bend
        p += t * d
        residual += t * Hd
        if np.linalg.norm(residual) <= tolerance:
            break
        scaled = residual / diagonal
        before, length = length, float(residual @ scaled)
        d = -scaled + length / before * d
    return p


def hutchinson(
    product: Callable[[Vector], Vector], size: int, n_probes: int, rng: np.random.Generator
) -> Vector:
    """An estimate of |diag H| (size,): the mean of v ⊙ H v over random signs v.

    Bekas, Kokiopoulou & Saad 2007, *An estimator for the diagonal of a matrix*.
    """
    signs = rng.choice([-1.0, 1.0], size=(n_probes, size))
    estimate: Vector = np.abs((signs * product(signs)).mean(axis=0))
    return estimate


def _floored(diagonal: Vector) -> Vector:
    """No entry below a thousandth of the largest: a preconditioner must be positive."""
    largest = float(diagonal.max())
    return np.maximum(diagonal, 1e-3 * largest) if largest > 0 else np.ones_like(diagonal)


def _forcing(before: float, ratio: float) -> float:
    """η for the next inner loop, not much below the last while that was large."""
    forcing, safeguard = 0.9 * ratio * ratio, 0.9 * before * before
    return min(LOOSEST, max(forcing, safeguard) if safeguard > 0.1 else forcing)
