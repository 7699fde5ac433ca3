"""Random search: no derivatives at all."""

import numpy as np

from hotloop._checks import check_integer, check_number
from hotloop.analysis.minimizers.counted import NO_GRADIENT, Counted, Point
from hotloop.analysis.minimizers.run import Run

__all__ = ["random_search"]


def random_search(f: Counted, run: Run, point: Point, *, scale: float = 1.0, seed: int = 0) -> None:
    """θ′ = θ + σ ε with ε ~ N(0, I), kept if L(θ′) < L(θ); an iteration is one trial.

    ``notes/001``, random search. Above one success in five σ grows, below it shrinks (Rechenberg 1973),
    by the exponential rule of the (1+1)-evolution strategy (Kern et al. 2004, section 3).
    """
    scale = check_number(scale, "scale", low=float(np.finfo(np.float64).tiny))
    rng = np.random.default_rng(check_integer(seed, "seed", low=0))
    run.window = 100 * (f.size + 1)  # most trials fail
    while run.goes_on(point):
        theta = point.theta + scale * rng.standard_normal(f.size)
        value = f.value(theta)
        success = value < point.value
        if success:
            point = Point(theta, value, NO_GRADIENT)
        scale *= float(np.exp((success - 0.2) / np.sqrt(f.size + 1)))
        if scale <= f.eps * max(1.0, float(np.abs(point.theta).max())):
            run.stop("step", f"the steps of scale {scale:.2g} no longer change θ")
            break
