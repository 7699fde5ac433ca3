"""Copies of operands, in the order in which a product reads them.

A panel is some columns of `b`, one row after the other. Rows of `a` are packed as they are, or, where `a` is
transposed, in groups: one term after the other, with as many rows of `a` side by side as a tile has. (More
would share cache lines with those of other tiles, and take twice the room in the first cache.)
"""

from hotloop._jit import INTRINSICS, apart, intrinsic, kernel, types
from hotloop.engine.pointwise import copy
from hotloop.engine.square import edge_square, full_square
from hotloop.engine.tile import VECTORS, tile_shape
from hotloop.engine.vectors import Vectors, pointer_to, target_shape

__all__ = ["copy_terms", "pack_direct", "pack_groups", "pack_rows", "pack_transposed"]


@apart
@kernel
def copy_terms(panel, at, source, offset, step, n, terms, width):
    """panel[at + p width + k] = source[offset + p step + k], for p < terms and k < n."""
    tile_rows, tile_cols = tile_shape(panel)
    for p in range(terms):
        to, origin = at + p * width, offset + p * step
        if n == tile_cols:
            copy_tile_columns(panel, to, source, origin)
        elif n == tile_rows:
            copy_tile_rows(panel, to, source, origin)
        else:
            copy(source[origin : origin + n], panel[to : to + n])


@apart
@kernel
def pack_transposed(panel, at, b, offset, step, n_cols, terms, width):
    """panel[at + p width + c] = b[offset + c step + p], for c < n_cols and p < terms."""
    lanes = tile_shape(panel)[1] // VECTORS
    for c in range(0, n_cols, lanes):
        for p in range(0, terms, lanes):
            to, source = at + p * width + c, offset + c * step + p
            n_rows, n_terms = min(lanes, n_cols - c), min(lanes, terms - p)
            if n_rows == lanes and n_terms == lanes:
                full_square(panel, to, width, b, source, step, n_rows, n_terms)
            else:
                edge_square(panel, to, width, b, source, step, n_rows, n_terms)


@kernel
def pack_groups(panel, at, a, offset, step, rows, terms, group):
    """Rows of a transposed `a`, whose terms are `step` apart, to panel[at:] in groups."""
    for i in range(0, rows, group):
        copy_terms(panel, at + i * terms, a, offset + i, step, min(group, rows - i), terms, group)


@apart
@kernel
def pack_direct(panel, at, x, places, width, first, rows):
    """What `pack_groups` makes of columns first:first + rows of some rows of `x`, which `places` has.

    These are the terms; in `x` rows are `width` long.
    """
    group, terms = tile_shape(panel)[0], len(places)
    for i in range(0, rows, group):
        n = min(group, rows - i)
        for p in range(terms):
            to, origin = at + i * terms + p * group, places[p] * width + first + i
            if n == group:
                copy_tile_rows(panel, to, x, origin)
            else:
                copy(x[origin : origin + n], panel[to : to + n])


@apart
@kernel
def pack_rows(panel, at, a, offset, step, rows, terms):
    """Rows of `a`, `step` apart, to panel[at:], one after the other."""
    for i in range(rows):
        to, origin = at + i * terms, offset + i * step
        copy(a[origin : origin + terms], panel[to : to + terms])


def _copies(of_shape):
    """``copy(out, to, source, origin)``: as many numbers as a tile has rows (0) or columns (1).

    In vectors: of a loop LLVM makes single loads and stores, a third as fast.
    """

    def plain_copy(out, to, source, origin):
        for k in range(tile_shape(out)[of_shape]):
            out[to + k] = source[origin + k]

    def copy_vectors(typing_context, out, to, source, origin):
        def codegen(context, builder, signature, args):
            item = signature.args[0].dtype
            rows, lanes = target_shape(context, item.bitwidth // 8)
            lanes, count = ((rows, 1), (lanes, VECTORS))[of_shape]
            vectors = Vectors(builder, item, context.get_data_type(item), lanes, count)
            target, start = (
                pointer_to(context, builder, kind, array, offset)
                for kind, array, offset in zip(signature.args[::2], args[::2], args[1::2], strict=True)
            )
            vectors.store(vectors.load(start), target)
            return context.get_dummy_value()

        return types.void(out, types.int64, source, types.int64), codegen

    return intrinsic(copy_vectors) if INTRINSICS else kernel(plain_copy)


copy_tile_rows, copy_tile_columns = _copies(0), _copies(1)
