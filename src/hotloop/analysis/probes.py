"""Averages over random vectors, with their standard errors: the trace of the Hessian."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_choice, check_integer
from hotloop.analysis.functions import Differentiable
from hotloop.analysis.operators import Curvature
from hotloop.errors import InvalidValueError

__all__ = ["Estimate", "estimate", "random_signs", "trace"]


@dataclass(frozen=True, repr=False)
class Estimate:
    """A number that was estimated from random samples.

    Attributes
    ----------
    value : float
        The mean over the samples.
    error : float
        Its standard error: the true value is further away than twice that one time in twenty, about.
        0 where nothing was random.

    Examples
    --------
    >>> import hotloop as hl
    >>> ball = hl.Function(lambda t: t @ t, 2, hvp=lambda t, v: 2 * v)
    >>> hl.trace(ball, [1.0, 2.0], n_probes=4, method="hutchinson")
    Estimate(4 ± 0)
    """

    value: float
    error: float

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:.4g}" + (f" ± {self.error:.1g}" if self.error else "")

    def __repr__(self) -> str:
        return f"Estimate({self.value:.4g} ± {self.error:.1g})"


def estimate(samples: NDArray[np.float64], offset: float = 0.0) -> Estimate:
    """The mean of `samples` (n,), n at least 2, and of `offset`, which is exact."""
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    return Estimate(offset + float(samples.mean()), float(error))


def random_signs(rng: np.random.Generator, n: int, size: int) -> NDArray[np.float64]:
    """(n, size) numbers −1 and 1: E zzᵀ = I, and zᵀHz varies less than for normal numbers."""
    return rng.choice([-1.0, 1.0], (n, size))


def trace(
    objective: Differentiable,
    theta: Any,
    *,
    n_probes: int = 60,
    method: str = "hutch++",
    seed: int = 0,
) -> Estimate:
    """The trace of the Hessian, the sum of its eigenvalues, from products with random vectors.

    Parameters
    ----------
    objective : Objective or Function
        With second derivatives.
    theta : array-like (size,)
        Where.
    n_probes : int, default 60
        Products of H and a vector; at least 2, for ``"hutch++"`` 6.
    method : {"hutch++", "hutchinson"}, default "hutch++"
        Hutchinson's mean of zᵀHz over vectors z of random signs; or Hutch++, which spends a third of
        the products on a subspace near the largest |λ|, another on the exact trace in it, and takes
        Hutchinson's mean of the rest alone. That is much more accurate where a few eigenvalues stand
        out, as in networks. It holds n_probes / 3 vectors in memory.
    seed : int, default 0
        Of the random vectors.

    Returns
    -------
    Estimate
        The trace and its standard error.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Notes
    -----
    Hutchinson, *A stochastic estimator of the trace of the influence matrix*, 1990; Meyer, Musco,
    Musco & Woodruff, *Hutch++: optimal stochastic trace estimation*, 2021, algorithm 1.

    Examples
    --------
    >>> import hotloop as hl
    >>> saddle = hl.Function(lambda t: t[0] ** 2 - t[1] ** 2, 2, hessian=lambda t: [[2, 0], [0, -2]])
    >>> abs(hl.trace(saddle, [0.0, 0.0]).value) < 1e-12
    True
    """
    curvature = Curvature(objective, theta)
    low = 6 if check_choice(method, "method", ("hutch++", "hutchinson")) == "hutch++" else 2
    if (n_probes := check_integer(n_probes, "n_probes", low=1)) < low:
        raise InvalidValueError(f"n_probes: {method} takes at least {low}, got {n_probes}")
    rng = np.random.default_rng(check_integer(seed, "seed", low=0))
    if method == "hutchinson":
        return estimate(_hutchinson(curvature, random_signs(rng, n_probes, curvature.size)))
    third = n_probes // 3
    sketch = curvature(random_signs(rng, min(third, curvature.size), curvature.size))
    Q = np.linalg.qr(sketch.T)[0].T  # rows: an orthonormal basis of H times random vectors
    inside = float(np.sum(Q * curvature(Q)))
    z = random_signs(rng, n_probes - 2 * third, curvature.size)
    return estimate(_hutchinson(curvature, z - (z @ Q.T) @ Q), inside)


def _hutchinson(curvature: Curvature, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """zᵀHz of each row of z (n, size)."""
    samples: NDArray[np.float64] = np.einsum("ij,ij->i", z, curvature(z))
    return samples
