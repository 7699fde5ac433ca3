"""A tile of a product, kept in registers from the first to the last term.

Memory traffic is paid once a tile, so the limit is the processor's rate of multiply-adds. The plain
form is `plain_tile`. The compiled form writes the same loops as LLVM vectors, since LLVM does not
find them by itself: of the explicit loops, in dot form and in axpy form over rows, it vectorises only
the innermost, and keeps the sums in memory or at half the vector width.
"""

from typing import Any

import numpy as np
from llvmlite import ir

from hotloop._jit import INTRINSICS, cgutils, intrinsic, kernel, types
from hotloop.engine.fetch import LINE, fetch_at
from hotloop.engine.vectors import I32, I64, Vectors, pointer_to, row_places, sum_over, target_shape

__all__ = [
    "PANEL_COLUMNS",
    "PLAIN",
    "RECTIFIED",
    "ROW_VECTORS",
    "VECTORS",
    "direct_tile",
    "edge_tile",
    "flat_tile",
    "full_tile",
    "listed_tile",
    "narrow_direct_tile",
    "narrow_listed_tile",
    "narrow_tile",
    "row_tile",
    "tile_shape",
    "write_finished",
]

VECTORS = 2
"""Vectors in a row of a tile."""
ROW_VECTORS = 8
"""Vectors in the tile of a single row: enough sums that none need wait for the last term of its own."""
PANEL_COLUMNS = 32
"""Columns of the widest tile: two vectors of 64 bytes, in float32."""

PLAIN, RECTIFIED = 0, 1
"""What becomes of the sums: see `finished`. In registers it costs a pass over memory less."""


def plain_tile(
    out, o, o_row, start, s, s_row, a, a0, a_row, a_col, a_tile, b, b0, b_row, inner, tiles, rows, cols, after
):
    """What tiles compute, in plain loops: used with the JIT off and under bounds checks.

    out[i, j] = start[i, j] + Σₚ a[i, p] b[p, j]; `o`, `s`, `a0`, `b0` are where each begins in its
    flat array, `x_row` and `x_col` the steps between its rows and columns. `finished` says what `after` is.

    So many `tiles`, one below the other, have `rows` each; those of `a` begin `a_tile` apart.
    """
    for t in range(tiles):
        for i in range(rows):
            for j in range(cols):
                total = start[s + (t * rows + i) * s_row + j]
                for p in range(inner):
                    total += a[a0 + t * a_tile + i * a_row + p * a_col] * b[b0 + p * b_row + j]
                at = o + (t * rows + i) * o_row + j
                out[at] = finished(total, out, at, after)


def plain_listed_tile(
    out, o, o_row, start, s, s_row, a, a0, a_row, a_col, b, b0, b_row, inner, rows, cols, after, places, first
):
    """One `plain_tile`, over the terms places[first : first + inner]."""
    for i in range(rows):
        for j in range(cols):
            total = start[s + i * s_row + j]
            for p in places[first : first + inner]:
                total += a[a0 + i * a_row + p * a_col] * b[b0 + p * b_row + j]
            at = o + i * o_row + j
            out[at] = finished(total, out, at, after)


def plain_direct_tile(
    out, o, o_row, start, s, s_row, a, a0, a_row, b, b0, b_row, inner, rows, cols, after, places, first, known
):
    """`plain_tile` of all rows: row i of `a` is the one that places[first + i] says.

    So many places are `known` from the first on: those after `rows` come next, and are asked for.
    """
    for i in range(rows):
        row = a0 + places[first + i] * a_row
        for j in range(cols):
            total = start[s + i * s_row + j]
            for p in range(inner):
                total += a[row + p] * b[b0 + p * b_row + j]
            at = o + i * o_row + j
            out[at] = finished(total, out, at, after)


@kernel
def finished(total, out, at, after):
    """What becomes of a sum that goes to out[at].

    It is itself (`after` is PLAIN), max(total, 0) (RECTIFIED), or, if `after` is negative, 0 wherever the
    number that is so far before it is not positive: what backward does at a rectified layer.
    """
    zero = out.dtype.type(0)
    if after == RECTIFIED:
        return zero if total < zero else total
    return total if after == PLAIN or out[at + after] > zero else zero


def _tile_function(context: Any, module: Any, item: Any, kind: str) -> Any:
    """The LLVM function of a tile: rows x vectors sums in registers, one pass over the inner dimension.

    A "full" tile has all its rows and columns. An "edge" tile takes rows past the last as the last once
    more: they compute, and store, the same numbers. It touches only the columns that exist, which must be
    more than all vectors but the last have: with fewer it would write past them, and they are a "narrow"
    tile's, of one vector, and all its rows. (With twice as many rows, and so as many sums as others, the
    processor would have no registers left to address them.) A "flat" tile has half as many rows, a "row"
    tile one, and more columns; both touch only the columns that exist, and take rows as an edge tile does. A
    "listed" tile, also a narrow one, is an edge tile that takes its terms from a list. A "direct" tile, also
    a narrow one, takes its rows of `a` from a list, and there are as many tiles as all `n_rows` of them fill.
    A wide one asks the memory for the rows of the next, with each term for a line of one of them.

    Tiles that lie one below the other are one call: to begin with each anew takes as long as six terms of a
    narrow tile. A call stands alone. As a part of the loops around it, it would have them compute the
    addresses and masks of all kinds before the first tile, which took longer than a small product; and
    unrolled, it would want more addresses than there are registers.
    """
    number = context.get_data_type(item)
    name = f"hotloop.{kind}_tile.{number}"
    if name in module.globals:
        return module.globals[name]
    pointer = number.as_pointer()
    arguments = [pointer, I64, pointer, I64, pointer, I64, I64, I64, pointer, I64, I64, I64, I64, I64, I64]
    arguments += [I32.as_pointer()] * kind.endswith("listed")
    arguments += [I64.as_pointer(), I64] * kind.endswith("direct")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    function.attributes.add("optsize")  # not unrolled
    builder = ir.IRBuilder(function.append_basic_block())
    (out, o_row, start, s_row, a, a_row, a_col, a_tile, b, b_row, inner,
     tiles, n_rows, n_cols, after, *places) = function.args  # fmt: skip
    rows, lanes = target_shape(context, item.bitwidth // 8)
    shapes = {"row": (1, ROW_VECTORS), "flat": (rows // 2, VECTORS)}
    rows, count = shapes.get(kind, (rows, 1 if kind.startswith("narrow") else VECTORS))
    n_full = count - 1 if kind in ("edge", "listed", "direct") else 0
    vectors = Vectors(builder, item, number, lanes, count, None if kind == "full" else n_cols, n_full)
    direct, line = kind.endswith("direct"), LINE * 8 // item.bitwidth

    def row_of_list(i: Any, n: Any) -> Any:
        """Where row i of `a` is that `places` has, or the last of `n`."""
        last = builder.sub(n, I64(1))
        i = builder.select(builder.icmp_signed("<", i, last), i, last)
        return builder.gep(a, [builder.mul(builder.load(builder.gep(places[0], [i])), a_row)])

    def tile(t: Any) -> None:
        """The t-th tile."""
        begin = builder.mul(t, I64(rows))
        height = None if kind in ("full", "narrow") else builder.sub(n_rows, begin) if direct else n_rows
        out_rows, a_rows, start_rows = (
            row_places(builder, builder.gep(base, [builder.mul(t, apart)]), step, rows, height)
            for base, step, apart in (
                (out, o_row, builder.mul(o_row, I64(rows))),
                (a, a_row, a_tile),
                (start, s_row, builder.mul(s_row, I64(rows))),
            )
        )
        if direct:
            a_rows = [row_of_list(builder.add(begin, I64(r)), n_rows) for r in range(rows)]
        a_rows = [_opaque(builder, base) for base in a_rows]
        first = [vectors.load(base) for base in start_rows]

        def term(p: Any, sums: list[list[Any]]) -> list[list[Any]]:
            """Add a[:, p] b[p, :]."""
            if kind.endswith("listed"):
                p = builder.zext(builder.load(builder.gep(places[0], [p])), I64)
            if kind == "direct":
                coming = builder.add(builder.add(begin, I64(rows)), builder.and_(p, I64(line - 1)))
                row = row_of_list(coming, places[1])
                fetch_at(builder, builder.gep(row, [builder.and_(p, I64(-line))]))
            b_row_p = vectors.load(builder.gep(b, [builder.mul(p, b_row)]))
            step = builder.mul(p, a_col)
            return [
                vectors.multiply_add(builder.load(builder.gep(base, [step])), b_row_p, row)
                for base, row in zip(a_rows, sums, strict=True)
            ]

        write_finished(builder, vectors, out_rows, sum_over(builder, inner, first, term), after)

    with cgutils.for_range(builder, tiles) as loop:
        tile(loop.index)
    builder.ret_void()
    return function


def _call_tile(context: Any, builder: Any, array_types: Any, args: Any, kind: str) -> None:
    """Call the function where the offsets point."""
    if kind.endswith("listed"):  # one tile, since each has a list of its own
        args = [*args[:10], I64(0), *args[10:14], I64(1), *args[14:]]
    if kind.endswith("direct"):
        rows, height = args[13], I64(target_shape(context, array_types[0].dtype.bitwidth // 8)[0])
        tiles = builder.udiv(builder.add(rows, builder.sub(height, I64(1))), height)
        args = [*args[:9], I64(1), I64(0), *args[9:13], tiles, *args[13:]]
    (out, o, o_row, start, s, s_row, a, a0, a_row, a_col, a_tile, b, b0, b_row, inner,
     tiles, n_rows, n_cols, after, *listed) = args  # fmt: skip

    def pointer(array_type: Any, array: Any, offset: Any) -> Any:
        return pointer_to(context, builder, array_type, array, offset)

    out_type, start_type, a_type, b_type, *list_type = array_types
    arguments = [pointer(out_type, out, o), o_row, pointer(start_type, start, s), s_row]
    arguments += [pointer(a_type, a, a0), a_row, a_col, a_tile, pointer(b_type, b, b0), b_row]
    arguments += [inner, tiles, n_rows, n_cols, after]
    arguments += [pointer(*list_type, *listed[:2]), *listed[2:]] if listed else []
    builder.call(_tile_function(context, builder.module, out_type.dtype, kind), arguments)


def write_finished(
    builder: Any, vectors: Vectors, out_rows: list[Any], sums: list[list[Any]], after: Any
) -> None:
    """Store what `finished` makes of the sums."""
    zero, lowest = (ir.Constant(vectors.number, value) for value in (0.0, -np.inf))
    floor = vectors.splat(
        builder.select(builder.icmp_signed(">", after, I64(PLAIN)), zero, lowest), vectors.type
    )
    with builder.if_else(builder.icmp_signed("<", after, I64(PLAIN))) as (masked, otherwise):
        with masked:
            for base, row in zip(out_rows, sums, strict=True):
                switches = vectors.load(builder.gep(base, [after]))
                on = [builder.fcmp_ordered(">", switch, vectors.zeros) for switch in switches]
                vectors.store(
                    [builder.select(*some, vectors.zeros) for some in zip(on, row, strict=True)], base
                )
        with otherwise:
            for base, row in zip(out_rows, sums, strict=True):
                below = [builder.fcmp_ordered("<", value, floor) for value in row]
                vectors.store(
                    [builder.select(few, floor, v) for few, v in zip(below, row, strict=True)], base
                )


def _opaque(builder: Any, pointer: Any) -> Any:
    """The same pointer, of which LLVM knows nothing.

    Else it finds that the rows of `a` are evenly spaced, and makes each address from the one before: a chain
    of additions that takes as long as all the multiply-adds of a term, so that nothing slower can be made up
    for.
    """
    kind = ir.FunctionType(pointer.type, [pointer.type])
    return builder.call(ir.InlineAsm(kind, "", "=r,0"), [pointer])


def _make_tile(kind: str) -> Any:
    n = types.int64

    def written(signature, *array_types):
        def codegen(context, builder, signature, args):
            _call_tile(context, builder, array_types, args, kind)
            return context.get_dummy_value()

        return signature, codegen

    def tile(typing_context, out, o, o_row, start, s, s_row, a, a0, a_row, a_col, a_tile, b, b0, b_row,
             inner, tiles, rows, cols, after):  # fmt: skip
        signature = types.void(out, n, n, start, n, n, a, n, n, n, n, b, n, n, n, n, n, n, n)
        return written(signature, out, start, a, b)

    def tile_of_listed(typing_context, out, o, o_row, start, s, s_row, a, a0, a_row, a_col, b, b0, b_row,
                       inner, rows, cols, after, places, first):  # fmt: skip
        signature = types.void(out, n, n, start, n, n, a, n, n, n, b, n, n, n, n, n, n, places, n)
        return written(signature, out, start, a, b, places)

    def tile_of_direct(typing_context, out, o, o_row, start, s, s_row, a, a0, a_row, b, b0, b_row,
                       inner, rows, cols, after, places, first, known):  # fmt: skip
        signature = types.void(out, n, n, start, n, n, a, n, n, b, n, n, n, n, n, n, places, n, n)
        return written(signature, out, start, a, b, places)

    forms = {"listed": tile_of_listed, "direct": tile_of_direct}
    return intrinsic(forms.get(kind.split()[-1], tile))


def _plain_shape(array):
    """(rows, columns) of a plain tile: any would do."""
    return 4, 4


def _tile_shape(typing_context, array):
    """(rows, columns) of a tile, a constant of the processor and the dtype."""

    def codegen(context, builder, signature, args):
        rows, lanes = target_shape(context, array.dtype.bitwidth // 8)
        return context.make_tuple(builder, signature.return_type, [I64(rows), I64(VECTORS * lanes)])

    return types.UniTuple(types.int64, 2)(array), codegen


if INTRINSICS:
    full_tile, edge_tile = _make_tile("full"), _make_tile("edge")
    narrow_tile, flat_tile, row_tile = _make_tile("narrow"), _make_tile("flat"), _make_tile("row")
    listed_tile, narrow_listed_tile = _make_tile("listed"), _make_tile("narrow listed")
    direct_tile, narrow_direct_tile = _make_tile("direct"), _make_tile("narrow direct")
    tile_shape = intrinsic(_tile_shape)
else:
    full_tile = edge_tile = narrow_tile = flat_tile = row_tile = kernel(plain_tile)
    listed_tile = narrow_listed_tile = kernel(plain_listed_tile)
    direct_tile = narrow_direct_tile = kernel(plain_direct_tile)
    tile_shape = kernel(_plain_shape)
