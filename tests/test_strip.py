"""Strips of W in registers: what their plain forms do, to the last bit, and nothing beside it.

The rule of Adam rounds otherwise than its plain form, which is compared with tolerances; to the last bit its
strips do what the loop over a gradient in memory does.
"""

import numpy as np
import pytest

from hotloop._jit import INTRINSICS, kernel_exact
from hotloop.engine.single import (
    add_strips,
    move_strips,
    move_strips_ahead,
    plain_add,
    plain_add_all,
    plain_move,
    plain_move_ahead,
)
from hotloop.engine.strip import MOST, lanes_of
from hotloop.optimizers import adam as adam_module
from hotloop.optimizers.adam import (
    adam_step,
    adam_strips,
    adam_strips_ahead,
    decayed_strips,
    decayed_strips_ahead,
)
from hotloop.optimizers.sgd import (
    momentum_strips,
    momentum_strips_ahead,
    plain_momentum,
    plain_momentum_ahead,
)

pytestmark = pytest.mark.kernels

ROWS, INPUTS, BEFORE = 5, 9, 3
NUMBERS = {
    "move": (0.1,),
    "momentum": (0.1, 0.9, 0),
    "nesterov": (0.1, 0.9, 1),
    "adam": (0.9, 0.1, 0.95, 0.05, 0.01, 1e-8, 1.0),
    "decayed": (0.9, 0.1, 0.95, 0.05, 0.01, 1e-8, 0.99),
}
N_ARRAYS = {"momentum": 2, "nesterov": 2, "adam": 3, "decayed": 3}


@kernel_exact
def add(passing, at, step, places, x, delta, z, y, numbers):
    add_strips(passing, at, step, places, x, delta, z, y, numbers)


@kernel_exact
def move(passing, at, step, places, x, delta, z, y, numbers):
    move_strips(passing, at, step, places, x, delta, z, y, numbers)


@kernel_exact
def move_ahead(passing, at, step, places, x, delta, z, y, numbers):
    move_strips_ahead(passing, at, step, places, x, delta, z, y, numbers)


@kernel_exact
def momentum(passing, at, step, places, x, delta, z, y, numbers):
    momentum_strips(passing, at, step, places, x, delta, z, y, numbers)


@kernel_exact
def momentum_ahead(passing, at, step, places, x, delta, z, y, numbers):
    momentum_strips_ahead(passing, at, step, places, x, delta, z, y, numbers)


@kernel_exact
def adam(passing, at, step, places, x, delta, z, y, numbers):
    adam_strips(passing, at, step, places, x, delta, z, y, numbers)


@kernel_exact
def adam_ahead(passing, at, step, places, x, delta, z, y, numbers):
    adam_strips_ahead(passing, at, step, places, x, delta, z, y, numbers)


@kernel_exact
def decayed(passing, at, step, places, x, delta, z, y, numbers):
    decayed_strips(passing, at, step, places, x, delta, z, y, numbers)


@kernel_exact
def decayed_ahead(passing, at, step, places, x, delta, z, y, numbers):
    decayed_strips_ahead(passing, at, step, places, x, delta, z, y, numbers)


@kernel_exact
def adam_vectors(passing, at, grad, numbers):
    if numbers[-1] == 1:
        adam_module.adam_vectors(passing, at, grad, numbers)
    else:
        adam_module.decayed_vectors(passing, at, grad, numbers)


def adam_by_rows(passing, at, step, places, x, delta, z, y, numbers):
    """The loop over a gradient in memory, of each row."""
    for i, x_i in enumerate(x):
        adam_vectors(passing, at + i * step, x_i * delta, numbers)


def adam_by_rows_ahead(passing, at, step, places, x, delta, z, y, numbers):
    adam_by_rows(passing, at, step, places, x, delta, z, y, numbers)
    plain_add_all(passing, at, step, z, y)


KINDS = {
    "add": (add, plain_add),
    "move": (move, plain_move),
    "move ahead": (move_ahead, plain_move_ahead),
    "momentum": (momentum, plain_momentum),
    "momentum ahead": (momentum_ahead, plain_momentum_ahead),
    "nesterov": (momentum, plain_momentum),
    "nesterov ahead": (momentum_ahead, plain_momentum_ahead),
    "adam": (adam, adam_by_rows),
    "adam ahead": (adam_ahead, adam_by_rows_ahead),
    "decayed": (decayed, adam_by_rows),
    "decayed ahead": (decayed_ahead, adam_by_rows_ahead),
}


def widths(dtype):
    """All that are one strip, and some that are more."""
    lanes = int(lanes_of(np.empty(0, dtype)))
    strip = MOST * lanes
    return [*range(1, strip + lanes), 2 * strip, 2 * strip + 1, 3 * strip + lanes]


def operands(kind, n_cols, dtype, rng):
    """(arguments of a strip, the arrays that it may change)."""
    which = kind.split()[0]
    step = n_cols + 17  # what lies between rows is compared, too
    n_arrays = N_ARRAYS.get(which, 1)
    passing = [rng.standard_normal(BEFORE + INPUTS * step).astype(dtype) for _ in range(n_arrays)]
    passing[2:] = [v * v for v in passing[2:]]
    x, y = rng.standard_normal((2, INPUTS)).astype(dtype)
    delta, z = rng.standard_normal((2, n_cols)).astype(dtype)
    # Places are kept as the numbers of the network are.
    places = None if n_arrays > 1 else np.sort(rng.permutation(INPUTS)[:ROWS]).astype(np.float64)
    numbers = tuple(dtype(number) for number in NUMBERS.get(which, ()))
    return (tuple(passing), BEFORE, step, places, x, delta, z, y, numbers), [*passing, z]


@pytest.mark.skipif(not INTRINSICS, reason="the plain forms are all there is")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_of_the_plain_form(kind, dtype):
    strip, plain = KINDS[kind]
    for n_cols in widths(dtype):
        given, found = operands(kind, n_cols, dtype, np.random.default_rng(n_cols))
        strip(*given)
        given, expected = operands(kind, n_cols, dtype, np.random.default_rng(n_cols))
        plain(*given)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_what_it_computes(kind, dtype):
    """Of the rows listed, or all, the columns of the strip; nothing else changes."""
    which = kind.split()[0]
    for n_cols in (1, 3, widths(dtype)[-1]):
        given, found = operands(kind, n_cols, dtype, np.random.default_rng(1))
        passing, at, step, places, x, delta, z, y, numbers = given
        before = [array.astype(np.float64) for array in passing]
        rows = np.arange(INPUTS) if places is None else places.astype(int)
        index = at + rows[:, None] * step + np.arange(n_cols)
        w, g, to = before[0][index], x[rows, None] * delta.astype(np.float64), z.astype(np.float64)
        if which == "move":
            w = w - numbers[0] * g
        elif which in ("momentum", "nesterov"):
            before[1][index] = v = numbers[1] * before[1][index] + g
            w = w - numbers[0] * (g + numbers[1] * v if which == "nesterov" else v)
        elif which in ("adam", "decayed"):
            keep_m, take_m, keep_v, take_v, eta, epsilon, kept = map(float, numbers)
            before[1][index] = keep_m * before[1][index] + take_m * g
            before[2][index] = keep_v * before[2][index] + take_v * g * g
            w = kept * w - eta * before[1][index] / (np.sqrt(before[2][index]) + epsilon)
        before[0][index] = w
        if kind == "add" or "ahead" in kind:
            to = to + y[rows].astype(np.float64) @ w
        KINDS[kind][0](*given)
        for one, other in zip(found, [*before, to], strict=True):
            near = 1e-5 if dtype == np.float32 else 1e-13
            np.testing.assert_allclose(one, other, rtol=near, atol=near)


@pytest.mark.parametrize("n_cols", [3, 16, 100, 200])
def test_no_rows(n_cols):
    for kind, (strip, _) in KINDS.items():
        given, found = operands(kind, n_cols, np.float32, np.random.default_rng(1))
        before = [array.copy() for array in found]
        passing, at, step, places, x, delta, z, y, numbers = given
        strip(passing, at, step, None if places is None else places[:0], x[:0], delta, z, y[:0], numbers)
        for one, other in zip(found, before, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(not INTRINSICS, reason="the plain form is all there is")
@pytest.mark.parametrize("kept", [1.0, 0.9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_vectors_of_adam_are_its_loop_but_for_rounding(dtype, kept):
    """Of any length, gradients and averages of all sizes, and nothing beside what was asked for changes."""
    beta1, beta2, eta, epsilon = 0.9, 0.999, 0.01, 1e-8
    numbers = tuple(map(dtype, (beta1, 1 - beta1, beta2, 1 - beta2, eta, epsilon, kept)))
    near, rng = 8 * np.finfo(dtype).eps, np.random.default_rng(0)
    for n in (0, 1, 15, 16, 17, 33, 1000):
        size = 10.0 ** rng.uniform(-6, 3, (4, BEFORE + n + 5))
        w, grad, m, v = (size * rng.standard_normal(size.shape)).astype(dtype)
        given = [w, m, v * v]
        found, expected = ([array.copy() for array in given] for _ in range(2))
        adam_vectors(tuple(found), BEFORE, grad[:n], numbers)
        adam_step(tuple(expected), BEFORE, grad[:n], numbers)
        # m is a sum of two numbers, which may cancel, and w, which moves by m, one of three.
        here, of_m = np.s_[BEFORE : BEFORE + n], np.abs(m)
        of_m[here] += np.abs(grad[:n])
        of_w = np.abs(w) + eta * of_m / (np.sqrt(expected[2]) + epsilon)
        for one, other, before, of in zip(found, expected, given, (of_w, of_m, expected[2]), strict=True):
            assert (np.abs(one - other)[here] <= near * of[here]).all()
            np.testing.assert_array_equal(np.delete(one, here), np.delete(before, here))
