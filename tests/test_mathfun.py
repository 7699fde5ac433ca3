"""exp, tanh, sigmoid and their kin: as accurate as promised, exact limits, and float32 stays float32."""

import math
import re

import numba
import numpy as np
import pytest
from llvmlite import ir

from hotloop import activations
from hotloop._jit import COMPILED, INTRINSICS, kernel, kernel_in_order, types
from hotloop.engine import float32, float64
from hotloop.engine.mathfun import (
    constant,
    exp,
    expm1,
    less_quotient,
    log,
    log1p,
    normal_cdf,
    normal_pdf,
    quotient,
    sigmoid,
    softplus,
    tanh,
)
from hotloop.engine.vectors import Vectors
from hotloop.losses import row_by_row
from hotloop.losses.values import poisson_nll_product

pytestmark = pytest.mark.kernels

N = 400_001 if COMPILED else 4_001


@numba.njit(nogil=True)
def exp_each(x, out):
    for i in range(len(x)):
        out[i] = exp(x[i])


@numba.njit(nogil=True)
def tanh_each(x, out):
    for i in range(len(x)):
        out[i] = tanh(x[i])


@numba.njit(nogil=True)
def sigmoid_each(x, out):
    for i in range(len(x)):
        out[i] = sigmoid(x[i])


@numba.njit(nogil=True)
def expm1_each(x, out):
    for i in range(len(x)):
        out[i] = expm1(x[i])


@numba.njit(nogil=True)
def softplus_each(x, out):
    for i in range(len(x)):
        out[i] = softplus(x[i])


@numba.njit(nogil=True)
def normal_cdf_each(x, out):
    for i in range(len(x)):
        out[i] = normal_cdf(x[i])


@numba.njit(nogil=True)
def normal_pdf_each(x, out):
    for i in range(len(x)):
        out[i] = normal_pdf(x[i])


@numba.njit(nogil=True)
def quotient_each(x, y, out):
    for i in range(len(x)):
        out[i] = quotient(x[i], y[i])


@numba.njit(nogil=True)
def log1p_each(x, out):
    for i in range(len(x)):
        out[i] = log1p(x[i])


@numba.njit(nogil=True)
def log_each(x, out):
    for i in range(len(x)):
        out[i] = log(x[i])


LOOPS = {
    "exp": exp_each,
    "expm1": expm1_each,
    "tanh": tanh_each,
    "sigmoid": sigmoid_each,
    "softplus": softplus_each,
    "normal_cdf": normal_cdf_each,
    "normal_pdf": normal_pdf_each,
    "log1p": log1p_each,
    "log": log_each,
}
EVERYWHERE = [name for name in LOOPS if name not in ("log1p", "log")]


def apply(name, x):
    out = np.empty_like(x)
    with np.errstate(all="ignore"):  # plain Python overflows aloud, compiled code does not
        LOOPS[name](x, out)
    return out


def exact(name, x):
    """By libm, in float64; for the sigmoid, in the form that keeps its lower tail."""
    x = x.astype(np.float64)
    if name == "sigmoid":
        small = np.exp(-np.abs(x))
        return np.where(x >= 0, 1 / (1 + small), small / (1 + small))
    if name == "softplus":
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    if name == "normal_cdf":
        return np.array([math.erfc(-z / math.sqrt(2)) / 2 for z in x.tolist()])
    if name == "normal_pdf":
        return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return getattr(np, name)(x)


def grid(low, high, dtype):
    """Even numbers over the range, and numbers of every size around 0 that lie in it."""
    tiny = np.geomspace(1e-30, 1, N // 4)
    x = np.concatenate([np.linspace(low, high, N), tiny, -tiny, [0.0]]).astype(dtype)
    return x[(x >= low) & (x <= high)]


# Where results are normal numbers: below, the spacing of subnormal numbers is all there is.
ACCURACY = [
    ("exp", "float32", -87.0, 88.7, 1.2e-7),
    ("expm1", "float32", -100.0, 87.9, 1.5e-7),
    ("tanh", "float32", -20.0, 20.0, 3e-7),
    ("sigmoid", "float32", -87.0, 100.0, 2.5e-7),
    ("softplus", "float32", -87.0, 1000.0, 2.4e-7),
    ("normal_cdf", "float32", -12.9, 20.0, 2.8e-7),
    ("normal_pdf", "float32", -13.0, 13.0, 2e-7),
    ("log1p", "float32", 0.0, 1.0, 2.4e-7),
    ("log", "float32", 1.0, 1e4, 2.4e-7),
    ("log", "float32", 1.0, 3e38, 2.4e-7),
    ("log1p", "float64", 0.0, 1.0, 2 * np.finfo(np.float64).eps),
    ("log", "float64", 1.0, 1e4, 2 * np.finfo(np.float64).eps),
    ("log", "float64", 1.0, 1e308, 2 * np.finfo(np.float64).eps),
    ("expm1", "float64", -100.0, 709.7, 4 * np.finfo(np.float64).eps),
    ("softplus", "float64", -708.0, 1000.0, 4 * np.finfo(np.float64).eps),
    ("normal_cdf", "float64", -5.0, 10.0, 1e-14),
    ("normal_pdf", "float64", -5.0, 5.0, 1e-14),
    ("exp", "float64", -708.0, 709.7, 4 * np.finfo(np.float64).eps),
    ("tanh", "float64", -30.0, 30.0, 4 * np.finfo(np.float64).eps),
    ("sigmoid", "float64", -708.0, 800.0, 4 * np.finfo(np.float64).eps),
]


@pytest.mark.parametrize(("name", "dtype", "low", "high", "bound"), ACCURACY)
def test_relative_error(name, dtype, low, high, bound):
    x = grid(low, high, dtype)
    found, expected = apply(name, x).astype(np.float64), exact(name, x)
    scale = np.where(expected == 0, 1, np.abs(expected))
    error = np.abs(found - expected) / scale
    worst = error.argmax()
    assert error[worst] < bound, f"{name}({x[worst]!r}) = {found[worst]!r}, off by {error[worst]:.3g}"


@pytest.mark.parametrize(("dtype", "far", "bound"), [("float32", 0.99e37, 3e-7), ("float64", 1e300, 5e-16)])
def test_quotient_by_numbers_of_every_size(dtype, far, bound):
    y = np.concatenate([np.geomspace(1 / far, far, N), np.linspace(1, 2, N)]).astype(dtype)
    x = np.linspace(-2, 3, 2 * N).astype(dtype)
    found = np.empty_like(x)
    quotient_each(x, y, found)
    expected = x.astype(np.longdouble) / y.astype(np.longdouble)
    assert (np.abs(found - expected) <= bound * np.abs(expected) + np.finfo(dtype).tiny).all()


@pytest.mark.parametrize("divides", [False, True])
@pytest.mark.parametrize(
    ("module", "far", "bound"),
    [(float32, 0.99e37, 3e-7), (float64, 1e300, 5e-16)],
    ids=["float32", "float64"],
)
def test_quotients_of_processors_that_divide_fast_and_of_others(module, far, bound, divides, monkeypatch):
    """Either form, though this processor takes one."""
    monkeypatch.setattr(module, "DIVIDES", divides)
    name = module.__name__.rpartition(".")[2]
    ours = getattr(module, f"quotient_{name}")
    if COMPILED:
        ours = kernel_in_order(ours.py_func)
        ours._cache = numba.core.caching.NullCache()
    y = np.geomspace(1 / far, far, 2001).astype(name)
    x = y.dtype.type(3)
    found = np.array([ours(x, number) for number in y])
    assert np.abs(found.astype(np.float64) * y.astype(np.float64) / 3 - 1).max() < bound
    assert (found == x / y).all() == divides


@pytest.mark.parametrize(
    ("name", "dtype", "low", "high"),
    [
        ("exp", "float32", -110, -87),
        ("sigmoid", "float32", -110, -87),
        ("exp", "float64", -760, -708),
        ("sigmoid", "float64", -760, -708),
    ],
)
def test_below_the_normal_numbers_it_fades_to_zero(name, dtype, low, high):
    x = np.linspace(low, high, N).astype(dtype)
    found, expected = apply(name, x).astype(np.float64), exact(name, x)
    # One spacing of the subnormal numbers, or the whole number where the processor flushes it to 0.
    assert np.all(np.abs(found - expected) <= np.finfo(dtype).tiny)
    assert found[0] == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "at_minus", "at_zero", "at_plus"),
    [
        ("exp", 0, 1, math.inf),
        ("expm1", -1, 0, math.inf),
        ("tanh", -1, 0, 1),
        ("sigmoid", 0, 0.5, 1),
        ("normal_cdf", 0, 0.5, 1),
    ],
)
def test_limits_are_exact_and_nan_stays(name, dtype, at_minus, at_zero, at_plus):
    largest = np.finfo(dtype).max
    x = np.array([-math.inf, -largest, 0, largest, math.inf, math.nan], dtype)
    expected = [at_minus, at_minus, at_zero, at_plus, at_plus, math.nan]
    np.testing.assert_array_equal(apply(name, x), np.array(expected, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softplus_and_the_normal_density_at_their_ends(dtype):
    largest = np.finfo(dtype).max
    x = np.array([-math.inf, -largest, largest, math.inf, math.nan], dtype)
    np.testing.assert_array_equal(apply("softplus", x), np.array([0, 0, largest, math.inf, math.nan], dtype))
    np.testing.assert_array_equal(apply("normal_pdf", x), np.array([0, 0, 0, 0, math.nan], dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_logarithm_of_one_of_infinity_and_of_nan(dtype):
    x = np.array([1, math.inf, math.nan], dtype)
    np.testing.assert_array_equal(apply("log", x), np.array([0, math.inf, math.nan], dtype))
    np.testing.assert_array_equal(apply("log1p", x[:1] - 1), np.zeros(1, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in EVERYWHERE if name != "normal_pdf"])
def test_never_falls_by_more_than_its_error(name, dtype):
    x = np.linspace(-12, 12, N).astype(dtype)
    y = apply(name, x)
    tolerance = 8 * np.finfo(dtype).eps * np.abs(y[1:])
    assert np.all(np.diff(y) >= -tolerance)
    assert np.all(np.abs(y) <= (1 if name in ("tanh", "sigmoid", "normal_cdf") else math.inf))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tanh_is_odd(dtype):
    x = grid(0.0, 12.0, dtype)
    np.testing.assert_array_equal(apply("tanh", -x), -apply("tanh", x))


@pytest.mark.skipif(not COMPILED, reason="only compiled code turns float32 into float64")
@pytest.mark.parametrize(
    "function",
    [exp, expm1, log, log1p, tanh, sigmoid, softplus, normal_cdf, normal_pdf, lambda x: quotient(x, x)],
    ids=lambda f: f.__name__,
)
def test_compiled_results_keep_the_dtype(function):
    function = numba.njit(function) if function.__name__ == "<lambda>" else function

    @numba.njit
    def one(x):
        return function(x)

    for kind in (numba.float32, numba.float64):
        one.compile((kind,))
        assert one.overloads[(kind,)].signature.return_type == kind


@pytest.mark.skipif(not COMPILED, reason="only compiled code turns float32 into float64")
def test_a_constant_takes_the_dtype_of_its_company():
    @numba.njit
    def tenth(x):
        return constant(0.1, x)

    for kind in (np.float32, np.float64):
        assert tenth(kind(3)) == kind(0.1)
        assert tenth.overloads[(numba.typeof(kind(3)),)].signature.return_type == numba.typeof(kind(3))


WHOLE_LOOPS = [
    activations.activate,
    activations.rarer_activate,
    activations.activate_backward,
    activations.rarer_activate_backward,
    activations.activate_second,
    row_by_row,
    poisson_nll_product,
]


@pytest.mark.skipif(not INTRINSICS, reason="only compiled loops vectorise")
@pytest.mark.parametrize("dtype", [numba.float32, numba.float64], ids=str)
@pytest.mark.parametrize("loops", WHOLE_LOOPS, ids=lambda loops: loops.__name__)
def test_loops_over_these_functions_are_one_piece_and_vectorise(loops, dtype):
    """A function that LLVM finds too long for its loop, or does under a condition, leaves the loop scalar."""
    row, losses = dtype[::1], numba.float64[::1]
    arguments = {
        row_by_row: (numba.int64, numba.float64, row, dtype[:, ::1], row, numba.float64, row, losses, losses),
        poisson_nll_product: (row, row, row),
    }.get(loops)
    if arguments is None:
        arguments = (numba.int64,) + (row,) * (loops.py_func.__code__.co_argcount - 1)
    fresh = kernel(loops.py_func)
    fresh._cache = numba.core.caching.NullCache()
    fresh.compile(arguments)
    code = fresh.overloads[arguments].library.get_llvm_str()
    called = {name for name in re.findall(r"call [^@\n]*@(_ZN\w+)", code) if loops.__name__ not in name}
    assert not called
    number = "float" if dtype == numba.float32 else "double"
    assert re.search(rf"= fmul [a-z ]*<\d+ x {number}>", code)


@pytest.mark.parametrize("divides", [False, True])
@pytest.mark.parametrize(
    ("kind", "number", "lanes"),
    [
        *(("float32", ir.FloatType(), lanes) for lanes in (4, 8, 16)),
        *(("float64", ir.DoubleType(), lanes) for lanes in (2, 4, 8)),
    ],
)
def test_the_guess_of_a_quotient_is_one_the_processor_has(monkeypatch, divides, kind, number, lanes):
    """The instruction of AVX-512 for sixteen float32 alone: a processor may hide this part of itself."""
    monkeypatch.setattr(float32, "DIVIDES", divides)
    three = [ir.VectorType(number, lanes)] * 3
    function = ir.Function(ir.Module(), ir.FunctionType(three[0], three), "f")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(less_quotient(Vectors(builder, getattr(types, kind), number, lanes, 1), *function.args))
    code = str(function.module)
    assert ("rcp14" in code) == (divides and lanes == 16)
    assert ("fdiv" in code) == (divides and lanes != 16)
