"""Rows that the loop fetches by itself: the rows asked for, and the weights of staged ones."""

import dataclasses

import numpy as np
import pytest

import hotloop as hl
from helpers import classes, net, read_only
from hotloop._jit import COMPILED
from hotloop.data import staging
from hotloop.data.staging import stage_rows
from hotloop.engine.fetch import STRIP
from hotloop.engine.gather import gather, link_convert, scatter_rows
from hotloop.engine.loop import Block
from hotloop.engine.take import MOST_WORDS, take_rows
from hotloop.engine.team import Crew, sync_zeros
from hotloop.errors import InvalidTypeError, InvalidValueError

pytestmark = pytest.mark.kernels


@pytest.mark.parametrize("width", [1, 5, STRIP, 2 * STRIP + 3])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", [None, "float32", "float64", "uint8"])
def test_the_rows_that_are_asked_for(given, width, n_threads, dtype):
    """As they lie, or converted from another dtype."""
    X = (100 * np.random.default_rng(0).random((40, width))).astype(given or dtype)
    rows = np.array([39, 0, 0, 7, 12, 38, 5, 1, 2, 3, 30, 31, 32, 20, 11])
    bound = net(width, 2, dtype=dtype).bind(10, n_threads, None, True)
    nothing, scale = np.empty((0, 1), dtype), 1.0
    x, other = X.reshape(-1), np.empty(0, np.uint8)
    if given is not None:
        link_convert(bound, X.dtype)
        x, other, scale = nothing[:, 0], X.reshape(-1).view(np.uint8), 1 / 255
    block = Block(x, rows, nothing, nothing[:, 0], len(rows), other, scale)
    bound.work[:] = np.nan
    for tid in range(n_threads):
        gather(bound, block, 3, 13, Crew(tid, n_threads, sync_zeros(1)))
    found = bound.work[bound.inputs : bound.inputs + 10 * width].reshape(10, width)
    np.testing.assert_array_equal(found, X[rows[3:13]].astype(dtype) * bound.work.dtype.type(scale))
    assert np.isnan(np.delete(bound.work, np.s_[bound.inputs : bound.inputs + 10 * width])).all()


def samples_of(X):
    y, n_in = np.zeros(len(X), int), X.shape[1]
    loss, dtype = hl.losses.SoftmaxCrossEntropy(), np.dtype("float32")
    return staging.check_samples(X, y, None, loss=loss, n_in=n_in, n_out=2, dtype=dtype, scale=1.0)


def test_wide_rows_of_the_model_s_dtype_are_read_where_they_lie():
    X = np.ones((4, staging.WIDE), np.float32)
    X.flags.writeable = False
    assert np.shares_memory(samples_of(X).flat, X)
    short, strided = X[:, 1:].copy(), np.tile(X, 2)[:, ::2]
    for other in (short, strided, np.asfortranarray(X), X.astype("float64"), X.astype(">f4")):
        assert samples_of(other).flat is None


@pytest.mark.parametrize(
    "layout", [np.ascontiguousarray, np.asfortranarray, read_only], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("width", [1, 5, STRIP, 2 * STRIP + 3])
@pytest.mark.parametrize("given", ["float32", "float64", "uint8", "float16", "int64", "bool"])
@pytest.mark.parametrize("wanted", ["float32", "float64"])
@pytest.mark.parametrize("many", [0, staging.MANY_BYTES])
def test_staged_rows_are_converted_and_uint8_scaled(many, wanted, given, width, layout, monkeypatch):
    monkeypatch.setattr(staging, "MANY_BYTES", many)
    monkeypatch.setattr(staging, "MANY_ROWS", 0)
    X = layout((100 * np.random.default_rng(0).random((40, width))).astype(given))
    scale = 1 / 255
    for rows in (slice(3, 20), np.array([39, 0, 0, 7, 12]), slice(0, 1)):
        out = np.full((20, width), np.nan, wanted)
        n = len(X[rows])
        stage_rows(X, rows, out[:n], scale)
        factor = out.dtype.type(scale if given == "uint8" else 1)
        np.testing.assert_array_equal(out[:n], X[rows].astype(wanted) * factor)
        assert np.isnan(out[n:]).all()


@pytest.mark.parametrize("words", range(1, MOST_WORDS + 1))
def test_short_rows_are_taken_from_anywhere(words):
    source = np.random.default_rng(0).integers(-(2**31), 2**31, (30, words), np.int32)
    rows = np.array([29, 0, 0, 7, 12, 28])
    out = np.full((8, words), 7, np.int32)
    take_rows(source.reshape(-1), rows, words, out.reshape(-1))
    take_rows(source.reshape(-1), rows[:0], words, out.reshape(-1))
    np.testing.assert_array_equal(out[:6], source[rows])
    assert (out[6:] == 7).all()


@pytest.mark.skipif(not COMPILED, reason="NumPy takes them")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_short_rows_are_taken_by_the_kernel(dtype, monkeypatch):
    taken = []

    def noting(source, rows, words, out):
        taken.append(words)
        take_rows(source, rows, words, out)

    monkeypatch.setattr(staging, "take_rows", noting)
    monkeypatch.setattr(staging, "MANY_ROWS", 3)
    X = np.random.default_rng(0).random((staging.MANY_BYTES // 16, 4)).astype(dtype)
    rows = np.array([len(X) - 1, 0, 5])
    out = np.empty((3, 4), dtype)
    stage_rows(X, rows, out)
    np.testing.assert_array_equal(out, X[rows])
    assert taken == [X[:1].nbytes // 4]
    # Few data, few rows, their numbers not in one piece, or of another kind.
    few = X[: len(X) // 4], rows % 3
    for source, which in (few, (X, rows[1:]), (X, rows[::-1]), (X, rows.astype(np.int32))):
        to = np.empty((len(which), 4), dtype)
        stage_rows(source, which, to)
        np.testing.assert_array_equal(to, source[which])
    # A row that is no whole words, a long one, and a place that is not in one piece.
    for other, to in (
        (np.ones((staging.MANY_BYTES, 3), np.uint8), np.empty((3, 3), np.uint8)),
        (np.ones((staging.MANY_BYTES // 64, 17), np.float32), np.empty((3, 17), np.float32)),
        (X, np.empty((4, 3), dtype).T),
    ):
        stage_rows(other, rows % 3, to)
        np.testing.assert_array_equal(to, other[rows % 3])
    assert len(taken) == 1


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("wanted", ["float32", "float64"])
def test_sparse_rows_become_dense_on_what_was_there_before(wanted, index):
    # 6 rows of 5: an empty one first and last, two numbers in one place, columns out of order.
    data = np.array([1.5, -2.0, 3.0, 0.25, 4.0, 7.0, -1.0])
    indices = np.array([4, 0, 2, 2, 1, 0, 4], index)
    indptr = np.array([0, 0, 2, 5, 6, 7, 7], index)
    expected = [
        [0, 0, 0, 0, 0],
        [-2, 0, 0, 0, 1.5],
        [0, 4, 3.25, 0, 0],
        [7, 0, 0, 0, 0],
        [0, 0, 0, 0, -1],
        [0] * 5,
    ]
    rows = np.array([5, 2, 0, 1, 4, 3, 2])
    out = np.full((7, 5), np.nan, wanted)
    scatter_rows(data, indices, indptr, rows, out)
    np.testing.assert_array_equal(out, np.array(expected)[rows])


def test_rows_that_the_loop_converts(monkeypatch):
    monkeypatch.setattr(staging, "FEW_BYTES", 4 * 4 * staging.WIDE - 1)
    dtype = np.dtype("float32")
    X = np.arange(4.0 * staging.WIDE).reshape(4, -1)
    for given in (X, X.astype(np.uint8), read_only(X)):
        samples = samples_of(given).for_loop(dtype)
        assert np.shares_memory(samples.other, given)
        assert samples.other.dtype == given.dtype
    kinds = X.astype("float32"), X.astype("float16"), X.astype(">f8"), X.astype(int)
    for given in (*kinds, X[:, 1:].copy(), np.asfortranarray(X), np.tile(X, 2)[:, ::2]):
        assert samples_of(given).for_loop(dtype).other is None


@pytest.mark.parametrize("given", ["float64", "uint8", "float16", ">f4", "int64", "bool"])
@pytest.mark.parametrize("width", [staging.WIDE - 1, staging.WIDE])
@pytest.mark.parametrize("layout", [np.asarray, np.asfortranarray, read_only], ids=lambda f: f.__name__)
def test_few_features_are_converted_before_training(layout, width, given):
    X = layout(np.arange(4.0 * width).reshape(4, -1).astype(given))
    plain = X.astype("float32") * np.float32(0.5 if given == "uint8" else 1)
    samples = dataclasses.replace(samples_of(X), scale=0.5).for_loop(plain.dtype)
    assert samples.features.dtype == plain.dtype
    np.testing.assert_array_equal(samples.features, plain)
    assert samples.other is None
    assert (samples.flat is not None) == (width >= staging.WIDE)
    block = samples.empty_block(3, plain.dtype)
    part = samples.fill(block, np.array([3, 0]))
    rows = part.x.reshape(-1, width)[part.rows if len(part.rows) else slice(None)]
    np.testing.assert_array_equal(rows, plain[[3, 0]])


def test_what_float32_cannot_hold_becomes_0_however_numpy_is_set():
    X = np.full((3, 2), 1e-60)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(samples_of(X).for_loop(np.dtype("float32")).features, 0)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("batch_size", [1, 16, None])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("given", ["float32", "float64", "uint8", "float16"])
def test_rows_in_place_train_the_weights_of_staged_ones(given, shuffle, batch_size, n_threads, monkeypatch):
    """In the dtype of the model, or in another one that the loop converts, or does not."""
    X, y = classes(n=45, features=6)
    X = (100 + 20 * X).astype(given)
    options = {"loss": "softmax_cross_entropy", "batch_size": batch_size, "n_threads": n_threads}
    options |= {"optimizer": hl.SGD(1e-4)}

    def trained(least):
        monkeypatch.setattr(staging, "WIDE", least)
        monkeypatch.setattr(staging, "FEW_BYTES", 0)
        layers = [hl.Dense(9, "relu"), hl.Dense(3)]
        model = hl.Sequential(layers, input_dim=6, dtype="float64", uint8_scale=0.5)
        trainer = hl.Trainer(model, **options)
        data = {"validation_data": (X, y), "sample_weight": np.arange(45.0)}
        history = trainer.fit(X, y, epochs=2, shuffle=shuffle, **data)
        return trainer.model.theta, dict(history)

    (in_place, there), (staged, elsewhere) = trained(1), trained(7)
    np.testing.assert_array_equal(in_place, staged)
    assert there == elsewhere


def distances():
    """A loss of one's own, for which Python sees the rows of each minibatch."""
    return hl.losses.Custom(value=lambda z, y: ((z - y) ** 2).sum(axis=1), gradient=lambda z, y: 2 * (z - y))


@pytest.mark.parametrize(
    "recipe",
    [{"penalty": hl.Nuclear(0.1)}, {"loss": distances()}, {"clip_norm": 0.1}, {"average": hl.EMA(0.9)}],
    ids=["nuclear", "custom", "clip", "average"],
)
def test_whatever_surrounds_the_step(recipe, monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 20)), rng.standard_normal((50, 3))

    def trained(least):
        monkeypatch.setattr(staging, "WIDE", least)
        monkeypatch.setattr(staging, "FEW_BYTES", 0)
        trainer = hl.Trainer(net(20, 9, 3, dtype="float32"), **{"loss": "mse", "batch_size": 16} | recipe)
        return trainer.fit(X, y, epochs=2)["loss"], trainer.model.theta

    (there, in_place), (elsewhere, staged) = trained(1), trained(21)
    np.testing.assert_array_equal(in_place, staged)
    assert there == elsewhere


def sparse_data(given, n=40, width=70):
    rng = np.random.default_rng(0)
    X = np.round(9 * rng.random((n, width)) * (rng.random((n, width)) < 0.1), 1).astype(given)
    X[3], X[-1] = 0, 0
    return X, np.arange(n) % 3


@pytest.mark.parametrize("form", ["csr_array", "csr_matrix", "csc_array", "coo_array", "lil_array"])
@pytest.mark.parametrize("given", ["float32", "float64", "uint8", "int64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("first", [(), (hl.Standardize(),)], ids=["", "standardized"])
def test_sparse_data_train_the_weights_of_dense_ones(first, dtype, given, form):
    sparse = pytest.importorskip("scipy.sparse", reason="matrices are SciPy's")
    if not COMPILED and (form, given) not in (("csr_array", "float64"), ("coo_array", "uint8")):
        pytest.skip("too many trainings for plain loops")
    X, y = sparse_data(given)

    def trained(data):
        layers = [*first, hl.Dense(33, "relu"), hl.Dense(3)]
        model = hl.Sequential(layers, input_dim=X.shape[1], dtype=dtype, uint8_scale=0.5)
        trainer = hl.Trainer(model, loss="softmax_cross_entropy", batch_size=16)
        history = trainer.fit(data, y, epochs=2, validation_data=(data, y))
        objective = hl.Objective(model, data, y, loss="softmax_cross_entropy")
        losses = [*history["loss"], *history["val_loss"], trainer.evaluate(data, y)["loss"]]
        losses.append(objective.value(model.theta))
        return losses, model.theta, model.predict(data), objective.gradient(model.theta)

    (there, *found), (elsewhere, *expected) = trained(getattr(sparse, form)(X)), trained(X)
    for some, others in zip(found, expected, strict=True):
        np.testing.assert_array_equal(some, others)
    assert there == elsewhere


def test_numbers_in_the_same_place_and_memory_as_it_comes():
    sparse = pytest.importorskip("scipy.sparse", reason="matrices are SciPy's")
    model = hl.Sequential([hl.Dense(3)], input_dim=4)
    rows, cols = np.array([0, 0, 1, 2, 2]), np.array([1, 1, 3, 2, 2])
    for values in ([True] * 5, np.array([200, 100, 1, 2, 3], np.uint8), np.array([1.5, 2, 3, 4, 5])):
        X = sparse.csr_array((values, (rows, cols)), shape=(3, 4))
        twice = sparse.csr_array((np.array(values), cols, np.array([0, 2, 3, 5])), shape=(3, 4))
        np.testing.assert_array_equal(model.predict(twice), model.predict(X.toarray()))
    huge = sparse.csr_array((np.full(5, 3e38, np.float32), cols, np.array([0, 2, 3, 5])), shape=(3, 4))
    with pytest.raises(InvalidValueError, match="X: inf at row 0, column 1 is not finite"):
        model.predict(huge)
    unaligned = np.frombuffer(bytearray(5 * 8 + 1), np.float64, offset=1)
    unaligned[:] = [1, 2, 3, 4, 5]
    X.data = unaligned[: X.nnz]
    np.testing.assert_array_equal(model.predict(X), model.predict(X.toarray()))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("index", [-1, 70])
def test_places_outside_of_a_matrix(index, axis):
    sparse = pytest.importorskip("scipy.sparse", reason="matrices are SciPy's")
    X, model = sparse.coo_array(np.eye(70)), hl.Sequential([hl.Dense(3)], input_dim=70)
    X.coords[axis][4] = index
    with pytest.raises(InvalidValueError, match="X: not a valid COO matrix: "):
        model.predict(X)
    X = sparse.lil_array(np.eye(70))
    X.rows[4] = [index]
    with pytest.raises(InvalidValueError, match="X: not a valid LIL matrix: "):
        model.predict(X)


def broken(part, value):
    """A CSR matrix of which one part is spoilt afterwards, as SciPy lets you."""
    sparse = pytest.importorskip("scipy.sparse", reason="matrices are SciPy's")
    X = sparse.csr_array(sparse_data("float64")[0])
    getattr(X, part)[4] = value
    return X


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("data", np.nan, "X: nan at row 0, column"),
        ("data", 1e300, "too large for float32"),
        ("indices", 70, "X: not a valid CSR matrix"),
        ("indices", -1, "X: not a valid CSR matrix"),
        ("indptr", 9999, "X: not a valid CSR matrix"),
    ],
)
def test_wrong_sparse_data(part, value, message):
    X, y = broken(part, value), np.arange(40) % 3
    model = hl.Sequential([hl.Dense(3)], input_dim=70)
    for use in (model.predict, lambda X: hl.Trainer(model, loss="softmax_cross_entropy").fit(X, y)):
        with pytest.raises(InvalidValueError, match=message):
            use(X)


def test_sparse_data_of_another_shape():
    sparse = pytest.importorskip("scipy.sparse", reason="matrices are SciPy's")
    model = hl.Sequential([hl.Dense(3)], input_dim=70)
    for shape, message in (((4, 69), "has 69 features"), ((0, 70), "is empty")):
        with pytest.raises(InvalidValueError, match=message):
            model.predict(sparse.csr_array(shape))
    with pytest.raises(InvalidTypeError, match="complex128"):
        model.predict(sparse.csr_array(np.ones((2, 70)) * 1j))
