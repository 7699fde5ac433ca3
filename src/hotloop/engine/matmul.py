"""The one product behind all three of a dense layer: out = start + a b.

    forward     z  = b  + x W      rows of the batch
    backward    δₓ =      δ Wᵀ     rows of the batch
    gradient    dW =      xᵀ δ     rows of the kernel, summed over the batch

`multiply` walks over the output in tiles that fit the registers. A tile keeps its sums in
registers from the first to the last term, so memory traffic is paid once a tile and the limit is
the processor's multiply-add rate. Its plain form is `plain_tile`; the compiled form writes the
same loops as LLVM vectors, since LLVM does not find them by itself.

Every sum runs over its terms in one order, starting at `start`, one fused multiply-add a term. So
a number does not depend on the tile it falls into, on the batch, or on the number of threads.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from hotloop._jit import INTRINSICS, cgutils, intrinsic, kernel, types

__all__ = ["Matrix", "multiply", "tile_shape"]


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


def plain_tile(out, o, o_row, start, s, s_row, a, a0, a_row, a_col, b, b0, b_row, inner, rows, cols):
    """What a tile computes, in plain loops: used with the JIT off and under bounds checks."""
    for i in range(rows):
        for j in range(cols):
            total = start[s + i * s_row + j]
            for p in range(inner):
                total += a[a0 + i * a_row + p * a_col] * b[b0 + p * b_row + j]
            out[o + i * o_row + j] = total


VECTORS = 2
"""Vectors in a row of a tile."""
ROW_VECTORS = 8
"""Vectors in the tile of a single row: enough sums that one need not wait for the last one of its kind."""


def _target_shape(context: Any, itemsize: int) -> tuple[int, int]:
    """Rows of a tile, and lanes of a vector: as many sums as the processor's registers hold.

    32 registers hold 8 x 2 sums, two vectors of b and a broadcast element of a; 16 hold 6 x 2.
    """
    triple, _, features = context.codegen().magic_tuple()
    if "+avx512f" in features:
        return 8, 64 // itemsize
    if "+avx" in features:
        return 6, 32 // itemsize
    return 8 if triple.startswith(("aarch64", "arm64")) else 6, 16 // itemsize


def _write_tile(context: Any, builder: Any, array_types: Any, args: Any, kind: str) -> None:
    """Emit the tile: rows x vectors sums in registers, one pass over the inner dimension.

    An edge tile reads and writes only the columns that exist (masked), and treats rows past the
    last as the last once more: they compute, and store, the same numbers.
    """
    out, o, o_row, start, s, s_row, a, a0, a_row, a_col, b, b0, b_row, inner, n_rows, n_cols = args
    out_type, start_type, a_type, b_type = array_types
    item = out_type.dtype
    rows, lanes = _target_shape(context, item.bitwidth // 8)
    vectors, edge = VECTORS, kind != "full"
    if kind == "row":
        rows, vectors = 1, ROW_VECTORS
    i32, i64 = ir.IntType(32), ir.IntType(64)
    vector = ir.VectorType(context.get_data_type(item), lanes)
    mask_type = ir.VectorType(ir.IntType(1), lanes)
    suffix = f"v{lanes}f{item.bitwidth}"
    align = item.bitwidth // 8

    def declare(name: str, result: Any, *arguments: Any) -> Any:
        return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)

    def pointer(kind: Any, value: Any, offset: Any) -> Any:
        return builder.gep(context.make_array(kind)(context, builder, value).data, [offset])

    def splat(value: Any, kind: Any) -> Any:
        first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, i32(0))
        zeros = ir.Constant(ir.VectorType(i32, lanes), [0] * lanes)
        return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)

    # Multiply-add: fused where the processor has it.
    muladd = declare(f"llvm.fmuladd.{suffix}", vector, vector, vector, vector)
    masks = []
    if edge:
        wide = ir.VectorType(i64, lanes)
        for v in range(vectors):
            lane = ir.Constant(wide, [v * lanes + k for k in range(lanes)])
            masks.append(builder.icmp_signed("<", lane, splat(n_cols, wide)))
        vector_pointer = vector.as_pointer()
        masked_load = declare(f"llvm.masked.load.{suffix}.p0", vector, vector_pointer, i32, mask_type, vector)
        masked_store = declare(
            f"llvm.masked.store.{suffix}.p0", ir.VoidType(), vector, vector_pointer, i32, mask_type
        )

    def load(base: Any, v: int) -> Any:
        where = builder.bitcast(builder.gep(base, [i64(v * lanes)]), vector.as_pointer())
        if edge:
            return builder.call(masked_load, [where, i32(align), masks[v], ir.Constant(vector, None)])
        value = builder.load(where)
        value.align = align
        return value

    def store(value: Any, base: Any, v: int) -> None:
        where = builder.bitcast(builder.gep(base, [i64(v * lanes)]), vector.as_pointer())
        if edge:
            builder.call(masked_store, [value, where, i32(align), masks[v]])
        else:
            builder.store(value, where).align = align

    def row_index(r: int) -> Any:
        if kind != "edge":
            return i64(r)
        last = builder.sub(n_rows, i64(1))
        return builder.select(builder.icmp_signed("<", last, i64(r)), last, i64(r))

    index = [row_index(r) for r in range(rows)]
    out_rows = [pointer(out_type, out, builder.add(o, builder.mul(k, o_row))) for k in index]
    start_rows = [pointer(start_type, start, builder.add(s, builder.mul(k, s_row))) for k in index]
    a_rows = [pointer(a_type, a, builder.add(a0, builder.mul(k, a_row))) for k in index]
    b_base = pointer(b_type, b, b0)
    first = [load(start_rows[r], v) for r in range(rows) for v in range(vectors)]

    before = builder.block
    loop, after = builder.append_basic_block("inner"), builder.append_basic_block("store")
    builder.cbranch(builder.icmp_signed(">", inner, i64(0)), loop, after)

    builder.position_at_end(loop)
    p = builder.phi(i64)
    p.add_incoming(i64(0), before)
    sums = []
    for value in first:
        total = builder.phi(vector)
        total.add_incoming(value, before)
        sums.append(total)
    b_row_base = builder.gep(b_base, [builder.mul(p, b_row)])
    b_vectors = [load(b_row_base, v) for v in range(vectors)]
    a_step = builder.mul(p, a_col)
    new = []
    for r in range(rows):
        element = splat(builder.load(builder.gep(a_rows[r], [a_step])), vector)
        for v in range(vectors):
            new.append(builder.call(muladd, [element, b_vectors[v], sums[r * vectors + v]]))
    following = builder.add(p, i64(1))
    p.add_incoming(following, loop)
    for total, value in zip(sums, new, strict=True):
        total.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, inner), loop, after)

    builder.position_at_end(after)
    for k, (was, value) in enumerate(zip(first, new, strict=True)):
        total = builder.phi(vector)
        total.add_incoming(was, before)
        total.add_incoming(value, loop)
        first[k] = total
    for r in range(rows):
        for v in range(vectors):
            store(first[r * vectors + v], out_rows[r], v)


def _make_tile(kind: str) -> Any:
    def tile(typing_context, out, o, o_row, start, s, s_row, a, a0, a_row, a_col, b, b0, b_row, inner,
             rows, cols):  # fmt: skip
        n = types.int64
        signature = types.void(out, n, n, start, n, n, a, n, n, n, b, n, n, n, n, n)

        def codegen(context, builder, signature, args):
            _write_tile(context, builder, (out, start, a, b), args, kind)
            return context.get_dummy_value()

        return signature, codegen

    return intrinsic(tile)


def _plain_shape(array):
    return 4, 4


def _tile_shape(typing_context, array):
    """(rows, columns) of a tile, a constant of the processor and the dtype."""

    def codegen(context, builder, signature, args):
        rows, lanes = _target_shape(context, array.dtype.bitwidth // 8)
        return context.make_tuple(
            builder, signature.return_type, [ir.IntType(64)(rows), ir.IntType(64)(VECTORS * lanes)]
        )

    return types.UniTuple(types.int64, 2)(array), codegen


if INTRINSICS:
    full_tile, edge_tile, row_tile = _make_tile("full"), _make_tile("edge"), _make_tile("row")
    tile_shape = intrinsic(_tile_shape)
else:
    full_tile = edge_tile = row_tile = kernel(plain_tile)
    tile_shape = kernel(_plain_shape)

PANEL_COLUMNS = 32
"""The widest tile of any processor, in numbers: what a panel must have room for, times the inner size."""
assert np.float32().itemsize * PANEL_COLUMNS == 2 * 64
