"""Steps from (M + λI) p = −g with λ as large as needed: damped Newton, and Levenberg–Marquardt."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_number
from hotloop.analysis.minimizers.counted import Counted, Point, Stop
from hotloop.analysis.minimizers.run import Run

__all__ = ["damped_newton", "levenberg_marquardt"]

Vector = NDArray[np.float64]
TINY = float(np.finfo(np.float64).tiny)


def damped_newton(f: Counted, run: Run, point: Point, *, damping: float = 1e-3) -> None:
    """M is the Hessian, and λ at least so large that M + λI is positive definite.

    ``notes/004``; Nocedal & Wright, sections 3.4 and 4.3. It leaves a saddle along the directions of
    negative curvature, as soon as the gradient has a share in them.
    """
    _damped(f, run, point, f.hessian, damping)


def levenberg_marquardt(f: Counted, run: Run, point: Point, *, damping: float = 1e-3) -> None:
    """M is the Gauss–Newton matrix, 2JᵀJ/n for "mse": positive semidefinite where the loss is convex.

    Madsen, Nielsen & Tingleff 2004, *Methods for non-linear least squares problems*, section 3.2. Where
    the residuals become small M becomes the Hessian, and convergence quadratic.
    """
    _damped(f, run, point, f.gauss_newton, damping)


def _damped(f: Counted, run: Run, point: Point, matrix: Callable[[Vector], Vector], damping: float) -> None:
    """One matrix an iteration; its eigenvectors make each further λ cheap.

    `damping` is the first λ in units of the largest |eigenvalue|.
    """
    damping = check_number(damping, "damping", low=TINY)
    extra = None  # λ beyond what positive definiteness asks for
    while run.goes_on(point):
        eigenvalues, vectors = np.linalg.eigh(matrix(point.theta))
        largest = max(float(np.abs(eigenvalues).max()), TINY)
        lift = max(0.0, -float(eigenvalues[0])) + f.eps * largest
        extra = damping * largest if extra is None else extra
        along, growth = vectors.T @ point.gradient, 2.0
        while True:
            steps = -along / (eigenvalues + lift + extra)
            promised = -float(along @ steps + 0.5 * eigenvalues @ steps**2)
            trial = f.at(point.theta + vectors @ steps)
            gain = _gain(point, trial, promised, f.eps)
            if gain > 0:
                break
            extra, growth = extra * growth, growth * 2
            if not np.linalg.norm(steps) > f.eps * np.linalg.norm(point.theta):  # nor NaN
                raise Stop(
                    "line search", f"no step is short enough to lower the value; λ is {lift + extra:.2g}"
                )
        point, extra = trial, max(extra * max(1 / 3, 1 - (2 * gain - 1) ** 3), TINY)


def _gain(point: Point, trial: Point, promised: float, eps: float) -> float:
    """What a step gained, as a share of what the quadratic model promised.

    Where both drown in the rounding of L the step counts as good (Conn, Gould & Toint 2000, *Trust-region
    methods*, section 17.4.2), as long as the gradient shrinks.
    """
    rounding = 10 * eps * abs(point.value)
    gained = point.value - trial.value
    if promised <= rounding and abs(gained) <= rounding:
        return 1.0 if np.linalg.norm(trial.gradient) < np.linalg.norm(point.gradient) else -1.0
    return min(gained / promised, 2.0) if promised > 0 else -1.0
