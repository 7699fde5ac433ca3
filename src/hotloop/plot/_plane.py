"""A loss on a line or a plane, as a curve or as contours, and the paths that cross it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.analysis.directions import check_path
from hotloop.analysis.functions import Differentiable
from hotloop.analysis.landscape import Landscape, evaluate
from hotloop.errors import InvalidValueError
from hotloop.plot._style import COLORS, MARKERS, blend, check_named, halo, ink, matplotlib, paper, ramp

__all__ = [
    "check_paths",
    "check_values",
    "draw_ground",
    "draw_paths",
    "landscape_of",
    "levels_of",
    "points_on",
    "spans_decades",
    "surface_colors",
]

LEVELS = 22
LOG_FROM = 50.0
"""The highest value over the lowest from which on contours are spaced evenly in the logarithm."""
DEEPEST = 1e-4
"""Lower than this part of the highest value nothing is told apart."""


def landscape_of(objective: Differentiable, limits: list[tuple[float, float]], n: int) -> Landscape:
    """A function of one or two numbers as a landscape whose coordinates are these numbers."""
    center, directions = np.zeros(len(limits)), np.eye(len(limits))
    coordinates = tuple(np.linspace(low, high, n) for low, high in limits)
    values = evaluate(objective, center, directions, coordinates)
    return Landscape(center, directions, coordinates, values, ("θ₁", "θ₂") if len(limits) == 2 else ("θ",))


def check_paths(paths: Any, size: int) -> dict[str, NDArray[np.float64]]:
    """Paths (steps, size) by name; none if `paths` is None."""
    named = check_named({} if paths is None else paths, "paths", f"array (steps, {size})")
    return {name: check_path(path, f"paths[{name!r}]", size) for name, path in named.items()}


def check_values(ground: Landscape, name: str) -> None:
    """Raise if there is nothing to draw; `name` is the argument that `ground` comes from."""
    if not np.isfinite(ground.values).any():
        raise InvalidValueError(f"{name}: no value on the grid is finite; look at a smaller part")


def surface_colors(ax: Any) -> Any:
    """From the page where the loss is low to deep blue on a white page, light blue on a dark one."""
    background = paper(ax)
    return ramp(
        blend(COLORS[5], background, 0.10),
        blend(COLORS[5], background, 0.55),
        blend(blend(COLORS[0], ink(ax), 0.75), background, 0.85),
    )


def spans_decades(values: Any) -> bool:
    """Whether a logarithmic scale shows more of these values."""
    return bool(values.min() >= 0 and values.max() > LOG_FROM * values.min())


def levels_of(values: Any) -> tuple[NDArray[np.float64], Any]:
    """Heights of the contours, and the scale of their colours."""
    colors = matplotlib("colors", "hl.plot")
    low, high = float(values.min()), float(values.max())
    if spans_decades(values):
        # The corners of a grid are far up: what is above most of it gets one colour.
        bottom = max(low, DEEPEST * high)
        return np.geomspace(bottom, high, LEVELS), colors.LogNorm(bottom, high)
    if low == high:
        low, high = low - 0.5, high + 0.5
    steps = matplotlib("ticker", "hl.plot").MaxNLocator(LEVELS).tick_values(low, high)
    return steps, colors.Normalize(steps[0], steps[-1])


def draw_ground(ax: Any, ground: Landscape) -> None:
    """The curve of one direction, or the contours of two."""
    if len(ground.directions) == 2:
        draw_contours(ax, ground)
        return
    (x,), values = ground.coordinates, np.ma.masked_invalid(ground.values)
    ax.plot(x, values, color=COLORS[0], lw=2, zorder=1)
    if spans_decades(values) and values.min() > 0:
        ax.set_yscale("log")
    ax.set(xlabel=ground.names[0], ylabel="loss", xlim=(x[0], x[-1]))
    ax.grid(color=ink(ax), alpha=0.15, lw=0.6)


def points_on(ground: Landscape, path: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where each step of a path is drawn, (steps, 2): on the curve, or in the plane."""
    points = ground.project(path)
    if len(ground.directions) == 2:
        return points
    return np.column_stack([points, np.interp(points[:, 0], ground.coordinates[0], ground.values)])


def draw_contours(ax: Any, plane: Landscape) -> Any:
    """Fill `ax` with the contours of a plane, with a bar that tells the loss."""
    values = np.ma.masked_invalid(plane.values)
    levels, scale = levels_of(values)
    heights = values.clip(levels[0], levels[-1])
    x, y = plane.coordinates
    filled = ax.contourf(x, y, heights, levels=levels, norm=scale, cmap=surface_colors(ax), zorder=0)
    ax.contour(x, y, heights, levels=levels, colors=[ink(ax)], alpha=0.25, linewidths=0.5, zorder=1)
    bar = ax.figure.colorbar(filled, ax=ax, pad=0.02, shrink=0.95, aspect=30)
    bar.set_label("loss")
    bar.minorticks_off()
    bar.outline.set_visible(False)
    ticker = matplotlib("ticker", "hl.plot")
    if isinstance(scale, matplotlib("colors", "hl.plot").LogNorm):
        bar.locator, bar.formatter = ticker.LogLocator(), ticker.LogFormatterSciNotation()
    else:
        bar.locator = ticker.MaxNLocator(6)
    bar.update_ticks()
    ax.set(xlabel=plane.names[0], ylabel=plane.names[1], xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    return filled


def draw_paths(ax: Any, ground: Landscape, paths: dict[str, NDArray[np.float64]]) -> None:
    """Each path as a line with its steps, a ring where it begins and a mark where it ends."""
    for k, (name, path) in enumerate(paths.items()):
        points = points_on(ground, path)
        color, marker = COLORS[(k + 1) % len(COLORS)], MARKERS[k % len(MARKERS)]
        step = "." if len(points) <= 60 else ""
        line = ax.plot(*points.T, step + "-", color=color, lw=2.0, ms=6, zorder=3)[0]
        line.set_path_effects(halo(ax))
        ax.plot(*points[0], "o", mfc=paper(ax), mec=ink(ax), ms=6, zorder=4)
        ax.plot(*points[-1], marker, color=color, ms=8, mec=paper(ax), mew=1.2, zorder=5, label=name)
    if paths:
        ax.legend(loc="best", framealpha=0.85)
