"""Activations: a new member is a row of `reference.ACTIVATIONS`, one of `TABLE`, and one of `ACCURACY`."""

import math

import numba
import numpy as np
import pytest

import hotloop as hl
import reference
from helpers import classes
from hotloop import activations
from hotloop._jit import COMPILED, FLAGS
from hotloop.activations import (
    ACTIVATIONS,
    COMMON,
    CURVED,
    ELEMENTWISE_CODES,
    KERNEL_INIT,
    activate,
    activate_backward,
    activate_second,
    prelu,
    prelu_backward,
    prelu_gradient,
    rarer_activate,
    rarer_activate_backward,
    softmax_backward,
    softmax_rows,
)
from hotloop.initializers import INITIALIZERS

pytestmark = pytest.mark.kernels

TOLERANCE = {"float32": 5e-7, "float64": 3e-14}
FLOATS = list(TOLERANCE)
# The identity is no operation of its own: a dense layer without an activation has no such row.
NAMES = [name for name in ELEMENTWISE_CODES if name not in ("identity", "step")]
N = 200_001 if COMPILED else 2_001

TABLE = {  # name → code, kinks, limits of f at −∞ and ∞, limits of f′
    "relu": (1, [0], (0, math.inf), (0, 1)),
    "tanh": (2, [], (-1, 1), (0, 0)),
    "sigmoid": (3, [], (0, 1), (0, 0)),
    "leaky_relu": (4, [0], (-math.inf, math.inf), (0.01, 1)),
    "elu": (5, [0], (-1, math.inf), (0, 1)),
    "selu": (6, [0], (-reference.SELU_SCALE * reference.SELU_ALPHA, math.inf), (0, reference.SELU_SCALE)),
    "gelu": (7, [], (0, math.inf), (0, 1)),
    "silu": (8, [], (0, math.inf), (0, 1)),
    "mish": (9, [], (0, math.inf), (0, 1)),
    "softplus": (10, [], (0, math.inf), (0, 1)),
    "hard_sigmoid": (11, [-3, 3], (0, 1), (0, 0)),
}


def forward(name):
    """The kernel that has the activation: that of the loop, or of the rarer ones."""
    return activate if ELEMENTWISE_CODES[name] in COMMON else rarer_activate


def backward(name):
    return activate_backward if ELEMENTWISE_CODES[name] in COMMON else rarer_activate_backward


def f(name, z):
    a = np.full_like(z, np.nan)
    forward(name)(ELEMENTWISE_CODES[name], z, a)
    return a


def f_backward(name, z, delta):
    delta = delta.copy()
    backward(name)(ELEMENTWISE_CODES[name], z, f(name, z), delta)
    return delta


def f_second(name, z):
    out = np.full_like(z, np.nan)
    activate_second(ELEMENTWISE_CODES[name], z, f(name, z), out)
    return out


def between_kinks(name, low, high, n):
    """Even numbers, none within 0.01 of a kink."""
    z = np.linspace(low, high, n)
    for kink in TABLE[name][1]:
        z = z[np.abs(z - kink) > 0.01]
    return z


def test_every_member_has_a_twin_and_initial_values_that_suit_it():
    assert set(ACTIVATIONS) == set(KERNEL_INIT) == {*ELEMENTWISE_CODES, "prelu", "softmax"}
    assert set(reference.ACTIVATIONS) == {*TABLE, "identity"} == set(ELEMENTWISE_CODES) - {"step"}
    assert len(set(ELEMENTWISE_CODES.values())) == len(ELEMENTWISE_CODES)
    assert set(KERNEL_INIT.values()) <= set(INITIALIZERS)
    assert [name for name in ACTIVATIONS if f'"{name}"' not in hl.Dense.__doc__] == []


def test_the_curved_ones_are_those_with_a_second_derivative():
    """The others have no loop for f″: a code that is missing there would bend no curvature."""
    curved = {name for name in NAMES if f_second(name, np.linspace(-4, 4, 81)).any()}
    assert curved == {name for name, code in ELEMENTWISE_CODES.items() if code in CURVED}


def test_codes_are_append_only():
    assert ELEMENTWISE_CODES["identity"] == 0
    assert ELEMENTWISE_CODES["step"] == 12
    for name, (code, *_) in TABLE.items():
        assert ELEMENTWISE_CODES[name] == code


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
def test_derivatives_are_those_of_the_value(name):
    z = between_kinks(name, -6, 6, 240)
    h = 1e-5
    numerical = (f(name, z + h) - f(name, z - h)) / (2 * h)
    np.testing.assert_allclose(f_backward(name, z, np.ones_like(z)), numerical, rtol=1e-8, atol=1e-9)
    numerical = (f_backward(name, z + h, np.ones_like(z)) - f_backward(name, z - h, np.ones_like(z))) / (
        2 * h
    )
    np.testing.assert_allclose(f_second(name, z), numerical, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_second_derivative_in_float32_is_that_of_float64(name):
    z = np.linspace(-20, 20, 801).astype(np.float32)
    np.testing.assert_allclose(f_second(name, z), f_second(name, z.astype(np.float64)), rtol=0, atol=2e-6)


# name, lowest and highest z, and the largest relative error that is allowed there. Not lower, since
# results below 1.2e-38 are no normal numbers any more: gelu's from −12.8 on, the others' from −87 on.
ACCURACY = [
    ("relu", -1e30, 1e30, 1e-45),
    ("tanh", -87, 87, 3e-7),
    ("sigmoid", -87, 87, 2e-7),
    ("leaky_relu", -1e30, 1e30, 1.2e-7),
    ("elu", -87, 1e30, 1.5e-7),
    ("selu", -87, 1e30, 2e-7),
    ("gelu", -12.8, 1e30, 3e-7),
    ("silu", -87, 1e30, 2.4e-7),
    ("mish", -87, 1e30, 3e-7),
    ("softplus", -87, 1e30, 2.4e-7),
    ("hard_sigmoid", -100, 100, 1.5e-7),
]


@pytest.mark.parametrize(("name", "low", "high", "bound"), ACCURACY)
def test_relative_error_in_float32(name, low, high, bound):
    near, tiny = (max(low, -100), min(high, 100)), np.geomspace(1e-30, 1, N // 4)
    z = [np.linspace(*near, N), np.linspace(max(low, -6), min(high, 6), N), [low, high], tiny, -tiny]
    z = np.concatenate(z).astype(np.float32)
    z = z[(z >= low) & (z <= high)]
    exact = reference.ACTIVATIONS[name][0](z.astype(np.float64))
    normal = np.abs(exact) > np.finfo(np.float32).tiny
    error = np.abs(f(name, z)[normal] / exact[normal] - 1)
    worst = error.argmax()
    assert error[worst] <= bound, f"{name}({z[normal][worst]!r}) is off by {error[worst]:.3g}"
    assert np.abs(f(name, z)[~normal]).max(initial=0) <= 1.2e-38


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_limits_are_exact_and_nan_stays(name, dtype):
    largest = np.finfo(dtype).max / 2  # selu's slope is above 1
    z = np.array([-math.inf, -largest, largest, math.inf, math.nan], dtype)
    a, slope, second = f(name, z), f_backward(name, z, np.ones_like(z)), f_second(name, z)
    (low, high), slopes = TABLE[name][2:]
    np.testing.assert_allclose(a[[0, 3]], [low, high], rtol=TOLERANCE[dtype])
    at_largest = reference.ACTIVATIONS[name][0](z[1:3].astype(np.float64))
    np.testing.assert_allclose(a[1:3], at_largest, rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(slope[:4], np.repeat(slopes, 2), rtol=TOLERANCE[dtype], atol=1e-30)
    np.testing.assert_array_equal(second[:4], 0)
    assert np.isnan(a[4])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_large_inputs_give_finite_numbers(name, dtype):
    z = np.concatenate([np.geomspace(1, 1e30, 301), -np.geomspace(1, 1e30, 301)]).astype(dtype)
    for out in (f(name, z), f_backward(name, z, np.ones_like(z)), f_second(name, z)):
        assert np.isfinite(out).all()


@pytest.mark.parametrize(
    ("name", "kink", "slope"),
    [
        ("relu", 0, 0),
        ("leaky_relu", 0, 0.01),
        ("elu", 0, 1),
        ("selu", 0, reference.SELU_SCALE * reference.SELU_ALPHA),
        ("hard_sigmoid", -3, 0),
        ("hard_sigmoid", 3, 0),
    ],
)
def test_slope_at_a_kink(name, kink, slope):
    z = np.full(1, kink, float)
    np.testing.assert_allclose(f_backward(name, z, np.ones(1)), slope, rtol=1e-15)
    np.testing.assert_allclose(f_second(name, z), slope if name in ("elu", "selu") else 0, rtol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_no_number_beyond_the_row_is_touched(name):
    z, a, delta, second = np.ones(8), np.full(8, 7.0), np.full(8, 7.0), np.full(8, 7.0)
    forward(name)(ELEMENTWISE_CODES[name], z[2:5], a[2:5])
    backward(name)(ELEMENTWISE_CODES[name], z[2:5], a[2:5], delta[2:5])
    activate_second(ELEMENTWISE_CODES[name], z[2:5], a[2:5], second[2:5])
    for array in (a, delta, second):
        np.testing.assert_array_equal(array[[0, 1, 5, 6, 7]], 7.0)


def test_nothing_to_do():
    for name in NAMES:
        assert f(name, np.empty(0)).size == 0


@pytest.mark.parametrize("dtype", FLOATS)
def test_identity_and_step(dtype):
    z = np.array([-math.inf, -2.0, -1e-30, -0.0, 0.0, 1e-30, 3.0, math.inf, math.nan], dtype)
    np.testing.assert_array_equal(f("identity", z), z)
    np.testing.assert_array_equal(f("step", z)[:-1], [0, 0, 0, 1, 1, 1, 1, 1])
    assert np.isnan(f("step", z)[-1])
    np.testing.assert_array_equal(f_backward("step", z, np.ones_like(z)), 0)
    for name in ("identity", "step"):
        np.testing.assert_array_equal(f_second(name, z), 0)


def test_a_network_with_a_step_predicts_and_refuses_to_train():
    model = hl.Sequential([hl.Dense(3, "step"), hl.Dense(1)], input_dim=2, dtype="float64")
    X, y = np.array([[1.0, -2.0], [0.5, 3.0]]), np.ones(2)
    hidden, out = (model.parameters()[f"dense_{k}/kernel"] for k in range(2))
    np.testing.assert_allclose(model.predict(X), (X @ hidden >= 0) @ out, rtol=1e-15)
    assert hl.Objective(model, X, y, loss="mse").value(model.theta) > 0
    for refused in (
        lambda: hl.Trainer(model, loss="mse").fit(X, y),
        lambda: hl.Objective(model, X, y, loss="mse").gradient(model.theta),
    ):
        with pytest.raises(ValueError, match=r"layers\[0\]: the derivative of 'step' is 0") as caught:
            refused()
        assert isinstance(caught.value, hl.HotloopError)


@pytest.mark.parametrize("dtype", FLOATS)
def test_prelu_and_its_three_gradients(dtype):
    rng = np.random.default_rng(0)
    z, delta = rng.standard_normal((2, 6, 5)).astype(dtype)
    z[2, 3], slopes = 0.0, rng.uniform(-0.5, 1, 5).astype(dtype)
    a, before, grad = np.empty_like(z), np.empty_like(z), np.ones(5, dtype)
    prelu(z.ravel(), a.ravel(), slopes)
    prelu_backward(z.ravel(), delta.ravel(), before.ravel(), slopes)
    for row, d in zip(z, delta, strict=True):
        prelu_gradient(row, d, grad)
    np.testing.assert_array_equal(a, np.where(z > 0, z, slopes * z))
    np.testing.assert_array_equal(before, np.where(z > 0, delta, slopes * delta))
    np.testing.assert_allclose(grad, 1 + (delta * np.minimum(z, 0)).sum(axis=0), rtol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("width", [1, 3, 40])
def test_softmax_is_the_product_with_its_whole_jacobian(width, dtype):
    rng = np.random.default_rng(width)
    z, delta = rng.normal(0, 3, (2, 4, width)).astype(dtype)
    z[0] += 1e4  # no overflow
    z[1] -= 1e4
    a, back = np.empty_like(z), delta.copy()
    softmax_rows(z.ravel(), a.ravel(), width)
    softmax_backward(a.ravel(), back.ravel(), width)
    exact = z.astype(float) - z.astype(float).max(axis=1, keepdims=True)
    exact = np.exp(exact) / np.exp(exact).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(a, exact, rtol=0, atol=2 * TOLERANCE[dtype])
    for p, d, found in zip(exact, delta.astype(float), back, strict=True):
        jacobian = np.diag(p) - np.outer(p, p)
        np.testing.assert_allclose(found, jacobian @ d, rtol=0, atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("name", [*NAMES, "prelu", "softmax"])
def test_a_network_of_it_has_the_right_gradient(name):
    X, y = classes(n=20)
    layers = [hl.Dense(5, name, kernel_init="auto", bias_init="uniform"), hl.Dense(3)]
    model = hl.Sequential(layers, input_dim=4, dtype="float64", seed=4)
    objective = hl.Objective(model, X, y, loss="softmax_cross_entropy")
    assert hl.check_gradient(objective).passed


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_value_and_slopes_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    twin = getattr(functional, name.replace("hard_", "hard"), getattr(torch, name, None))
    if twin is None:
        pytest.skip(f"PyTorch has no {name}")
    z = np.concatenate([np.linspace(-8, 8, 333), [0.0, -3.0, 3.0]])
    leaf = torch.tensor(z, requires_grad=True)
    # Its softplus is z itself above 20, which is not reached here; its 1/6 has the digits of float32.
    a = twin(leaf)
    a.sum().backward()
    np.testing.assert_allclose(f(name, z), a.detach().numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(f_backward(name, z, np.ones_like(z)), leaf.grad.numpy(), rtol=0, atol=1e-8)


@pytest.mark.skipif(not COMPILED, reason="only compiled code turns float32 into float64")
@pytest.mark.parametrize("name", NAMES)
def test_compiled_results_keep_the_dtype(name):
    for kind in (numba.float32, numba.float64):
        for function, arguments in (
            (getattr(activations, name), (kind,)),
            (getattr(activations, f"{name}_derivative"), (kind, kind)),
            (getattr(activations, f"{name}_second"), (kind, kind)),
        ):
            fresh = numba.njit(fastmath=FLAGS, error_model="numpy")(function.py_func)
            fresh.compile(arguments)
            # relu′ is an exact float32 constant for float64 too.
            assert fresh.overloads[arguments].signature.return_type in (kind, numba.float32)


@pytest.mark.skipif(not COMPILED, reason="only compiled code turns float32 into float64")
@pytest.mark.parametrize(
    "function",
    [activate, rarer_activate, activate_backward, rarer_activate_backward, activate_second],
    ids=lambda f: f.__name__,
)
def test_float32_code_holds_no_float64(function):
    row = numba.float32[::1]
    arguments = (
        (numba.int64, row, row) if function in (activate, rarer_activate) else (numba.int64, row, row, row)
    )
    fresh = numba.njit(fastmath=FLAGS, error_model="numpy", nogil=True, _nrt=False)(function.py_func)
    fresh.compile(arguments)
    code = fresh.inspect_llvm(arguments)
    assert "float" in code
    assert "fpext" not in code
