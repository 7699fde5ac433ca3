"""SciPy's minimizers on our gradient and products: quasi-Newton and trust regions."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop import extras
from hotloop._checks import check_integer, check_number
from hotloop.analysis.minimizers.counted import Counted, Point, Stop
from hotloop.analysis.minimizers.run import Run

__all__ = ["bfgs", "lbfgs", "trust_krylov", "trust_ncg"]

Vector = NDArray[np.float64]
NEVER = 2**31 - 1
"""SciPy's own limits are out of reach: `Run` stops all methods by the same rules."""
ENOUGH = 10
"""Products of a step, in units of `size`, and 100 more: a sound inner loop ends after some 2 size."""


def bfgs(f: Counted, run: Run, point: Point) -> None:
    """A dense estimate of H⁻¹ (size, size) from gradients. Nocedal & Wright, section 6.1."""
    _scipy(f, run, point, "BFGS", {"gtol": 0.0})


def lbfgs(f: Counted, run: Run, point: Point, *, memory: int = 10) -> None:
    """The same from the last `memory` steps alone. Nocedal & Wright, section 7.2."""
    memory = check_integer(memory, "memory", low=1)
    _scipy(f, run, point, "L-BFGS-B", {"gtol": 0.0, "ftol": 0.0, "maxfun": NEVER, "maxcor": memory})


def trust_ncg(f: Counted, run: Run, point: Point, *, radius: float = 1.0) -> None:
    """Newton's step within a ball, by conjugate gradients. Nocedal & Wright, algorithm 7.2."""
    _scipy(f, run, point, "trust-ncg", _trust(radius), products=True)


def trust_krylov(f: Counted, run: Run, point: Point, *, radius: float = 1.0) -> None:
    """The same, nearly exact, in a Krylov space. Gould, Lucidi, Roma & Toint 1999."""
    _scipy(f, run, point, "trust-krylov", _trust(radius), products=True)


def _trust(radius: float) -> dict[str, Any]:
    limits = np.finfo(np.float64)  # SciPy squares 1000 times it
    radius = check_number(radius, "radius", low=float(limits.eps), below=float(1e-3 * np.sqrt(limits.max)))
    return {"gtol": 0.0, "initial_trust_radius": radius, "max_trust_radius": 1000 * radius}


def _scipy(
    f: Counted, run: Run, point: Point, name: str, options: dict[str, Any], *, products: bool = False
) -> None:
    """Run SciPy's method `name`, with Hv if it takes `products`; new points reach `run` by its callback."""
    optimize = extras.require("scipy.optimize", "analysis", f"hl.minimize by SciPy's {name}")
    current = last = point  # where SciPy asks again
    left = most = ENOUGH * f.size + 100

    def at(theta: Vector) -> Point:
        """The point of θ, evaluated once."""
        nonlocal last
        for known in (last, current):
            if np.array_equal(known.theta, theta):
                return known
        last = f.at(theta.copy())
        return last

    def fun(theta: Vector) -> tuple[float, Vector]:
        """What SciPy minimizes."""
        _, value, gradient = at(theta)
        return value, gradient

    def hessp(theta: Vector, v: Vector) -> Vector:
        """Hv, as often as makes sense: SciPy's trlib may get lost in numbers that it never wrote."""
        nonlocal left
        if not left:
            raise Stop("line search", f"SciPy's {name} found no step with {most} products")
        left -= 1
        return f.hvp(theta, v)

    def callback(intermediate_result: Any) -> None:
        """Hand a new iterate to `run`, and stop SciPy if that is to stop."""
        nonlocal current, left
        left = most
        if np.array_equal(intermediate_result.x, current.theta):
            return  # a step that its trust region refused
        current = at(intermediate_result.x)
        if not run.goes_on(current):
            raise Stop(run.stopped_by, run.message)

    if not run.goes_on(point):
        return
    with warnings.catch_warnings():
        # A line search that fails is reported as the reason to stop.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"scipy\.optimize")
        found = optimize.minimize(
            fun, point.theta, jac=True, hessp=hessp if products else None, method=name, callback=callback,
            options={"maxiter": NEVER, **options},
        )  # fmt: skip
    run.stop("line search", f"SciPy's {name} ended: {found.message}")
