"""The one product behind all three of a dense layer: out = start + a b.

    forward     z  = b  + x W      rows of the batch
    backward    δₓ =      δ Wᵀ     rows of the batch
    gradient    dW =      xᵀ δ     rows of the kernel, summed over the batch

`multiply` walks over the output in tiles that fit the registers (`engine.tile`). Two shapes have a form
of their own: one term (`_outer`), and few columns, which would leave most of a tile empty (`_few_by_rows`,
`_few_by_terms`; and `_multiply_turned`, where the transposed product has fuller tiles).

Every sum runs over its terms in one order, starting at `start`, one fused multiply-add a term. Only to few
columns, where the rows of `a` lie along the sum (forward to few outputs, backward to few inputs, the
gradient of one input), it is a dot product, added to `start`. So a number depends on the numbers of terms
and columns alone: not on the tile it falls into, on the other rows, or on the number of threads.
"""

from typing import Any, NamedTuple

from numpy.typing import NDArray

from hotloop._jit import apart, distinct, kernel, kernel_in_order
from hotloop.engine.fetch import fetch_vectors
from hotloop.engine.packing import copy_terms, pack_groups, pack_rows, pack_transposed
from hotloop.engine.tile import (
    PANEL_COLUMNS,
    PLAIN,
    RECTIFIED,
    ROW_VECTORS,
    VECTORS,
    edge_tile,
    flat_tile,
    full_tile,
    narrow_tile,
    row_tile,
    tile_shape,
)

__all__ = ["FEW", "MOST_TERMS", "Matrix", "multiply", "panel_size"]

MOST_TERMS = 288
"""Terms of a sum in one pass: a panel of so many rows, and a tile's rows of `a`, fit the first cache."""
WORTH_PACKING, BLOCK_ROWS = 64, 512
"""Rows of `a` that pay for packing an operand, and rows of it that are packed at once: these fit the second
cache."""
WIDE, VERY_WIDE = 256, 1024
"""With so many columns, rows of `b` fall into few sets of the cache, and it is packed. With very many, any
`a` is, and what the next tile and the next panel need is fetched meanwhile. (Without, products of 2048
columns took twice as long. Narrower ones gain nothing.)"""
SOME, MANY, SPREAD = 64, 192, 80_000
"""A transposed `a` is fetched anew for each panel of `b`, by parts of cache lines. It is packed for many
columns; for some, if there are so many numbers from its first term to its last. (The gradient of 784 inputs
and 128 units takes a tenth less time then, in minibatches of 128 rows.)"""
FEW, WORTH_FEW = 3, 16
"""Columns that would leave most of a tile empty, if there are `WORTH_FEW` times as many rows or terms."""
TURN_COST, TERMS_FOR_TWO = 50, 64
"""Cycles that it takes to turn over a square of sums, and terms from which on it pays for two columns: see
`is_worth_turning`."""


class Matrix(NamedTuple):
    """A matrix inside a flat array: element (i, j) is ``data[offset + i * row + j * col]``.

    Swapping `row` and `col` transposes; ``row=0`` repeats one row.
    """

    data: NDArray[Any]
    offset: int
    row: int
    col: int


def a_pays(transposed: bool, cols: int, spread: int) -> bool:
    """Whether so many columns pay for a copy of `a`, if it has the rows for it; `spread` as in `SPREAD`."""
    if transposed:
        return cols >= MANY or (cols >= SOME and spread > SPREAD)
    return cols >= VERY_WIDE


is_worth_packing = kernel(a_pays)


def panel_size(terms: int, cols: int, spread: int) -> int:
    """Numbers of scratch that products of up to so many terms and columns want; `spread` as in `SPREAD`."""
    terms = min(terms, MOST_TERMS)
    packs = a_pays(True, cols, spread)  # the other `a` needs more columns
    return max(terms * PANEL_COLUMNS + packs * BLOCK_ROWS * terms, FEW * MOST_TERMS)


@kernel
def multiply(out, start, a, b, rows, cols, inner, panel, after):
    """out[i, j] = start[i, j] + Σₚ a[i, p] b[p, j], for i < rows, j < cols, p < inner.

    `out`, `start`, `a`, `b` are `Matrix`; `out` and `start` have ``col=1``, and may be the same; `b` has
    ``col=1``, or ``row=1`` if it is transposed. `after` is PLAIN, or what `tile.finished` says.
    `panel` is scratch of the size that `panel_size` says; with room for no more than a panel of `b`, `a` is
    not packed, and a single row has a narrower tile.
    """
    few_by_rows = cols <= FEW and a.col == 1 and cols * WORTH_FEW < inner
    few_by_terms = cols <= FEW and a.row == 1 and cols * WORTH_FEW < rows and not few_by_rows
    turned = a.row == 1 and b.col == 1 and after == PLAIN and is_worth_turning(out, rows, cols, inner)
    passes = max((inner + MOST_TERMS - 1) // MOST_TERMS, 1)
    for k in range(passes):
        p, end = 0, inner
        if passes > 1:  # (a division takes as long as a tile of few terms)
            p, end = inner * k // passes, inner * (k + 1) // passes
        some_a = Matrix(a.data, a.offset + p * a.col, a.row, a.col)
        some_b = Matrix(b.data, b.offset + p * b.row, b.row, b.col)
        so_far, some = start if p == 0 else out, end - p
        if inner == 1:
            _outer(out, start, a, b, rows, cols, after)
        elif few_by_rows:
            _few_by_rows(out, so_far, some_a, some_b, rows, cols, some, panel)
        elif turned:
            _multiply_turned(out, so_far, some_a, some_b, rows, cols, some, panel)
        elif few_by_terms:
            _few_by_terms(out, so_far, some_a, some_b, rows, cols, some, panel)
        else:
            then = after if end == inner else PLAIN
            _multiply_terms(out, so_far, some_a, some_b, rows, cols, some, panel, then)
    if (few_by_rows or few_by_terms) and after != PLAIN:
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


@kernel
def _few_by_rows(out, start, a, b, rows, cols, inner, panel):
    """Few columns, as forward with one output: dot products along the rows of `a`, four rows at a time.

    A tile would fill few of its lanes. Whether it is this form depends on nothing but `cols` and `inner`.
    """
    for j in range(cols):
        column = panel[j * inner : (j + 1) * inner]
        for p in range(inner):
            column[p] = b.data[b.offset + p * b.row + j * b.col]
    zero = out.data.dtype.type(0)
    for i in range(0, rows, 4):
        # Past the last row the last once more: so every row goes through the same loop.
        i1, i2, i3 = min(i + 1, rows - 1), min(i + 2, rows - 1), min(i + 3, rows - 1)
        x0 = a.data[a.offset + i * a.row : a.offset + i * a.row + inner]
        x1 = a.data[a.offset + i1 * a.row : a.offset + i1 * a.row + inner]
        x2 = a.data[a.offset + i2 * a.row : a.offset + i2 * a.row + inner]
        x3 = a.data[a.offset + i3 * a.row : a.offset + i3 * a.row + inner]
        for j in range(cols):
            column = panel[j * inner : (j + 1) * inner]
            sum0, sum1, sum2, sum3 = zero, zero, zero, zero
            for p in range(len(column)):
                sum0 += x0[p] * column[p]
                sum1 += x1[p] * column[p]
                sum2 += x2[p] * column[p]
                sum3 += x3[p] * column[p]
            # All are read before one is written: `start` may be `out`.
            s, o = start.offset + j, out.offset + j
            sum0 += start.data[s + i * start.row]
            sum1 += start.data[s + i1 * start.row]
            sum2 += start.data[s + i2 * start.row]
            sum3 += start.data[s + i3 * start.row]
            out.data[o + i * out.row], out.data[o + i1 * out.row] = sum0, sum1
            out.data[o + i2 * out.row], out.data[o + i3 * out.row] = sum2, sum3


@kernel
def _few_by_terms(out, start, a, b, rows, cols, inner, panel):
    """Few columns and a transposed `a`, as in the gradient of one output: term by term.

    Each sum has the order that a tile would give it.
    """
    some = len(panel) // FEW
    for first in range(0, rows, some):
        n = min(some, rows - first)
        terms = a.data[a.offset + first :][: (inner - 1) * a.col + n]
        for j in range(cols):
            sums = panel[j * n : (j + 1) * n]
            factors = b.data[b.offset + j * b.col :][: (inner - 1) * b.row + 1]
            s, o = start.offset + first * start.row + j, out.offset + first * out.row + j
            for i in range(n):
                sums[i] = start.data[s + i * start.row]
            _add_terms(sums, terms, 0, a.col, factors, 0, b.row, inner)
            for i in range(n):
                out.data[o + i * out.row] = sums[i]


@distinct
@kernel_in_order
def _add_terms(sums, a, a0, a_step, b, b0, b_step, inner):
    """sums[i] += Σₚ a[a0 + p a_step + i] b[b0 + p b_step]; four at a time, so that sums are read less."""
    n = len(sums)
    for p in range(0, inner - 3, 4):
        first, b_p = a0 + p * a_step, b0 + p * b_step
        u, v = a[first : first + n], a[first + a_step : first + a_step + n]
        first += 2 * a_step
        w, x = a[first : first + n], a[first + a_step : first + a_step + n]
        b_u, b_v, b_w, b_x = b[b_p], b[b_p + b_step], b[b_p + 2 * b_step], b[b_p + 3 * b_step]
        for i in range(len(sums)):
            sums[i] = (((sums[i] + u[i] * b_u) + v[i] * b_v) + w[i] * b_w) + x[i] * b_x
    for p in range(inner - inner % 4, inner):
        u, b_u = a[a0 + p * a_step : a0 + p * a_step + n], b[b0 + p * b_step]
        for i in range(len(sums)):
            sums[i] += u[i] * b_u


@kernel
def is_worth_turning(out, rows, cols, inner):
    """Whether `_multiply_turned` takes less time than narrow tiles, or than `_few_by_terms` of some columns.

    A narrow tile does not multiply as fast as it might: with each vector it reads a number of `a`, and a
    cycle has two reads. A term takes it 9/2 cycles. Full tiles read less: 4 cycles for a half, the flat tile.
    """
    tile_rows, tile_cols = tile_shape(out.data)
    lanes = tile_cols // VECTORS
    if rows == 1 or cols > lanes or cols == 1 or (cols == 2 and inner < TERMS_FOR_TWO):
        return False
    narrow = (rows + tile_rows - 1) // tile_rows
    half = tile_rows // 2
    halves = (rows + tile_cols - 1) // tile_cols * ((cols + half - 1) // half)
    squares = 2 * ((rows + lanes - 1) // lanes) + 1
    return inner * (9 * narrow - 8 * halves) >= 2 * TURN_COST * squares


@kernel
def _multiply_turned(out, start, a, b, rows, cols, inner, panel):
    """Few columns and a transposed `a`, as in the gradient of some outputs: the transposed product.

    Its tiles are full where those of the product itself would be narrow. (The gradient of 10 units in
    minibatches of 128 rows takes 0.7 of the time, that of 4 units less than half.)
    The sums are turned over in the panel, which has room for those of a tile's columns and more.
    """
    _, tile_cols = tile_shape(out.data)
    some = len(panel) // cols // tile_cols * tile_cols
    for first in range(0, rows, some):
        n = min(some, rows - first)
        s, o = start.offset + first * start.row, out.offset + first * out.row
        pack_transposed(panel, 0, start.data, s, start.row, n, cols, n)
        sums, turned_a = Matrix(panel, 0, n, 1), Matrix(a.data, a.offset + first, a.col, 1)
        turned_b = Matrix(b.data, b.offset, 1, b.row)
        _multiply_rows(sums, sums, turned_b, 1, turned_a, 0, cols, n, inner, panel, PLAIN)
        pack_transposed(out.data, o, panel, 0, n, cols, n, out.row)


@kernel
def _multiply_terms(out, start, a, b, rows, cols, inner, panel, after):
    """`multiply` for so few terms that a panel of `b` stays in the cache while all rows use it."""
    tile_rows, tile_cols = tile_shape(out.data)
    at, block = inner * tile_cols, 0
    if rows >= WORTH_PACKING and is_worth_packing(a.row == 1, cols, inner * a.col):
        block = min((len(panel) - at) // max(inner, 1), BLOCK_ROWS) // tile_rows * tile_rows
    if block < WORTH_PACKING:
        _multiply_rows(out, start, a, a.row, b, 0, rows, cols, inner, panel, after)
        return
    for first in range(0, rows, block):
        last = min(first + block, rows)
        if a.row == 1:
            pack_groups(panel, at, a.data, a.offset + first, a.col, last - first, inner, tile_rows)
            packed = Matrix(panel, at, 1, tile_rows)
        else:
            pack_rows(panel, at, a.data, a.offset + first * a.row, a.row, last - first, inner)
            packed = Matrix(panel, at, inner, 1)
        _multiply_rows(out, start, packed, inner, b, first, last, cols, inner, panel, after)


@kernel
def _multiply_rows(out, start, a, a_step, b, first, last, cols, inner, panel, after):
    """Rows first:last of the product; `a` has these alone. Row i, the first of a tile, begins at i `a_step`.

    That is not ``a.row`` where the rows of each tile are packed side by side.
    """
    tile_rows, tile_cols = tile_shape(out.data)
    rows = last - first
    wide, very_wide = cols >= WIDE and rows >= WORTH_PACKING, cols >= VERY_WIDE and rows >= WORTH_PACKING
    if rows == 1:
        most = ROW_VECTORS // VECTORS
        room = most if b.col == 1 else len(panel) // (max(inner, 1) * tile_cols)
        tile_rows, tile_cols = 1, min(most, room) * tile_cols
    for j in range(0, cols, tile_cols):
        n_cols = min(tile_cols, cols - j)
        # The last 4 of 100 columns, say: a wider tile would mostly compute what does not exist.
        narrow = rows > 1 and n_cols <= tile_cols // VECTORS
        source, offset, step = panel, 0, tile_cols
        if b.col != 1:
            pack_transposed(panel, 0, b.data, b.offset + j * b.col, b.col, n_cols, inner, tile_cols)
        elif wide:
            copy_terms(panel, 0, b.data, b.offset + j, b.row, n_cols, inner, tile_cols)
        else:
            source, offset, step = b.data, b.offset + j, b.row
        for i in range(first, last, tile_rows):
            n_rows = min(tile_rows, last - i)
            k = i - first
            from_a = a.offset + k * a_step
            from_start = start.offset + i * start.row + j
            to = out.offset + i * out.row + j
            if very_wide:
                lo, hi = inner * k // rows, inner * (k + tile_rows) // rows
                _fetch_next(out, to + tile_rows * out.row, tile_rows, b, j + tile_cols, lo, hi)
            if tile_rows == 1:
                row_tile(
                    out.data, to, out.row, start.data, from_start, start.row,
                    a.data, from_a, a.row, a.col, source, offset, step, inner, n_rows, n_cols, after,
                )  # fmt: skip
            elif n_rows <= tile_rows // 2:
                flat_tile(
                    out.data, to, out.row, start.data, from_start, start.row,
                    a.data, from_a, a.row, a.col, source, offset, step, inner, n_rows, n_cols, after,
                )  # fmt: skip
            elif narrow:
                narrow_tile(
                    out.data, to, out.row, start.data, from_start, start.row,
                    a.data, from_a, a.row, a.col, source, offset, step, inner, n_rows, n_cols, after,
                )  # fmt: skip
            elif n_rows == tile_rows and n_cols == tile_cols:
                full_tile(
                    out.data, to, out.row, start.data, from_start, start.row,
                    a.data, from_a, a.row, a.col, source, offset, step, inner, n_rows, n_cols, after,
                )  # fmt: skip
            else:
                edge_tile(
                    out.data, to, out.row, start.data, from_start, start.row,
                    a.data, from_a, a.row, a.col, source, offset, step, inner, n_rows, n_cols, after,
                )  # fmt: skip


@apart
@kernel
def _fetch_next(out, to, height, b, column, lo, hi):
    """Ask for what the next tile writes, and for rows lo:hi of the next panel of `b`: this tile's part."""
    for r in range(height):
        fetch_vectors(out.data, to + r * out.row)
    if b.col == 1:
        for p in range(lo, hi):
            fetch_vectors(b.data, b.offset + p * b.row + column)


@apart
@kernel
def _outer(out, start, a, b, rows, cols, after):
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
        if after != PLAIN:
            _finish(out, i, cols, after)
