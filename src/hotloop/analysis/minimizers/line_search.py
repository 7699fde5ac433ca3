"""How far to go along a direction: Armijo's backtracking, and a search for the strong Wolfe conditions.

φ(t) = L(θ + t p) along a direction of descent p, φ′(0) = ∇Lᵀp < 0. The Armijo condition asks for a share
`c1` of the decrease that the slope promises, φ(t) ≤ φ(0) + c1 t φ′(0); the strong Wolfe conditions also
that the slope has become flat, |φ′(t)| ≤ c2 |φ′(0)|. Nocedal & Wright, *Numerical Optimization*, chapter 3.

Close to a minimum decreases drown in the rounding of L, so values may be off by a few of its last digits
(compare the approximate Wolfe conditions of Hager & Zhang 2005, section 4): slopes then decide alone.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop.analysis.minimizers.counted import Counted, Point, Stop

__all__ = ["armijo", "strong_wolfe"]

C1 = 1e-4
LAST_DIGITS = 8
MAX_TRIALS = 40


class Trial(NamedTuple):
    """t, the point θ + t p, and φ′(t)."""

    step: float
    point: Point
    slope: float


def armijo(f: Counted, start: Point, p: NDArray[np.float64], first: float) -> tuple[Point, float]:
    """Shorten the step until Armijo's condition holds.

    Parameters
    ----------
    f : Counted
        One value a trial, and a gradient at the end.
    start : Point
        θ with its gradient.
    p : ndarray (size,)
        A direction of descent.
    first : float
        The first t, the longest that is tried.

    Returns
    -------
    (Point, float)
        The new point and its t.

    Raises
    ------
    Stop
        If no t is short enough.

    Notes
    -----
    Nocedal & Wright, algorithm 3.1, and (3.58) for the next trial: the minimum of the parabola through
    φ(0), φ′(0) and φ(t), kept between a tenth and a half of t.
    """
    slope = _slope(start, p)
    slack = _slack(f, start, first * slope)
    step = first
    for _ in range(MAX_TRIALS):
        theta = start.theta + step * p
        value = f.value(theta)
        excess = value - start.value - step * slope
        lower = value < start.value or slack > 0  # not equal because the step is lost in rounding
        if lower and value <= start.value + C1 * step * slope + slack:
            return Point(theta, value, f.gradient(theta)), step
        bottom = -0.5 * slope * step * step / excess if np.isfinite(value) else 0.0
        step = float(np.clip(bottom, 0.1 * step, 0.5 * step))
    raise Stop("line search", f"no decrease after {MAX_TRIALS} shorter and shorter steps")


def strong_wolfe(
    f: Counted, start: Point, p: NDArray[np.float64], first: float, *, c2: float = 0.9
) -> tuple[Point, float]:
    """Find a step that satisfies the strong Wolfe conditions.

    Parameters
    ----------
    f : Counted
        A value and a gradient a trial; mostly there is one.
    start : Point
        θ with its gradient.
    p : ndarray (size,)
        A direction of descent.
    first : float
        The first t.
    c2 : float, default 0.9
        How flat it must become: less for a more exact search, above `C1`.

    Returns
    -------
    (Point, float)
        The new point and its t. After too many trials that is the lowest one, if there is one with
        Armijo's condition.

    Raises
    ------
    Stop
        If there is none.

    Notes
    -----
    Nocedal & Wright, algorithms 3.5 and 3.6 in one loop: `low` is the lowest trial so far that satisfies
    Armijo's condition, and once there is a `high`, an acceptable step lies between the two.
    """
    slope = _slope(start, p)
    slack = _slack(f, start, first * slope)
    low, high = Trial(0.0, start, slope), None
    step = first
    for _ in range(MAX_TRIALS):
        trial = _try(f, start, p, step)
        value = trial.point.value
        enough = value <= start.value + C1 * step * slope + slack
        if not enough or value > low.point.value + slack:
            high = trial
        elif abs(trial.slope) <= c2 * abs(slope):
            return trial.point, step
        elif high is None and trial.slope < 0:
            low, step = trial, _beyond(low, trial)
            continue
        elif high is None or trial.slope * (high.step - low.step) >= 0:
            low, high = trial, low
        else:
            low = trial
        step = _between(low, high)
        if step in (low.step, high.step):
            break  # the interval has no inside any more
    if low.step == 0.0 or low.point.value >= start.value:
        raise Stop("line search", "no step along the direction satisfies the Wolfe conditions")
    return low.point, low.step


def _try(f: Counted, start: Point, p: NDArray[np.float64], step: float) -> Trial:
    point = f.at(start.theta + step * p)
    return Trial(step, point, float(point.gradient @ p))


def _slope(start: Point, p: NDArray[np.float64]) -> float:
    slope = float(start.gradient @ p)
    if not slope < 0:
        raise Stop("line search", f"the slope along the direction is {slope:.2g}: it does not lead down")
    return slope


def _slack(f: Counted, start: Point, promised: float) -> float:
    """What rounding may do to a value; 0 if the first trial promises more than is lost in it."""
    rounding = LAST_DIGITS * f.eps * abs(start.value)
    return rounding if -promised <= 10 * rounding else 0.0


def _beyond(before: Trial, last: Trial) -> float:
    """The step after `last`, where φ still falls: where the slopes extrapolate to 0."""
    bend = before.slope - last.slope
    ahead = (last.step - before.step) * last.slope / bend if bend < 0 else np.inf
    return float(np.clip(last.step + ahead, 1.5 * last.step, 10 * last.step))


def _between(low: Trial, high: Trial) -> float:
    """The minimum of the cubic through both ends, kept a tenth of the interval away from them.

    Nocedal & Wright (3.59). Where an end is not finite: a tenth of the way.
    """
    width = high.step - low.step
    if not (np.isfinite(high.point.value) and np.isfinite(high.slope)):
        return low.step + 0.1 * width
    d1 = low.slope + high.slope - 3 * (high.point.value - low.point.value) / width
    root = np.sqrt(max(d1 * d1 - low.slope * high.slope, 0.0)) * np.sign(width)
    denominator = high.slope - low.slope + 2 * root
    share = 1 - (high.slope + root - d1) / denominator if denominator != 0 else 0.5
    return low.step + width * float(np.clip(share, 0.1, 0.9))
