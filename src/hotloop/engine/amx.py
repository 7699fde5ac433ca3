"""Products of float32 on the matrix unit of a processor (Intel AMX), as accurate as by multiply-adds.

The unit multiplies bfloat16s and adds in float32, 16 times as fast as vectors do. Of three parts of each
number (`engine.split`) six products are taken: at best 2.7 times as many numbers a second as by
multiply-adds. Packing is part of the price, so it is for products with many rows, columns and terms, and for
training, where a number need not depend on its own row alone.

Every sum runs over its terms in one order, 32 of them at a time, whatever its tile or thread.
"""

import ctypes
import functools
import os
import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from hotloop._jit import INTRINSICS, cgutils, intrinsic, kernel, processor, types
from hotloop.engine.address import address_of
from hotloop.engine.fetch import fetch_vectors
from hotloop.engine.matmul import Matrix
from hotloop.engine.split import LINES, PARTS, SIDE, SQUARE, STEP, TERMS, pack_squares, part_of
from hotloop.engine.tile import PLAIN, finished, write_finished
from hotloop.engine.vectors import I32, I64, Vectors

__all__ = [
    "MOST_LINES",
    "amx_address",
    "amx_multiply",
    "amx_scratch",
    "halves_of",
    "has_amx",
    "is_worth_amx",
    "passes_of",
]

LEAST, MOST_PADDING = 96, 1.35
"""Rows of a minibatch, inputs and outputs of a layer that pay for packing, if filling up blocks makes no more
of the work than this. (Of 100 x 100 x 100 it makes twice as much.)"""

MOST_STEPS, MOST_LINES = 13, 416
"""Steps of terms in one pass, and rows of `a` that are packed at once: with some columns of `b` they fit the
second cache."""
SUMS = LINES * LINES
"""Sums of a block."""
SUMS_AT, SPARE_AT = 0, SUMS
B_AT = SPARE_AT + STEP
"""Where in the scratch the sums of a block are, a square to be turned, and the columns of `b`; then `a`."""


def passes_of(terms: int) -> int:
    """In how many passes a product goes through its terms: what each sums up is added to what was before."""
    return max((terms + MOST_STEPS * TERMS - 1) // (MOST_STEPS * TERMS), 1)


passes_through = kernel(passes_of)


def is_worth_amx(n_in: int, n_out: int, rows: int) -> bool:
    """Whether the products of a dense layer are faster so, in minibatches of so many rows."""
    sizes = np.array([n_in, n_out, rows])
    padded = -(-sizes // LINES) * LINES
    return bool(sizes.min() >= LEAST and (padded / sizes).prod() <= MOST_PADDING)


def halves_of(terms: int) -> NDArray[np.int64]:
    """Where the passes of `amx_multiply` through so many terms begin, and their end, if they are two."""
    return np.array([0, -(-terms // TERMS) // 2 * TERMS, terms])


def amx_scratch(rows: int, terms: int) -> int:
    """Numbers of scratch that products of up to so many rows and terms want."""
    steps = min(-(-terms // TERMS), MOST_STEPS)
    groups = -(-min(rows, MOST_LINES) // LINES)
    return B_AT + steps * STEP * (1 + groups)


@kernel
def amx_multiply(out, start, a, b, rows, cols, inner, panel, after):
    """Do what `matmul.multiply` does, and say that it is done; `panel` is of the size of `amx_scratch`."""
    steps = max((inner + TERMS - 1) // TERMS, 1)
    passes = passes_through(inner)
    so_far = start
    begin()
    for k in range(passes):
        p, end = steps * k // passes * TERMS, min(steps * (k + 1) // passes * TERMS, inner)
        some_a = Matrix(a.data, a.offset + p * a.col, a.row, a.col)
        some_b = Matrix(b.data, b.offset + p * b.row, b.row, b.col)
        then = after if end == inner else PLAIN
        for first in range(0, rows, MOST_LINES):
            last = min(first + MOST_LINES, rows)
            _multiply_rows(out, so_far, some_a, some_b, first, last, cols, end - p, panel, then)
        so_far = out
    release()
    return True


@kernel
def _multiply_rows(out, start, a, b, first, last, cols, inner, panel, after):
    """Rows first:last of the product: few enough to be packed together, as are the terms."""
    strip = (inner + TERMS - 1) // TERMS * STEP  # words of some lines
    a_at = B_AT + strip
    for i in range(first, last, LINES):
        to, n_rows = a_at + (i - first) // LINES * strip, min(LINES, last - i)
        pack_squares(panel, to, SPARE_AT, a.data, a.offset + i * a.row, a.row, a.col, n_rows, inner, True)
    for j in range(0, cols, LINES):
        n_cols = min(LINES, cols - j)
        pack_squares(panel, B_AT, SPARE_AT, b.data, b.offset + j * b.col, b.col, b.row, n_cols, inner, False)
        for i in range(first, last, LINES):
            n_rows, block = min(LINES, last - i), (i - first) // LINES
            to, origin = out.offset + i * out.row + j, start.offset + i * start.row + j
            # What comes next is fetched while the unit multiplies.
            for r in range(n_rows):
                fetch_vectors(out.data, to + r * out.row)
            if b.col == 1:
                blocks = (last - first + LINES - 1) // LINES
                for p in range(inner * block // blocks, inner * (block + 1) // blocks):
                    fetch_vectors(b.data, b.offset + p * b.row + j + LINES)
            sum_block(panel, SUMS_AT, a_at + block * strip, B_AT, strip // STEP)
            for r in range(n_rows):
                finish_row(
                    out.data, to + r * out.row, start.data, origin + r * start.row,
                    panel, SUMS_AT + r * LINES, n_cols, after,
                )  # fmt: skip


def plain_sum_block(panel, sums, a, b, n_steps):
    """Sums of a block, LINES x LINES, to panel[sums:]: Σₚ a[i, p] b[p, j] over the steps, of six parts."""
    for i in range(LINES):
        for j in range(LINES):
            total = np.float32(0)
            for step in range(n_steps):
                for q in range(TERMS // 2):
                    for k in range(PARTS):
                        for m in range(PARTS - k):
                            x = panel[a + step * STEP + (2 * k + i // SIDE) * SQUARE + i % SIDE * SIDE + q]
                            y = panel[b + step * STEP + (2 * m + j // SIDE) * SQUARE + q * SIDE + j % SIDE]
                            for upper in (False, True):
                                total += part_of(x, upper) * part_of(y, upper)
            panel[sums + i * LINES + j] = total


def plain_finish_row(out, o, start, s, sums, at, n, after):
    """out[o + j] = start[s + j] + sums[at + j], `finished`, for j < n."""
    for j in range(n):
        out[o + j] = finished(start[s + j] + sums[at + j], out, o + j, after)


def _finish_row(typing_context, out, o, start, s, sums, at, n, after):
    def codegen(context, builder, signature, args):
        number = context.get_data_type(types.float32)
        vectors = Vectors(builder, types.float32, number, SIDE, LINES // SIDE, args[6])
        out_at, start_at, sums_at = (
            builder.gep(context.make_array(kind)(context, builder, array).data, [offset])
            for kind, array, offset in zip((out, start, sums), args[0:6:2], args[1:6:2], strict=True)
        )
        both = zip(vectors.load(start_at), vectors.load(sums_at), strict=True)
        write_finished(builder, vectors, [out_at], [[builder.fadd(x, y) for x, y in both]], args[7])
        return context.get_dummy_value()

    n64 = types.int64
    return types.void(out, n64, start, n64, sums, n64, n64, n64), codegen


POINTER, I8 = ir.IntType(8).as_pointer(), ir.IntType(8)
# The unit's registers: four squares of sums, two of lines of `a`, two of columns of `b`.
SUM_TILES, A_TILES, B_TILES = (0, 1, 2, 3), (4, 5), (6, 7)
SQUARE_BYTES, ROW_BYTES = 4 * SQUARE, 64
# So that few squares are loaded twice.
ORDER = ((2, 0), (1, 0), (1, 1), (0, 1), (0, 2), (0, 0))
LINES_FETCHED = STEP * 4 // 64 // (len(ORDER) * len(SUM_TILES))
"""Cache lines of the next step of `a` that are asked for with each product of squares."""


def _amx(builder: Any, name: str, *arguments: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), arguments)


def _shapes(builder: Any) -> Any:
    """The shapes of the eight registers, in memory: each has 16 rows of 64 bytes."""
    columns, rows = [64, 0] * 8 + [0] * 16, [16] * 8 + [0] * 8
    data = ir.Constant(ir.ArrayType(I8, 64), bytearray([1, *[0] * 15, *columns, *rows]))
    return builder.bitcast(cgutils.global_constant(builder, "amx_shapes", data), POINTER)


def _sum_block(typing_context, panel, sums, a, b, n_steps):
    def codegen(context, builder, signature, args):
        data = context.make_array(panel)(context, builder, args[0]).data
        sums_at, a_at, b_at = (builder.bitcast(builder.gep(data, [offset]), POINTER) for offset in args[1:4])
        kind = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        for tile in SUM_TILES:
            _amx(builder, "tilezero", I8(tile))
        with cgutils.for_range(builder, args[4]) as loop:
            step = builder.mul(loop.index, I64(4 * STEP))
            loaded, fetched = [-1, -1], 0
            for parts in ORDER:
                for side, (part, base, tiles) in enumerate(
                    zip(parts, (a_at, b_at), (A_TILES, B_TILES), strict=True)
                ):
                    if loaded[side] != part:
                        for half, tile in enumerate(tiles):
                            place = builder.add(step, I64((2 * part + half) * SQUARE_BYTES))
                            _amx(builder, "tileloadd64", I8(tile), builder.gep(base, [place]), I64(ROW_BYTES))
                        loaded[side] = part
                for tile in SUM_TILES:
                    _amx(builder, "tdpbf16ps", I8(tile), I8(A_TILES[tile // 2]), I8(B_TILES[tile % 2]))
                    for _ in range(LINES_FETCHED):
                        ahead = builder.gep(a_at, [builder.add(step, I64(4 * STEP + 64 * fetched))])
                        builder.call(prefetch, [ahead, I32(0), I32(3), I32(1)])
                        fetched += 1
        for tile in SUM_TILES:
            place = I64(4 * SIDE * (tile // 2 * LINES + tile % 2))
            _amx(builder, "tilestored64", I8(tile), builder.gep(sums_at, [place]), I64(4 * LINES))
        return context.get_dummy_value()

    n = types.int64
    return types.void(panel, n, n, n, n), codegen


def _begin(typing_context):
    """Give the unit's registers their shapes."""

    def codegen(context, builder, signature, args):
        _amx(builder, "ldtilecfg", _shapes(builder))
        return context.get_dummy_value()

    return types.void(), codegen


def _release(typing_context):
    """Give the unit's registers back: a thread that holds some takes longer to switch to."""

    def codegen(context, builder, signature, args):
        _amx(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), codegen


if INTRINSICS:
    sum_block, finish_row = intrinsic(_sum_block), intrinsic(_finish_row)
    begin, release = intrinsic(_begin), intrinsic(_release)
else:
    sum_block, finish_row = kernel(plain_sum_block), kernel(plain_finish_row)

    @kernel
    def begin():
        return

    release = begin


def amx_address(numbers: NDArray[Any]) -> int:
    """The address of `amx_multiply`, for networks that work in memory like `numbers`."""
    has_amx()  # asks the system for it: without that the unit would end the process
    some = Matrix(numbers, 0, 1, 1)
    return address_of(amx_multiply, (some, some, some, some, 0, 0, 0, numbers, 0))


@functools.cache
def has_amx() -> bool:
    """Whether the processor has such a unit, and the system lets this process use it: Linux must be asked.

    With ``HOTLOOP_AMX=0`` in the environment it is left alone: results are then those of other processors.
    """
    _, features = processor()
    needed = {"+amx-tile", "+amx-bf16", "+avx512f", "+avx512bw"}
    if not INTRINSICS or sys.platform != "linux" or not needed <= set(features.split(",")):
        return False
    if os.environ.get("HOTLOOP_AMX") == "0":
        return False
    call, ask_for, tile_data = 158, 0x1023, 18  # arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA)
    return bool(ctypes.CDLL(None).syscall(call, ask_for, tile_data) == 0)
