"""Copies of operands, in the order in which a product reads them.

A panel is some columns of `b`, one row after the other. Rows of `a` are packed as they are, or, where `a` is
transposed, in groups: one term after the other, with as many rows of `a` side by side as a tile has. (More
would share cache lines with those of other tiles, and take twice the room in the first cache.)
"""

from hotloop._jit import kernel
from hotloop.engine.pointwise import copy
from hotloop.engine.square import edge_square, full_square
from hotloop.engine.tile import PLAIN, VECTORS, edge_tile, full_tile, tile_shape

__all__ = ["copy_columns", "pack_groups", "pack_rows", "pack_transposed"]


@kernel
def copy_columns(out, at, out_row, source, offset, step, n_cols, terms):
    """Copy the first `n_cols` numbers of `terms` rows of `source`, `step` apart, to rows of `out`.

    A tile without terms is a copy.
    """
    tile_rows, tile_cols = tile_shape(out)
    for c in range(0, n_cols, tile_cols):
        for p in range(0, terms, tile_rows):
            rows, cols = min(tile_rows, terms - p), min(tile_cols, n_cols - c)
            to, origin = at + p * out_row + c, offset + p * step + c
            if rows == tile_rows and cols == tile_cols:
                full_tile(
                    out, to, out_row, source, origin, step, source, 0, 0, 0, source, 0, 0, 0, rows, cols,
                    PLAIN,
                )  # fmt: skip
            else:
                edge_tile(
                    out, to, out_row, source, origin, step, source, 0, 0, 0, source, 0, 0, 0, rows, cols,
                    PLAIN,
                )  # fmt: skip


@kernel
def pack_transposed(panel, b, offset, step, n_cols, terms, tile_cols):
    """A panel of a transposed `b`, whose columns are `step` apart."""
    lanes = tile_cols // VECTORS
    for c in range(0, n_cols, lanes):
        for p in range(0, terms, lanes):
            to, source = p * tile_cols + c, offset + c * step + p
            n_rows, n_terms = min(lanes, n_cols - c), min(lanes, terms - p)
            if n_rows == lanes and n_terms == lanes:
                full_square(panel, to, tile_cols, b, source, step, n_rows, n_terms)
            else:
                edge_square(panel, to, tile_cols, b, source, step, n_rows, n_terms)


@kernel
def pack_groups(panel, at, a, offset, step, rows, terms, group):
    """Rows of a transposed `a`, whose terms are `step` apart, to panel[at:] in groups."""
    for i in range(0, rows, group):
        copy_columns(panel, at + i * terms, group, a, offset + i, step, min(group, rows - i), terms)


@kernel
def pack_rows(panel, at, a, offset, step, rows, terms):
    """Rows of `a`, `step` apart, to panel[at:], one after the other."""
    for i in range(rows):
        to, origin = at + i * terms, offset + i * step
        copy(a[origin : origin + terms], panel[to : to + terms])
