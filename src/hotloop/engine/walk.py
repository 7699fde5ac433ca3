"""The walk over a product in tiles: which operand is packed, and which tile comes next.

Memory traffic is what it is about. A panel of `b`, as wide as a tile, stays in the first cache while all
rows of `a` use it; operands that lie unfavourably are copied first (`engine.packing`).
"""

from typing import Any, NamedTuple

from numpy.typing import NDArray

from hotloop._jit import apart, kernel, kernel_inline
from hotloop.engine.fetch import fetch_vectors
from hotloop.engine.packing import copy_terms, pack_groups, pack_rows, pack_transposed
from hotloop.engine.tile import (
    ROW_VECTORS,
    VECTORS,
    edge_tile,
    flat_tile,
    full_tile,
    narrow_tile,
    row_tile,
    tile_shape,
)

__all__ = [
    "BLOCK_ROWS",
    "MOST_TERMS",
    "WIDE",
    "Matrix",
    "a_pays",
    "is_worth_copying",
    "multiply_rows",
    "multiply_terms",
    "passes_over",
]

MOST_TERMS = 288
"""Terms of a sum in one pass: a panel of so many rows, and a tile's rows of `a`, fit the first cache."""
WORTH_PACKING, BLOCK_ROWS = 64, 512
"""Rows of `a` that pay for packing an operand, and rows of it that are packed at once: these fit the second
cache."""
WIDE, VERY_WIDE = 256, 1024
"""With so many columns, rows of `b` fall into few sets of the first cache, and it is packed where
`MANY_ROWS` use it; fewer find it in the second soon enough. With very many columns any `a` is packed,
and any `b`, and what the next tile and the next panel need is fetched meanwhile. (Without, products of
2048 columns took twice as long. Narrower ones gain nothing.)"""
MANY_ROWS = 320
SOME, MANY, SPREAD = 64, 320, 80_000
"""A transposed `a` is fetched anew for each panel of `b`, by parts of cache lines. It is packed for many
columns; for some, if there are so many numbers from its first term to its last. (The gradient of 784 inputs
and 128 units takes a tenth less time then, in minibatches of 128 rows.)"""


class Matrix(NamedTuple):
    """A matrix inside a flat array: element (i, j) is ``data[offset + i * row + j * col]``.

    Swapping `row` and `col` transposes; ``row=0`` repeats one row.
    """

    data: NDArray[Any]
    offset: int
    row: int
    col: int


def a_pays(transposed: bool, cols: int, spread: int) -> bool:
    """Whether so many columns pay for a copy of `a`, if it has the rows for it; `spread` as in `SPREAD`."""
    if transposed:
        return cols >= MANY or (cols >= SOME and spread > SPREAD)
    return cols >= VERY_WIDE


is_worth_packing = kernel(a_pays)


@kernel_inline
def passes_over(terms):
    """In how many passes, of about as many terms each, a sum is made."""
    return max((terms + MOST_TERMS - 1) // MOST_TERMS, 1)


@kernel
def is_worth_copying(rows, cols):
    """Whether a panel of so many columns of `b` is copied, where it is not transposed."""
    return cols >= WIDE and rows >= (WORTH_PACKING if cols >= VERY_WIDE else MANY_ROWS)


@kernel
def multiply_terms(out, start, a, b, rows, cols, inner, panel, after):
    """`multiply` for so few terms that a panel of `b` stays in the cache while all rows use it."""
    tile_rows, tile_cols = tile_shape(out.data)
    at, block = inner * tile_cols, 0
    if rows >= WORTH_PACKING and is_worth_packing(a.row == 1, cols, inner * a.col):
        block = min((len(panel) - at) // max(inner, 1), BLOCK_ROWS) // tile_rows * tile_rows
    if block < WORTH_PACKING:
        multiply_rows(out, start, a, a.row, b, 0, rows, cols, inner, panel, after)
        return
    for first in range(0, rows, block):
        last = min(first + block, rows)
        if a.row == 1:
            pack_groups(panel, at, a.data, a.offset + first, a.col, last - first, inner, tile_rows)
            packed = Matrix(panel, at, 1, tile_rows)
        else:
            pack_rows(panel, at, a.data, a.offset + first * a.row, a.row, last - first, inner)
            packed = Matrix(panel, at, inner, 1)
        multiply_rows(out, start, packed, inner, b, first, last, cols, inner, panel, after)


@kernel
def multiply_rows(out, start, a, a_step, b, first, last, cols, inner, panel, after):
    """Rows first:last of the product; `a` has these alone. Row i, the first of a tile, begins at i `a_step`.

    That is not ``a.row`` where the rows of each tile are packed side by side.
    """
    tile_rows, tile_cols = tile_shape(out.data)
    rows = last - first
    copies, very_wide = is_worth_copying(rows, cols), cols >= VERY_WIDE and rows >= WORTH_PACKING
    if rows == 1:
        most = ROW_VECTORS // VECTORS
        room = most if b.col == 1 else len(panel) // (max(inner, 1) * tile_cols)
        tile_rows, tile_cols = 1, min(most, room) * tile_cols
    a_tile = tile_rows * a_step
    at_once = 1 if very_wide else rows // tile_rows  # something is fetched with each of very wide ones
    for j in range(0, cols, tile_cols):
        n_cols = min(tile_cols, cols - j)
        # The last 4 of 100 columns, say: a wider tile would mostly compute what does not exist.
        narrow = rows > 1 and n_cols <= tile_cols // VECTORS
        source, offset, step = panel, 0, tile_cols
        if b.col != 1:
            pack_transposed(panel, 0, b.data, b.offset + j * b.col, b.col, n_cols, inner, tile_cols)
        elif copies:
            copy_terms(panel, 0, b.data, b.offset + j, b.row, n_cols, inner, tile_cols)
        else:
            source, offset, step = b.data, b.offset + j, b.row
        i, from_a = first, a.offset
        while i < last:
            tiles, n_rows = at_once, tile_rows
            if last - i < tile_rows:
                tiles, n_rows = 1, min(last - i, tile_rows // 2) if narrow else last - i
            from_start = start.offset + i * start.row + j
            to = out.offset + i * out.row + j
            if very_wide:
                k = i - first
                lo, hi = inner * k // rows, inner * (k + tile_rows) // rows
                _fetch_next(out, to + tile_rows * out.row, tile_rows, b, j + tile_cols, lo, hi)
            if tile_rows == 1:
                row_tile(
                    out.data, to, out.row, start.data, from_start, start.row, a.data, from_a, a.row, a.col,
                    a_tile, source, offset, step, inner, tiles, n_rows, n_cols, after,
                )  # fmt: skip
            elif n_rows <= tile_rows // 2:
                flat_tile(
                    out.data, to, out.row, start.data, from_start, start.row, a.data, from_a, a.row, a.col,
                    a_tile, source, offset, step, inner, tiles, n_rows, n_cols, after,
                )  # fmt: skip
            elif narrow:
                narrow_tile(
                    out.data, to, out.row, start.data, from_start, start.row, a.data, from_a, a.row, a.col,
                    a_tile, source, offset, step, inner, tiles, n_rows, n_cols, after,
                )  # fmt: skip
            elif n_rows == tile_rows and n_cols == tile_cols:
                full_tile(
                    out.data, to, out.row, start.data, from_start, start.row, a.data, from_a, a.row, a.col,
                    a_tile, source, offset, step, inner, tiles, n_rows, n_cols, after,
                )  # fmt: skip
            else:
                edge_tile(
                    out.data, to, out.row, start.data, from_start, start.row, a.data, from_a, a.row, a.col,
                    a_tile, source, offset, step, inner, tiles, n_rows, n_cols, after,
                )  # fmt: skip
            i += tiles * n_rows
            from_a += tiles * a_tile if n_rows == tile_rows else n_rows * a.row


@apart
@kernel
def _fetch_next(out, to, height, b, column, lo, hi):
    """Ask for what the next tile writes, and for rows lo:hi of the next panel of `b`: this tile's part."""
    for r in range(height):
        fetch_vectors(out.data, to + r * out.row)
    if b.col == 1:
        for p in range(lo, hi):
            fetch_vectors(b.data, b.offset + p * b.row + column)
