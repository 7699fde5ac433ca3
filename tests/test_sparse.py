"""Products of data that is mostly zeros leave these out, and give the bits that `multiply` gives."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hotloop as hl
from hotloop._jit import COMPILED, kernel
from hotloop.engine.address import NOWHERE
from hotloop.engine.matmul import MOST_TERMS, Matrix, multiply, panel_size
from hotloop.engine.sparse import (
    FEWEST_INPUTS,
    FEWEST_OUTPUTS,
    FEWEST_TERMS,
    _list_terms,
    any_of_tile,
    multiply_sparse,
)
from hotloop.engine.table import PRODUCT
from hotloop.engine.tile import PLAIN, RECTIFIED, tile_shape
from hotloop.engine.walk import MANY_ROWS, VERY_WIDE, WIDE

pytestmark = pytest.mark.kernels

FLOATS = ("float32", "float64")
LARGEST = 70 if COMPILED else 20
KINDS = ("images", "one-hot", "scattered", "empty", "dense at first", "dense at last")


@kernel
def tile_shape_of(array):
    return tile_shape(array)


@kernel
def any_of(array, at):
    return any_of_tile(array, at)


def data(kind, rows, inner, dtype, seed=0):
    """A matrix with zeros: in stripes, all but one column of a row, anywhere, all, all but some rows."""
    rng = np.random.default_rng([rows, inner, seed])
    values = rng.uniform(-1, 1, (rows, inner))
    if kind == "images":
        values *= (np.arange(inner) // 9 + np.arange(rows)[:, None] // 17) % 3 == 1
    elif kind == "one-hot":
        values = np.eye(max(inner, 1))[rng.integers(0, max(inner, 1), rows)][:, :inner]
    elif kind == "scattered":
        values *= rng.random((rows, inner)) < 0.15
    elif kind == "empty":
        values *= -0.0
    elif kind == "dense at first":
        values[rows // 5 :] = 0
    else:
        values[: -rows // 5] = 0
    return values.astype(dtype)


def both(a, cols, *, a_t=False, after=PLAIN, start="row", room=None, pad=3, before=2):
    """The product by `multiply_sparse`, or None if it leaves it to others, and by `multiply`.

    In memory with a gap behind each row, and numbers before the first.
    """
    rows, inner = a.shape
    rng = np.random.default_rng(cols)
    b = rng.uniform(-1, 1, (inner, cols + pad)).astype(a.dtype)
    first = rng.uniform(-1, 1, (rows, cols + pad)).astype(a.dtype)

    def placed(values, row, col):
        return Matrix(np.concatenate([np.full(before, np.nan, a.dtype), values.ravel()]), before, row, col)

    given_a = placed(a.T, 1, rows) if a_t else placed(a, inner, 1)
    given_b = placed(b, cols + pad, 1)
    found = []
    for product in (multiply_sparse, multiply):
        out = placed(first, cols + pad, 1)
        origin = {"row": placed(first, 0, 1), "out": out}[start]
        size = panel_size(max(inner, rows), cols, inner * rows) if room is None else room
        panel = np.full(size + 3, np.nan, a.dtype)
        done = product(out, origin, given_a, given_b, rows, cols, inner, panel[:-3], after)
        assert np.all(np.isnan(panel[-3:])), "written behind the panel"
        whole = out.data[before:].reshape(rows, cols + pad)
        np.testing.assert_array_equal(whole[:, cols:], first[:, cols:], err_msg="written outside of out")
        if product is multiply_sparse and not done:
            np.testing.assert_array_equal(whole, first, err_msg="half done")
            found.append(None)
        else:
            found.append(whole[:, :cols])
    return found


def check(*args, done=None, **options):
    """That it gives the same bits, if it does it; whether it does may be asked for."""
    found, expected = both(*args, **options)
    if done is not None:
        assert (found is not None) == done
    if found is not None:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("a_t", [False, True], ids=["a", "aT"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_of_any_product(kind, a_t, dtype):
    tile = tile_shape_of(np.zeros(1, dtype))[0]
    shapes = itertools.product((tile, tile + 1, 5 * tile - 1), (FEWEST_TERMS, 75), (32, 37))
    for rows, inner, cols in shapes:
        a = data(kind, rows, inner, dtype)
        done = True if kind in ("one-hot", "empty") else None
        for start, after in itertools.product(("row", "out"), (PLAIN, RECTIFIED)):
            check(a, cols, a_t=a_t, start=start, after=after, done=done)


@given(
    kind=st.sampled_from(KINDS), dtype=st.sampled_from(FLOATS), a_t=st.booleans(),
    rows=st.integers(0, LARGEST), inner=st.integers(0, LARGEST), cols=st.integers(0, LARGEST),
    start=st.sampled_from(("row", "out")), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_shape(kind, dtype, a_t, rows, inner, cols, start, seed):
    check(data(kind, rows, inner, dtype, seed), cols, a_t=a_t, start=start)


@pytest.mark.skipif(not COMPILED, reason="too many numbers for plain loops")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("a_t", [False, True], ids=["a", "aT"])
@pytest.mark.parametrize("kind", ["images", "one-hot"])
@pytest.mark.parametrize("cols", [32, WIDE, VERY_WIDE + 5])
def test_several_passes_and_blocks(cols, kind, a_t, dtype):
    """More terms than a pass has, and more rows than there is room for lists of."""
    for rows, inner in ((9, 2 * MOST_TERMS + 7), (1100, MOST_TERMS + 1), (600, 40)):
        done = True if kind == "one-hot" else None
        check(data(kind, rows, inner, dtype), cols, a_t=a_t, start="out", done=done)
        check(data(kind, rows, inner, dtype), cols, a_t=a_t, after=RECTIFIED, done=done)


@pytest.mark.parametrize("a_t", [False, True], ids=["a", "aT"])
def test_little_room(a_t):
    """Room for the lists of some tiles: the others have their turn when these are done. Or for none."""
    a = data("one-hot", 150, 80, "float64")
    for lists in (4, 7):
        check(a, 32, a_t=a_t, room=lists * 41, done=True)  # of int32, half as wide
    check(a, VERY_WIDE, room=80 * tile_shape_of(a)[1], done=False)


@pytest.mark.skipif(not COMPILED, reason="too many numbers for plain loops")
@pytest.mark.parametrize("rows", [MANY_ROWS - 1, MANY_ROWS])
def test_panels_of_many_columns_are_copied_for_many_rows(rows):
    check(data("one-hot", rows, 80, "float32"), WIDE + 3, done=True)


@pytest.mark.parametrize("a_t", [False, True], ids=["a", "aT"])
def test_what_is_left_to_others(a_t):
    tile, _ = tile_shape_of(np.zeros(1))
    empty = np.zeros((8 * tile, 60))
    check(empty, 32, a_t=a_t, done=True)
    check(empty + 1, 32, a_t=a_t, done=False)
    check(empty[: tile - 1], 32, a_t=a_t, done=False)
    check(empty[:, : FEWEST_TERMS - 1], 32, a_t=a_t, done=False)
    few = empty.copy()
    few[:tile] = few[-tile:] = 1  # neither of which is looked at
    check(few, 32, a_t=a_t, done=True)
    few[tile:] = 1
    check(few, 32, a_t=a_t, done=False)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("a_t", [False, True], ids=["a", "aT"])
@pytest.mark.parametrize("kind", KINDS)
def test_lists_name_what_is_not_zero(kind, a_t, dtype):
    tile, _ = tile_shape_of(np.zeros(1, dtype))
    a = data(kind, 2 * tile + 3, 50, dtype)
    a[2, 7], a[3, 8] = -0.0, np.finfo(dtype).smallest_subnormal
    stored = np.ascontiguousarray(a.T if a_t else a).ravel()
    matrix = Matrix(stored, 0, 1 if a_t else 50, len(a) if a_t else 1)
    for i, n in ((0, tile), (tile, tile), (2 * tile, 3)):
        lists = np.full(60, -7, np.int32)
        count = _list_terms(lists, 5, matrix, i, n, 50)
        expected = np.flatnonzero((a[i : i + n] != 0).any(axis=0)).tolist()
        assert [count, *expected] == [len(expected), *lists[6 : 6 + count].tolist()]
        assert lists[5] == count
        assert np.all(lists[:5] == -7)
        assert np.all(lists[56:] == -7)


def test_any_of_a_tile():
    for dtype in FLOATS:
        tile = tile_shape_of(np.zeros(1, dtype))[0]
        for place in range(tile + 2):
            for value in (1, -0.0, np.nan, np.inf):
                a = np.zeros(tile + 2, dtype)
                a[place] = value
                assert any_of(a, 1) == (1 <= place <= tile and bool(value != 0))


def fitted(X, y, *, n_threads=1, batch_size=32, dtype="float32", **recipe):
    layers = [hl.Dense(FEWEST_OUTPUTS + 5, "relu"), hl.Dense(4)]
    model = hl.Sequential(layers, input_dim=X.shape[1], seed=3, dtype=dtype)
    trainer = hl.Trainer(
        model, loss="softmax_cross_entropy", batch_size=batch_size, seed=1, n_threads=n_threads, **recipe
    )
    trainer.fit(X, y, epochs=2)
    return trainer


@pytest.mark.parametrize("recipe", [{}, {"clip_norm": 0.1}, {"penalty": hl.L2(0.1)}])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", KINDS)
def test_training_ends_as_without(monkeypatch, kind, dtype, recipe):
    """Minibatches of two sizes, in the loop."""
    rows = 400 if COMPILED else 40
    X = data(kind, rows, FEWEST_INPUTS + 3, dtype)
    y = np.arange(rows) % 4
    found = fitted(X, y, dtype=dtype, **recipe)
    with monkeypatch.context() as patch:
        patch.setattr("hotloop.engine.operations.link_sparse", lambda net: None)
        expected = fitted(X, y, dtype=dtype, **recipe)
    np.testing.assert_array_equal(found.model.theta, expected.model.theta)
    assert found.history["loss"] == expected.history["loss"]


@pytest.mark.skipif(COMPILED, reason="with the JIT off kernels can be watched")
def test_the_loop_skips(monkeypatch):
    """Forward and the gradient of the first layer, and forward in prediction: nothing else has data."""
    answers = []

    def watched(*args):
        answers.append((args[2].col, multiply_sparse(*args)))  # the layout of `a`
        return answers[-1][1]

    monkeypatch.setattr("hotloop.engine.sparse.multiply_sparse", watched)
    X = data("one-hot", 32, FEWEST_INPUTS, "float32")
    trainer = fitted(X, np.arange(32) % 4)
    assert answers.count((1, True)) == 2  # forward, an epoch each
    assert answers.count((FEWEST_INPUTS, True)) == len(answers) - 2 > 0  # the gradient, by chunks
    answers.clear()
    trainer.model.predict(X)
    assert answers == [(1, True)]
    trainer.model.predict(np.ones_like(X))
    assert answers[-1] == (1, False)


def test_which_networks_ask():
    """Those that begin with a wide dense layer."""
    wide = hl.Dense(FEWEST_OUTPUTS)
    for layers, inputs, asks in (
        ([wide], FEWEST_INPUTS, True),
        ([wide], FEWEST_INPUTS - 1, False),
        ([hl.Dense(FEWEST_OUTPUTS - 1), wide], FEWEST_INPUTS, False),
        ([hl.Standardize(), wide], FEWEST_INPUTS, False),
    ):
        model = hl.Sequential(layers, input_dim=inputs)
        assert (model.bind(8, 1).table[0, PRODUCT] != NOWHERE) == asks


@pytest.mark.skipif(not COMPILED, reason="threads are tested compiled")
@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_threads(kind):
    """Each thread decides by its own rows whether it skips: the bits are those of one."""
    X = data(kind, 333, 784, "float32")
    y = np.arange(333) % 4
    one = fitted(X, y, batch_size=100)
    for n_threads in (2, 3):
        many = fitted(X, y, batch_size=100, n_threads=n_threads)
        np.testing.assert_array_equal(many.model.theta, one.model.theta)
        assert many.history["loss"] == one.history["loss"]


def test_prediction_and_curvature_are_those_of_the_values():
    """Against NumPy and central differences, for a network whose inputs are mostly zeros."""
    X = data("one-hot", 24, FEWEST_INPUTS, "float64")
    y = np.arange(24) % 3
    model = hl.Sequential(
        [hl.Dense(FEWEST_OUTPUTS, "tanh"), hl.Dense(3)], input_dim=FEWEST_INPUTS, dtype="float64", seed=2
    )
    parts = model.parameters()
    hidden = np.tanh(X @ parts["dense_0/kernel"] + parts["dense_0/bias"])
    expected = hidden @ parts["dense_1/kernel"] + parts["dense_1/bias"]
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-12, atol=1e-14)
    objective = hl.Objective(model, X, y, loss="softmax_cross_entropy")
    theta, rng = model.theta.copy(), np.random.default_rng(0)
    v = rng.standard_normal(theta.size)
    h = 1e-5
    slope = (objective.value(theta + h * v) - objective.value(theta - h * v)) / (2 * h)
    np.testing.assert_allclose(objective.gradient(theta) @ v, slope, rtol=1e-7)
    turn = (objective.gradient(theta + h * v) - objective.gradient(theta - h * v)) / (2 * h)
    np.testing.assert_allclose(objective.hvp(theta, v), turn, rtol=1e-5, atol=1e-8)
