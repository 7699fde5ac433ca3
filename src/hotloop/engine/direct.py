"""The first layer of a training step, which reads its inputs where they lie in the data.

The rows of a minibatch are all over the data, and to copy them together first (`engine.gather`) is to wait
for the memory. Here products read the rows themselves: while a tile is computed, those of the next are on
their way (`direct_tile`); and for the gradient parts of them are copied anyway, into the order of its tiles.
(With 784 inputs and 128 units minibatches of 128 rows take 0.95 of the time, with 32 units 0.9.)

The sums have the order of `multiply`: they are the same to the last bit. What is mostly zeros is copied
still, since `engine.sparse` skips them.

Two kernels, one for forward and one for the gradient, compiled where a fit has such a layer and such data,
and called by their addresses.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._jit import kernel
from hotloop.engine.address import address_of
from hotloop.engine.cuts import fullness
from hotloop.engine.matmul import Matrix
from hotloop.engine.packing import copy_terms, pack_direct
from hotloop.engine.sparse import FEWEST_INPUTS, FEWEST_OUTPUTS, LIST_COST, WORTH_SKIPPING
from hotloop.engine.table import (
    DELTA,
    DENSE,
    DIRECT_GRADIENT,
    DIRECT_PRODUCT,
    N_IN,
    N_OUT,
    Net,
    Operation,
)
from hotloop.engine.tile import (
    PANEL_COLUMNS,
    PLAIN,
    VECTORS,
    direct_tile,
    edge_tile,
    flat_tile,
    narrow_direct_tile,
    narrow_tile,
    tile_shape,
)
from hotloop.engine.walk import BLOCK_ROWS, VERY_WIDE, is_worth_copying, passes_over

__all__ = ["is_direct", "link_direct"]

FEWEST_ROWS, FEWEST_NUMBERS = 16, 1 << 14
"""Of a minibatch, and of its inputs. Fewer are soon copied, and do not fill what the gradient copies."""
SAMPLE = 16
"""Rows of the data in which zeros are looked for."""

_ADDRESSES: dict[np.dtype[Any], tuple[int, ...]] = {}
"""Of the two kernels, by dtype: to tell the types of their arguments takes numba as long as a step."""


def is_direct(first: Operation, capacity: int, filled: Callable[[int], NDArray[np.bool_]]) -> bool:
    """Whether the first layer of a network should read the inputs of so large minibatches where they lie.

    It must be wide, but not so wide that rows are copied anyway (`VERY_WIDE`); and `filled`, which says of so
    many rows of the data where they are not 0, find too few zeros for `multiply_sparse`.
    """
    wide = first.n_in >= FEWEST_INPUTS and FEWEST_OUTPUTS <= first.n_out < VERY_WIDE
    large = capacity >= FEWEST_ROWS and capacity * first.n_in >= FEWEST_NUMBERS
    if first.op != DENSE or not (wide and large):
        return False
    rows, most = filled(SAMPLE), WORTH_SKIPPING - LIST_COST * PANEL_COLUMNS / first.n_out
    # Of neighbours, inputs or rows, more are not all 0. (A short fit would feel these questions.)
    if np.count_nonzero(rows) > most * rows.size:
        return True
    return bool(min(fullness(rows).mean(), fullness(rows.T).mean()) > most)


def link_direct(net: Net) -> None:
    """Give `net` the addresses of the kernels, if its first layer reads its inputs where they lie."""
    if not net.direct:
        return
    x = net.work
    if x.dtype not in _ADDRESSES:
        some, places = Matrix(x, 0, 1, 1), np.empty(0, np.int64)
        product = (some, some, x, places, 0, 0, 0, some, 0, 0, x, 0)
        gradient = (net.table[0], x, 0, x, places, 0, 0, x, 0, x)
        _ADDRESSES[x.dtype] = address_of(multiply_direct, product), address_of(direct_gradient, gradient)
    net.calls[DIRECT_PRODUCT], net.calls[DIRECT_GRADIENT] = _ADDRESSES[x.dtype]


@kernel
def multiply_direct(out, start, x, places, rows, width, left, b, cols, inner, panel, after):
    """What `multiply` does, where `a` is columns left:left + inner of rows of `x`, each `width` long.

    They are the first `rows` in `places`; those after them are what comes next. `b` has ``col=1``.
    """
    tile_cols, passes = tile_shape(x)[1], passes_over(inner)
    copies = is_worth_copying(rows, cols)
    for k in range(passes if rows > 0 else 0):
        p, end = inner * k // passes, inner * (k + 1) // passes
        so_far, then, some = start if k == 0 else out, after if end == inner else PLAIN, end - p
        for j in range(0, cols, tile_cols):
            n_cols = min(tile_cols, cols - j)
            source, offset, step = b.data, b.offset + p * b.row + j, b.row
            if copies:
                copy_terms(panel, 0, source, offset, step, n_cols, some, tile_cols)
                source, offset, step = panel, np.int64(0), tile_cols
            to, from_start = out.offset + j, so_far.offset + j
            if n_cols <= tile_cols // VECTORS:
                narrow_direct_tile(
                    out.data, to, out.row, so_far.data, from_start, so_far.row, x, left + p, width,
                    source, offset, step, some, rows, n_cols, then, places, 0, len(places),
                )  # fmt: skip
            else:
                direct_tile(
                    out.data, to, out.row, so_far.data, from_start, so_far.row, x, left + p, width,
                    source, offset, step, some, rows, n_cols, then, places, 0, len(places),
                )  # fmt: skip


@kernel
def direct_gradient(row, work, zeros, x, places, lo, hi, grad, at, panel):
    """∂L/∂W of rows lo:hi of its kernel, to grad[at:], a sum over the rows of `x` in `places`."""
    cols, passes, (tile_rows, tile_cols) = row[N_OUT], passes_over(len(places)), tile_shape(x)
    most = (len(places) + passes - 1) // passes
    block = min(len(panel) // most, BLOCK_ROWS) // tile_rows * tile_rows
    for i in range(0, hi - lo, block):
        rows, to = min(block, hi - lo - i), at + i * cols
        out, so_far = Matrix(grad, to, cols, 1), Matrix(work, zeros, 0, 1)
        for k in range(passes):
            first, end = len(places) * k // passes, len(places) * (k + 1) // passes
            pack_direct(panel, 0, x, places[first:end], row[N_IN], lo + i, rows)
            delta = Matrix(work, row[DELTA] + first * cols, cols, 1)
            for j in range(0, cols, tile_cols):
                multiply_groups(out, so_far, panel, delta, j, rows, min(tile_cols, cols - j), end - first)
            so_far = out


@kernel
def multiply_groups(out, start, groups, b, j, rows, n_cols, terms):
    """The columns of `multiply` from j on that are a panel, where `a` lies in `groups` (`pack_groups`).

    (`multiply_rows` does it too, but has more kinds of tiles, and takes twice as long to compile.)
    """
    tile_rows, tile_cols = tile_shape(groups)
    i = np.int64(0)
    while i < rows:
        tiles, n_rows = max((rows - i) // tile_rows, 1), min(tile_rows, rows - i)
        to, from_start = out.offset + i * out.row + j, start.offset + i * start.row + j
        from_a, a_tile = i // tile_rows * tile_rows * terms + i % tile_rows, tile_rows * terms
        if n_cols > tile_cols // VECTORS:
            edge_tile(
                out.data, to, out.row, start.data, from_start, start.row, groups, from_a, 1, tile_rows,
                a_tile, b.data, b.offset + j, b.row, terms, tiles, n_rows, n_cols, PLAIN,
            )  # fmt: skip
        elif n_rows == tile_rows:
            narrow_tile(
                out.data, to, out.row, start.data, from_start, start.row, groups, from_a, 1, tile_rows,
                a_tile, b.data, b.offset + j, b.row, terms, tiles, n_rows, n_cols, PLAIN,
            )  # fmt: skip
        else:
            n_rows = min(n_rows, tile_rows // 2)
            flat_tile(
                out.data, to, out.row, start.data, from_start, start.row, groups, from_a, 1, tile_rows,
                a_tile, b.data, b.offset + j, b.row, terms, tiles, n_rows, n_cols, PLAIN,
            )  # fmt: skip
        i += tiles * n_rows
