"""The one product behind all three of a dense layer: out = start + a b.

    forward     z  = b  + x W      rows of the batch
    backward    δₓ =      δ Wᵀ     rows of the batch
    gradient    dW =      xᵀ δ     rows of the kernel, summed over the batch

`multiply` walks over the output (`engine.walk`) in tiles that fit the registers (`engine.tile`). Some shapes
have a form of their own: one term of many columns (`_outer`), and few columns (`engine.quads`, `engine.few`).

Every sum runs over its terms in one order, starting at `start`, one fused multiply-add a term. Only to few
columns, where the rows of `a` lie along the sum (forward to few outputs, backward to few inputs, the
gradient of one input), it is made of several, and added to `start`. So a number depends on the numbers of
terms and columns alone: not on the tile it falls into, on the other rows, or on the number of threads.
"""

from hotloop._jit import apart, kernel
from hotloop.engine.few import FEW, WORTH_FEW, few_by_rows, few_by_terms, is_worth_turning, multiply_turned
from hotloop.engine.quads import QUAD, few_by_quads, is_worth_quads
from hotloop.engine.tile import PANEL_COLUMNS, PLAIN, RECTIFIED
from hotloop.engine.walk import BLOCK_ROWS, MOST_TERMS, WIDE, Matrix, a_pays, multiply_terms, passes_over

__all__ = ["MOST_TERMS", "OWN_ORDER", "Matrix", "direct_scratch", "multiply", "panel_size"]

OWN_ORDER = max(FEW, QUAD)
"""To so many columns or fewer a sum may be made of several: in another order than term after term."""


def panel_size(terms: int, cols: int, spread: int) -> int:
    """Numbers of scratch that products of up to so many terms and columns want; `spread` as in `a_pays`."""
    terms = min(terms, MOST_TERMS)
    packs = a_pays(True, cols, spread)  # the other `a` needs more columns
    return max(terms * PANEL_COLUMNS + packs * BLOCK_ROWS * terms, OWN_ORDER * MOST_TERMS)


def direct_scratch(n_in: int, capacity: int) -> int:
    """The same of what `engine.direct` copies for the gradient: some inputs, in whole tiles."""
    return min(capacity, MOST_TERMS) * min(BLOCK_ROWS, n_in + PANEL_COLUMNS)


@kernel
def multiply(out, start, a, b, rows, cols, inner, panel, after):
    """out[i, j] = start[i, j] + Σₚ a[i, p] b[p, j], for i < rows, j < cols, p < inner.

    `out`, `start`, `a`, `b` are `Matrix`; `out` and `start` have ``col=1``, and may be the same; `b` has
    ``col=1``, or ``row=1`` if it is transposed. `after` is PLAIN, or what `tile.finished` says.
    `panel` is scratch of the size that `panel_size` says; with room for no more than a panel of `b`, `a` is
    not packed, and a single row has a narrower tile.
    """
    by_quads = a.col == 1 and is_worth_quads(out.data, cols, inner)
    by_rows = cols <= FEW and a.col == 1 and cols * WORTH_FEW < inner and not by_quads
    by_terms = cols <= FEW and a.row == 1 and cols * WORTH_FEW < rows and not (by_quads or by_rows)
    turned = a.row == 1 and b.col == 1 and after == PLAIN and is_worth_turning(out, rows, cols, inner)
    if turned:
        multiply_turned(out, start, a, b, rows, cols, inner, panel)
        return
    # Of dot products a pass is as long as the panel has room for: each ends with a sum over lanes.
    passes = passes_over((cols * inner + OWN_ORDER - 1) // OWN_ORDER if by_rows else inner)
    for k in range(passes):
        p, end = 0, inner
        if passes > 1:  # (a division takes as long as a tile of few terms)
            p, end = inner * k // passes, inner * (k + 1) // passes
        some_a = Matrix(a.data, a.offset + p * a.col, a.row, a.col)
        some_b = Matrix(b.data, b.offset + p * b.row, b.row, b.col)
        so_far, some = start if p == 0 else out, end - p
        then = after if end == inner else PLAIN
        if inner == 1 and cols >= WIDE:
            _outer(out, start, a, b, rows, cols, after)
        elif by_rows:
            few_by_rows(out, so_far, some_a, some_b, rows, cols, some, panel)
        elif by_terms:
            few_by_terms(out, so_far, some_a, some_b, rows, cols, some, panel)
        elif by_quads:
            few_by_quads(out, so_far, some_a, some_b, rows, cols, some, panel, then)
        else:
            multiply_terms(out, so_far, some_a, some_b, rows, cols, some, panel, then)
    if (by_rows or by_terms) and after != PLAIN:
        if cols == 1 and out.row == 1:  # a column that lies together, as a row does
            rows, cols = 1, rows
        for i in range(rows):
            _finish(out, i, cols, after)


@apart
@kernel
def _finish(out, i, cols, after):
    """What tiles do to their sums before they store them (`finished`), to row i, if `after` is not PLAIN."""
    zero, first = out.data.dtype.type(0), out.offset + i * out.row
    to = out.data[first : first + cols]
    if after == RECTIFIED:
        for j in range(len(to)):
            total = to[j]
            to[j] = zero if total < zero else total
    else:
        switches = out.data[first + after : first + after + cols]
        for j in range(len(to)):
            total = to[j]  # read before the choice, which then is no branch
            to[j] = total if switches[j] > zero else zero


@apart
@kernel
def _outer(out, start, a, b, rows, cols, after):
    """The product for one term, as in the gradient of a batch of one: no sums to keep in registers.

    (Shorter rows take up to a third longer here than in tiles, which begin and end less often.)
    """
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
        if after != PLAIN:
            _finish(out, i, cols, after)
