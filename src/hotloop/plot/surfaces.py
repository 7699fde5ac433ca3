"""`landscape` and `error_surface`: the loss as a line, as contours or as a surface."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_choice, check_flag, check_integer, check_number
from hotloop.analysis.functions import Differentiable
from hotloop.analysis.landscape import Landscape
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.plot._plane import (
    check_paths,
    check_values,
    draw_ground,
    draw_paths,
    landscape_of,
    levels_of,
    surface_colors,
)
from hotloop.plot._style import COLORS, axes, halo, ink, matplotlib, paper

__all__ = ["error_surface", "landscape"]

ARROWS = 15
"""Along each side of an error surface."""


def landscape(
    result: Landscape, paths: Mapping[str, Any] | None = None, *, kind: str = "auto", ax: Any = None
) -> Any:
    """Draw what `hl.landscape` found: a curve, contours or a surface, and the paths of optimizers.

    Parameters
    ----------
    result : Landscape
        From `hl.landscape`.
    paths : dict of str to array-like (steps, size), optional
        θ after each step, by the name of the optimizer; drawn where `result.project` puts them.
    kind : {"auto", "line", "contour", "surface"}, default "auto"
        "line" is for one direction, the others for two; "auto" is "line" or "contour".
    ax : Axes, optional
        Where to draw, for a surface with ``projection="3d"``; a new figure if not given.

    Returns
    -------
    Axes
        On a line and on a surface, paths lie at the height of the grid below them.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described, or the kind does not fit the directions.

    Examples
    --------
    >>> import hotloop as hl
    >>> bowl = hl.Function(lambda t: t @ t, 3)
    >>> found = hl.landscape(bowl, [1.0, 0.0, 0.0])
    >>> ax = hl.plot.landscape(found, paths={"straight": [[1, 0, 0], [0, 0, 0]]})
    """
    if not isinstance(result, Landscape):
        raise InvalidTypeError(f"result: expected what hl.landscape returns, got {result!r}")
    check_choice(kind, "kind", ("auto", "line", "contour", "surface"))
    is_line = len(result.directions) == 1
    if kind != "auto" and is_line != (kind == "line"):
        fitting = "'line'" if is_line else "'contour' or 'surface'"
        raise InvalidValueError(
            f"kind: this landscape has {len(result.directions)} directions, for {fitting}"
        )
    named = check_paths(paths, result.center.size)
    check_values(result, "result")
    purpose = "hl.plot.landscape"
    if kind == "surface":
        ax = axes(ax, purpose, (6.8, 5.4), projection="3d")
        _draw_surface(ax, result, named)
    else:
        ax = axes(ax, purpose)
        draw_ground(ax, result)
        draw_paths(ax, result, named)
    return ax


def error_surface(
    objective: Differentiable,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    *,
    arrows: bool = True,
    paths: Mapping[str, Any] | None = None,
    n: int = 101,
    ax: Any = None,
) -> Any:
    """Draw a function of two numbers as contours, with arrows along its negative gradient.

    Parameters
    ----------
    objective : Objective or Function
        With ``size == 2``.
    xlim, ylim : tuple of two floats
        From where to where θ₁ and θ₂ go.
    arrows : bool, default True
        Draw where −∇L points; all arrows have the same length. It needs a gradient.
    paths : dict of str to array-like (steps, 2), optional
        θ after each step, by the name of the optimizer.
    n : int, default 101
        Points of the grid along each side, at least 2.
    ax : Axes, optional
        Where to draw; a new figure if not given.

    Returns
    -------
    Axes

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described, or arrows are asked for and there is no gradient.

    Notes
    -----
    ``notes/000``, section 1.2, error surfaces.

    Examples
    --------
    >>> import hotloop as hl
    >>> saddle = hl.Function(lambda t: t[0] ** 2 - t[1] ** 2, 2, gradient="differences")
    >>> ax = hl.plot.error_surface(saddle, (-1, 1), (-1, 1))
    """
    if getattr(objective, "size", None) != 2 or not hasattr(objective, "value"):
        raise InvalidTypeError(
            f"objective: expected a function of two numbers, such as hl.Function(f, 2), got {objective!r}; "
            "hl.landscape makes a plane of larger ones"
        )
    limits = [check_limits(xlim, "xlim"), check_limits(ylim, "ylim")]
    plane = landscape_of(objective, limits, check_integer(n, "n", low=2))
    named = check_paths(paths, 2)
    check_values(plane, "objective")
    if check_flag(arrows, "arrows"):
        x, y = (np.linspace(axis[0], axis[-1], 2 * ARROWS + 1)[1::2] for axis in plane.coordinates)
        field = np.array([[objective.gradient([a, b]) for a in x] for b in y], np.float64)
        field /= np.maximum(np.linalg.norm(field, axis=2, keepdims=True), np.finfo(np.float64).tiny)
    ax = axes(ax, "hl.plot.error_surface")
    draw_ground(ax, plane)
    if arrows:
        # In units of the page: an arrow points where a step would go, whatever the aspect of the Axes.
        ax.quiver(
            x, y, -field[..., 0], -field[..., 1], angles="xy", pivot="mid", color=[ink(ax)],
            alpha=0.6, scale=ARROWS * 1.7, width=0.0032, zorder=2,
        )  # fmt: skip
    draw_paths(ax, plane, named)
    return ax


def check_limits(limits: Any, name: str) -> tuple[float, float]:
    """`limits` as (low, high), finite, with low < high."""
    if np.shape(limits) != (2,):
        raise InvalidValueError(f"{name}: expected two numbers (low, high), got {limits!r}")
    low, high = (check_number(end, name) for end in limits)
    if low >= high:
        raise InvalidValueError(f"{name}: the first number must be below the second, got {limits!r}")
    return low, high


def _draw_surface(ax: Any, plane: Landscape, paths: dict[str, NDArray[np.float64]]) -> None:
    values = np.ma.masked_invalid(plane.values)
    x, y = plane.coordinates
    norm = levels_of(values)[1]
    ax.plot_surface(
        *np.meshgrid(x, y), values.filled(np.nan), cmap=surface_colors(ax), norm=norm,
        rcount=80, ccount=80, lw=0.15, edgecolor=(*ink(ax), 0.35), alpha=0.92, zorder=1,
    )  # fmt: skip
    for k, (name, path) in enumerate(paths.items()):
        points = plane.project(path)
        color = COLORS[(k + 1) % len(COLORS)]
        height = height_at(plane, points)
        # Above the surface: Matplotlib sorts whole objects by depth, and would bury the line.
        drawn = ax.plot(*points.T, height, color=color, lw=2, zorder=10, label=name)[0]
        drawn.set_path_effects(halo(ax))
        ax.plot(*points[-1:].T, height[-1:], "o", color=color, ms=6, mec=paper(ax), zorder=11)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_pane_color((*ink(ax), 0.03))
        axis.set_major_locator(matplotlib("ticker", "hl.plot").MaxNLocator(5))
    ax.tick_params(labelsize="small", pad=1)
    ax.set(xlabel=plane.names[0], ylabel=plane.names[1], zlabel="loss")
    ax.set_box_aspect((1, 1, 0.8), zoom=0.84)
    # Seen over the lowest corner: no hill hides what lies behind it.
    corners = {-135: values[0, 0], -45: values[0, -1], 45: values[-1, -1], 135: values[-1, 0]}
    ax.view_init(elev=32, azim=min(corners, key=lambda azimuth: corners[azimuth]) + 12)
    if paths:
        ax.legend(loc="upper left")


def height_at(plane: Landscape, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values of the grid at points (m, 2), linear between its lines, and held at its edges."""
    cells, weights = [], []
    for axis, where in zip(plane.coordinates, points.T, strict=True):
        position = np.interp(where, axis, np.arange(len(axis)))
        cell = np.minimum(position.astype(int), len(axis) - 2)
        cells.append(cell)
        weights.append(position - cell)
    (j, i), (u, v), values = cells, weights, plane.values
    below = (1 - u) * values[i, j] + u * values[i, j + 1]
    above = (1 - u) * values[i + 1, j] + u * values[i + 1, j + 1]
    found: NDArray[np.float64] = (1 - v) * below + v * above
    return found
