"""Activations: a new member is a row of `reference.ACTIVATIONS`."""

import numba
import numpy as np
import pytest

import reference
from hotloop import activations
from hotloop._jit import COMPILED, FLAGS
from hotloop.activations import ACTIVATIONS, activate, activate_backward

pytestmark = pytest.mark.kernels

TOLERANCE = {"float32": 5e-7, "float64": 1e-14}
FLOATS = list(TOLERANCE)
# The identity is no operation of its own: a dense layer without an activation has no such row.
NAMES = [name for name in ACTIVATIONS if name != "identity"]


def f(name, z):
    a = np.full_like(z, np.nan)
    activate(ACTIVATIONS[name], z, a)
    return a


def f_backward(name, z, delta):
    delta = delta.copy()
    activate_backward(ACTIVATIONS[name], z, f(name, z), delta)
    return delta


def test_every_member_has_a_twin():
    assert set(reference.ACTIVATIONS) == set(ACTIVATIONS)
    assert len(set(ACTIVATIONS.values())) == len(ACTIVATIONS)


def test_codes_are_append_only():
    assert ACTIVATIONS.items() >= {"identity": 0, "relu": 1, "tanh": 2, "sigmoid": 3}.items()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_value_and_derivative_are_those_of_the_twin(name, dtype):
    z = np.concatenate([np.linspace(-9, 9, 301), [0.0, 1e-6, -1e-6]]).astype(dtype)
    delta = np.linspace(-2, 2, z.size).astype(dtype)
    value, derivative = reference.ACTIVATIONS[name]
    exact = z.astype(np.float64)
    np.testing.assert_allclose(f(name, z), value(exact), rtol=TOLERANCE[dtype], atol=1e-30)
    # Where a saturates, 1 − a² has the rounding errors of a.
    np.testing.assert_allclose(
        f_backward(name, z, delta), delta * derivative(exact), rtol=0, atol=3 * TOLERANCE[dtype]
    )


@pytest.mark.parametrize("name", NAMES)
def test_derivative_is_that_of_the_value(name):
    z = np.linspace(-4, 4, 160)  # no 0: relu has a kink there
    h = 1e-5
    numerical = (f(name, z + h) - f(name, z - h)) / (2 * h)
    np.testing.assert_allclose(f_backward(name, z, np.ones_like(z)), numerical, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_extreme_inputs_stay_finite_and_nan_stays(name, dtype):
    z = np.array([-1e4, 1e4, -1e30, 1e30, np.nan], dtype)
    a, slope = f(name, z), f_backward(name, z, np.ones_like(z))
    np.testing.assert_array_equal(
        a[:4], reference.ACTIVATIONS[name][0](z[:4].astype(np.float64)).astype(dtype)
    )
    assert np.isfinite(slope[:4]).all()
    assert np.isnan(a[4])


def test_relu_has_slope_zero_at_its_kink():
    assert f_backward("relu", np.zeros(1), np.ones(1)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_no_number_beyond_the_row_is_touched(name):
    z, a, delta = np.ones(8), np.full(8, 7.0), np.full(8, 7.0)
    activate(ACTIVATIONS[name], z[2:5], a[2:5])
    activate_backward(ACTIVATIONS[name], z[2:5], a[2:5], delta[2:5])
    for array in (a, delta):
        np.testing.assert_array_equal(array[[0, 1, 5, 6, 7]], 7.0)


def test_nothing_to_do():
    for name in NAMES:
        assert f(name, np.empty(0)).size == 0


@pytest.mark.skipif(not COMPILED, reason="only compiled code turns float32 into float64")
@pytest.mark.parametrize("name", NAMES)
def test_compiled_results_keep_the_dtype(name):
    for kind in (numba.float32, numba.float64):
        for function, arguments in (
            (getattr(activations, name), (kind,)),
            (getattr(activations, f"{name}_derivative"), (kind, kind)),
        ):
            fresh = numba.njit(fastmath=FLAGS, error_model="numpy")(function.py_func)
            fresh.compile(arguments)
            # relu′ is an exact float32 constant for float64 too.
            assert fresh.overloads[arguments].signature.return_type in (kind, numba.float32)


@pytest.mark.skipif(not COMPILED, reason="only compiled code turns float32 into float64")
@pytest.mark.parametrize("function", [activate, activate_backward], ids=lambda f: f.__name__)
def test_float32_code_holds_no_float64(function):
    row = numba.float32[::1]
    arguments = (numba.int64, row, row) if function is activate else (numba.int64, row, row, row)
    fresh = numba.njit(fastmath=FLAGS, error_model="numpy", nogil=True, _nrt=False)(function.py_func)
    fresh.compile(arguments)
    code = fresh.inspect_llvm(arguments)
    assert "float" in code
    assert "fpext" not in code
