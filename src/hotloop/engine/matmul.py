"""The one product behind all three of a dense layer: out = start + a b.

    forward     z  = b  + x W      rows of the batch
    backward    δₓ =      δ Wᵀ     rows of the batch
    gradient    dW =      xᵀ δ     rows of the kernel, summed over the batch

`multiply` walks over the output in tiles that fit the registers (`engine.tile`).

Every sum runs over its terms in one order, starting at `start`, one fused multiply-add a term. So
a number does not depend on the tile it falls into, on the batch, or on the number of threads.
"""

from typing import Any, NamedTuple

from numpy.typing import NDArray

from hotloop._jit import kernel
from hotloop.engine.tile import (
    NARROW_ROWS,
    ROW_VECTORS,
    VECTORS,
    edge_tile,
    full_tile,
    narrow_tile,
    row_tile,
    tile_shape,
)

__all__ = ["Matrix", "multiply"]


class Matrix(NamedTuple):
    """A matrix inside a flat array: element (i, j) is ``data[offset + i * row + j * col]``.

    Swapping `row` and `col` transposes; ``row=0`` repeats one row.
    """

    data: NDArray[Any]
    offset: int
    row: int
    col: int


@kernel
def multiply(out, start, a, b, rows, cols, inner, panel):
    """out[i, j] = start[i, j] + Σₚ a[i, p] b[p, j], for i < rows, j < cols, p < inner.

    `out`, `start`, `a`, `b` are `Matrix`; `out` and `start` have ``col=1``, and may be the same.
    `panel` is scratch of ``inner * tile_shape(out.data)[1]`` numbers, used when `b` is transposed.
    """
    if inner == 1:
        _outer(out, start, a, b, rows, cols)
        return
    tile_rows, tile_cols = tile_shape(out.data)
    if rows == 1 and b.col == 1:
        tile_rows, tile_cols = 1, ROW_VECTORS // VECTORS * tile_cols
    narrow = rows > 1 and cols <= tile_cols // VECTORS
    if narrow:
        tile_rows *= NARROW_ROWS
    for j in range(0, cols, tile_cols):
        n_cols = min(tile_cols, cols - j)
        if b.col == 1:
            source, offset, step = b.data, b.offset + j, b.row
        else:
            _pack(panel, b, j, n_cols, inner, tile_cols)
            source, offset, step = panel, 0, tile_cols
        for i in range(0, rows, tile_rows):
            n_rows = min(tile_rows, rows - i)
            from_a = a.offset + i * a.row
            from_start = start.offset + i * start.row + j
            to = out.offset + i * out.row + j
            if tile_rows == 1:
                row_tile(
                    out.data, to, out.row, start.data, from_start, start.row,
                    a.data, from_a, a.row, a.col, source, offset, step, inner, n_rows, n_cols,
                )  # fmt: skip
            elif narrow:
                narrow_tile(
                    out.data, to, out.row, start.data, from_start, start.row,
                    a.data, from_a, a.row, a.col, source, offset, step, inner, n_rows, n_cols,
                )  # fmt: skip
            elif n_rows == tile_rows and n_cols == tile_cols:
                full_tile(
                    out.data, to, out.row, start.data, from_start, start.row,
                    a.data, from_a, a.row, a.col, source, offset, step, inner, n_rows, n_cols,
                )  # fmt: skip
            else:
                edge_tile(
                    out.data, to, out.row, start.data, from_start, start.row,
                    a.data, from_a, a.row, a.col, source, offset, step, inner, n_rows, n_cols,
                )  # fmt: skip


@kernel
def _outer(out, start, a, b, rows, cols):
    """The product for one term, as in the gradient of a batch of one: no sums to keep in registers."""
    for i in range(rows):
        factor = a.data[a.offset + i * a.row]
        to = out.data[out.offset + i * out.row : out.offset + i * out.row + cols]
        origin = start.data[start.offset + i * start.row : start.offset + i * start.row + cols]
        if b.col == 1:
            source = b.data[b.offset : b.offset + cols]
            for j in range(len(to)):
                to[j] = origin[j] + factor * source[j]
        else:
            for j in range(cols):
                to[j] = origin[j] + factor * b.data[b.offset + j * b.col]


@kernel
def _pack(panel, b, j, n_cols, inner, tile_cols):
    """Copy columns j … j + n_cols of a transposed `b` into rows of `panel`, so that a tile reads on."""
    for p in range(inner):
        to = panel[p * tile_cols : p * tile_cols + n_cols]
        origin = b.offset + p * b.row + j * b.col
        for c in range(len(to)):
            to[c] = b.data[origin + c * b.col]
