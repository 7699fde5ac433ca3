"""Descent along directions that the gradient alone gives: its own, steepest in a norm, one coordinate."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_choice, check_integer, check_number
from hotloop.analysis.minimizers.counted import Counted, Point
from hotloop.analysis.minimizers.line_search import armijo, strong_wolfe
from hotloop.analysis.minimizers.run import Run
from hotloop.errors import InvalidTypeError

__all__ = ["coordinate", "gradient_descent", "steepest"]

Vector = NDArray[np.float64]
STEPS = ("armijo", "optimal", "wolfe")


def gradient_descent(f: Counted, run: Run, point: Point, *, step: float | str = "armijo") -> None:
    """θ ← θ − t ∇L(θ). Nocedal & Wright, section 3.1; the optimal step is that of ``notes/004``."""
    _descend(f, run, point, lambda g: -g, step)


def steepest(f: Counted, run: Run, point: Point, *, norm: str = "l1", step: float | str = "armijo") -> None:
    """The direction in which L falls fastest per unit of a norm.

    p = −g for "l2"; for "l1" the largest entry of −g alone, the others 0; for "linf" −‖g‖₁ sign g.
    Boyd & Vandenberghe, *Convex Optimization*, section 9.4.
    """
    _descend(f, run, point, _DIRECTIONS[check_choice(norm, "norm", _DIRECTIONS)], step)


def coordinate(
    f: Counted, run: Run, point: Point, *, order: str = "cyclic", step: float | str = "optimal", seed: int = 0
) -> None:
    """One coordinate at a time: in sweeps over all, in turn or shuffled, or the one of largest derivative.

    ``notes/004``; Wright 2015, *Coordinate descent algorithms*. A network's partial derivatives come from
    the same pass as its gradient, so that each iteration costs a gradient here. Where a coordinate is
    separable, as in the lasso, it costs a column: `engine/coordinate.py`.
    """
    check_choice(order, "order", ("cyclic", "greedy", "random"))
    rng = np.random.default_rng(check_integer(seed, "seed", low=0))
    visits = _sweeps(f.size, rng if order == "random" else None)

    def along(g: Vector) -> Vector:
        """−g along the coordinate whose turn it is."""
        if order == "greedy":
            return _only(g, int(np.abs(g).argmax()))
        return _only(g, next(k for k in visits if g[k] != 0))  # with 0 it is at its minimum already

    run.window = 3 * f.size  # some coordinates may be at their minima before others are
    _descend(f, run, point, along, step)


def _descend(
    f: Counted, run: Run, point: Point, direction: Callable[[Vector], Vector], step: float | str
) -> None:
    """θ ← θ + t p, with p from the gradient, and t as `step` says."""
    fixed = _check_step(step)
    growth = 2.0 if step == "armijo" else 1.0  # backtracking alone would only ever shorten it
    t: float | None = None
    while run.goes_on(point):
        p = direction(point.gradient)
        if fixed is not None:
            point = f.at(point.theta + fixed * p)
            continue
        first = _optimal(f, point, p) if step == "optimal" else None
        if first is None:
            first = 1 / max(1.0, float(np.linalg.norm(p))) if t is None else growth * t
        point, t = (strong_wolfe if step == "wolfe" else armijo)(f, point, p, first)


def _optimal(f: Counted, point: Point, p: Vector) -> float | None:
    """−gᵀp / pᵀHp, the minimum of the parabola along p; None where it has none.

    For p = −g that is gᵀg / gᵀHg of ``notes/004``. On a quadratic function it is exact; on others the
    line search takes it for its first trial.
    """
    bend = float(p @ f.hvp(point.theta, p))
    return -float(point.gradient @ p) / bend if bend > 0 else None


def _sweeps(size: int, rng: np.random.Generator | None) -> Iterator[int]:
    """All coordinates again and again, each sweep in a new random order if there is a generator."""
    last = -1
    while True:
        order = np.arange(size) if rng is None else rng.permutation(size)
        if order[0] == last:
            order = order[::-1]  # this one is at its minimum
        last = order[-1]
        yield from order


def _check_step(step: float | str) -> float | None:
    """The length of a fixed step; None if each is searched for."""
    if isinstance(step, str):
        check_choice(step, "step", STEPS)
        return None
    try:
        return check_number(step, "step", low=float(np.finfo(np.float64).tiny))
    except InvalidTypeError as error:
        raise InvalidTypeError(f"step: expected a number or one of {list(STEPS)}, got {step!r}") from error


def _only(g: Vector, k: int) -> Vector:
    """−g with all entries but the k-th set to 0."""
    p = np.zeros_like(g)
    p[k] = -g[k]
    return p


_DIRECTIONS: dict[str, Callable[[Vector], Vector]] = {
    "l1": lambda g: _only(g, int(np.abs(g).argmax())),
    "l2": lambda g: -g,
    "linf": lambda g: -np.abs(g).sum() * np.sign(g),
}
