"""`network`: a network as columns of circles, and the weights between them as lines."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import InvalidTypeError
from hotloop.layers import Dense, Dropout
from hotloop.plot._style import COLORS, axes, blend, ink, matplotlib, paper
from hotloop.sequential import Sequential, layer_names

__all__ = ["network"]

MOST = 10
"""Units up to which a column shows all of them."""
ENDS = (5, 2)
"""Units that a wider column shows above and below its dots."""
WIDE, RADIUS = 3.2, 0.34
"""Distance between columns, and of a circle, in units of the distance between two circles."""
INCH, LINE = 0.5, 0.17
"""A unit, and a line of text, in inches of a new figure."""


class Column(NamedTuple):
    """A column of circles: which units, at which height, and the text below."""

    units: int
    shown: NDArray[np.int64]  # indices of the units
    heights: NDArray[np.float64]
    text: list[str]


def network(model: Sequential, *, ax: Any = None) -> Any:
    """Draw the diagram of a network: units as circles, layer and activation below, weights between.

    A line is blue for a weight above 0 and vermillion below, wider the larger it is beside the others of
    its layer. Columns of more than ten units show some of them, and dots.

    Parameters
    ----------
    model : Sequential
        Its weights as they are now.
    ax : Axes, optional
        Where to draw; a new figure if not given.

    Returns
    -------
    Axes

    Raises
    ------
    InvalidTypeError
        If an argument is not as described.

    Examples
    --------
    >>> import hotloop as hl
    >>> model = hl.Sequential([hl.Dense(6, "tanh"), hl.Dense(3)], input_dim=4)
    >>> ax = hl.plot.network(model)
    """
    if not isinstance(model, Sequential):
        raise InvalidTypeError(f"model: expected a hotloop.Sequential, got {model!r}")
    columns = _columns(model)
    right, top = WIDE * (len(columns) - 1) + 1.0, max(column.heights[0] for column in columns) + 0.6
    lines = max(len(column.text) for column in columns)
    ax = axes(ax, "hl.plot.network", (INCH * (right + 1.0), INCH * 2 * top + LINE * (lines + 1)))
    kernels = [values for name, values in model.parameters().items() if name.endswith("/kernel")]
    for k, kernel in enumerate(kernels):
        _draw_weights(ax, k, columns[k], columns[k + 1], kernel.astype(np.float64))
    for k, column in enumerate(columns):
        _draw_column(ax, k, column, color=_role(k, len(columns)))
    for k, column in enumerate(columns):
        ax.annotate(
            "\n".join(column.text), (WIDE * k, -top), (0, -4), textcoords="offset points",
            ha="center", va="top", fontsize="small", color=ink(ax), annotation_clip=False,
        )  # fmt: skip
    ax.set(xlim=(-1.0, right), ylim=(-top, top), aspect="equal")
    ax.set_axis_off()
    return ax


def _columns(model: Sequential) -> list[Column]:
    """The inputs and each `Dense` layer; other layers are words below the column that they work on."""
    columns = [_column(model.input_dim, ["input"])]
    for layer, name in zip(model.layers, layer_names(model.layers), strict=True):
        if isinstance(layer, Dense):
            columns.append(_column(layer.units, [name]))
            if layer.activation != "identity":
                columns[-1].text.append(layer.activation)
        elif isinstance(layer, Dropout):
            columns[-1].text.append(f"dropout {layer.rate:g}")
        else:
            columns[-1].text.append(str(getattr(layer, "name", type(layer).__name__)))
    return columns


def _column(units: int, text: list[str]) -> Column:
    if units <= MOST:
        shown = np.arange(units)
        heights = -np.arange(units, dtype=np.float64)
    else:
        above, below = ENDS
        shown = np.concatenate([np.arange(above), np.arange(units - below, units)])
        heights = -np.concatenate([np.arange(above), above + 1 + np.arange(below)]).astype(np.float64)
    text = [*text, f"{units:,} unit" + "s" * (units != 1)]
    return Column(units, shown, heights - (heights[0] + heights[-1]) / 2, text)


def _draw_weights(ax: Any, k: int, left: Column, right: Column, kernel: NDArray[np.float64]) -> None:
    """Lines from column k to the next, small weights first, so that large ones lie on top."""
    shown = kernel[np.ix_(left.shown, right.shown)]
    strength = np.abs(shown) / (np.abs(shown).max() or 1.0)
    page, segments, colors, widths = paper(ax), [], [], []
    for flat in np.argsort(strength, axis=None):
        i, j = divmod(int(flat), shown.shape[1])
        segments.append([(WIDE * k, left.heights[i]), (WIDE * (k + 1), right.heights[j])])
        colors.append(blend(COLORS[0] if shown[i, j] >= 0 else COLORS[1], page, 0.12 + 0.83 * strength[i, j]))
        widths.append(0.3 + 1.9 * strength[i, j])
    lines = matplotlib("collections", "hl.plot.network").LineCollection
    ax.add_collection(lines(segments, colors=colors, linewidths=widths, zorder=1))


def _draw_column(ax: Any, k: int, column: Column, color: Any) -> None:
    circles = matplotlib("patches", "hl.plot.network").Circle
    for height in column.heights:
        face = blend(color, paper(ax), 0.35)
        ax.add_patch(circles((WIDE * k, height), RADIUS, facecolor=face, edgecolor=ink(ax), lw=1.1, zorder=2))
    if column.units > MOST:
        gap = (column.heights[ENDS[0] - 1] + column.heights[ENDS[0]]) / 2
        for dot in (-0.3, 0.0, 0.3):
            ax.add_patch(circles((WIDE * k, gap + dot), 0.07, color=ink(ax), lw=0, zorder=2))


def _role(k: int, columns: int) -> str:
    """A colour for the inputs, one for the outputs, one for what is between."""
    return COLORS[5] if k == 0 else COLORS[4] if k == columns - 1 else COLORS[2]
