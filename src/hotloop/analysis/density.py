"""How the eigenvalues of the Hessian are distributed, by stochastic Lanczos quadrature."""

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_integer, check_number
from hotloop.analysis.functions import Differentiable
from hotloop.analysis.lanczos import lanczos, ritz
from hotloop.analysis.operators import Curvature
from hotloop.analysis.probes import Estimate, estimate, random_signs
from hotloop.errors import InvalidTypeError, InvalidValueError

__all__ = ["SpectralDensity", "check_quadrature", "quadrature", "spectral_density"]


@dataclass(frozen=True, repr=False, eq=False)
class SpectralDensity:
    """The density of the eigenvalues of a Hessian, estimated: `density` over `grid` is what to draw.

    Attributes
    ----------
    grid : ndarray (n_grid,)
        Where the density is given: the range of the nodes and four widths on either side.
    density : ndarray (n_grid,)
        Share of the eigenvalues per unit of λ, with integral 1: the nodes, each drawn as a normal
        density of deviation `width`.
    width : float
        That deviation.
    nodes, weights : ndarray (n_probes, n_steps)
        What each random vector found: the weight at each node is the share of the eigenvalues near
        it; a row of weights sums to 1. Where Lanczos' method ended early, the rest has weight 0.

    Examples
    --------
    >>> import hotloop as hl
    >>> saddle = hl.Function(lambda t: t[0] ** 2 - t[1] ** 2, 2, hessian=lambda t: [[2, 0], [0, -2]])
    >>> hl.spectral_density(saddle, [0.0, 0.0], n_probes=2)
    SpectralDensity(2 probes, λ from -2 to 2)
    """

    grid: NDArray[np.float64]
    density: NDArray[np.float64]
    width: float
    nodes: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __repr__(self) -> str:
        low, high = self.nodes.min(), self.nodes.max()
        return f"SpectralDensity({len(self.nodes)} probes, λ from {low:.4g} to {high:.4g})"

    def fraction(self, low: float = -np.inf, high: float = np.inf) -> Estimate:
        """The share of the eigenvalues with low < λ ≤ high.

        Parameters
        ----------
        low, high : float, default −∞ and ∞
            Bounds.

        Returns
        -------
        Estimate
            Mean and standard error over the probes. The error knows nothing of the quadrature: where a
            node with much weight lies close to a bound, the share may be wrong by up to that weight.
            More steps make such weights smaller. Networks have many eigenvalues near 0, which a bound
            of 0 would part by rounding: take one beside it.

        Raises
        ------
        InvalidValueError, InvalidTypeError
            If a bound is no number, or `low` is not below `high`.
        """
        for bound, name in ((low, "low"), (high, "high")):
            if isinstance(bound, bool) or not isinstance(bound, numbers.Real):
                raise InvalidTypeError(f"{name}: expected a number, got {bound!r}")
        if not low < high:
            raise InvalidValueError(f"low: must be below high, got low={low!r} and high={high!r}")
        return estimate(np.sum(self.weights * ((low < self.nodes) & (self.nodes <= high)), axis=1))


def spectral_density(
    objective: Differentiable,
    theta: Any,
    *,
    n_probes: int = 10,
    n_steps: int = 80,
    width: float | None = None,
    n_grid: int = 512,
    seed: int = 0,
) -> SpectralDensity:
    """The density of the Hessian's eigenvalues, without the Hessian: n_probes · n_steps products.

    Parameters
    ----------
    objective : Objective or Function
        With second derivatives.
    theta : array-like (size,)
        Where.
    n_probes : int, default 10
        Random vectors, at least 2; for large θ few are enough.
    n_steps : int, default 80
        Steps of Lanczos' method from each: the resolution. A probe holds n_steps size numbers in
        memory, in float64.
    width : float, optional
        Deviation of the normal density that each node is drawn as; a hundredth of the range of the
        nodes if not given.
    n_grid : int, default 512
        Points to draw, at least 2.
    seed : int, default 0
        Of the random vectors.

    Returns
    -------
    SpectralDensity
        The density, what it is drawn from, and `SpectralDensity.fraction`.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Notes
    -----
    Ubaru, Chen & Saad, *Fast estimation of tr(f(A)) via stochastic Lanczos quadrature*, 2017; Ghorbani,
    Krishnan & Xiao, *An investigation into neural net optimization via Hessian eigenvalue density*,
    2019, algorithm 2. Full reorthogonalisation, where the second paper has it too.

    Examples
    --------
    >>> import hotloop as hl
    >>> saddle = hl.Function(lambda t: t[0] ** 2 - t[1] ** 2, 2, hessian=lambda t: [[2, 0], [0, -2]])
    >>> hl.spectral_density(saddle, [0.0, 0.0]).fraction(low=0)
    Estimate(0.5 ± 0)
    """
    curvature = Curvature(objective, theta)
    width = None if width is None else check_number(width, "width", low=float(np.finfo(np.float64).tiny))
    n_grid = check_integer(n_grid, "n_grid", low=2)
    nodes, weights = quadrature(curvature, n_probes, n_steps, seed)
    if width is None:
        # Where all eigenvalues are the same there is no range: their size, or 1, has to do.
        width = float(np.ptp(nodes) or np.abs(nodes).max() or 1.0) / 100
    grid = np.linspace(nodes.min() - 4 * width, nodes.max() + 4 * width, n_grid)
    bells = np.exp(-(((grid[:, None] - nodes.ravel()) / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
    return SpectralDensity(grid, bells @ weights.ravel() / len(nodes), width, nodes, weights)


def check_quadrature(n_probes: int, n_steps: int, seed: int) -> tuple[int, int, int]:
    """What `quadrature` takes beside the curvature."""
    n_probes = check_integer(n_probes, "n_probes", low=2)
    return n_probes, check_integer(n_steps, "n_steps", low=1), check_integer(seed, "seed", low=0)


def quadrature(
    curvature: Curvature, n_probes: int, n_steps: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights (n_probes, up to n_steps) from vectors of random signs."""
    n_probes, n_steps, seed = check_quadrature(n_probes, n_steps, seed)
    rng = np.random.default_rng(seed)
    nodes = np.zeros((n_probes, min(n_steps, curvature.size)))
    weights = np.zeros_like(nodes)
    for probe in range(n_probes):  # one by one: the vectors of all would take n_probes times the memory
        found, shares = ritz(lanczos(curvature, random_signs(rng, 1, curvature.size)[0], n_steps))
        nodes[probe], weights[probe, : len(found)] = found[-1], shares
        nodes[probe, : len(found)] = found
    return nodes, weights
