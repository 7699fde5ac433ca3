"""exp, tanh, sigmoid and 1/x of one number, written so that loops over them vectorise in float32.

Compiled float32 code takes the polynomial forms below (numba ships no vector mathematics library:
a loop over libm's expf costs 3.9 ns a number, these 0.4 to 0.6); float64 takes libm, for accuracy.
The coefficients are minimax fits (Remez' error criterion, by iterated weighted least squares).
Infinities give the limits, NaN stays NaN.
"""

import math

import numpy as np

from hotloop._jit import COMPILED, kernel, kernel_in_order, overload, types

__all__ = ["exp", "reciprocal", "sigmoid", "tanh"]

LOG2_E = np.float32(1.44269504)
LN2_HIGH = np.float32(0.693359375)  # few bits: its products with whole numbers are exact
LN2_LOW = np.float32(-2.12194440e-4)
ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
EXP_LOW, EXP_HIGH = np.float32(-105), np.float32(89)  # beyond: 0 and inf in float32
TANH_HIGH = np.float32(9.02)  # beyond: 1 in float32


@kernel_in_order
def exp_float32(x):
    """eˣ = 2ⁿ eʳ with whole n and |r| ≤ ln 2 / 2; relative error below 1.2e-7."""
    x = EXP_LOW if x < EXP_LOW else x
    x = EXP_HIGH if x > EXP_HIGH else x
    whole = np.floor(x * LOG2_E + HALF)
    r = (x - whole * LN2_HIGH) - whole * LN2_LOW
    p = np.float32(1.38367e-03)
    p = p * r + np.float32(8.37481e-03)
    p = p * r + np.float32(4.166823e-02)
    p = p * r + np.float32(1.666642e-01)
    p = p * r + np.float32(0.49999992)
    p = p * r + ONE
    p = p * r + ONE
    # 2ⁿ in two factors: n runs to ±151, a float32 exponent only to 127. NaN must not meet the cast.
    n = np.int32(whole if whole == whole else ZERO)
    half = n >> np.int32(1)
    return p * power_of_two(half) * power_of_two(n - half)


@kernel
def power_of_two(n):
    """2ⁿ as float32, for int32 n from -126 to 127: the bits of the exponent."""
    return np.int32((n + np.int32(127)) << np.int32(23)).view(np.float32)


@kernel_in_order
def tanh_float32(x):
    """tanh x = x P(x²) / Q(x²), limited to ±1; relative error below 4e-7."""
    c = -TANH_HIGH if x < -TANH_HIGH else x
    c = TANH_HIGH if c > TANH_HIGH else c
    y = c * c
    p = np.float32(1.3319096e-08)
    p = p * y + np.float32(2.0583500e-05)
    p = p * y + np.float32(3.4940357e-03)
    p = p * y + np.float32(1.3379719e-01)
    p = p * y + ONE
    q = np.float32(7.7620298e-07)
    q = q * y + np.float32(3.2830947e-04)
    q = q * y + np.float32(2.5871078e-02)
    q = q * y + np.float32(4.6713034e-01)
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
def tanh_float64(x):
    return math.tanh(x)


def exp(x):
    """eˣ in the precision of x."""
    return exp_float32(x) if isinstance(x, np.float32) else exp_float64(x)


def tanh(x):
    """tanh x in the precision of x."""
    return tanh_float32(x) if isinstance(x, np.float32) else tanh_float64(x)


def reciprocal(x):
    """1/x in the precision of x, for positive x; float32 is limited to 1e-37 … 1e37."""
    return reciprocal_float32(x) if isinstance(x, np.float32) else reciprocal_float64(x)


def sigmoid(x):
    """1 / (1 + e⁻ˣ) in the precision of x."""
    return sigmoid_float32(x) if isinstance(x, np.float32) else sigmoid_float64(x)


if COMPILED:

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
