"""`spectrum`: the eigenvalues of a Hessian, or their density."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_integer, check_vector
from hotloop.errors import InvalidValueError
from hotloop.plot._style import COLORS, axes, ink

__all__ = ["spectrum"]


def spectrum(values_or_density: Any, *, bins: int = 60, ax: Any = None) -> Any:
    """Draw eigenvalues as a histogram above a rug, or a density of them as a curve.

    What is below 0, where the loss bends down, is vermillion; the rest is blue. Counts and densities
    are on a logarithmic scale: of a network's eigenvalues nearly all are close to 0.

    Parameters
    ----------
    values_or_density : array-like (n,), or an object with `grid` and `density`
        Eigenvalues in any order; or a density (m,) at the points (m,) of a grid.
    bins : int, default 60
        Bars of the histogram over all eigenvalues; one edge is at 0. Without effect on a density.
    ax : Axes, optional
        Where to draw; a new figure if not given.

    Returns
    -------
    Axes

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Examples
    --------
    >>> import hotloop as hl
    >>> ax = hl.plot.spectrum([-0.1, 0.0, 0.01, 0.02, 3.0])
    """
    bins = check_integer(bins, "bins", low=1)
    if hasattr(values_or_density, "density") and hasattr(values_or_density, "grid"):
        grid = _vector(values_or_density.grid, "grid")
        density = _vector(values_or_density.density, "density")
        if len(grid) != len(density) or density.max() <= 0:
            raise InvalidValueError(
                f"density: expected numbers above 0, one for each of the {len(grid)} points of the grid"
            )
        ax = axes(ax, "hl.plot.spectrum")
        _draw_density(ax, grid, density)
    else:
        values = _vector(values_or_density, "values_or_density")
        ax = axes(ax, "hl.plot.spectrum")
        _draw_values(ax, values, bins)
    ax.axvline(0, color=ink(ax), lw=0.8, alpha=0.5, zorder=1)
    ax.set_xlabel("eigenvalue λ of the Hessian")
    ax.grid(axis="y", color=ink(ax), alpha=0.15, lw=0.6)
    ax.set_axisbelow(True)
    return ax


def _draw_values(ax: Any, values: NDArray[np.float64], bins: int) -> None:
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    width = (high - low) / bins if high > low else 1.0
    # From 0 outwards, so that no bar holds eigenvalues of both signs.
    edges = width * np.arange(np.floor(low / width), np.floor(high / width) + 2)
    counts = np.histogram(values, edges)[0]
    colors = [COLORS[1] if right <= 0 else COLORS[0] for right in edges[1:]]
    ax.bar(edges[:-1], counts, width, align="edge", color=colors)
    ax.set_yscale("symlog", linthresh=1)
    for sign, color in ((values < 0, COLORS[1]), (values >= 0, COLORS[0])):
        # A rug of small lines below the axis, one an eigenvalue.
        ax.plot(
            values[sign], np.full(sign.sum(), -0.02), "|", color=color, ms=7, mew=0.8,
            transform=ax.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
    ax.set_ylim(0, 1.5 * counts.max())
    ax.tick_params(axis="x", pad=8)
    below = np.count_nonzero(values < 0)
    ax.set_ylabel("eigenvalues (count)")
    ax.set_title(f"{below:,} of {len(values):,} below 0", loc="left", fontsize="medium")


def _draw_density(ax: Any, grid: NDArray[np.float64], density: NDArray[np.float64]) -> None:
    for sign, color in ((grid <= 0, COLORS[1]), (grid >= 0, COLORS[0])):
        ax.fill_between(grid, density, where=sign, color=color, alpha=0.3, lw=0)
        ax.plot(grid[sign], density[sign], color=color, lw=1.8)
    ax.set_yscale("log")
    top = float(density.max())
    ax.set(ylim=(1e-6 * top, 3 * top), xlim=(grid.min(), grid.max()), ylabel="density")


def _vector(values: Any, name: str) -> NDArray[np.float64]:
    """`values` as a flat array of at least one finite number."""
    if np.ndim(values) != 1 or np.size(values) == 0:
        raise InvalidValueError(f"{name}: expected a flat array of numbers, got shape {np.shape(values)}")
    return check_vector(values, name, np.size(values), np.dtype(np.float64)).astype(np.float64)
