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
    p, first = None, 1.0
    while run.goes_on(point):
        g = point.gradient
        if p is None:
            p = -g
            first = 1 / max(1.0, float(np.linalg.norm(g)))
        bend = float(p @ f.hvp(point.theta, p)) if step == "optimal" else 0.0
        if bend > 0:
            first = -float(g @ p) / bend
        before, (point, t) = g, strong_wolfe(f, point, p, first, c2=C2)
        g, slope = point.gradient, float(g @ p)
        if abs(g @ before) >= FAR_FROM_ORTHOGONAL * (g @ g):
            p = -g
        else:
            p = -g + share(g, before, p) * p
            if g @ p >= 0:
                p = -g
        first = t * slope / float(g @ p) if g.any() else t  # the decrease of the last step again (3.60)


def _ratio(a: Any, b: Any) -> float:
    return float(a / b) if b else 0.0


_BETAS: dict[str, Callable[[Vector, Vector, Vector], float]] = {
    "fr": lambda g, before, p: _ratio(g @ g, before @ before),
    "hs": lambda g, before, p: max(_ratio(g @ (g - before), p @ (g - before)), 0.0),
    "pr+": lambda g, before, p: max(_ratio(g @ (g - before), before @ before), 0.0),
}
"""β from the new gradient, the one before and the direction; cut off at 0 but for Fletcher–Reeves."""
