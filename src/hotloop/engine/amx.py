"""Products of float32 on the matrix unit of a processor (Intel AMX), as accurate as by multiply-adds.

The unit multiplies bfloat16s and adds in float32, 16 times as fast as vectors do. Of three parts of each
number (`engine.split`) six products are taken: at best 2.7 times as many numbers a second as by
multiply-adds. Packing is part of the price, so it is for products with many rows, columns and terms, and for
training, where a number need not depend on its own row alone.

The lines of one operand are packed first, in the second cache; those of the other are packed while the unit
multiplies the lines before them, some terms at a time, in the first. The limit is the unit's clock, which
falls with the power that it takes: a step of a block takes 130 ns with zeros, 150 to 180 ns with other
numbers.

Every sum runs over its terms in one order, 32 of them at a time, whatever its tile or thread.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._jit import kernel, kernel_inline
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
"""The least number of outputs times the square of a minibatch's rows: with fewer rows the weights are packed
for too few products."""
MOST_PADDING = 1.35
"""How many times as much work there may be when blocks are filled up. (Of 100 x 100 x 100 it is twice.)"""

MOST_STEPS = 13
"""Steps of terms in one pass."""
MOST_READY = 13 * MOST_STEPS
"""How many steps of 32 lines are ready at once, of 6 KB each: with the rest they fit the second cache."""
NEAR_STEPS = 4
"""Steps of the near lines: these and the next ones fit the first cache."""
SPARE_AT, NEAR_AT, NEXT_AT = 0, SIDE * TERMS, SIDE * TERMS + NEAR_STEPS * STEP + 256
SUMS_AT = NEXT_AT + NEAR_STEPS * STEP
"""Where in the scratch are a square to be turned over, the near lines and the next ones, and the sums of
blocks; what is ready comes after. (Were near and next lines a multiple of 4096 bytes apart, reading those
would often wait for the writing of these, as if they were the same: see `engine.memory`.)"""


def passes_of(terms: int) -> int:
    """In how many passes a product goes through its terms: what each sums up is added to what was before."""
    return max((terms + MOST_STEPS * TERMS - 1) // (MOST_STEPS * TERMS), 1)


def most_lines(terms: int) -> int:
    """How many lines of so many terms, at most those of a pass, are ready at once."""
    return MOST_READY // max((terms + TERMS - 1) // TERMS, 1) * LINES


passes_through, lines_at_once = kernel(passes_of), kernel(most_lines)


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
    """Numbers of scratch for all products of up to so many terms, and so many rows and columns."""
    steps, groups = min(-(-terms // TERMS), MOST_STEPS), -(-lines // LINES)
    return SUMS_AT + min(groups, MOST_READY) * SUMS + min(groups * steps, MOST_READY) * STEP


@kernel
def amx_multiply(out, start, a, b, rows, cols, inner, panel, after):
    """Do what `matmul.multiply` does, and say that it is done.

    `panel` has room for the larger of `rows` and `cols`, and for `inner` terms: see `amx_scratch`. The
    operand that costs less to pack is made ready; the other is packed while the unit has something to do.
    """
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
    """What it costs to make some lines ready: their pieces are 4 for a square, 6 where it is turned over."""
    return (lines.n_lines + LINES - 1) // LINES * (3 if is_turned(lines) else 2)


@kernel
def multiply_lines(out, start, ready, near, first, last, panel, after):
    """The product of lines first:last of the one operand, made ready before, with all lines of the other.

    These are near in turns: some of them, part by part of their terms, while the sums wait; then the next.
    """
    n_terms, groups = ready.n_terms, (last - first + LINES - 1) // LINES
    steps = (n_terms + TERMS - 1) // TERMS
    ready_at, strip = SUMS_AT + groups * SUMS, steps * STEP
    for group in range(groups):
        pack(panel, ready_at + group * strip, SPARE_AT, some_lines(ready, first + group * LINES, 0, n_terms))
    parts = max((steps + NEAR_STEPS - 1) // NEAR_STEPS, 1)
    near_at, next_at = np.int64(NEAR_AT), np.int64(NEXT_AT)
    pack(panel, near_at, SPARE_AT, lines_of_turn(near, 0, parts))
    rows, cols = (last, near.n_lines) if ready.is_a else (near.n_lines, last)
    for turn in range((near.n_lines + LINES - 1) // LINES * parts):
        part, j = turn % parts, turn // parts * LINES
        step, end = steps * part // parts, steps * (part + 1) // parts
        coming = lines_of_turn(near, turn + 1, parts)
        pieces = pieces_of(coming)
        for group in range(groups):
            i, sums = first + group * LINES, SUMS_AT + group * SUMS
            block_at = ready_at + group * strip + step * STEP
            piece, until = pieces * group // groups, pieces * (group + 1) // groups
            open_sums(panel, sums, part > 0)
            add_steps(
                panel, sums, block_at, near_at, end - step, ready.is_a, block_at + strip,
                next_at, coming, piece, until,
            )  # fmt: skip
            close_sums(panel, sums)
            if part == parts - 1:
                row, col = (i, j) if ready.is_a else (j, i)
                finish_block(out, start, row, col, rows - row, cols - col, panel, sums, after)
        near_at, next_at = next_at, near_at


@kernel_inline
def add_steps(
    panel, sums, ready_at, near_at, n_steps, ready_is_a, then_ready_at, next_at, coming, piece, until
):  # fmt: skip
    """Add the products of some steps to the sums of a block; meanwhile pack pieces of what is `coming`.

    A piece follows on half of a step's products: the unit works on these for as long as the rest of the
    processor on the piece. If there are fewer pieces than halves, they are spread evenly. (As a call, or with
    the halves in a loop of their own, this took 5 to 10 % longer.)
    """
    halves, pieces, owed = 2 * n_steps, until - piece, 0
    for half in range(halves):
        ready, near = ready_at + half // 2 * STEP, near_at + half // 2 * STEP
        a, b = (ready, near) if ready_is_a else (near, ready)
        ahead = ready + STEP if half < halves - 2 else then_ready_at
        add_products(panel, sums, a, b, half % 2, ahead)
        owed += pieces
        while owed >= halves:
            pack_piece(panel, next_at, SPARE_AT, coming, piece)
            owed, piece = owed - halves, piece + 1


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
