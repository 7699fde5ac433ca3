"""Derivatives, and checks of them against differences."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_integer, check_number, check_vector
from hotloop.analysis.functions import Differentiable, check_objective
from hotloop.errors import InvalidTypeError
from hotloop.objective import Objective

__all__ = ["GradientCheck", "check_gradient", "directional_derivative"]

EPS = float(np.finfo(np.float64).eps)
DOUBT = 10
"""How many times a difference may be as wrong as expected."""


@dataclass(frozen=True)
class GradientCheck:
    """Directional derivatives: exact, numerical, and how far they are apart.

    Attributes
    ----------
    exact, numerical : ndarray (n_directions,)
        gᵀu from the gradient, and (L(θ + hu) − L(θ − hu)) / 2h.
    relative_error : float
        The largest |exact − numerical|, relative to the larger of the two, to ‖g‖ / √size, the typical
        size of a directional derivative, and, close to a critical point, to what the difference leaves in
        doubt (see `check_gradient`).
    passed : bool
        Whether it is at most the tolerance.
    """

    exact: NDArray[np.float64]
    numerical: NDArray[np.float64]
    relative_error: float
    passed: bool

    def __bool__(self) -> bool:
        return self.passed


def check_gradient(
    objective: Objective,
    theta: Any = None,
    *,
    n_directions: int = 10,
    step: float = 1e-5,
    tolerance: float = 1e-7,
    seed: int = 0,
) -> GradientCheck:
    """Hold the gradient to central differences along random directions, in float64.

    Parameters
    ----------
    objective : Objective
        A float32 one is checked on its float64 copy.
    theta : array-like (size,), optional
        Where; the model's weights if not given.
    n_directions : int, default 10
        Random unit vectors u to try.
    step : float, default 1e-5
        h, in units of the largest |θᵢ| or of 1 if that is larger.
    tolerance : float, default 1e-7
        The relative error that passes. Across a kink of ReLU a difference is no derivative: try
        another θ or a smaller step there.
    seed : int, default 0
        Of the directions.

    Returns
    -------
    GradientCheck
        True in an ``if`` when the check passed.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Notes
    -----
    ``notes/001``, numerical gradients; Nocedal & Wright, *Numerical Optimization*, section 8.1.

    The difference itself is off by about ε|L|/h, the rounding of L, and by h²/6 times a third derivative,
    for which uᵀHu over the unit of h stands in. Ten times that sum passes, however small the gradient is.

    Examples
    --------
    >>> import hotloop as hl
    >>> model = hl.Sequential([hl.Dense(8, "tanh"), hl.Dense(3)], input_dim=4)
    >>> X, y = hl.data.synthetic_digits(20)
    >>> objective = hl.Objective(model, X[:, 300:304] / 255, y % 3, loss="softmax_cross_entropy")
    >>> bool(hl.check_gradient(objective))
    True
    """
    if not isinstance(objective, Objective):
        raise InvalidTypeError(f"objective: expected a hotloop.Objective, got {objective!r}")
    n_directions = check_integer(n_directions, "n_directions", low=1)
    step = check_number(step, "step", low=EPS)
    tolerance = check_number(tolerance, "tolerance", low=0.0)
    objective = objective.astype("float64")
    theta = objective.model.theta if theta is None else theta
    theta = check_vector(theta, "theta", objective.size, np.dtype(np.float64)).astype(np.float64)
    value, gradient = objective.value(theta), objective.gradient(theta)
    h = step * max(1.0, float(np.abs(theta).max()))
    rng = np.random.default_rng(check_integer(seed, "seed", low=0))
    exact, numerical, bend = np.empty((3, n_directions))
    for k in range(n_directions):
        u = rng.standard_normal(objective.size)
        u /= np.linalg.norm(u)
        ahead, behind = objective.value(theta + h * u), objective.value(theta - h * u)
        exact[k] = gradient @ u
        numerical[k] = (ahead - behind) / (2 * h)
        bend[k] = (ahead - value + behind - value) / h**2
    typical = float(np.linalg.norm(gradient)) / np.sqrt(objective.size)
    doubt = DOUBT * (EPS * abs(value) / h + step * h * np.abs(bend))
    scale = np.maximum(np.maximum(np.abs(exact), np.abs(numerical)), max(typical, np.finfo(np.float64).tiny))
    scale = np.maximum(scale, doubt / max(tolerance, EPS))
    error = float((np.abs(exact - numerical) / scale).max())
    return GradientCheck(exact, numerical, error, error <= tolerance)


def directional_derivative(objective: Differentiable, theta: Any, u: Any) -> float:
    """∇L(θ)ᵀu: how fast the loss changes from θ along u.

    Parameters
    ----------
    objective : Objective or Function
        With a gradient.
    theta : array-like (size,)
        Where.
    u : array-like (size,)
        The direction, taken as it is: give it the length 1 for the slope.

    Returns
    -------
    float
        Negative where u is a descent direction.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Notes
    -----
    ``notes/002``, directional derivatives and descent directions; of all unit vectors the gradient's own
    direction has the largest one, ‖∇L‖.

    Examples
    --------
    >>> import hotloop as hl
    >>> bowl = hl.Function(lambda t: t @ t, 2, gradient=lambda t: 2 * t)
    >>> hl.directional_derivative(bowl, [1.0, 2.0], [0.0, -1.0])
    -4.0
    """
    objective = check_objective(objective)
    direction = check_vector(u, "u", objective.size, objective.dtype)
    return float(objective.gradient(theta) @ direction.astype(objective.dtype))
