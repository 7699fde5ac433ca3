"""Products of up to four columns, from rows of `a`: four terms of all columns in one multiply-add.

A tile would fill no more than four of its lanes, and would read a number of `a` for each multiply-add. Here
four terms of a row are read at once, and sixteen lanes are four columns, with four sums for each::

    a[i, p : p + 4]    x0  x1  x2  x3  | x0  x1  x2  x3  | x0  x1  x2  x3  | x0  x1  x2  x3
    b, packed          b00 b10 b20 b30 | b01 b11 b21 b31 | b02 b12 b22 b32 | b03 b13 b23 b33

At the end the four sums of each column are added up, of four rows at a time: that leaves the numbers of a row
side by side. (Forward from 16 units to 4, of 1024 rows, takes a third of the time that narrow tiles take.)
"""

from typing import Any

from llvmlite import ir

from hotloop._jit import INTRINSICS, apart, cgutils, intrinsic, kernel, types
from hotloop.engine.tile import VECTORS, finished, tile_shape, write_finished
from hotloop.engine.vectors import I32, I64, Vectors, pointer_to, row_places, sum_over, target_shape

__all__ = ["QUAD", "few_by_quads", "is_worth_quads", "pack_quads"]

QUAD = 4
"""Terms that are read at once, columns at most, and rows that are finished together."""
LANES = QUAD * QUAD
TURNED = [QUAD * k + line for line in range(QUAD) for k in range(QUAD)]
"""Lanes of four lines of four, turned over."""


@kernel
def is_worth_quads(numbers, cols, inner):
    """Whether quads take less time than a tile, and than dot products (`few.few_by_rows`).

    For a single column dot products of many terms are as fast, and twice as fast for a single row.
    """
    lanes = tile_shape(numbers)[1] // VECTORS
    return cols <= QUAD and (cols > 1 or inner <= LANES) and (lanes > QUAD or not INTRINSICS)


@apart
@kernel
def few_by_quads(out, start, a, b, rows, cols, inner, panel, after):
    """`multiply` for up to `QUAD` columns, if the rows of `a` lie along the sum: ``a.col == 1``."""
    pack_quads(panel, b.data, b.offset, b.row, b.col, cols, inner)
    multiply_quads(
        out.data, out.offset, out.row, start.data, start.offset, start.row,
        a.data, a.offset, a.row, panel, inner, rows, cols, after,
    )  # fmt: skip


def plain_pack_quads(panel, b, b0, b_row, b_col, cols, inner):
    """panel[16 q + 4 j + t] = b[4 q + t, j]: four terms of the first column, of the second, and so on.

    What is beyond the last term or column is 0.
    """
    panel[: (inner + QUAD - 1) // QUAD * LANES] = 0
    for p in range(inner):
        for j in range(cols):
            panel[p // QUAD * LANES + j * QUAD + p % QUAD] = b[b0 + p * b_row + j * b_col]


def plain_multiply_quads(out, o, o_row, start, s, s_row, a, a0, a_row, panel, inner, rows, cols, after):
    """What quads compute, in plain loops.

    out[i, j] = start[i, j] + Σₚ a[i, p] b[p, j], where the panel holds b (`pack_quads`).
    """
    for i in range(rows):
        for j in range(cols):
            total = out.dtype.type(0)
            for p in range(inner):
                total += a[a0 + i * a_row + p] * panel[p // QUAD * LANES + j * QUAD + p % QUAD]
            at = o + i * o_row + j
            out[at] = finished(start[s + i * s_row + j] + total, out, at, after)


def _pack_quads(typing_context, panel, b, b0, b_row, b_col, cols, inner):
    """Four lines of four numbers at a time: terms, or, of a transposed `b`, columns."""

    def codegen(context, builder, signature, args):
        _, _, b0, b_row, b_col, cols, inner = args
        item = panel.dtype
        number = context.get_data_type(item)
        source = pointer_to(context, builder, b, args[1], b0)
        target = pointer_to(context, builder, panel, args[0], I64(0))
        whole = Vectors(builder, item, number, LANES, 1)
        of_terms = builder.icmp_signed("==", b_col, I64(1))
        line = builder.select(of_terms, b_row, b_col)
        with cgutils.for_range_slice(builder, I64(0), inner, I64(QUAD), inc=True) as (p, _):
            left = builder.sub(inner, p)
            terms = builder.select(builder.icmp_signed("<", left, I64(QUAD)), left, I64(QUAD))
            n_lines, n = builder.select(of_terms, terms, cols), builder.select(of_terms, cols, terms)
            base = builder.gep(source, [builder.mul(p, b_row)])
            lines = []
            for k in range(QUAD):
                there = builder.select(builder.icmp_signed("<", I64(k), n_lines), n, I64(0))
                place = builder.gep(base, [builder.mul(I64(k), line)])
                lines += Vectors(builder, item, number, QUAD, 1, there).load(place)
            early, late = (_shuffle(builder, x, y, [*range(2 * QUAD)]) for x, y in (lines[:2], lines[2:]))
            as_read = _shuffle(builder, early, late, [*range(LANES)])
            turned = _shuffle(builder, as_read, as_read, TURNED)
            whole.store(
                [builder.select(of_terms, turned, as_read)], builder.gep(target, [builder.mul(p, I64(QUAD))])
            )
        return context.get_dummy_value()

    n = types.int64
    return types.void(panel, b, n, n, n, n, n), codegen


def _quads_function(context: Any, module: Any, item: Any) -> Any:
    """The LLVM function: a loop over groups of rows, and once more for the rows that are left."""
    number = context.get_data_type(item)
    name = f"hotloop.quads.{number}"
    if name in module.globals:
        return module.globals[name]
    pointer = number.as_pointer()
    arguments = [pointer, I64, pointer, I64, pointer, I64, pointer, I64, I64, I64, I64]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    function.attributes.add("optsize")  # not unrolled
    builder = ir.IRBuilder(function.append_basic_block())
    out, o_row, start, s_row, a, a_row, panel, inner, rows, cols, after = function.args
    lanes = target_shape(context, item.bitwidth // 8)[1]
    height = 2 * QUAD if lanes == LANES else QUAD  # so many sums that none waits for its own last term
    rest = builder.and_(inner, I64(QUAD - 1))
    wide = Vectors(builder, item, number, LANES, 1)
    all_terms, some_terms, columns = (Vectors(builder, item, number, QUAD, 1, n) for n in (None, rest, cols))
    n_quads = builder.lshr(inner, I64(QUAD.bit_length() - 1))
    n_rests = builder.zext(builder.icmp_signed(">", rest, I64(0)), I64)  # 1 or 0

    def group(first: Any, n: Any) -> None:
        """Rows from `first` on: `height` of them, or the `n` that there are."""
        out_rows, start_rows, a_rows = (
            row_places(builder, builder.gep(base, [builder.mul(first, step)]), step, height, n)
            for base, step in ((out, o_row), (start, s_row), (a, a_row))
        )
        from_start = [columns.load(row)[0] for row in start_rows]

        def add(terms: Vectors, q: Any, sums: list[list[Any]]) -> list[list[Any]]:
            """Add the q-th quad of each row."""
            factors = wide.load(builder.gep(panel, [builder.mul(q, I64(LANES))]))[0]
            at = builder.mul(q, I64(QUAD))
            read = [terms.load(builder.gep(row, [at]))[0] for row in a_rows]
            repeated = [_shuffle(builder, x, x, [*range(QUAD)] * QUAD) for x in read]
            return [[wide.fused(x, factors, total)] for x, (total,) in zip(repeated, sums, strict=True)]

        sums = sum_over(builder, n_quads, [[wide.zeros]] * height, lambda q, sums: add(all_terms, q, sums))
        sums = sum_over(builder, n_rests, sums, lambda _, sums: add(some_terms, n_quads, sums))
        by_row = [
            part
            for k in range(0, height, QUAD)
            for part in _finish_rows(builder, [total for (total,) in sums[k : k + QUAD]])
        ]
        totals = [[builder.fadd(x, y)] for x, y in zip(from_start, by_row, strict=True)]
        write_finished(builder, columns, out_rows, totals, after)

    whole = builder.sub(rows, builder.and_(rows, I64(height - 1)))
    with cgutils.for_range_slice(builder, I64(0), whole, I64(height), inc=True) as (first, _):
        group(first, None)
    with builder.if_then(builder.icmp_signed("<", whole, rows)):
        group(whole, builder.sub(rows, whole))
    builder.ret_void()
    return function


def _shuffle(builder: Any, x: Any, y: Any, lanes: list[int]) -> Any:
    """Lanes of x, and, counted on, of y."""
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


def _finish_rows(builder: Any, sums: list[Any]) -> list[Any]:
    """Add up the four sums of each column, of four rows: the numbers of each row."""
    firsts = [lane for c in range(0, LANES, QUAD) for lane in (c, c + 2, LANES + c, LANES + c + 2)]

    def halves(x: Any, y: Any) -> Any:
        """Lanes 0 + 1 and 2 + 3 of each four of x, then of y."""
        return builder.fadd(
            _shuffle(builder, x, y, firsts), _shuffle(builder, x, y, [lane + 1 for lane in firsts])
        )

    columns = halves(halves(sums[0], sums[1]), halves(sums[2], sums[3]))
    by_row = _shuffle(builder, columns, columns, TURNED)
    return [_shuffle(builder, by_row, by_row, [*range(r * QUAD, (r + 1) * QUAD)]) for r in range(QUAD)]


def _multiply_quads(typing_context, out, o, o_row, start, s, s_row, a, a0, a_row, panel, inner, rows, cols,
                    after):  # fmt: skip
    def codegen(context, builder, signature, args):
        out_at, start_at, a_at, panel_at = (
            pointer_to(context, builder, kind, array, offset)
            for kind, array, offset in (
                (out, args[0], args[1]),
                (start, args[3], args[4]),
                (a, args[6], args[7]),
                (panel, args[9], I64(0)),
            )
        )
        function = _quads_function(context, builder.module, out.dtype)
        steps = args[2], args[5], args[8]
        pairs = [x for pair in zip((out_at, start_at, a_at), steps, strict=True) for x in pair]
        builder.call(function, [*pairs, panel_at, *args[10:]])
        return context.get_dummy_value()

    n = types.int64
    return types.void(out, n, n, start, n, n, a, n, n, panel, n, n, n, n), codegen


if INTRINSICS:
    pack_quads, multiply_quads = intrinsic(_pack_quads), intrinsic(_multiply_quads)
else:
    pack_quads, multiply_quads = kernel(plain_pack_quads), kernel(plain_multiply_quads)
