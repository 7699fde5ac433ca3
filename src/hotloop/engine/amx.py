"""Products of float32 on the matrix unit of a processor (Intel AMX), as accurate as by multiply-adds.

The unit multiplies bfloat16s and adds in float32, 16 times as fast as vectors do. Of three parts of each
number (`engine.split`) six products are taken: at best 2.7 times as many numbers a second as by
multiply-adds. Packing is part of the price, so it is for products with many rows, columns and terms, and for
training, where a number need not depend on its own row alone.

The lines of one operand are packed first, in the second cache; those of the other are packed while the unit
multiplies the lines before them, some terms at a time, in the first. How fast the unit is then depends on how
fast the second cache brings the former, and, of random numbers, on what power the processor has: it takes 150
to 180 ns for what its clock allows in 140.

Every sum runs over its terms in one order, 32 of them at a time, whatever its tile or thread.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._jit import kernel
from hotloop.engine.address import address_of
from hotloop.engine.matmul import Matrix
from hotloop.engine.split import (
    LINES,
    SIDE,
    STEP,
    TERMS,
    Lines,
    is_turned,
    pack,
    pack_piece,
    pieces_of,
    some_lines,
)
from hotloop.engine.tile import PLAIN
from hotloop.engine.unit import SUMS, add_products, begin, close_sums, finish_row, has_amx, open_sums, release

__all__ = ["amx_address", "amx_multiply", "amx_scratch", "halves_of", "is_worth_amx", "passes_of"]

LEAST_INPUTS, LEAST_OUTPUTS, LEAST_ROWS = 96, 64, 32
LEAST_WORK = 2**19
"""Of the square of a minibatch's rows, times outputs: fewer of them do not pay for packing the weights."""
MOST_PADDING = 1.35
"""How many times as much work there may be when blocks are filled up. (Of 100 x 100 x 100 it is twice.)"""

MOST_STEPS = 13
"""Steps of terms in one pass."""
MOST_READY = 13 * MOST_STEPS
"""Steps of lines that are packed before others are multiplied: with the rest they fit the second cache."""
NEAR_STEPS = 4
"""Steps of lines that are packed meanwhile: twice as many fit the first cache."""
SPARE_AT, NEAR_AT, NEXT_AT = 0, SIDE * TERMS, SIDE * TERMS + NEAR_STEPS * STEP + 256
SUMS_AT = NEXT_AT + NEAR_STEPS * STEP
"""Where in the scratch are a square to be turned over, the near lines and the next ones, and the sums of
blocks; what is ready comes after. (Were near and next lines a multiple of 4096 bytes apart, reading those
would often wait for the writing of these, as if they were the same: see `engine.memory`.)"""


def passes_of(terms: int) -> int:
    """In how many passes a product goes through its terms: what each sums up is added to what was before."""
    return max((terms + MOST_STEPS * TERMS - 1) // (MOST_STEPS * TERMS), 1)


def lines_of(terms: int) -> int:
    """How many lines of so many terms are made ready at once."""
    return MOST_READY // min(max((terms + TERMS - 1) // TERMS, 1), MOST_STEPS) * LINES


passes_through, lines_at_once = kernel(passes_of), kernel(lines_of)


def is_worth_amx(n_in: int, n_out: int, rows: int) -> bool:
    """Whether the products of a dense layer are faster so, in minibatches of so many rows."""
    if n_in < LEAST_INPUTS or n_out < LEAST_OUTPUTS or rows < LEAST_ROWS or rows**2 * n_out < LEAST_WORK:
        return False
    sizes = np.array([n_in, n_out, rows])
    padded = -(-sizes // LINES) * LINES
    return bool((padded / sizes).prod() <= MOST_PADDING)


def halves_of(terms: int) -> NDArray[np.int64]:
    """Where the passes of `amx_multiply` through so many terms begin, and their end, if they are two."""
    return np.array([0, -(-terms // TERMS) // 2 * TERMS, terms])


def amx_scratch(lines: int, terms: int) -> int:
    """Numbers of scratch that products of up to so many terms want, and so many rows and columns."""
    steps = min(-(-terms // TERMS), MOST_STEPS)
    groups = -(-min(lines, lines_of(terms)) // LINES)
    return SUMS_AT + groups * (SUMS + steps * STEP)


@kernel
def amx_multiply(out, start, a, b, rows, cols, inner, panel, after):
    """Do what `matmul.multiply` does, and say that it is done; `panel` is of the size of `amx_scratch`."""
    steps = max((inner + TERMS - 1) // TERMS, 1)
    passes = passes_through(inner)
    so_far = start
    begin()
    for k in range(passes):
        p, end = steps * k // passes * TERMS, min(steps * (k + 1) // passes * TERMS, inner)
        ready = Lines(a.data, a.offset + p * a.col, a.row, a.col, rows, end - p, True)
        near = Lines(b.data, b.offset + p * b.row, b.col, b.row, cols, end - p, False)
        if cost_of(near) < cost_of(ready):
            ready, near = near, ready
        then, most = after if end == inner else PLAIN, lines_at_once(end - p)
        for first in range(0, ready.n_lines, most):
            multiply_lines(out, so_far, ready, near, first, min(first + most, ready.n_lines), panel, then)
        so_far = out
    release()
    return True


@kernel
def cost_of(lines):
    """What it costs to make some lines ready, in some unit."""
    return (lines.n_lines + LINES - 1) // LINES * (3 if is_turned(lines) else 2)


@kernel
def multiply_lines(out, start, ready, near, first, last, panel, after):
    """The product of lines first:last of the one operand, made ready before, with all of the other.

    The sums of a block are kept while the near lines go through their terms. The next of these are packed in
    pieces, after each half of a step's products: the unit works on it alone, and so does the rest of the
    processor on the piece.
    """
    n_terms, groups = ready.n_terms, (last - first + LINES - 1) // LINES
    steps = (n_terms + TERMS - 1) // TERMS
    ready_at, strip = SUMS_AT + groups * SUMS, steps * STEP
    for group in range(groups):
        pack(panel, ready_at + group * strip, SPARE_AT, some_lines(ready, first + group * LINES, 0, n_terms))
    parts = max((steps + NEAR_STEPS - 1) // NEAR_STEPS, 1)
    here, there = np.int64(NEAR_AT), np.int64(NEXT_AT)
    pack(panel, here, SPARE_AT, lines_of_turn(near, 0, parts))
    for turn in range((near.n_lines + LINES - 1) // LINES * parts):
        part, second = turn % parts, turn // parts * LINES
        step, end = steps * part // parts, steps * (part + 1) // parts
        coming = lines_of_turn(near, turn + 1, parts)
        pieces, piece = pieces_of(coming), 0
        owed, halves = 0, groups * (end - step) * 2
        for group in range(groups):
            sums, ready_step = SUMS_AT + group * SUMS, ready_at + group * strip + step * STEP
            open_sums(panel, sums, part > 0)
            for half in range(2 * (end - step)):
                one, other = ready_step + half // 2 * STEP, here + half // 2 * STEP
                a_step, b_step = (one, other) if ready.is_a else (other, one)
                add_products(panel, sums, a_step, b_step, half % 2, one + STEP)
                owed += pieces
                while owed >= halves:
                    pack_piece(panel, there, SPARE_AT, coming, piece)
                    owed, piece = owed - halves, piece + 1
            close_sums(panel, sums)
            if part == parts - 1:
                i = first + group * LINES
                row, col = (i, second) if ready.is_a else (second, i)
                n_rows, n_cols = last - i, near.n_lines - second
                if not ready.is_a:
                    n_rows, n_cols = n_cols, n_rows
                finish_block(out, start, row, col, n_rows, n_cols, panel, sums, after)
        here, there = there, here


@kernel
def lines_of_turn(near, turn, parts):
    """The near lines and terms of a turn: some lines, part by part of the terms, then the next; then none."""
    first, part = turn // parts * LINES, turn % parts
    steps = (near.n_terms + TERMS - 1) // TERMS
    p, end = steps * part // parts * TERMS, min(steps * (part + 1) // parts * TERMS, near.n_terms)
    return some_lines(near, first, p, end - p if first < near.n_lines else 0)


@kernel
def finish_block(out, start, row, col, n_rows, n_cols, panel, sums, after):
    """out = start + sums, `finished`, for as many of a block's rows and columns as there are."""
    to, origin = out.offset + row * out.row + col, start.offset + row * start.row + col
    for r in range(min(n_rows, LINES)):
        finish_row(
            out.data, to + r * out.row, start.data, origin + r * start.row,
            panel, sums + r * LINES, min(n_cols, LINES), after,
        )  # fmt: skip


def amx_address(numbers: NDArray[Any]) -> int:
    """The address of `amx_multiply`, for networks that work in memory like `numbers`."""
    has_amx()  # asks the system for it: without that the unit would end the process
    some = Matrix(numbers, 0, 1, 1)
    return address_of(amx_multiply, (some, some, some, some, 0, 0, 0, numbers, 0))
