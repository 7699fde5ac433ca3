"""The product out = start + a b: every memory layout, every edge of a tile, and nothing beyond."""

import itertools

import numba
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import reference
from hotloop._jit import COMPILED, INTRINSICS
from hotloop.engine.few import FEW, is_worth_turning
from hotloop.engine.matmul import MOST_TERMS, OWN_ORDER, Matrix, multiply, panel_size
from hotloop.engine.quads import QUAD, pack_quads
from hotloop.engine.tile import PANEL_COLUMNS, PLAIN, RECTIFIED, VECTORS, tile_shape
from hotloop.engine.walk import BLOCK_ROWS, MANY, SOME, VERY_WIDE, WIDE, WORTH_PACKING

pytestmark = pytest.mark.kernels

GUARD = -77.0
STARTS = ("row", "full", "out")
FLOATS = ("float32", "float64")


@numba.njit
def tile_of(array):
    return tile_shape(array)


def placed(values, *, transposed=False, pad=0, before=0, fill=np.nan):
    """`values` inside a flat array of `fill`: `before` numbers in front, `pad` behind every row."""
    stored = values.T if transposed else values
    rows, cols = stored.shape
    data = np.full(before + rows * (cols + pad) + 5, fill, values.dtype)
    inside = np.lib.stride_tricks.as_strided(
        data[before:], stored.shape, ((cols + pad) * data.itemsize, data.itemsize)
    )
    inside[...] = stored
    row, col = (1, cols + pad) if transposed else (cols + pad, 1)
    return Matrix(data, before, row, col)


def view(matrix, rows, cols):
    """The elements of a Matrix, as a writable array."""
    size = matrix.data.itemsize
    return np.lib.stride_tricks.as_strided(
        matrix.data[matrix.offset :], (rows, cols), (matrix.row * size, matrix.col * size)
    )


def panel_for(inner, dtype, cols=1, spread=0):
    return np.full(panel_size(inner, cols, spread) + 3, np.nan, dtype)


def check(rows, cols, inner, *, dtype, a_t, b_t, start, pad=0, before=0, seed=0):
    """Multiply random matrices, surrounded by NaN, and look at every number of `out`'s memory."""
    rng = np.random.default_rng([rows, cols, inner, seed])
    a, b = (rng.uniform(-1, 1, shape).astype(dtype) for shape in ((rows, inner), (inner, cols)))
    s = rng.uniform(-1, 1, (1 if start == "row" else rows, cols)).astype(dtype)
    out = placed(np.full((rows, cols), np.nan, dtype), pad=pad, before=before, fill=GUARD)
    if start == "out":
        view(out, rows, cols)[...] = s
        from_start = out
    else:
        from_start = placed(s, pad=pad, before=before)
        from_start = from_start._replace(row=0) if start == "row" else from_start
    given_a = placed(a, transposed=a_t, pad=pad, before=before)
    given_b = placed(b, transposed=b_t, pad=pad, before=before)
    panel = panel_for(inner, dtype, cols, inner * rows)
    inputs = [given_a.data.copy(), given_b.data.copy(), from_start.data.copy()]

    multiply(out, from_start, given_a, given_b, rows, cols, inner, panel, PLAIN)

    a, b, s = (part.astype(np.float64) for part in (a, b, s))
    expected = reference.multiply(s, a, b)
    bound = (inner + 2) * np.finfo(dtype).eps * (np.abs(s) + np.abs(a) @ np.abs(b))
    found = view(out, rows, cols)
    assert np.all(np.abs(found - expected) <= bound)
    found[...] = GUARD
    assert np.all(out.data == GUARD), "written outside of out"
    assert np.all(np.isnan(panel[-3:])), "written behind the panel"
    for now, was in zip((given_a, given_b, from_start), inputs, strict=True):
        if now is not out:
            np.testing.assert_array_equal(now.data, was)


def sizes(dtype):
    """Around a tile, and around the wide tile of a single row."""
    rows, cols = tile_of(np.zeros(1, dtype))
    if not COMPILED:
        return (1, 3, rows, rows + 1), (1, cols - 1, cols + 1), (0, 1, 3)
    return (
        (1, 2, rows - 1, rows, rows + 1, 2 * rows + 1),
        (1, 2, cols - 1, cols, cols + 1, 4 * cols, 4 * cols + 1),
        (0, 1, 2, 3, 33),
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("b_t", [False, True], ids=["b", "bT"])
@pytest.mark.parametrize("a_t", [False, True], ids=["a", "aT"])
def test_every_layout_around_a_tile(dtype, start, b_t, a_t):
    for rows, cols, inner in itertools.product(*sizes(dtype)):
        check(rows, cols, inner, dtype=dtype, a_t=a_t, b_t=b_t, start=start)
        check(rows, cols, inner, dtype=dtype, a_t=a_t, b_t=b_t, start=start, pad=3, before=7)


LARGEST = 70 if COMPILED else 7


@example(
    rows=25, cols=0, inner=14, dtype="float32", a_t=True, b_t=False, start="row", pad=0, before=0, seed=0
)
@given(
    rows=st.integers(0, LARGEST),
    cols=st.integers(0, LARGEST),
    inner=st.integers(0, LARGEST),
    dtype=st.sampled_from(FLOATS),
    a_t=st.booleans(),
    b_t=st.booleans(),
    start=st.sampled_from(STARTS),
    pad=st.integers(0, 20),
    before=st.integers(0, 20),
    seed=st.integers(0, 99),
)
def test_any_shape_and_layout(rows, cols, inner, dtype, a_t, b_t, start, pad, before, seed):
    check(
        rows, cols, inner,
        dtype=dtype, a_t=a_t, b_t=b_t, start=start, pad=pad, before=before, seed=seed,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("b_t", [False, True], ids=["b", "bT"])
@pytest.mark.parametrize("a_t", [False, True], ids=["a", "aT"])
def test_one_term_of_many_columns(dtype, start, b_t, a_t):
    for rows, cols in itertools.product((1, 9), (WIDE, WIDE + 3)):
        check(rows, cols, 1, dtype=dtype, a_t=a_t, b_t=b_t, start=start, pad=3, before=7)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("b_t", [False, True], ids=["b", "bT"])
@pytest.mark.parametrize("cols", range(1, QUAD + 2))
def test_four_terms_of_four_columns_at_a_time(dtype, start, b_t, cols):
    """With and without terms that are left, rows that are left, and a second pass."""
    terms, some_rows = (*range(1, 2 * QUAD + 2), 16, 17, MOST_TERMS + 6), (1, 3, 4, 5, 8, 9, 15, 17)
    if not COMPILED:
        terms, some_rows = (1, 4, 6), (1, 5)
    for inner, rows in itertools.product(terms, some_rows):
        check(rows, cols, inner, dtype=dtype, a_t=False, b_t=b_t, start=start, pad=2, before=3)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("cols", range(1, QUAD + 1))
def test_packed_quads(dtype, cols):
    """Four terms of a column side by side, and 0 beyond the last term and column."""
    rng = np.random.default_rng(cols)
    for inner, b_t in itertools.product((1, 4, 6, 11), (False, True)):
        values = rng.standard_normal((inner, cols)).astype(dtype)
        b = placed(values, transposed=b_t, pad=3, before=2)
        expected = np.zeros((-(-inner // QUAD), QUAD, QUAD), dtype)  # (quads, columns, terms)
        for p, j in np.ndindex(inner, cols):
            expected[p // QUAD, j, p % QUAD] = values[p, j]
        panel = np.full(expected.size + 3, GUARD, dtype)
        _pack(panel, b, cols, inner)
        np.testing.assert_array_equal(panel[: expected.size].reshape(expected.shape), expected)
        assert np.all(panel[expected.size :] == GUARD)


@numba.njit
def _pack(panel, b, cols, inner):
    pack_quads(panel, b.data, b.offset, b.row, b.col, cols, inner)


@pytest.mark.skipif(not COMPILED, reason="too many numbers for plain loops")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("b_t", [False, True], ids=["b", "bT"])
def test_sums_in_several_passes(dtype, b_t):
    terms = (MOST_TERMS, MOST_TERMS + 1, 2 * MOST_TERMS + 7, OWN_ORDER * MOST_TERMS + 1)
    for rows, inner in itertools.product((1, 31), terms):
        for start in STARTS:
            check(rows, 37, inner, dtype=dtype, a_t=False, b_t=b_t, start=start, pad=3, before=5)
            for cols, a_t in itertools.product((1, FEW, 10), (False, True)):
                check(20 * rows, cols, inner, dtype=dtype, a_t=a_t, b_t=b_t, start=start, pad=3, before=5)


@pytest.mark.skipif(not COMPILED, reason="too many numbers for plain loops")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("b_t", [False, True], ids=["b", "bT"])
@pytest.mark.parametrize("a_t", [False, True], ids=["a", "aT"])
@pytest.mark.parametrize("cols", [SOME - 1, SOME, MANY, WIDE - 1, WIDE, WIDE + 37, VERY_WIDE + 1])
def test_wide_operands_are_packed(dtype, b_t, a_t, cols):
    shapes = (WORTH_PACKING + 5, 11), (BLOCK_ROWS + 29, 3), (2 * BLOCK_ROWS, MOST_TERMS + 1), (3, 5)
    for rows, inner in shapes:
        check(rows, cols, inner, dtype=dtype, a_t=a_t, b_t=b_t, start="row", pad=3, before=5)


@pytest.mark.skipif(not INTRINSICS, reason="the promise is that of the compiled tiles")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("b_t", [False, True], ids=["b", "bT"])
@pytest.mark.parametrize("a_t", [False, True], ids=["a", "aT"])
@pytest.mark.parametrize("inner", [1, 2, 37, 300, MOST_TERMS + 5])
@pytest.mark.parametrize("cols", [1, 3, 4, 10, 75, WIDE + 4, MANY + 15])
def test_a_number_does_not_depend_on_its_tile(dtype, b_t, a_t, inner, cols):
    """Few columns have forms of their own, and one has sums in another order: these are not taken apart."""
    few = cols <= 10
    rows = 115 if few else 15 if cols < MANY else WORTH_PACKING + 1
    rng = np.random.default_rng(inner)
    a = placed(rng.standard_normal((rows, inner)).astype(dtype), transposed=a_t)
    b = placed(rng.standard_normal((inner, cols)).astype(dtype), transposed=b_t)
    start = placed(rng.standard_normal((1, cols)).astype(dtype))._replace(row=0)
    panel = panel_for(inner, dtype, cols, inner * rows)
    whole = np.zeros(rows * cols, dtype)
    multiply(Matrix(whole, 0, cols, 1), start, a, b, rows, cols, inner, panel, PLAIN)
    steps = ((1, cols), (rows, 5), (1, 5), (4, 20), (7, 33), (13, 60))
    steps += ((rows, 1), (1, 1)) * (a_t and inner > 1)
    for row_step, col_step in ((1, cols), (4, cols), (7, cols), (70, cols)) if few else steps:
        parts = np.full(rows * cols, np.nan, dtype)
        for i, j in itertools.product(range(0, rows, row_step), range(0, cols, col_step)):
            multiply(
                Matrix(parts, i * cols + j, cols, 1),
                start._replace(offset=start.offset + j),
                a._replace(offset=a.offset + i * a.row),
                b._replace(offset=b.offset + j * b.col),
                min(row_step, rows - i), min(col_step, cols - j), inner, panel, PLAIN,
            )  # fmt: skip
        np.testing.assert_array_equal(parts, whole, err_msg=f"in parts of {row_step} x {col_step}")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("b_t", [False, True])
@pytest.mark.parametrize("a_t", [False, True])
@pytest.mark.parametrize("inner", [1, 2, 37, MOST_TERMS + 5])
@pytest.mark.parametrize(("rows", "cols"), [(1, 40), (9, 3), (50, 2), (9, 75), (35, 33), (16, 96), (5, WIDE)])
def test_what_becomes_of_the_sums(rows, cols, inner, a_t, b_t, dtype):
    """Bit for bit what NumPy makes of plain sums; NaN is neither above 0 nor below."""
    if not COMPILED and inner > 37:
        rows = min(rows, 9)
    rng = np.random.default_rng([rows, cols, inner])
    values = rng.standard_normal((rows, inner))
    values[rows // 2] = np.nan
    a = placed(values.astype(dtype), transposed=a_t)
    b = placed(rng.standard_normal((inner, cols)).astype(dtype), transposed=b_t)
    start = placed(np.zeros((1, cols), dtype))._replace(row=0)
    switches = rng.choice([-1, 0, 1, np.nan], (rows, cols)).astype(dtype)
    far = rows * (cols + 3)

    def product(after):
        """The rows of switches lie before those of the product, and both have a gap between rows."""
        data = np.full(2 * far + 5, GUARD, dtype)
        of_switches, out = Matrix(data, 1, cols + 3, 1), Matrix(data, 1 + far, cols + 3, 1)
        view(of_switches, rows, cols)[...] = switches
        multiply(out, start, a, b, rows, cols, inner, panel_for(inner, dtype, cols), after)
        np.testing.assert_array_equal(view(of_switches, rows, cols), switches)
        found = view(out, rows, cols).copy()
        for part in (of_switches, out):
            view(part, rows, cols)[...] = GUARD
        assert np.all(data == GUARD), "written outside of out"
        return found

    plain = product(PLAIN)
    assert np.isnan(plain).any()
    np.testing.assert_array_equal(product(RECTIFIED), np.where(plain < 0, 0, plain))
    np.testing.assert_array_equal(product(-far), np.where(switches > 0, plain, 0))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.skipif(not INTRINSICS, reason="plain tiles have another shape")
def test_the_transposed_product_is_taken_where_its_tiles_are_fuller(dtype):
    out = Matrix(np.zeros(1, dtype), 0, 1, 1)
    rows, cols = tile_of(out.data)
    if rows != 8:
        pytest.skip("tiles of other processors have other shapes")
    half, lanes = rows // 2, cols // VECTORS
    assert is_worth_turning(out, 4 * cols, half, 128)
    assert is_worth_turning(out, 1000, 2, 1000)
    assert not is_worth_turning(out, 1000, 1, 1000), "of one column there are sums by terms"
    assert not is_worth_turning(out, 1000, lanes + 1, 1000), "no tile is narrow"
    assert not is_worth_turning(out, 4 * cols, half, 2), "turning over takes longer than two terms"
    assert not is_worth_turning(out, lanes, 3 * lanes // 4, 1000), "its tiles would be as empty"


def test_tiles_fit_the_panel():
    for dtype in FLOATS:
        rows, cols = tile_of(np.zeros(1, dtype))
        assert rows >= 1
        assert 1 <= cols <= PANEL_COLUMNS
        # `multiply_turned` has the sums of so many columns there, in at most so many rows.
        assert panel_size(0, 1, 0) >= cols * (cols // VECTORS)
