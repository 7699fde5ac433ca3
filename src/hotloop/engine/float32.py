"""exp, tanh, … of one float32: polynomials, since a loop over libm's expf stays scalar.

The coefficients are minimax fits (Remez' error criterion, by iterated weighted least squares); those
of tanh and Φ were then moved by a few roundings, to where the computed result is best.
"""

import math

import numpy as np

from hotloop._jit import kernel, kernel_in_order, processor
from hotloop.engine.polynomial import held_polynomial_float32, polynomial_float32

LOG2_E = np.float32(1.44269504)
LN2_HIGH = np.float32(0.693359375)  # few bits: its products with whole numbers are exact
LN2_LOW = np.float32(-2.12194440e-4)
ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
EXP_LOW, EXP_HIGH = np.float32(-105), np.float32(89)  # beyond: 0 and inf in float32
EXPM1_LOW, EXPM1_HIGH = np.float32(-18), np.float32(88)  # beyond: -1 in float32, and taken as inf
TANH_HIGH = np.float32(9.02)  # beyond: 1 in float32
GAUSS_HIGH = np.float32(15)  # beyond: e^(-x²/2) is 0 in float32
MANTISSA = np.int32(2**23 - 1)
EXPONENT_OF_ONE = np.int32(127)
MANTISSA_BITS = np.int32(23)
TWELVE_BITS = np.int32(-4096)  # of a float32's 24: the square of what is left is exact
RECIPROCAL_GUESS = np.int32(0x7EF311C7)  # less the bits of x, those of about 1/x
DIVIDES = processor()[0] == "znver5"
"""Whether the processor divides as fast as it multiplies and adds seven times, see `quotient_float32`."""
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
    p = polynomial_float32(r, (1.38367e-03, 8.37481e-03, 4.166823e-02, 1.666642e-01, 0.49999992))
    p = (p * r + ONE) * r
    p = p * factor + factor
    # 2ⁿ in two factors: n runs to ±151, a float32 exponent only to 127. NaN must not meet the cast.
    n = np.int32(whole if whole == whole else ZERO)
    half = n >> np.int32(1)
    return p * power_of_two(half) * power_of_two(n - half)


@kernel
def power_of_two(n):
    """2ⁿ as float32, for int32 n from -126 to 127: the bits of the exponent."""
    return np.int32((n + EXPONENT_OF_ONE) << MANTISSA_BITS).view(np.float32)


@kernel_in_order
def expm1_float32(x):
    """eˣ − 1 = 2ⁿ (eʳ − 1) + (2ⁿ − 1), whose last term is exact or does not matter; for x ≤ 88."""
    c = EXPM1_LOW if x < EXPM1_LOW else x
    c = EXPM1_HIGH if c > EXPM1_HIGH else c
    whole = np.floor(c * LOG2_E + HALF)
    r = (c - whole * LN2_HIGH) - whole * LN2_LOW
    p = polynomial_float32(r, (1.3901334e-03, 8.36326e-03, 4.1666854e-02, 1.6666576e-01, 0.5))
    p = p * (r * r) + r
    scale = power_of_two(np.int32(whole if whole == whole else ZERO))
    y = p * scale + (scale - ONE)
    return np.float32(np.inf) if x > EXPM1_HIGH else y


@kernel_in_order
def log1p_float32(u):
    """ln(1 + u) for 0 ≤ u ≤ 1.

    The polynomial by pairs (Estrin): a loss wants one logarithm a row, and waits half as long for it.
    """
    square = u * u
    fourth = square * square
    p = np.float32(-3.2440233e-03) * u + np.float32(1.9851454e-02)
    q = np.float32(-5.6959517e-02) * u + np.float32(1.0603653e-01)
    r = np.float32(-1.5305592e-01) * u + np.float32(1.9675939e-01)
    s = np.float32(-2.4954134e-01) * u + np.float32(3.3329964e-01)
    t = np.float32(-4.9999902e-01) * u + ONE
    high, low = p * square + q, r * square + s
    return u * ((high * fourth + low) * square + t)


@kernel_in_order
def log_float32(x):
    """ln x = k ln 2 + ln m with 1 ≤ m < 2, for x ≥ 1."""
    bits = np.float32(x).view(np.int32)
    k = np.float32((bits >> MANTISSA_BITS) - EXPONENT_OF_ONE)
    m = np.int32((bits & MANTISSA) | (EXPONENT_OF_ONE << MANTISSA_BITS)).view(np.float32)
    y = k * LN2_HIGH + (k * LN2_LOW + log1p_float32(m - ONE))
    return y if x - x == ZERO else x


@kernel_in_order
def softplus_float32(x):
    """ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|)."""
    return (ZERO if x < ZERO else x) + log1p_float32(exp_float32(-np.abs(x)))


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
    n = polynomial_float32(t, (2.8372353e-06, 2.3549829e-02, 2.263487e-01, 9.066454e-01, 2.0))
    d = polynomial_float32(t, (9.444374e-03, 8.9379825e-02, 3.9043477e-01, 9.087516e-01, 1.0))
    tail = gauss_float32(x, d / (ROOT_TAU * t * d + n))
    return tail if x < ZERO else ONE - tail


@kernel
def normal_pdf_float32(x):
    return gauss_float32(x, np.float32(ROOT_TAU_INVERSE))


@kernel_in_order
def tanh_float32(x):
    """tanh x = x P(x²) / Q(x²), limited to ±1; relative error below 3e-7.

    Of |x|, and with its sign at the end: so each limit is one instruction.
    """
    c = np.abs(x)
    c = TANH_HIGH if c > TANH_HIGH else c
    y = c * c
    p = held_polynomial_float32(y, (1.33189095e-08, 2.0583528e-05, 3.4940348e-03, 1.337972e-01, 1.0))
    q = held_polynomial_float32(y, (7.762026e-07, 3.2830954e-04, 2.5871074e-02, 4.671304e-01, 1.0))
    t = c * p / q
    return np.float32(np.copysign(ONE if t > ONE else t, x))


@kernel
def sigmoid_float32(x):
    """1 / (1 + e⁻ˣ): exact limits, and relative accuracy in the lower tail too."""
    return ONE / (ONE + exp_float32(-x))


@kernel_in_order
def quotient_float32(x, y):
    """x/y for 1e-37 < y < 1e37, mostly without the divider; relative error below 3e-7.

    Where a loop also takes a root, the divider is its limit (11 of 14 cycles for eight numbers of
    Adam); these multiply-adds run beside it. The first guess of 1/y flips the exponent's sign in the bits
    of y (12 % off), and each Newton step z ← z (2 − y z) squares the error.

    Not so on Zen 5, whose divider takes 2.4 cycles for sixteen numbers, and 4.3 for their roots: there these
    loops are faster with a division. (And faster still with `mathfun.less_quotient`, where they are vectors.)
    """
    if DIVIDES:
        return x / y
    z = np.int32(RECIPROCAL_GUESS - np.float32(y).view(np.int32)).view(np.float32)
    z = z * (TWO - y * z)
    z = z * (TWO - y * z)
    return x * (z * (TWO - y * z))
