"""Sums over the rows of a batch: their order, and nothing beyond them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotloop._jit import COMPILED
from hotloop.engine.columns import add_rows, plain_add_columns

pytestmark = pytest.mark.kernels

FLOATS = ("float32", "float64")
MOST = 150 if COMPILED else 20


@given(
    columns=st.integers(1, MOST),
    n=st.integers(0, 19),
    gap=st.integers(0, 5),
    before=st.integers(0, 5),
    dtype=st.sampled_from(FLOATS),
    seed=st.integers(0, 99),
)
def test_four_rows_at_a_time_then_one_by_one(columns, n, gap, before, dtype, seed):
    """Whatever the columns: bit for bit, from what is there already, and without reading what is between."""
    rng = np.random.default_rng(seed)
    step = columns + gap
    rows = np.full(before + n * step + 1, np.nan, dtype)
    inside = rows[before : before + n * step].reshape(n, step)
    inside[:, :columns] = rng.standard_normal((n, columns))
    around = np.full(columns + 40, 7, dtype)
    sums = around[20:-20]
    sums[:] = rng.standard_normal(columns)
    expected = sums.copy()
    for i in range(0, n - n % 4, 4):
        u, v, w, x = inside[i : i + 4, :columns]
        expected += (u + v) + (w + x)
    for i in range(n - n % 4, n):
        expected += inside[i, :columns]
    add_rows(sums, rows, before, step, n)
    np.testing.assert_array_equal(sums, expected)
    assert (around[:20] == 7).all()
    assert (around[-20:] == 7).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("columns", [1, 5, 16, 17, 40, 130])
def test_parts_of_four_rows_and_parts_of_the_columns_are_the_whole(columns, dtype):
    rows = np.random.default_rng(columns).standard_normal(columns * 23).astype(dtype)
    whole, parts, plain = np.zeros((3, columns), dtype)
    add_rows(whole, rows, 0, columns, 23)
    for first, n in ((0, 8), (8, 12), (20, 3)):
        for j in range(0, columns, 64):
            add_rows(parts[j : j + 64], rows, first * columns + j, columns, n)
    np.testing.assert_array_equal(parts, whole)
    plain_add_columns(plain, 0, columns, rows, 0, columns, 23)
    np.testing.assert_array_equal(plain, whole)
