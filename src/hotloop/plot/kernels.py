"""`weights`: what each unit of a layer looks for, as an image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_integer
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.layers import Dense
from hotloop.plot._style import COLORS, axes, blend, ink, paper, ramp
from hotloop.sequential import Sequential

__all__ = ["weights"]


def weights(
    model_or_kernel: Any,
    layer: int = 0,
    shape: tuple[int, int] = (28, 28),
    *,
    units: int = 64,
    ax: Any = None,
) -> Any:
    """Draw the columns of a kernel as images: each unit's weights, where the inputs are pixels.

    Blue is above 0, vermillion below; the scale is the same for all, and ends at the 99.5th percentile
    of all |w|, so that single weights do not pale the rest.

    Parameters
    ----------
    model_or_kernel : Sequential or array-like (fan_in, n)
        A network, or a kernel itself.
    layer : int, default 0
        Which of the network's `Dense` layers, counted from 0; must be 0 with a kernel.
    shape : tuple of two ints, default (28, 28)
        Rows and columns of an image; fan_in pixels.
    units : int, default 64
        Units to draw at most, from the first on.
    ax : Axes, optional
        Where to draw; a new figure if not given.

    Returns
    -------
    Axes
        With one image, ``ax.images[0]``: the units row by row, and NaN between them.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Examples
    --------
    >>> import hotloop as hl
    >>> model = hl.Sequential([hl.Dense(16, "relu"), hl.Dense(10)], input_dim=784)
    >>> ax = hl.plot.weights(model)
    """
    kernel = _kernel(model_or_kernel, check_integer(layer, "layer", low=0))
    if np.shape(shape) != (2,):
        raise InvalidTypeError(f"shape: expected (rows, columns) of an image, got {shape!r}")
    rows, columns = (check_integer(side, "shape", low=1) for side in shape)
    if rows * columns != kernel.shape[0]:
        raise InvalidValueError(
            f"shape: {rows} x {columns} are {rows * columns} pixels, but a unit has {kernel.shape[0]} weights"
        )
    shown = min(check_integer(units, "units", low=1), kernel.shape[1])
    tiles = _tiles(kernel[:, :shown], rows, columns)
    limit = float(np.quantile(np.abs(kernel[:, :shown]), 0.995)) or 1.0

    ax = axes(ax, "hl.plot.weights", (6.0, 0.4 + 5.2 * tiles.shape[0] / tiles.shape[1]))
    page, writing = paper(ax), ink(ax)
    colors = ramp(
        blend(COLORS[1], writing, 0.85), COLORS[1], page, COLORS[0], blend(COLORS[0], writing, 0.85)
    )
    image = ax.imshow(tiles, cmap=colors, vmin=-limit, vmax=limit, interpolation="nearest")
    ax.set_facecolor(blend(writing, page, 0.25))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    total = kernel.shape[1]
    ax.set_title(f"{shown} of {total} units" if shown < total else f"{total} units", fontsize="medium")
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02, shrink=0.8, aspect=30, extend="both")
    bar.set_label("weight")
    bar.outline.set_visible(False)
    return ax


def _kernel(given: Any, layer: int) -> NDArray[np.float64]:
    """The kernel of the network's layer, or the array itself, (fan_in, n)."""
    if not isinstance(given, Sequential):
        array = np.asarray(given)
        if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "biuf":
            raise InvalidTypeError(
                f"model_or_kernel: expected a hotloop.Sequential or an array (fan_in, n), got {given!r}"
            )
        if layer:
            raise InvalidValueError(f"layer: an array is one kernel, so there is no layer {layer}")
        return array.astype(np.float64)
    dense = sum(isinstance(one, Dense) for one in given.layers)
    if layer >= dense:
        raise InvalidValueError(f"layer: the network has {dense} Dense layers, counted from 0; got {layer}")
    return given.parameters()[f"dense_{layer}/kernel"].astype(np.float64)


def _tiles(kernel: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float64]:
    """All images side by side, about as high as wide, NaN between them."""
    n = kernel.shape[1]
    side = int(np.ceil(np.sqrt(n * rows / columns)))
    # A little wider, if no place stays empty then.
    across = next((width for width in range(side, 2 * side) if n % width == 0), side)
    down, gap = -(-n // across), max(1, min(rows, columns) // 14)
    page = np.full((down * (rows + gap) - gap, across * (columns + gap) - gap), np.nan)
    for unit, column in enumerate(kernel.T):
        top, left = unit // across * (rows + gap), unit % across * (columns + gap)
        page[top : top + rows, left : left + columns] = column.reshape(rows, columns)
    return page
