"""Nonlinear conjugate gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_choice
from hotloop.analysis.minimizers.counted import Counted, Point
from hotloop.analysis.minimizers.line_search import strong_wolfe
from hotloop.analysis.minimizers.run import Run

__all__ = ["conjugate_gradient"]

Vector = NDArray[np.float64]
Beta = Callable[[Vector, Vector, Vector], float]
C2 = 0.01
"""A nearly exact search. On the shared problems it took as many evaluations as the usual 0.1 or fewer, since
the inexact one loses conjugacy; below ½ the directions of Fletcher–Reeves lead down (lemma 5.6)."""
FAR_FROM_ORTHOGONAL = 0.2


def conjugate_gradient(f: Counted, run: Run, point: Point, *, beta: str = "pr+", step: str = "wolfe") -> None:
    """p ← −g + β p, with β of Fletcher–Reeves, Polak–Ribière or Hestenes–Stiefel.

    Nocedal & Wright, algorithm 5.4 and section 5.2. It starts again from −g where gradients are far from
    orthogonal (Powell 1977, (5.52)), and where p does not lead down. With ``step="optimal"`` the first
    trial is −gᵀp / pᵀHp: exact on a quadratic function, where it ends in `size` steps.
    """
    share = _BETAS[check_choice(beta, "beta", _BETAS)]
    check_choice(step, "step", ("optimal", "wolfe"))
    p = -point.gradient
    first = 1 / max(1.0, float(np.linalg.norm(p)))
    while run.goes_on(point):
        before = point.gradient
        slope = before @ p
        if step == "optimal" and (bend := p @ f.hvp(point.theta, p)) > 0:
            first = float(-slope / bend)
        point, t = strong_wolfe(f, point, p, first, c2=C2)
        p = _next_direction(point.gradient, before, p, share)
        first = float(t * slope / (point.gradient @ p))  # to fall as far as in the last step (3.60)


def _next_direction(g: Vector, before: Vector, p: Vector, share: Beta) -> Vector:
    """−g + β p, or −g again."""
    if abs(g @ before) < FAR_FROM_ORTHOGONAL * (g @ g):
        conjugate = -g + share(g, before, p) * p
        if g @ conjugate < 0:
            return conjugate
    return -g


def _ratio(a: Any, b: Any) -> float:
    return float(a / b) if b else 0.0


_BETAS: dict[str, Beta] = {
    "fr": lambda g, before, p: _ratio(g @ g, before @ before),
    "hs": lambda g, before, p: max(_ratio(g @ (g - before), p @ (g - before)), 0.0),
    "pr+": lambda g, before, p: max(_ratio(g @ (g - before), before @ before), 0.0),
}
"""β from the new gradient, the one before and the direction; cut off at 0 but for Fletcher–Reeves."""
