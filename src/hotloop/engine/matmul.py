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

__all__ = ["MOST_TERMS", "Matrix", "multiply"]

MOST_TERMS = 512
"""Terms of a sum in one pass: a panel of so many rows and a tile's rows of `a` stay in the cache.

(A panel of a `b` that is not transposed gains nothing, at any width up to 2048: tried.)
"""


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

    `out`, `start`, `a`, `b` are `Matrix`; `out` and `start` have ``col=1``, and may be the same; `b` has
    ``col=1``, or ``row=1`` if it is transposed.
    `panel` is scratch of ``min(inner, MOST_TERMS) * tile_shape(out.data)[1]`` numbers, used when `b` is
    transposed.
    """
    if inner == 1:
        _outer(out, start, a, b, rows, cols)
        return
    for p in range(0, max(inner, 1), MOST_TERMS):
        some_a = Matrix(a.data, a.offset + p * a.col, a.row, a.col)
        some_b = Matrix(b.data, b.offset + p * b.row, b.row, b.col)
        so_far = start if p == 0 else out
        _multiply_terms(out, so_far, some_a, some_b, rows, cols, min(MOST_TERMS, inner - p), panel)


@kernel
def _multiply_terms(out, start, a, b, rows, cols, inner, panel):
    """`multiply` for so few terms that a panel of `b` stays in the cache while all rows use it."""
    tile_rows, tile_cols = tile_shape(out.data)
    if rows == 1 and b.col == 1:
        tile_rows, tile_cols = 1, ROW_VECTORS // VECTORS * tile_cols
    for j in range(0, cols, tile_cols):
        n_cols = min(tile_cols, cols - j)
        # The last 4 of 100 columns, say: a wider tile would mostly compute what does not exist.
        narrow = rows > 1 and n_cols <= tile_cols // VECTORS
        height = tile_rows * NARROW_ROWS if narrow else tile_rows
        if b.col == 1:
            source, offset, step = b.data, b.offset + j, b.row
        else:
            _pack(panel, b, j, n_cols, inner, tile_cols)
            source, offset, step = panel, 0, tile_cols
        for i in range(0, rows, height):
            n_rows = min(height, rows - i)
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
    """Copy columns j … j + n_cols of a transposed `b` into rows of `panel`, so that a tile reads on.

    Along its rows, four at a time. Across them, with rows a power of two apart, each number would have to
    be fetched anew, since such rows share few places of the first cache.
    """
    data, origin = b.data, b.offset + j * b.col
    for c in range(0, n_cols - 3, 4):
        start = origin + c * b.col
        first, second = data[start : start + inner], data[start + b.col : start + b.col + inner]
        start += 2 * b.col
        third, fourth = data[start : start + inner], data[start + b.col : start + b.col + inner]
        for p in range(len(first)):
            to = p * tile_cols + c
            panel[to], panel[to + 1], panel[to + 2], panel[to + 3] = first[p], second[p], third[p], fourth[p]
    for c in range(n_cols - n_cols % 4, n_cols):
        for p in range(inner):
            panel[p * tile_cols + c] = data[origin + c * b.col + p]
