"""Products of few columns, whose own tiles would be mostly empty.

Where the rows of `a` lie along the sum they are dot products, of what `engine.quads` does not take
(`few_by_rows`); where they lie across it, sums term by term (`few_by_terms`), or the transposed product, if
its tiles are fuller (`multiply_turned`).
"""

from hotloop._jit import distinct, kernel, kernel_in_order
from hotloop.engine.packing import pack_transposed
from hotloop.engine.tile import PLAIN, VECTORS, tile_shape
from hotloop.engine.walk import Matrix, multiply_rows, passes_over

__all__ = ["FEW", "WORTH_FEW", "few_by_rows", "few_by_terms", "is_worth_turning", "multiply_turned"]

FEW, WORTH_FEW = 3, 16
"""Columns that would leave most of a tile empty, if there are `WORTH_FEW` times as many rows or terms."""
TURN_COST, TERMS_FOR_TWO = 50, 64
"""Cycles that it takes to turn over a square of sums, and terms from which on it pays for two columns: see
`is_worth_turning`."""


@kernel
def few_by_rows(out, start, a, b, rows, cols, inner, panel):
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
def few_by_terms(out, start, a, b, rows, cols, inner, panel):
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
            _add_terms(sums, terms, a.col, factors, b.row, inner)
            for i in range(n):
                out.data[o + i * out.row] = sums[i]


@distinct
@kernel_in_order
def _add_terms(sums, a, a_step, b, b_step, inner):
    """sums[i] += Σₚ a[p a_step + i] b[p b_step]; four at a time, so that sums are read less."""
    n = len(sums)
    for p in range(0, inner - 3, 4):
        first, b_p = p * a_step, p * b_step
        u, v = a[first : first + n], a[first + a_step : first + a_step + n]
        first += 2 * a_step
        w, x = a[first : first + n], a[first + a_step : first + a_step + n]
        b_u, b_v, b_w, b_x = b[b_p], b[b_p + b_step], b[b_p + 2 * b_step], b[b_p + 3 * b_step]
        for i in range(len(sums)):
            sums[i] = (((sums[i] + u[i] * b_u) + v[i] * b_v) + w[i] * b_w) + x[i] * b_x
    for p in range(inner - inner % 4, inner):
        u, b_u = a[p * a_step : p * a_step + n], b[p * b_step]
        for i in range(len(sums)):
            sums[i] += u[i] * b_u


@kernel
def is_worth_turning(out, rows, cols, inner):
    """Whether `multiply_turned` takes less time than narrow tiles, or than `few_by_terms` of some columns.

    A narrow tile does not multiply as fast as it might: with each vector it reads a number of `a`, and a
    cycle has two reads. A term takes it 9/2 cycles. Full tiles read less: 4 cycles for a half, the flat tile.
    """
    tile_rows, tile_cols = tile_shape(out.data)
    lanes = tile_cols // VECTORS
    if rows == 1 or cols > lanes or cols <= 1 or (cols == 2 and inner < TERMS_FOR_TWO):
        return False
    narrow = (rows + tile_rows - 1) // tile_rows
    half = tile_rows // 2
    halves = (rows + tile_cols - 1) // tile_cols * ((cols + half - 1) // half)
    squares = 2 * ((rows + lanes - 1) // lanes) + 1
    return inner * (9 * narrow - 8 * halves) >= 2 * TURN_COST * squares


@kernel
def multiply_turned(out, start, a, b, rows, cols, inner, panel):
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
        sums, passes = Matrix(panel, 0, n, 1), passes_over(inner)
        for k in range(passes):
            p, end = inner * k // passes, inner * (k + 1) // passes
            turned_a = Matrix(a.data, a.offset + first + p * a.col, a.col, 1)
            turned_b = Matrix(b.data, b.offset + p * b.row, 1, b.row)
            multiply_rows(sums, sums, turned_b, 1, turned_a, 0, cols, n, end - p, panel, PLAIN)
        pack_transposed(out.data, o, panel, 0, n, cols, n, out.row)
