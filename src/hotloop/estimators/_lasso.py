"""Two ways to minimise ½‖y − Xw‖² + λ₁‖w‖₁ + ½λ₂‖w‖², and the duality gap that tells when to stop."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop.engine.coordinate import descend, descend_gram, descend_sparse
from hotloop.estimators._design import Design, SparseDesign

__all__ = ["Found", "Problem", "by_coordinates", "by_proximal_gradient"]

Array = NDArray[Any]

RANDOM_SWEEPS = 8
"""So many random orders are drawn at a time."""

GAP_EVERY = 10
"""Steps of the proximal gradient between two looks at the gap, which costs as much as half a step."""


@dataclass(frozen=True)
class Problem:
    """One target.

    Attributes
    ----------
    design : Design (n, p)
    y : ndarray (n,)
    squares : ndarray (p,)
        ‖xⱼ‖² of each column.
    l1, l2 : float
        λ₁ and λ₂.
    positive : bool
        Whether w must be ≥ 0.
    """

    design: Design
    y: Array
    squares: Array
    l1: float
    l2: float
    positive: bool

    def gap(self, w: Array, residual: Array, moments: Array) -> float:
        """An upper bound on what w is above the minimum; `residual` is y − Xw, `moments` Xᵀ(y − Xw)."""
        return self._gap_and_scale(w, residual, moments)[0]

    def _gap_and_scale(self, w: Array, residual: Array, moments: Array) -> tuple[float, float]:
        """The gap, and what the residual is divided by to be a feasible dual point (before · λ₁).

        Fercoq, Gramfort and Salmon, "Mind the duality gap" (2015); without λ₁ the dual of Dünner et al.,
        "Primal-dual rates and certificates" (2016), 5.2.3; without either there is none, and ‖Xᵀr‖² = 0
        is the condition.
        """
        l1, l2 = self.l1, self.l2
        rr, ry, ww = float(residual @ residual), float(residual @ self.y), float(w @ w)
        if l1 == 0:
            pull = np.maximum(moments, 0) if self.positive else moments
            square = float(pull @ pull)
            return (square if l2 == 0 else rr - ry + 0.5 * l2 * ww + square / (2 * l2)), 1.0
        slopes = moments - l2 * w
        steepest = float((slopes if self.positive else np.abs(slopes)).max(initial=0))
        c = min(1.0, l1 / steepest) if steepest > 0 else 1.0
        gap = 0.5 * (1 + c * c) * (rr + l2 * ww) + l1 * float(np.abs(w).sum()) - c * ry
        return gap, max(l1, steepest)

    def may_be_active(self, w: Array, residual: Array, moments: Array) -> Array:
        """Which wⱼ are not yet known to be 0 at the optimum: (p,) of bool.

        The gap safe sphere: Ndiaye, Fercoq, Gramfort and Salmon, "Gap safe screening rules" (2017), eq. 11.
        """
        if self.l1 == 0:
            return self.squares > 0
        gap, scale = self._gap_and_scale(w, residual, moments)
        distance = (1 - np.abs(moments - self.l2 * w) / scale) / np.sqrt(
            np.where(self.squares > 0, self.squares, 1) + self.l2
        )
        return (self.squares > 0) & (distance <= math.sqrt(2 * max(gap, 0.0)) / self.l1)


class Found(NamedTuple):
    """Coefficients (p,), their duality gap, the sweeps or steps they took, and whether that was enough."""

    w: Array
    gap: float
    n_iter: int
    converged: bool


def by_coordinates(
    problem: Problem, start: Array, *, tol: float, max_iter: int, rng: Any, gram: Array | None
) -> Found:  # fmt: skip
    """Coordinate descent from `start`, until the gap is at most tol ‖y‖².

    With an `rng` each sweep has a random order. `gram` is XᵀX, or None to work on X itself.
    """
    design, y, dtype = problem.design, problem.y, problem.design.dtype
    w = np.where(problem.squares > 0, start, 0).astype(dtype)
    sweep = _sweeper(problem, gram)
    candidates, enough, n_iter = problem.squares > 0, tol * float(y @ y), 0
    while True:
        residual = y - design.times(w) if w.any() else y.copy()
        moments = design.transposed_times(residual)
        gap = problem.gap(w, residual, moments)
        if gap <= enough or n_iter == max_iter:
            return Found(w, gap, n_iter, gap <= enough)
        candidates &= problem.may_be_active(w, residual, moments)
        if np.any(w[~candidates]):
            w[~candidates] = 0
            residual = y - design.times(w)
            moments = design.transposed_times(residual)
        active, most = np.flatnonzero(candidates), max_iter - n_iter
        orders = active[None]
        if rng is not None:
            most = min(most, RANDOM_SWEEPS)
            orders = np.stack([rng.permutation(active) for _ in range(most)])
        n_iter += sweep(orders, w, residual if gram is None else moments, dtype.type(tol), most)


def _sweeper(problem: Problem, gram: Array | None) -> Callable[..., int]:
    """The kernel for the design, with all that stays the same bound."""
    number = problem.design.dtype.type
    l1, l2, positive = number(problem.l1), number(problem.l2), problem.positive
    if gram is not None:
        return lambda *rest: descend_gram(gram, l1, l2, positive, *rest)
    columns: Any = problem.design.columns()
    kernel = descend_sparse if isinstance(problem.design, SparseDesign) else descend
    return lambda *rest: kernel(columns, problem.squares, l1, l2, positive, *rest)


def by_proximal_gradient(problem: Problem, start: Array, *, tol: float, max_iter: int) -> Found:
    """FISTA from `start`, until the gap is at most tol ‖y‖².

    Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm" (2009), section 4 with
    backtracking. Its momentum starts anew when it points uphill: O'Donoghue and Candès, "Adaptive restart
    for accelerated gradient schemes" (2015), the gradient scheme.
    """
    design, y = problem.design, problem.y
    w, Xw = start.astype(design.dtype), design.times(start.astype(design.dtype))
    v, Xv, t = w, Xw, 1.0  # v is the point that momentum reaches
    # ‖X‖² lies between the largest ‖xⱼ‖² and their sum; beyond that only rounding errors ask for more.
    lipschitz, most = float(problem.squares.max(initial=0)) or 1.0, float(problem.squares.sum())
    enough = tol * float(y @ y)
    for n_iter in range(max_iter + 1):
        if n_iter % GAP_EVERY == 0 or n_iter == max_iter:
            residual = y - Xw
            gap = problem.gap(w, residual, design.transposed_times(residual))
            if gap <= enough or n_iter == max_iter:
                break
        downhill = design.transposed_times(y - Xv)
        while True:
            new = _proximal_step(problem, v + downhill / lipschitz, 1 / lipschitz)
            Xnew = design.times(new)
            moved, Xmoved = new - v, Xnew - Xv
            # The parabola of curvature L through v lies above ½‖y − Xw‖² at the new point: (2.4) there,
            # where the squared error leaves only its quadratic term.
            if lipschitz >= most or Xmoved @ Xmoved <= lipschitz * (moved @ moved) * (1 + 1e-6):
                break
            lipschitz *= 2
        if moved @ (new - w) < 0:
            t = 1.0
        next_t = (1 + math.sqrt(1 + 4 * t * t)) / 2
        momentum = (t - 1) / next_t
        v, Xv = new + momentum * (new - w), Xnew + momentum * (Xnew - Xw)
        w, Xw, t = new, Xnew, next_t
    return Found(w, gap, n_iter, gap <= enough)


def _proximal_step(problem: Problem, point: Array, step: float) -> Array:
    """The w that minimises ½‖w − point‖² + step · (λ₁‖w‖₁ + ½λ₂‖w‖²)."""
    shrunk = np.maximum(np.abs(point) - step * problem.l1, 0)
    sign = point > 0 if problem.positive else np.sign(point)
    return np.asarray(sign * shrunk / (1 + step * problem.l2), point.dtype)
