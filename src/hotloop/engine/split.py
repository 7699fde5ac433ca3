"""Numbers as sums of three shorter ones: how float32 products run on a processor's matrix unit.

A float32 has 24 bits; a bfloat16 has 8, and the same exponents. So x = high + middle + low, three bfloat16s,
exactly, each what is left by those before it with the last bits cut off; and a product of two float32s is a
sum of nine exact products of bfloat16s, of which six matter: the other three are 2⁻²⁴ of it on average and
less than 2⁻²¹. (Henry, Tang & Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for
higher-precision computations", 2019.)

Of numbers below 1e-33 the low part may be too small for a float32, and is 0; and of products below 1e-30 the
unit flushes small ones of the six to 0, as training does with all that is too small. An infinite number
becomes NaN, since what is left of it is ∞ − ∞.

The unit (`engine.amx`) multiplies a square of 16 lines by another, 32 terms at a time, two neighbours of
which are the halves of a 32-bit word. A square is 16 x 16 words. Those of `a` have a line in each row, those
of `b` a pair of terms.
"""

from typing import Any

import numpy as np
from llvmlite import ir

from hotloop._jit import INTRINSICS, cgutils, intrinsic, kernel, types
from hotloop.engine.square import full_square
from hotloop.engine.vectors import I32, I64

__all__ = ["LINES", "PARTS", "SIDE", "SQUARE", "STEP", "TERMS", "pack_squares", "part_of"]

SIDE = 16
"""Rows of a square, and words in each."""
SQUARE = SIDE * SIDE
"""Words of a square: as many numbers of scratch."""
LINES, TERMS = 2 * SIDE, 2 * SIDE
"""Lines that are packed together, in two squares; terms of a step."""
PARTS = 3
STEP = PARTS * 2 * SQUARE
"""Words of a step: the high parts of two squares, then the middle ones, then the low ones."""
APART = 2 * SQUARE
"""From a part to the next."""

UPPER = np.int32(-65536)  # of 32 bits the 16 of a bfloat16
HALF = np.int32(16)
LOWER = np.int32(65535)


@kernel
def pack_squares(words, at, spare, data, offset, line, term, n_lines, n_terms, is_a):
    """Lines of a matrix in parts, to words[at:]: step after step of terms, for up to `LINES` lines.

    Term p of line i is ``data[offset + i * line + p * term]``; one of the two steps is 1. What is beyond the
    last line or term is 0. `spare` is where in `words` there is room for the three parts of a square.
    """
    zero = np.int64(0)
    for p in range(0, n_terms, TERMS):
        terms = min(TERMS, n_terms - p)
        for half in range(2):
            i = half * SIDE
            lines = min(max(n_lines - i, zero), SIDE)
            first, to = offset + i * line + p * term, at + p // TERMS * STEP + half * SQUARE
            turned = is_a != (term == 1) and lines > 0
            square = spare if turned else to
            if term == 1:
                for k in range(SIDE):
                    split_terms(
                        words, square + k * SIDE, data, first + k * line, terms if k < lines else zero
                    )
            else:
                for k in range(SIDE):
                    n, m = (lines if 2 * k < terms else zero), (lines if 2 * k + 1 < terms else zero)
                    split_lines(words, square + k * SIDE, data, first + 2 * k * term, n, term, m)
            if turned:
                for part in range(PARTS):
                    source, place = spare + part * APART, to + part * APART
                    full_square(words, place, SIDE, words, source, SIDE, SIDE, SIDE)


@kernel
def part_of(word, upper):
    """One of the two bfloat16s of a word, as float32."""
    bits = np.float32(word).view(np.int32)
    return np.int32(bits & UPPER if upper else bits << HALF).view(np.float32)


@kernel
def cut(x):
    """x with the bits cut off that a bfloat16 does not have."""
    return np.int32(np.float32(x).view(np.int32) & UPPER).view(np.float32)


@kernel
def word_of(x, y):
    """Two numbers, cut, in a word."""
    low = np.int32((np.float32(x).view(np.int32) >> HALF) & LOWER)
    return np.int32(low | (np.float32(y).view(np.int32) & UPPER)).view(np.float32)


@kernel
def put_parts(words, to, x, y):
    """The parts of a pair of numbers, to words[to] and on."""
    for part in range(PARTS):
        words[to + part * APART] = word_of(x, y)
        x, y = np.float32(x - cut(x)), np.float32(y - cut(y))


def plain_split_terms(words, to, data, at, n):
    """The parts of data[at : at + n], whose neighbours are pairs; beyond them, of zeros."""
    zero = np.float32(0)
    for k in range(SIDE):
        x = data[at + 2 * k] if 2 * k < n else zero
        y = data[at + 2 * k + 1] if 2 * k + 1 < n else zero
        put_parts(words, to + k, x, y)


def plain_split_lines(words, to, data, at, n, step, m):
    """The parts of data[at : at + n] and of data[at + step : at + step + m], in pairs; beyond, of zeros."""
    zero = np.float32(0)
    for k in range(SIDE):
        x = data[at + k] if k < n else zero
        y = data[at + step + k] if k < m else zero
        put_parts(words, to + k, x, y)


FLOATS, WORDS = ir.VectorType(ir.FloatType(), SIDE), ir.VectorType(I32, SIDE)
HALVES = ir.VectorType(ir.IntType(16), 2 * SIDE)
# Of two vectors, their upper halves: one after the other, or by turns.
IN_ROW = [2 * k + 1 for k in range(2 * SIDE)]
BY_TURNS = [2 * (k // 2) + 1 + 2 * SIDE * (k % 2) for k in range(2 * SIDE)]


def _load(builder: Any, first: Any, n: Any, skip: int = 0) -> Any:
    """The numbers from the one at `first` + `skip` on, as far as there are `n`, at most 32; beyond, zeros."""
    ones = builder.sub(builder.shl(I64(1), n), I64(1))
    mask = builder.bitcast(
        builder.trunc(builder.lshr(ones, I64(skip)), ir.IntType(16)), ir.VectorType(ir.IntType(1), SIDE)
    )
    place = builder.bitcast(builder.gep(first, [I64(skip)]), FLOATS.as_pointer())
    arguments = [place, I32(4), mask, ir.Constant(FLOATS, None)]
    kind = ir.FunctionType(FLOATS, [argument.type for argument in arguments])
    name = f"llvm.masked.load.v{SIDE}f32.p0"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _put_parts(builder: Any, first: Any, x: Any, y: Any, order: list[int]) -> None:
    """`put_parts` of all numbers of two vectors."""
    upper, order = ir.Constant(WORDS, [int(UPPER)] * SIDE), ir.Constant(ir.VectorType(I32, 2 * SIDE), order)
    for part in range(PARTS):
        word = builder.shuffle_vector(builder.bitcast(x, HALVES), builder.bitcast(y, HALVES), order)
        place = builder.bitcast(builder.gep(first, [I64(part * APART)]), HALVES.as_pointer())
        builder.store(word, place).align = 4
        x, y = (
            builder.fsub(v, builder.bitcast(builder.and_(builder.bitcast(v, WORDS), upper), FLOATS))
            for v in (x, y)
        )


def _place(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [offset])


def _split_terms(typing_context, words, to, data, at, n):
    def codegen(context, builder, signature, args):
        first = _place(context, builder, data, args[2], args[3])
        x, y = (_load(builder, first, args[4], skip) for skip in (0, SIDE))
        _put_parts(builder, _place(context, builder, words, args[0], args[1]), x, y, IN_ROW)
        return context.get_dummy_value()

    return types.void(words, types.int64, data, types.int64, types.int64), codegen


def _split_lines(typing_context, words, to, data, at, n, step, m):
    def codegen(context, builder, signature, args):
        starts = args[3], builder.add(args[3], args[5])
        x, y = (
            _load(builder, _place(context, builder, data, args[2], start), some)
            for start, some in zip(starts, (args[4], args[6]), strict=True)
        )
        _put_parts(builder, _place(context, builder, words, args[0], args[1]), x, y, BY_TURNS)
        return context.get_dummy_value()

    n64 = types.int64
    return types.void(words, n64, data, n64, n64, n64, n64), codegen


if INTRINSICS:
    split_terms, split_lines = intrinsic(_split_terms), intrinsic(_split_lines)
else:
    split_terms, split_lines = kernel(plain_split_terms), kernel(plain_split_lines)
