"""One minimization: the iterates so far, and when to stop."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.analysis.minimizers.counted import Point, Stop
from hotloop.errors import InvalidTypeError
from hotloop.interrupt import InterruptFlag
from hotloop.progress import bar

__all__ = ["Limits", "Run", "State"]

CONVERGED = ("gtol", "ftol", "step")
"""Reasons to stop that mean: there is no more to be had."""
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class State:
    """What a callback sees after an iteration: θ (size,) is a copy, ‖∇L‖₂ is NaN without gradients."""

    n_iter: int
    theta: NDArray[Any]
    value: float
    gradient_norm: float
    seconds: float


@dataclass(frozen=True)
class Limits:
    """When to stop, as `minimize` documents it."""

    max_iter: int
    gtol: float
    ftol: float
    max_seconds: float | None
    callback: Callable[[State], Any] | None


class Run:
    """What all loops have in common: ``while run.goes_on(point):`` keeps an iterate and decides.

    `window` is how many iterations `ftol` looks back; a method that moves one coordinate at a time
    makes it longer.
    """

    def __init__(self, limits: Limits, interrupt: InterruptFlag, *, progress: bool, path: bool):
        self.limits = limits
        self.window = 3
        self.point: Point | None = None
        self.values: list[float] = []
        self.gradient_norms: list[float] = []
        self.reaches: list[float] = []
        self.path: list[NDArray[np.float64]] | None = [] if path else None
        self.stopped_by, self.message, self.remark = "", "", ""
        self._interrupt = interrupt
        self._started = 0.0
        self._bar = bar(shown=progress, total=limits.max_iter, unit=" steps")

    @property
    def n_iter(self) -> int:
        """Iterations so far; the start is none."""
        return max(len(self.values) - 1, 0)

    @property
    def seconds(self) -> float:
        """Since the start was evaluated, which may have compiled kernels."""
        return time.perf_counter() - self._started

    @property
    def converged(self) -> bool:
        """Whether it ended, and at a point that the method takes for its goal."""
        return self.stopped_by in CONVERGED

    def goes_on(self, point: Point) -> bool:
        """Keep `point`, the start or the iterate after it; whether to take another step."""
        if not point.is_finite:
            self.stop("diverged", "the next value or gradient is not finite; take smaller steps")
            return False
        self._keep(point)
        self._judge()
        return not self.stopped_by

    def stop(self, reason: str, message: str) -> None:
        """There is to be no further step."""
        self.stopped_by, self.message = reason, message

    def check(self) -> None:
        """Raise `Stop` when time is up or Ctrl-C was pressed: a step may take many evaluations."""
        if self.point is None:
            return  # the start is evaluated in any case
        if self._interrupt.raised:
            raise Stop("interrupt", "Ctrl-C")
        limit = self.limits.max_seconds
        if limit is not None and self.seconds >= limit:
            raise Stop("time", f"max_seconds = {limit:g} have passed")

    def close(self) -> None:
        """End the progress bar."""
        self._bar.close()

    def _keep(self, point: Point) -> None:
        if self.point is None:
            self._started = time.perf_counter()
        else:  # what L would change by if the step went on as it began, at most
            step = np.linalg.norm(point.theta - self.point.theta)
            self.reaches.append(float(step) * self.gradient_norms[-1])
        self.point = point
        self.values.append(point.value)
        norm = float(np.linalg.norm(point.gradient))
        self.gradient_norms.append(norm)
        if self.path is not None:
            self.path.append(point.theta)
        if self.n_iter and not self._bar.disable:
            self._bar.set_postfix(value=f"{point.value:.4g}", gradient=f"{norm:.1e}", refresh=False)
            self._bar.update(1)

    def _judge(self) -> None:
        """Stop if one of the rules says so."""
        limits, norm, k = self.limits, self.gradient_norms[-1], self.window
        asked = self._callback_stops()
        if norm <= limits.gtol:
            return self.stop("gtol", f"the gradient's norm {norm:.2g} is at most gtol = {limits.gtol:.2g}")
        if self.n_iter >= k:
            before, now = self.values[-1 - k], self.values[-1]
            size = max(abs(before), abs(now))
            if abs(before - now) <= limits.ftol * size and not self._steps_over(size):
                return self.stop(
                    "ftol", f"the value changed by at most ftol = {limits.ftol:.2g} of itself in {k} steps"
                )
        if asked:
            return self.stop("callback", "the callback returned True")
        if self.n_iter >= limits.max_iter:
            return self.stop("max_iter", f"max_iter = {limits.max_iter} steps are done")
        return None

    def _steps_over(self, size: float) -> bool:
        """Whether a step of the window was far too long for a change that small, as from θ to −θ and back.

        In the manner of Gill, Murray & Wright 1981, *Practical Optimization*, chapter 8, who ask for a step
        of the order √ftol as well. Without gradients nothing is known of that.
        """
        return max(self.reaches[-self.window :]) > 2 * float(np.sqrt(max(self.limits.ftol, EPS))) * size

    def _callback_stops(self) -> bool:
        """Show it an iterate; the start is none."""
        if self.limits.callback is None or self.point is None or not self.n_iter:
            return False
        theta, value, _ = self.point
        answer = self.limits.callback(
            State(self.n_iter, theta.copy(), value, self.gradient_norms[-1], self.seconds)
        )
        if not (answer is None or isinstance(answer, (bool, np.bool_))):
            raise InvalidTypeError(f"callback: must return True to stop, or False or None, got {answer!r}")
        return bool(answer)
