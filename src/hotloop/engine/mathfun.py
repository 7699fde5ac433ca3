"""exp, tanh, sigmoid, … of one number, written so that loops over them vectorise in float32.

Compiled float32 code takes the polynomial forms below, since numba ships no vector mathematics
library and a loop over libm's expf stays scalar; float64 takes libm, for accuracy.
The coefficients are minimax fits (Remez' error criterion, by iterated weighted least squares); those
of tanh and Φ were then moved by a few roundings, to where the computed result is best.
Infinities give the limits, NaN stays NaN.
"""

import math

import numpy as np

from hotloop._jit import COMPILED, kernel, kernel_in_order, overload, types

__all__ = [
    "constant",
    "exp",
    "expm1",
    "normal_cdf",
    "normal_pdf",
    "reciprocal",
    "sigmoid",
    "softplus",
    "tanh",
]

LOG2_E = np.float32(1.44269504)
LN2_HIGH = np.float32(0.693359375)  # few bits: its products with whole numbers are exact
LN2_LOW = np.float32(-2.12194440e-4)
ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
EXP_LOW, EXP_HIGH = np.float32(-105), np.float32(89)  # beyond: 0 and inf in float32
EXPM1_LOW, EXPM1_HIGH = np.float32(-18), np.float32(88)  # beyond: -1 in float32, and taken as inf
TANH_HIGH = np.float32(9.02)  # beyond: 1 in float32
GAUSS_HIGH = np.float32(15)  # beyond: e^(-x²/2) is 0 in float32
TWELVE_BITS = np.int32(-4096)  # of a float32's 24: the square of what is left is exact
ROOT_HALF = math.sqrt(0.5)
ROOT_TAU_INVERSE = 1 / math.sqrt(2 * math.pi)
ROOT_TAU = np.float32(math.sqrt(2 * math.pi))


@kernel_in_order
def exp_float32(x):
    """eˣ = 2ⁿ eʳ with whole n and |r| ≤ ln 2 / 2; relative error below 1.2e-7."""
    x = EXP_LOW if x < EXP_LOW else x
    x = EXP_HIGH if x > EXP_HIGH else x
    whole = np.floor(x * LOG2_E + HALF)
    return exp_reduced(whole, (x - whole * LN2_HIGH) - whole * LN2_LOW, ONE)


@kernel_in_order
def exp_reduced(whole, r, factor):
    """2ⁿ eʳ times the factor, for whole n from -152 to 129 and |r| ≤ ln 2 / 2; both may be NaN.

    Here, where eʳ is 1 and a small rest, the factor costs no rounding: f + f (eʳ − 1).
    """
    p = np.float32(1.38367e-03)
    p = p * r + np.float32(8.37481e-03)
    p = p * r + np.float32(4.166823e-02)
    p = p * r + np.float32(1.666642e-01)
    p = p * r + np.float32(0.49999992)
    p = (p * r + ONE) * r
    p = p * factor + factor
    # 2ⁿ in two factors: n runs to ±151, a float32 exponent only to 127. NaN must not meet the cast.
    n = np.int32(whole if whole == whole else ZERO)
    half = n >> np.int32(1)
    return p * power_of_two(half) * power_of_two(n - half)


@kernel
def power_of_two(n):
    """2ⁿ as float32, for int32 n from -126 to 127: the bits of the exponent."""
    return np.int32((n + np.int32(127)) << np.int32(23)).view(np.float32)


@kernel_in_order
def expm1_float32(x):
    """eˣ − 1 = 2ⁿ (eʳ − 1) + (2ⁿ − 1), whose last term is exact or does not matter; for x ≤ 88."""
    c = EXPM1_LOW if x < EXPM1_LOW else x
    c = EXPM1_HIGH if c > EXPM1_HIGH else c
    whole = np.floor(c * LOG2_E + HALF)
    r = (c - whole * LN2_HIGH) - whole * LN2_LOW
    p = np.float32(1.3901334e-03)
    p = p * r + np.float32(8.36326e-03)
    p = p * r + np.float32(4.1666854e-02)
    p = p * r + np.float32(1.6666576e-01)
    p = p * r + HALF
    p = p * (r * r) + r
    scale = power_of_two(np.int32(whole if whole == whole else ZERO))
    y = p * scale + (scale - ONE)
    return np.float32(np.inf) if x > EXPM1_HIGH else y


@kernel_in_order
def softplus_float32(x):
    """ln(1 + eˣ) = max(x, 0) + ln(1 + u) with u = e^−|x|, a polynomial in u from 0 to 1."""
    u = exp_float32(-np.abs(x))
    p = np.float32(-3.2440233e-03)
    p = p * u + np.float32(1.9851454e-02)
    p = p * u + np.float32(-5.6959517e-02)
    p = p * u + np.float32(1.0603653e-01)
    p = p * u + np.float32(-1.5305592e-01)
    p = p * u + np.float32(1.9675939e-01)
    p = p * u + np.float32(-2.4954134e-01)
    p = p * u + np.float32(3.3329964e-01)
    p = p * u + np.float32(-4.9999902e-01)
    p = p * u + ONE
    return (ZERO if x < ZERO else x) + u * p


@kernel_in_order
def gauss_float32(x, factor):
    """e^(−x²/2) times the factor, as accurate as exp: x² = h² + (x − h)(x + h), h² exact."""
    t = np.abs(x)
    t = GAUSS_HIGH if t > GAUSS_HIGH else t
    h = np.int32(np.float32(t).view(np.int32) & TWELVE_BITS).view(np.float32)
    high = -HALF * (h * h)
    low = -HALF * ((t - h) * (t + h))
    whole = np.floor((high + low) * LOG2_E + HALF)
    return exp_reduced(whole, ((high - whole * LN2_HIGH) - whole * LN2_LOW) + low, factor)


@kernel_in_order
def normal_cdf_float32(x):
    """Φ(−t) = e^(−t²/2) / (√(2π) t + A(t)), which keeps the tail; above 0, one minus that.

    A = N/D falls from 2 to 0, so where the polynomials have their rounding errors, for large t,
    little of these is left beside √(2π) t.
    """
    t = np.abs(x)
    t = GAUSS_HIGH if t > GAUSS_HIGH else t
    n = np.float32(2.8372353e-06)
    n = n * t + np.float32(2.3549829e-02)
    n = n * t + np.float32(2.263487e-01)
    n = n * t + np.float32(9.066454e-01)
    n = n * t + TWO
    d = np.float32(9.444374e-03)
    d = d * t + np.float32(8.9379825e-02)
    d = d * t + np.float32(3.9043477e-01)
    d = d * t + np.float32(9.087516e-01)
    d = d * t + ONE
    tail = gauss_float32(x, d / (ROOT_TAU * t * d + n))
    return tail if x < ZERO else ONE - tail


@kernel
def normal_pdf_float32(x):
    return gauss_float32(x, np.float32(ROOT_TAU_INVERSE))


@kernel_in_order
def tanh_float32(x):
    """tanh x = x P(x²) / Q(x²), limited to ±1; relative error below 3e-7."""
    c = -TANH_HIGH if x < -TANH_HIGH else x
    c = TANH_HIGH if c > TANH_HIGH else c
    y = c * c
    p = np.float32(1.33189095e-08)
    p = p * y + np.float32(2.0583528e-05)
    p = p * y + np.float32(3.4940348e-03)
    p = p * y + np.float32(1.337972e-01)
    p = p * y + ONE
    q = np.float32(7.762026e-07)
    q = q * y + np.float32(3.2830954e-04)
    q = q * y + np.float32(2.5871074e-02)
    q = q * y + np.float32(4.671304e-01)
    q = q * y + ONE
    t = c * p / q
    t = ONE if t > ONE else t
    return -ONE if t < -ONE else t


@kernel
def sigmoid_float32(x):
    """1 / (1 + e⁻ˣ): exact limits, and relative accuracy in the lower tail too."""
    return ONE / (ONE + exp_float32(-x))


@kernel_in_order
def reciprocal_float32(x):
    """1/x for 1e-37 < x < 1e37 without the divider; relative error below 2e-7.

    Where a loop also takes a root, the divider is its limit (11 of 14 cycles for eight numbers of
    Adam); these multiply-adds run beside it. The first guess flips the exponent's sign in the bits
    of x (12 % off), and each Newton step y ← y (2 − x y) squares the error.
    """
    y = np.int32(np.int32(0x7EF311C7) - np.float32(x).view(np.int32)).view(np.float32)
    y = y * (TWO - x * y)
    y = y * (TWO - x * y)
    return y * (TWO - x * y)


@kernel
def reciprocal_float64(x):
    return 1.0 / x


@kernel
def sigmoid_float64(x):
    return 1.0 / (1.0 + math.exp(-x)) if x > -709.0 else math.exp(x)


@kernel
def exp_float64(x):
    return math.exp(x) if not x > 709.782712893384 else x * np.inf


@kernel
def expm1_float64(x):
    return math.expm1(x) if not x > 709.782712893384 else x * np.inf


@kernel
def softplus_float64(x):
    return (0.0 if x < 0.0 else x) + math.log1p(math.exp(-abs(x)))


@kernel
def normal_cdf_float64(x):
    return 0.5 * math.erfc(-x * ROOT_HALF)


@kernel
def normal_pdf_float64(x):
    return math.exp(-0.5 * x * x) * ROOT_TAU_INVERSE


@kernel
def tanh_float64(x):
    return math.tanh(x)


def constant(value, x):
    """The number `value` in the precision of x: a float64 constant would widen float32 code."""
    return type(x)(value)


# The functions below run as they stand only with the JIT off, and are overloaded otherwise. There
# math's plain floats would give way to the float32 constants around them: hence np.float64.


def exp(x):
    """eˣ in the precision of x."""
    return exp_float32(x) if isinstance(x, np.float32) else np.float64(exp_float64(x))


def expm1(x):
    """eˣ − 1 in the precision of x."""
    return expm1_float32(x) if isinstance(x, np.float32) else np.float64(expm1_float64(x))


def softplus(x):
    """ln(1 + eˣ) in the precision of x."""
    return softplus_float32(x) if isinstance(x, np.float32) else np.float64(softplus_float64(x))


def normal_cdf(x):
    """Φ(x) = ½ (1 + erf(x/√2)) in the precision of x, its lower tail too."""
    return normal_cdf_float32(x) if isinstance(x, np.float32) else np.float64(normal_cdf_float64(x))


def normal_pdf(x):
    """φ(x) = e^(−x²/2) / √(2π) in the precision of x."""
    return normal_pdf_float32(x) if isinstance(x, np.float32) else np.float64(normal_pdf_float64(x))


def tanh(x):
    """tanh x in the precision of x."""
    return tanh_float32(x) if isinstance(x, np.float32) else np.float64(tanh_float64(x))


def reciprocal(x):
    """1/x in the precision of x, for positive x; float32 is limited to 1e-37 … 1e37."""
    return reciprocal_float32(x) if isinstance(x, np.float32) else np.float64(reciprocal_float64(x))


def sigmoid(x):
    """1 / (1 + e⁻ˣ) in the precision of x."""
    return sigmoid_float32(x) if isinstance(x, np.float32) else np.float64(sigmoid_float64(x))


if COMPILED:

    @overload(constant)
    def _constant(value, x):
        return (lambda value, x: np.float32(value)) if x == types.float32 else (lambda value, x: value)

    @overload(exp)
    def _exp(x):
        return (lambda x: exp_float32(x)) if x == types.float32 else (lambda x: exp_float64(x))

    @overload(tanh)
    def _tanh(x):
        return (lambda x: tanh_float32(x)) if x == types.float32 else (lambda x: tanh_float64(x))

    @overload(reciprocal)
    def _reciprocal(x):
        return (lambda x: reciprocal_float32(x)) if x == types.float32 else (lambda x: reciprocal_float64(x))

    @overload(sigmoid)
    def _sigmoid(x):
        return (lambda x: sigmoid_float32(x)) if x == types.float32 else (lambda x: sigmoid_float64(x))

    @overload(expm1)
    def _expm1(x):
        return (lambda x: expm1_float32(x)) if x == types.float32 else (lambda x: expm1_float64(x))

    @overload(softplus)
    def _softplus(x):
        return (lambda x: softplus_float32(x)) if x == types.float32 else (lambda x: softplus_float64(x))

    @overload(normal_cdf)
    def _normal_cdf(x):
        return (lambda x: normal_cdf_float32(x)) if x == types.float32 else (lambda x: normal_cdf_float64(x))

    @overload(normal_pdf)
    def _normal_pdf(x):
        return (lambda x: normal_pdf_float32(x)) if x == types.float32 else (lambda x: normal_pdf_float64(x))
