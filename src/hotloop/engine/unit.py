"""The instructions of a processor's matrix unit (Intel AMX), and whether there is one.

Of its eight registers, squares of 16 rows of 64 bytes, four hold the sums of a block, `LINES` x `LINES`; two
hold some lines of `a`, two some columns of `b` (`engine.split`), so that each square that is loaded is used
twice. The plain twins keep the sums in memory.
"""

import ctypes
import functools
import os
import sys
from typing import Any

from llvmlite import ir

from hotloop._jit import INTRINSICS, cgutils, intrinsic, kernel, processor, types
from hotloop.engine.split import LINES, SIDE, SQUARE, STEP, TERMS, part_of
from hotloop.engine.tile import finished, write_finished
from hotloop.engine.vectors import I32, I64, Vectors

__all__ = [
    "SUMS",
    "add_products",
    "begin",
    "close_sums",
    "finish_row",
    "has_amx",
    "open_sums",
    "release",
]

SUMS = LINES * LINES
"""Sums of a block."""
HALVES = ((2, 0), (1, 0), (1, 1)), ((0, 1), (0, 2), (0, 0))
"""The parts of `a` and of `b` whose products are added up, small ones first; neighbours share one, which is
not loaded again."""


def plain_open_sums(panel, sums, more):
    """Take the sums of a block from panel[sums:], or begin with zeros if there are no more."""
    if not more:
        panel[sums : sums + SUMS] = 0


def plain_add_products(panel, sums, a, b, half, ahead):
    """Add Σₚ a[i, p] b[p, j] over the terms of a step to the sums, of half of the pairs of parts.

    Half 1 follows half 0 of the same step: it finds in the unit what that has left there. What is at
    panel[ahead:] is wanted next.
    """
    for i in range(LINES):
        for j in range(LINES):
            total = panel[sums + i * LINES + j]
            for part_a, part_b in HALVES[half]:
                for q in range(TERMS // 2):
                    x = panel[a + (2 * part_a + i // SIDE) * SQUARE + i % SIDE * SIDE + q]
                    y = panel[b + (2 * part_b + j // SIDE) * SQUARE + q * SIDE + j % SIDE]
                    for upper in (False, True):
                        total += part_of(x, upper) * part_of(y, upper)
            panel[sums + i * LINES + j] = total


def plain_close_sums(panel, sums):
    """Put the sums of a block, LINES x LINES, to panel[sums:]: here they are there already."""


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
SUM_TILES, A_TILES, B_TILES = (0, 1, 2, 3), (4, 5), (6, 7)  # the registers
SQUARE_BYTES, ROW_BYTES = 4 * SQUARE, 64
LINES_FETCHED = STEP * 4 // ROW_BYTES // (2 * len(HALVES[0]) * len(SUM_TILES))
"""Cache lines of what is wanted next that are asked for with each product of squares."""


def _amx(builder: Any, name: str, *arguments: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), arguments)


def _shapes(builder: Any) -> Any:
    """The shapes of the eight registers, in memory: each has 16 rows of 64 bytes."""
    columns, rows = [64, 0] * 8 + [0] * 16, [16] * 8 + [0] * 8
    data = ir.Constant(ir.ArrayType(I8, 64), bytearray([1, *[0] * 15, *columns, *rows]))
    return builder.bitcast(cgutils.global_constant(builder, "amx_shapes", data), POINTER)


def _panel(context: Any, builder: Any, kind: Any, panel: Any, offset: Any) -> Any:
    data = context.make_array(kind)(context, builder, panel).data
    return builder.bitcast(builder.gep(data, [offset]), POINTER)


def _sum_places(builder: Any, sums: Any) -> list[Any]:
    return [builder.gep(sums, [I64(4 * SIDE * (tile // 2 * LINES + tile % 2))]) for tile in SUM_TILES]


def _open_sums(typing_context, panel, sums, more):
    def codegen(context, builder, signature, args):
        places = _sum_places(builder, _panel(context, builder, panel, *args[:2]))
        with builder.if_else(args[2]) as (some, none):
            with some:
                for tile, place in zip(SUM_TILES, places, strict=True):
                    _amx(builder, "tileloadd64", I8(tile), place, I64(4 * LINES))
            with none:
                for tile in SUM_TILES:
                    _amx(builder, "tilezero", I8(tile))
        return context.get_dummy_value()

    return types.void(panel, types.int64, types.boolean), codegen


def _close_sums(typing_context, panel, sums):
    def codegen(context, builder, signature, args):
        places = _sum_places(builder, _panel(context, builder, panel, *args))
        for tile, place in zip(SUM_TILES, places, strict=True):
            _amx(builder, "tilestored64", I8(tile), place, I64(4 * LINES))
        return context.get_dummy_value()

    return types.void(panel, types.int64), codegen


def _add_products(typing_context, panel, sums, a, b, half, ahead):
    def codegen(context, builder, signature, args):
        bases = [_panel(context, builder, panel, args[0], offset) for offset in args[2:4]]
        fetched = _panel(context, builder, panel, args[0], args[5])
        with builder.if_else(builder.icmp_signed("==", args[4], I64(0))) as (first, second):
            with first:
                _write_products(builder, HALVES[0], (None, None), bases, fetched)
            with second:
                fetched = builder.gep(fetched, [I64(STEP * 4 // 2)])
                _write_products(builder, HALVES[1], HALVES[0][-1], bases, fetched)
        return context.get_dummy_value()

    n = types.int64
    return types.void(panel, n, n, n, n, n), codegen


def _write_products(builder: Any, pairs: Any, before: Any, bases: list[Any], fetched: Any) -> None:
    """Of pairs of parts; those `before` are in the unit already. With each, some cache lines are fetched."""
    kind = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
    prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    for pair in pairs:
        for part, was, base, tiles in zip(pair, before, bases, (A_TILES, B_TILES), strict=True):
            if part != was:
                for square, tile in enumerate(tiles):
                    place = builder.gep(base, [I64((2 * part + square) * SQUARE_BYTES)])
                    _amx(builder, "tileloadd64", I8(tile), place, I64(ROW_BYTES))
        before = pair
        for tile in SUM_TILES:
            _amx(builder, "tdpbf16ps", I8(tile), I8(A_TILES[tile // 2]), I8(B_TILES[tile % 2]))
            for _ in range(LINES_FETCHED):
                builder.call(prefetch, [fetched, I32(0), I32(3), I32(1)])
                fetched = builder.gep(fetched, [I64(ROW_BYTES)])


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
    begin, release = intrinsic(_begin), intrinsic(_release)
    open_sums, close_sums = intrinsic(_open_sums), intrinsic(_close_sums)
    add_products, finish_row = intrinsic(_add_products), intrinsic(_finish_row)
else:
    open_sums, close_sums = kernel(plain_open_sums), kernel(plain_close_sums)
    add_products, finish_row = kernel(plain_add_products), kernel(plain_finish_row)

    @kernel
    def begin():
        return

    release = begin


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
