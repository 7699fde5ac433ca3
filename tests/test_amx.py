"""Products on a processor's matrix unit: as accurate as by multiply-adds, and the same on any team."""

import types

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import hotloop as hl
from hotloop._jit import COMPILED, INTRINSICS
from hotloop.engine import unit
from hotloop.engine.amx import (
    MOST_STEPS,
    SUMS_AT,
    amx_multiply,
    amx_scratch,
    halves_of,
    is_worth_amx,
    most_lines,
    passes_of,
)
from hotloop.engine.matmul import Matrix, multiply, panel_size
from hotloop.engine.split import LINES, PARTS, SQUARE, STEP, TERMS, Lines, pack
from hotloop.engine.table import ON_UNIT
from hotloop.engine.tile import PLAIN, RECTIFIED
from hotloop.engine.unit import SUMS, has_amx

pytestmark = pytest.mark.kernels

runs_on_unit = pytest.mark.skipif(INTRINSICS and not has_amx(), reason="no matrix unit (Intel AMX) here")
trains_on_unit = pytest.mark.skipif(not has_amx(), reason="no matrix unit (Intel AMX) here")
compiled_only = pytest.mark.skipif(not COMPILED, reason="takes long in plain Python")
needs_vectors = pytest.mark.skipif(
    INTRINSICS and "+avx512bw" not in unit.processor()[1].split(","), reason="no AVX-512 here"
)

ROUNDING = 2.0**-24


def most_roundings(terms):
    """Of an error, in units of what the sum of the absolute products rounds to.

    A single product may be off by 8, since three small ones are left out; in long sums they all but vanish.
    (Multiply-adds of 784 terms were off by up to 5 in this file.)
    """
    return 10 if terms < 96 else 4


def unpack(words, steps, is_a):
    """The three parts of packed lines: (PARTS, lines, terms)."""
    squares = words[: steps * STEP].view(np.uint32).reshape(steps, PARTS, 2, 16, 16)
    if not is_a:
        squares = squares.swapaxes(3, 4)
    halves = np.stack([squares << 16, squares & 0xFFFF0000], axis=-2).view(np.float32)
    return halves.transpose(1, 2, 3, 0, 4, 5).reshape(PARTS, LINES, steps * TERMS)


def packed(matrix, is_a, contiguous):
    """A matrix (lines, terms) packed and unpacked, by terms or by lines that lie side by side."""
    lines, terms = matrix.shape
    data = np.ascontiguousarray(matrix if contiguous else matrix.T).reshape(-1)
    line, term = (terms, 1) if contiguous else (1, lines)
    steps = -(-terms // TERMS)
    words = np.full(STEP * (steps + 1), np.nan, np.float32)
    pack(words, 0, steps * STEP, Lines(data, 0, line, term, lines, terms, is_a))
    return unpack(words, steps, is_a)


@needs_vectors
@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("is_a", [True, False])
@pytest.mark.parametrize(("lines", "terms"), [(32, 32), (1, 1), (17, 33), (16, 64), (5, 31), (32, 95)])
def test_three_parts_are_the_number(lines, terms, is_a, contiguous):
    rng = np.random.default_rng(lines + terms)
    matrix = (rng.standard_normal((lines, terms)) * 10.0 ** rng.integers(-30, 30, (lines, terms))).astype("f")
    parts = packed(matrix, is_a, contiguous)
    whole = parts.astype(np.float64).sum(axis=0)
    np.testing.assert_array_equal(whole[:lines, :terms], matrix)
    assert not whole[lines:].any()
    assert not whole[:, terms:].any()


@needs_vectors
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_any_number_is_split(numbers):
    """Exactly above 1e-33; below, all but what a float32 next to 0 cannot say."""
    matrix = np.array([numbers], np.float32)
    parts = packed(matrix, True, True)[:, 0, : len(numbers)].astype(np.float64)
    error = np.abs(parts.sum(axis=0) - matrix[0])
    assert (error <= np.where(np.abs(matrix[0]) > 1e-33, 0.0, np.finfo(np.float32).tiny)).all()
    assert (np.abs(parts[1]) <= np.abs(parts[0]) * 2.0**-7).all()


GUARD = 200_000
"""Numbers behind a panel that nobody may write."""


def product(m, n, k, *, orders=(True, True), after=PLAIN, seed=0, scale=1.0, own_start=False, sign=True):
    """``(by the unit, by multiply-adds, in float64, Σ|a||b|)`` of start + a b; `orders`: a and b by rows."""
    rng = np.random.default_rng(seed)
    a, b = scale * rng.standard_normal((m, k)), rng.standard_normal((k, n)) / scale
    start = rng.standard_normal((m, n) if own_start else (1, n))
    a, b, start = ((x if sign else np.abs(x)).astype(np.float32) for x in (a, b, start))
    switches = rng.standard_normal((m, n)).astype(np.float32)
    matrices = []
    for matrix, by_rows in zip((a, b), orders, strict=True):
        rows, cols = matrix.shape
        data = np.ascontiguousarray(matrix if by_rows else matrix.T).reshape(-1)
        matrices.append(Matrix(data, 0, cols, 1) if by_rows else Matrix(data, 0, 1, rows))
    exact = a.astype(np.float64) @ b + start
    size = np.abs(a).astype(np.float64) @ np.abs(b) + np.abs(start)
    if after == RECTIFIED:
        exact = np.maximum(exact, 0)
    elif after != PLAIN:
        exact = np.where(switches > 0, exact, 0)
    found = []
    for function, scratch in ((amx_multiply, amx_scratch(max(m, n), k)), (multiply, panel_size(k, n, m * k))):
        out = np.concatenate([switches.reshape(-1), np.full(m * n, np.nan, np.float32)])
        memory = np.full(scratch + GUARD, np.nan, np.float32)
        panel = memory[:scratch]
        then = after if after >= 0 else -m * n
        begins = Matrix(start.reshape(-1), 0, n if own_start else 0, 1)
        function(Matrix(out, m * n, n, 1), begins, *matrices, m, n, k, panel, then)
        np.testing.assert_array_equal(out[: m * n], switches.reshape(-1))
        assert np.isnan(memory[scratch:]).all()
        found.append(out[m * n :].reshape(m, n))
    return *found, exact, size


SHAPES = [(2, 3, 33)]
if COMPILED:  # plain Python takes a second for each block and step
    SHAPES += [(1, 1, 1), (33, 31, 65), (40, 70, 30)]
if INTRINSICS:
    SHAPES += [
        (128, 128, 784),
        (300, 1000, 33),
        (768, 768, 448),  # passes of fewer terms have more lines ready than one of all could
        (most_lines(100) + 5, most_lines(100) + 37, 100),
        (100, 200, 33),
        (96, 96, 3 * MOST_STEPS * TERMS + 1),
    ]


@runs_on_unit
@pytest.mark.parametrize("after", [PLAIN, RECTIFIED, -1])
@pytest.mark.parametrize("orders", [(True, True), (False, True), (True, False)])
@pytest.mark.parametrize("shape", SHAPES)
def test_products(shape, orders, after):
    """Forward, gradient and backward, with what follows: as near to the exact sums as multiply-adds."""
    found, other, exact, size = product(*shape, orders=orders, after=after, own_start=orders[0])
    assert (np.abs(found - exact) <= most_roundings(shape[2]) * ROUNDING * size).all()
    assert (np.abs(found - other) <= 20 * ROUNDING * size).all()


@trains_on_unit
@given(
    st.integers(1, 150),
    st.integers(1, 150),
    st.integers(1, 500),
    st.integers(0, 9),
    st.sampled_from([1e-12, 1, 1e9]),
)
def test_products_of_any_size(m, n, k, seed, scale):
    found, _, exact, size = product(m, n, k, seed=seed, scale=scale)
    assert (np.abs(found - exact) <= most_roundings(k) * ROUNDING * size).all()


@trains_on_unit
@pytest.mark.parametrize("sign", [False, True])
def test_on_average_more_accurate_than_multiply_adds(sign):
    found, other, exact, _ = product(128, 128, 784, sign=sign)
    assert np.abs(found - exact).mean() < np.abs(other - exact).mean()


@compiled_only
@runs_on_unit
def test_a_row_does_not_depend_on_the_others():
    m, n, k = (300, 100, 500) if INTRINSICS else (40, 33, 34)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(m * k).astype("f"), rng.standard_normal(k * n).astype("f")
    zeros, panel = np.zeros(n, np.float32), np.empty(amx_scratch(max(m, n), k), np.float32)

    def rows(first, last):
        out = np.empty((last - first) * n, np.float32)
        matrices = Matrix(zeros, 0, 0, 1), Matrix(a, first * k, k, 1), Matrix(b, 0, n, 1)
        amx_multiply(Matrix(out, 0, n, 1), *matrices, last - first, n, k, panel, PLAIN)
        return out.reshape(-1, n)

    whole = rows(0, m)
    for first, last in ((0, 1), (7, 40), (m - 3, m)):
        np.testing.assert_array_equal(rows(first, last), whole[first:last])


@compiled_only
@runs_on_unit
def test_a_pass_is_added_as_a_whole():
    """So two threads may have one each."""
    m, n, k = (96, 96, 500) if INTRINSICS else (3, 4, (MOST_STEPS + 1) * TERMS)
    begin, cut, end = halves_of(k)
    assert (begin, end, cut % TERMS, passes_of(cut), passes_of(end - cut)) == (0, k, 0, 1, 1)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(m * k).astype("f"), rng.standard_normal(k * n).astype("f")
    zeros, panel = np.zeros(n, np.float32), np.empty(amx_scratch(max(m, n), k), np.float32)

    def terms(first, last):
        out = np.empty(m * n, np.float32)
        matrices = Matrix(zeros, 0, 0, 1), Matrix(a, first, k, 1), Matrix(b, first * n, n, 1)
        amx_multiply(Matrix(out, 0, n, 1), *matrices, m, n, last - first, panel, PLAIN)
        return out

    np.testing.assert_array_equal(terms(0, cut) + terms(cut, k), terms(0, k))


@runs_on_unit
def test_what_is_not_finite_stays_so():
    """An infinite number may become NaN, but nothing finite."""
    m, n, k = (33, 34, 35) if COMPILED else (4, 2, 21)
    for bad in (np.inf, -np.inf, np.nan):
        a, b = np.ones((m, k), np.float32), np.ones(k * n, np.float32)
        a[3, 20] = bad
        out, panel = np.empty(m * n, np.float32), np.empty(amx_scratch(max(m, n), k), np.float32)
        matrices = (
            Matrix(np.zeros(n, np.float32), 0, 0, 1),
            Matrix(a.reshape(-1), 0, k, 1),
            Matrix(b, 0, n, 1),
        )
        amx_multiply(Matrix(out, 0, n, 1), *matrices, m, n, k, panel, PLAIN)
        finite = np.isfinite(out.reshape(m, n))
        assert not finite[3].any()
        assert np.delete(finite, 3, axis=0).all()


def test_scratch_has_room_for_what_is_packed():
    """Where smaller products have more lines ready, too: training has one panel for all of a network's."""
    for lines in (1, 33, 400, 768, 1024, 1700, 3000, 10**4, 10**6):
        so_far = 0
        for terms in (1, 32, 33, 100, 256, 417, 448, 544, 545, 832, 833, 3000, 10**5):
            steps = -(-terms // TERMS)
            passes = passes_of(terms)
            for k in range(passes):
                of_pass = steps * (k + 1) // passes - steps * k // passes
                groups = -(-min(lines, most_lines(of_pass * TERMS)) // LINES)
                so_far = max(so_far, SUMS_AT + groups * (SUMS + of_pass * STEP))
            assert amx_scratch(lines, terms) >= so_far
    assert PARTS * 2 * SQUARE == STEP
    assert amx_scratch(10**6, 10**6) < 4 * 10**5 + SUMS * 169


def test_when_a_layer_is_worth_it():
    assert is_worth_amx(784, 128, 128)
    assert is_worth_amx(100, 256, 256)
    assert not is_worth_amx(100, 100, 100)  # blocks of 128
    assert is_worth_amx(784, 128, 64)
    assert is_worth_amx(784, 64, 128)
    assert is_worth_amx(784, 512, 32)
    for too_few in ((64, 128, 128), (784, 32, 256), (784, 64, 64), (784, 128, 32), (784, 4096, 16)):
        assert not is_worth_amx(*too_few)


def trainer_of(widths, *, batch_size=128, n_threads=1, dtype="float32", activation="relu", **options):
    layers = [*(hl.Dense(units, activation, **options) for units in widths[1:-1]), hl.Dense(widths[-1])]
    model = hl.Sequential(layers, input_dim=widths[0], dtype=dtype, seed=1)
    loss = "softmax_cross_entropy"
    return hl.Trainer(model, loss=loss, optimizer=hl.Adam(1e-3), batch_size=batch_size, n_threads=n_threads)


def layers_on_unit(trainer, X, batch_size=128, n_threads=1):
    table = trainer.stepper.bind(batch_size, n_threads, True, lambda: X != 0).table
    return table[table[:, 0] == 0, ON_UNIT].tolist()


@trains_on_unit
def test_which_layers_are_on_the_unit():
    X = np.ones((300, 200), np.float32)
    one_hot = np.eye(200, dtype=np.float32)[np.arange(300) % 200]
    widths = (200, 128, 128, 10)
    assert layers_on_unit(trainer_of(widths), X) == [1, 1, 0]
    assert layers_on_unit(trainer_of(widths), one_hot) == [0, 1, 0]  # zeros are skipped
    assert layers_on_unit(trainer_of(widths), X, batch_size=32) == [0, 0, 0]
    assert layers_on_unit(trainer_of(widths, dtype="float64"), X) == [0, 0, 0]


def data(n, n_in, classes):
    rng = np.random.default_rng(2)
    return rng.standard_normal((n, n_in)).astype(np.float32), rng.integers(0, classes, n)


@trains_on_unit
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(
    ("widths", "options"),
    [
        ((784, 128, 10), {}),
        ((784, 128, 10), {"activation": "tanh", "use_bias": False}),
        ((417, 256, 96, 5), {}),  # two passes
        ((1024, 128, 128, 3), {"activation": "gelu"}),  # three
        ((100, 256, 256, 10), {"batch_size": 256}),
        ((784, 512, 300, 10), {"batch_size": 32}),
        ((200, 1100, 10), {"batch_size": 1100}),
    ],
)
def test_training_has_the_bits_of_one_thread(widths, options, shuffle):
    X, y = data(max(options.get("batch_size", 0), 400), widths[0], widths[-1])
    found = []
    for n_threads in (1, 2, 3):
        trainer = trainer_of(widths, n_threads=n_threads, **options)
        history = trainer.fit(X, y, epochs=2, shuffle=shuffle)
        found.append((trainer.model.theta.tobytes(), tuple(history["loss"])))
    assert layers_on_unit(trainer, X)[0] == 1
    assert found[1] == found[0]
    assert found[2] == found[0]


@trains_on_unit
@pytest.mark.parametrize("few_bytes", [0, 1 << 20])
@pytest.mark.parametrize("share", [1.0, 0.02])
def test_data_may_be_stored_in_any_way(share, few_bytes, monkeypatch):
    """Whether zeros are skipped is asked of the numbers, not of what holds them."""
    monkeypatch.setattr("hotloop.data.staging.FEW_BYTES", few_bytes)
    X, y = data(300, 200, 3)
    X = X * (np.random.default_rng(3).random(X.shape) < share).astype(np.float32)
    found = []
    for stored in (X, scipy.sparse.csr_matrix(X), X.astype(np.float64), np.asfortranarray(X), X.tolist()):
        trainer = trainer_of((200, 128, 3))
        trainer.fit(stored, y, epochs=2)
        found.append(trainer.model.theta.tobytes())
    assert layers_on_unit(trainer, X) == [int(share == 1), 0]
    assert len(set(found)) == 1


@trains_on_unit
def test_training_as_by_multiply_adds(monkeypatch):
    X, y = data(1280, 784, 10)
    found = []
    for rows_on_unit in (hl.Sequential.rows_on_unit, lambda self, capacity: []):
        monkeypatch.setattr(hl.Sequential, "rows_on_unit", rows_on_unit)
        trainer = trainer_of((784, 256, 128, 10))
        history = trainer.fit(X, y, epochs=3)
        found.append((trainer.model.theta.copy(), history["loss"]))
    (theta, losses), (other, other_losses) = found
    assert not np.array_equal(theta, other)
    np.testing.assert_allclose(losses, other_losses, rtol=1e-5)
    np.testing.assert_allclose(theta, other, atol=2e-4)


@trains_on_unit
def test_overflow_is_reported_as_ever():
    X, y = data(256, 200, 3)
    trainer = trainer_of((200, 128, 3))
    before = trainer.model.theta.copy()
    with pytest.raises(hl.HotloopError, match="loss"):
        trainer.fit(X * np.float32(1e37), y, epochs=1)
    np.testing.assert_array_equal(trainer.model.theta, before)


@pytest.mark.skipif(not INTRINSICS, reason="nothing runs on the unit here")
def test_the_processor_the_system_and_the_user_must_agree(monkeypatch):
    """On a made-up machine: each of them can refuse."""
    features, answers = "+amx-tile,+amx-bf16,+avx512f,+avx512bw", [0]
    system = types.SimpleNamespace(syscall=lambda *arguments: answers[0])
    monkeypatch.setattr(unit, "processor", lambda: ("", features))
    monkeypatch.setattr(unit.ctypes, "CDLL", lambda name: system)
    monkeypatch.setattr(unit.sys, "platform", "linux")
    monkeypatch.delenv("HOTLOOP_AMX", raising=False)
    ask = has_amx.__wrapped__
    assert ask()
    monkeypatch.setenv("HOTLOOP_AMX", "0")
    assert not ask()
    monkeypatch.delenv("HOTLOOP_AMX")
    answers[0] = -1
    assert not ask()
    answers[0], features = 0, features.replace("+amx-bf16", "-amx-bf16")
    assert not ask()
    features = "+amx-tile,+amx-bf16,+avx512f,+avx512bw"
    monkeypatch.setattr(unit.sys, "platform", "win32")
    assert not ask()


@compiled_only
def test_float64_models_need_no_unit():
    assert trainer_of((200, 128, 3), dtype="float64").model.rows_on_unit(128) == []
