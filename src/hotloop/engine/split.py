"""Numbers as sums of three shorter ones: how float32 products run on a processor's matrix unit.

A float32 has 24 bits; a bfloat16 has 8, and the same exponents. So x = high + middle + low, three bfloat16s,
exactly, each what is left by those before it with the last bits cut off; and a product of two float32s is a
sum of nine exact products of bfloat16s, of which six matter: the other three are 2⁻²⁴ of it on average and
less than 2⁻²¹. (Henry, Tang & Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for
higher-precision computations", 2019.)

Of numbers below 1e-33 the low part may be too small for a float32, and is 0; and of products below 1e-30 the
unit flushes small ones of the six to 0, as training does with all that is too small. An infinite number
becomes NaN, since what is left of it is ∞ − ∞.

The unit (`engine.unit`) multiplies a square of 16 lines by another, 32 terms at a time, two of which share a
32-bit word: term k of a step is the lower half of its k-th word, term k + 16 the upper. Any two would do; so
a vector of words is made of two vectors of numbers as they lie in memory, by a shift and a choice of bits. A
square is 16 x 16 words: of `a` it has a line in each row, of `b` a word of each line. 32 lines of a step::

    high parts of lines 0-15 | of lines 16-31 | middle parts of lines 0-15 | ... | low parts of lines 16-31
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from hotloop._jit import INTRINSICS, intrinsic, kernel, kernel_inline, types
from hotloop.engine.fetch import fetch_vectors
from hotloop.engine.square import edge_square, full_square
from hotloop.engine.vectors import I32, I64, Vectors

__all__ = [
    "LINES",
    "PARTS",
    "SIDE",
    "SQUARE",
    "STEP",
    "TERMS",
    "Lines",
    "is_turned",
    "pack",
    "pack_piece",
    "part_of",
    "pieces_of",
    "some_lines",
]

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

ROWS = 4
"""Rows of a square in a piece: what packs them are some hundred instructions, fewer than the processor takes
in while it waits for a product."""
FLAT, TURNED = SIDE // ROWS, SIDE // ROWS + 2
"""Pieces of a square, and of one that is to be turned over: first, two turn half of its terms each."""
FAR = 256
"""Numbers from row to row of `b` where the processor does not foresee the next one."""

UPPER = np.int32(-65536)  # of 32 bits the 16 of a bfloat16
SHIFT = np.int32(16)
LOWER = np.int32(65535)


class Lines(NamedTuple):
    """Lines of a matrix: term p of line i is ``data[offset + i * line + p * term]``; one of the steps is 1.

    They are rows of `a`, or columns of `b`, of a product a b.
    """

    data: NDArray[Any]
    offset: int
    line: int
    term: int
    n_lines: int
    n_terms: int
    is_a: bool


@kernel
def some_lines(lines, first, p, n_terms):
    """`LINES` of the lines from the first on, or as many as there are, and `n_terms` of their terms."""
    offset = lines.offset + first * lines.line + p * lines.term
    n_lines = min(LINES, lines.n_lines - first)
    return Lines(lines.data, offset, lines.line, lines.term, n_lines, n_terms, lines.is_a)


@kernel_inline
def is_turned(lines):
    """Whether the rows of squares do not lie in rows of the matrix."""
    return lines.is_a != (lines.term == 1)


@kernel
def pieces_of(lines):
    """In how many pieces `LINES` lines are packed."""
    return (lines.n_terms + TERMS - 1) // TERMS * 2 * (TURNED if is_turned(lines) else FLAT)


@kernel
def pack(words, at, spare, lines):
    """Up to `LINES` lines in parts, to words[at:]: step after step of terms.

    What is beyond the last line or term is 0. `spare` is where in `words` there is room for the numbers of a
    square.
    """
    for piece in range(pieces_of(lines)):
        pack_piece(words, at, spare, lines, piece)


@kernel_inline
def pack_piece(words, at, spare, lines, piece):
    """A piece of that: some rows of a square, or what comes before if it is to be turned over."""
    turned = is_turned(lines)
    square = piece // TURNED if turned else piece // FLAT
    piece -= square * (TURNED if turned else FLAT)
    i, p = square % 2 * SIDE, square // 2 * TERMS
    n_lines, n_terms = min(max(lines.n_lines - i, np.int64(0)), SIDE), min(lines.n_terms - p, TERMS)
    to, first = at + p // TERMS * STEP + i * SIDE, lines.offset + i * lines.line + p * lines.term
    if not turned:
        if i == 0 and lines.term >= FAR:
            fetch_rows(lines.data, first + (TERMS + piece * ROWS) * lines.term, lines.term)
        split_rows(words, to, lines.data, first, lines.line, lines.term, n_lines, n_terms, lines.is_a, piece)
    elif piece < TURNED - FLAT:
        turn_over(words, spare, lines.data, first, lines.line, lines.term, n_lines, n_terms, piece)
    else:
        piece -= TURNED - FLAT
        line, term = (np.int64(TERMS), np.int64(1)) if lines.is_a else (np.int64(1), np.int64(SIDE))
        split_rows(words, to, words, spare, line, term, n_lines, n_terms, lines.is_a, piece)


@kernel
def fetch_rows(data, first, row):
    """Ask for what the same piece of the next step is made of, in both squares: some rows, early and late."""
    for k in range(ROWS):
        fetch_vectors(data, first + k * row)
        fetch_vectors(data, first + (k + SIDE) * row)


@kernel_inline
def turn_over(words, spare, data, first, line, term, n_lines, n_terms, late):
    """The earlier or later half of a square's terms, turned over, to words[spare:]."""
    p = late * SIDE
    n = min(n_terms - p, SIDE)
    if term == 1:
        turn_square(words, spare + p * SIDE, SIDE, data, first + p, line, n_lines, n)
    else:
        turn_square(words, spare + p, TERMS, data, first + p * term, term, n, n_lines)


@kernel_inline
def turn_square(words, to, to_row, data, first, row, n_rows, n_cols):
    """words[to + c * to_row + r] = data[first + r * row + c] for r < n_rows and c < n_cols."""
    if min(n_rows, n_cols) == SIDE:
        full_square(words, to, to_row, data, first, row, n_rows, n_cols)
    elif min(n_rows, n_cols) > 0:
        edge_square(words, to, to_row, data, first, row, n_rows, n_cols)


@kernel_inline
def split_rows(words, to, data, first, line, term, n_lines, n_terms, is_a, piece):
    """Some rows of a square, to words[to:]. They lie in rows of the matrix: lines of `a`, or terms of `b`.

    A row of words is made of numbers x and, 16 terms later, y.
    """
    zero = np.int64(0)
    early, late = min(SIDE, n_terms), max(n_terms - SIDE, zero)
    row, apart = line if is_a else term, SIDE * term
    rows = range(piece * ROWS, (piece + 1) * ROWS)
    if min(n_lines, late) == SIDE:
        for k in rows:
            split_pairs(words, to + k * SIDE, data, first + k * row, first + k * row + apart)
        return
    x_rows, y_rows = (n_lines, n_lines) if is_a else (early, late)
    x_numbers, y_numbers = (early, late) if is_a else (n_lines, n_lines)
    for k in rows:
        x, y = first + k * row, first + k * row + apart
        n, m = (x_numbers if k < x_rows else zero), (y_numbers if k < y_rows else zero)
        split_some(words, to + k * SIDE, data, x, n, y, m)


@kernel
def part_of(word, upper):
    """One of the two bfloat16s of a word, as float32."""
    bits = np.float32(word).view(np.int32)
    return np.int32(bits & UPPER if upper else bits << SHIFT).view(np.float32)


@kernel
def cut(x):
    """x with the bits cut off that a bfloat16 does not have."""
    return np.int32(np.float32(x).view(np.int32) & UPPER).view(np.float32)


@kernel
def word_of(x, y):
    """Two numbers, cut, in a word."""
    low = np.int32((np.float32(x).view(np.int32) >> SHIFT) & LOWER)
    return np.int32(low | (np.float32(y).view(np.int32) & UPPER)).view(np.float32)


@kernel
def put_parts(words, to, x, y):
    """The parts of a pair of numbers, to words[to] and on."""
    for part in range(PARTS):
        words[to + part * APART] = word_of(x, y)
        x, y = np.float32(x - cut(x)), np.float32(y - cut(y))


def plain_split_pairs(words, to, data, x, y):
    """The parts of data[x + k] and data[y + k], a word of each, for k < `SIDE`."""
    for k in range(SIDE):
        put_parts(words, to + k, data[x + k], data[y + k])


def plain_split_some(words, to, data, x, n, y, m):
    """The same where there are only `n` numbers from data[x] on, and `m` from data[y] on: then zeros."""
    zero = np.float32(0)
    for k in range(SIDE):
        put_parts(words, to + k, data[x + k] if k < n else zero, data[y + k] if k < m else zero)


FLOATS, WORDS = ir.VectorType(ir.FloatType(), SIDE), ir.VectorType(I32, SIDE)


def _put_parts(builder: Any, first: Any, x: Any, y: Any) -> None:
    """`put_parts` of all numbers of two vectors."""
    upper, shift = (ir.Constant(WORDS, [int(number)] * SIDE) for number in (UPPER, SHIFT))
    for part in range(PARTS):
        low, high = (builder.bitcast(v, WORDS) for v in (x, y))
        word = builder.or_(builder.lshr(low, shift), builder.and_(high, upper))
        place = builder.bitcast(builder.gep(first, [I64(part * APART)]), WORDS.as_pointer())
        builder.store(word, place).align = 4
        x, y = (
            builder.fsub(v, builder.bitcast(builder.and_(bits, upper), FLOATS))
            for v, bits in ((x, low), (y, high))
        )


def _split(context: Any, builder: Any, kinds: Any, args: Any, counts: list[Any]) -> Any:
    """Both forms: `args` are words, to, data, x and y."""
    words, to, data, *starts = args
    first = builder.gep(context.make_array(kinds[0])(context, builder, words).data, [to])
    base = context.make_array(kinds[1])(context, builder, data).data
    x, y = (
        Vectors(builder, types.float32, ir.FloatType(), SIDE, 1, n).load(builder.gep(base, [start]))[0]
        for start, n in zip(starts, counts, strict=True)
    )
    _put_parts(builder, first, x, y)
    return context.get_dummy_value()


def _split_pairs(typing_context, words, to, data, x, y):
    def codegen(context, builder, signature, args):
        return _split(context, builder, (words, data), args, [None, None])

    n64 = types.int64
    return types.void(words, n64, data, n64, n64), codegen


def _split_some(typing_context, words, to, data, x, n, y, m):
    def codegen(context, builder, signature, args):
        some, counts = [*args[:4], args[5]], [args[4], args[6]]
        return _split(context, builder, (words, data), some, counts)

    n64 = types.int64
    return types.void(words, n64, data, n64, n64, n64, n64), codegen


if INTRINSICS:
    split_pairs, split_some = intrinsic(_split_pairs), intrinsic(_split_some)
else:
    split_pairs, split_some = kernel(plain_split_pairs), kernel(plain_split_some)
