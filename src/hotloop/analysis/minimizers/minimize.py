"""`minimize`: find a θ with a small L(θ), by any of the methods of this folder."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_choice, check_flag, check_integer, check_number, check_vector
from hotloop.analysis.functions import Differentiable, check_objective
from hotloop.analysis.minimizers.conjugate_gradient import conjugate_gradient
from hotloop.analysis.minimizers.counted import NO_GRADIENT, Counted, Point, Stop
from hotloop.analysis.minimizers.damped import damped_newton, levenberg_marquardt
from hotloop.analysis.minimizers.descent import coordinate, gradient_descent, steepest
from hotloop.analysis.minimizers.from_scipy import bfgs, lbfgs, trust_krylov, trust_ncg
from hotloop.analysis.minimizers.hessian_free import hessian_free
from hotloop.analysis.minimizers.newton import newton
from hotloop.analysis.minimizers.random_search import random_search
from hotloop.analysis.minimizers.result import MinimizeResult
from hotloop.analysis.minimizers.run import Limits, Run, State
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.interrupt import InterruptFlag
from hotloop.objective import Objective

__all__ = ["METHODS", "minimize"]

METHODS: dict[str, Callable[..., None]] = {
    "bfgs": bfgs,
    "conjugate_gradient": conjugate_gradient,
    "coordinate": coordinate,
    "damped_newton": damped_newton,
    "gradient_descent": gradient_descent,
    "hessian_free": hessian_free,
    "l-bfgs": lbfgs,
    "levenberg_marquardt": levenberg_marquardt,
    "newton": newton,
    "random_search": random_search,
    "steepest": steepest,
    "trust-krylov": trust_krylov,
    "trust-ncg": trust_ncg,
}
"""Method → its loop, whose keyword arguments are its options. To add one: a loop, its row here, in
`minimize`'s docstring, in docs/minimizers.md and in tests/test_minimize.py."""


def minimize(
    objective: Differentiable,
    theta: Any = None,
    *,
    method: str = "l-bfgs",
    max_iter: int = 10_000,
    gtol: float | None = None,
    ftol: float | None = None,
    max_seconds: float | None = None,
    callback: Callable[[State], Any] | None = None,
    progress: bool = False,
    path: bool = False,
    **options: Any,
) -> MinimizeResult:
    """Minimize L(θ) over all data at once, by a method of the first or second order.

    Parameters
    ----------
    objective : Objective or Function
        L. The weights of its model are never changed; ``model.theta[:] = result.theta`` puts the
        result in.
    theta : array-like (size,), optional
        Where to start; the model's weights if not given.
    method : str, default "l-bfgs"
        See the notes.
    max_iter : int, default 10,000
        Iterations at most.
    gtol : float, optional
        Stop where ‖∇L‖₂ is at most this; by default √ε of the dtype, 1.5e-8 in float64 and 3.5e-4 in
        float32.
    ftol : float, optional
        Stop where L changed by at most this share of itself in three iterations ("coordinate" looks at
        3 size, "random_search" at 100 (size + 1)), and was not stepped over: no step's length times ‖∇L‖
        was more than 2√ftol of it. By default ε, 2.2e-16 in float64.
    max_seconds : float, optional
        Stop after this time, counted from the first evaluation, within an iteration if need be.
    callback : callable, optional
        Called after each iteration with a state that has `n_iter`, `theta`, `value`, `gradient_norm` and
        `seconds`; True stops.
    progress : bool, default False
        Show a progress bar on stderr.
    path : bool, default False
        Keep θ after each iteration, (n_iter + 1) size numbers.
    **options
        Of the method.

    Returns
    -------
    MinimizeResult
        Also when no minimum was found: look at `converged` and `message`.

    Warns
    -----
    UserWarning
        On Ctrl-C, which ends with the last iterate. (A second Ctrl-C raises KeyboardInterrupt.)

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument or an option is not as described, or the objective lacks a derivative that the
        method needs.
    MissingExtraError
        If the method is SciPy's, and SciPy is not installed.

    Notes
    -----
    Methods and their options; their loops are in `analysis/minimizers`, docs/minimizers.md compares them:

    - "gradient_descent": `step` is "armijo" (backtracking), "wolfe", "optimal" (gᵀg / gᵀHg, exact where L is
      quadratic) or a fixed number.
    - "steepest": descent in the `norm` "l1", "l2" or "linf"; `step` likewise.
    - "coordinate": in the `order` "cyclic", "greedy" or "random" (`seed`); `step` likewise, "optimal".
    - "random_search": values only; steps of the first `scale` 1.0, `seed`.
    - "newton": to any critical point; the message says which kind it is.
    - "damped_newton": H + λI, the first λ is `damping` 1e-3 times the largest |eigenvalue|.
    - "levenberg_marquardt": the same with the Gauss–Newton matrix; best where the loss can become small.
    - "conjugate_gradient": `beta` "pr+", "fr" or "hs"; `step` "wolfe" or "optimal".
    - "hessian_free": products with the `curvature` "hessian" or "gauss_newton"; a diagonal `preconditioner`
      "none", "hutchinson" (of `n_probes` 10, `seed`) or "gradient"; inner steps up to `max_cg` (2 size).
    - "bfgs", "l-bfgs" (`memory` 10), "trust-ncg", "trust-krylov" (first `radius` 1.0): SciPy's.

    Nocedal & Wright, *Numerical Optimization*; ``notes/001`` and ``notes/004``.

    Examples
    --------
    >>> import hotloop as hl
    >>> valley = hl.Function(
    ...     lambda t: 100 * (t[1] - t[0] ** 2) ** 2 + (1 - t[0]) ** 2, 2,
    ...     gradient="differences", hessian="differences",
    ... )
    >>> result = hl.minimize(valley, [-1.2, 1.0], method="damped_newton", gtol=1e-6)
    >>> result.converged, result.theta.round(4)
    (True, array([1., 1.]))
    """
    objective = check_objective(objective)
    loop = METHODS[check_choice(method, "method", METHODS)]
    _check_options(method, loop, options)
    start = _check_start(objective, theta)
    limits = _check_limits(objective, method, max_iter, gtol, ftol, max_seconds, callback)
    progress, path = check_flag(progress, "progress"), check_flag(path, "path")
    with InterruptFlag() as interrupt, np.errstate(all="ignore"):  # trial steps may overflow
        run = Run(limits, interrupt, progress=progress, path=path)
        f = Counted(objective, run.check)
        try:
            loop(f, run, _first_point(f, method, start), **options)
        except Stop as stop:
            if not run.stopped_by:  # or what came after the end, such as Newton's remark, was not to be had
                run.stop(stop.reason, str(stop))
        finally:
            run.close()
    if run.stopped_by == "interrupt":
        warnings.warn(f"minimization was interrupted; {run.n_iter} iterations are complete", stacklevel=2)
    return _result(f, run)


def _check_options(method: str, loop: Callable[..., None], options: dict[str, Any]) -> None:
    parameters = inspect.signature(loop).parameters.values()
    known = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise InvalidTypeError(
                f"{name}: method={method!r} has no such option; "
                f"it has {', '.join(known) if known else 'none of its own'}"
            )


def _check_start(objective: Differentiable, theta: Any) -> NDArray[np.float64]:
    if theta is None:
        if not isinstance(objective, Objective):
            raise InvalidValueError(f"theta: give a start, {objective.size} numbers; this function has none")
        theta = objective.model.theta
    found = check_vector(theta, "theta", objective.size, objective.dtype)
    return found.astype(objective.dtype).astype(np.float64)


def _check_limits(
    objective: Differentiable,
    method: str,
    max_iter: Any,
    gtol: Any,
    ftol: Any,
    max_seconds: Any,
    callback: Any,
) -> Limits:
    eps = float(np.finfo(objective.dtype).eps)
    if gtol is not None and method == "random_search":
        raise InvalidValueError(f"gtol: method='random_search' takes no gradients, got {gtol!r}; use ftol")
    if not (callback is None or callable(callback)):
        raise InvalidTypeError(f"callback: expected a function of the state, got {callback!r}")
    return Limits(
        max_iter=check_integer(max_iter, "max_iter", low=0),
        gtol=float(np.sqrt(eps)) if gtol is None else check_number(gtol, "gtol", low=0.0),
        ftol=eps if ftol is None else check_number(ftol, "ftol", low=0.0),
        max_seconds=None if max_seconds is None else check_number(max_seconds, "max_seconds", low=1e-9),
        callback=callback,
    )


def _first_point(f: Counted, method: str, theta: NDArray[np.float64]) -> Point:
    needs_gradients = method != "random_search"
    point = f.at(theta) if needs_gradients else Point(theta, f.value(theta), NO_GRADIENT)
    if not point.is_finite:
        raise InvalidValueError(
            f"theta: value ({point.value:g}) or gradient there is not finite; start elsewhere"
        )
    return point


def _result(f: Counted, run: Run) -> MinimizeResult:
    assert run.point is not None, "every loop begins with run.goes_on(start)"
    dtype = f.objective.dtype
    return MinimizeResult(
        theta=run.point.theta.astype(dtype),
        value=run.values[-1],
        gradient_norm=run.gradient_norms[-1],
        n_iter=run.n_iter,
        n_values=f.n_values,
        n_gradients=f.n_gradients,
        n_hvps=f.n_hvps,
        n_hessians=f.n_hessians,
        values=np.array(run.values),
        gradient_norms=np.array(run.gradient_norms),
        path=None if run.path is None else np.array(run.path).astype(dtype),
        stopped_by=run.stopped_by,
        converged=run.converged,
        message=run.message + (f"; {run.remark}" if run.remark else ""),
    )
