"""Newton's method as the notes have it: to a critical point, whatever its kind."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.analysis.minimizers.counted import Counted, Point, Stop
from hotloop.analysis.minimizers.run import Run

__all__ = ["newton"]


def newton(f: Counted, run: Run, point: Point) -> None:
    """θ ← θ − H⁻¹ g. ``notes/004``; Nocedal & Wright, section 3.3.

    One step is exact on a quadratic function, and near a critical point the digits that are right double
    with each step. Farther off nothing holds it: it is drawn to saddles and maxima as well.
    """
    while run.goes_on(point):
        try:
            p = np.linalg.solve(f.hessian(point.theta), point.gradient)
        except np.linalg.LinAlgError as error:
            raise Stop("singular", "the Hessian is singular; use method='damped_newton'") from error
        point = f.at(point.theta - p)
    if run.stopped_by == "gtol":
        run.remark = _kind(np.linalg.eigvalsh(f.hessian(point.theta)), f.eps)


def _kind(eigenvalues: NDArray[Any], eps: float) -> str:
    """What the Hessian says of a critical point."""
    zero = len(eigenvalues) * eps * np.abs(eigenvalues).max()
    n, up, down = len(eigenvalues), int(np.sum(eigenvalues > zero)), int(np.sum(eigenvalues < -zero))
    if up == n:
        return "a minimum"
    if down == n:
        return "a maximum"
    if up and down:
        return f"a saddle point: {down} of {n} eigenvalues of the Hessian are negative"
    return f"a critical point that the Hessian does not decide: {n - up - down} of {n} eigenvalues are 0"
